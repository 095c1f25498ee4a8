//! Discovery: `/api`, `/apis` and below, legacy and aggregated.

use std::sync::Arc;

use super::api::ApiResult;
use super::request::ApiRequest;
use super::state::ApiState;

/// Serves a discovery path; `None` for any other path.
#[must_use]
pub fn serve(state: &Arc<ApiState>, request: &ApiRequest) -> Option<ApiResult> {
    let _ = (state, request);
    None
}
