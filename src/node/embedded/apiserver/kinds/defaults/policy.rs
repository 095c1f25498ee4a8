//! Defaults of autoscalers, limit ranges, webhooks, admission policies and priority levels
//! (`pkg/apis/{autoscaling,core,admissionregistration,flowcontrol}/v1/defaults.go`).

use serde_json::{Value, json};

use super::pod;
use crate::node::embedded::apiserver::kinds::edit::{
    Object, child, default, default_number, default_text, each, ensure, text,
};

/// `SetDefaults_HorizontalPodAutoscaler`.
pub fn autoscaler(object: &mut Object, first_version: bool) {
    let spec = ensure(object, "spec");
    default(spec, "minReplicas", 1);
    if first_version {
        return;
    }
    if spec
        .get("metrics")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
    {
        spec.insert(
            "metrics".into(),
            json!([{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}}]),
        );
    }
    let Some(behavior) = child(spec, "behavior") else {
        return;
    };
    scaling_rules(
        ensure(behavior, "scaleUp"),
        Some(0),
        &json!([{"type": "Pods", "value": 4, "periodSeconds": 15},
            {"type": "Percent", "value": 100, "periodSeconds": 15}]),
    );
    scaling_rules(
        ensure(behavior, "scaleDown"),
        None,
        &json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]),
    );
}

fn scaling_rules(rules: &mut Object, window: Option<i64>, policies: &Value) {
    if let Some(window) = window {
        default(rules, "stabilizationWindowSeconds", window);
    }
    default(rules, "selectPolicy", "Max");
    default(rules, "policies", policies.clone());
}

/// `SetDefaults_LimitRangeItem`.
pub fn limit_range(object: &mut Object) {
    each(ensure(object, "spec"), "limits", |item| {
        for list in [
            "max",
            "min",
            "default",
            "defaultRequest",
            "maxLimitRequestRatio",
        ] {
            pod::quantities(item, list);
        }
        if text(item, "type") != "Container" {
            return;
        }
        for (from, to) in [
            ("max", "default"),
            ("default", "defaultRequest"),
            ("min", "defaultRequest"),
        ] {
            let Some(Value::Object(values)) = item.get(from).cloned() else {
                continue;
            };
            let target = ensure(item, to);
            for (name, value) in values {
                default(target, &name, value);
            }
            target.sort_keys();
        }
    });
}

/// `SetDefaults_{Validating,Mutating}Webhook`.
pub fn webhooks(object: &mut Object, mutating: bool) {
    each(object, "webhooks", |webhook| {
        default(webhook, "failurePolicy", "Fail");
        default(webhook, "matchPolicy", "Equivalent");
        default(webhook, "namespaceSelector", json!({}));
        default(webhook, "objectSelector", json!({}));
        default(webhook, "timeoutSeconds", 10);
        if mutating {
            default(webhook, "reinvocationPolicy", "Never");
        }
        each(webhook, "rules", |rule| default(rule, "scope", "*"));
        if let Some(service) = child(ensure(webhook, "clientConfig"), "service") {
            default(service, "port", 443);
        }
    });
}

/// `SetDefaults_{Validating,Mutating}AdmissionPolicy`.
pub fn admission_policy(object: &mut Object) {
    let spec = ensure(object, "spec");
    default(spec, "failurePolicy", "Fail");
    if let Some(constraints) = child(spec, "matchConstraints") {
        match_resources(constraints);
    }
}

/// `SetDefaults_MatchResources` of a binding.
pub fn admission_policy_binding(object: &mut Object) {
    let spec = ensure(object, "spec");
    if let Some(resources) = child(spec, "matchResources") {
        match_resources(resources);
    }
}

fn match_resources(resources: &mut Object) {
    default(resources, "matchPolicy", "Equivalent");
    default(resources, "namespaceSelector", json!({}));
    default(resources, "objectSelector", json!({}));
    for list in ["resourceRules", "excludeResourceRules"] {
        each(resources, list, |rule| default(rule, "scope", "*"));
    }
}

/// `SetDefaults_{Limited,Exempt}PriorityLevelConfiguration`.
pub fn priority_level(object: &mut Object) {
    let spec = ensure(object, "spec");
    if let Some(exempt) = child(spec, "exempt") {
        default(exempt, "nominalConcurrencyShares", 0);
        default(exempt, "lendablePercent", 0);
    }
    if let Some(limited) = child(spec, "limited") {
        default(limited, "nominalConcurrencyShares", 30);
        default(limited, "lendablePercent", 0);
        let response = ensure(limited, "limitResponse");
        default_text(response, "type", "Reject");
        if let Some(queuing) = child(response, "queuing") {
            default_number(queuing, "handSize", 8);
            default_number(queuing, "queues", 64);
            default_number(queuing, "queueLengthLimit", 50);
        }
    }
}
