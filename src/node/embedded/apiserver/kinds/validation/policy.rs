//! Limits, quotas, autoscalers, budgets, priorities (`pkg/apis/{core,autoscaling,policy,scheduling}/validation`).

use serde_json::{Value, json};

use super::{Errors, name};
use crate::node::embedded::apiserver::catalog::Resource;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::kinds::quantity::Quantity;

/// Limit ranges.
pub fn limit_range(new: &Value, e: &mut Errors) {
    for (at, item) in items(new, "/spec/limits").iter().enumerate() {
        let path = format!("spec.limits[{at}]");
        let kind = text_at(item, "/type");
        let standard = matches!(kind, "Pod" | "Container" | "PersistentVolumeClaim");
        if !standard && !kind.contains('/') {
            e.invalid(
                &format!("{path}.type"),
                &kind.into(),
                "must be a standard limit type or fully qualified",
            );
        }
        if kind == "Pod" {
            for key in ["default", "defaultRequest"] {
                if item
                    .get(key)
                    .and_then(Value::as_object)
                    .is_some_and(|map| !map.is_empty())
                {
                    e.forbidden(
                        &format!("{path}.{key}"),
                        "may not be specified when `type` is 'Pod'",
                    );
                }
            }
        }
        let get = |list: &str, resource: &str| {
            item.pointer(&format!("/{list}/{resource}"))
                .and_then(Value::as_str)
                .and_then(Quantity::parse)
        };
        for resource in ["cpu", "memory", "storage"] {
            if let (Some(min), Some(max)) = (get("min", resource), get("max", resource))
                && min > max
            {
                e.invalid(
                    &format!("{path}.min[{resource}]"),
                    &min.canonical().into(),
                    format!(
                        "min value {} is greater than max value {}",
                        min.canonical(),
                        max.canonical()
                    ),
                );
            }
        }
    }
}

/// Resource quotas.
pub fn resource_quota(new: &Value, e: &mut Errors) {
    for (resource, value) in new
        .pointer("/spec/hard")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let path = format!("spec.hard[{resource}]");
        for problem in name::qualified(resource) {
            e.invalid(&path, &resource.as_str().into(), problem);
        }
        if value
            .as_str()
            .and_then(Quantity::parse)
            .is_some_and(Quantity::is_negative)
        {
            e.invalid(&path, value, "must be greater than or equal to 0");
        }
    }
    let scopes = items(new, "/spec/scopes");
    if scopes.is_empty() {
        return;
    }
    let known = [
        "Terminating",
        "NotTerminating",
        "BestEffort",
        "NotBestEffort",
        "PriorityClass",
        "CrossNamespacePodAffinity",
        "VolumeAttributesClass",
    ];
    let has = |wanted: &str| scopes.iter().any(|scope| scope == wanted);
    if scopes
        .iter()
        .any(|scope| !known.contains(&scope.as_str().unwrap_or_default()))
    {
        e.invalid("spec.scopes", &json!(scopes), "unsupported scope");
    }
    if has("BestEffort") && has("NotBestEffort") || has("Terminating") && has("NotTerminating") {
        e.invalid("spec.scopes", &json!(scopes), "conflicting scopes");
    }
}

/// Horizontal pod autoscalers.
pub fn autoscaler(resource: &Resource, new: &Value, e: &mut Errors) {
    let number = |pointer: &str| new.pointer(pointer).and_then(Value::as_i64);
    let min = number("/spec/minReplicas").unwrap_or(1);
    let max = number("/spec/maxReplicas").unwrap_or(0);
    if min < 1 {
        e.invalid(
            "spec.minReplicas",
            &min.into(),
            "must be greater than or equal to 1",
        );
    }
    if max < 1 {
        e.required("spec.maxReplicas", "must be set and greater than 0");
    }
    if max < min {
        e.invalid(
            "spec.maxReplicas",
            &max.into(),
            "must be greater than or equal to `minReplicas`",
        );
    }
    for key in ["kind", "name"] {
        let text = text_at(new, &format!("/spec/scaleTargetRef/{key}"));
        if text.is_empty() {
            e.required(&format!("spec.scaleTargetRef.{key}"), "");
        } else {
            for problem in name::path_segment(text) {
                e.invalid(&format!("spec.scaleTargetRef.{key}"), &text.into(), problem);
            }
        }
    }
    let version = text_at(new, "/spec/scaleTargetRef/apiVersion");
    if version.is_empty() {
        e.invalid(
            "spec.scaleTargetRef.apiVersion",
            &"".into(),
            "apiVersion must specify API group",
        );
    }
    if resource.version == "v1"
        && let Some(target) = number("/spec/targetCPUUtilizationPercentage")
        && target < 1
    {
        e.invalid(
            "spec.metrics[0].resource.target.averageUtilization",
            &target.into(),
            "must be greater than 0",
        );
    }
    for (at, metric) in items(new, "/spec/metrics").iter().enumerate() {
        if let Some(target) = metric
            .pointer("/resource/target/averageUtilization")
            .and_then(Value::as_i64)
            && target < 1
        {
            e.invalid(
                &format!("spec.metrics[{at}].resource.target.averageUtilization"),
                &target.into(),
                "must be greater than 0",
            );
        }
    }
}

/// Pod disruption budgets.
pub fn budget(new: &Value, e: &mut Errors) {
    let get = |key: &str| {
        new.pointer(&format!("/spec/{key}"))
            .filter(|value| !value.is_null())
    };
    if get("minAvailable").is_some() && get("maxUnavailable").is_some() {
        let shown = json!({"MinAvailable": get("minAvailable"), "Selector": get("selector"),
            "MaxUnavailable": get("maxUnavailable"), "UnhealthyPodEvictionPolicy": get("unhealthyPodEvictionPolicy")});
        e.invalid(
            "spec",
            &shown,
            "minAvailable and maxUnavailable cannot be both set",
        );
    }
    for key in ["minAvailable", "maxUnavailable"] {
        super::workload::budget_value(&format!("spec.{key}"), get(key), e);
    }
    super::selector(get("selector"), "spec.selector", e);
}

/// Priority classes.
pub fn priority_class(old: Option<&Value>, new: &Value, e: &mut Errors) {
    let value = new.get("value").and_then(Value::as_i64).unwrap_or(0);
    let own = text_at(new, "/metadata/name");
    if !own.starts_with("system-") && value > 1_000_000_000 {
        e.forbidden(
            "value",
            "maximum allowed value of a user defined priority is 1000000000",
        );
    }
    e.one_of(
        "preemptionPolicy",
        new.get("preemptionPolicy"),
        &["PreemptLowerPriority", "Never"],
    );
    if let Some(old) = old {
        if old.get("value") != new.get("value") {
            e.forbidden("value", "may not be changed in an update.");
        }
        e.immutable(
            "preemptionPolicy",
            old.get("preemptionPolicy"),
            new.get("preemptionPolicy"),
        );
    }
}
