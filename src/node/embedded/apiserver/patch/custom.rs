//! Custom resources: structural schemas.

use serde_json::Value;

use crate::node::embedded::apiserver::kinds::FieldError;
use crate::node::embedded::apiserver::registry::Target;
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::schema::{Decoded, FieldValidation};
use crate::node::embedded::apiserver::status::Status;

pub(in crate::node::embedded::apiserver) fn accept(
    target: &Target,
    request: &ApiRequest,
    decoded: Decoded,
    validation: FieldValidation,
) -> Result<Value, Status> {
    let _ = (target, request, validation);
    Ok(decoded.value)
}

pub(in crate::node::embedded::apiserver) fn validate(
    target: &Target,
    old: Option<&Value>,
    object: &Value,
) -> Vec<FieldError> {
    let _ = (target, old, object);
    Vec::new()
}

pub(in crate::node::embedded::apiserver) fn patched(
    target: &Target,
    changed: &Value,
    live: &Value,
    validation: FieldValidation,
    warnings: &crate::node::embedded::apiserver::request::Warnings,
) -> Result<Value, Status> {
    let _ = (target, live, validation, warnings);
    Ok(changed.clone())
}
