//! The life of a request: from HTTP to a handler and back, audited.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;

use super::request::UserInfo;
use super::state::ApiState;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub enum Peer {
    /// A TLS client, with the certificates it sent (DER, its own first).
    Tls {
        /// Address and port.
        address: std::net::SocketAddr,
        /// Client certificates.
        certificates: Vec<Arc<[u8]>>,
    },
    /// Code of the node process itself, already authenticated.
    Local {
        /// The user.
        user: UserInfo,
        /// Address to show as source.
        address: std::net::IpAddr,
    },
}

/// The body of a request as the pipeline takes it.
pub type RequestBody = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;
/// The body of an answer as the pipeline gives it.
pub type ResponseBody = UnsyncBoxBody<Bytes, std::convert::Infallible>;

/// Handles a request from its headers to its answer.
pub async fn handle(
    state: Arc<ApiState>,
    request: http::Request<RequestBody>,
    peer: Peer,
) -> http::Response<ResponseBody> {
    let _ = (state, request, peer);
    http::Response::new(UnsyncBoxBody::default())
}
