//! TokenReview, SelfSubjectReview, and the access reviews
//! (`pkg/registry/{authentication,authorization}`).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{managed_spec, read_body};
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult};
use crate::node::embedded::apiserver::catalog::Resource;
use crate::node::embedded::apiserver::kinds::edit::{ensure, items, text_at};
use crate::node::embedded::apiserver::kinds::field::{FieldError, invalid_status};
use crate::node::embedded::apiserver::request::{ApiRequest, UserInfo};
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;
use crate::node::embedded::apiserver::{authn, authz};

/// Serves a review.
pub(super) async fn serve(
    state: &Arc<ApiState>,
    resource: &Resource,
    request: &mut ApiRequest,
) -> ApiResult {
    let kind = resource.kind.as_str();
    let mut review = read_body(request, &resource.group, &resource.version, kind)?;
    request.audit.record_request(&review);
    let status = match kind {
        "TokenReview" => token_review(state, &review).await?,
        "SelfSubjectReview" => {
            let metadata = json!({"creationTimestamp": crate::node::embedded::apiserver::kinds::strategy::now()});
            if let Some(fields) = review.as_object_mut() {
                fields.insert("metadata".into(), metadata);
            }
            json!({"userInfo": user_json(&request.user)})
        }
        "SelfSubjectRulesReview" => rules_review(state, request, &mut review)?,
        _ => access_review(state, request, kind, &review)?,
    };
    if let Some(fields) = review.as_object_mut() {
        if kind == "LocalSubjectAccessReview" {
            let namespace = request.info.namespace.clone();
            ensure(fields, "metadata").insert("namespace".into(), namespace.into());
        }
        if !matches!(kind, "SelfSubjectReview" | "SelfSubjectRulesReview")
            && let Some(spec) = fields.get("spec").cloned()
        {
            let managed = managed_spec(request, &resource.api_version(), "", &spec);
            ensure(fields, "metadata").insert("managedFields".into(), managed);
        }
        fields.insert("status".into(), status);
    }
    Ok(ApiResponse::object(201, review))
}

/// A user as reviews show it.
fn user_json(user: &UserInfo) -> Value {
    serde_json::to_value(user).unwrap_or_default()
}

async fn token_review(state: &Arc<ApiState>, review: &Value) -> Result<Value, Status> {
    let token = text_at(review, "/spec/token");
    if token.is_empty() {
        return Err(Status::new(
            400,
            "BadRequest",
            "token is required for TokenReview in authentication",
        ));
    }
    let audiences: Vec<String> = items(review, "/spec/audiences")
        .iter()
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect();
    Ok(
        match authn::authenticate_token(state, token, &audiences).await {
            Ok(Some(found)) => {
                let mut user = found.user;
                if !user
                    .groups
                    .iter()
                    .any(|group| group == "system:authenticated")
                {
                    user.groups.push("system:authenticated".to_owned());
                }
                let mut status = json!({"authenticated": true, "user": user_json(&user)});
                if let Some(fields) = status.as_object_mut()
                    && !found.audiences.is_empty()
                {
                    fields.insert("audiences".into(), json!(found.audiences));
                }
                status
            }
            Ok(None) => json!({"user": {}, "error": "invalid bearer token"}),
            Err(error) => json!({"user": {}, "error": error}),
        },
    )
}

fn rules_review(
    state: &Arc<ApiState>,
    request: &ApiRequest,
    review: &mut Value,
) -> Result<Value, Status> {
    let namespace = text_at(review, "/spec/namespace").to_owned();
    if namespace.is_empty() {
        return Err(Status::new(400, "BadRequest", "no namespace on request"));
    }
    if let Some(fields) = review.as_object_mut() {
        fields.insert("spec".into(), json!({}));
    }
    let (mut resources, mut paths) = (Vec::new(), Vec::new());
    let (rules, mut errors) = authz::rules_for(state, &request.user, &namespace);
    for rule in rules {
        let mut out = Map::new();
        out.insert("verbs".into(), json!(rule.verbs));
        if rule.non_resource_urls.is_empty() {
            out.insert("apiGroups".into(), json!(rule.api_groups));
            out.insert("resources".into(), json!(rule.resources));
            if !rule.resource_names.is_empty() {
                out.insert("resourceNames".into(), json!(rule.resource_names));
            }
            resources.push(Value::Object(out));
        } else {
            out.insert("nonResourceURLs".into(), json!(rule.non_resource_urls));
            paths.push(Value::Object(out));
        }
    }
    // What nodes may do depends on their pods: the node authorizer lists no rules.
    let node = request.user.username.starts_with("system:node:")
        && request
            .user
            .groups
            .iter()
            .any(|group| group == "system:nodes");
    if node {
        errors.insert(
            0,
            "node authorizer does not support user rule resolution".to_owned(),
        );
    }
    let mut status =
        json!({"resourceRules": resources, "nonResourceRules": paths, "incomplete": node});
    errors.dedup();
    let error = match errors.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        all => Some(format!("[{}]", all.join(", "))),
    };
    if let (Some(error), Some(fields)) = (error, status.as_object_mut()) {
        fields.insert("evaluationError".into(), error.into());
    }
    Ok(status)
}

/// `ValidateSubjectAccessReviewSpec` and its kin (`pkg/apis/authorization/validation`).
fn access_errors(kind: &str, namespace: &str, review: &Value) -> Vec<FieldError> {
    let empty = Value::Null;
    let spec = review.get("spec").unwrap_or(&empty);
    let set = |key: &str| spec.get(key).is_some_and(|value| !value.is_null());
    let mut errors = Vec::new();
    if set("resourceAttributes") && set("nonResourceAttributes") {
        let shown = json!({"Path": text_at(spec, "/nonResourceAttributes/path"),
            "Verb": text_at(spec, "/nonResourceAttributes/verb")});
        errors.push(FieldError::invalid(
            "spec.nonResourceAttributes",
            &shown,
            "cannot be specified in combination with resourceAttributes",
        ));
    }
    if !set("resourceAttributes") && !set("nonResourceAttributes") {
        errors.push(FieldError::invalid(
            "spec.resourceAttributes",
            &Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        ));
    }
    if kind != "SelfSubjectAccessReview"
        && text_at(spec, "/user").is_empty()
        && items(spec, "/groups").is_empty()
    {
        errors.push(FieldError::invalid(
            "spec.user",
            &"".into(),
            "at least one of user or group must be specified",
        ));
    }
    if kind == "LocalSubjectAccessReview" {
        let asked = text_at(spec, "/resourceAttributes/namespace");
        if asked != namespace {
            errors.push(FieldError::invalid(
                "spec.resourceAttributes.namespace",
                &asked.into(),
                "must match metadata.namespace",
            ));
        }
        if set("nonResourceAttributes") {
            errors.push(FieldError::invalid(
                "spec.nonResourceAttributes",
                &Value::Null,
                "disallowed on this kind of request",
            ));
        }
    }
    errors
}

fn access_review(
    state: &Arc<ApiState>,
    request: &ApiRequest,
    kind: &str,
    review: &Value,
) -> Result<Value, Status> {
    let errors = access_errors(kind, &request.info.namespace, review);
    if !errors.is_empty() {
        // The real server makes this Status without a kind.
        return Err(invalid_status("authorization.k8s.io", "", "", &errors));
    }
    let user = if kind == "SelfSubjectAccessReview" {
        request.user.clone()
    } else {
        let strings = |pointer: &str| {
            items(review, pointer)
                .iter()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect()
        };
        UserInfo {
            username: text_at(review, "/spec/user").to_owned(),
            uid: text_at(review, "/spec/uid").to_owned(),
            groups: strings("/spec/groups"),
            extra: review
                .pointer("/spec/extra")
                .and_then(|extra| serde_json::from_value(extra.clone()).ok())
                .unwrap_or_default(),
        }
    };
    let resource = review
        .pointer("/spec/resourceAttributes")
        .filter(|value| !value.is_null());
    let attributes = match resource {
        Some(wanted) => {
            let text = |key: &str| text_at(wanted, &format!("/{key}")).to_owned();
            authz::Attributes {
                verb: text("verb"),
                namespace: text("namespace"),
                group: text("group"),
                version: text("version"),
                resource: text("resource"),
                subresource: text("subresource"),
                name: text("name"),
                is_resource: true,
                ..Default::default()
            }
        }
        None => authz::Attributes {
            verb: text_at(review, "/spec/nonResourceAttributes/verb").to_owned(),
            path: text_at(review, "/spec/nonResourceAttributes/path").to_owned(),
            ..Default::default()
        },
    };
    let decision = authz::authorize(state, &user, &attributes);
    let mut status = json!({"allowed": decision.allowed});
    if let Some(fields) = status.as_object_mut()
        && !decision.reason.is_empty()
    {
        fields.insert("reason".into(), decision.reason.into());
    }
    Ok(status)
}
