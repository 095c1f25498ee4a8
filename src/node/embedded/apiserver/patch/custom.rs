//! Custom resources: structural schemas, pruning, defaults, validation
//! (`apiextensions-apiserver/pkg/apiserver/{schema,validation}`).

use serde_json::{Value, json};

use super::{embedded, values};
use crate::node::embedded::apiserver::kinds::{self, FieldError};
use crate::node::embedded::apiserver::registry::{self, Target, bad_request};
use crate::node::embedded::apiserver::request::{ApiRequest, Warnings};
use crate::node::embedded::apiserver::schema::{Decoded, FieldValidation};
use crate::node::embedded::apiserver::status::Status;

fn schema_of(target: &Target) -> Option<&Value> {
    target
        .custom
        .as_ref()?
        .version
        .pointer("/schema/openAPIV3Schema")
}

fn preserves(schema: &Value) -> bool {
    schema
        .get("x-kubernetes-preserve-unknown-fields")
        .and_then(Value::as_bool)
        .unwrap_or(false)
}

/// Prunes a decoded object and fills in defaults.
pub(in crate::node::embedded::apiserver) fn accept(
    target: &Target,
    request: &ApiRequest,
    decoded: Decoded,
    validation: FieldValidation,
) -> Result<Value, Status> {
    let mut object = decoded.value;
    let expected = target.resource.api_version();
    let given = object
        .get("apiVersion")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    if !given.is_empty() && given != expected {
        return Err(bad_request(format!(
            "the API version in the data ({given}) does not match the expected API version ({expected})"
        )));
    }
    let kind = object
        .get("kind")
        .and_then(Value::as_str)
        .unwrap_or("")
        .to_owned();
    let mut errors = decoded.strict_errors;
    errors.extend(shape(target, &mut object));
    match validation {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => {
            for error in errors {
                request.warnings.add(error);
            }
        }
        FieldValidation::Strict => {
            if !errors.is_empty() {
                return Err(bad_request(format!(
                    "{} in version {:?} cannot be handled as a {}: strict decoding error: {}",
                    if kind.is_empty() {
                        &target.resource.kind
                    } else {
                        &kind
                    },
                    target.resource.version,
                    target.resource.kind,
                    errors.join(", ")
                )));
            }
        }
    }
    Ok(object)
}

/// The object after a patch.
pub(in crate::node::embedded::apiserver) fn patched(
    target: &Target,
    changed: &Value,
    live: &Value,
    validation: FieldValidation,
    warnings: &Warnings,
) -> Result<Value, Status> {
    let _ = live;
    let mut object = changed.clone();
    let errors = shape(target, &mut object);
    match validation {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => {
            for error in errors {
                warnings.add(error);
            }
        }
        FieldValidation::Strict => {
            if !errors.is_empty() {
                let text = format!("strict decoding error: {}", errors.join(", "));
                let error = FieldError::invalid("patch", &json!(changed.to_string()), text);
                let mut status = kinds::invalid_status("", "", "", &[error]);
                if let Some(details) = status.details.as_mut().and_then(Value::as_object_mut) {
                    details.shift_remove("kind");
                }
                return Err(status);
            }
        }
    }
    Ok(object)
}

/// Prunes, fills in defaults, sorts; gives the unknown fields.
fn shape(target: &Target, object: &mut Value) -> Vec<String> {
    let mut unknown = Vec::new();
    if let Some(schema) = schema_of(target) {
        prune(schema, object, true, "", &mut unknown);
        // What says it is of another kind gets none, and is refused when it is validated.
        let kind = object.get("kind").and_then(Value::as_str);
        if kind.is_none_or(|kind| kind == target.resource.kind) {
            default(schema, object, true);
        }
    }
    registry::sort(object);
    unknown
        .into_iter()
        .map(|path| format!("unknown field {path:?}"))
        .collect()
}

pub(super) fn join(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// Removes fields that the schema does not have.
fn prune(schema: &Value, value: &mut Value, root: bool, path: &str, unknown: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            let embedded = schema
                .get("x-kubernetes-embedded-resource")
                .and_then(Value::as_bool)
                .unwrap_or(false);
            let names: Vec<String> = map.keys().cloned().collect();
            for name in names {
                if (root || embedded) && matches!(name.as_str(), "apiVersion" | "kind" | "metadata")
                {
                    continue;
                }
                let below = schema
                    .get("properties")
                    .and_then(|properties| properties.get(&name))
                    .or_else(|| schema.get("additionalProperties"));
                match below {
                    Some(below @ Value::Object(_)) => {
                        if let Some(value) = map.get_mut(&name) {
                            prune(below, value, false, &join(path, &name), unknown);
                        }
                    }
                    Some(Value::Bool(true)) => {}
                    _ if preserves(schema) => {}
                    _ => {
                        map.shift_remove(&name);
                        unknown.push(join(path, &name));
                    }
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for (index, item) in list.iter_mut().enumerate() {
                    prune(items, item, false, &format!("{path}[{index}]"), unknown);
                }
            }
        }
        _ => {}
    }
}

/// Fills in defaults; nulls that are not allowed count as missing.
fn default(schema: &Value, value: &mut Value, root: bool) {
    match value {
        Value::Object(map) => {
            if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                for (name, property) in properties {
                    let nullable = property
                        .get("nullable")
                        .and_then(Value::as_bool)
                        .unwrap_or(false);
                    if map.get(name).is_some_and(Value::is_null) && !nullable {
                        map.shift_remove(name);
                    }
                    if let Some(default) = property.get("default")
                        && !map.contains_key(name)
                    {
                        map.insert(name.clone(), default.clone());
                    }
                }
            }
            for (name, value) in map.iter_mut() {
                if root && name == "metadata" {
                    continue;
                }
                let below = schema
                    .get("properties")
                    .and_then(|properties| properties.get(name))
                    .or_else(|| schema.get("additionalProperties"));
                if let Some(below @ Value::Object(_)) = below {
                    default(below, value, false);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for item in list {
                    default(items, item, false);
                }
            }
        }
        _ => {}
    }
}

/// Validates an object against its schema.
pub(in crate::node::embedded::apiserver) fn validate(
    target: &Target,
    old: Option<&Value>,
    object: &Value,
) -> Vec<FieldError> {
    let mut errors = kinds::validate(&target.resource, &target.subresource, old, object);
    let kind = object.get("kind").and_then(Value::as_str).unwrap_or("");
    if !kind.is_empty() && kind != target.resource.kind {
        errors.push(FieldError::invalid(
            "kind",
            &json!(kind),
            format!("must be {}", target.resource.kind),
        ));
    }
    let Some(schema) = schema_of(target) else {
        return errors;
    };
    let before = errors.len();
    let correlated =
        old.filter(|_| target.subresource.is_empty() || target.subresource == "status");
    values::check(schema, correlated, object, &mut errors);
    embedded::check(schema, object, true, "", &mut errors);
    values::duplicates(schema, object, "", &mut errors);
    let blocked = errors.iter().skip(before).any(|error| {
        matches!(
            error.reason,
            "FieldValueRequired"
                | "FieldValueTypeInvalid"
                | "FieldValueTooLong"
                | "FieldValueTooMany"
                | "FieldValueNotSupported"
        )
    });
    if has_rules(schema) {
        if blocked {
            errors.push(FieldError::invalid(
                "<nil>",
                &Value::Null,
                "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
            ));
        } else {
            super::rules::check(schema, old, object, "", &mut errors);
        }
    }
    errors
}

fn has_rules(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            map.contains_key("x-kubernetes-validations") || map.values().any(has_rules)
        }
        Value::Array(list) => list.iter().any(has_rules),
        _ => false,
    }
}
