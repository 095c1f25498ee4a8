//! StatefulSets (`pkg/controller/statefulset`).

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Controllers, Item, pod_from};
use crate::node::embedded::apiserver::kinds::edit::{ensure, items, text_at};
use crate::node::embedded::cluster::actor::Actor;
use crate::node::embedded::cluster::object::{
    has_condition, is_controlled_by, is_deleting, name, namespace, number, reference, short_hash,
};

const ACCOUNT: &str = "statefulset-controller";
const HASH: &str = "controller-revision-hash";

pub(super) async fn sync(c: &mut Controllers, space: &str, set_name: &str) -> Option<Duration> {
    let key = format!("/registry/apps/statefulsets/{space}/{set_name}");
    let set = c.cached(&key)?;
    if is_deleting(&set) {
        return None;
    }
    let actor = c.actor(ACCOUNT).await;
    let revision = revision(c, &actor, &set).await;
    let pods = c.pods_of(&set);
    let wanted = number(&set, "/spec/replicas").max(0);
    let start = number(&set, "/spec/ordinals/start");
    let parallel = text_at(&set, "/spec/podManagementPolicy") == "Parallel";
    let by_ordinal = |ordinal: i64| {
        let wanted = format!("{set_name}-{ordinal}");
        pods.iter().find(|pod| name(pod) == wanted)
    };
    let mut failed = false;
    let mut settled = true;
    for ordinal in start..start + wanted {
        match by_ordinal(ordinal) {
            None => {
                settled = false;
                claims(c, &actor, &set, ordinal).await;
                let pod = pod(&set, ordinal, &revision);
                let answer = actor
                    .create(&format!("/api/v1/namespaces/{space}/pods"), pod)
                    .await;
                match answer {
                    Some((201, _)) => {
                        let text = format!(
                            "create Pod {set_name}-{ordinal} in StatefulSet {set_name} successful"
                        );
                        actor
                            .event(
                                &set,
                                "apps/v1",
                                "StatefulSet",
                                false,
                                "SuccessfulCreate",
                                &text,
                                ACCOUNT,
                            )
                            .await;
                    }
                    Some((409, _)) | None => {}
                    Some((_, status)) => {
                        failed = true;
                        let text = format!(
                            "create Pod {set_name}-{ordinal} in StatefulSet {set_name} failed error: {}",
                            text_at(&status, "/message")
                        );
                        actor
                            .event(
                                &set,
                                "apps/v1",
                                "StatefulSet",
                                true,
                                "FailedCreate",
                                &text,
                                ACCOUNT,
                            )
                            .await;
                    }
                }
                if !parallel {
                    break;
                }
            }
            Some(pod) if !has_condition(pod, "Ready") || is_deleting(pod) => {
                settled = false;
                if !parallel {
                    break;
                }
            }
            Some(_) => {}
        }
    }
    let surplus: Vec<&Value> = {
        let mut all: Vec<(i64, &Value)> = pods
            .iter()
            .filter_map(|pod| Some((ordinal(pod)?, pod)))
            .filter(|(own, pod)| (*own < start || *own >= start + wanted) && !is_deleting(pod))
            .collect();
        all.sort_by_key(|(own, _)| std::cmp::Reverse(*own));
        all.into_iter().map(|(_, pod)| pod).collect()
    };
    if settled || parallel {
        let waiting = pods.iter().any(is_deleting);
        for doomed in surplus.iter().take(if parallel {
            usize::MAX
        } else {
            usize::from(!waiting)
        }) {
            delete_pod(&actor, &set, doomed).await;
        }
        if surplus.is_empty() && settled && !waiting {
            update(&actor, &set, &pods, &revision).await;
        }
    }
    update_status(c, &actor, &key, &revision).await;
    failed.then(|| c.back_off(Item::StatefulSet(space.to_owned(), set_name.to_owned())))
}

async fn delete_pod(actor: &Actor, set: &Value, pod: &Value) {
    let path = format!("/api/v1/namespaces/{}/pods/{}", namespace(set), name(pod));
    let _ = actor.delete(&path, None).await;
    let text = format!(
        "delete Pod {} in StatefulSet {} successful",
        name(pod),
        name(set)
    );
    actor
        .event(
            set,
            "apps/v1",
            "StatefulSet",
            false,
            "SuccessfulDelete",
            &text,
            ACCOUNT,
        )
        .await;
}

fn ordinal(pod: &Value) -> Option<i64> {
    name(pod).rsplit_once('-')?.1.parse().ok()
}

/// One pod of an old revision, the highest first.
async fn update(actor: &Actor, set: &Value, pods: &[Value], revision: &str) {
    if text_at(set, "/spec/updateStrategy/type") == "OnDelete" {
        return;
    }
    let partition = number(set, "/spec/updateStrategy/rollingUpdate/partition");
    let old = pods
        .iter()
        .filter(|pod| {
            let own = pod
                .pointer("/metadata/labels")
                .and_then(|labels| labels.get(HASH))
                .and_then(Value::as_str);
            own != Some(revision) && ordinal(pod).is_some_and(|own| own >= partition)
        })
        .max_by_key(|pod| ordinal(pod));
    if let Some(pod) = old {
        delete_pod(actor, set, pod).await;
    }
}

async fn revision(c: &mut Controllers, actor: &Actor, set: &Value) -> String {
    let template = set.pointer("/spec/template").cloned().unwrap_or_default();
    let revision_name = format!("{}-{}", name(set), short_hash(&template.to_string()));
    let key = format!(
        "/registry/apps/controllerrevisions/{}/{revision_name}",
        namespace(set)
    );
    if c.get(&key).is_none() {
        let prefix = format!("/registry/apps/controllerrevisions/{}/", namespace(set));
        let next = c
            .list(&prefix)
            .iter()
            .filter(|own| is_controlled_by(&own.value, set))
            .map(|own| number(&own.value, "/revision"))
            .max()
            .unwrap_or(0)
            + 1;
        let mut labels = template
            .pointer("/metadata/labels")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default();
        labels.insert(HASH.into(), revision_name.clone().into());
        let mut data = template;
        if let Some(fields) = data.as_object_mut() {
            fields.insert("$patch".into(), "replace".into());
        }
        let object = json!({"kind": "ControllerRevision", "apiVersion": "apps/v1",
            "metadata": {"name": revision_name, "namespace": namespace(set), "labels": labels,
                "ownerReferences": [reference(set, "apps/v1", "StatefulSet")]},
            "data": {"spec": {"template": data}}, "revision": next});
        let path = format!(
            "/apis/apps/v1/namespaces/{}/controllerrevisions",
            namespace(set)
        );
        let _ = actor.create(&path, object).await;
    }
    revision_name
}

fn pod(set: &Value, ordinal: i64, revision: &str) -> Value {
    let template = set.pointer("/spec/template").cloned().unwrap_or_default();
    let mut pod = pod_from(&template, set, "apps/v1", "StatefulSet");
    let pod_name = format!("{}-{ordinal}", name(set));
    let Some(fields) = pod.as_object_mut() else {
        return pod;
    };
    let metadata = ensure(fields, "metadata");
    metadata.insert("name".into(), pod_name.clone().into());
    let labels = ensure(metadata, "labels");
    labels.insert(
        "apps.kubernetes.io/pod-index".into(),
        ordinal.to_string().into(),
    );
    labels.insert(HASH.into(), revision.into());
    labels.insert(
        "statefulset.kubernetes.io/pod-name".into(),
        pod_name.clone().into(),
    );
    labels.sort_keys();
    let spec = ensure(fields, "spec");
    spec.insert("hostname".into(), pod_name.into());
    let service = text_at(set, "/spec/serviceName");
    if !service.is_empty() {
        spec.insert("subdomain".into(), service.into());
    }
    let claims: Vec<Value> = items(set, "/spec/volumeClaimTemplates")
        .iter()
        .map(|claim| {
            json!({"name": name(claim), "persistentVolumeClaim":
                {"claimName": format!("{}-{}-{ordinal}", name(claim), name(set))}})
        })
        .collect();
    if !claims.is_empty() {
        let volumes = spec
            .entry("volumes".to_owned())
            .or_insert_with(|| json!([]));
        if let Some(list) = volumes.as_array_mut() {
            list.extend(claims);
        }
    }
    pod
}

async fn claims(c: &Controllers, actor: &Actor, set: &Value, ordinal: i64) {
    for template in items(set, "/spec/volumeClaimTemplates") {
        let claim = format!("{}-{}-{ordinal}", name(template), name(set));
        let space = namespace(set);
        if c.get(&format!(
            "/registry/core/persistentvolumeclaims/{space}/{claim}"
        ))
        .is_some()
        {
            continue;
        }
        let object = json!({"kind": "PersistentVolumeClaim", "apiVersion": "v1",
            "metadata": {"name": claim, "namespace": space,
                "labels": set.pointer("/spec/selector/matchLabels").cloned().unwrap_or_default()},
            "spec": template.get("spec").cloned().unwrap_or_default()});
        let path = format!("/api/v1/namespaces/{space}/persistentvolumeclaims");
        let _ = actor.create(&path, object).await;
    }
}

async fn update_status(c: &Controllers, actor: &Actor, key: &str, revision: &str) {
    let Some(mut set) = c.cached(key) else {
        return;
    };
    let pods = c.pods_of(&set);
    let count = |holds: &dyn Fn(&Value) -> bool| pods.iter().filter(|pod| holds(pod)).count();
    let ready = count(&|pod| has_condition(pod, "Ready") && !is_deleting(pod));
    let updated = count(&|pod| {
        pod.pointer("/metadata/labels")
            .and_then(|labels| labels.get(HASH))
            .and_then(Value::as_str)
            == Some(revision)
    });
    let current = match text_at(&set, "/status/currentRevision") {
        "" => revision.to_owned(),
        _ if updated == pods.len() => revision.to_owned(),
        own => own.to_owned(),
    };
    let mut status = Map::new();
    status.insert(
        "observedGeneration".into(),
        number(&set, "/metadata/generation").into(),
    );
    status.insert("replicas".into(), pods.len().into());
    for (key, value) in [
        ("readyReplicas", ready),
        (
            "currentReplicas",
            if current == revision {
                updated
            } else {
                pods.len() - updated
            },
        ),
        ("updatedReplicas", updated),
    ] {
        if value > 0 {
            status.insert(key.into(), value.into());
        }
    }
    status.insert("currentRevision".into(), current.into());
    status.insert("updateRevision".into(), revision.into());
    status.insert("collisionCount".into(), 0.into());
    status.insert("availableReplicas".into(), ready.into());
    if set.get("status") == Some(&Value::Object(status.clone())) {
        return;
    }
    let path = format!(
        "/apis/apps/v1/namespaces/{}/statefulsets/{}/status",
        namespace(&set),
        name(&set)
    );
    if let Some(fields) = set.as_object_mut() {
        fields.insert("status".into(), Value::Object(status));
    }
    let _ = actor.update(&path, set).await;
}
