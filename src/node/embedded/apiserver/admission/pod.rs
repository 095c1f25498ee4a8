//! Priority, DefaultTolerationSeconds and RuntimeClass
//! (`plugin/pkg/admission/{priority,defaulttolerationseconds,runtimeclass}`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::Attributes;
use crate::node::embedded::apiserver::kinds::edit::{ensure, items, text, text_at};
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

/// Resolves the priority class into a number.
///
/// # Errors
/// 403 when there is no such class.
pub fn priority(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    pod: &mut Value,
) -> Result<(), Status> {
    let (classes, _) = state
        .store
        .list("/registry/scheduling.k8s.io/priorityclasses/");
    let wanted = text_at(pod, "/spec/priorityClassName").to_owned();
    let class = if wanted.is_empty() {
        classes
            .iter()
            .filter(|class| class.value.get("globalDefault") == Some(&Value::Bool(true)))
            .min_by_key(|class| class.value.get("value").and_then(Value::as_i64))
    } else {
        let found = classes
            .iter()
            .find(|class| text_at(&class.value, "/metadata/name") == wanted);
        if found.is_none() {
            let why = format!("no PriorityClass with name {wanted} was found");
            return Err(attributes.forbidden(pod, why));
        }
        found
    };
    let (number, policy, name) = class.map_or((0, "PreemptLowerPriority", ""), |class| {
        (
            class
                .value
                .get("value")
                .and_then(Value::as_i64)
                .unwrap_or(0),
            match text_at(&class.value, "/preemptionPolicy") {
                "" => "PreemptLowerPriority",
                policy => policy,
            },
            text_at(&class.value, "/metadata/name"),
        )
    });
    let given = pod.pointer("/spec/priority").and_then(Value::as_i64);
    if let Some(given) = given
        && given != number
    {
        let why = format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller computed {number} from the given PriorityClass name"
        );
        return Err(attributes.forbidden(pod, why));
    }
    let given = text_at(pod, "/spec/preemptionPolicy");
    if !given.is_empty() && given != policy {
        let why = format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission controller computed {policy} from the given PriorityClass name"
        );
        return Err(attributes.forbidden(pod, why));
    }
    let Some(pod) = pod.as_object_mut() else {
        return Ok(());
    };
    let spec = ensure(pod, "spec");
    if wanted.is_empty() && !name.is_empty() {
        spec.insert("priorityClassName".into(), name.into());
    }
    spec.insert("priority".into(), number.into());
    spec.insert("preemptionPolicy".into(), policy.into());
    Ok(())
}

/// Only one class may be the default of the cluster.
///
/// # Errors
/// 403 when another is.
pub fn single_default_class(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    class: &Value,
) -> Result<(), Status> {
    if class.get("globalDefault") != Some(&Value::Bool(true)) {
        return Ok(());
    }
    let (classes, _) = state
        .store
        .list("/registry/scheduling.k8s.io/priorityclasses/");
    let other = classes
        .iter()
        .find(|other| other.value.get("globalDefault") == Some(&Value::Bool(true)));
    match other {
        Some(other)
            if text_at(&other.value, "/metadata/name") != text_at(class, "/metadata/name") =>
        {
            let why = format!(
                "PriorityClass {} is already marked as default. Only one default can exist",
                text_at(&other.value, "/metadata/name")
            );
            Err(attributes.forbidden(class, why))
        }
        _ => Ok(()),
    }
}

/// Pods survive five minutes on a node that is not ready or not reachable.
pub fn tolerations(pod: &mut Value) {
    // Pods of daemon sets and static pods tolerate everything already; mirror pods are left alone by
    // the condition below.
    let tolerated = |pod: &Value, key: &str| {
        items(pod, "/spec/tolerations").iter().any(|toleration| {
            let own = text_at(toleration, "/key");
            let effect = text_at(toleration, "/effect");
            (own == key || own.is_empty()) && (effect == "NoExecute" || effect.is_empty())
        })
    };
    for key in [
        "node.kubernetes.io/not-ready",
        "node.kubernetes.io/unreachable",
    ] {
        if tolerated(pod, key) {
            continue;
        }
        let Some(fields) = pod.as_object_mut() else {
            return;
        };
        let list = ensure(fields, "spec")
            .entry("tolerations".to_owned())
            .or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.push(
                json!({"key": key, "operator": "Exists", "effect": "NoExecute",
                "tolerationSeconds": 300}),
            );
        }
    }
}

/// Overhead is what a runtime class says, judged once the pod is known to be secure.
///
/// # Errors
/// 403 when no class says so.
pub fn overhead(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    pod: &Value,
) -> Result<(), Status> {
    let name = text_at(pod, "/spec/runtimeClassName");
    let class = state
        .store
        .get(&format!("/registry/node.k8s.io/runtimeclasses/{name}"))
        .filter(|_| !name.is_empty());
    let given = pod.pointer("/spec/overhead").is_some_and(|o| !o.is_null());
    let defined = class.is_some_and(|class| class.value.pointer("/overhead/podFixed").is_some());
    if given && !defined {
        return Err(attributes.forbidden(
            pod,
            "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead",
        ));
    }
    Ok(())
}

/// Overhead and node selector of the runtime class.
///
/// # Errors
/// 403 when there is no such class, or the pod's overhead is not the class's.
pub fn runtime_class(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    pod: &mut Value,
) -> Result<(), Status> {
    let name = text_at(pod, "/spec/runtimeClassName").to_owned();
    let class = if name.is_empty() {
        None
    } else {
        let key = format!("/registry/node.k8s.io/runtimeclasses/{name}");
        let found = state.store.get(&key);
        if found.is_none() {
            let why = format!("pod rejected: RuntimeClass \"{name}\" not found");
            return Err(attributes.forbidden(pod, why));
        }
        found
    };
    let own = pod
        .pointer("/spec/overhead")
        .filter(|o| !o.is_null())
        .cloned();
    let overhead = class
        .as_ref()
        .and_then(|class| class.value.pointer("/overhead/podFixed").cloned());
    if let (Some(own), Some(overhead)) = (&own, &overhead)
        && own != overhead
    {
        return Err(attributes.forbidden(
            pod,
            "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        ));
    }
    let Some(fields) = pod.as_object_mut() else {
        return Ok(());
    };
    let spec = ensure(fields, "spec");
    if let Some(overhead) = overhead {
        spec.insert("overhead".into(), overhead);
    }
    let Some(class) = class else {
        return Ok(());
    };
    if let Some(Value::Object(labels)) = class.value.pointer("/scheduling/nodeSelector") {
        let selector = ensure(spec, "nodeSelector");
        for (key, value) in labels {
            if !text(selector, key).is_empty() && selector.get(key) != Some(value) {
                let why = format!(
                    "pod rejected: conflict: runtimeClass.scheduling.nodeSelector[{key}] = {}; pod.spec.nodeSelector[{key}] = {}",
                    value.as_str().unwrap_or_default(),
                    text(selector, key)
                );
                return Err(attributes.forbidden(pod, why));
            }
            selector.insert(key.clone(), value.clone());
        }
    }
    let more = items(&class.value, "/scheduling/tolerations").to_vec();
    if !more.is_empty() {
        let list = spec
            .entry("tolerations".to_owned())
            .or_insert_with(|| json!([]));
        if let Some(list) = list.as_array_mut() {
            list.extend(more);
        }
    }
    Ok(())
}
