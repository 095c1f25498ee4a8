//! Small edits of JSON objects, with Go's idea of "unset".

use serde_json::{Map, Value};

/// A JSON object.
pub type Object = Map<String, Value>;

/// Sets a pointer field that is missing or null.
pub fn default(object: &mut Object, key: &str, value: impl Into<Value>) {
    if object.get(key).is_none_or(Value::is_null) {
        object.insert(key.to_owned(), value.into());
    }
}

/// Sets a string field that is missing, null or empty.
pub fn default_text(object: &mut Object, key: &str, value: &str) {
    if text(object, key).is_empty() {
        object.insert(key.to_owned(), value.into());
    }
}

/// Sets an integer field that is missing, null or zero.
pub fn default_number(object: &mut Object, key: &str, value: i64) {
    if object
        .get(key)
        .is_none_or(|v| v.is_null() || v.as_i64() == Some(0))
    {
        object.insert(key.to_owned(), value.into());
    }
}

/// A string field; empty when it is missing or no string.
#[must_use]
pub fn text<'a>(object: &'a Object, key: &str) -> &'a str {
    object.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The text at a JSON pointer; empty when it is missing or no string.
#[must_use]
pub fn text_at<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// An object field.
pub fn child<'a>(object: &'a mut Object, key: &str) -> Option<&'a mut Object> {
    object.get_mut(key).and_then(Value::as_object_mut)
}

/// An object field, made if it is missing.
pub fn ensure<'a>(object: &'a mut Object, key: &str) -> &'a mut Object {
    let value = object
        .entry(key.to_owned())
        .or_insert_with(|| Value::Object(Map::new()));
    as_object(value)
}

/// The value as an object; what is none becomes an empty one.
pub fn as_object(value: &mut Value) -> &mut Object {
    if !value.is_object() {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(object) => object,
        // The line above made it an object.
        _ => unreachable!("a value that was just made an object"),
    }
}

/// Works on every object of a list field.
pub fn each(object: &mut Object, key: &str, edit: impl FnMut(&mut Object)) {
    if let Some(items) = object.get_mut(key).and_then(Value::as_array_mut) {
        items
            .iter_mut()
            .filter_map(Value::as_object_mut)
            .for_each(edit);
    }
}

/// The items of a list field.
#[must_use]
pub fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value
        .pointer(pointer)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
