//! `/healthz`, `/livez`, `/readyz` (`k8s.io/apiserver/pkg/server/healthz`).

use super::api::{ApiResponse, Body};
use super::request::ApiRequest;
use super::state::ApiState;

/// Checks every endpoint has, in the order of a real server.
const HOOKS: [&str; 32] = [
    "poststarthook/start-apiserver-admission-initializer",
    "poststarthook/generic-apiserver-start-informers",
    "poststarthook/priority-and-fairness-config-consumer",
    "poststarthook/priority-and-fairness-filter",
    "poststarthook/storage-object-count-tracker-hook",
    "poststarthook/start-apiextensions-informers",
    "poststarthook/start-apiextensions-controllers",
    "poststarthook/crd-informer-synced",
    "poststarthook/start-system-namespaces-controller",
    "poststarthook/peer-endpoint-reconciler-controller",
    "poststarthook/start-cluster-authentication-info-controller",
    "poststarthook/start-kube-apiserver-identity-lease-controller",
    "poststarthook/start-kube-apiserver-identity-lease-garbage-collector",
    "poststarthook/storage-readiness",
    "poststarthook/start-legacy-token-tracking-controller",
    "poststarthook/start-service-ip-repair-controllers",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/priority-and-fairness-config-producer",
    "poststarthook/bootstrap-controller",
    "poststarthook/start-kubernetes-service-cidr-controller",
    "poststarthook/aggregator-reload-proxy-client-cert",
    "poststarthook/start-kube-aggregator-informers",
    "poststarthook/apiservice-status-local-available-controller",
    "poststarthook/apiservice-status-remote-available-controller",
    "poststarthook/apiservice-registration-controller",
    "poststarthook/apiservice-wait-for-first-sync",
    "poststarthook/apiservice-discovery-controller",
    "poststarthook/kube-apiserver-autoregistration",
    "autoregister-completion",
    "poststarthook/apiservice-openapi-controller",
    "poststarthook/apiservice-openapiv3-controller",
];

/// The endpoints.
pub const ENDPOINTS: [&str; 3] = ["healthz", "livez", "readyz"];

/// Names of the checks of an endpoint, in order.
#[must_use]
pub fn checks(endpoint: &str) -> Vec<&'static str> {
    let first: &[&str] = if endpoint == "readyz" {
        &["ping", "log", "etcd", "etcd-readiness", "informer-sync"]
    } else {
        &["ping", "log", "loopback-serving-certificate", "etcd"]
    };
    let mut out = first.to_vec();
    out.extend(HOOKS);
    if endpoint == "readyz" {
        out.push("shutdown");
    }
    out
}

/// Why a check fails now; `None` when it does not.
fn failure(state: &ApiState, check: &str) -> Option<&'static str> {
    match check {
        "etcd" | "etcd-readiness" if !*state.machine.etcd_up.borrow() => {
            Some("error getting data from etcd: context deadline exceeded")
        }
        "shutdown" if state.shutdown.is_cancelled() => Some("process is shutting down"),
        _ => None,
    }
}

/// Plain text as Go's `http.Error` sends it.
#[must_use]
pub fn text(code: u16, text: String, no_sniff: bool) -> ApiResponse {
    let mut headers = Vec::new();
    if no_sniff {
        headers.push((
            http::header::X_CONTENT_TYPE_OPTIONS,
            http::HeaderValue::from_static("nosniff"),
        ));
    }
    ApiResponse {
        code,
        headers,
        body: Body::Bytes {
            content_type: "text/plain; charset=utf-8".to_owned(),
            bytes: text.into(),
        },
    }
}

/// Serves a health endpoint; `None` for other paths and unknown checks.
#[must_use]
pub fn serve(state: &ApiState, request: &ApiRequest) -> Option<ApiResponse> {
    let path = request.info.path.trim_start_matches('/');
    let (endpoint, check) = match path.split_once('/') {
        Some((endpoint, check)) => (endpoint, check),
        None => (path, ""),
    };
    if !ENDPOINTS.contains(&endpoint) {
        return None;
    }
    let checks = checks(endpoint);
    if !check.is_empty() {
        if !checks.contains(&check) {
            return None;
        }
        return Some(match failure(state, check) {
            None => text(200, "ok".to_owned(), false),
            Some(reason) => text(500, format!("internal server error: {reason}\n"), true),
        });
    }
    let excluded: Vec<&str> = request
        .query
        .iter()
        .filter(|(key, _)| key == "exclude")
        .map(|(_, value)| value.as_str())
        .collect();
    let mut report = String::new();
    let mut failed = Vec::new();
    for check in &checks {
        if excluded.contains(check) {
            report.push_str(&format!("[+]{check} excluded: ok\n"));
        } else if failure(state, check).is_some() {
            failed.push(*check);
            report.push_str(&format!("[-]{check} failed: reason withheld\n"));
        } else {
            report.push_str(&format!("[+]{check} ok\n"));
        }
    }
    let mut unknown: Vec<String> = excluded
        .iter()
        .filter(|name| !name.is_empty() && !checks.contains(name))
        .map(|name| crate::audit::options::number::quote(name))
        .collect();
    if !unknown.is_empty() {
        unknown.sort();
        report.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for {}\n",
            unknown.join(",")
        ));
    }
    if !failed.is_empty() {
        state.klog.info(
            2,
            "healthz.go:280",
            &format!("{} check failed: {endpoint}\n{report}", failed.join(",")),
        );
        return Some(text(
            500,
            format!("{report}{endpoint} check failed\n"),
            true,
        ));
    }
    if request.param("verbose").is_some() {
        Some(text(
            200,
            format!("{report}{endpoint} check passed\n"),
            true,
        ))
    } else {
        Some(text(200, "ok".to_owned(), true))
    }
}
