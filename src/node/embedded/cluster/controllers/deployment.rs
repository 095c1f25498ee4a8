//! Deployments (`pkg/controller/deployment`).

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Controllers, Item, versioned};
use crate::node::embedded::apiserver::kinds::edit::{ensure, items, text_at};
use crate::node::embedded::cluster::actor::{Actor, succeeded};
use crate::node::embedded::cluster::object::{
    is_controlled_by, is_deleting, name, namespace, now, number, reference, scaled, short_hash, uid,
};

const REVISION: &str = "deployment.kubernetes.io/revision";
/// Revisions a replica set had before.
const HISTORY: &str = "deployment.kubernetes.io/revision-history";
const DESIRED: &str = "deployment.kubernetes.io/desired-replicas";
const MAX: &str = "deployment.kubernetes.io/max-replicas";
const HASH: &str = "pod-template-hash";
const COMPONENT: &str = "deployment-controller";

pub(super) async fn sync(
    c: &mut Controllers,
    space: &str,
    deployment_name: &str,
) -> Option<Duration> {
    let key = format!("/registry/apps/deployments/{space}/{deployment_name}");
    let deployment = c.cached(&key)?;
    if is_deleting(&deployment) {
        return None;
    }
    let actor = c.actor(COMPONENT).await;
    let (sets, mut new) = replica_sets(c, &deployment);
    let paused = deployment.pointer("/spec/paused") == Some(&Value::Bool(true));
    let recreate = text_at(&deployment, "/spec/strategy/type") == "Recreate";
    let wanted = number(&deployment, "/spec/replicas").max(0);
    let old: Vec<Value> = sets
        .iter()
        .filter(|set| new.as_ref().is_none_or(|new| uid(new) != uid(set)))
        .cloned()
        .collect();
    let old_pods: i64 = old.iter().map(|set| number(set, "/status/replicas")).sum();
    let mut failure = None;
    if !paused {
        if recreate {
            for set in old.iter().filter(|set| number(set, "/spec/replicas") > 0) {
                scale(&actor, &deployment, set, 0).await;
            }
        }
        let may_start = !recreate || old_pods == 0;
        if new.is_none() && may_start {
            match create(c, &actor, &deployment, &sets).await {
                Ok(set) => new = Some(set),
                Err(message) => failure = Some(message),
            }
        }
        if let Some(set) = &new
            && may_start
        {
            annotate(&actor, &key, c, &deployment, set, &sets).await;
            roll(&actor, &deployment, set, &old, wanted, recreate).await;
        }
        clean_up(&actor, &deployment, &old).await;
    } else {
        // A paused deployment still follows its number of replicas.
        if let Some(set) = &new
            && number(set, "/spec/replicas") != wanted
            && old.iter().all(|set| number(set, "/spec/replicas") == 0)
        {
            scale(&actor, &deployment, set, wanted).await;
        }
    }
    update_status(c, &actor, &key).await;
    failure.map(|_| {
        c.back_off(Item::Deployment(
            space.to_owned(),
            deployment_name.to_owned(),
        ))
    })
}

/// All replica sets of the deployment, oldest first, and the one with its template.
fn replica_sets(c: &Controllers, deployment: &Value) -> (Vec<Value>, Option<Value>) {
    let prefix = format!("/registry/apps/replicasets/{}/", namespace(deployment));
    let mut sets: Vec<Value> = c
        .list(&prefix)
        .iter()
        .filter(|set| is_controlled_by(&set.value, deployment))
        .map(versioned)
        .collect();
    sets.sort_by_key(|set| {
        (
            revision(set),
            text_at(set, "/metadata/creationTimestamp").to_owned(),
        )
    });
    let wanted = template(deployment);
    let new = sets.iter().find(|set| template(set) == wanted).cloned();
    (sets, new)
}

/// The template without the label that tells replica sets apart.
fn template(object: &Value) -> Value {
    let mut template = object
        .pointer("/spec/template")
        .cloned()
        .unwrap_or_default();
    if let Some(labels) = template
        .pointer_mut("/metadata/labels")
        .and_then(Value::as_object_mut)
    {
        labels.shift_remove(HASH);
        labels.sort_keys();
    }
    if let Some(metadata) = template.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.shift_remove("creationTimestamp");
        metadata.sort_keys();
    }
    template
}

fn annotation<'a>(object: &'a Value, key: &str) -> &'a str {
    object
        .pointer("/metadata/annotations")
        .and_then(|annotations| annotations.get(key))
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn revision(set: &Value) -> i64 {
    annotation(set, REVISION).parse().unwrap_or(0)
}

fn surge(deployment: &Value) -> (i64, i64) {
    let wanted = number(deployment, "/spec/replicas");
    let mut unavailable = scaled(
        deployment.pointer("/spec/strategy/rollingUpdate/maxUnavailable"),
        wanted,
        false,
    );
    let surge = scaled(
        deployment.pointer("/spec/strategy/rollingUpdate/maxSurge"),
        wanted,
        true,
    );
    if surge == 0 && unavailable == 0 {
        unavailable = 1;
    }
    (surge, unavailable)
}

async fn create(
    c: &mut Controllers,
    actor: &Actor,
    deployment: &Value,
    sets: &[Value],
) -> Result<Value, String> {
    let wanted = number(deployment, "/spec/replicas").max(0);
    let recreate = text_at(deployment, "/spec/strategy/type") == "Recreate";
    let (max_surge, _) = surge(deployment);
    let running: i64 = sets.iter().map(|set| number(set, "/spec/replicas")).sum();
    let replicas = if recreate {
        wanted
    } else {
        wanted.min((wanted + max_surge - running).max(0))
    };
    let mut own = template(deployment);
    let hash = short_hash(&own.to_string());
    if let Some(fields) = own.as_object_mut() {
        let labels = ensure(ensure(fields, "metadata"), "labels");
        labels.insert(HASH.into(), hash.clone().into());
        labels.sort_keys();
    }
    let labels = own.pointer("/metadata/labels").cloned().unwrap_or_default();
    let mut selector = deployment
        .pointer("/spec/selector")
        .cloned()
        .unwrap_or_default();
    if let Some(fields) = selector.as_object_mut() {
        let labels = ensure(fields, "matchLabels");
        labels.insert(HASH.into(), hash.clone().into());
        labels.sort_keys();
    }
    let next = sets.iter().map(revision).max().unwrap_or(0) + 1;
    let mut annotations = copied(deployment);
    annotations.insert(DESIRED.into(), wanted.to_string().into());
    annotations.insert(
        MAX.into(),
        (wanted + if recreate { 0 } else { max_surge })
            .to_string()
            .into(),
    );
    annotations.insert(REVISION.into(), next.to_string().into());
    annotations.sort_keys();
    let set_name = format!("{}-{hash}", name(deployment));
    let object = json!({
        "kind": "ReplicaSet", "apiVersion": "apps/v1",
        "metadata": {"name": set_name, "namespace": namespace(deployment), "labels": labels,
            "annotations": annotations,
            "ownerReferences": [reference(deployment, "apps/v1", "Deployment")]},
        "spec": {"replicas": replicas, "selector": selector, "template": own,
            "minReadySeconds": number(deployment, "/spec/minReadySeconds")},
    });
    let path = format!(
        "/apis/apps/v1/namespaces/{}/replicasets",
        namespace(deployment)
    );
    match actor.create(&path, object).await {
        Some((201, set)) => {
            if replicas > 0 {
                let message = format!("Scaled up replica set {set_name} from 0 to {replicas}");
                actor
                    .event(
                        deployment,
                        "apps/v1",
                        "Deployment",
                        false,
                        "ScalingReplicaSet",
                        &message,
                        COMPONENT,
                    )
                    .await;
            }
            let _ = &c;
            Ok(set)
        }
        Some((_, status)) => Err(text_at(&status, "/message").to_owned()),
        None => Err("no API server".to_owned()),
    }
}

/// Annotations that the newest replica set has from its deployment, the cause of the change among them
/// (`SetNewReplicaSetAnnotations` of `pkg/controller/deployment/util`).
fn copied(deployment: &Value) -> Map<String, Value> {
    let own = deployment
        .pointer("/metadata/annotations")
        .and_then(Value::as_object);
    let mut copied = own.cloned().unwrap_or_default();
    for key in [
        "kubectl.kubernetes.io/last-applied-configuration",
        "deprecated.deployment.rollback.to",
        REVISION,
        HISTORY,
        DESIRED,
        MAX,
    ] {
        copied.shift_remove(key);
    }
    copied
}

/// Keeps the revisions of replica set and deployment, and the annotations of the former.
async fn annotate(
    actor: &Actor,
    key: &str,
    c: &Controllers,
    deployment: &Value,
    new: &Value,
    sets: &[Value],
) {
    let highest = sets
        .iter()
        .filter(|set| uid(set) != uid(new))
        .map(revision)
        .max()
        .unwrap_or(0);
    let wanted = revision(new).max(highest + 1);
    let copied = copied(deployment);
    let same = copied
        .iter()
        .all(|(key, value)| annotation(new, key) == value.as_str().unwrap_or_default());
    if revision(new) != wanted || !same {
        let mut set = new.clone();
        if let Some(fields) = set.as_object_mut() {
            let annotations = ensure(ensure(fields, "metadata"), "annotations");
            annotations.extend(copied);
            annotations.sort_keys();
            if revision(new) > 0 && revision(new) != wanted {
                let history = annotation(new, HISTORY);
                let history = [history, annotation(new, REVISION)]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join(",");
                annotations.insert(HISTORY.into(), history.into());
            }
            annotations.insert(REVISION.into(), wanted.to_string().into());
        }
        let path = format!(
            "/apis/apps/v1/namespaces/{}/replicasets/{}",
            namespace(new),
            name(new)
        );
        let _ = actor.update(&path, set).await;
    }
    if annotation(deployment, REVISION) != wanted.to_string()
        && let Some(mut current) = c.cached(key)
    {
        if let Some(fields) = current.as_object_mut() {
            let annotations = ensure(ensure(fields, "metadata"), "annotations");
            annotations.insert(REVISION.into(), wanted.to_string().into());
            annotations.sort_keys();
        }
        let path = format!(
            "/apis/apps/v1/namespaces/{}/deployments/{}/status",
            namespace(deployment),
            name(deployment)
        );
        let _ = actor.update(&path, current).await;
    }
}

async fn scale(actor: &Actor, deployment: &Value, set: &Value, to: i64) {
    let from = number(set, "/spec/replicas");
    if from == to {
        return;
    }
    let (max_surge, _) = surge(deployment);
    let wanted = number(deployment, "/spec/replicas");
    // What the store has, not what this round began with: others may have written meanwhile.
    let key = format!(
        "/registry/apps/replicasets/{}/{}",
        namespace(set),
        name(set)
    );
    let Some(current) = actor.machine().store.get(&key) else {
        return;
    };
    let mut object = versioned(&current);
    if let Some(fields) = object.as_object_mut() {
        ensure(fields, "spec").insert("replicas".into(), to.into());
        let annotations = ensure(ensure(fields, "metadata"), "annotations");
        annotations.insert(DESIRED.into(), wanted.to_string().into());
        annotations.insert(MAX.into(), (wanted + max_surge).to_string().into());
    }
    let path = format!(
        "/apis/apps/v1/namespaces/{}/replicasets/{}",
        namespace(set),
        name(set)
    );
    if succeeded(&actor.update(&path, object).await) {
        let direction = if to > from { "up" } else { "down" };
        let message = format!(
            "Scaled {direction} replica set {} from {from} to {to}",
            name(set)
        );
        actor
            .event(
                deployment,
                "apps/v1",
                "Deployment",
                false,
                "ScalingReplicaSet",
                &message,
                COMPONENT,
            )
            .await;
    }
}

/// One step of a rolling update.
async fn roll(
    actor: &Actor,
    deployment: &Value,
    new: &Value,
    old: &[Value],
    wanted: i64,
    recreate: bool,
) {
    let (max_surge, max_unavailable) = surge(deployment);
    let old_replicas: i64 = old.iter().map(|set| number(set, "/spec/replicas")).sum();
    let current = number(new, "/spec/replicas");
    if recreate || old_replicas == 0 || current > wanted {
        scale(actor, deployment, new, wanted).await;
        if recreate || old_replicas == 0 {
            return;
        }
    }
    let total = old_replicas + current;
    if current < wanted {
        let room = wanted + max_surge - total;
        if room > 0 {
            scale(actor, deployment, new, (current + room).min(wanted)).await;
            return;
        }
    }
    let min_available = wanted - max_unavailable;
    let unavailable = (current - number(new, "/status/availableReplicas")).max(0);
    let mut budget = (total - min_available - unavailable).max(0);
    for set in old {
        let replicas = number(set, "/spec/replicas");
        let down = replicas.min(budget);
        if down > 0 {
            budget -= down;
            scale(actor, deployment, set, replicas - down).await;
        }
    }
}

/// Old replica sets beyond the history limit go.
async fn clean_up(actor: &Actor, deployment: &Value, old: &[Value]) {
    let limit = deployment
        .pointer("/spec/revisionHistoryLimit")
        .and_then(Value::as_u64)
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(10);
    let idle: Vec<&Value> = old
        .iter()
        .filter(|set| {
            number(set, "/spec/replicas") == 0
                && number(set, "/status/replicas") == 0
                && !is_deleting(set)
        })
        .collect();
    for set in idle.iter().take(idle.len().saturating_sub(limit)) {
        let path = format!(
            "/apis/apps/v1/namespaces/{}/replicasets/{}",
            namespace(set),
            name(set)
        );
        let _ = actor.delete(&path, None).await;
    }
}

async fn update_status(c: &Controllers, actor: &Actor, key: &str) {
    let Some(mut deployment) = c.cached(key) else {
        return;
    };
    let (sets, new) = replica_sets(c, &deployment);
    let sum = |pointer: &str| sets.iter().map(|set| number(set, pointer)).sum::<i64>();
    let (total, ready, available) = (
        sum("/status/replicas"),
        sum("/status/readyReplicas"),
        sum("/status/availableReplicas"),
    );
    let updated = new
        .as_ref()
        .map_or(0, |set| number(set, "/status/replicas"));
    let wanted = number(&deployment, "/spec/replicas");
    let unavailable = (sum("/spec/replicas").max(wanted) - available).max(0);
    let mut status = Map::new();
    status.insert(
        "observedGeneration".into(),
        number(&deployment, "/metadata/generation").into(),
    );
    for (key, value) in [
        ("replicas", total),
        ("updatedReplicas", updated),
        ("readyReplicas", ready),
        ("availableReplicas", available),
        ("unavailableReplicas", unavailable),
    ] {
        if value > 0 {
            status.insert(key.into(), value.into());
        }
    }
    status.insert(
        "terminatingReplicas".into(),
        sum("/status/terminatingReplicas").into(),
    );
    let (_, max_unavailable) = surge(&deployment);
    let enough = available >= wanted - max_unavailable;
    let set_name = new
        .as_ref()
        .map(|set| name(set).to_owned())
        .unwrap_or_default();
    let done = updated == wanted && total == wanted && available == wanted && new.is_some();
    let progress = if done {
        (
            "NewReplicaSetAvailable",
            format!("ReplicaSet \"{set_name}\" has successfully progressed."),
        )
    } else if total == 0 {
        (
            "NewReplicaSetCreated",
            format!("Created new replica set \"{set_name}\""),
        )
    } else {
        (
            "ReplicaSetUpdated",
            format!("ReplicaSet \"{set_name}\" is progressing."),
        )
    };
    let mut conditions = vec![
        condition(
            &deployment,
            "Available",
            enough,
            if enough {
                "MinimumReplicasAvailable"
            } else {
                "MinimumReplicasUnavailable"
            },
            if enough {
                "Deployment has minimum availability."
            } else {
                "Deployment does not have minimum availability."
            },
        ),
        condition(&deployment, "Progressing", true, progress.0, &progress.1),
    ];
    let failed = new.as_ref().and_then(|set| {
        items(set, "/status/conditions")
            .iter()
            .find(|condition| text_at(condition, "/type") == "ReplicaFailure")
            .cloned()
    });
    if let Some(failed) = failed {
        conditions.push(condition(
            &deployment,
            "ReplicaFailure",
            true,
            text_at(&failed, "/reason"),
            text_at(&failed, "/message"),
        ));
    }
    status.insert("conditions".into(), conditions.into());
    if deployment.get("status") == Some(&Value::Object(status.clone())) {
        return;
    }
    let path = format!(
        "/apis/apps/v1/namespaces/{}/deployments/{}/status",
        namespace(&deployment),
        name(&deployment)
    );
    if let Some(fields) = deployment.as_object_mut() {
        fields.insert("status".into(), Value::Object(status));
    }
    let _ = actor.update(&path, deployment).await;
}

/// A condition; its times change only with it.
fn condition(deployment: &Value, kind: &str, on: bool, reason: &str, message: &str) -> Value {
    let status = if on { "True" } else { "False" };
    let old = items(deployment, "/status/conditions")
        .iter()
        .find(|condition| text_at(condition, "/type") == kind);
    if let Some(old) = old
        && text_at(old, "/status") == status
        && text_at(old, "/reason") == reason
        && text_at(old, "/message") == message
    {
        return old.clone();
    }
    let since = old
        .filter(|old| text_at(old, "/status") == status)
        .map_or_else(now, |old| text_at(old, "/lastTransitionTime").to_owned());
    json!({"type": kind, "status": status, "lastUpdateTime": now(), "lastTransitionTime": since,
        "reason": reason, "message": message})
}
