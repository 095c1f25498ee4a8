//! The garbage collector (`pkg/controller/garbagecollector`).

use std::time::Duration;

use serde_json::{Value, json};

use super::Controllers;
use crate::node::embedded::apiserver::catalog;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::cluster::actor::succeeded;
use crate::node::embedded::cluster::object::{is_deleting, name, namespace, uid};

const ACCOUNT: &str = "generic-garbage-collector";

/// The API path of a stored object.
fn path(key: &str, object: &Value) -> Option<String> {
    let mut parts = key.split('/').skip(2);
    let (group, resource) = (parts.next()?, parts.next()?);
    let group = if group == "core" { "" } else { group };
    let built_in = catalog::built_in()
        .iter()
        .find(|known| known.group == group && known.name == resource);
    let prefix = match built_in {
        Some(_) if group.is_empty() => "/api/v1".to_owned(),
        Some(known) => format!("/apis/{group}/{}", known.version),
        None => format!("/apis/{}", text_at(object, "/apiVersion")),
    };
    Some(match namespace(object) {
        "" => format!("{prefix}/{resource}/{}", name(object)),
        space => format!("{prefix}/namespaces/{space}/{resource}/{}", name(object)),
    })
}

/// Objects that name this owner.
fn dependents(c: &Controllers, owner: &str) -> Vec<(String, Value)> {
    c.list("/registry/")
        .into_iter()
        .filter(|stored| {
            items(&stored.value, "/metadata/ownerReferences")
                .iter()
                .any(|reference| text_at(reference, "/uid") == owner)
        })
        .map(|stored| {
            let object = super::versioned(&stored);
            (stored.key, object)
        })
        .collect()
}

/// Whether any object has this uid.
fn lives(c: &Controllers, wanted: &str) -> bool {
    c.list("/registry/")
        .iter()
        .any(|stored| uid(&stored.value) == wanted)
}

/// An owner is gone: what it owned goes too, unless another owner is left.
pub(super) async fn collect(c: &mut Controllers, owner: &str) -> Option<Duration> {
    let all = dependents(c, owner);
    if all.is_empty() {
        return None;
    }
    let actor = c.actor(ACCOUNT).await;
    for (key, object) in all {
        let others = items(&object, "/metadata/ownerReferences")
            .iter()
            .map(|reference| text_at(reference, "/uid"))
            .any(|other| other != owner && lives(c, other));
        let Some(path) = path(&key, &object) else {
            continue;
        };
        let _ = actor.get(&path).await;
        if others {
            let patch = json!({"metadata": {"uid": uid(&object),
                "ownerReferences": [{"$patch": "delete", "uid": owner}]}});
            let _ = actor.patch(&path, patch).await;
        } else if !is_deleting(&object) {
            let options = json!({"kind": "DeleteOptions", "apiVersion": "v1",
                "preconditions": {"uid": uid(&object)}, "propagationPolicy": "Background"});
            let _ = actor.delete(&path, Some(options)).await;
        }
    }
    None
}

/// An object that waits for its dependents (foreground), to let them go (orphan), or for its users.
pub(super) async fn finalize(c: &mut Controllers, key: &str) -> Option<Duration> {
    let object = c.cached(key)?;
    if !is_deleting(&object) {
        return None;
    }
    let has = |finalizer: &str| {
        items(&object, "/metadata/finalizers")
            .iter()
            .any(|own| own == finalizer)
    };
    let path = path(key, &object)?;
    if has("orphan") {
        let actor = c.actor(ACCOUNT).await;
        for (key, dependent) in dependents(c, uid(&object)) {
            if let Some(path) = self::path(&key, &dependent) {
                let patch = json!({"metadata": {"uid": uid(&dependent),
                    "ownerReferences": [{"$patch": "delete", "uid": uid(&object)}]}});
                let _ = actor.patch(&path, patch).await;
            }
        }
        return release(c, &path, key, "orphan").await;
    }
    if has("foregroundDeletion") {
        let actor = c.actor(ACCOUNT).await;
        let all = dependents(c, uid(&object));
        let blocking = all.iter().any(|(_, dependent)| {
            items(dependent, "/metadata/ownerReferences")
                .iter()
                .any(|reference| {
                    text_at(reference, "/uid") == uid(&object)
                        && reference.get("blockOwnerDeletion") == Some(&Value::Bool(true))
                })
        });
        for (key, dependent) in &all {
            if !is_deleting(dependent)
                && let Some(path) = self::path(key, dependent)
            {
                let options = json!({"kind": "DeleteOptions", "apiVersion": "v1",
                    "preconditions": {"uid": uid(dependent)}, "propagationPolicy": "Foreground"});
                let _ = actor.delete(&path, Some(options)).await;
            }
        }
        if blocking && !dependents(c, uid(&object)).is_empty() {
            return Some(Duration::from_millis(300));
        }
        return release(c, &path, key, "foregroundDeletion").await;
    }
    for (finalizer, account, plural) in [
        (
            "kubernetes.io/pvc-protection",
            "pvc-protection-controller",
            "persistentvolumeclaims",
        ),
        (
            "kubernetes.io/pv-protection",
            "pv-protection-controller",
            "persistentvolumes",
        ),
    ] {
        if has(finalizer) && key.contains(plural) {
            if in_use(c, &object, plural) {
                return Some(Duration::from_secs(2));
            }
            let actor = c.actor(account).await;
            let mut freed = c.cached(key)?;
            if let Some(list) = freed
                .pointer_mut("/metadata/finalizers")
                .and_then(Value::as_array_mut)
            {
                list.retain(|own| own != finalizer);
            }
            if !succeeded(&actor.update(&path, freed).await) {
                return Some(Duration::from_secs(1));
            }
        }
    }
    None
}

fn in_use(c: &Controllers, object: &Value, plural: &str) -> bool {
    if plural == "persistentvolumes" {
        return text_at(object, "/status/phase") == "Bound";
    }
    let prefix = format!("/registry/core/pods/{}/", namespace(object));
    c.list(&prefix).iter().any(|pod| {
        items(&pod.value, "/spec/volumes")
            .iter()
            .any(|volume| text_at(volume, "/persistentVolumeClaim/claimName") == name(object))
            && !matches!(text_at(&pod.value, "/status/phase"), "Succeeded" | "Failed")
    })
}

/// Takes a finalizer away, as the collector does: with the whole list in a merge patch.
async fn release(c: &mut Controllers, path: &str, key: &str, finalizer: &str) -> Option<Duration> {
    let object = c.cached(key)?;
    let rest: Vec<&Value> = items(&object, "/metadata/finalizers")
        .iter()
        .filter(|own| *own != finalizer)
        .collect();
    let patch = json!({"metadata": {
        "resourceVersion": text_at(&object, "/metadata/resourceVersion"),
        "finalizers": rest, "uid": uid(&object)}});
    let actor = c.actor(ACCOUNT).await;
    let _ = actor
        .send(
            http::Method::PATCH,
            path,
            "application/merge-patch+json",
            Some(patch),
        )
        .await;
    None
}
