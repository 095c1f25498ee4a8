//! Generations that the strategies of kinds do not count: of custom resources, and of the pod templates of
//! daemon sets, which v1 shows as an annotation (`pkg/apis/apps/v1/conversion.go`, `customresource/strategy.go`).

use serde_json::Value;

use super::meta;
use super::target::Target;

const TEMPLATE: &str = "deprecated.daemonset.template.generation";

fn is_daemon_set(target: &Target) -> bool {
    target.resource.group == "apps" && target.resource.name == "daemonsets"
}

/// A decoded daemon set has the annotation, whatever the client sent.
pub(in crate::node::embedded::apiserver) fn decoded(target: &Target, object: &mut Value) {
    if is_daemon_set(target) && template(object).is_none() {
        set_template(object, 0);
    }
    if super::definitions::are(target) {
        super::definitions::default(object);
    }
}

/// The label of a namespace that repeats its name cannot be changed (`namespaceStrategy.Canonicalize`).
fn name_label(target: &Target, object: &mut Value) {
    if target.resource.name != "namespaces" || !target.resource.group.is_empty() {
        return;
    }
    let name = meta::text(object, "name").to_owned();
    let Some(metadata) = meta::metadata_mut(object) else {
        return;
    };
    let labels = metadata
        .entry("labels")
        .or_insert_with(|| Value::Object(serde_json::Map::new()));
    if let Some(labels) = labels.as_object_mut() {
        labels.insert("kubernetes.io/metadata.name".to_owned(), name.into());
        labels.sort_keys();
    }
    meta::order(object);
}

/// Only v1 itself has the annotation: other forms of the object do not.
pub(super) fn hide(metadata: &mut Value) {
    let Some(metadata) = metadata.as_object_mut() else {
        return;
    };
    if let Some(annotations) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.shift_remove(TEMPLATE);
        if annotations.is_empty() {
            metadata.shift_remove("annotations");
        }
    }
}

fn template(object: &Value) -> Option<i64> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(TEMPLATE)?
        .as_str()?
        .parse()
        .ok()
}

fn set_template(object: &mut Value, generation: i64) {
    let Some(metadata) = meta::metadata_mut(object) else {
        return;
    };
    let annotations = metadata
        .entry("annotations")
        .or_insert_with(|| Value::Object(serde_json::Map::new()));
    if !annotations.is_object() {
        *annotations = Value::Object(serde_json::Map::new());
    }
    if let Some(annotations) = annotations.as_object_mut() {
        annotations.insert(TEMPLATE.to_owned(), generation.to_string().into());
        annotations.sort_keys();
    }
    meta::order(object);
}

/// Starts counting for a new object.
pub(super) fn created(target: &Target, object: &mut Value) {
    name_label(target, object);
    if is_daemon_set(target) {
        set_template(object, 1);
    }
    if target.custom.is_some() {
        if target.resource.subresource("status").is_some()
            && let Some(map) = object.as_object_mut()
        {
            map.shift_remove("status");
        }
        meta::set(object, "generation", 1);
        super::convert::sort(object);
    }
}

/// Counts an update.
pub(super) fn updated(target: &Target, live: &Value, new: &mut Value) {
    name_label(target, new);
    if is_daemon_set(target) {
        let old = template(live).unwrap_or(1);
        let changed = live.pointer("/spec/template") != new.pointer("/spec/template");
        set_template(new, if changed { old + 1 } else { old });
    }
    if target.custom.is_some() {
        custom_updated(target, live, new);
    }
}

fn custom_updated(target: &Target, live: &Value, new: &mut Value) {
    let has_status = target.resource.subresource("status").is_some();
    if target.subresource == "status" {
        // Only the status changes, and who manages it.
        let mut kept = live.clone();
        let status = new.get("status").cloned();
        let managed = new
            .get("metadata")
            .and_then(|meta| meta.get("managedFields"))
            .cloned();
        if let Some(map) = kept.as_object_mut() {
            match status {
                Some(status) => map.insert("status".to_owned(), status),
                None => map.shift_remove("status"),
            };
        }
        match managed {
            Some(managed) => meta::set(&mut kept, "managedFields", managed),
            None => {
                meta::remove(&mut kept, "managedFields");
            }
        }
        let version = meta::text(new, "resourceVersion").to_owned();
        meta::set(&mut kept, "resourceVersion", version);
        *new = kept;
    } else {
        if has_status && let Some(map) = new.as_object_mut() {
            match live.get("status") {
                Some(status) => map.insert("status".to_owned(), status.clone()),
                None => map.shift_remove("status"),
            };
        }
        let content = |object: &Value| {
            let mut object = object.clone();
            if let Some(map) = object.as_object_mut() {
                map.shift_remove("metadata");
                map.shift_remove("apiVersion");
                if has_status {
                    map.shift_remove("status");
                }
            }
            object
        };
        let old = live
            .pointer("/metadata/generation")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        let changed = content(live) != content(new);
        meta::set(new, "generation", if changed { old + 1 } else { old });
    }
    super::convert::sort(new);
}
