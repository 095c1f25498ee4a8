//! What handlers answer with.

use std::pin::Pin;

use bytes::Bytes;
use futures_util::Stream;
use serde_json::Value;

use super::status::Status;

/// An answer, before content negotiation wrote it to the wire.
pub struct ApiResponse {
    /// HTTP status code.
    pub code: u16,
    /// Further headers. `Content-Type` and `Cache-Control` among them replace the pipeline's own.
    pub headers: Vec<(http::HeaderName, http::HeaderValue)>,
    /// The body.
    pub body: Body,
}

/// The body of an answer.
pub enum Body {
    /// An API object (or Table, list, Status): encoded and, if the policy asks, recorded by the pipeline.
    Object(Value),
    /// Bytes of this content type, as they are.
    Bytes {
        /// `Content-Type`.
        content_type: String,
        /// The bytes.
        bytes: Bytes,
    },
    /// A watch or another long-running answer: chunks as they come.
    Stream {
        /// `Content-Type`.
        content_type: String,
        /// The chunks.
        chunks: Pin<Box<dyn Stream<Item = Bytes> + Send>>,
    },
    /// Nothing.
    Empty,
}

/// The result of a handler.
pub type ApiResult = Result<ApiResponse, Status>;

impl ApiResponse {
    /// An object with this code.
    #[must_use]
    pub fn object(code: u16, value: Value) -> Self {
        Self {
            code,
            headers: Vec::new(),
            body: Body::Object(value),
        }
    }
}

impl From<Status> for ApiResponse {
    fn from(status: Status) -> Self {
        let retry = status.retry_after.map(u64::from).or_else(|| {
            status
                .details
                .as_ref()?
                .get("retryAfterSeconds")?
                .as_u64()
                .filter(|seconds| *seconds > 0)
        });
        Self {
            code: status.code,
            headers: retry
                .map(|seconds| (http::header::RETRY_AFTER, seconds.into()))
                .into_iter()
                .collect(),
            body: Body::Object(status.to_json()),
        }
    }
}
