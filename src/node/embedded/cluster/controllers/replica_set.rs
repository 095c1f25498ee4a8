//! ReplicaSets and ReplicationControllers (`pkg/controller/replicaset`).

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Controllers, Item, pod_from};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::cluster::actor::{Actor, succeeded};
use crate::node::embedded::cluster::object::{
    has_condition, is_active_pod, is_deleting, name, namespace, now, number, uid,
};

/// Which of the two kinds.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    group: &'static str,
    resource: &'static str,
    api: &'static str,
    api_version: &'static str,
    kind: &'static str,
    account: &'static str,
}

pub(super) const REPLICA_SET: Kind = Kind {
    group: "apps",
    resource: "replicasets",
    api: "/apis/apps/v1",
    api_version: "apps/v1",
    kind: "ReplicaSet",
    account: "replicaset-controller",
};

pub(super) const REPLICATION_CONTROLLER: Kind = Kind {
    group: "core",
    resource: "replicationcontrollers",
    api: "/api/v1",
    api_version: "v1",
    kind: "ReplicationController",
    account: "replication-controller",
};

pub(super) async fn sync(
    c: &mut Controllers,
    kind: Kind,
    space: &str,
    set_name: &str,
) -> Option<Duration> {
    let key = format!(
        "/registry/{}/{}/{space}/{set_name}",
        kind.group, kind.resource
    );
    let set = c.cached(&key)?;
    let actor = c.actor(kind.account).await;
    let pods: Vec<Value> = c.pods_of(&set).into_iter().filter(is_active_pod).collect();
    let wanted = number(&set, "/spec/replicas").max(0);
    let mut failure = None;
    if !is_deleting(&set) {
        let have = i64::try_from(pods.len()).unwrap_or(i64::MAX);
        if have < wanted {
            let template = set.pointer("/spec/template").cloned().unwrap_or_default();
            for _ in 0..(wanted - have).min(500) {
                let pod = pod_from(&template, &set, kind.api_version, kind.kind);
                if let Err(message) = create_pod(&actor, &set, kind, pod).await {
                    failure = Some(message);
                    break;
                }
            }
        } else if have > wanted {
            let mut doomed: Vec<&Value> = pods.iter().collect();
            // Pods that are not ready go first, then the youngest.
            doomed.sort_by_key(|pod| {
                (
                    !text_at(pod, "/spec/nodeName").is_empty(),
                    has_condition(pod, "Ready"),
                    std::cmp::Reverse(text_at(pod, "/metadata/creationTimestamp").to_owned()),
                )
            });
            for pod in doomed
                .into_iter()
                .take(usize::try_from(have - wanted).unwrap_or(0))
            {
                delete_pod(&actor, &set, kind, pod).await;
            }
        }
    }
    update_status(c, &actor, kind, &key, failure.as_deref()).await;
    failure.map(|_| {
        let item = match kind.kind {
            "ReplicaSet" => Item::ReplicaSet(space.to_owned(), set_name.to_owned()),
            _ => Item::ReplicationController(space.to_owned(), set_name.to_owned()),
        };
        c.back_off(item)
    })
}

async fn create_pod(actor: &Actor, set: &Value, kind: Kind, pod: Value) -> Result<(), String> {
    let space = namespace(set);
    let component = kind.account;
    match actor
        .create(&format!("/api/v1/namespaces/{space}/pods"), pod)
        .await
    {
        Some((201, pod)) => {
            let message = format!("Created pod: {}", name(&pod));
            actor
                .event(
                    set,
                    kind.api_version,
                    kind.kind,
                    false,
                    "SuccessfulCreate",
                    &message,
                    component,
                )
                .await;
            Ok(())
        }
        Some((_, status)) => {
            let text = text_at(&status, "/message").to_owned();
            // Creating in a namespace that goes away is no failure worth an event.
            if text.contains("because it is being terminated") {
                return Err(text);
            }
            let message = format!("Error creating: {text}");
            actor
                .event(
                    set,
                    kind.api_version,
                    kind.kind,
                    true,
                    "FailedCreate",
                    &message,
                    component,
                )
                .await;
            Err(text)
        }
        None => Err("no API server".to_owned()),
    }
}

async fn delete_pod(actor: &Actor, set: &Value, kind: Kind, pod: &Value) {
    let path = format!("/api/v1/namespaces/{}/pods/{}", namespace(set), name(pod));
    let options =
        json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": {"uid": uid(pod)}});
    if succeeded(&actor.delete(&path, Some(options)).await) {
        let message = format!("Deleted pod: {}", name(pod));
        actor
            .event(
                set,
                kind.api_version,
                kind.kind,
                false,
                "SuccessfulDelete",
                &message,
                kind.account,
            )
            .await;
    }
}

async fn update_status(
    c: &Controllers,
    actor: &Actor,
    kind: Kind,
    key: &str,
    failure: Option<&str>,
) {
    let Some(mut set) = c.cached(key) else {
        return;
    };
    let (pods, gone): (Vec<Value>, Vec<Value>) =
        c.pods_of(&set).into_iter().partition(is_active_pod);
    let terminating = gone.iter().filter(|pod| is_deleting(pod)).count();
    let template = set
        .pointer("/spec/template/metadata/labels")
        .cloned()
        .unwrap_or_default();
    let count = |holds: &dyn Fn(&Value) -> bool| pods.iter().filter(|pod| holds(pod)).count();
    let labelled = count(&|pod| {
        crate::node::embedded::apiserver::kinds::selector::map_matches(
            &template,
            pod.pointer("/metadata/labels"),
        )
    });
    let ready = count(&|pod| has_condition(pod, "Ready"));
    let mut status = Map::new();
    status.insert("replicas".into(), pods.len().into());
    for (key, value) in [
        ("fullyLabeledReplicas", labelled),
        ("readyReplicas", ready),
        ("availableReplicas", ready),
    ] {
        if value > 0 {
            status.insert(key.into(), value.into());
        }
    }
    // A field of replica sets alone.
    if kind.kind == "ReplicaSet" {
        status.insert("terminatingReplicas".into(), terminating.into());
    }
    status.insert(
        "observedGeneration".into(),
        number(&set, "/metadata/generation").into(),
    );
    if let Some(message) = failure {
        let known = items(&set, "/status/conditions")
            .iter()
            .find(|condition| text_at(condition, "/type") == "ReplicaFailure")
            .cloned();
        let condition = known.unwrap_or_else(|| {
            json!({"type": "ReplicaFailure", "status": "True", "lastTransitionTime": now(),
                "reason": "FailedCreate", "message": message})
        });
        status.insert("conditions".into(), json!([condition]));
    }
    if set.get("status") == Some(&Value::Object(status.clone())) {
        return;
    }
    let path = format!(
        "{}/namespaces/{}/{}/{}/status",
        kind.api,
        namespace(&set),
        kind.resource,
        name(&set)
    );
    if let Some(fields) = set.as_object_mut() {
        fields.insert("status".into(), Value::Object(status));
    }
    let _ = actor.update(&path, set).await;
}
