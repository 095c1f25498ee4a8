//! What log, exec and attach have in common: the pod, its container, its kubelet
//! (`pkg/registry/core/pod/strategy.go`).

use std::sync::Arc;

use serde_json::Value;

use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

/// A 400 with this text.
pub(super) fn bad_request(message: impl Into<String>) -> Status {
    Status::new(400, "BadRequest", message)
}

/// The pod of the request.
pub(super) fn find(state: &Arc<ApiState>, request: &ApiRequest) -> Result<Arc<Value>, Status> {
    let (namespace, name) = (&request.info.namespace, &request.info.name);
    state
        .store
        .get(&format!("/registry/core/pods/{namespace}/{name}"))
        .map(|stored| stored.value)
        .ok_or_else(|| Status::not_found("", "pods", name))
}

/// The container that is meant: named, annotated as the default, or the only one.
pub(super) fn container(pod: &Value, wanted: Option<&str>) -> Result<String, Status> {
    let names = |list: &str| -> Vec<&str> {
        items(pod, &format!("/spec/{list}"))
            .iter()
            .map(|container| text_at(container, "/name"))
            .collect()
    };
    let name = text_at(pod, "/metadata/name");
    let (containers, init, ephemeral) = (
        names("containers"),
        names("initContainers"),
        names("ephemeralContainers"),
    );
    match wanted.filter(|wanted| !wanted.is_empty()) {
        None => {
            if let [only] = containers.as_slice() {
                return Ok((*only).to_owned());
            }
            let mut text = format!(
                "a container name must be specified for pod {name}, choose one of: [{}]",
                containers.join(" ")
            );
            if !init.is_empty() {
                text.push_str(&format!(
                    " or one of the init containers: [{}]",
                    init.join(" ")
                ));
            }
            if !ephemeral.is_empty() {
                text.push_str(&format!(
                    " or one of the ephemeral containers: [{}]",
                    ephemeral.join(" ")
                ));
            }
            Err(bad_request(text))
        }
        Some(wanted)
            if containers.contains(&wanted)
                || init.contains(&wanted)
                || ephemeral.contains(&wanted) =>
        {
            Ok(wanted.to_owned())
        }
        Some(wanted) => Err(bad_request(format!(
            "container {wanted} is not valid for pod {name}"
        ))),
    }
}

/// `host:port` of the kubelet of a node.
pub(super) fn kubelet_address(state: &Arc<ApiState>, node: &str) -> Option<String> {
    let node = state
        .store
        .get(&format!("/registry/core/nodes/{node}"))?
        .value;
    let address = items(&node, "/status/addresses")
        .iter()
        .find(|address| text_at(address, "/type") == "InternalIP")
        .map(|address| text_at(address, "/address"))?;
    let port = node
        .pointer("/status/daemonEndpoints/kubeletEndpoint/Port")
        .and_then(Value::as_u64)
        .filter(|port| *port != 0)
        .unwrap_or(10250);
    Some(format!("{address}:{port}"))
}

/// Whether a kubelet runs on the node: it renews its lease.
pub(super) fn kubelet_runs(state: &Arc<ApiState>, node: &str) -> bool {
    state
        .store
        .get(&format!(
            "/registry/coordination.k8s.io/leases/kube-node-lease/{node}"
        ))
        .and_then(|lease| {
            let renewed: jiff::Timestamp = text_at(&lease.value, "/spec/renewTime").parse().ok()?;
            let age = jiff::Timestamp::now().duration_since(renewed).as_secs();
            Some(age < 60)
        })
        .unwrap_or(false)
}

/// What Go's dialer says of a kubelet that is not there.
pub(super) fn refused(address: &str) -> String {
    format!("dial tcp {address}: connect: connection refused")
}

/// The status of a container of any kind.
pub(super) fn status_of<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    [
        "containerStatuses",
        "initContainerStatuses",
        "ephemeralContainerStatuses",
    ]
    .iter()
    .flat_map(|list| items(pod, &format!("/status/{list}")))
    .find(|status| text_at(status, "/name") == container)
}

/// Whether the container runs now.
pub(super) fn is_running(pod: &Value, container: &str) -> bool {
    status_of(pod, container).is_some_and(|status| status.pointer("/state/running").is_some())
}
