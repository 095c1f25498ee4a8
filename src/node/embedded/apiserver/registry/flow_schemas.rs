//! What API priority and fairness says about flow schemas: whether their priority level exists
//! (`k8s.io/apiserver/pkg/util/flowcontrol/apf_controller.go`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::meta;
use super::target::Target;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::loopback;
use crate::node::embedded::apiserver::state::ApiState;

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const MANAGER: &str = "api-priority-and-fairness-config-consumer-v1";

/// Whether these are flow schemas themselves.
pub(super) fn are(target: &Target) -> bool {
    target.resource.group == GROUP
        && target.resource.name == "flowschemas"
        && target.subresource.is_empty()
}

/// Brings the condition `Dangling` of a flow schema up to date, as the server's own client.
pub(super) async fn reconcile(state: &Arc<ApiState>, name: &str) {
    let Some(stored) = state
        .store
        .get(&format!("/registry/{GROUP}/flowschemas/{name}"))
    else {
        return;
    };
    let level = text_at(&stored.value, "/spec/priorityLevelConfiguration/name");
    let key = format!("/registry/{GROUP}/prioritylevelconfigurations/{level}");
    let exists = state.store.get(&key).is_some();
    let (status, reason, end) = if exists {
        ("False", "Found", "it exists")
    } else {
        ("True", "NotFound", "there is no such object")
    };
    let message = format!(
        "This FlowSchema references the PriorityLevelConfiguration object named {level:?} and {end}"
    );
    let known = items(&stored.value, "/status/conditions")
        .iter()
        .any(|own| {
            text_at(own, "/type") == "Dangling"
                && text_at(own, "/status") == status
                && text_at(own, "/reason") == reason
                && text_at(own, "/message") == message
        });
    if known {
        return;
    }
    let applied: Value = json!({
        "kind": "FlowSchema", "apiVersion": format!("{GROUP}/v1"), "metadata": {"name": name},
        "status": {"conditions": [{"type": "Dangling", "status": status,
            "lastTransitionTime": meta::now(), "reason": reason, "message": message}]}
    });
    let path =
        format!("/apis/{GROUP}/v1/flowschemas/{name}/status?fieldManager={MANAGER}&force=true");
    let _ = loopback::apply(state, path, applied).await;
}
