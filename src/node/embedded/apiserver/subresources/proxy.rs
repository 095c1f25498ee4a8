//! Proxies to pods, services and nodes (`pkg/registry/core/{pod,service,node}/rest`). Nothing listens
//! behind them but the simulated kubelets.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use super::pod::{bad_request, kubelet_address, kubelet_runs, refused};
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult, Body};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

/// Serves a proxy request.
pub(super) fn serve(state: &Arc<ApiState>, request: &ApiRequest) -> ApiResult {
    let (_, name, port) = split(&request.info.name);
    match request.info.resource.as_str() {
        "pods" => pod(state, request, &name, &port),
        "services" => service(state, request, &name, &port),
        _ => node(state, request, &name),
    }
}

/// `scheme:name:port` in its parts.
fn split(name: &str) -> (String, String, String) {
    let parts: Vec<&str> = name.split(':').collect();
    match parts.as_slice() {
        [scheme, name, port] => ((*scheme).to_owned(), (*name).to_owned(), (*port).to_owned()),
        [name, port] => (String::new(), (*name).to_owned(), (*port).to_owned()),
        _ => (String::new(), name.to_owned(), String::new()),
    }
}

fn unreachable(address: &str) -> Status {
    Status::new(
        503,
        "ServiceUnavailable",
        format!("error trying to reach service: {}", refused(address)),
    )
}

fn pod(state: &Arc<ApiState>, request: &ApiRequest, name: &str, port: &str) -> ApiResult {
    let key = format!("/registry/core/pods/{}/{name}", request.info.namespace);
    let pod = state
        .store
        .get(&key)
        .ok_or_else(|| Status::not_found("", "pods", name))?
        .value;
    let ip = text_at(&pod, "/status/podIP");
    if ip.is_empty() {
        return Err(bad_request("address not allowed"));
    }
    let port = if port.is_empty() {
        items(&pod, "/spec/containers")
            .iter()
            .flat_map(|container| items(container, "/ports"))
            .find_map(|port| port.get("containerPort").and_then(Value::as_i64))
            .map_or_else(|| "80".to_owned(), |port| port.to_string())
    } else {
        port.to_owned()
    };
    let web = items(&pod, "/spec/containers")
        .iter()
        .any(|container| text_at(container, "/image").contains("nginx"));
    if web && kubelet_runs(state, text_at(&pod, "/spec/nodeName")) {
        return Ok(page());
    }
    Err(unreachable(&format!("{ip}:{port}")))
}

fn service(state: &Arc<ApiState>, request: &ApiRequest, name: &str, port: &str) -> ApiResult {
    let namespace = &request.info.namespace;
    let get = |kind: &str| {
        let stored = state
            .store
            .get(&format!("/registry/core/{kind}/{namespace}/{name}"));
        stored
            .map(|stored| stored.value)
            .ok_or_else(|| Status::not_found("", kind, name))
    };
    let unavailable = |text: String| Status::new(503, "ServiceUnavailable", text);
    // Ports of endpoints have the names of the service's ports.
    let mut wanted = port.to_owned();
    if let Ok(number) = port.parse::<i64>() {
        let service = get("services")?;
        let found = items(&service, "/spec/ports")
            .iter()
            .find(|port| port.get("port").and_then(Value::as_i64) == Some(number));
        let Some(found) = found else {
            return Err(unavailable(format!(
                "no service port {number} found for service \"{name}\""
            )));
        };
        text_at(found, "/name").clone_into(&mut wanted);
    }
    let endpoints = get("endpoints").map_err(|_| Status::not_found("", "services", name))?;
    let first = items(&endpoints, "/subsets").iter().find_map(|subset| {
        let address = items(subset, "/addresses").first()?;
        let port = items(subset, "/ports")
            .iter()
            .find(|port| text_at(port, "/name") == wanted)?;
        Some((address, port.get("port")?.as_i64()?))
    });
    let Some((address, port)) = first else {
        let text = format!(
            "no endpoints available for service \"{}\"",
            request.info.name
        );
        return Err(unavailable(text));
    };
    let behind = text_at(address, "/targetRef/name");
    match text_at(address, "/targetRef/kind") {
        "Pod" => pod(state, request, behind, &port.to_string()),
        _ => Err(unreachable(&format!("{}:{port}", text_at(address, "/ip")))),
    }
}

fn node(state: &Arc<ApiState>, request: &ApiRequest, name: &str) -> ApiResult {
    if state
        .store
        .get(&format!("/registry/core/nodes/{name}"))
        .is_none()
    {
        return Err(Status::not_found("", "nodes", name));
    }
    let address = kubelet_address(state, name).unwrap_or_else(|| format!("{name}:10250"));
    if !is_proxyable(&address) {
        return Err(bad_request("address not allowed"));
    }
    if !kubelet_runs(state, name) {
        return Err(unreachable(&address));
    }
    let rest: Vec<&str> = request
        .info
        .parts
        .iter()
        .skip(3)
        .map(String::as_str)
        .collect();
    match rest.join("/").trim_end_matches('/') {
        "healthz" => Ok(text(200, "ok")),
        "pods" => {
            let pods: Vec<Value> = state
                .store
                .list("/registry/core/pods/")
                .0
                .into_iter()
                .filter(|pod| text_at(&pod.value, "/spec/nodeName") == name)
                .map(|pod| pod.value.as_ref().clone())
                .collect();
            Ok(ApiResponse {
                code: 200,
                headers: Vec::new(),
                body: Body::Bytes {
                    content_type: "application/json".to_owned(),
                    bytes: Bytes::from(
                        json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods})
                            .to_string(),
                    ),
                },
            })
        }
        _ => Ok(text(404, "404 page not found\n")),
    }
}

/// Whether a proxy may lead to this host: not to the API server itself, nor to where routers do not lead
/// (`k8s.io/kubernetes/pkg/proxy/util`, `IsProxyableHostname`).
fn is_proxyable(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    match host.parse::<std::net::IpAddr>() {
        Ok(std::net::IpAddr::V4(ip)) => {
            !ip.is_loopback() && !ip.is_link_local() && !ip.is_unspecified() && !ip.is_multicast()
        }
        Ok(ip) => !ip.is_loopback() && !ip.is_unspecified() && !ip.is_multicast(),
        Err(_) => true,
    }
}

fn text(code: u16, content: &'static str) -> ApiResponse {
    ApiResponse {
        code,
        headers: Vec::new(),
        body: Body::Bytes {
            content_type: "text/plain; charset=utf-8".to_owned(),
            bytes: Bytes::from_static(content.as_bytes()),
        },
    }
}

fn page() -> ApiResponse {
    ApiResponse {
        code: 200,
        headers: Vec::new(),
        body: Body::Bytes {
            content_type: "text/html".to_owned(),
            bytes: Bytes::from_static(
                b"<!DOCTYPE html>\n<html>\n<head>\n<title>Welcome to nginx!</title>\n</head>\n<body>\n<h1>Welcome to nginx!</h1>\n</body>\n</html>\n",
            ),
        },
    }
}
