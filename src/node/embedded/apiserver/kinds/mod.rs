//! What is special about each kind: defaults, preparation, validation.

pub mod allocate;
pub mod defaults;
pub mod edit;
pub mod field;
pub mod internal;
pub mod pod_update;
pub mod quantity;
pub mod selector;
pub mod strategy;
pub mod validation;
pub mod warning;

use std::sync::Arc;

use serde_json::Value;

use super::catalog::{self, Resource};
use super::request::UserInfo;
use super::state::ApiState;
use super::status::Status;

pub use field::{FieldError, invalid_status};

/// Whether a resource is one of the built-in ones, not a custom one.
#[must_use]
pub fn is_built_in(resource: &Resource) -> bool {
    catalog::find(&resource.group, &resource.version, &resource.name).is_some()
}

/// Fills in the defaults of a decoded object.
pub fn default_object(resource: &Resource, object: &mut Value) {
    defaults::apply(resource, object);
}

/// Prepares an object to be created: status dropped, generation, fields set by the server. The object
/// has its final name and uid already.
///
/// # Errors
/// The Status to answer with.
pub fn prepare_create(
    state: &Arc<ApiState>,
    resource: &Resource,
    user: &UserInfo,
    object: &mut Value,
) -> Result<(), Status> {
    let _ = state;
    strategy::create(resource, user, object);
    Ok(())
}

/// Allocates what an object needs from the cluster (addresses and ports of services), once it is
/// known to be valid: right before it is stored.
///
/// # Errors
/// The Status to answer with.
pub fn allocate(
    state: &Arc<ApiState>,
    resource: &Resource,
    object: &mut Value,
) -> Result<(), Status> {
    if resource.group.is_empty() && resource.kind == "Service" {
        allocate::service(state, object)?;
    }
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
    let _ = state;
    if subresource.is_empty() && resource.group.is_empty() && resource.kind == "Service" {
        strategy::keep_service_allocations(old, new);
    }
    strategy::update(resource, subresource, old, new);
    if resource.group.is_empty() && resource.kind == "Pod" {
        let generation = new.pointer("/metadata/generation").cloned();
        pod_update::restrict(subresource, old, new)?;
        if old.get("spec") == new.get("spec")
            && let (Some(_), Some(kept)) =
                (generation, old.pointer("/metadata/generation").cloned())
            && let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut)
        {
            metadata.insert("generation".into(), kept);
        }
    }
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

/// Validates an object to be created (`old` is `None`) or updated, itself or through a subresource.
#[must_use]
pub fn validate(
    resource: &Resource,
    subresource: &str,
    old: Option<&Value>,
    new: &Value,
) -> Vec<FieldError> {
    validation::validate(resource, subresource, old, new)
}

/// Warnings about an object that was written (`WarningsOnCreate`, `WarningsOnUpdate`).
#[must_use]
pub fn warnings(resource: &Resource, old: Option<&Value>, new: &Value) -> Vec<String> {
    warning::about(resource, old, new)
}
