//! Bodies of requests that are answered before they are read (401, 403, 413...).
//!
//! An HTTP/2 server that has answered resets the stream of a client that still sends, without an error, as Go's
//! does. Clients that were about to send may take that for a failure and never look at the answer (curl does). A
//! real server mostly is slower than that, so what is on its way is taken first.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::pipeline::RequestBody;

/// How long an answer waits at most for the rest of its request.
const PATIENCE: Duration = Duration::from_secs(1);
/// How much of it is taken at most.
const LIMIT: usize = 4 << 20;

/// A body that its handler shares with whoever takes the rest of it.
#[derive(Clone)]
struct Shared(Arc<Mutex<Incoming>>);

/// What may be left of a body when the request is answered.
pub(super) struct Rest(Option<Shared>);

/// The request for who answers it, and the rest of its body.
pub(super) fn share(request: http::Request<Incoming>) -> (http::Request<RequestBody>, Rest) {
    let streams = request.version() == http::Version::HTTP_2;
    let (parts, body) = request.into_parts();
    let (body, rest) = if streams && !body.is_end_stream() {
        let shared = Shared(Arc::new(Mutex::new(body)));
        (RequestBody::new(shared.clone()), Some(shared))
    } else {
        (RequestBody::new(body.map_err(std::io::Error::other)), None)
    };
    (http::Request::from_parts(parts, body), Rest(rest))
}

impl Rest {
    /// Takes what the client is still sending, within limits.
    pub(super) async fn take(self) {
        let Some(mut body) = self.0 else {
            return;
        };
        let _ = tokio::time::timeout(PATIENCE, async {
            let mut size = 0;
            while let Some(Ok(frame)) = body.frame().await {
                size += frame.data_ref().map_or(0, Bytes::len);
                if size > LIMIT {
                    break;
                }
            }
        })
        .await;
    }
}

impl Body for Shared {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body)
            .poll_frame(context)
            .map_err(std::io::Error::other)
    }

    fn is_end_stream(&self) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use http_body_util::{Empty, StreamBody};
    use hyper::service::service_fn;
    use hyper_util::rt::{TokioExecutor, TokioIo};

    use super::*;

    #[tokio::test]
    async fn an_early_answer_comes_after_what_was_on_its_way() {
        let (client, server) = tokio::io::duplex(64 << 10);
        let (refused, is_refused) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let refused = refused.clone();
                async move {
                    let (request, rest) = share(request);
                    // Nobody reads it.
                    drop(request);
                    refused.send_replace(true);
                    rest.take().await;
                    let mut response = http::Response::new(Empty::<Bytes>::new());
                    *response.status_mut() = http::StatusCode::UNAUTHORIZED;
                    Ok::<_, std::convert::Infallible>(response)
                }
            });
            let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            let _ = builder
                .serve_connection(TokioIo::new(server), service)
                .await;
        });
        let (mut sender, connection) =
            hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(client))
                .await
                .unwrap();
        tokio::spawn(connection);
        let sent = Arc::new(AtomicBool::new(false));
        let all = sent.clone();
        let late = futures_util::stream::once(async move {
            let mut is_refused = is_refused;
            is_refused.wait_for(|refused| *refused).await.unwrap();
            all.store(true, Ordering::SeqCst);
            Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b"{}")))
        });
        let body = StreamBody::new(Box::pin(late));
        let request = http::Request::post("http://node/").body(body).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 401);
        assert!(sent.load(Ordering::SeqCst));
    }
}
