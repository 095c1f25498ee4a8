//! Eviction (`pkg/registry/core/pod/storage/eviction.go`).

use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::{is_dry_run, read_body, success};
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult};
use crate::node::embedded::apiserver::kinds::edit::{Object, ensure, items, text_at};
use crate::node::embedded::apiserver::kinds::selector;
use crate::node::embedded::apiserver::kinds::strategy::now;
use crate::node::embedded::apiserver::loopback;
use crate::node::embedded::apiserver::registry;
use crate::node::embedded::apiserver::request::{ApiRequest, AuditContext, RequestInfo};
use crate::node::embedded::apiserver::schema;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;
use crate::node::embedded::store::StoreError;

/// Deletes a pod if its disruption budgets allow.
pub(super) async fn serve(state: &Arc<ApiState>, request: &mut ApiRequest) -> ApiResult {
    let version = serde_json::from_slice::<Value>(&request.body)
        .ok()
        .filter(|body| text_at(body, "/apiVersion") == "policy/v1beta1")
        .map_or("v1", |_| "v1beta1");
    let eviction = if version == "v1beta1" {
        // The old version is no longer served as a resource, but still read here.
        serde_json::from_slice(&request.body).unwrap_or_default()
    } else {
        read_body(request, "policy", "v1", "Eviction")?
    };
    request.audit.record_request(&eviction);
    let (namespace, name) = (request.info.namespace.clone(), request.info.name.clone());
    let named = text_at(&eviction, "/metadata/name");
    if !named.is_empty() && named != name {
        return Err(Status::new(
            400,
            "BadRequest",
            "name in URL does not match name in Eviction object",
        ));
    }
    let pod = state
        .store
        .get(&format!("/registry/core/pods/{namespace}/{name}"))
        .ok_or_else(|| Status::not_found("", "pods", &name))?
        .value;
    let dry_run = is_dry_run(request)
        || eviction
            .pointer("/deleteOptions/dryRun")
            .and_then(Value::as_array)
            .is_some_and(|list| !list.is_empty());
    if !free_to_go(&pod) {
        take_from_budget(state, &namespace, &name, &pod, dry_run).await?;
    }
    let options = eviction
        .get("deleteOptions")
        .filter(|options| options.is_object());
    if !dry_run {
        mark(state, &namespace, &name, options).await?;
    }
    delete(state, request, options, dry_run).await?;
    Ok(ApiResponse::object(201, success(201)))
}

/// The condition that tells why the pod goes (`addConditionAndDeletePod`), unless the eviction is about
/// another pod of that name.
async fn mark(
    state: &Arc<ApiState>,
    namespace: &str,
    name: &str,
    options: Option<&Value>,
) -> Result<(), Status> {
    let wanted = options
        .and_then(|options| options.pointer("/preconditions/uid"))
        .and_then(Value::as_str);
    let key = format!("/registry/core/pods/{namespace}/{name}");
    let marked = state
        .store
        .guaranteed_update(&key, |stored| {
            let mut pod = stored.value.as_ref().clone();
            if wanted.is_some_and(|uid| uid != text_at(&pod, "/metadata/uid")) {
                return None;
            }
            set_condition(ensure(pod.as_object_mut()?, "status"));
            schema::normalise("", "v1", "Pod", &mut pod);
            Some(pod)
        })
        .await;
    match marked {
        Ok(_) => Ok(()),
        Err(StoreError::NotFound) => Err(Status::not_found("", "pods", name)),
        // The deletion says what is wrong.
        Err(_) => Ok(()),
    }
}

fn set_condition(status: &mut Object) {
    let mut condition = json!({"type": "DisruptionTarget", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": now(), "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting"});
    let Some(conditions) = status
        .entry("conditions")
        .or_insert_with(|| json!([]))
        .as_array_mut()
    else {
        return;
    };
    match conditions
        .iter_mut()
        .find(|own| text_at(own, "/type") == "DisruptionTarget")
    {
        Some(own) => {
            // Only a change of the status is a transition.
            if text_at(own, "/status") == "True"
                && let (Some(before), Some(fields)) =
                    (own.get("lastTransitionTime"), condition.as_object_mut())
            {
                fields.insert("lastTransitionTime".into(), before.clone());
            }
            *own = condition;
        }
        None => conditions.push(condition),
    }
}

/// Pods that are over, or never ran, are evicted without asking.
fn free_to_go(pod: &Value) -> bool {
    matches!(
        text_at(pod, "/status/phase"),
        "Succeeded" | "Failed" | "Pending"
    ) || pod.pointer("/metadata/deletionTimestamp").is_some()
}

fn too_many(message: String, retry: Option<u32>) -> Status {
    let mut details = json!({"causes": [{"reason": "DisruptionBudget", "message": message}]});
    if let (Some(seconds), Some(fields)) = (retry, details.as_object_mut()) {
        fields.insert("retryAfterSeconds".into(), seconds.into());
    }
    let mut status = Status::new(
        429,
        "TooManyRequests",
        "Cannot evict pod as it would violate the pod's disruption budget.",
    )
    .with_details(details);
    status.retry_after = retry;
    status
}

/// How often a budget that others write at the same time is asked anew.
const ATTEMPTS: usize = 5;

async fn take_from_budget(
    state: &Arc<ApiState>,
    namespace: &str,
    name: &str,
    pod: &Value,
    dry_run: bool,
) -> Result<(), Status> {
    for _ in 0..ATTEMPTS {
        if try_budget(state, namespace, name, pod, dry_run).await? {
            return Ok(());
        }
    }
    Err(Status::new(
        504,
        "Timeout",
        "Timeout: couldn't update PodDisruptionBudget due to conflicts",
    )
    .with_details(json!({"retryAfterSeconds": 10})))
}

/// Gives whether it worked; others may have been faster.
async fn try_budget(
    state: &Arc<ApiState>,
    namespace: &str,
    name: &str,
    pod: &Value,
    dry_run: bool,
) -> Result<bool, Status> {
    let path = format!("/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets");
    let (_, list) = loopback::call(state, Method::GET, path.clone(), None).await;
    let labels = pod.pointer("/metadata/labels");
    let budgets: Vec<&Value> = items(&list, "/items")
        .iter()
        .filter(|budget| {
            budget
                .pointer("/spec/selector")
                .is_some_and(|selector| selector::matches(selector, labels))
        })
        .collect();
    if budgets.len() > 1 {
        return Err(Status::new(
            500,
            "InternalError",
            "Internal error occurred: This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        ));
    }
    let Some(budget) = budgets.into_iter().next() else {
        return Ok(true);
    };
    let number = |pointer: &str| budget.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let budget_name = text_at(budget, "/metadata/name");
    if number("/status/observedGeneration") < number("/metadata/generation") {
        return Err(too_many(
            format!("The disruption budget {budget_name} is still being processed by the server."),
            Some(10),
        ));
    }
    if number("/status/disruptionsAllowed") <= 0 {
        return Err(too_many(
            format!(
                "The disruption budget {budget_name} needs {} healthy pods and has {} currently",
                number("/status/desiredHealthy"),
                number("/status/currentHealthy")
            ),
            None,
        ));
    }
    if dry_run {
        return Ok(true);
    }
    let (code, _) = loopback::call(
        state,
        Method::PUT,
        format!("{path}/{budget_name}/status"),
        Some(disrupted(budget, name)),
    )
    .await;
    Ok(code != 409)
}

/// The budget with one disruption less.
fn disrupted(budget: &Value, pod: &str) -> Value {
    let mut budget = budget.clone();
    let generation = budget
        .pointer("/metadata/generation")
        .cloned()
        .unwrap_or_default();
    let Some(fields) = budget.as_object_mut() else {
        return budget;
    };
    fields.insert("kind".into(), "PodDisruptionBudget".into());
    fields.insert("apiVersion".into(), "policy/v1".into());
    let status = ensure(fields, "status");
    let left = status
        .get("disruptionsAllowed")
        .and_then(Value::as_i64)
        .unwrap_or(1)
        - 1;
    status.insert("disruptionsAllowed".into(), left.into());
    ensure(status, "disruptedPods").insert(pod.to_owned(), now().into());
    if left <= 0 {
        status.insert(
            "conditions".into(),
            json!([{"type": "DisruptionAllowed", "status": "False",
                "observedGeneration": generation, "lastTransitionTime": now(),
                "reason": "InsufficientPods", "message": ""}]),
        );
    }
    budget
}

/// Deletes the pod as the DELETE of the pod itself would, without an audit event of its own.
async fn delete(
    state: &Arc<ApiState>,
    request: &ApiRequest,
    options: Option<&Value>,
    dry_run: bool,
) -> Result<(), Status> {
    let body = options.map(|options| {
        let mut body = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
        if let (Some(body), Some(options)) = (body.as_object_mut(), options.as_object()) {
            body.extend(options.clone());
        }
        body.to_string()
    });
    let mut headers = http::HeaderMap::new();
    headers.insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static("application/json"),
    );
    let parts = vec!["pods".to_owned(), request.info.name.clone()];
    let inner = ApiRequest {
        info: RequestInfo {
            verb: "delete".to_owned(),
            subresource: String::new(),
            parts,
            ..request.info.clone()
        },
        user: request.user.clone(),
        method: Method::DELETE,
        uri: request.uri.clone(),
        headers,
        query: if dry_run && body.is_none() {
            vec![("dryRun".to_owned(), "All".to_owned())]
        } else {
            Vec::new()
        },
        body: body.unwrap_or_default().into(),
        audit: AuditContext::default(),
        warnings: request.warnings.clone(),
        upgrade: None,
        unread: false,
    };
    // Boxed: the registry calls the subresources, which call the registry here.
    Box::pin(registry::serve(state, inner)).await.map(|_| ())
}
