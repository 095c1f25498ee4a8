//! What is special about each kind: defaults, preparation, validation.

pub mod field;

use std::sync::Arc;

use serde_json::Value;

use super::catalog::Resource;
use super::request::UserInfo;
use super::state::ApiState;
use super::status::Status;

pub use field::{FieldError, invalid_status};

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
