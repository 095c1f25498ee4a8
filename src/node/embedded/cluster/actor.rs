//! Somebody who talks to the API server from inside the node process.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::object::{name, namespace, now, now_micro, uid};
use crate::node::embedded::apiserver::api::Body;
use crate::node::embedded::apiserver::kinds::edit::text_at;
use crate::node::embedded::apiserver::loopback;
use crate::node::embedded::apiserver::request::UserInfo;
use crate::node::embedded::machine::{LocalRequest, Machine};
use crate::node::embedded::version::KUBERNETES;

/// What follows the version in every user agent.
const PLATFORM: &str = "(linux/amd64) kubernetes/0000000";

/// An identity with its user agent.
#[derive(Clone)]
pub struct Actor {
    machine: Arc<Machine>,
    user: UserInfo,
    agent: String,
    source_ip: String,
}

/// The answer to a request; `None` when no API server serves.
pub type Answer = Option<(u16, Value)>;

/// Whether an answer is a success.
#[must_use]
pub fn succeeded(answer: &Answer) -> bool {
    answer.as_ref().is_some_and(|(code, _)| *code < 400)
}

impl Actor {
    /// A component with a client certificate: `system:kube-scheduler`.
    #[must_use]
    pub fn component(
        machine: &Arc<Machine>,
        user: &str,
        groups: &[&str],
        program: &str,
        suffix: &str,
    ) -> Self {
        // Stable for a lab: the certificate is, too.
        let digest = Sha256::digest(format!("{}{user}", machine.state_dir.display()));
        let credential: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let mut groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        groups.push("system:authenticated".to_owned());
        let suffix = if suffix.is_empty() {
            String::new()
        } else {
            format!("/{suffix}")
        };
        Self {
            machine: machine.clone(),
            user: UserInfo {
                username: user.to_owned(),
                groups,
                extra: credential_extra(format!("X509SHA256={credential}")),
                ..Default::default()
            },
            agent: format!("{program}/{KUBERNETES} {PLATFORM}{suffix}"),
            source_ip: machine.node_ip.clone(),
        }
    }

    /// A controller of kube-controller-manager with its own service account.
    #[must_use]
    pub fn controller(machine: &Arc<Machine>, account: &str) -> Self {
        let user = format!("system:serviceaccount:kube-system:{account}");
        let uid = machine
            .store
            .get(&format!(
                "/registry/core/serviceaccounts/kube-system/{account}"
            ))
            .map(|account| uid(&account.value).to_owned())
            .unwrap_or_default();
        Self {
            machine: machine.clone(),
            user: UserInfo {
                uid,
                groups: vec![
                    "system:serviceaccounts".to_owned(),
                    "system:serviceaccounts:kube-system".to_owned(),
                    "system:authenticated".to_owned(),
                ],
                extra: credential_extra(format!("JTI={}", uuid::Uuid::new_v4())),
                username: user.clone(),
            },
            agent: format!("kube-controller-manager/{KUBERNETES} {PLATFORM}/{user}"),
            source_ip: machine.node_ip.clone(),
        }
    }

    /// The API server itself, over its loopback connection.
    #[must_use]
    pub fn api_server(machine: &Arc<Machine>) -> Self {
        Self {
            machine: machine.clone(),
            user: loopback::user(machine),
            agent: loopback::agent(),
            source_ip: loopback::SOURCE.to_owned(),
        }
    }

    /// A program in a pod, with the token of the pod's service account; `None` when that is not there.
    #[must_use]
    pub fn pod(machine: &Arc<Machine>, pod: &Value, program: &str) -> Option<Self> {
        let (space, account) = (namespace(pod), text_at(pod, "/spec/serviceAccountName"));
        let key = format!("/registry/core/serviceaccounts/{space}/{account}");
        let account_uid = uid(&machine.store.get(&key)?.value).to_owned();
        let node = text_at(pod, "/spec/nodeName");
        let node_uid = uid(&machine
            .store
            .get(&format!("/registry/core/nodes/{node}"))?
            .value)
        .to_owned();
        // Stable for a pod, as far as anybody looks.
        let digest: [u8; 32] = Sha256::digest(format!("{} {space}/{account}", uid(pod))).into();
        let mut bytes = [0; 16];
        bytes
            .iter_mut()
            .zip(digest)
            .for_each(|(byte, random)| *byte = random);
        let token = uuid::Builder::from_random_bytes(bytes).into_uuid();
        let mut extra = credential_extra(format!("JTI={token}"));
        for (part, value) in [
            ("node-name", node),
            ("node-uid", &node_uid),
            ("pod-name", name(pod)),
            ("pod-uid", uid(pod)),
        ] {
            extra.insert(
                format!("authentication.kubernetes.io/{part}"),
                vec![value.to_owned()],
            );
        }
        Some(Self {
            user: UserInfo {
                username: format!("system:serviceaccount:{space}:{account}"),
                uid: account_uid,
                groups: vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{space}"),
                    "system:authenticated".to_owned(),
                ],
                extra,
            },
            agent: format!("{program}/{KUBERNETES} {PLATFORM}"),
            source_ip: match text_at(pod, "/status/podIP") {
                "" => machine.node_ip.clone(),
                ip => ip.to_owned(),
            },
            machine: machine.clone(),
        })
    }

    /// Whether it is the same user with the same program.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        (&self.user.username, &self.user.extra, &self.agent)
            == (&other.user.username, &other.user.extra, &other.agent)
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// A request of this identity.
    #[must_use]
    pub fn request(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<Value>,
    ) -> LocalRequest {
        LocalRequest {
            user: self.user.clone(),
            user_agent: self.agent.clone(),
            source_ip: self.source_ip.clone(),
            method,
            path_and_query: path.to_owned(),
            content_type: content_type.to_owned(),
            body,
        }
    }

    /// Makes a request.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Option<Value>,
    ) -> Answer {
        let api = self.machine.api.borrow().clone()?;
        let response = api
            .call(self.request(method, path, content_type, body))
            .await;
        let value = match response.body {
            Body::Object(value) => value,
            Body::Bytes { bytes, .. } => serde_json::from_slice(&bytes).unwrap_or_default(),
            Body::Stream { .. } | Body::Empty => Value::Null,
        };
        Some((response.code, value))
    }

    /// GET.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, "", None).await
    }

    /// POST.
    pub async fn create(&self, path: &str, object: Value) -> Answer {
        self.send(Method::POST, path, "application/json", Some(object))
            .await
    }

    /// PUT.
    pub async fn update(&self, path: &str, object: Value) -> Answer {
        self.send(Method::PUT, path, "application/json", Some(object))
            .await
    }

    /// PATCH with a strategic merge patch.
    pub async fn patch(&self, path: &str, patch: Value) -> Answer {
        self.send(
            Method::PATCH,
            path,
            "application/strategic-merge-patch+json",
            Some(patch),
        )
        .await
    }

    /// DELETE.
    pub async fn delete(&self, path: &str, options: Option<Value>) -> Answer {
        self.send(Method::DELETE, path, "application/json", options)
            .await
    }

    /// Records an event about an object, in the old form (`client-go/tools/record`).
    #[expect(clippy::too_many_arguments, reason = "an event has that many parts")]
    pub async fn event(
        &self,
        about: &Value,
        api_version: &str,
        kind: &str,
        warning: bool,
        reason: &str,
        message: &str,
        component: &str,
    ) {
        let space = match namespace(about) {
            "" => "default",
            space => space,
        };
        let mut involved = json!({"kind": kind, "namespace": namespace(about), "name": name(about),
            "uid": uid(about), "apiVersion": api_version});
        if let Some(fields) = involved.as_object_mut() {
            if namespace(about).is_empty() {
                fields.shift_remove("namespace");
            }
            let version = text_at(about, "/metadata/resourceVersion");
            if !version.is_empty() {
                fields.insert("resourceVersion".into(), version.into());
            }
        }
        let event = json!({
            "kind": "Event", "apiVersion": "v1",
            "metadata": {"name": event_name(name(about)), "namespace": space},
            "involvedObject": involved,
            "reason": reason, "message": message,
            "source": {"component": component},
            "firstTimestamp": now(), "lastTimestamp": now(), "count": 1,
            "type": if warning { "Warning" } else { "Normal" },
            "eventTime": null, "reportingComponent": component, "reportingInstance": "",
        });
        let _ = self
            .create(&format!("/api/v1/namespaces/{space}/events"), event)
            .await;
    }

    /// Records an event in the new form (`client-go/tools/events`), as the scheduler does.
    pub async fn new_event(
        &self,
        about: &Value,
        kind: &str,
        warning: bool,
        reason: &str,
        action: &str,
        note: &str,
    ) {
        let space = namespace(about);
        let event = json!({
            "kind": "Event", "apiVersion": "events.k8s.io/v1",
            "metadata": {"name": event_name(name(about)), "namespace": space},
            "eventTime": now_micro(),
            "reportingController": "default-scheduler",
            "reportingInstance": format!("default-scheduler-{}", self.machine.node_name),
            "action": action, "reason": reason,
            "regarding": {"kind": kind, "namespace": space, "name": name(about), "uid": uid(about),
                "apiVersion": "v1", "resourceVersion": text_at(about, "/metadata/resourceVersion")},
            "note": note, "type": if warning { "Warning" } else { "Normal" },
        });
        let path = format!("/apis/events.k8s.io/v1/namespaces/{space}/events");
        let _ = self.create(&path, event).await;
    }
}

fn credential_extra(id: String) -> BTreeMap<String, Vec<String>> {
    BTreeMap::from([(
        "authentication.kubernetes.io/credential-id".to_owned(),
        vec![id],
    )])
}

/// Names of events end in the time, in hexadecimal nanoseconds.
fn event_name(object: &str) -> String {
    format!("{object}.{:x}", jiff::Timestamp::now().as_nanosecond())
}

/// Waits until an API server serves.
pub async fn api_is_up(machine: &Arc<Machine>) {
    let mut api = machine.api.subscribe();
    // The sender lives as long as the machine.
    let _ = api.wait_for(Option::is_some).await;
}
