//! Defaults of the built-in kinds (`pkg/apis/*/v1/defaults.go`, and what conversion to the internal
//! version and back fills in).

pub mod network;
pub mod pod;
pub mod policy;
pub mod storage;
pub mod workload;

use serde_json::{Value, json};

use super::edit::{Object, default, default_text, each, ensure, text};
use crate::node::embedded::apiserver::catalog::Resource;

/// Fills in the defaults of an object of this resource.
pub fn apply(resource: &Resource, object: &mut Value) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => pod::pod(object),
        ("", "PodTemplate") => pod::template(ensure(object, "template")),
        ("", "ReplicationController") => workload::replication_controller(object),
        ("apps", "Deployment") => workload::deployment(object),
        ("apps", "ReplicaSet") => workload::replica_set(object),
        ("apps", "DaemonSet") => workload::daemon_set(object),
        ("apps", "StatefulSet") => workload::stateful_set(object),
        ("batch", "Job") => workload::job(object),
        ("batch", "CronJob") => workload::cron_job(object),
        ("", "Service") => network::service(object),
        ("", "Endpoints") => network::endpoints(object),
        ("discovery.k8s.io", "EndpointSlice") => network::endpoint_slice(object),
        ("networking.k8s.io", "NetworkPolicy") => network::network_policy(object),
        ("networking.k8s.io", "IngressClass") => network::ingress_class(object),
        ("", "PersistentVolume") => storage::volume(object),
        ("", "PersistentVolumeClaim") => storage::claim(object),
        ("storage.k8s.io", "StorageClass") => storage::class(object),
        ("storage.k8s.io", "CSIDriver") => storage::csi_driver(object),
        ("", "Secret") => secret(object),
        ("", "Namespace") => namespace(object),
        ("", "Node") => node(object),
        ("", "LimitRange") => policy::limit_range(object),
        ("", "ResourceQuota") => pod::quantities(ensure(object, "spec"), "hard"),
        ("", "ServiceAccount" | "ConfigMap" | "Event") => {}
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => binding(object),
        ("scheduling.k8s.io", "PriorityClass") => {
            default_text(object, "preemptionPolicy", "PreemptLowerPriority");
        }
        ("autoscaling", "HorizontalPodAutoscaler") => {
            policy::autoscaler(object, resource.version == "v1");
        }
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => policy::webhooks(object, resource.kind == "MutatingWebhookConfiguration"),
        ("admissionregistration.k8s.io", kind) if kind.ends_with("AdmissionPolicy") => {
            policy::admission_policy(object);
        }
        ("admissionregistration.k8s.io", kind) if kind.ends_with("AdmissionPolicyBinding") => {
            policy::admission_policy_binding(object);
        }
        ("flowcontrol.apiserver.k8s.io", "FlowSchema") => {
            super::edit::default_number(ensure(object, "spec"), "matchingPrecedence", 1000);
        }
        ("flowcontrol.apiserver.k8s.io", "PriorityLevelConfiguration") => {
            policy::priority_level(object);
        }
        ("apiregistration.k8s.io", "APIService") => {
            if let Some(service) = super::edit::child(ensure(object, "spec"), "service") {
                default(service, "port", 443);
            }
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => definition(object),
        ("authentication.k8s.io", "TokenRequest") => {
            default(ensure(object, "spec"), "expirationSeconds", 3600);
        }
        _ => {}
    }
}

/// `stringData` goes into `data` (`Convert_v1_Secret_To_core_Secret`), the type is Opaque.
fn secret(object: &mut Object) {
    use base64::Engine as _;
    if let Some(Value::Object(texts)) = object.shift_remove("stringData") {
        let data = ensure(object, "data");
        for (key, value) in texts {
            let encoded = base64::engine::general_purpose::STANDARD
                .encode(value.as_str().unwrap_or_default());
            data.insert(key, encoded.into());
        }
        data.sort_keys();
    }
    default_text(object, "type", "Opaque");
}

/// The label with its name, the phase.
fn namespace(object: &mut Object) {
    let metadata = ensure(object, "metadata");
    let name = text(metadata, "name").to_owned();
    if !name.is_empty() {
        let labels = ensure(metadata, "labels");
        default(labels, "kubernetes.io/metadata.name", name);
        labels.sort_keys();
    }
    default_text(ensure(object, "status"), "phase", "Active");
}

fn node(object: &mut Object) {
    // `podCIDR` and `podCIDRs` mirror each other (conversion of NodeSpec).
    let spec = ensure(object, "spec");
    let one = text(spec, "podCIDR").to_owned();
    if !one.is_empty() {
        default(spec, "podCIDRs", json!([one]));
    }
    let status = ensure(object, "status");
    pod::quantities(status, "capacity");
    if let Some(capacity) = status.get("capacity").cloned() {
        default(status, "allocatable", capacity);
    }
    pod::quantities(status, "allocatable");
}

fn binding(object: &mut Object) {
    default_text(
        ensure(object, "roleRef"),
        "apiGroup",
        "rbac.authorization.k8s.io",
    );
    each(object, "subjects", |subject| {
        if matches!(text(subject, "kind"), "User" | "Group") {
            default_text(subject, "apiGroup", "rbac.authorization.k8s.io");
        }
    });
}

/// `SetDefaults_CustomResourceDefinitionSpec` and what the strategy of definitions adds.
fn definition(object: &mut Object) {
    let spec = ensure(object, "spec");
    let names = ensure(spec, "names");
    let kind = text(names, "kind").to_owned();
    default_text(names, "singular", &kind.to_lowercase());
    if !kind.is_empty() {
        default_text(names, "listKind", &format!("{kind}List"));
    }
    default(spec, "conversion", json!({"strategy": "None"}));
    if let Some(service) = spec
        .get_mut("conversion")
        .and_then(|c| c.pointer_mut("/webhook/clientConfig/service"))
        .and_then(Value::as_object_mut)
    {
        default(service, "port", 443);
    }
}
