//! The last event of a request: when its answer is complete, its stream ends, or the connection that
//! a handler took over is closed.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, Stream};

use super::recorder::Recorder;
use crate::audit::level::Stage;
use crate::node::embedded::apiserver::api::{ApiResponse, Body};
use crate::node::embedded::apiserver::request::AuditContext;

/// Writes the events of an answer; those of a stream when it ends.
pub(in super::super) async fn finish(
    mut response: ApiResponse,
    recorder: Option<Recorder>,
    long_running: bool,
    unrecorded: bool,
    audit: &AuditContext,
) -> ApiResponse {
    let Some(mut recorder) = recorder else {
        return response;
    };
    let object = match &response.body {
        Body::Object(value) if !unrecorded => Some(value),
        _ => None,
    };
    recorder.respond(response.code, object);
    if long_running {
        recorder.stage(Stage::ResponseStarted).await;
    }
    if response.code == 101 {
        audit.hold(Box::new(Ending(Some(recorder))));
        return response;
    }
    match response.body {
        Body::Stream {
            content_type,
            chunks,
        } => {
            response.body = Body::Stream {
                content_type,
                chunks: Box::pin(Audited {
                    chunks,
                    ending: Some(Ending(Some(recorder))),
                    last: None,
                }),
            };
        }
        _ => {
            recorder.stage(Stage::ResponseComplete).await;
        }
    }
    response
}

/// Writes the last event of a request when the answer has been sent or dropped.
struct Ending(Option<Recorder>);

impl Ending {
    /// Writes it now.
    fn complete(&mut self) -> Option<BoxFuture<'static, bool>> {
        let mut recorder = self.0.take()?;
        Some(async move { recorder.stage(Stage::ResponseComplete).await }.boxed())
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let Some(mut last) = self.complete() else {
            return;
        };
        // Mostly it is written at once; what waits for a webhook waits elsewhere.
        if (&mut last).now_or_never().is_none()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(last);
        }
    }
}

/// A stream that is audited when it ends.
struct Audited {
    chunks: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    ending: Option<Ending>,
    /// The last event on its way: the client sees the end after it.
    last: Option<BoxFuture<'static, bool>>,
}

impl Stream for Audited {
    type Item = Bytes;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if self.ending.is_some() {
            match self.chunks.as_mut().poll_next(context) {
                Poll::Ready(None) => self.last = self.ending.take().and_then(|mut e| e.complete()),
                next => return next,
            }
        }
        if let Some(last) = &mut self.last {
            std::task::ready!(last.as_mut().poll(context));
            self.last = None;
        }
        Poll::Ready(None)
    }
}

/// What is dropped with the last clone of an audit context.
pub(in super::super) type Held = Arc<Mutex<Option<Box<dyn std::any::Any + Send>>>>;

impl AuditContext {
    /// Keeps a value until the last clone of this context is dropped: a handler that took over the
    /// connection keeps a clone while it streams, and the last event is written when it is done.
    fn hold(&self, value: Box<dyn std::any::Any + Send>) {
        *self.held().lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
    }
}
