//! What may change in a pod that exists (`ValidatePodUpdate`, `ValidatePodStatusUpdate`,
//! `ValidatePodEphemeralContainersUpdate` of `pkg/apis/core/validation/validation.go`).

use serde_json::{Map, Value};

use super::{Errors, name};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::kinds::internal;

const MIRROR: &str = "kubernetes.io/config.mirror";
const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";

/// What may change through the pod itself.
pub(super) fn pod(old: &Value, new: &Value, e: &mut Errors) {
    annotations(old, new, e);
    for list in ["containers", "initContainers"] {
        if images(old, new, list, e) {
            return;
        }
    }
    if deadline(old, new, e) {
        return;
    }
    tolerations(old, new, e);
    gates(old, new, e);
    let empty = Value::Null;
    let (before, after) = (
        old.get("spec").unwrap_or(&empty),
        new.get("spec").unwrap_or(&empty),
    );
    if internal::same("PodSpec", before, after) {
        return;
    }
    let after = masked(before, after, e);
    if !internal::same("PodSpec", before, &after) {
        e.forbidden(
            "spec",
            format!(
                "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n{}",
                internal::diff("PodSpec", before, &after)
            ),
        );
    }
}

/// `ValidatePodSpecificAnnotationUpdates`.
fn annotations(old: &Value, new: &Value, e: &mut Errors) {
    let of = |pod: &Value| -> Map<String, Value> {
        pod.pointer("/metadata/annotations")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let (before, after) = (of(old), of(new));
    for (key, value) in &before {
        if after.get(key) == Some(value) {
            continue;
        }
        let path = format!("metadata.annotations[{key}]");
        if key.starts_with(APP_ARMOR) {
            e.forbidden(&path, "may not remove or update AppArmor annotations");
        }
        if key == MIRROR {
            e.forbidden(&path, "may not remove or update mirror pod annotation");
        }
    }
    for key in after.keys().filter(|key| !before.contains_key(*key)) {
        let path = format!("metadata.annotations[{key}]");
        if key.starts_with(APP_ARMOR) {
            e.forbidden(&path, "may not add AppArmor annotations");
        }
        if key == MIRROR {
            e.forbidden(&path, "may not add mirror pod annotation");
        }
    }
}

/// Gives whether nothing more is looked at.
fn images(old: &Value, new: &Value, list: &str, e: &mut Errors) -> bool {
    let pointer = format!("/spec/{list}");
    let containers = items(new, &pointer);
    if containers.len() != items(old, &pointer).len() {
        e.forbidden(
            &format!("spec.{list}"),
            "pod updates may not add or remove containers",
        );
        return true;
    }
    for (at, container) in containers.iter().enumerate() {
        let path = format!("spec.{list}[{at}].image");
        let image = text_at(container, "/image");
        if image.is_empty() {
            e.required(&path, "");
        }
        if image.trim().len() != image.len() {
            e.invalid(
                &path,
                &image.into(),
                "must not have leading or trailing whitespace",
            );
        }
    }
    false
}

/// Gives whether nothing more is looked at.
fn deadline(old: &Value, new: &Value, e: &mut Errors) -> bool {
    let path = "spec.activeDeadlineSeconds";
    let seconds = |pod: &Value| {
        pod.pointer("/spec/activeDeadlineSeconds")
            .and_then(Value::as_i64)
    };
    match (seconds(old), seconds(new)) {
        (_, Some(now)) if !(0..=i64::from(i32::MAX)).contains(&now) => {
            e.invalid(
                path,
                &now.into(),
                "must be between 0 and 2147483647, inclusive",
            );
            true
        }
        (Some(before), Some(now)) if before < now => {
            e.invalid(
                path,
                &now.into(),
                "must be less than or equal to previous value",
            );
            true
        }
        (Some(_), None) => {
            e.invalid(
                path,
                &Value::Null,
                "must not update from a positive integer to nil value",
            );
            false
        }
        _ => false,
    }
}

fn tolerations(old: &Value, new: &Value, e: &mut Errors) {
    let lasting = |toleration: &Value| {
        let mut toleration = toleration.clone();
        if let Some(fields) = toleration.as_object_mut() {
            fields.shift_remove("tolerationSeconds");
        }
        toleration
    };
    let now: Vec<Value> = items(new, "/spec/tolerations")
        .iter()
        .map(lasting)
        .collect();
    let kept = items(old, "/spec/tolerations")
        .iter()
        .all(|own| now.contains(&lasting(own)));
    if !kept {
        e.forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        );
    }
}

fn gates(old: &Value, new: &Value, e: &mut Errors) {
    let known: Vec<&str> = items(old, "/spec/schedulingGates")
        .iter()
        .map(|gate| text_at(gate, "/name"))
        .collect();
    for (at, gate) in items(new, "/spec/schedulingGates").iter().enumerate() {
        let own = text_at(gate, "/name");
        if !known.contains(&own) {
            e.forbidden(
                &format!("spec.schedulingGates[{at}].name"),
                format!("only deletion is allowed, but found new scheduling gate '{own}'"),
            );
        }
    }
}

/// The new spec with everything as it was that may change.
fn masked(before: &Value, after: &Value, e: &mut Errors) -> Value {
    let mut after = after.clone();
    let Some(fields) = after.as_object_mut() else {
        return after;
    };
    for list in ["containers", "initContainers"] {
        let old = items(before, &format!("/{list}"));
        if let Some(containers) = fields.get_mut(list).and_then(Value::as_array_mut) {
            for (container, own) in containers.iter_mut().zip(old) {
                if let (Some(container), Some(image)) =
                    (container.as_object_mut(), own.get("image"))
                {
                    container.insert("image".into(), image.clone());
                }
            }
        }
    }
    let mut free = vec!["activeDeadlineSeconds", "schedulingGates", "tolerations"];
    let grace = |spec: &Value| {
        spec.get("terminationGracePeriodSeconds")
            .and_then(Value::as_i64)
    };
    if grace(before).is_some_and(|seconds| seconds < 0)
        && fields
            .get("terminationGracePeriodSeconds")
            .and_then(Value::as_i64)
            == Some(1)
    {
        free.push("terminationGracePeriodSeconds");
    }
    if !items(before, "/schedulingGates").is_empty() {
        node_selector(before, fields.get("nodeSelector"), e);
        free.push("nodeSelector");
    }
    for key in free {
        match before.get(key) {
            Some(value) => fields.insert(key.into(), value.clone()),
            None => fields.shift_remove(key),
        };
    }
    after
}

/// What is not scheduled yet may be narrowed, never widened.
fn node_selector(before: &Value, after: Option<&Value>, e: &mut Errors) {
    for (key, value) in before
        .get("nodeSelector")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        match after.and_then(|after| after.get(key)) {
            None => e.invalid(
                &format!("spec.nodeSelector[{key}]"),
                value,
                "cannot be deleted",
            ),
            Some(now) if now != value => {
                e.invalid(
                    &format!("spec.nodeSelector[{key}]"),
                    now,
                    "cannot be mutated",
                );
            }
            Some(_) => {}
        }
    }
}

/// What may change through `ephemeralcontainers`: only additions.
pub(super) fn ephemeral(old: &Value, new: &Value, e: &mut Errors) {
    if old
        .pointer("/metadata/annotations")
        .is_some_and(|all| all.get(MIRROR).is_some())
    {
        e.forbidden("", "static pods do not support ephemeral containers");
        return;
    }
    for own in items(old, "/spec/ephemeralContainers") {
        let own_name = text_at(own, "/name");
        match items(new, "/spec/ephemeralContainers")
            .iter()
            .find(|other| text_at(other, "/name") == own_name)
        {
            None => e.forbidden(
                "spec.ephemeralContainers",
                format!("existing ephemeral containers \"{own_name}\" may not be removed\n"),
            ),
            Some(now) if !internal::same("EphemeralContainer", own, now) => e.forbidden(
                "spec.ephemeralContainers",
                format!(
                    "existing ephemeral containers \"{own_name}\" may not be changed\n{}",
                    internal::diff("EphemeralContainer", own, now)
                ),
            ),
            Some(_) => {}
        }
    }
}

/// What may change in the status.
pub(super) fn status(old: &Value, new: &Value, e: &mut Errors) {
    for (at, condition) in items(new, "/status/conditions").iter().enumerate() {
        let kind = text_at(condition, "/type");
        if matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            continue;
        }
        for problem in name::qualified(kind) {
            // The real path is wrong as well.
            e.invalid(
                &format!("metadata.conditions[{at}].Type"),
                &kind.into(),
                problem,
            );
        }
    }
    let nominated = text_at(new, "/status/nominatedNodeName");
    if !nominated.is_empty() && nominated != text_at(old, "/status/nominatedNodeName") {
        for problem in name::subdomain(nominated) {
            e.invalid("status.nominatedNodeName", &nominated.into(), problem);
        }
    }
    e.immutable(
        "status.qosClass",
        old.pointer("/status/qosClass"),
        new.pointer("/status/qosClass"),
    );
    let policy = text_at(old, "/spec/restartPolicy");
    for list in ["containerStatuses", "ephemeralContainerStatuses"] {
        let policy = if list.starts_with("ephemeral") {
            "Never"
        } else {
            policy
        };
        transitions(old, new, list, policy, e);
    }
    for (at, address) in items(new, "/status/podIPs").iter().enumerate() {
        let ip = text_at(address, "/ip");
        for problem in name::ip(ip) {
            e.invalid(&format!("podIPs[{at}]"), &ip.into(), problem);
        }
    }
}

/// A container that is over for good does not run again.
fn transitions(old: &Value, new: &Value, list: &str, policy: &str, e: &mut Errors) {
    if policy == "Always" {
        return;
    }
    let pointer = format!("/status/{list}");
    for (at, before) in items(old, &pointer).iter().enumerate() {
        let Some(code) = before.pointer("/state/terminated/exitCode") else {
            continue;
        };
        if policy == "OnFailure" && code.as_i64() != Some(0) {
            continue;
        }
        let revived = items(new, &pointer).iter().any(|now| {
            text_at(now, "/name") == text_at(before, "/name")
                && now.pointer("/state/terminated").is_none()
        });
        if revived {
            e.forbidden(
                &format!("status.{list}[{at}].state"),
                "may not be transitioned to non-terminated state",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(old: &Value, new: &Value) -> Vec<String> {
        let mut e = Errors::default();
        pod(old, new, &mut e);
        e.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn images_deadlines_and_additional_tolerations_may_change() {
        let old = json!({"spec": {"containers": [{"name": "a", "image": "x:1"}],
            "schedulingGates": [{"name": "g"}], "tolerations": [{"key": "k"}]}});
        let new = json!({"spec": {"containers": [{"name": "a", "image": "x:2"}],
            "activeDeadlineSeconds": 9, "nodeSelector": {"zone": "a"},
            "tolerations": [{"key": "k", "tolerationSeconds": 3}, {"key": "l"}]}});
        assert_eq!(said(&old, &new), Vec::<String>::new());
        let later = json!({"spec": {"containers": [{"name": "a", "image": "x:2"}],
            "tolerations": [{"key": "k"}, {"key": "l"}], "nodeSelector": {"zone": "a"}}});
        assert_eq!(
            said(&new, &later),
            [
                "spec.activeDeadlineSeconds: Invalid value: null: must not update from a positive integer to nil value"
            ]
        );
    }

    #[test]
    fn containers_are_not_added() {
        let old = json!({"spec": {"containers": [{"name": "a", "image": "x"}]}});
        let new = json!({"spec": {"containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "x"}]}});
        assert_eq!(
            said(&old, &new),
            ["spec.containers: Forbidden: pod updates may not add or remove containers"]
        );
    }
}
