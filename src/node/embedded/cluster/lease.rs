//! Leases: of leaders (`client-go/tools/leaderelection`) and of nodes (`component-helpers/.../lease`).

use std::time::Duration;

use serde_json::{Value, json};

use super::actor::{Actor, Answer, succeeded};
use super::object::now_micro;

/// How often a leader renews its lease.
pub const RENEW: Duration = Duration::from_secs(2);

/// A lease a leader holds.
pub struct Leadership {
    actor: Actor,
    name: &'static str,
    identity: String,
    current: Option<Value>,
}

impl Leadership {
    /// Leadership of this name, for a process on this node.
    #[must_use]
    pub fn new(actor: Actor, name: &'static str) -> Self {
        let identity = format!("{}_{}", actor.machine().node_name, uuid::Uuid::new_v4());
        Self {
            actor,
            name,
            identity,
            current: None,
        }
    }

    /// Who we are.
    #[must_use]
    pub fn identity(&self) -> &str {
        &self.identity
    }

    fn path(&self) -> String {
        format!(
            "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{}?timeout=5s",
            self.name
        )
    }

    /// Takes or renews the lease; the lease as it is now when we hold it.
    pub async fn renew(&mut self) -> Option<Value> {
        if self.current.is_none() {
            match self.actor.get(&self.path()).await {
                Some((200, lease)) => self.current = Some(lease),
                Some((404, _)) => {
                    let lease = json!({"kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
                        "metadata": {"name": self.name, "namespace": "kube-system"},
                        "spec": {"holderIdentity": self.identity, "leaseDurationSeconds": 15,
                            "acquireTime": now_micro(), "renewTime": now_micro(),
                            "leaseTransitions": 0}});
                    let path =
                        "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases?timeout=5s";
                    let answer = self.actor.create(path, lease).await;
                    return self.keep(answer);
                }
                _ => return None,
            }
        }
        let mut lease = self.current.clone()?;
        let spec = lease.get_mut("spec").and_then(Value::as_object_mut)?;
        if spec.get("holderIdentity") != Some(&Value::from(self.identity.as_str())) {
            let transitions = spec
                .get("leaseTransitions")
                .and_then(Value::as_i64)
                .unwrap_or(0);
            spec.insert("holderIdentity".into(), self.identity.clone().into());
            spec.insert("leaseDurationSeconds".into(), 15.into());
            spec.insert("acquireTime".into(), now_micro().into());
            spec.insert("leaseTransitions".into(), (transitions + 1).into());
        }
        spec.insert("renewTime".into(), now_micro().into());
        let answer = self.actor.update(&self.path(), lease).await;
        self.keep(answer)
    }

    fn keep(&mut self, answer: Answer) -> Option<Value> {
        let ours = succeeded(&answer);
        // After a failure the lease is read anew.
        self.current = answer.filter(|_| ours).map(|(_, lease)| lease);
        self.current.clone()
    }
}

/// Renews the lease of a node; makes it if it is not there.
pub async fn renew_node(actor: &Actor, node: &str) {
    let base = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let path = format!("{base}/{node}");
    match actor.get(&path).await {
        Some((200, mut lease)) => {
            if let Some(spec) = lease.get_mut("spec").and_then(Value::as_object_mut) {
                spec.insert("renewTime".into(), now_micro().into());
            }
            let _ = actor.update(&path, lease).await;
        }
        Some((404, _)) => {
            let owner = actor
                .machine()
                .store
                .get(&format!("/registry/core/nodes/{node}"))
                .map(|node| super::object::uid(&node.value).to_owned())
                .unwrap_or_default();
            let lease = json!({"kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
                "metadata": {"name": node, "namespace": "kube-node-lease",
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Node", "name": node, "uid": owner}]},
                "spec": {"holderIdentity": node, "leaseDurationSeconds": 40, "renewTime": now_micro()}});
            let _ = actor.create(base, lease).await;
        }
        _ => {}
    }
}
