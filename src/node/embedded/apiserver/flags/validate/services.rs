//! API enablement, token requests and services
//! (`k8s.io/apiserver/pkg/server/{options/api_enablement.go,resourceconfig}`,
//! `cmd/kube-apiserver/app/options/validation.go`).

use std::collections::BTreeSet;

use super::super::Flags;
use super::super::complete;
use crate::node::embedded::apiserver::catalog;

/// Keys of `--runtime-config` that are no group.
const MATCHERS: [&str; 5] = ["api/all", "api/ga", "api/beta", "api/alpha", "api/legacy"];

/// Groups that are known and not served as they are.
const UNSERVED: [&str; 5] = [
    "internal.apiserver.k8s.io",
    "storagemigration.k8s.io",
    "imagepolicy.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
];

pub(super) fn api_enablement(flags: &Flags, errors: &mut Vec<String>) {
    let config = flags.line.map("runtime-config");
    if config.len() == 1 && config.get("api/all").is_some_and(|value| value == "false") {
        errors.push("invalid runtime-config with only api/all=false".to_owned());
        return;
    }
    let mut unknown = BTreeSet::new();
    for key in config.keys() {
        let core = ["v1", "api/v1"]
            .iter()
            .any(|v| key == v || key.starts_with(&format!("{v}/")));
        if core || MATCHERS.contains(&key.as_str()) {
            continue;
        }
        let parts: Vec<&str> = key.split('/').collect();
        let (Some(group), Some(version), true) = (parts.first(), parts.get(1), parts.len() < 4)
        else {
            errors.push(format!("runtime-config invalid key {key}"));
            return;
        };
        let known =
            UNSERVED.contains(group) || catalog::built_in().iter().any(|r| r.group == *group);
        if !known {
            unknown.insert(format!("{group}/{version}"));
        }
    }
    if !unknown.is_empty() {
        let unknown: Vec<String> = unknown.into_iter().collect();
        errors.push(format!("unknown api groups {}", unknown.join(",")));
    }
}

pub(super) fn token_request(flags: &Flags, errors: &mut Vec<String>) {
    let signing = flags.line.text("service-account-signing-key-file");
    let endpoint = flags.line.text("service-account-signing-endpoint");
    let issuer = flags.issuers().first().cloned().unwrap_or_default();
    let attempted =
        !signing.is_empty() || !issuer.is_empty() || !flags.line.list("api-audiences").is_empty();
    if !attempted {
        errors.push(
            "--service-account-signing-key-file and --service-account-issuer are required flags"
                .to_owned(),
        );
    } else if (signing.is_empty() && endpoint.is_empty()) || issuer.is_empty() {
        errors.push("--service-account-signing-key-file, --service-account-issuer, and --api-audiences should be specified together".to_owned());
    }
}

pub(super) fn validate(flags: &Flags, errors: &mut Vec<String>) {
    let line = &flags.line;
    let text = line.text("service-cluster-ip-range");
    if text.split(',').count() > 2 {
        errors.push("--service-cluster-ip-range must not contain more than two entries".to_owned());
    }
    let ranges = complete::service_ranges(flags).unwrap_or_default();
    if let [one, two] = ranges.as_slice()
        && one.address.is_ipv4() == two.address.is_ipv4()
    {
        errors.push("--service-cluster-ip-range[0] and --service-cluster-ip-range[1] must be of different IP family".to_owned());
    }
    let port = line.int("kubernetes-service-node-port");
    if !(0..=65535).contains(&port) {
        errors.push(format!("--kubernetes-service-node-port {port} must be between 0 and 65535, inclusive. If 0, the Kubernetes master service will be of type ClusterIP"));
    }
    let range = line.text("service-node-port-range");
    let within = range.split_once('-').is_some_and(|(low, high)| {
        let number = |text: &str| text.parse::<i64>().unwrap_or(0);
        (number(low)..=number(high)).contains(&port)
    });
    if port > 0 && !within {
        errors.push(format!(
            "kubernetes service node port range {range} doesn't contain {port}"
        ));
    }
    let advertised: Option<std::net::IpAddr> = line.text("advertise-address").parse().ok();
    if line.text("endpoint-reconciler-type") != "none"
        && let (Some(range), Some(address)) = (ranges.first(), advertised)
        && !address.is_unspecified()
        && range.address.is_ipv4() != address.is_ipv4()
    {
        errors.push(format!(
            "service IP family \"{}\" must match public address family \"{address}\"",
            range.network()
        ));
    }
    let count = line.int("apiserver-count");
    if count <= 0 {
        errors.push(format!(
            "--apiserver-count should be a positive number, but value '{count}' provided"
        ));
    }
}
