//! ComponentStatuses (`pkg/registry/core/componentstatus/rest.go`): looked up when asked for.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult};
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

/// Serves one; `None` for what the registry does.
pub(super) fn serve(state: &Arc<ApiState>, request: &ApiRequest) -> Option<ApiResult> {
    if request.info.verb != "get" {
        return None;
    }
    request
        .warnings
        .add("v1 ComponentStatus is deprecated in v1.19+");
    request.audit.annotate(
        crate::node::embedded::apiserver::audit::recorder::DEPRECATED,
        "true",
    );
    Some(
        statuses(state)
            .into_iter()
            .find(|status| {
                status.pointer("/metadata/name") == Some(&Value::from(request.info.name.as_str()))
            })
            .map(|mut status| {
                if let Some(fields) = status.as_object_mut() {
                    let mut typed = serde_json::Map::new();
                    typed.insert("kind".into(), "ComponentStatus".into());
                    typed.insert("apiVersion".into(), "v1".into());
                    typed.append(fields);
                    *fields = typed;
                }
                ApiResponse::object(200, status)
            })
            .ok_or_else(|| Status::not_found("", "componentstatus", &request.info.name)),
    )
}

/// All of them.
pub(in crate::node::embedded::apiserver) fn statuses(state: &Arc<ApiState>) -> Vec<Value> {
    let entry = |name: &str, port: u16, healthy: bool| {
        let condition = if healthy {
            json!({"type": "Healthy", "status": "True", "message": "ok"})
        } else {
            json!({"type": "Healthy", "status": "False", "message": format!(
                "Get \"https://127.0.0.1:{port}/healthz\": dial tcp 127.0.0.1:{port}: connect: connection refused")})
        };
        json!({"metadata": {"name": name}, "conditions": [condition]})
    };
    let leads = |name: &str| {
        state
            .store
            .get(&format!(
                "/registry/coordination.k8s.io/leases/kube-system/{name}"
            ))
            .and_then(|lease| {
                let renewed: jiff::Timestamp = lease
                    .value
                    .pointer("/spec/renewTime")?
                    .as_str()?
                    .parse()
                    .ok()?;
                Some(jiff::Timestamp::now().duration_since(renewed).as_secs() < 30)
            })
            .unwrap_or(false)
    };
    vec![
        // They are asked at the same time; mostly the scheduler is the first to answer.
        entry("scheduler", 10259, leads("kube-scheduler")),
        entry(
            "controller-manager",
            10257,
            leads("kube-controller-manager"),
        ),
        entry("etcd-0", 2379, true),
    ]
}
