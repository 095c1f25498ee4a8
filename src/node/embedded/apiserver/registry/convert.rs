//! Between what is stored and what a version of the API shows.
//!
//! Objects are stored in one version of their group. Two kinds are served in more than one shape:
//! events (core and `events.k8s.io`, stored as core) and HorizontalPodAutoscalers (stored as v2).

use serde_json::{Map, Value, json};

use super::meta;
use super::target::Target;
use crate::node::embedded::apiserver::catalog::Resource;
use crate::node::embedded::apiserver::schema;
use crate::node::embedded::store::Stored;

/// The object as this version of the API shows it, with its resourceVersion.
pub(in crate::node::embedded::apiserver) fn shown(target: &Target, stored: &Stored) -> Value {
    let mut object = (*stored.value).clone();
    from_stored(&target.resource, &mut object);
    meta::set(&mut object, "resourceVersion", stored.revision.to_string());
    if let Some(map) = object.as_object_mut() {
        map.insert("kind".to_owned(), target.resource.kind.clone().into());
        map.insert(
            "apiVersion".to_owned(),
            target.resource.api_version().into(),
        );
    }
    if target.custom.is_some() {
        sort(&mut object);
    } else {
        meta::order(&mut object);
    }
    object
}

/// The object as it is stored: one version, no resourceVersion.
pub(in crate::node::embedded::apiserver) fn to_stored(
    resource: &Resource,
    object: &Value,
) -> Value {
    let mut object = object.clone();
    meta::remove(&mut object, "resourceVersion");
    meta::remove(&mut object, "selfLink");
    match (
        resource.group.as_str(),
        resource.version.as_str(),
        resource.name.as_str(),
    ) {
        ("events.k8s.io", _, "events") => {
            object = event_to_core(object);
        }
        ("autoscaling", "v1", "horizontalpodautoscalers") => {
            object = autoscaler_to_v2(object);
        }
        _ => {}
    }
    meta::order(&mut object);
    // Definitions and API services are stored as JSON, custom objects too; protobuf has no empty lists.
    let as_json = matches!(
        resource.group.as_str(),
        "apiextensions.k8s.io" | "apiregistration.k8s.io"
    );
    if !as_json && let Some(root) = schema::root(&resource.group, &resource.version, &resource.kind)
    {
        without_empty_lists(root, &mut object);
    }
    object
}

/// Empty lists of fields that are always written become null.
fn without_empty_lists(ty: schema::TypeRef, value: &mut Value) {
    match (ty.kind(), value) {
        (schema::TypeKind::Struct, Value::Object(map)) => {
            for (name, value) in map.iter_mut() {
                let Some(field) = ty.field(name) else {
                    continue;
                };
                let list = field.ty.kind() == schema::TypeKind::List;
                if list && value.as_array().is_some_and(Vec::is_empty) {
                    *value = Value::Null;
                } else {
                    without_empty_lists(field.ty, value);
                }
            }
        }
        (schema::TypeKind::List, Value::Array(list)) => {
            if let Some(element) = ty.element() {
                for value in list {
                    without_empty_lists(element, value);
                }
            }
        }
        _ => {}
    }
}

fn from_stored(resource: &Resource, object: &mut Value) {
    match (
        resource.group.as_str(),
        resource.version.as_str(),
        resource.name.as_str(),
    ) {
        ("events.k8s.io", _, "events") => {
            *object = event_from_core(std::mem::take(object));
        }
        ("autoscaling", "v1", "horizontalpodautoscalers") => {
            *object = autoscaler_from_v2(std::mem::take(object));
        }
        _ => {}
    }
}

/// Custom objects are maps, and Go writes maps with sorted keys.
pub(in crate::node::embedded::apiserver) fn sort(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(String, Value)> = std::mem::take(map).into_iter().collect();
            entries.sort_by(|a, b| a.0.cmp(&b.0));
            for (key, mut value) in entries {
                sort(&mut value);
                map.insert(key, value);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(sort),
        _ => {}
    }
}

/// core/v1 field to events.k8s.io/v1 field, in the order of the latter.
const EVENT_FIELDS: [(&str, &str); 14] = [
    ("eventTime", "eventTime"),
    ("series", "series"),
    ("reportingComponent", "reportingController"),
    ("reportingInstance", "reportingInstance"),
    ("action", "action"),
    ("reason", "reason"),
    ("involvedObject", "regarding"),
    ("related", "related"),
    ("message", "note"),
    ("type", "type"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// core/v1 Event fields in Go's order.
const CORE_EVENT_ORDER: [&str; 14] = [
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "series",
    "action",
    "related",
    "reportingComponent",
    "reportingInstance",
];

fn event_from_core(object: Value) -> Value {
    let Value::Object(mut old) = object else {
        return object;
    };
    let mut new = Map::new();
    new.insert(
        "metadata".into(),
        old.shift_remove("metadata").unwrap_or_default(),
    );
    for (core, events) in EVENT_FIELDS {
        match old.shift_remove(core) {
            Some(Value::String(text)) if text.is_empty() => {}
            Some(value) => {
                new.insert(events.to_owned(), value);
            }
            None => {}
        }
    }
    Value::Object(new)
}

fn event_to_core(object: Value) -> Value {
    let Value::Object(mut old) = object else {
        return object;
    };
    let mut values = Map::new();
    for (core, events) in EVENT_FIELDS {
        if let Some(value) = old.shift_remove(events) {
            values.insert(core.to_owned(), value);
        }
    }
    let mut new = Map::new();
    new.insert("kind".into(), "Event".into());
    new.insert("apiVersion".into(), "v1".into());
    new.insert(
        "metadata".into(),
        old.shift_remove("metadata").unwrap_or_default(),
    );
    for field in CORE_EVENT_ORDER {
        let value = values.shift_remove(field);
        let value = value.or_else(|| match field {
            "source" | "involvedObject" => Some(json!({})),
            "firstTimestamp" | "lastTimestamp" | "eventTime" => Some(Value::Null),
            "reportingComponent" | "reportingInstance" => Some(json!("")),
            _ => None,
        });
        if let Some(value) = value {
            new.insert(field.to_owned(), value);
        }
    }
    Value::Object(new)
}

/// autoscaling/v1 knows one metric: the average CPU utilisation.
fn autoscaler_to_v2(mut object: Value) -> Value {
    if let Some(map) = object.as_object_mut() {
        map.insert("apiVersion".into(), "autoscaling/v2".into());
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let target = spec.shift_remove("targetCPUUtilizationPercentage");
        if let Some(target) = target.filter(|t| !t.is_null()) {
            spec.insert(
                "metrics".into(),
                json!([{"type": "Resource", "resource": {"name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": target}}}]),
            );
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let current = status.shift_remove("currentCPUUtilizationPercentage");
        if let Some(current) = current.filter(|c| !c.is_null()) {
            status.insert(
                "currentMetrics".into(),
                json!([{"type": "Resource", "resource": {"name": "cpu",
                    "current": {"averageUtilization": current, "averageValue": "0"}}}]),
            );
        }
    }
    object
}

fn autoscaler_from_v2(mut object: Value) -> Value {
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        let target = spec
            .shift_remove("metrics")
            .as_ref()
            .and_then(Value::as_array)
            .and_then(|metrics| metrics.iter().find(|m| is_cpu(m)).cloned())
            .and_then(|m| m.pointer("/resource/target/averageUtilization").cloned());
        spec.shift_remove("behavior");
        if let Some(target) = target {
            spec.insert("targetCPUUtilizationPercentage".into(), target);
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        let current = status
            .shift_remove("currentMetrics")
            .as_ref()
            .and_then(Value::as_array)
            .and_then(|metrics| metrics.iter().find(|m| is_cpu(m)).cloned())
            .and_then(|m| m.pointer("/resource/current/averageUtilization").cloned());
        status.shift_remove("conditions");
        if let Some(current) = current {
            status.insert("currentCPUUtilizationPercentage".into(), current);
        }
    }
    object
}

fn is_cpu(metric: &Value) -> bool {
    metric.pointer("/resource/name").and_then(Value::as_str) == Some("cpu")
}
