//! The life of a request, in the order of a real server's handler chain
//! (`DefaultBuildHandlerChain` of `k8s.io/apiserver/pkg/server/config.go`): Audit-ID, request info,
//! authentication, audit, impersonation, authorisation, handler.

use std::net::{IpAddr, SocketAddr};
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::FutureExt;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::runtime::RuntimeFlavor;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::api::ApiResponse;
use super::audit::ending::finish;
use super::audit::recorder::{Metadata, Recorder};
use super::encoding::{self, Media};
use super::request::{ApiRequest, AuditContext, RequestInfo, UserInfo, Warnings};
use super::response::{Form, accepts_gzip, encode, is_unnegotiated};
use super::state::ApiState;
use super::status::Status;
use super::{
    authn, authz, deadline, flow, health, impersonation, nonresource, registry, request_info,
    subresources,
};
use crate::audit::level::Stage;
use crate::audit::options::number::quote;

/// Largest body of a request (`MaxRequestBodyBytes`).
const BODY_LIMIT: usize = 3 * 1024 * 1024;
/// A body is large from here.
const LARGE: usize = 128 << 10;
/// Longest a client may take to send its body.
const BODY_TIME: Duration = Duration::from_secs(60);

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
    let internal = |reason: &str| {
        health::text(
            500,
            format!("Internal Server Error: {}: {reason}\n", quote(&uri)),
            true,
        )
    };
    let info = match request_info::request_info(&parts.method, &parts.uri, &query) {
        Ok(info) => info,
        Err(error) => {
            let reason = format!("failed to create RequestInfo: {}", error.message);
            return (internal(&reason), form);
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
    let mut recorder = Recorder::new(
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
    let deadline = match deadline {
        Ok(deadline) => deadline,
        Err(status) => {
            state.klog.error(
                "request_deadline.go:74",
                &format!("Error - {}: {}", status.message, quote(&uri)),
            );
            if let Some(recorder) = &mut recorder {
                recorder.refused(status.code, &status.message);
                recorder.stage(Stage::ResponseStarted).await;
            }
            return (status.into(), form);
        }
    };
    let user = match user {
        Ok(user) => user,
        Err(reason) => {
            state.klog.error_value(
                "authentication.go:75",
                "Unable to authenticate the request",
                &reason,
            );
            let status = Status::new(401, "Unauthorized", "Unauthorized");
            if let Some(recorder) = &mut recorder {
                recorder.respond(401, Some(&status.to_json()));
                recorder.stage(Stage::ResponseStarted).await;
            }
            return (status.into(), form);
        }
    };
    if let Some(recorder) = &mut recorder
        && !recorder.stage(Stage::RequestReceived).await
    {
        state.klog.error(
            "errors.go:86",
            "\"Unhandled Error\" err=\"failed to store audit event\" logger=\"UnhandledError\"",
        );
        return (internal("failed to store audit event"), form);
    }
    parts.headers.remove(http::header::AUTHORIZATION);
    let upgrade = parts
        .extensions
        .remove::<hyper::upgrade::OnUpgrade>()
        .filter(|_| wants_upgrade(&parts.headers));
    let mut call = Call {
        state,
        info,
        parts,
        query,
        audit,
        warnings,
        acceptable: media.err(),
        upgrade,
        deadline,
    };
    let running: Pin<Box<dyn Future<Output = ApiResponse> + Send + '_>> =
        Box::pin(call.run(user, body, &mut recorder));
    let handled = AssertUnwindSafe(running).catch_unwind().await;
    let response = match handled {
        Ok(response) => response,
        Err(panic) => {
            let reason = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()))
                .unwrap_or_default();
            state.klog.error(
                "wrap.go:57",
                &format!(
                    "\"apiserver panic'd\" method=\"{}\" URI={} err={}",
                    call.parts.method,
                    quote(&uri),
                    quote(&reason)
                ),
            );
            if let Some(recorder) = &mut recorder {
                recorder.panicked(&reason);
                recorder.stage(Stage::Panic).await;
            }
            return (
                health::text(
                    500,
                    "This request caused apiserver to panic. Look in the logs for details.\n"
                        .to_owned(),
                    true,
                ),
                form,
            );
        }
    };
    // What is not acceptable is answered without the encoder that records.
    let unrecorded = is_unnegotiated(&response);
    (
        finish(response, recorder, long_running, unrecorded, &call.audit).await,
        form,
    )
}

/// A request past authentication.
struct Call<'a> {
    state: &'a Arc<ApiState>,
    info: RequestInfo,
    parts: http::request::Parts,
    query: Vec<(String, String)>,
    audit: AuditContext,
    warnings: Warnings,
    /// Why the client cannot be answered in a form it accepts.
    acceptable: Option<Status>,
    upgrade: Option<hyper::upgrade::OnUpgrade>,
    /// When its answer is due; those that run for long have none.
    deadline: Option<Instant>,
}

impl Call<'_> {
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
            self.state,
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
        let flow = flow::headers(self.state, &user, &self.info);
        // What runs for long would hold its place for long.
        let place = if request_info::is_long_running(&self.info) {
            Ok(None)
        } else {
            self.state.limits.enter(&user, &self.info)
        };
        let mut response = match &place {
            Ok(_) => self.authorized(user, &attributes, body).await,
            Err(_) => flow::too_many(),
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
        let decision = authz::authorize(self.state, &user, attributes);
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
        let state = self.state;
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
        if resource.is_some() && !request_info::is_long_running(info) {
            etcd(state, self.deadline).await?;
        }
        // The room of the body is held until the request is answered.
        let (bytes, _room) = if self.upgrade.is_some() {
            (Bytes::new(), None)
        } else {
            match read_body(state, body, self.deadline).await? {
                Some(body) => body,
                None => return Ok(flow::too_many()),
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
            return aside(state, served).await;
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

/// Without etcd a request waits until its time is over.
async fn etcd(state: &ApiState, deadline: Option<Instant>) -> Result<(), Status> {
    let mut up = state.machine.etcd_up.subscribe();
    if *up.borrow() {
        return Ok(());
    }
    let up = up.wait_for(|up| *up);
    let waited = match deadline {
        Some(deadline) => tokio::time::timeout_at(deadline, up).await,
        None => Ok(up.await),
    };
    match waited {
        Ok(Ok(_)) => Ok(()),
        _ => Err(deadline::passed()),
    }
}

/// A body and the room it takes; `None` when there is no room for it.
async fn read_body(
    state: &ApiState,
    body: RequestBody,
    deadline: Option<Instant>,
) -> Result<Option<(Bytes, Option<OwnedSemaphorePermit>)>, Status> {
    let reading = async {
        let mut body = Limited::new(body, BODY_LIMIT);
        let (mut bytes, mut room) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            let Some(more) = state.limits.body(data.len()) else {
                return Ok(None);
            };
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            bytes.extend_from_slice(&data);
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Some((bytes.freeze(), room)))
    };
    let end = Instant::now() + BODY_TIME;
    let end = deadline.map_or(end, |deadline| deadline.min(end));
    match tokio::time::timeout_at(end, reading).await {
        Ok(Ok(whole)) => Ok(whole),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Status::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {BODY_LIMIT}"),
        )),
        Ok(Err(error)) => Err(Status::new(400, "BadRequest", error.to_string())),
        Err(_) => Err(deadline::passed()),
    }
}

/// Runs what a large body leads to. Its values take many times its size, and its handling does not
/// pause: such requests take turns, and not on a thread that others need.
async fn aside<F: Future>(state: &ApiState, work: F) -> F::Output {
    let _turn = state.limits.turn().await;
    let runtime = tokio::runtime::Handle::current();
    match runtime.runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(|| runtime.block_on(work)),
        _ => work.await,
    }
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
