//! Bindings of pods to nodes (`pkg/registry/core/pod/storage/storage.go`, `BindingREST`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::{is_dry_run, read_body, success};
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult};
use crate::node::embedded::apiserver::kinds::edit::{ensure, text_at};
use crate::node::embedded::apiserver::kinds::field::FieldError;
use crate::node::embedded::apiserver::kinds::strategy::now;
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;
use crate::node::embedded::store::StoreError;

/// Binds a pod to a node.
pub(super) async fn serve(state: &Arc<ApiState>, request: &mut ApiRequest) -> ApiResult {
    let binding = read_body(request, "", "v1", "Binding")?;
    request.audit.record_request(&binding);
    let named = text_at(&binding, "/metadata/name").to_owned();
    let name = if request.info.name.is_empty() {
        named.clone()
    } else {
        request.info.name.clone()
    };
    if name != named && !named.is_empty() {
        return Err(Status::new(
            400,
            "BadRequest",
            "name in URL does not match name in Binding object",
        ));
    }
    let mut errors = Vec::new();
    let kind = text_at(&binding, "/target/kind");
    if !matches!(kind, "" | "Node") {
        errors.push(FieldError::not_supported(
            "target.kind",
            &kind.into(),
            &["Node", "<empty>"],
        ));
    }
    let node = text_at(&binding, "/target/name").to_owned();
    if node.is_empty() {
        errors.push(FieldError::required("target.name", ""));
    }
    if !errors.is_empty() {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        let text = if texts.len() == 1 {
            texts.concat()
        } else {
            format!("[{}]", texts.join(", "))
        };
        return Err(Status::new(500, "", text));
    }
    let key = format!("/registry/core/pods/{}/{name}", request.info.namespace);
    let conflict = |why: String| {
        Status::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on pods/binding \"{name}\": {why}"),
        )
        .with_details(json!({"name": name, "kind": "pods/binding"}))
    };
    let current = state
        .store
        .get(&key)
        .ok_or_else(|| Status::not_found("", "pods", &name))?;
    let uid = text_at(&binding, "/metadata/uid");
    if !uid.is_empty() && uid != text_at(&current.value, "/metadata/uid") {
        let why = format!(
            "Precondition failed: UID in precondition: {uid}, UID in object meta: {}",
            text_at(&current.value, "/metadata/uid")
        );
        return Err(conflict(why));
    }
    if current
        .value
        .pointer("/metadata/deletionTimestamp")
        .is_some()
    {
        return Err(conflict(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        )));
    }
    let assigned = text_at(&current.value, "/spec/nodeName");
    if !assigned.is_empty() {
        return Err(conflict(format!(
            "pod {name} is already assigned to node \"{assigned}\""
        )));
    }
    if is_dry_run(request) {
        return Ok(ApiResponse::object(201, success(201)));
    }
    let annotations = binding.pointer("/metadata/annotations").cloned();
    let written = state
        .store
        .guaranteed_update(&key, move |current| {
            let mut pod = current.value.as_ref().clone();
            bind(&mut pod, &node, annotations.as_ref());
            Some(pod)
        })
        .await;
    match written {
        Ok(_) => Ok(ApiResponse::object(201, success(201))),
        Err(StoreError::NotFound) => Err(Status::not_found("", "pods", &name)),
        Err(error) => Err(Status::new(500, "InternalError", error.to_string())),
    }
}

fn bind(pod: &mut Value, node: &str, annotations: Option<&Value>) {
    let Some(fields) = pod.as_object_mut() else {
        return;
    };
    if let Some(Value::Object(more)) = annotations {
        let own = ensure(ensure(fields, "metadata"), "annotations");
        own.extend(more.clone());
    }
    ensure(fields, "spec").insert("nodeName".into(), node.into());
    let conditions = ensure(fields, "status")
        .entry("conditions".to_owned())
        .or_insert_with(|| json!([]));
    if let Some(list) = conditions.as_array_mut() {
        list.retain(|condition| text_at(condition, "/type") != "PodScheduled");
        list.push(
            json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null,
            "lastTransitionTime": now()}),
        );
    }
}
