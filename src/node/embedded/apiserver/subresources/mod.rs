//! Subresources with a behaviour of their own, and the review kinds.

mod binding;
pub(super) mod component_status;
mod eviction;
mod exec;
mod forward;
mod log;
mod pod;
mod proxy;
mod review;
mod scale;
mod scale_owners;
mod session;
mod shell;
mod stream;
mod token;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::api::ApiResult;
use super::catalog::Resource;
use super::request::ApiRequest;
use super::schema::{self, FieldValidation};
use super::state::ApiState;
use super::status::Status;

/// What a container of a pod that is not static has printed by now: lines and their times.
#[must_use]
pub fn printed(pod: &Arc<Value>, container: &str) -> Vec<(String, String)> {
    log::simulated_lines(pod, container)
}

/// Serves token, reviews, bindings, scale, eviction, log, exec, attach, port-forward, proxy...;
/// `None` when the registry is to serve the request itself (plain resources and `status`).
pub async fn serve(
    state: &Arc<ApiState>,
    resource: &Resource,
    request: &mut ApiRequest,
) -> Option<ApiResult> {
    let subresource = request.info.subresource.clone();
    // The registry says no to methods that are not served.
    if !resource.has_verb(&subresource, &request.info.verb) && subresource != "proxy" {
        return None;
    }
    match (
        resource.group.as_str(),
        resource.name.as_str(),
        subresource.as_str(),
    ) {
        ("authentication.k8s.io" | "authorization.k8s.io", _, "") => {
            Some(review::serve(state, resource, request).await)
        }
        ("", "bindings", "") | ("", "pods", "binding") => {
            Some(binding::serve(state, request).await)
        }
        ("", "componentstatuses", "") => component_status::serve(state, request),
        ("", "serviceaccounts", "token") => Some(token::serve(state, request).await),
        ("", "pods", "eviction") => Some(eviction::serve(state, request).await),
        ("", "pods", "log") => Some(log::serve(state, request).await),
        ("", "pods", "exec" | "attach" | "portforward") => Some(exec::serve(state, request)),
        ("", "pods" | "services" | "nodes", "proxy") => Some(proxy::serve(state, request)),
        (_, _, "scale") => scale::serve(state, resource, request).await,
        _ => None,
    }
}

/// Reads the body as a kind, with the client's wish about unknown fields.
fn read_body(
    request: &ApiRequest,
    group: &str,
    version: &str,
    kind: &str,
) -> Result<Value, Status> {
    let validation = request
        .param("fieldValidation")
        .and_then(FieldValidation::parse)
        .unwrap_or_default();
    let content_type = request.header("content-type").unwrap_or("application/json");
    let decoded = schema::decode(
        group,
        version,
        kind,
        content_type,
        &request.body,
        validation,
    )
    .map_err(|error| error.to_status())?;
    for error in &decoded.strict_errors {
        request.warnings.add(error.clone());
    }
    Ok(decoded.value)
}

/// Whether nothing may be stored.
fn is_dry_run(request: &ApiRequest) -> bool {
    request
        .param("dryRun")
        .is_some_and(|value| !value.is_empty())
}

/// The manager of fields a request writes: given, or the first part of the user agent.
fn manager(request: &ApiRequest) -> String {
    if let Some(manager) = request.param("fieldManager")
        && !manager.is_empty()
    {
        return manager.to_owned();
    }
    let agent = request.header("user-agent").unwrap_or_default();
    agent
        .split('/')
        .next()
        .unwrap_or_default()
        .chars()
        .take(128)
        .collect()
}

/// The managed fields of an object that is never stored: what of `spec` the client set.
fn managed_spec(request: &ApiRequest, api_version: &str, subresource: &str, spec: &Value) -> Value {
    let mut entry = json!({
        "manager": manager(request),
        "operation": "Update",
        "apiVersion": api_version,
        "time": super::kinds::strategy::now(),
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": fields(spec)},
    });
    if let Some(entry) = entry.as_object_mut()
        && !subresource.is_empty()
    {
        entry.insert("subresource".into(), subresource.into());
    }
    json!([entry])
}

fn fields(value: &Value) -> Value {
    let Some(object) = value.as_object() else {
        return json!({});
    };
    let mut out = Map::new();
    for (key, value) in object {
        if value.is_null() {
            continue;
        }
        let mut inner = fields(value);
        let pointer = matches!(
            key.as_str(),
            "resourceAttributes"
                | "nonResourceAttributes"
                | "extra"
                | "fieldSelector"
                | "labelSelector"
        );
        if pointer && let Some(fields) = inner.as_object_mut() {
            fields.insert(".".into(), json!({}));
            fields.sort_keys();
        }
        out.insert(format!("f:{key}"), inner);
    }
    out.sort_keys();
    Value::Object(out)
}

/// What a subresource that only does something answers.
fn success(code: u16) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": code})
}
