//! `metadata` of objects (`k8s.io/apimachinery/pkg/apis/meta/v1/types.go`).

use serde_json::{Map, Value};

/// Fields of ObjectMeta in the order Go writes them.
const ORDER: [&str; 15] = [
    "name",
    "generateName",
    "namespace",
    "selfLink",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "labels",
    "annotations",
    "ownerReferences",
    "finalizers",
    "managedFields",
];

/// A text of `metadata`, empty when there is none.
#[must_use]
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object
        .get("metadata")
        .and_then(|meta| meta.get(field))
        .and_then(Value::as_str)
        .unwrap_or("")
}

/// `metadata`, made if it is missing or no object.
pub fn metadata_mut(object: &mut Value) -> Option<&mut Map<String, Value>> {
    let object = object.as_object_mut()?;
    let meta = object
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if !meta.is_object() {
        *meta = Value::Object(Map::new());
    }
    meta.as_object_mut()
}

/// Sets a field of `metadata`; order is restored by [`order`].
pub fn set(object: &mut Value, field: &str, value: impl Into<Value>) {
    if let Some(meta) = metadata_mut(object) {
        meta.insert(field.to_owned(), value.into());
    }
}

/// Removes a field of `metadata`.
pub fn remove(object: &mut Value, field: &str) -> Option<Value> {
    object
        .get_mut("metadata")?
        .as_object_mut()?
        .shift_remove(field)
}

/// `metadata.finalizers`.
#[must_use]
pub fn finalizers(object: &Value) -> Vec<String> {
    object
        .pointer("/metadata/finalizers")
        .and_then(Value::as_array)
        .map(|list| {
            list.iter()
                .filter_map(|f| f.as_str().map(str::to_owned))
                .collect()
        })
        .unwrap_or_default()
}

/// Sets `metadata.finalizers`; an empty list is no field.
pub fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    if finalizers.is_empty() {
        remove(object, "finalizers");
    } else {
        set(object, "finalizers", finalizers.to_vec());
    }
}

/// Whether the object is being deleted.
#[must_use]
pub fn is_deleting(object: &Value) -> bool {
    object
        .pointer("/metadata/deletionTimestamp")
        .is_some_and(|t| !t.is_null())
}

/// Brings `kind`, `apiVersion`, `metadata` and the fields of `metadata` in Go's order and leaves out empty ones.
pub fn order(object: &mut Value) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    let mut old = std::mem::take(map);
    for field in ["kind", "apiVersion"] {
        if let Some(value) = old.shift_remove(field) {
            map.insert(field.to_owned(), value);
        }
    }
    if let Some(meta) = old.shift_remove("metadata") {
        map.insert("metadata".to_owned(), order_metadata(meta));
    }
    map.extend(old);
}

fn order_metadata(meta: Value) -> Value {
    let Value::Object(mut old) = meta else {
        return Value::Object(Map::new());
    };
    let mut new = Map::new();
    for field in ORDER {
        if let Some(value) = old.shift_remove(field)
            && !is_empty(&value)
        {
            new.insert(field.to_owned(), value);
        }
    }
    new.extend(old);
    Value::Object(new)
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Now, as `metadata` writes times.
#[must_use]
pub fn now() -> String {
    timestamp(jiff::Timestamp::now())
}

/// A time with whole seconds.
#[must_use]
pub fn timestamp(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
