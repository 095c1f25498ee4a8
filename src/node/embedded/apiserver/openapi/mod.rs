//! OpenAPI documents: `/openapi/v2`, `/openapi/v3` and below.

use std::sync::Arc;

use super::api::ApiResult;
use super::request::ApiRequest;
use super::state::ApiState;

/// Serves an OpenAPI path; `None` for any other path.
#[must_use]
pub fn serve(state: &Arc<ApiState>, request: &ApiRequest) -> Option<ApiResult> {
    let _ = (state, request);
    None
}
