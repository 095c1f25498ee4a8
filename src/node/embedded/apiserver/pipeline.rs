//! The life of a request, in the order of a real server's handler chain
//! (`DefaultBuildHandlerChain` of `k8s.io/apiserver/pkg/server/config.go`): Audit-ID, request info,
//! authentication, audit, impersonation, authorisation, handler.

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use http_body_util::combinators::UnsyncBoxBody;

use super::api::ApiResponse;
use super::audit::ending::finish;
use super::audit::recorder::{Metadata, Recorder};
use super::deadline::Deadline;
use super::encoding::{self, Media};
use super::request::{ApiRequest, AuditContext, RequestInfo, Unread, UserInfo, Warnings};
use super::response::{Form, accepts_gzip, encode, is_unnegotiated};
use super::state::ApiState;
use super::status::Status;
use super::{
    authn, authz, deadline, flow, health, impersonation, intake, nonresource, registry,
    request_info, subresources,
};
use crate::audit::level::Stage;
use crate::audit::options::number::quote;

/// A body is large from here.
const LARGE: usize = 128 << 10;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub enum Peer {
    /// A TLS client, with the certificates it sent (DER, its own first).
    Tls {
        /// Address and port.
        address: SocketAddr,
        /// Client certificates.
        certificates: Vec<Arc<[u8]>>,
    },
    /// Code of the node process itself, already authenticated.
    Local {
        /// The user.
        user: UserInfo,
        /// Address to show as source.
        address: IpAddr,
    },
}

impl Peer {
    fn address(&self) -> IpAddr {
        match self {
            Peer::Tls { address, .. } => address.ip(),
            Peer::Local { address, .. } => *address,
        }
    }
}

/// The body of a request as the pipeline takes it.
pub type RequestBody = UnsyncBoxBody<Bytes, std::io::Error>;
pub use super::response::ResponseBody;

/// Handles a request from its headers to its answer.
pub async fn handle(
    state: Arc<ApiState>,
    request: http::Request<RequestBody>,
    peer: Peer,
) -> http::Response<ResponseBody> {
    let (response, form) = process(&state, request, &peer).await;
    encode(response, &form)
}

fn internal(uri: &str, reason: &str) -> ApiResponse {
    let text = format!("Internal Server Error: {}: {reason}\n", quote(uri));
    health::text(500, text, true)
}

/// Handles a request of the node process itself; the answer is not encoded.
pub async fn handle_local(
    state: &Arc<ApiState>,
    request: http::Request<RequestBody>,
    peer: Peer,
) -> ApiResponse {
    process(state, request, &peer).await.0
}

async fn process(
    state: &Arc<ApiState>,
    request: http::Request<RequestBody>,
    peer: &Peer,
) -> (ApiResponse, Form) {
    let received = jiff::Timestamp::now();
    let (mut parts, body) = request.into_parts();
    let audit_id = parts
        .headers
        .get("audit-id")
        .filter(|id| !id.is_empty())
        .cloned()
        .or_else(|| http::HeaderValue::try_from(uuid::Uuid::new_v4().to_string()).ok())
        .unwrap_or_else(|| http::HeaderValue::from_static("none"));
    let query = request_info::query(&parts.uri);
    let user_agent = text_of(&parts.headers, http::header::USER_AGENT.as_str());
    let accept = parts
        .headers
        .get(http::header::ACCEPT)
        .and_then(|value| value.to_str().ok());
    let media = encoding::negotiate(accept);
    let warnings = Warnings::default();
    let form = Form {
        audit_id: audit_id.clone(),
        media: media.clone().unwrap_or(Media::Json),
        pretty: encoding::wants_pretty(&query, &user_agent),
        gzip: accepts_gzip(&parts.headers),
        warnings: warnings.clone(),
    };
    let uri = parts
        .uri
        .path_and_query()
        .map_or_else(|| "/".to_owned(), |p| p.as_str().to_owned());
    let info = match request_info::request_info(&parts.method, &parts.uri, &query) {
        Ok(info) => info,
        Err(error) => {
            let reason = format!("failed to create RequestInfo: {}", error.message);
            return (internal(&uri, &reason), form);
        }
    };
    let audit = AuditContext::default();
    let long_running = request_info::is_long_running(&info);
    let deadline = if long_running {
        Ok(None)
    } else {
        deadline::of(state, &query).map(Some)
    };
    let user = match &deadline {
        Ok(_) => authn::authenticate(state, peer, &parts.headers, &info.path),
        Err(status) => Err(status.message.clone()),
    };
    let recorder = Recorder::new(
        &state.audit,
        &audit,
        Metadata {
            audit_id: String::from_utf8_lossy(audit_id.as_bytes()).into_owned(),
            uri: uri.clone(),
            user: user.as_ref().ok(),
            info: &info,
            source_ips: source_ips(&parts.headers, peer.address()),
            user_agent,
            received,
        },
    );
    let upgrade = parts
        .extensions
        .remove::<hyper::upgrade::OnUpgrade>()
        .filter(|_| wants_upgrade(&parts.headers));
    parts.headers.remove(http::header::AUTHORIZATION);
    let due = deadline.as_ref().ok().copied().flatten();
    let call = Call {
        state: state.clone(),
        info,
        parts,
        uri,
        query,
        audit,
        warnings,
        acceptable: media.err(),
        upgrade,
        long_running,
        deadline: due,
        is_late: false,
    };
    let handler = match (deadline, user) {
        (Err(status), _) => call.refuse_timeout(status, recorder).boxed(),
        (_, Err(reason)) => call.unauthorized(reason, recorder).boxed(),
        (_, Ok(user)) => call.handle(user, body, recorder).boxed(),
    };
    (deadline::within(due, &state.shutdown, handler).await, form)
}

/// A request whose user is known, or why not.
struct Call {
    state: Arc<ApiState>,
    info: RequestInfo,
    parts: http::request::Parts,
    /// Path and query as sent.
    uri: String,
    query: Vec<(String, String)>,
    audit: AuditContext,
    warnings: Warnings,
    /// Why the client cannot be answered in a form it accepts.
    acceptable: Option<Status>,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
    long_running: bool,
    /// When its answer is due; those that run for long have none.
    deadline: Option<Deadline>,
    /// Whether its time was over before it was done.
    is_late: bool,
}

impl Call {
    fn internal(&self, reason: &str) -> ApiResponse {
        internal(&self.uri, reason)
    }

    /// A `timeout` that is none goes no further than the filter that reads it.
    async fn refuse_timeout(self, status: Status, mut recorder: Option<Recorder>) -> ApiResponse {
        self.state.klog.error(
            "request_deadline.go:74",
            &format!("Error - {}: {}", status.message, quote(&self.uri)),
        );
        if let Some(recorder) = &mut recorder {
            recorder.refused(status.code, &status.message);
            recorder.stage(Stage::ResponseStarted).await;
        }
        status.into()
    }

    async fn unauthorized(self, reason: String, mut recorder: Option<Recorder>) -> ApiResponse {
        self.state.klog.error_value(
            "authentication.go:75",
            "Unable to authenticate the request",
            &reason,
        );
        let status = Status::new(401, "Unauthorized", "Unauthorized");
        if let Some(recorder) = &mut recorder {
            recorder.respond(401, Some(&status.to_json()));
            recorder.stage(Stage::ResponseStarted).await;
        }
        status.into()
    }

    async fn handle(
        mut self,
        user: UserInfo,
        body: RequestBody,
        mut recorder: Option<Recorder>,
    ) -> ApiResponse {
        if let Some(recorder) = &mut recorder
            && !recorder.stage(Stage::RequestReceived).await
        {
            self.state.klog.error(
                "errors.go:86",
                "\"Unhandled Error\" err=\"failed to store audit event\" logger=\"UnhandledError\"",
            );
            return self.internal("failed to store audit event");
        }
        let running: Pin<Box<dyn Future<Output = ApiResponse> + Send + '_>> =
            Box::pin(self.run(user, body, &mut recorder));
        let response = match AssertUnwindSafe(running).catch_unwind().await {
            Ok(response) => response,
            Err(panic) => {
                let reason = panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                    .unwrap_or_default();
                return self.panicked(&reason, recorder).await;
            }
        };
        // What is not acceptable is answered without the encoder that records.
        let unrecorded = is_unnegotiated(&response);
        let response = finish(
            response,
            recorder,
            self.long_running,
            unrecorded,
            &self.audit,
        )
        .await;
        if self.is_late {
            deadline::passed()
        } else {
            response
        }
    }

    async fn panicked(&self, reason: &str, mut recorder: Option<Recorder>) -> ApiResponse {
        self.state.klog.error(
            "wrap.go:57",
            &format!(
                "\"apiserver panic'd\" method=\"{}\" URI={} err={}",
                self.parts.method,
                quote(&self.uri),
                quote(reason)
            ),
        );
        if let Some(recorder) = &mut recorder {
            recorder.panicked(reason);
            recorder.stage(Stage::Panic).await;
        }
        health::text(
            500,
            "This request caused apiserver to panic. Look in the logs for details.\n".to_owned(),
            true,
        )
    }

    async fn run(
        &mut self,
        requestor: UserInfo,
        body: RequestBody,
        recorder: &mut Option<Recorder>,
    ) -> ApiResponse {
        let mut attributes = authz::Attributes::from(&self.info);
        let selector = |name: &str| {
            self.query
                .iter()
                .find(|(key, value)| key == name && !value.is_empty())
                .map(|(_, value)| value.clone())
        };
        if matches!(
            self.info.verb.as_str(),
            "list" | "watch" | "deletecollection"
        ) {
            attributes.field_selector = selector("fieldSelector");
            attributes.label_selector = selector("labelSelector");
        }
        let impersonated = impersonation::impersonate(
            &self.state,
            &requestor,
            &mut self.parts.headers,
            &attributes,
        );
        let user = match impersonated {
            Ok(None) => requestor,
            Ok(Some(impersonated)) => {
                if let Some(recorder) = recorder {
                    recorder.impersonate(&impersonated.user, &impersonated.constraint);
                }
                impersonated.user
            }
            Err(status) => return refusal(status),
        };
        let flow = flow::headers(&self.state, &user, &self.info);
        // What runs for long would hold its place for long.
        let place = if self.long_running {
            Some(None)
        } else {
            self.state.limits.enter(&user, &self.info).await
        };
        let mut response = match &place {
            Some(_) => self.authorized(user, &attributes, body).await,
            None => flow::too_many(),
        };
        // What took over the connection answers for itself.
        if response.code != 101 {
            response.headers.extend(flow);
        }
        response
    }

    async fn authorized(
        &mut self,
        user: UserInfo,
        attributes: &authz::Attributes,
        body: RequestBody,
    ) -> ApiResponse {
        let decision = authz::authorize(&self.state, &user, attributes);
        self.audit.annotate(
            "authorization.k8s.io/decision",
            if decision.allowed { "allow" } else { "forbid" },
        );
        self.audit
            .annotate("authorization.k8s.io/reason", &decision.reason);
        if !decision.allowed {
            return refusal(authz::forbidden(&user, attributes, &decision.reason));
        }
        match self.dispatch(user, body).await {
            Ok(response) => response,
            Err(status) => status.into(),
        }
    }

    async fn dispatch(&mut self, user: UserInfo, body: RequestBody) -> super::api::ApiResult {
        let state = &self.state;
        let info = &self.info;
        // Nothing is routed below the old proxy prefix any more.
        let unknown = || {
            Status::new(
                404,
                "NotFound",
                "the server could not find the requested resource",
            )
            .with_details(serde_json::json!({}))
        };
        if info.is_resource && info.verb == "proxy" {
            return Err(unknown());
        }
        // Go's mux knows paths that begin with one slash.
        if info.is_resource && self.parts.uri.path().starts_with("//") {
            return Ok(nonresource::not_found());
        }
        let resource = if info.is_resource {
            match state.resource(&info.group, &info.version, &info.resource) {
                Some(resource) => Some(resource),
                None if state.serves(&info.group, &info.version) => {
                    return Err(unknown());
                }
                None => return Ok(nonresource::not_found()),
            }
        } else {
            None
        };
        if let Some(resource) = &resource
            && !routed(resource, info, &self.parts.method)
        {
            return Err(Status::new(
                405,
                "MethodNotAllowed",
                "the server does not allow this method on the requested resource",
            )
            .with_details(serde_json::json!({})));
        }
        if let (Some(status), Some(_), None) = (&self.acceptable, &resource, &self.upgrade) {
            let mut status = status.clone();
            // A collection can be watched, too.
            if matches!(info.verb.as_str(), "list" | "watch") && status.message.starts_with("406: ")
            {
                status.message.push_str(
                    ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
                );
            }
            return Err(status);
        }
        if resource.is_some() && !self.long_running && !intake::etcd(state, self.deadline).await {
            self.is_late = true;
            return Err(deadline::exceeded(&info.verb));
        }
        // The room of the body is held until the request is answered.
        let (bytes, _room) = if self.upgrade.is_some() {
            (Bytes::new(), None)
        } else {
            match intake::read_body(state, body, self.deadline).await {
                Ok(Some(body)) => body,
                Ok(None) => return Ok(flow::too_many()),
                Err(status) => {
                    self.is_late = status.code == 504;
                    return Err(status);
                }
            }
        };
        let mut request = ApiRequest {
            info: self.info.clone(),
            user,
            method: self.parts.method.clone(),
            uri: self.parts.uri.clone(),
            headers: self.parts.headers.clone(),
            query: self.query.clone(),
            body: bytes,
            audit: self.audit.clone(),
            warnings: self.warnings.clone(),
            upgrade: self.upgrade.take(),
            unread: self.parts.extensions.get::<Unread>().is_some(),
        };
        let Some(resource) = resource else {
            return nonresource::serve(state, &request);
        };
        let is_large = request.body.len() > LARGE;
        let served = async move {
            if let Some(result) = subresources::serve(state, &resource, &mut request).await {
                return result;
            }
            registry::serve(state, request).await
        };
        if is_large {
            return intake::aside(state, served).await;
        }
        served.await
    }
}

/// Whether the method is one of the resource's or subresource's; what is unknown is left to the registry.
fn routed(resource: &super::catalog::Resource, info: &RequestInfo, method: &http::Method) -> bool {
    // Any method goes through a proxy.
    if info.subresource == "proxy" {
        return true;
    }
    if method == http::Method::HEAD || method == http::Method::OPTIONS {
        return false;
    }
    if info.subresource.is_empty() {
        return resource.verbs.contains(&info.verb);
    }
    resource
        .subresource(&info.subresource)
        .is_none_or(|subresource| subresource.verbs.contains(&info.verb))
}

/// Refusals of the handler chain carry one more header than those of handlers.
fn refusal(status: Status) -> ApiResponse {
    let mut response = ApiResponse::from(status);
    response.headers.push((
        http::header::X_CONTENT_TYPE_OPTIONS,
        http::HeaderValue::from_static("nosniff"),
    ));
    response
}

/// A header as text, whatever its bytes.
pub(super) fn text_of(headers: &http::HeaderMap, name: &str) -> String {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        .unwrap_or_default()
}

fn wants_upgrade(headers: &http::HeaderMap) -> bool {
    text_of(headers, "connection")
        .to_ascii_lowercase()
        .split(',')
        .any(|part| part.trim() == "upgrade")
        && headers.contains_key(http::header::UPGRADE)
}

/// Forwarded addresses, the real address of a proxy, the peer (`apimachinery/pkg/util/net/http.go`).
fn source_ips(headers: &http::HeaderMap, peer: IpAddr) -> Vec<String> {
    let mut out: Vec<IpAddr> = text_of(headers, "x-forwarded-for")
        .split(',')
        .filter_map(|part| part.trim().parse().ok())
        .collect();
    if let Ok(real) = text_of(headers, "x-real-ip").parse::<IpAddr>()
        && !out.contains(&real)
    {
        out.push(real);
    }
    let peer = peer.to_canonical();
    if out.last() != Some(&peer) {
        out.push(peer);
    }
    out.iter().map(IpAddr::to_string).collect()
}
