//! Patches: JSON, merge, strategic merge, server-side apply (`pkg/endpoints/handlers/patch.go`).

pub(super) mod custom;

use std::sync::Arc;

use super::api::ApiResult;
use super::registry::Target;
use super::request::ApiRequest;
use super::state::ApiState;
use super::status::Status;

pub(super) async fn serve(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
) -> ApiResult {
    let _ = (state, target, request);
    Err(Status::new(500, "", "patch is still to come"))
}
