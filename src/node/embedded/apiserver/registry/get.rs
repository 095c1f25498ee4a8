//! Reading one object.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::convert;
use super::form::Form;
use super::options;
use super::target::Target;
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult};
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

/// How long a read waits for a version that is still to come.
const FUTURE_WAIT: Duration = Duration::from_secs(3);

pub(super) async fn serve(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
) -> ApiResult {
    let form = Form::of(request)?;
    let version = options::version(request.param("resourceVersion").unwrap_or(""))?;
    wait_for(state, version).await?;
    let stored = state
        .store
        .get(&target.key(&target.name))
        .ok_or_else(|| target.not_found(&target.name))?;
    let object = convert::shown(target, &stored);
    Ok(ApiResponse::object(
        200,
        form.object(target, request, object)?,
    ))
}

/// Waits a little for this version, then says that it is too large.
pub(super) async fn wait_for(state: &ApiState, version: u64) -> Result<(), Status> {
    if version <= state.store.revision() {
        return Ok(());
    }
    tokio::time::sleep(state.machine.pace.scale(FUTURE_WAIT)).await;
    let current = state.store.revision();
    if version <= current {
        return Ok(());
    }
    let mut status = Status::new(
        504,
        "Timeout",
        format!("Timeout: Too large resource version: {version}, current: {current}"),
    )
    .with_details(json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1
    }));
    status.retry_after = Some(1);
    Err(status)
}
