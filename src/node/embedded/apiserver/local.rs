//! Access to the API server for code of the node process, without TLS.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;

use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use super::api::ApiResponse;
use super::pipeline::{self, Peer};
use super::request::Unread;
use super::state::ApiState;
use super::status::Status;
use crate::node::embedded::machine::{LocalApi, LocalRequest};

/// The running API server, as controllers and agents use it.
pub struct Local {
    state: Arc<ApiState>,
}

impl Local {
    /// Access to this server.
    #[must_use]
    pub fn new(state: Arc<ApiState>) -> Self {
        Self { state }
    }

    async fn make(&self, local: LocalRequest) -> ApiResponse {
        let bytes = local
            .body
            .as_ref()
            .map(|body| serde_json::to_vec(body).unwrap_or_default())
            .unwrap_or_default();
        let mut builder = http::Request::builder()
            .method(local.method)
            .uri(&local.path_and_query)
            .header(http::header::USER_AGENT, &local.user_agent)
            .header(http::header::ACCEPT, "application/json")
            // Who works inside the process follows the store itself.
            .extension(Unread);
        if local.body.is_some() {
            let content_type = if local.content_type.is_empty() {
                "application/json"
            } else {
                &local.content_type
            };
            builder = builder.header(http::header::CONTENT_TYPE, content_type);
        }
        let body = UnsyncBoxBody::new(Full::new(bytes.into()).map_err(|never| match never {}));
        let request = match builder.body(body) {
            Ok(request) => request,
            Err(error) => {
                return Status::new(400, "BadRequest", error.to_string()).into();
            }
        };
        let peer = Peer::Local {
            user: local.user,
            address: local
                .source_ip
                .parse()
                .unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        };
        pipeline::handle_local(&self.state, request, peer).await
    }
}

impl LocalApi for Local {
    fn call(
        &self,
        request: LocalRequest,
    ) -> Pin<Box<dyn Future<Output = ApiResponse> + Send + '_>> {
        Box::pin(self.make(request))
    }
}
