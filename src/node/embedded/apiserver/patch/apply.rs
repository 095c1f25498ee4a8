//! Server-side apply.

use std::sync::Arc;

use serde_json::Value;

use super::super::registry::{Target, WriteOptions, plain_error};
use super::super::request::ApiRequest;
use super::super::schema::FieldValidation;
use super::super::state::ApiState;
use super::super::status::Status;

pub(super) struct Applied {
    pub(super) object: Value,
}

pub(super) fn read(
    target: &Target,
    request: &ApiRequest,
    validation: FieldValidation,
) -> Result<Applied, Status> {
    let _ = (target, request, validation);
    Err(plain_error("server-side apply is still to come"))
}

pub(super) fn merged(
    target: &Target,
    request: &ApiRequest,
    live: &Value,
    applied: &Applied,
    manager: &str,
    options: &WriteOptions,
) -> Result<Value, Status> {
    let _ = (target, request, live, manager, options);
    Ok(applied.object.clone())
}

pub(super) async fn create(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
    options: &WriteOptions,
    manager: &str,
    applied: &Applied,
) -> Result<Value, Status> {
    let _ = manager;
    super::super::registry::persist(state, target, request, options, applied.object.clone()).await
}
