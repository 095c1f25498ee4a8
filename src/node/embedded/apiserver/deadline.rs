//! When the answer to a request is due (`k8s.io/apiserver/pkg/endpoints/filters/request_deadline.go`), and what becomes
//! of one that is late (`pkg/server/filters/timeout.go`).

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::api::{ApiResponse, Body};
use super::registry::plain_error;
use super::state::ApiState;
use super::status::Status;
use crate::audit::options::number::parse_duration;

/// The ends of a request that does not run for long.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    /// When its client is told that it is late.
    pub(super) at: Instant,
    /// The same for one that waits for an etcd that is down, at the pace of the node.
    pub(super) etcd: Instant,
}

/// The end of a request that does not run for long: what it asks for with `timeout`, at most
/// `--request-timeout`.
///
/// # Errors
/// 400 for what is no duration.
pub(super) fn of(state: &ApiState, query: &[(String, String)]) -> Result<Deadline, Status> {
    let most = most(state);
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
    let within = |most: Duration| match u64::try_from(asked) {
        Ok(asked) if asked > 0 => most.min(Duration::from_nanos(asked)),
        _ => most,
    };
    let now = Instant::now();
    Ok(Deadline {
        at: now + within(most),
        etcd: now + within(state.machine.pace.scale(most)),
    })
}

/// `--request-timeout`.
pub(super) fn most(state: &ApiState) -> Duration {
    let most = u64::try_from(state.flags.line.int("request-timeout")).unwrap_or(0);
    Duration::from_nanos(most)
}

/// What a handler says that is still at it at the deadline: nobody hears it but the audit log. Reads fail with the
/// error of etcd's client, writes with that of `pkg/endpoints/handlers/finisher`.
pub(super) fn exceeded(verb: &str) -> Status {
    const ERROR: &str = "context deadline exceeded";
    if matches!(verb, "get" | "list" | "watch") {
        return plain_error(ERROR);
    }
    Status::new(
        504,
        "Timeout",
        format!("Timeout: request did not complete within requested timeout - {ERROR}"),
    )
    .with_details(serde_json::json!({}))
}

/// The answer to what is not done by then. It does not say what it is, so that clients make up a text of their own.
pub(super) fn passed() -> ApiResponse {
    const TEXT: &[u8] = b"{\"metadata\":{},\"status\":\"Failure\",\"message\":\"Timeout: request did not complete within the allotted timeout\",\"reason\":\"Timeout\",\"details\":{},\"code\":504}\n";
    ApiResponse {
        code: 504,
        headers: Vec::new(),
        body: Body::Bytes {
            content_type: "text/plain; charset=utf-8".to_owned(),
            bytes: Bytes::from_static(TEXT),
        },
    }
}

/// Handles a request up to its deadline. A handler whose client was told that it is late, or went away, still comes to
/// its end: its last event has to be written.
pub(super) async fn within(
    deadline: Option<Deadline>,
    end: &CancellationToken,
    handler: BoxFuture<'static, ApiResponse>,
) -> ApiResponse {
    let handler = Lasting {
        handler: Some(handler),
        end,
    };
    match deadline {
        None => handler.await,
        Some(deadline) => tokio::time::timeout_at(deadline.at, handler)
            .await
            .unwrap_or_else(|_| passed()),
    }
}

/// A handler that goes on by itself when nobody waits for it any more, as long as the server lives.
struct Lasting<'a> {
    handler: Option<BoxFuture<'static, ApiResponse>>,
    end: &'a CancellationToken,
}

impl Future for Lasting<'_> {
    type Output = ApiResponse;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<ApiResponse> {
        let Some(handler) = &mut self.handler else {
            return Poll::Pending;
        };
        let response = std::task::ready!(handler.as_mut().poll(context));
        self.handler = None;
        Poll::Ready(response)
    }
}

impl Drop for Lasting<'_> {
    fn drop(&mut self) {
        let Some(handler) = self.handler.take() else {
            return;
        };
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && !self.end.is_cancelled()
        {
            let end = self.end.clone();
            runtime.spawn(async move {
                let _ = end.run_until_cancelled(handler).await;
            });
        }
    }
}
