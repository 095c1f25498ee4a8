//! ResourceQuota (`k8s.io/apiserver/pkg/admission/plugin/resourcequota`), computed from the objects there are.

use std::sync::Arc;

use serde_json::Value;

use super::limits::pod_total;
use super::{Attributes, Operation};
use crate::node::embedded::apiserver::kinds::edit::{ensure, items, text_at};
use crate::node::embedded::apiserver::kinds::quantity::Quantity;
use crate::node::embedded::apiserver::loopback;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

/// Refuses what goes over a quota of the namespace.
///
/// # Errors
/// 403.
pub async fn validate(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), Status> {
    if attributes.operation != Operation::Create
        || !attributes.subresource.is_empty()
        || attributes.namespace.is_empty()
        || old.is_some()
    {
        return Ok(());
    }
    let prefix = format!("/registry/core/resourcequotas/{}/", attributes.namespace);
    for stored in state.store.list(&prefix).0 {
        let quota = stored.value.clone();
        if !in_scope(&quota, attributes, new) {
            continue;
        }
        // What the quota controller has not seen yet is not enforced.
        let Some(hard) = quota.pointer("/status/hard").and_then(Value::as_object) else {
            continue;
        };
        let name = text_at(&quota, "/metadata/name");
        let mut over: Vec<(String, Quantity, Quantity, Quantity)> = Vec::new();
        let mut asked: Vec<(String, Quantity)> = Vec::new();
        let mut missing: Vec<String> = Vec::new();
        for (resource, limit) in hard {
            let Some(limit) = limit.as_str().and_then(Quantity::parse) else {
                continue;
            };
            let Some(request) = usage(attributes, resource, new) else {
                continue;
            };
            if attributes.is("", "pods", "") && is_compute(resource) {
                missing.extend(unspecified(new, resource));
            }
            if request.is_zero() {
                continue;
            }
            asked.push((resource.clone(), request));
            let used = used(&quota, resource);
            if limit < used.plus(request) {
                over.push((resource.clone(), request, used, limit));
            }
        }
        if !missing.is_empty() {
            missing.sort_unstable();
            missing.dedup();
            let why = format!("failed quota: {name}: must specify {}", missing.join("; "));
            return Err(attributes.forbidden(new, why));
        }
        let unknown: Vec<&str> = asked
            .iter()
            .map(|(resource, _)| resource.as_str())
            .filter(|resource| !has_usage(&quota, resource))
            .collect();
        if !unknown.is_empty() {
            let why = format!(
                "status unknown for quota: {name}, resources: {}",
                unknown.join(",")
            );
            return Err(attributes.forbidden(new, why));
        }
        if over.is_empty() {
            if !attributes.dry_run && !asked.is_empty() {
                charge(state, attributes.namespace, &stored.key, &asked).await;
            }
            continue;
        }
        // Everything that is asked of an exceeded quota is shown, sorted by name.
        asked.sort_by(|a, b| a.0.cmp(&b.0));
        let show = |pick: &dyn Fn(&str, Quantity) -> Quantity| {
            asked
                .iter()
                .map(|(resource, request)| {
                    format!("{resource}={}", pick(resource, *request).canonical())
                })
                .collect::<Vec<_>>()
                .join(",")
        };
        let why = format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            show(&|_, request| request),
            show(&|resource, _| used(&quota, resource)),
            show(&|resource, _| hard
                .get(resource)
                .and_then(Value::as_str)
                .and_then(Quantity::parse)
                .unwrap_or(Quantity::ZERO)),
        );
        return Err(attributes.forbidden(new, why));
    }
    Ok(())
}

/// How often a quota that others write at the same time is charged anew.
const ATTEMPTS: usize = 3;

/// Admission itself keeps the usage in the quota's status, through the API.
async fn charge(state: &Arc<ApiState>, namespace: &str, key: &str, asked: &[(String, Quantity)]) {
    for _ in 0..ATTEMPTS {
        let Some(stored) = state.store.get(key) else {
            return;
        };
        let mut object = stored.value.as_ref().clone();
        let name = text_at(&object, "/metadata/name").to_owned();
        for (resource, request) in asked {
            let amount = used(&object, resource).plus(*request).canonical();
            if let Some(used) = object
                .pointer_mut("/status/used")
                .and_then(Value::as_object_mut)
            {
                used.insert(resource.clone(), amount.into());
            }
        }
        if let Some(fields) = object.as_object_mut() {
            fields.insert("kind".into(), "ResourceQuota".into());
            fields.insert("apiVersion".into(), "v1".into());
            ensure(fields, "metadata")
                .insert("resourceVersion".into(), stored.revision.to_string().into());
        }
        let path = format!("/api/v1/namespaces/{namespace}/resourcequotas/{name}/status");
        let (code, _) = loopback::call(state, http::Method::PUT, path, Some(object)).await;
        if code != 409 {
            return;
        }
    }
}

fn in_scope(quota: &Value, attributes: &Attributes<'_>, new: &Value) -> bool {
    let scopes = items(quota, "/spec/scopes");
    if scopes.is_empty() {
        return true;
    }
    if !attributes.is("", "pods", "") {
        return false;
    }
    let best_effort = crate::node::embedded::apiserver::kinds::strategy::qos_class(new.get("spec"))
        == "BestEffort";
    let terminating = new.pointer("/spec/activeDeadlineSeconds").is_some();
    scopes.iter().all(|scope| match scope.as_str() {
        Some("BestEffort") => best_effort,
        Some("NotBestEffort") => !best_effort,
        Some("Terminating") => terminating,
        Some("NotTerminating") => !terminating,
        _ => true,
    })
}

/// Names of quotas for what containers ask for: `cpu` means `requests.cpu`.
fn is_compute(resource: &str) -> bool {
    matches!(
        resource,
        "cpu" | "memory" | "requests.cpu" | "requests.memory" | "limits.cpu" | "limits.memory"
    )
}

fn compute_parts(resource: &str) -> (&'static str, &str) {
    match resource.split_once('.') {
        Some(("limits", name)) => ("limits", name),
        Some((_, name)) => ("requests", name),
        None => ("requests", resource),
    }
}

/// `requests.cpu for: c`, for the containers that do not say.
fn unspecified(pod: &Value, resource: &str) -> Option<String> {
    let (list, name) = compute_parts(resource);
    let mut without: Vec<&str> = ["/spec/containers", "/spec/initContainers"]
        .iter()
        .flat_map(|path| items(pod, path))
        .filter(|container| {
            container
                .pointer(&format!("/resources/{list}/{name}"))
                .is_none()
        })
        .map(|container| text_at(container, "/name"))
        .collect();
    if without.is_empty() {
        return None;
    }
    without.sort_unstable();
    Some(format!("{resource} for: {}", without.join(",")))
}

/// What an object counts for a quota's resource; `None` where it is not about it.
fn usage(attributes: &Attributes<'_>, resource: &str, object: &Value) -> Option<Quantity> {
    usage_of(
        &attributes.resource.group,
        &attributes.resource.name,
        resource,
        object,
    )
}

/// What an object of this group and plural name counts for a resource of a quota.
#[must_use]
pub fn usage_of(group: &str, plural: &str, resource: &str, object: &Value) -> Option<Quantity> {
    let one = Some(Quantity::whole(1));
    if let Some(counted) = resource.strip_prefix("count/") {
        let qualified = if group.is_empty() {
            plural.to_owned()
        } else {
            format!("{plural}.{group}")
        };
        return if counted == qualified { one } else { None };
    }
    match (group, plural) {
        ("", "pods") => {
            if matches!(text_at(object, "/status/phase"), "Succeeded" | "Failed") {
                return None;
            }
            if resource == "pods" {
                return one;
            }
            if !is_compute(resource) {
                return None;
            }
            let (list, name) = compute_parts(resource);
            let (requests, limits) = pod_total(object);
            let total = if list == "limits" { limits } else { requests };
            Some(
                total
                    .into_iter()
                    .find(|(own, _)| own == name)
                    .map_or(Quantity::ZERO, |(_, quantity)| quantity),
            )
        }
        ("", "services") => {
            let kind = text_at(object, "/spec/type");
            match resource {
                "services" => one,
                "services.nodeports" if matches!(kind, "NodePort" | "LoadBalancer") => {
                    Some(Quantity::whole(items(object, "/spec/ports").len()))
                }
                "services.loadbalancers" if kind == "LoadBalancer" => one,
                "services.nodeports" | "services.loadbalancers" => Some(Quantity::ZERO),
                _ => None,
            }
        }
        ("", "persistentvolumeclaims") => match resource {
            "persistentvolumeclaims" => one,
            "requests.storage" => {
                Quantity::parse(text_at(object, "/spec/resources/requests/storage"))
            }
            _ => None,
        },
        ("", "configmaps" | "secrets" | "replicationcontrollers" | "resourcequotas") => {
            (resource == plural).then_some(Quantity::whole(1))
        }
        _ => None,
    }
}

fn has_usage(quota: &Value, resource: &str) -> bool {
    quota
        .pointer("/status/used")
        .is_some_and(|used| used.get(resource).is_some())
}

/// What the namespace uses already, as the quota says.
fn used(quota: &Value, resource: &str) -> Quantity {
    quota
        .pointer("/status/used")
        .and_then(|used| used.get(resource))
        .and_then(Value::as_str)
        .and_then(Quantity::parse)
        .unwrap_or(Quantity::ZERO)
}
