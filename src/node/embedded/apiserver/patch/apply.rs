//! Server-side apply: reading the configuration, applying it.

use std::sync::Arc;

use serde_json::Value;

use super::super::registry::{self, Target, WriteOptions, bad_request};
use super::super::request::{ApiRequest, Warnings};
use super::super::schema::FieldValidation;
use super::super::state::ApiState;
use super::super::status::Status;
use super::super::{kinds, managed_fields, schema};
use super::custom;

/// A configuration to apply.
pub(super) struct Applied {
    object: Value,
    validation: FieldValidation,
}

/// Reads the configuration: YAML, of which JSON is a part.
pub(super) fn read(
    target: &Target,
    request: &ApiRequest,
    validation: FieldValidation,
) -> Result<Applied, Status> {
    let document = crate::yaml::to_json(&request.body).map_err(|error| {
        bad_request(format!(
            "error decoding YAML: error converting YAML to JSON: {error}"
        ))
    })?;
    let object = match document.value {
        Value::Null => Value::Object(serde_json::Map::new()),
        other => other,
    };
    if !object.is_object() {
        return Err(bad_request(format!(
            "error decoding YAML: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
            if object.is_array() { "array" } else { "string" }
        )));
    }
    if validation != FieldValidation::Ignore && !document.duplicate_keys.is_empty() {
        let errors = document.duplicate_keys.join(", ");
        if validation == FieldValidation::Strict {
            return Err(bad_request(format!("error decoding YAML: {errors}")));
        }
        for warning in document.duplicate_keys {
            request.warnings.add(warning);
        }
    }
    let text = |field: &str| object.get(field).and_then(Value::as_str).unwrap_or("");
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if api_version != target.resource.api_version() || kind != target.resource.kind {
        let group_version = if api_version.is_empty() {
            "/".to_owned()
        } else if api_version.contains('/') {
            api_version.to_owned()
        } else {
            format!("/{api_version}")
        };
        return Err(bad_request(format!(
            "invalid object type: {group_version}, Kind={kind}"
        )));
    }
    registry::countable(&object)?;
    Ok(Applied { object, validation })
}

/// The object after the configuration was applied to it.
pub(super) fn merged(
    target: &Target,
    request: &ApiRequest,
    live: Option<&Value>,
    applied: &Applied,
    manager: &str,
    options: &WriteOptions,
) -> Result<Value, Status> {
    let force = options.force.unwrap_or(false);
    let object = managed_fields::apply(target, live, &applied.object, manager, force)?;
    let mut object = typed(target, live, object, applied.validation, &request.warnings)?;
    registry::match_name(target, &mut object)?;
    registry::match_namespace(target, &mut object)?;
    Ok(object)
}

/// The merged object as its type has it, with defaults.
fn typed(
    target: &Target,
    live: Option<&Value>,
    object: Value,
    validation: FieldValidation,
    warnings: &Warnings,
) -> Result<Value, Status> {
    if target.custom.is_some() {
        let nothing = Value::Null;
        return custom::patched(
            target,
            &object,
            live.unwrap_or(&nothing),
            validation,
            warnings,
        );
    }
    let resource = &target.resource;
    let decoded = schema::decode_value(&resource.group, &resource.version, &resource.kind, &object)
        .map_err(registry::plain_error)?;
    let mut object = decoded.value;
    kinds::default_object(resource, &mut object);
    registry::generation::decoded(target, &mut object);
    Ok(object)
}

/// Makes the object that the configuration describes.
pub(super) async fn create(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
    options: &WriteOptions,
    manager: &str,
    applied: &Applied,
) -> Result<Value, Status> {
    let object = merged(target, request, None, applied, manager, options)?;
    registry::persist(state, target, request, options, object).await
}
