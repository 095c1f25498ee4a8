//! DaemonSets (`pkg/controller/daemon`).

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Controllers, Item, pod_from};
use crate::node::embedded::apiserver::kinds::edit::{ensure, items, text_at};
use crate::node::embedded::cluster::object::{
    has_condition, is_active_pod, is_deleting, name, namespace, number, reference, short_hash, uid,
};
use crate::node::embedded::cluster::scheduler::unfit;

const ACCOUNT: &str = "daemon-set-controller";
const COMPONENT: &str = "daemonset-controller";
const HASH: &str = "controller-revision-hash";

pub(super) async fn sync(c: &mut Controllers, space: &str, set_name: &str) -> Option<Duration> {
    let key = format!("/registry/apps/daemonsets/{space}/{set_name}");
    let set = c.cached(&key)?;
    if is_deleting(&set) {
        return None;
    }
    let hash = revision(c, &set).await;
    let actor = c.actor(ACCOUNT).await;
    let template = set.pointer("/spec/template").cloned().unwrap_or_default();
    let nodes: Vec<Value> = c
        .list("/registry/core/nodes/")
        .iter()
        .map(super::versioned)
        .collect();
    let pods: Vec<Value> = c.pods_of(&set).into_iter().filter(is_active_pod).collect();
    let probe = daemon_pod(&template, &set, "", &hash);
    let mut failed = false;
    for node in &nodes {
        let own: Vec<&Value> = pods
            .iter()
            .filter(|pod| target(pod) == name(node))
            .collect();
        let mut wanted = probe.clone();
        if let Some(spec) = wanted.get_mut("spec").and_then(Value::as_object_mut) {
            spec.shift_remove("affinity");
        }
        let fits = unfit(&wanted, node).is_none();
        if fits && own.is_empty() {
            let pod = daemon_pod(&template, &set, name(node), &hash);
            match actor
                .create(&format!("/api/v1/namespaces/{space}/pods"), pod)
                .await
            {
                Some((201, pod)) => {
                    let text = format!("Created pod: {}", name(&pod));
                    actor
                        .event(
                            &set,
                            "apps/v1",
                            "DaemonSet",
                            false,
                            "SuccessfulCreate",
                            &text,
                            COMPONENT,
                        )
                        .await;
                }
                Some((_, status)) => {
                    failed = true;
                    let text = format!("Error creating: {}", text_at(&status, "/message"));
                    actor
                        .event(
                            &set,
                            "apps/v1",
                            "DaemonSet",
                            true,
                            "FailedCreate",
                            &text,
                            COMPONENT,
                        )
                        .await;
                }
                None => return None,
            }
        }
        // What does not belong here, and old revisions, one node at a time.
        let rolling = text_at(&set, "/spec/updateStrategy/type") != "OnDelete";
        for pod in own {
            let old = pod
                .pointer("/metadata/labels")
                .and_then(|labels| labels.get(HASH))
                .and_then(Value::as_str)
                != Some(hash.as_str());
            let others_ready = pods
                .iter()
                .filter(|other| uid(other) != uid(pod))
                .all(|other| has_condition(other, "Ready"));
            if !fits || old && rolling && others_ready {
                let path = format!("/api/v1/namespaces/{space}/pods/{}", name(pod));
                let _ = actor.delete(&path, None).await;
                let text = format!("Deleted pod: {}", name(pod));
                actor
                    .event(
                        &set,
                        "apps/v1",
                        "DaemonSet",
                        false,
                        "SuccessfulDelete",
                        &text,
                        COMPONENT,
                    )
                    .await;
                break;
            }
        }
    }
    update_status(c, &key, &nodes, &probe, &hash).await;
    failed.then(|| c.back_off(Item::DaemonSet(space.to_owned(), set_name.to_owned())))
}

/// The node a pod of a daemon set is for.
fn target(pod: &Value) -> &str {
    let bound = text_at(pod, "/spec/nodeName");
    if !bound.is_empty() {
        return bound;
    }
    items(
        pod,
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
    )
    .iter()
    .flat_map(|term| items(term, "/matchFields"))
    .flat_map(|field| items(field, "/values"))
    .find_map(Value::as_str)
    .unwrap_or_default()
}

fn daemon_pod(template: &Value, set: &Value, node: &str, hash: &str) -> Value {
    let mut pod = pod_from(template, set, "apps/v1", "DaemonSet");
    let Some(fields) = pod.as_object_mut() else {
        return pod;
    };
    let labels = ensure(ensure(fields, "metadata"), "labels");
    labels.insert(HASH.into(), hash.into());
    labels.insert(
        "pod-template-generation".into(),
        number(set, "/metadata/generation").to_string().into(),
    );
    labels.sort_keys();
    let spec = ensure(fields, "spec");
    if !node.is_empty() {
        let affinity = ensure(ensure(spec, "affinity"), "nodeAffinity");
        affinity.insert(
            "requiredDuringSchedulingIgnoredDuringExecution".into(),
            json!({"nodeSelectorTerms": [{"matchFields": [{"key": "metadata.name",
                "operator": "In", "values": [node]}]}]}),
        );
    }
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    let tolerations = spec
        .entry("tolerations".to_owned())
        .or_insert_with(|| json!([]));
    if let Some(list) = tolerations.as_array_mut() {
        for (key, effect) in [
            ("not-ready", "NoExecute"),
            ("unreachable", "NoExecute"),
            ("disk-pressure", "NoSchedule"),
            ("memory-pressure", "NoSchedule"),
            ("pid-pressure", "NoSchedule"),
            ("unschedulable", "NoSchedule"),
        ] {
            list.push(json!({"key": format!("node.kubernetes.io/{key}"), "operator": "Exists", "effect": effect}));
        }
        if host_network {
            list.push(json!({"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": "NoSchedule"}));
        }
    }
    pod
}

/// The hash of the current template; its revision is made when it is new.
async fn revision(c: &mut Controllers, set: &Value) -> String {
    let template = set.pointer("/spec/template").cloned().unwrap_or_default();
    let prefix = format!("/registry/apps/controllerrevisions/{}/", namespace(set));
    let revisions: Vec<Value> = c
        .list(&prefix)
        .iter()
        .filter(|own| crate::node::embedded::cluster::object::is_controlled_by(&own.value, set))
        .map(super::versioned)
        .collect();
    let same = revisions.iter().find(|own| {
        let mut data = own
            .pointer("/data/spec/template")
            .cloned()
            .unwrap_or_default();
        if let Some(fields) = data.as_object_mut() {
            fields.shift_remove("$patch");
        }
        data == template
    });
    if let Some(known) = same {
        return known
            .pointer("/metadata/labels/controller-revision-hash")
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned();
    }
    let hash = short_hash(&template.to_string());
    let next = revisions
        .iter()
        .map(|own| number(own, "/revision"))
        .max()
        .unwrap_or(0)
        + 1;
    let mut labels = template
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    labels.insert(HASH.into(), hash.clone().into());
    let mut data = template;
    if let Some(fields) = data.as_object_mut() {
        fields.insert("$patch".into(), "replace".into());
    }
    let object = json!({"kind": "ControllerRevision", "apiVersion": "apps/v1",
        "metadata": {"name": format!("{}-{hash}", name(set)), "namespace": namespace(set),
            "labels": labels, "ownerReferences": [reference(set, "apps/v1", "DaemonSet")]},
        "data": {"spec": {"template": data}}, "revision": next});
    let actor = c.actor(ACCOUNT).await;
    let path = format!(
        "/apis/apps/v1/namespaces/{}/controllerrevisions",
        namespace(set)
    );
    let _ = actor.create(&path, object).await;
    hash
}

async fn update_status(c: &mut Controllers, key: &str, nodes: &[Value], probe: &Value, hash: &str) {
    let Some(mut set) = c.cached(key) else {
        return;
    };
    let pods: Vec<Value> = c.pods_of(&set).into_iter().filter(is_active_pod).collect();
    let (mut desired, mut current, mut misplaced, mut ready, mut updated) = (0, 0, 0, 0, 0);
    for node in nodes {
        let own: Vec<&Value> = pods
            .iter()
            .filter(|pod| target(pod) == name(node))
            .collect();
        if unfit(probe, node).is_none() {
            desired += 1;
            if let Some(pod) = own.first() {
                current += 1;
                ready += i64::from(has_condition(pod, "Ready"));
                let own_hash = pod
                    .pointer("/metadata/labels")
                    .and_then(|labels| labels.get(HASH))
                    .and_then(Value::as_str);
                updated += i64::from(own_hash == Some(hash));
            }
        } else if !own.is_empty() {
            misplaced += 1;
        }
    }
    let mut status = Map::new();
    for (key, value) in [
        ("currentNumberScheduled", current),
        ("numberMisscheduled", misplaced),
        ("desiredNumberScheduled", desired),
        ("numberReady", ready),
    ] {
        status.insert(key.into(), value.into());
    }
    status.insert(
        "observedGeneration".into(),
        number(&set, "/metadata/generation").into(),
    );
    for (key, value) in [
        ("updatedNumberScheduled", updated),
        ("numberAvailable", ready),
        ("numberUnavailable", desired - ready),
    ] {
        if value > 0 {
            status.insert(key.into(), value.into());
        }
    }
    if set.get("status") == Some(&Value::Object(status.clone())) {
        return;
    }
    let actor = c.actor(ACCOUNT).await;
    let path = format!(
        "/apis/apps/v1/namespaces/{}/daemonsets/{}/status",
        namespace(&set),
        name(&set)
    );
    if let Some(fields) = set.as_object_mut() {
        fields.insert("status".into(), Value::Object(status));
    }
    let _ = actor.update(&path, set).await;
}
