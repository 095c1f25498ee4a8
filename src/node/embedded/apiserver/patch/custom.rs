//! Custom resources: structural schemas, pruning, defaults, validation
//! (`apiextensions-apiserver/pkg/apiserver/{schema,validation}`).

use serde_json::{Map, Value, json};

use crate::node::embedded::apiserver::kinds::field::Reason;
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
        default(schema, object, true);
    }
    registry::sort(object);
    unknown
        .into_iter()
        .map(|path| format!("unknown field {path:?}"))
        .collect()
}

fn join(path: &str, name: &str) -> String {
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
    check(schema, object, true, "", &mut errors);
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

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn check(schema: &Value, value: &Value, root: bool, path: &str, errors: &mut Vec<FieldError>) {
    let text = |field: &str| schema.get(field).and_then(Value::as_str).unwrap_or("");
    if value.is_null() {
        return;
    }
    let wanted = text("type");
    let given = type_of(value);
    let int_or_string = schema
        .get("x-kubernetes-int-or-string")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let fits = if int_or_string {
        matches!(given, "integer" | "string")
    } else {
        wanted.is_empty() || wanted == given || (wanted == "number" && given == "integer")
    };
    if !fits {
        let wanted = if int_or_string {
            "integer,string"
        } else {
            wanted
        };
        errors.push(FieldError::new(
            Reason::TypeInvalid,
            path,
            &json!(given),
            format!("{path} in body must be of type {wanted}: {given:?}"),
        ));
        return;
    }
    let number = |field: &str| schema.get(field).and_then(Value::as_f64);
    let shown = |field: &str| {
        schema
            .get(field)
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    match value {
        Value::Object(map) => check_object(schema, map, root, path, errors),
        Value::Array(list) => {
            if number("maxItems").is_some_and(|most| list.len() as f64 > most) {
                errors.push(FieldError::new(
                    Reason::TooMany,
                    path,
                    &Value::Null,
                    format!("must have at most {} items", shown("maxItems")),
                ));
            }
            if number("minItems").is_some_and(|least| (list.len() as f64) < least) {
                errors.push(FieldError::invalid(
                    path,
                    &json!(list.len()),
                    format!(
                        "{path} in body should have at least {} items",
                        shown("minItems")
                    ),
                ));
            }
            if let Some(items) = schema.get("items") {
                for (index, item) in list.iter().enumerate() {
                    check(items, item, false, &format!("{path}[{index}]"), errors);
                }
            }
            duplicates(schema, list, path, errors);
        }
        Value::Number(_) => {
            let have = value.as_f64().unwrap_or(0.0);
            if number("maximum").is_some_and(|most| have > most) {
                errors.push(FieldError::invalid(
                    path,
                    value,
                    format!(
                        "{path} in body should be less than or equal to {}",
                        shown("maximum")
                    ),
                ));
            }
            if number("minimum").is_some_and(|least| have < least) {
                errors.push(FieldError::invalid(
                    path,
                    value,
                    format!(
                        "{path} in body should be greater than or equal to {}",
                        shown("minimum")
                    ),
                ));
            }
        }
        Value::String(content) => check_text(schema, content, path, errors),
        _ => {}
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let list: Vec<&str> = allowed.iter().filter_map(Value::as_str).collect();
        errors.push(FieldError::not_supported(path, value, &list));
    }
}

fn check_object(
    schema: &Value,
    map: &Map<String, Value>,
    root: bool,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    for name in schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if map.get(name).is_none_or(Value::is_null) {
            errors.push(FieldError::required(join(path, name), ""));
        }
    }
    for (name, value) in map {
        if root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let below = schema
            .get("properties")
            .and_then(|properties| properties.get(name))
            .or_else(|| schema.get("additionalProperties"));
        if let Some(below @ Value::Object(_)) = below {
            check(below, value, false, &join(path, name), errors);
        }
    }
}

fn check_text(schema: &Value, content: &str, path: &str, errors: &mut Vec<FieldError>) {
    let limit = |field: &str| {
        schema
            .get(field)
            .and_then(Value::as_u64)
            .and_then(|n| usize::try_from(n).ok())
    };
    let length = content.chars().count();
    if let Some(most) = limit("maxLength").filter(|most| length > *most) {
        errors.push(FieldError::too_long(path, most));
    }
    if let Some(least) = limit("minLength").filter(|least| length < *least) {
        errors.push(FieldError::invalid(
            path,
            &json!(content),
            format!("{path} in body should be at least {least} chars long"),
        ));
    }
    if schema.get("format").and_then(Value::as_str) == Some("date-time")
        && content.parse::<jiff::Timestamp>().is_err()
    {
        errors.push(FieldError::new(
            Reason::TypeInvalid,
            path,
            &json!(content),
            format!("{path} in body must be of type date-time: {content:?}"),
        ));
    }
}

/// Items of sets and keyed lists must differ.
fn duplicates(schema: &Value, list: &[Value], path: &str, errors: &mut Vec<FieldError>) {
    let kind = schema
        .get("x-kubernetes-list-type")
        .and_then(Value::as_str)
        .unwrap_or("");
    let keys: Vec<&str> = schema
        .get("x-kubernetes-list-map-keys")
        .and_then(Value::as_array)
        .map(|keys| keys.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let identity = |item: &Value| match kind {
        "set" => Some(item.clone()),
        "map" => {
            let mut key = Map::new();
            for name in &keys {
                if let Some(value) = item.get(*name) {
                    key.insert((*name).to_owned(), value.clone());
                }
            }
            Some(Value::Object(key))
        }
        _ => None,
    };
    for (index, item) in list.iter().enumerate() {
        let Some(own) = identity(item) else { return };
        let earlier = list
            .iter()
            .take(index)
            .any(|other| identity(other).as_ref() == Some(&own));
        if earlier {
            errors.push(FieldError::duplicate(format!("{path}[{index}]"), &own));
        }
    }
}
