//! What every controller asks of objects.

use serde_json::{Value, json};

use crate::node::embedded::apiserver::kinds::edit::{items, text_at};

/// `metadata.name`.
#[must_use]
pub fn name(object: &Value) -> &str {
    text_at(object, "/metadata/name")
}

/// `metadata.namespace`.
#[must_use]
pub fn namespace(object: &Value) -> &str {
    text_at(object, "/metadata/namespace")
}

/// `metadata.uid`.
#[must_use]
pub fn uid(object: &Value) -> &str {
    text_at(object, "/metadata/uid")
}

/// Whether it is being deleted.
#[must_use]
pub fn is_deleting(object: &Value) -> bool {
    object.pointer("/metadata/deletionTimestamp").is_some()
}

/// The owner reference with `controller: true`.
#[must_use]
pub fn controller_of(object: &Value) -> Option<&Value> {
    items(object, "/metadata/ownerReferences")
        .iter()
        .find(|owner| owner.get("controller") == Some(&Value::Bool(true)))
}

/// Whether `owner` is the controller of `object`.
#[must_use]
pub fn is_controlled_by(object: &Value, owner: &Value) -> bool {
    controller_of(object).is_some_and(|reference| text_at(reference, "/uid") == uid(owner))
}

/// The controller reference to this object.
#[must_use]
pub fn reference(owner: &Value, api_version: &str, kind: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true})
}

/// An integer; zero when it is missing.
#[must_use]
pub fn number(object: &Value, pointer: &str) -> i64 {
    object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
}

/// Whether the condition of this type is `True`.
#[must_use]
pub fn has_condition(object: &Value, kind: &str) -> bool {
    items(object, "/status/conditions").iter().any(|condition| {
        text_at(condition, "/type") == kind && text_at(condition, "/status") == "True"
    })
}

/// Whether a pod is neither over nor on its way out.
#[must_use]
pub fn is_active_pod(pod: &Value) -> bool {
    !is_deleting(pod) && !matches!(text_at(pod, "/status/phase"), "Succeeded" | "Failed")
}

/// The time now, to the second.
#[must_use]
pub fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// The time now, to the microsecond.
#[must_use]
pub fn now_micro() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%S.%6fZ")
        .to_string()
}

/// A hash as controllers put it into names: FNV-1a, in the letters of generated names.
#[must_use]
pub fn short_hash(text: &str) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut hash: u32 = 2_166_136_261;
    for byte in text.bytes() {
        hash = (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    }
    hash.to_string()
        .bytes()
        .filter_map(|digit| LETTERS.get(usize::from(digit) % LETTERS.len()))
        .map(|byte| char::from(*byte))
        .collect()
}

/// `maxSurge` and its kin: a number, or a percentage of `of`.
#[must_use]
pub fn scaled(value: Option<&Value>, of: i64, round_up: bool) -> i64 {
    match value {
        Some(Value::String(text)) => {
            let percent: i64 = text.trim_end_matches('%').parse().unwrap_or(0);
            let product = of.saturating_mul(percent);
            if round_up {
                (product + 99) / 100
            } else {
                product / 100
            }
        }
        Some(value) => value.as_i64().unwrap_or(0),
        None => 0,
    }
}
