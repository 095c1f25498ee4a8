//! When the answer to a request is due (`k8s.io/apiserver/pkg/endpoints/filters/request_deadline.go`).

use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::state::ApiState;
use super::status::Status;
use crate::audit::options::number::parse_duration;

/// The end of a request that does not run for long: what it asks for with `timeout`, at most
/// `--request-timeout`.
///
/// # Errors
/// 400 for what is no duration.
pub(super) fn of(state: &ApiState, query: &[(String, String)]) -> Result<Instant, Status> {
    let most = u64::try_from(state.flags.line.int("request-timeout")).unwrap_or(0);
    let most = state.machine.pace.scale(Duration::from_nanos(most));
    let asked = query
        .iter()
        .find(|(name, _)| name == "timeout")
        .map_or("", |(_, value)| value);
    let asked = match asked {
        "" => 0,
        text => parse_duration(text).map_err(|error| {
            let message = format!("invalid timeout specified in the request URL - {error}");
            Status::new(400, "BadRequest", message)
        })?,
    };
    let limit = match u64::try_from(asked) {
        Ok(asked) if asked > 0 => most.min(Duration::from_nanos(asked)),
        _ => most,
    };
    Ok(Instant::now() + limit)
}

/// The answer to what is not done by then (`pkg/server/filters/timeout.go`).
pub(super) fn passed() -> Status {
    Status::new(
        504,
        "Timeout",
        "Timeout: request did not complete within the allotted timeout",
    )
    .with_details(json!({}))
}
