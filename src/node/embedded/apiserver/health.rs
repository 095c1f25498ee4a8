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

/// Names of the checks of an endpoint of this server, in order: encryption may add some.
#[must_use]
pub fn checks_of(state: &ApiState, endpoint: &str) -> Vec<&'static str> {
    let mut out = checks(endpoint);
    let etcd = out.iter().rposition(|check| check.starts_with("etcd"));
    if let (Some(check), Some(at)) = (state.encryption.check, etcd) {
        out.insert(at + 1, check);
    }
    let first = out.iter().position(|check| *check == HOOKS[0]);
    if let (true, Some(at)) = (state.encryption.reloads, first) {
        out.insert(at + 1, RELOAD_HOOK);
    }
    out
}

/// The hook of `--encryption-provider-config-automatic-reload`.
const RELOAD_HOOK: &str = "poststarthook/start-encryption-provider-config-automatic-reload";

/// Why a check of an endpoint fails now; `None` when it does not.
fn failure(state: &ApiState, endpoint: &str, check: &str) -> Option<String> {
    match check {
        "etcd" | "etcd-readiness" => (!*state.machine.etcd_up.borrow())
            .then(|| "error getting data from etcd: context deadline exceeded".to_owned()),
        _ if state.encryption.check == Some(check) => state.encryption.failure.clone(),
        "shutdown" => state
            .lifecycle
            .is_shutting_down()
            .then(|| "process is shutting down".to_owned()),
        _ if state.lifecycle.is_finished(check) || has_grace(state, endpoint) => None,
        "informer-sync" => Some("1 informers not started yet: [*v1.Secret]".to_owned()),
        "autoregister-completion" => Some(format!("missing APIService: [{}]", built_in_services())),
        _ => Some("not finished".to_owned()),
    }
}

/// Whether `/livez` still forgives a start-up that is not finished (`--livez-grace-period`).
fn has_grace(state: &ApiState, endpoint: &str) -> bool {
    let grace = state.flags.line.int("livez-grace-period");
    let age = jiff::Timestamp::now().as_nanosecond() - state.started.as_nanosecond();
    endpoint == "livez" && age < i128::from(grace)
}

/// Names of the APIServices of what is built in, sorted.
fn built_in_services() -> String {
    let names: std::collections::BTreeSet<String> = super::catalog::built_in()
        .iter()
        .map(|resource| format!("{}.{}", resource.version, resource.group))
        .collect();
    names.into_iter().collect::<Vec<_>>().join(" ")
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
    // Only these very paths: `/readyz/` is not one.
    let path = request.info.path.strip_prefix('/')?;
    let (endpoint, check) = match path.split_once('/') {
        Some((endpoint, check)) => (endpoint, Some(check)),
        None => (path, None),
    };
    if !ENDPOINTS.contains(&endpoint) {
        return None;
    }
    let checks = checks_of(state, endpoint);
    if let Some(check) = check {
        if !checks.contains(&check) {
            return None;
        }
        return Some(match failure(state, endpoint, check) {
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
    // The report is public and withholds reasons; the log does not.
    let mut reasons = String::new();
    for check in &checks {
        if excluded.contains(check) {
            report.push_str(&format!("[+]{check} excluded: ok\n"));
        } else if let Some(reason) = failure(state, endpoint, check) {
            failed.push(*check);
            report.push_str(&format!("[-]{check} failed: reason withheld\n"));
            reasons.push_str(&format!("\n[-]{check} failed: {reason}"));
        } else {
            report.push_str(&format!("[+]{check} ok\n"));
        }
    }
    let unknown: std::collections::BTreeSet<&str> = excluded
        .into_iter()
        .filter(|name| !checks.contains(name))
        .collect();
    if !unknown.is_empty() {
        let unknown: Vec<String> = unknown
            .into_iter()
            .map(crate::audit::options::number::quote)
            .collect();
        let unknown = unknown.join(",");
        report.push_str(&format!(
            "warn: some health checks cannot be excluded: no matches for {unknown}\n"
        ));
        state.klog.info(
            6,
            "healthz.go:306",
            &format!("cannot exclude some health checks, no health checks are installed matching {unknown}"),
        );
    }
    if !failed.is_empty() {
        state.klog.info(
            2,
            "healthz.go:311",
            &format!("{} check failed: {endpoint}{reasons}", failed.join(",")),
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
