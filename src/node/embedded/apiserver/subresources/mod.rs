//! Subresources with a behaviour of their own, and the review kinds.

use std::sync::Arc;

use super::api::ApiResult;
use super::catalog::Resource;
use super::request::ApiRequest;
use super::state::ApiState;

/// Serves token, reviews, bindings, scale, eviction, log, exec, attach, port-forward, proxy...;
/// `None` when the registry is to serve the request itself (plain resources and `status`).
pub async fn serve(
    state: &Arc<ApiState>,
    resource: &Resource,
    request: &mut ApiRequest,
) -> Option<ApiResult> {
    let _ = (state, resource, request);
    None
}
