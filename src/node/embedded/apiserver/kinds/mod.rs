//! What is special about each kind: defaults, preparation, validation.

use std::sync::Arc;

use serde_json::Value;

use super::catalog::Resource;
use super::request::UserInfo;
use super::state::ApiState;
use super::status::Status;

/// A field that is not valid; the registry makes a 422 Status of a list of these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field: `spec.containers[0].name`.
    pub field: String,
    /// `FieldValueInvalid`, `FieldValueRequired`, `FieldValueForbidden`...
    pub reason: &'static str,
    /// The text without the field: `Invalid value: "A": must be lower case`.
    pub message: String,
}

/// Fills in the defaults of a decoded object.
pub fn default_object(resource: &Resource, object: &mut Value) {
    let _ = (resource, object);
}

/// Prepares an object to be created: status dropped, generation, fields set by the server.
///
/// # Errors
/// The Status to answer with.
pub fn prepare_create(
    state: &Arc<ApiState>,
    resource: &Resource,
    user: &UserInfo,
    object: &mut Value,
) -> Result<(), Status> {
    let _ = (state, resource, user, object);
    Ok(())
}

/// Prepares an update: drops what the (sub)resource may not change, bumps the generation.
///
/// # Errors
/// The Status to answer with.
pub fn prepare_update(
    state: &Arc<ApiState>,
    resource: &Resource,
    subresource: &str,
    old: &Value,
    new: &mut Value,
) -> Result<(), Status> {
    let _ = (state, resource, subresource, old, new);
    Ok(())
}

/// Prepares a deletion (`options` is the DeleteOptions object).
///
/// # Errors
/// The Status to answer with.
pub fn prepare_delete(
    state: &Arc<ApiState>,
    resource: &Resource,
    object: &Value,
    options: &Value,
) -> Result<(), Status> {
    let _ = (state, resource, object, options);
    Ok(())
}

/// Validates an object to be created (`old` is `None`) or updated.
#[must_use]
pub fn validate(resource: &Resource, old: Option<&Value>, new: &Value) -> Vec<FieldError> {
    let _ = (resource, old, new);
    Vec::new()
}
