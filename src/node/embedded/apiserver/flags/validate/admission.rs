//! `pkg/kubeapiserver/options/{admission,plugins}.go`, `k8s.io/apiserver/pkg/server/options/admission.go`.

use std::collections::BTreeSet;

use super::super::Flags;
use crate::audit::options::number::quote;

/// The plugins, in alphabetical order.
pub const PLUGINS: [&str; 41] = [
    "AlwaysAdmit",
    "AlwaysDeny",
    "AlwaysPullImages",
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "ClusterTrustBundleAttest",
    "DefaultIngressClass",
    "DefaultStorageClass",
    "DefaultTolerationSeconds",
    "DenyServiceExternalIPs",
    "EventRateLimit",
    "ExtendedResourceToleration",
    "ImagePolicyWebhook",
    "JobValidation",
    "LimitPodHardAntiAffinityTopology",
    "LimitRanger",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionWebhook",
    "NamespaceAutoProvision",
    "NamespaceExists",
    "NamespaceLifecycle",
    "NodeDeclaredFeatureValidator",
    "NodeRestriction",
    "OwnerReferencesPermissionEnforcement",
    "PersistentVolumeClaimResize",
    "PodGroupProtection",
    "PodGroupWorkloadExists",
    "PodNodeSelector",
    "PodResizeValidator",
    "PodSecurity",
    "PodTolerationRestriction",
    "PodTopologyLabels",
    "Priority",
    "ResourceQuota",
    "RuntimeClass",
    "ServiceAccount",
    "StorageObjectInUseProtection",
    "TaintNodesByCondition",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionWebhook",
];

/// Those that are off unless asked for.
pub const DEFAULT_OFF: [&str; 14] = [
    "AlwaysAdmit",
    "AlwaysDeny",
    "AlwaysPullImages",
    "DenyServiceExternalIPs",
    "EventRateLimit",
    "ExtendedResourceToleration",
    "ImagePolicyWebhook",
    "LimitPodHardAntiAffinityTopology",
    "NamespaceAutoProvision",
    "NamespaceExists",
    "NodeRestriction",
    "OwnerReferencesPermissionEnforcement",
    "PodNodeSelector",
    "PodTolerationRestriction",
];

pub(super) fn validate(flags: &Flags, errors: &mut Vec<String>) {
    let listed = flags.line.list("admission-control");
    let enabled = flags.line.list("enable-admission-plugins");
    let disabled = flags.line.list("disable-admission-plugins");
    let given = |name: &str| flags.line.given(name);
    if given("admission-control")
        && (given("enable-admission-plugins") || given("disable-admission-plugins"))
    {
        errors.push("admission-control and enable-admission-plugins/disable-admission-plugins flags are mutually exclusive".to_owned());
    }
    for (flag, names) in [
        ("admission-control", &listed),
        ("enable-admission-plugins", &enabled),
        ("disable-admission-plugins", &disabled),
    ] {
        for name in names {
            if name.is_empty() || !PLUGINS.contains(&name.as_str()) {
                errors.push(format!("{flag} plugin {} is unknown", quote(name)));
            }
        }
    }
    let both: BTreeSet<&str> = enabled
        .iter()
        .filter(|name| disabled.contains(name))
        .map(String::as_str)
        .collect();
    if !both.is_empty() {
        let both: Vec<&str> = both.into_iter().collect();
        errors.push(format!(
            "[{}] in enable-admission-plugins and disable-admission-plugins overlapped",
            both.join(" ")
        ));
    }
}
