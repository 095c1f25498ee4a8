//! What kube-apiserver refuses once its command line is read
//! (`cmd/kube-apiserver/app/options/{completion,validation}.go`, `pkg/controlplane/apiserver/options/validation.go`,
//! `pkg/kubeapiserver/options`).

use super::Flags;
use crate::audit::options::number::quote;

/// A CIDR: network address and prefix length.
fn cidr(text: &str) -> Option<(std::net::IpAddr, u32)> {
    let (address, bits) = text.split_once('/')?;
    let address: std::net::IpAddr = address.parse().ok()?;
    let bits: u32 = bits.parse().ok()?;
    (bits <= if address.is_ipv4() { 32 } else { 128 }).then_some((address, bits))
}

/// Completion of the options: the first fault ends it.
///
/// # Errors
/// The real text.
pub fn complete(flags: &Flags) -> Result<(), String> {
    let range = flags.line.text("service-cluster-ip-range");
    for part in range.split(',').filter(|part| !part.is_empty()) {
        let Some((address, bits)) = cidr(part) else {
            return Err("service-cluster-ip-range is not a valid cidr".to_owned()).map_err(
                |text| {
                    if range.contains(',') && part != range.split(',').next().unwrap_or_default() {
                        "service-cluster-ip-range[1] is not an ip net".to_owned()
                    } else {
                        text
                    }
                },
            );
        };
        let host_bits = if address.is_ipv4() { 32 } else { 128 } - bits;
        if host_bits < 3 {
            return Err("error determining service IP ranges: the service cluster IP range must be at least 8 IP addresses".to_owned());
        }
    }
    Ok(())
}

/// Validation of the options: every fault, in the real order.
#[must_use]
pub fn validate(flags: &Flags) -> Vec<String> {
    let line = &flags.line;
    let mut errors = Vec::new();
    generic(flags, &mut errors);
    if line.list("etcd-servers").is_empty() {
        errors.push("--etcd-servers must be specified".to_owned());
    }
    let backend = line.text("storage-backend");
    if !backend.is_empty() && backend != "etcd3" {
        errors.push(
            "--storage-backend invalid, allowed values: etcd3. If not specified, it will default to 'etcd3'"
                .to_owned(),
        );
    }
    if line.text("encryption-provider-config").is_empty()
        && line.bool("encryption-provider-config-automatic-reload")
    {
        errors.push("--encryption-provider-config-automatic-reload must be set with --encryption-provider-config".to_owned());
    }
    let media = line.text("storage-media-type");
    let known = [
        "application/json",
        "application/vnd.kubernetes.protobuf",
        "application/yaml",
    ];
    if !media.is_empty() && !known.contains(&media.as_str()) {
        errors.push(format!(
            "--storage-media-type {} invalid, allowed values: {}",
            quote(&media),
            known.join(", ")
        ));
    }
    let port = flags.secure_port();
    if !(1..=65535).contains(&port) {
        errors.push(format!(
            "--secure-port {port} must be between 1 and 65535, inclusive. It cannot be turned off with 0"
        ));
    }
    authentication(flags, &mut errors);
    authorization(flags, &mut errors);
    errors.extend(flags.audit.validate());
    admission(flags, &mut errors);
    token_request(flags, &mut errors);
    if line.text("service-cluster-ip-range").is_empty() {
        errors.push("--service-cluster-ip-range must contain at least one valid cidr".to_owned());
    }
    errors
}

fn generic(flags: &Flags, errors: &mut Vec<String>) {
    let line = &flags.line;
    let negative = |name: &str| line.int(name) < 0;
    for (name, text) in [
        (
            "max-requests-inflight",
            "--max-requests-inflight can not be negative value",
        ),
        (
            "max-mutating-requests-inflight",
            "--max-mutating-requests-inflight can not be negative value",
        ),
        (
            "request-timeout",
            "--request-timeout can not be negative value",
        ),
        (
            "min-request-timeout",
            "--min-request-timeout can not be negative value",
        ),
        (
            "storage-initialization-timeout",
            "--storage-initialization-timeout can not be negative value",
        ),
        (
            "shutdown-delay-duration",
            "--shutdown-delay-duration can not be negative value",
        ),
    ] {
        if negative(name) {
            errors.push(text.to_owned());
        }
    }
    let chance = line.float("goaway-chance");
    if !(0.0..=0.02).contains(&chance) {
        errors.push("--goaway-chance can not be less than 0 or greater than 0.02".to_owned());
    }
}

fn authentication(flags: &Flags, errors: &mut Vec<String>) {
    for issuer in flags.issuers() {
        if issuer.contains(':') && http::Uri::try_from(issuer.as_str()).is_err() {
            errors.push(format!(
                "service-account-issuer {} contained a ':' but was not a valid URL: parse {}: invalid URI for request",
                quote(&issuer),
                quote(&issuer)
            ));
        }
    }
}

const MODES: [&str; 6] = [
    "AlwaysAllow",
    "AlwaysDeny",
    "ABAC",
    "Webhook",
    "RBAC",
    "Node",
];

fn authorization(flags: &Flags, errors: &mut Vec<String>) {
    let modes = flags.authorization_modes();
    for mode in &modes {
        if !MODES.contains(&mode.as_str()) {
            errors.push(format!(
                "authorization-mode {} is not a valid mode",
                quote(mode)
            ));
        }
        if mode == "ABAC" && flags.line.text("authorization-policy-file").is_empty() {
            errors
                .push("authorization-mode ABAC's authorization policy file not passed".to_owned());
        }
        if mode == "Webhook"
            && flags
                .line
                .text("authorization-webhook-config-file")
                .is_empty()
        {
            errors.push(
                "authorization-mode Webhook's authorization config file not passed".to_owned(),
            );
        }
    }
    let mut seen: Vec<&String> = Vec::new();
    for mode in &modes {
        if seen.contains(&mode) {
            errors.push(format!(
                "authorization-mode {} has mode specified more than once",
                quote(&format!("[{}]", modes.join(" ")))
            ));
            break;
        }
        seen.push(mode);
    }
}

/// The plugins of 1.36 (`pkg/kubeapiserver/options/plugins.go`).
pub const PLUGINS: [&str; 36] = [
    "AlwaysAdmit",
    "NamespaceAutoProvision",
    "NamespaceLifecycle",
    "NamespaceExists",
    "LimitPodHardAntiAffinityTopology",
    "LimitRanger",
    "ServiceAccount",
    "NodeRestriction",
    "TaintNodesByCondition",
    "AlwaysPullImages",
    "ImagePolicyWebhook",
    "PodSecurity",
    "PodNodeSelector",
    "Priority",
    "DefaultTolerationSeconds",
    "PodTolerationRestriction",
    "EventRateLimit",
    "ExtendedResourceToleration",
    "DefaultStorageClass",
    "StorageObjectInUseProtection",
    "OwnerReferencesPermissionEnforcement",
    "PersistentVolumeClaimResize",
    "RuntimeClass",
    "CertificateApproval",
    "CertificateSigning",
    "ClusterTrustBundleAttest",
    "CertificateSubjectRestriction",
    "DefaultIngressClass",
    "DenyServiceExternalIPs",
    "PodTopologyLabels",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
    "ResourceQuota",
    "AlwaysDeny",
];

fn admission(flags: &Flags, errors: &mut Vec<String>) {
    let enabled = flags.line.list("enable-admission-plugins");
    let disabled = flags.line.list("disable-admission-plugins");
    let mut unknown = |flag: &str, names: &[String]| {
        let bad: Vec<&str> = names
            .iter()
            .map(String::as_str)
            .filter(|name| !PLUGINS.contains(name))
            .collect();
        for name in bad {
            errors.push(format!("{flag} plugin {} is unknown", quote(name)));
        }
    };
    unknown("disable-admission-plugins", &disabled);
    unknown("enable-admission-plugins", &enabled);
    let both: Vec<&str> = enabled
        .iter()
        .filter(|name| disabled.contains(name))
        .map(String::as_str)
        .collect();
    if !both.is_empty() {
        errors.push(format!(
            "[{}] in enable-admission-plugins and disable-admission-plugins overlapped",
            both.join(" ")
        ));
    }
}

fn token_request(flags: &Flags, errors: &mut Vec<String>) {
    let signing = flags.line.text("service-account-signing-key-file");
    let issuer = flags.issuers().first().cloned().unwrap_or_default();
    let attempted =
        !signing.is_empty() || !issuer.is_empty() || !flags.line.list("api-audiences").is_empty();
    if !attempted {
        errors.push(
            "--service-account-signing-key-file and --service-account-issuer are required flags"
                .to_owned(),
        );
    } else if signing.is_empty() || issuer.is_empty() {
        errors.push("--service-account-signing-key-file, --service-account-issuer, and --api-audiences should be specified together".to_owned());
    }
}
