//! Scale (`pkg/registry/apps/*/storage/storage.go`, `ScaleREST`).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{is_dry_run, manager, read_body, scale_owners};
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult};
use crate::node::embedded::apiserver::catalog::Resource;
use crate::node::embedded::apiserver::kinds::edit::{ensure, text_at};
use crate::node::embedded::apiserver::kinds::field::{FieldError, invalid_status};
use crate::node::embedded::apiserver::kinds::{is_built_in, selector};
use crate::node::embedded::apiserver::registry::{Form, Target};
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::{self, Status};
use crate::node::embedded::apiserver::{managed_fields, patch};
use crate::node::embedded::store::{StoreError, Stored};

/// Serves the scale of a built-in workload; `None` for custom resources.
pub(super) async fn serve(
    state: &Arc<ApiState>,
    resource: &Resource,
    request: &mut ApiRequest,
) -> Option<ApiResult> {
    if !is_built_in(resource) {
        return None;
    }
    let group = if resource.group.is_empty() {
        "core"
    } else {
        &resource.group
    };
    let key = format!(
        "/registry/{group}/{}/{}/{}",
        resource.name, request.info.namespace, request.info.name
    );
    let missing = || Status::not_found(&resource.group, &resource.name, &request.info.name);
    match request.info.verb.as_str() {
        "get" => Some(Form::of(request).and_then(|form| {
            let stored = state.store.get(&key).ok_or_else(missing)?;
            let target = target_of(resource, request);
            let shown = form.object(&target, request, of(resource, &stored))?;
            Ok(ApiResponse::object(200, shown))
        })),
        "update" | "patch" => Some(change(state, resource, request, &key).await),
        _ => None,
    }
}

/// The Scale of an object.
fn of(resource: &Resource, stored: &Stored) -> Value {
    let object = &stored.value;
    let mut metadata = Map::new();
    for field in ["name", "namespace", "uid"] {
        metadata.insert(
            field.into(),
            text_at(object, &format!("/metadata/{field}")).into(),
        );
    }
    metadata.insert("resourceVersion".into(), stored.revision.to_string().into());
    metadata.insert(
        "creationTimestamp".into(),
        object
            .pointer("/metadata/creationTimestamp")
            .cloned()
            .unwrap_or_default(),
    );
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or(0);
    let mut spec = Map::new();
    if number("/spec/replicas") != 0 {
        spec.insert("replicas".into(), number("/spec/replicas").into());
    }
    let mut status = Map::new();
    status.insert("replicas".into(), number("/status/replicas").into());
    let text = match object.pointer("/spec/selector") {
        Some(labels) if resource.kind == "ReplicationController" => {
            selector::to_text(&json!({"matchLabels": labels}))
        }
        Some(labels) => selector::to_text(labels),
        None => String::new(),
    };
    if !text.is_empty() {
        status.insert("selector".into(), text.into());
    }
    json!({"kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
        "spec": spec, "status": status})
}

/// The Scale as a resource of its own.
fn target_of(resource: &Resource, request: &ApiRequest) -> Target {
    Target {
        resource: Arc::new(Resource {
            group: "autoscaling".to_owned(),
            version: "v1".to_owned(),
            kind: "Scale".to_owned(),
            subresources: Vec::new(),
            ..resource.clone()
        }),
        custom: None,
        namespace: request.info.namespace.clone(),
        name: request.info.name.clone(),
        subresource: "scale".to_owned(),
    }
}

async fn change(
    state: &Arc<ApiState>,
    resource: &Resource,
    request: &mut ApiRequest,
    key: &str,
) -> ApiResult {
    let patch = request.info.verb == "patch";
    let target = target_of(resource, request);
    let sent = if patch {
        request.audit.record_patch(&request.body);
        None
    } else {
        let scale = read_body(request, "autoscaling", "v1", "Scale")?;
        request.audit.record_request(&scale);
        Some(scale)
    };
    loop {
        let current = state.store.get(key).ok_or_else(|| {
            Status::not_found(&resource.group, &resource.name, &request.info.name)
        })?;
        let mut now = of(resource, &current);
        let owners = scale_owners::of_scale(&current.value);
        if let Some(fields) = now.as_object_mut().filter(|_| !owners.is_empty()) {
            ensure(fields, "metadata").insert("managedFields".into(), owners.into());
        }
        let wanted = match &sent {
            Some(scale) => {
                let mut new = scale.clone();
                managed_fields::update(&target, Some(&now), &mut new, &manager(request));
                new
            }
            None => patch::of_scale(&target, request, &now)?.0,
        };
        let conflict = || {
            let qualified = status::qualified(&resource.group, &resource.name);
            Status::new(
                409,
                "Conflict",
                format!(
                    "Operation cannot be fulfilled on {qualified} \"{}\": the object has been modified; please apply your changes to the latest version and try again",
                    request.info.name
                ),
            )
            .with_details(status::details(&resource.group, &resource.name, &request.info.name))
        };
        // The version in a patched scale is the one the server put there.
        let version = match text_at(&wanted, "/metadata/resourceVersion") {
            own if patch && own == current.revision.to_string() => "",
            own => own,
        };
        if !version.is_empty() && version != current.revision.to_string() {
            return Err(conflict());
        }
        let replicas = wanted
            .pointer("/spec/replicas")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        if replicas < 0 {
            let error = FieldError::invalid(
                "spec.replicas",
                &replicas.into(),
                "must be greater than or equal to 0",
            );
            return Err(invalid_status(
                "autoscaling",
                "Scale",
                &request.info.name,
                &[error],
            ));
        }
        let mut object = current.value.as_ref().clone();
        let unchanged = object.pointer("/spec/replicas").and_then(Value::as_i64) == Some(replicas);
        if let Some(fields) = object.as_object_mut() {
            ensure(fields, "spec").insert("replicas".into(), replicas.into());
            if !unchanged {
                let metadata = ensure(fields, "metadata");
                let generation = metadata
                    .get("generation")
                    .and_then(Value::as_i64)
                    .unwrap_or(0)
                    + 1;
                metadata.insert("generation".into(), generation.into());
            }
            let metadata = ensure(fields, "metadata");
            scale_owners::of_parent(metadata, &wanted, &resource.api_version());
        }
        if is_dry_run(request) || object == *current.value {
            let shown = Stored {
                value: Arc::new(object),
                ..current
            };
            return Ok(ApiResponse::object(200, of(resource, &shown)));
        }
        match state
            .store
            .update(key, Some(current.revision), object)
            .await
        {
            Ok(stored) => return Ok(ApiResponse::object(200, of(resource, &stored))),
            Err(StoreError::Conflict(_)) if version.is_empty() => {}
            Err(StoreError::Conflict(_)) => return Err(conflict()),
            Err(StoreError::NotFound) => {
                return Err(Status::not_found(
                    &resource.group,
                    &resource.name,
                    &request.info.name,
                ));
            }
            Err(error) => return Err(Status::new(500, "InternalError", error.to_string())),
        }
    }
}
