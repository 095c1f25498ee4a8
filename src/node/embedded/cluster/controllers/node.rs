//! Nodes: how long kubelets may keep what they read, and taints by condition
//! (`pkg/controller/{ttl,nodelifecycle}`).

use std::time::Duration;

use serde_json::{Value, json};

use super::{Controllers, Item};
use crate::node::embedded::apiserver::kinds::edit::{ensure, items, text_at};
use crate::node::embedded::cluster::actor::succeeded;
use crate::node::embedded::cluster::object::{is_deleting, now};

const TTL: &str = "node.alpha.kubernetes.io/ttl";

/// Conditions and the taints they mean (`nodeConditionToTaintKeyStatusMap`): type, status, key.
const TAINTS: [(&str, &str, &str); 6] = [
    ("Ready", "False", "node.kubernetes.io/not-ready"),
    ("Ready", "Unknown", "node.kubernetes.io/unreachable"),
    (
        "MemoryPressure",
        "True",
        "node.kubernetes.io/memory-pressure",
    ),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    (
        "NetworkUnavailable",
        "True",
        "node.kubernetes.io/network-unavailable",
    ),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

pub(super) async fn sync(c: &mut Controllers, name: &str) -> Option<Duration> {
    let key = format!("/registry/core/nodes/{name}");
    let node = c.cached(&key)?;
    if is_deleting(&node) {
        return None;
    }
    let path = format!("/api/v1/nodes/{name}");
    let known = node
        .pointer("/metadata/annotations")
        .is_some_and(|annotations| annotations.get(TTL).is_some());
    if !known {
        let patch = json!({"metadata": {"annotations": {TTL: "0"}}});
        let _ = c.actor("ttl-controller").await.patch(&path, patch).await;
    }
    let node = c.cached(&key)?;
    let taints = items(&node, "/spec/taints");
    let wanted = wanted(&node);
    let ours = |taint: &Value| {
        text_at(taint, "/effect") == "NoSchedule"
            && (text_at(taint, "/key") == UNSCHEDULABLE
                || TAINTS
                    .iter()
                    .any(|(_, _, key)| text_at(taint, "/key") == *key))
    };
    let missing: Vec<&str> = wanted
        .iter()
        .copied()
        .filter(|key| {
            !taints
                .iter()
                .any(|taint| ours(taint) && text_at(taint, "/key") == *key)
        })
        .collect();
    let kept: Vec<Value> = taints
        .iter()
        .filter(|taint| !ours(taint) || wanted.contains(&text_at(taint, "/key")))
        .cloned()
        .collect();
    if missing.is_empty() && kept.len() == taints.len() {
        return None;
    }
    let mut changed = kept;
    for key in missing {
        changed.push(json!({"key": key, "effect": "NoSchedule", "timeAdded": now()}));
    }
    let actor = c.actor("node-controller").await;
    let mut patch =
        json!({"metadata": {"resourceVersion": text_at(&node, "/metadata/resourceVersion")}});
    let spec = if changed.is_empty() {
        Value::Null
    } else {
        changed.into()
    };
    if let Some(fields) = patch.as_object_mut() {
        ensure(fields, "spec").insert("taints".into(), spec);
    }
    if succeeded(&actor.patch(&path, patch).await) {
        return None;
    }
    Some(c.back_off(Item::Node(name.to_owned())))
}

/// Keys of the taints a node should have for its conditions.
fn wanted(node: &Value) -> Vec<&'static str> {
    let mut keys: Vec<&'static str> = items(node, "/status/conditions")
        .iter()
        .filter_map(|condition| {
            TAINTS.iter().find(|(kind, status, _)| {
                text_at(condition, "/type") == *kind && text_at(condition, "/status") == *status
            })
        })
        .map(|(_, _, key)| *key)
        .collect();
    if node.pointer("/spec/unschedulable") == Some(&Value::Bool(true)) {
        keys.push(UNSCHEDULABLE);
    }
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_follow_conditions_and_cordoning() {
        let node = |ready: &str, cordoned: bool| {
            json!({"spec": {"unschedulable": cordoned},
                "status": {"conditions": [{"type": "Ready", "status": ready}]}})
        };
        assert_eq!(wanted(&node("True", false)), [""; 0]);
        assert_eq!(
            wanted(&node("False", true)),
            ["node.kubernetes.io/not-ready", UNSCHEDULABLE]
        );
        assert_eq!(
            wanted(&node("Unknown", false)),
            ["node.kubernetes.io/unreachable"]
        );
        assert_eq!(wanted(&json!({"metadata": {}})), [""; 0]);
    }
}
