//! TokenRequest (`pkg/registry/core/serviceaccount/storage/token.go`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::{managed_spec, read_body};
use crate::node::embedded::apiserver::admission::forbidden;
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult};
use crate::node::embedded::apiserver::authn::tokens;
use crate::node::embedded::apiserver::kinds::edit::{default, ensure, items, text_at};
use crate::node::embedded::apiserver::kinds::field::{FieldError, invalid_status};
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

const GROUP: &str = "authentication.k8s.io";
/// Longest lifetime that can be asked for: 2^32 seconds.
const MAX_SECONDS: i64 = 1 << 32;

/// Issues a token of a service account.
pub(super) async fn serve(state: &Arc<ApiState>, request: &mut ApiRequest) -> ApiResult {
    let mut body = read_body(request, GROUP, "v1", "TokenRequest")?;
    if let Some(fields) = body.as_object_mut() {
        default(ensure(fields, "spec"), "expirationSeconds", 3600);
    }
    request.audit.record_request(&body);
    // What the client set, and the default: that is what its manager owns.
    let asked = body.get("spec").cloned().unwrap_or_default();
    let (namespace, name) = (request.info.namespace.clone(), request.info.name.clone());
    if state
        .store
        .get(&format!("/registry/core/namespaces/{namespace}"))
        .is_none()
    {
        return Err(Status::not_found("", "namespaces", &namespace));
    }
    let account = state
        .store
        .get(&format!(
            "/registry/core/serviceaccounts/{namespace}/{name}"
        ))
        .ok_or_else(|| Status::not_found("", "serviceaccounts", &name))?
        .value;
    let invalid = |subject: &str, field: &str, value: Value, detail: String| {
        invalid_status(
            GROUP,
            "TokenRequest",
            subject,
            &[FieldError::invalid(field, &value, detail)],
        )
    };
    for (key, own) in [("name", &name), ("namespace", &namespace)] {
        let given = text_at(&body, &format!("/metadata/{key}"));
        if !given.is_empty() && given != own {
            let what = if key == "name" {
                "must match the service account name if specified"
            } else {
                "must match the service account namespace if specified"
            };
            return Err(invalid(
                &name,
                &format!("metadata.{key}"),
                given.into(),
                what.to_owned(),
            ));
        }
    }
    let seconds = body
        .pointer("/spec/expirationSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(3600);
    let detail = if seconds < 600 {
        Some("may not specify a duration less than 10 minutes")
    } else if seconds > MAX_SECONDS {
        Some("may not specify a duration larger than 2^32 seconds")
    } else {
        None
    };
    if let Some(detail) = detail {
        return Err(invalid(
            "",
            "spec.expirationSeconds",
            seconds.into(),
            detail.to_owned(),
        ));
    }
    let kubelet = request.user.username.starts_with("system:node:")
        && request
            .user
            .groups
            .iter()
            .any(|group| group == "system:nodes");
    if kubelet && text_at(&body, "/spec/boundObjectRef/kind") != "Pod" {
        return Err(forbidden(
            "",
            "serviceaccounts",
            &name,
            "node requested token not bound to a pod",
        ));
    }
    let (bound, node) = bound_object(state, &body, &namespace, &name)?;
    let audiences: Vec<String> = items(&body, "/spec/audiences")
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    let issued = state
        .tokens
        .issue(&tokens::TokenRequest {
            namespace: namespace.clone(),
            service_account: name.clone(),
            service_account_uid: text_at(&account, "/metadata/uid").to_owned(),
            audiences,
            expiration_seconds: seconds,
            bound,
            node,
        })
        .map_err(|error| {
            Status::new(
                500,
                "InternalError",
                format!("failed to generate token: {error}"),
            )
        })?;
    request.audit.annotate(
        "authentication.kubernetes.io/issued-credential-id",
        &format!("JTI={}", issued.id),
    );
    let reference = body
        .pointer("/spec/boundObjectRef")
        .cloned()
        .unwrap_or(Value::Null);
    let managed = managed_spec(request, "authentication.k8s.io/v1", "token", &asked);
    let answer = json!({
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": account.pointer("/metadata/uid").cloned().unwrap_or_default(),
            "creationTimestamp": crate::node::embedded::apiserver::kinds::strategy::now(),
            "managedFields": managed,
        },
        "spec": {
            "audiences": issued.audiences,
            "expirationSeconds": seconds,
            "boundObjectRef": reference,
        },
        "status": {
            "token": issued.token,
            "expirationTimestamp": issued.expires.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        },
    });
    Ok(ApiResponse::object(201, answer))
}

type Bound = (Option<(String, String, String)>, Option<(String, String)>);

/// The object the token is bound to, and the node of a pod.
fn bound_object(
    state: &Arc<ApiState>,
    body: &Value,
    namespace: &str,
    account: &str,
) -> Result<Bound, Status> {
    let Some(reference) = body
        .pointer("/spec/boundObjectRef")
        .filter(|reference| !reference.is_null())
    else {
        return Ok((None, None));
    };
    let (api_version, kind) = (
        text_at(reference, "/apiVersion"),
        text_at(reference, "/kind"),
    );
    let (name, uid) = (text_at(reference, "/name"), text_at(reference, "/uid"));
    let (plural, key) = match (api_version, kind) {
        ("v1", "Pod") => ("pods", format!("/registry/core/pods/{namespace}/{name}")),
        ("v1", "Secret") => (
            "secrets",
            format!("/registry/core/secrets/{namespace}/{name}"),
        ),
        ("v1", "Node") => ("nodes", format!("/registry/core/nodes/{name}")),
        _ => {
            let version = if api_version.contains('/') {
                api_version.to_owned()
            } else {
                format!("/{api_version}")
            };
            return Err(Status::new(
                400,
                "BadRequest",
                format!("cannot bind token to object of type {version}, Kind={kind}"),
            ));
        }
    };
    let object = state
        .store
        .get(&key)
        .ok_or_else(|| Status::not_found("", plural, name))?
        .value;
    let own = text_at(&object, "/metadata/uid");
    if !uid.is_empty() && uid != own {
        let why = format!(
            "the UID in the bound object reference ({uid}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(Status::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {kind} \"{name}\": {why}"),
        )
        .with_details(json!({"name": name, "kind": kind})));
    }
    let mut node = None;
    if kind == "Pod" {
        let runs_as = text_at(&object, "/spec/serviceAccountName");
        if runs_as != account {
            return Err(Status::new(
                400,
                "BadRequest",
                format!(
                    "cannot bind token for serviceaccount \"{account}\" to pod running with different serviceaccount name."
                ),
            ));
        }
        let node_name = text_at(&object, "/spec/nodeName");
        if !node_name.is_empty() {
            let node_uid = state
                .store
                .get(&format!("/registry/core/nodes/{node_name}"))
                .map(|node| text_at(&node.value, "/metadata/uid").to_owned())
                .unwrap_or_default();
            node = Some((node_name.to_owned(), node_uid));
        }
    }
    Ok((
        Some((kind.to_owned(), name.to_owned(), own.to_owned())),
        node,
    ))
}
