//! Priority and fairness, as far as clients see it: which flow schema and priority level a request
//! fell under (`k8s.io/apiserver/pkg/server/filters/priority-and-fairness.go`). Nothing is queued.

use http::{HeaderName, HeaderValue};
use serde_json::Value;

use super::authz::PRIVILEGED;
use super::request::{RequestInfo, UserInfo};
use super::state::ApiState;

/// The flow schema and priority level of the bootstrap configuration that a request falls under.
fn classify(user: &UserInfo, info: &RequestInfo) -> (&'static str, &'static str) {
    let group = |name: &str| user.groups.iter().any(|group| group == name);
    if group(PRIVILEGED) {
        return ("exempt", "exempt");
    }
    if !info.is_resource
        && ["/healthz", "/livez", "/readyz"]
            .iter()
            .any(|path| info.path == *path)
    {
        return ("probes", "exempt");
    }
    if group("system:nodes") {
        if info.resource == "nodes" || info.resource == "leases" {
            return ("system-node-high", "node-high");
        }
        return ("system-nodes", "system");
    }
    match user.username.as_str() {
        "system:kube-controller-manager" if info.resource == "leases" => {
            ("system-leader-election", "leader-election")
        }
        "system:kube-scheduler" if info.resource == "leases" => {
            ("system-leader-election", "leader-election")
        }
        "system:kube-controller-manager" => ("kube-controller-manager", "workload-high"),
        "system:kube-scheduler" => ("kube-scheduler", "workload-high"),
        _ if group("system:serviceaccounts:kube-system") => {
            ("kube-system-service-accounts", "workload-high")
        }
        _ if group("system:serviceaccounts") => ("service-accounts", "workload-low"),
        _ if group("system:authenticated") || group("system:unauthenticated") => {
            ("global-default", "global-default")
        }
        _ => ("catch-all", "catch-all"),
    }
}

/// The headers that name them, as far as the objects exist.
#[must_use]
pub fn headers(
    state: &ApiState,
    user: &UserInfo,
    info: &RequestInfo,
) -> Vec<(HeaderName, HeaderValue)> {
    if !state.flags.line.bool("enable-priority-and-fairness") {
        return Vec::new();
    }
    let (schema, level) = classify(user, info);
    let uid = |resource: &str, name: &str| {
        let key = format!("/registry/flowcontrol.apiserver.k8s.io/{resource}/{name}");
        let stored = state.store.get(&key)?;
        let uid = stored
            .value
            .pointer("/metadata/uid")
            .and_then(Value::as_str)?;
        HeaderValue::try_from(uid).ok()
    };
    [
        (
            HeaderName::from_static("x-kubernetes-pf-flowschema-uid"),
            uid("flowschemas", schema),
        ),
        (
            HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid"),
            uid("prioritylevelconfigurations", level),
        ),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}
