//! LimitRanger (`plugin/pkg/admission/limitranger/admission.go`).

use std::sync::Arc;

use serde_json::Value;

use super::{Attributes, Operation};
use crate::node::embedded::apiserver::kinds::edit::{each, ensure, items, text_at};
use crate::node::embedded::apiserver::kinds::quantity::Quantity;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

fn ranges(state: &Arc<ApiState>, namespace: &str) -> Vec<Arc<Value>> {
    let prefix = format!("/registry/core/limitranges/{namespace}/");
    state
        .store
        .list(&prefix)
        .0
        .into_iter()
        .map(|stored| stored.value)
        .collect()
}

/// Gives containers the default requests and limits of their namespace.
pub fn default_pod(state: &Arc<ApiState>, attributes: &Attributes<'_>, pod: &mut Value) {
    for range in ranges(state, attributes.namespace) {
        for item in items(&range, "/spec/limits") {
            if text_at(item, "/type") != "Container" {
                continue;
            }
            let Some(fields) = pod.as_object_mut() else {
                return;
            };
            let mut texts: Vec<String> = Vec::new();
            let spec = ensure(fields, "spec");
            for list in ["containers", "initContainers"] {
                each(spec, list, |container| {
                    let name = container
                        .get("name")
                        .and_then(Value::as_str)
                        .unwrap_or_default()
                        .to_owned();
                    let mut set = Vec::new();
                    for (from, to) in [("defaultRequest", "requests"), ("default", "limits")] {
                        let Some(defaults) = item.get(from).and_then(Value::as_object) else {
                            continue;
                        };
                        let mut added: Vec<String> = Vec::new();
                        for (resource, value) in defaults {
                            let target = ensure(ensure(container, "resources"), to);
                            if !target.contains_key(resource) {
                                target.insert(resource.clone(), value.clone());
                                target.sort_keys();
                                added.push(resource.clone());
                            }
                        }
                        added.sort_unstable();
                        if !added.is_empty() {
                            let what = if to == "requests" { "request" } else { "limit" };
                            set.push(format!("{} {what}", added.join(", ")));
                        }
                    }
                    for what in &set {
                        let kind = if list == "containers" {
                            "container"
                        } else {
                            "init container"
                        };
                        texts.push(format!("{what} for {kind} {name}"));
                    }
                });
            }
            if !texts.is_empty() {
                let text = format!("LimitRanger plugin set: {}", texts.join("; "));
                let annotations = ensure(ensure(fields, "metadata"), "annotations");
                annotations.insert("kubernetes.io/limit-ranger".into(), text.into());
            }
        }
    }
}

/// Refuses what is outside the limits of the namespace.
///
/// # Errors
/// 403 with every limit that is broken.
pub fn validate(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    object: &Value,
) -> Result<(), Status> {
    let pods = attributes.is("", "pods", "") && attributes.operation == Operation::Create;
    let claims = attributes.is("", "persistentvolumeclaims", "")
        && matches!(attributes.operation, Operation::Create | Operation::Update);
    if !pods && !claims {
        return Ok(());
    }
    for range in ranges(state, attributes.namespace) {
        let mut errors = Vec::new();
        for item in items(&range, "/spec/limits") {
            match text_at(item, "/type") {
                "Container" if pods => {
                    for list in ["/spec/containers", "/spec/initContainers"] {
                        for container in items(object, list) {
                            check(
                                item,
                                "Container",
                                &amounts(container, "requests"),
                                &amounts(container, "limits"),
                                &mut errors,
                            );
                        }
                    }
                }
                "Pod" if pods => {
                    let (requests, limits) = pod_total(object);
                    check(item, "Pod", &requests, &limits, &mut errors);
                }
                "PersistentVolumeClaim" if claims => {
                    let requests: Amounts = object
                        .pointer("/spec/resources/requests")
                        .map(amounts_of)
                        .unwrap_or_default();
                    let storage: Amounts = requests
                        .into_iter()
                        .filter(|(name, _)| name == "storage")
                        .collect();
                    check(
                        item,
                        "PersistentVolumeClaim",
                        &storage,
                        &Vec::new(),
                        &mut errors,
                    );
                }
                _ => {}
            }
        }
        if !errors.is_empty() {
            let text = if errors.len() == 1 {
                errors.concat()
            } else {
                format!("[{}]", errors.join(", "))
            };
            return Err(attributes.forbidden(object, text));
        }
    }
    Ok(())
}

/// Quantities by resource name.
pub type Amounts = Vec<(String, Quantity)>;

/// The quantities of a resource list.
#[must_use]
pub fn amounts_of(list: &Value) -> Amounts {
    list.as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), Quantity::parse(value.as_str()?)?)))
        .collect()
}

fn amounts(container: &Value, list: &str) -> Amounts {
    container
        .pointer(&format!("/resources/{list}"))
        .map(amounts_of)
        .unwrap_or_default()
}

/// Sum of the containers; an init container counts where it is larger.
#[must_use]
pub fn pod_total(pod: &Value) -> (Amounts, Amounts) {
    let total = |list: &str| {
        let mut sum: Amounts = Vec::new();
        for container in items(pod, "/spec/containers") {
            for (name, quantity) in amounts(container, list) {
                match sum.iter_mut().find(|(own, _)| *own == name) {
                    Some((_, own)) => *own = own.plus(quantity),
                    None => sum.push((name, quantity)),
                }
            }
        }
        for container in items(pod, "/spec/initContainers") {
            for (name, quantity) in amounts(container, list) {
                match sum.iter_mut().find(|(own, _)| *own == name) {
                    Some((_, own)) if *own < quantity => *own = quantity,
                    Some(_) => {}
                    None => sum.push((name, quantity)),
                }
            }
        }
        sum
    };
    (total("requests"), total("limits"))
}

fn get(list: &Amounts, name: &str) -> Option<Quantity> {
    list.iter()
        .find(|(own, _)| own == name)
        .map(|(_, quantity)| *quantity)
}

fn limits_of(item: &Value, key: &str) -> Amounts {
    let mut list = item.get(key).map(amounts_of).unwrap_or_default();
    list.sort_by(|a, b| a.0.cmp(&b.0));
    list
}

fn check(item: &Value, kind: &str, requests: &Amounts, limits: &Amounts, errors: &mut Vec<String>) {
    for (name, min) in limits_of(item, "min") {
        match (get(requests, &name), get(limits, &name)) {
            (Some(request), _) if request < min => errors.push(format!(
                "minimum {name} usage per {kind} is {}, but request is {}",
                min.canonical(),
                request.canonical()
            )),
            (_, Some(limit)) if limit < min => errors.push(format!(
                "minimum {name} usage per {kind} is {}, but limit is {}",
                min.canonical(),
                limit.canonical()
            )),
            (None, _) => errors.push(format!(
                "minimum {name} usage per {kind} is {}.  No request is specified",
                min.canonical()
            )),
            _ => {}
        }
    }
    for (name, max) in limits_of(item, "max") {
        match (get(limits, &name), get(requests, &name)) {
            (Some(limit), _) if max < limit => errors.push(format!(
                "maximum {name} usage per {kind} is {}, but limit is {}",
                max.canonical(),
                limit.canonical()
            )),
            (_, Some(request)) if max < request => errors.push(format!(
                "maximum {name} usage per {kind} is {}, but request is {}",
                max.canonical(),
                request.canonical()
            )),
            (None, None) | (None, Some(_)) if kind != "PersistentVolumeClaim" => {
                errors.push(format!(
                    "maximum {name} usage per {kind} is {}.  No limit is specified",
                    max.canonical()
                ))
            }
            _ => {}
        }
    }
    for (name, ratio) in limits_of(item, "maxLimitRequestRatio") {
        let (Some(request), Some(limit)) = (get(requests, &name), get(limits, &name)) else {
            errors.push(format!(
                "{name} max limit to request ratio per {kind} is {}, but no request is specified or request is 0",
                ratio.canonical()
            ));
            continue;
        };
        if request.is_zero() {
            continue;
        }
        let provided = limit.nano() as f64 / request.nano() as f64;
        if provided > ratio.nano() as f64 / 1e9 {
            errors.push(format!(
                "{name} max limit to request ratio per {kind} is {}, but provided ratio is {provided:.6}",
                ratio.canonical()
            ));
        }
    }
}
