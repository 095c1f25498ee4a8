//! Generic storage of API objects: get, list, watch, create, update, patch, delete.

use std::sync::Arc;

use super::api::ApiResult;
use super::request::ApiRequest;
use super::state::ApiState;
use super::status::Status;

/// Serves a resource request.
///
/// # Errors
/// The Status to answer with.
pub async fn serve(state: &Arc<ApiState>, request: ApiRequest) -> ApiResult {
    let _ = (state, request);
    Err(Status::new(
        404,
        "NotFound",
        "the server could not find the requested resource",
    ))
}
