//! JSON patch (RFC 6902) and JSON merge patch (RFC 7386).

use serde_json::{Map, Value, json};

use super::super::registry::bad_request;
use super::super::schema;
use super::super::status::Status;

/// At most this many operations in a patch.
const OPERATIONS: usize = 10_000;

/// At most this many bytes of JSON may be copied by one patch (`JSONPatchMaxCopyBytes` of `pkg/server/config.go`).
const COPIED_BYTES: usize = 3 << 20;

/// A body that must be a JSON object; the error is Go's.
pub(super) fn object(body: &[u8]) -> Result<Value, String> {
    schema::check_json(body)?;
    let value: Value = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    if value.is_object() {
        return Ok(value);
    }
    if value.is_null() {
        return Ok(Value::Object(Map::new()));
    }
    Err(format!(
        "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
        kind(&value)
    ))
}

/// What Go's JSON errors call a value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Applies a merge patch.
pub(super) fn merge(live: &Value, body: &[u8]) -> Result<Value, Status> {
    let patch =
        object(body).map_err(|error| bad_request(format!("error decoding patch: {error}")))?;
    let mut out = live.clone();
    json_patch::merge(&mut out, &patch);
    Ok(out)
}

/// Applies a JSON patch.
pub(super) fn patch(live: &Value, body: &[u8]) -> Result<Value, Status> {
    let decoding = |error: String| bad_request(format!("error decoding patch: {error}"));
    schema::check_json(body).map_err(decoding)?;
    let value: Value = serde_json::from_slice(body).map_err(|error| decoding(error.to_string()))?;
    let operations = match &value {
        Value::Array(operations) => operations,
        Value::Null => return Ok(live.clone()),
        other => {
            return Err(decoding(format!(
                "json: cannot unmarshal {} into Go value of type []handlers.jsonPatchOp",
                kind(other)
            )));
        }
    };
    if operations.len() > OPERATIONS {
        return Err(Status::new(
            413,
            "RequestEntityTooLarge",
            format!(
                "Request entity too large: The allowed maximum operations in a JSON patch is {OPERATIONS}, got {}",
                operations.len()
            ),
        ));
    }
    for operation in operations {
        if !operation.is_object() {
            return Err(decoding(format!(
                "json: cannot unmarshal {} into Go value of type handlers.jsonPatchOp",
                kind(operation)
            )));
        }
    }
    let refused = || {
        Status::new(
            422,
            "Invalid",
            "the server rejected our request due to an error in our request",
        )
        .with_details(json!({}))
    };
    let mut out = live.clone();
    let mut copied = 0_usize;
    for operation in operations {
        if operation.get("op").and_then(Value::as_str) == Some("copy") {
            let from = operation.get("from").and_then(Value::as_str);
            let source = from
                .and_then(|from| out.pointer(from))
                .ok_or_else(refused)?;
            copied = copied.saturating_add(source.to_string().len());
            if copied > COPIED_BYTES {
                return Err(refused());
            }
        }
        // A test against a field that is not there succeeds for null, as Go's library has it.
        let mut operation = operation.clone();
        let missing_test = operation.get("op").and_then(Value::as_str) == Some("test")
            && operation.get("value").is_none_or(Value::is_null)
            && operation
                .get("path")
                .and_then(Value::as_str)
                .is_some_and(|path| out.pointer(path).is_none());
        if missing_test {
            continue;
        }
        if let Some(map) = operation.as_object_mut()
            && matches!(
                map.get("op").and_then(Value::as_str),
                Some("add" | "replace" | "test")
            )
        {
            map.entry("value").or_insert(Value::Null);
        }
        let parsed: json_patch::Patch =
            serde_json::from_value(Value::Array(vec![operation])).map_err(|_| refused())?;
        json_patch::patch(&mut out, &parsed).map_err(|_| refused())?;
    }
    Ok(out)
}
