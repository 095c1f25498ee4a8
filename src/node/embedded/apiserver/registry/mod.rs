//! Generic storage of API objects: get, list, watch, create, update, patch, delete
//! (`k8s.io/apiserver/pkg/endpoints/handlers`, `pkg/registry/generic/registry/store.go`).

mod body;
mod convert;
mod create;
mod definition_end;
pub mod definitions;
mod delete;
mod deletecollection;
mod flow_schemas;
mod form;
pub(super) mod generation;
mod get;
mod list;
pub mod meta;
mod options;
mod scale;
mod size;
mod target;
mod update;
mod watch;

use std::sync::Arc;

use serde_json::{Value, json};

use super::api::{ApiResponse, ApiResult, Body};
use super::request::ApiRequest;
use super::state::ApiState;
use super::status::Status;
use super::{catalog, subresources};
pub(super) use body::{match_name, match_namespace};
pub(super) use convert::{shown, sort};
pub(super) use create::persist;
pub(super) use form::{Form, partial};
pub(super) use options::WriteOptions;
pub(super) use size::countable;
pub(super) use target::{Target, resource_prefix};
pub(super) use update::{Change, Committed, Retry, commit};

/// The resource, subresource or version is not served.
fn unknown() -> Status {
    Status::new(
        404,
        "NotFound",
        "the server could not find the requested resource",
    )
    .with_details(json!({}))
}

/// The method is not served here.
fn method_not_allowed() -> Status {
    Status::new(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    )
    .with_details(json!({}))
}

/// A 400 with this text.
pub(super) fn bad_request(message: impl Into<String>) -> Status {
    Status::new(400, "BadRequest", message)
}

/// A 500 without reason: what a plain Go error becomes.
pub(super) fn plain_error(message: impl Into<String>) -> Status {
    Status::new(500, "", message)
}

/// The answer of Go's mux where no API group is.
fn no_such_path() -> ApiResponse {
    ApiResponse {
        code: 404,
        headers: vec![(
            http::header::X_CONTENT_TYPE_OPTIONS,
            http::HeaderValue::from_static("nosniff"),
        )],
        body: Body::Bytes {
            content_type: "text/plain; charset=utf-8".to_owned(),
            bytes: bytes::Bytes::from_static(b"404 page not found\n"),
        },
    }
}

/// Serves a resource request.
///
/// # Errors
/// The Status to answer with.
pub async fn serve(state: &Arc<ApiState>, mut request: ApiRequest) -> ApiResult {
    if !state.custom.is_loaded() {
        definitions::load(state);
        definition_end::resume(state);
    }
    let info = &request.info;
    let custom = state
        .custom
        .find(&info.group, &info.version, &info.resource);
    let Some(resource) = state.resource(&info.group, &info.version, &info.resource) else {
        // Where only custom resources could be, the mux itself answers.
        let known = catalog::has_version(&info.group, &info.version);
        return if known {
            Err(unknown())
        } else {
            Ok(no_such_path())
        };
    };
    let subresource = info.subresource.clone();
    if !subresource.is_empty() && resource.subresource(&subresource).is_none() {
        return Err(match custom {
            Some(_) => Status::not_found(&resource.group, &resource.name, &info.name),
            None => unknown(),
        });
    }
    let target = Target::new(resource, custom, info);
    route(&target, &request)?;
    form::acceptable(&request)?;
    warn_of_deprecation(&target, &request);
    if let Some(answer) = subresources::serve(state, &target.resource, &mut request).await {
        return answer;
    }
    let answer = dispatch(state, &target, &request).await;
    let wrote = matches!(&answer, Ok(response) if response.code < 300)
        && !matches!(request.info.verb.as_str(), "get" | "list" | "watch");
    if wrote && (definitions::are(&target) || flow_schemas::are(&target)) {
        let name = if target.name.is_empty() {
            written_name(&answer)
        } else {
            target.name.clone()
        };
        if definitions::are(&target) {
            definitions::reconcile(state, &name).await;
        } else {
            flow_schemas::reconcile(state, &name).await;
        }
    }
    answer
}

/// The name of the object in an answer.
fn written_name(answer: &ApiResult) -> String {
    match answer {
        Ok(ApiResponse {
            body: Body::Object(object),
            ..
        }) => meta::text(object, "name").to_owned(),
        _ => String::new(),
    }
}

/// What the server warns of whenever it is used (`pkg/endpoints/deprecation`).
fn warn_of_deprecation(target: &Target, request: &ApiRequest) {
    let text = match (
        target.resource.group.as_str(),
        target.resource.name.as_str(),
    ) {
        ("", "endpoints") => {
            "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice".to_owned()
        }
        ("", "componentstatuses") => "v1 ComponentStatus is deprecated in v1.19+".to_owned(),
        _ => {
            let Some(version) = target.custom.as_ref().map(|custom| &custom.version) else {
                return;
            };
            if version.get("deprecated").and_then(Value::as_bool) != Some(true) {
                return;
            }
            match version.get("deprecationWarning").and_then(Value::as_str) {
                Some(text) => text.to_owned(),
                None => format!(
                    "{} {} is deprecated",
                    target.resource.api_version(),
                    target.resource.kind
                ),
            }
        }
    };
    request.warnings.add(text);
    request
        .audit
        .annotate(super::audit::recorder::DEPRECATED, "true");
}

async fn dispatch(state: &Arc<ApiState>, target: &Target, request: &ApiRequest) -> ApiResult {
    if target.custom.is_some() && target.subresource == "scale" {
        return scale::serve(state, target, request).await;
    }
    match request.info.verb.as_str() {
        "get" => get::serve(state, target, request).await,
        "list" => list::serve(state, target, request).await,
        "watch" => watch::serve(state, target, request).await,
        "create" => create::serve(state, target, request).await,
        "update" => update::serve(state, target, request).await,
        "patch" => super::patch::serve(state, target, request).await,
        "delete" => delete::serve(state, target, request).await,
        "deletecollection" => deletecollection::serve(state, target, request).await,
        _ => Err(method_not_allowed()),
    }
}

/// Whether the path and the method lead anywhere.
fn route(target: &Target, request: &ApiRequest) -> Result<(), Status> {
    let info = &request.info;
    let resource = &target.resource;
    let verb = info.verb.as_str();
    let named = info.parts.len() > 1 && !matches!(verb, "list" | "deletecollection");
    if resource.namespaced {
        if info.namespace.is_empty() && named && verb != "watch" {
            return Err(unknown());
        }
        // Without a namespace there is only the list over all namespaces.
        let review = verb == "create" && !resource.has_verb("", "get");
        if info.namespace.is_empty() && !review && !matches!(verb, "list" | "watch") {
            return Err(method_not_allowed());
        }
    } else if !info.namespace.is_empty()
        && (resource.name != "namespaces" || !resource.group.is_empty())
    {
        return Err(unknown());
    }
    if matches!(
        request.method,
        http::Method::HEAD | http::Method::OPTIONS | http::Method::TRACE
    ) && info.subresource != "proxy"
    {
        return Err(method_not_allowed());
    }
    // A collection takes POST, an object does not; an object takes PUT, PATCH, a collection does not.
    let allowed = match verb {
        "create" if info.subresource.is_empty() => info.parts.len() <= 1,
        "update" | "patch" | "delete" => !info.name.is_empty(),
        _ => true,
    };
    let listed = match verb {
        // `pods/exec` and others list the verbs of their own connect methods.
        _ if !info.subresource.is_empty() => {
            resource.has_verb(&info.subresource, verb)
                || (verb == "get"
                    && resource.has_verb(&info.subresource, "create")
                    && is_connect(&info.subresource))
        }
        verb => resource.has_verb("", verb),
    };
    if allowed && listed {
        Ok(())
    } else {
        Err(method_not_allowed())
    }
}

/// Subresources that take any method.
fn is_connect(subresource: &str) -> bool {
    matches!(subresource, "proxy" | "exec" | "attach" | "portforward")
}
