//! Mirror pods: the API's view of the static pods of the control-plane node. The kubelet makes them once the
//! API server answers, and keeps their status.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::actor::{Actor, api_is_up};
use super::object::{name, namespace, uid};
use crate::node::embedded::apiserver::kinds::edit::{ensure, text_at};
use crate::node::embedded::machine::Machine;
use crate::node::embedded::snapshot::{NodeSnapshot, PodSnapshot};

/// Until something the API server did not take is tried again.
const AGAIN: Duration = Duration::from_secs(1);

/// Runs as long as the node.
pub async fn run(machine: Arc<Machine>) {
    let user = format!("system:node:{}", machine.node_name);
    let actor = Actor::component(&machine, &user, &["system:nodes"], "kubelet", "");
    let mut snapshots = machine.snapshots.subscribe();
    let mut api = machine.api.subscribe();
    loop {
        api_is_up(&machine).await;
        snapshots.mark_unchanged();
        let snapshot = NodeSnapshot::load(&machine.state_dir).ok().flatten();
        let complete = match snapshot {
            Some(snapshot) => sync(&machine, &actor, &snapshot).await,
            None => true,
        };
        tokio::select! {
            changed = snapshots.changed() => if changed.is_err() {
                return;
            },
            // Another API server: what the last one was told may not have come to it.
            _ = api.changed() => {}
            () = tokio::time::sleep(AGAIN), if !complete => {}
        }
    }
}

/// Brings the mirror pods in line; `false` when it must be tried again.
async fn sync(machine: &Arc<Machine>, actor: &Actor, snapshot: &NodeSnapshot) -> bool {
    let mut complete = true;
    // The worker of a pod that waits for the one before it has not come to its mirror yet.
    let synced = |pod: &&PodSnapshot| !pod.terminating && pod.status.get("startTime").is_some();
    for pod in snapshot.pods.iter().filter(synced) {
        let key = format!("/registry/core/pods/{}/{}", pod.namespace, pod.name);
        let base = format!("/api/v1/namespaces/{}/pods", pod.namespace);
        let path = format!("{base}/{}", pod.name);
        let current = machine.store.get(&key);
        let mirrors = |object: &Value| {
            object
                .pointer("/metadata/annotations/kubernetes.io~1config.mirror")
                .and_then(Value::as_str)
                == Some(pod.uid.as_str())
        };
        if let Some(stored) = &current
            && !mirrors(&stored.value)
        {
            // Another version of the static pod: its mirror goes first.
            let options = json!({"kind": "DeleteOptions", "apiVersion": "v1",
                "gracePeriodSeconds": 0, "preconditions": {"uid": uid(&stored.value)}});
            let _ = actor.delete(&path, Some(options)).await;
        }
        if !current
            .as_ref()
            .is_some_and(|stored| mirrors(&stored.value))
        {
            let object = mirror(
                machine,
                pod.pod.clone(),
                &pod.uid,
                &pod.name,
                &pod.namespace,
            );
            match actor.create(&base, object).await {
                Some((code, _)) if code < 300 => {}
                _ => {
                    complete = false;
                    continue;
                }
            }
        }
        let shown = machine.store.get(&key).map(|stored| stored.value);
        let status_differs = shown.is_some_and(|shown| {
            let part = |value: &Value, field: &str| value.pointer(field).cloned();
            ["/containerStatuses", "/phase", "/conditions"]
                .iter()
                .any(|field| {
                    part(&pod.status, field).is_some()
                        && part(&pod.status, field)
                            != part(shown.get("status").unwrap_or(&Value::Null), field)
                })
        });
        if status_differs && pod.status.is_object() {
            let patch = json!({"status": pod.status});
            let answer = actor
                .send(
                    http::Method::PATCH,
                    &format!("{path}/status"),
                    "application/merge-patch+json",
                    Some(patch),
                )
                .await;
            complete &= answer.is_some();
        }
    }
    // Mirrors of static pods that are gone.
    for stored in machine.store.list("/registry/core/pods/").0 {
        let object = &stored.value;
        let mirror = object
            .pointer("/metadata/annotations/kubernetes.io~1config.mirror")
            .and_then(Value::as_str);
        if mirror.is_none() || text_at(object, "/spec/nodeName") != machine.node_name {
            continue;
        }
        let alive = snapshot.pods.iter().any(|pod| {
            !pod.terminating && pod.name == name(object) && pod.namespace == namespace(object)
        });
        if !alive {
            let options = json!({"kind": "DeleteOptions", "apiVersion": "v1",
                "gracePeriodSeconds": 0, "preconditions": {"uid": uid(object)}});
            let path = format!(
                "/api/v1/namespaces/{}/pods/{}",
                namespace(object),
                name(object)
            );
            let _ = actor.delete(&path, Some(options)).await;
        }
    }
    complete
}

/// The mirror pod of a static pod (`pkg/kubelet/pod/mirror_client.go`).
fn mirror(
    machine: &Arc<Machine>,
    mut pod: Value,
    hash: &str,
    pod_name: &str,
    space: &str,
) -> Value {
    let node_uid = machine
        .store
        .get(&format!("/registry/core/nodes/{}", machine.node_name))
        .map(|node| uid(&node.value).to_owned())
        .unwrap_or_default();
    let Some(fields) = pod.as_object_mut() else {
        return pod;
    };
    fields.insert("kind".into(), "Pod".into());
    fields.insert("apiVersion".into(), "v1".into());
    fields.shift_remove("status");
    let metadata = ensure(fields, "metadata");
    for key in [
        "uid",
        "creationTimestamp",
        "resourceVersion",
        "managedFields",
    ] {
        metadata.shift_remove(key);
    }
    metadata.insert("name".into(), pod_name.into());
    metadata.insert("namespace".into(), space.into());
    let annotations = ensure(metadata, "annotations");
    annotations.insert("kubernetes.io/config.mirror".into(), hash.into());
    annotations
        .entry("kubernetes.io/config.hash".to_owned())
        .or_insert_with(|| hash.into());
    annotations
        .entry("kubernetes.io/config.source".to_owned())
        .or_insert_with(|| "file".into());
    annotations.sort_keys();
    metadata.insert(
        "ownerReferences".into(),
        json!([{"apiVersion": "v1", "kind": "Node", "name": machine.node_name, "uid": node_uid,
            "controller": true}]),
    );
    let spec = ensure(fields, "spec");
    spec.insert("nodeName".into(), machine.node_name.clone().into());
    let tolerations = spec
        .entry("tolerations".to_owned())
        .or_insert_with(|| Value::Array(Vec::new()));
    if let Some(list) = tolerations.as_array_mut()
        && list.is_empty()
    {
        list.push(json!({"operator": "Exists", "effect": "NoExecute"}));
    }
    pod
}
