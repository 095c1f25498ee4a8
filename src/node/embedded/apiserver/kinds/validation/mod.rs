//! Validation of the built-in kinds (`pkg/apis/*/validation`), with the texts and field paths of the real one.

pub mod api;
mod definition;
pub mod meta;
pub mod name;
pub mod network;
pub mod pod;
mod pod_update;
pub mod policy;
pub mod privileged;
pub mod storage;
mod structural;
pub mod workload;

use serde_json::Value;

use super::field::FieldError;
use crate::node::embedded::apiserver::catalog::Resource;

/// Errors as they are found.
#[derive(Debug, Default)]
pub struct Errors(Vec<FieldError>);

impl Errors {
    /// Adds one.
    pub fn push(&mut self, error: FieldError) {
        self.0.push(error);
    }

    /// A missing value.
    pub fn required(&mut self, path: &str, detail: &str) {
        self.push(FieldError::required(path, detail));
    }

    /// A wrong value.
    pub fn invalid(&mut self, path: &str, value: &Value, detail: impl Into<String>) {
        self.push(FieldError::invalid(path, value, detail));
    }

    /// A value outside its enumeration.
    pub fn not_supported(&mut self, path: &str, value: &Value, supported: &[&str]) {
        self.push(FieldError::not_supported(path, value, supported));
    }

    /// Something not allowed here.
    pub fn forbidden(&mut self, path: &str, detail: impl Into<String>) {
        self.push(FieldError::forbidden(path, detail));
    }

    /// A value that occurs twice.
    pub fn duplicate(&mut self, path: &str, value: &Value) {
        self.push(FieldError::duplicate(path, value));
    }

    /// A reference to nothing.
    pub fn not_found(&mut self, path: &str, value: &Value) {
        self.push(FieldError::not_found(path, value));
    }

    /// An integer that must not be negative.
    pub fn not_negative(&mut self, path: &str, value: Option<&Value>) {
        if let Some(value) = value
            && value.as_i64().is_some_and(|number| number < 0)
        {
            self.invalid(path, value, "must be greater than or equal to 0");
        }
    }

    /// A string that must be one of these where it is set.
    pub fn one_of(&mut self, path: &str, value: Option<&Value>, supported: &[&str]) {
        if let Some(Value::String(text)) = value
            && !supported.contains(&text.as_str())
        {
            self.not_supported(path, &text.as_str().into(), supported);
        }
    }

    /// A field that an update may not change.
    pub fn immutable(&mut self, path: &str, old: Option<&Value>, new: Option<&Value>) {
        let empty = |value: Option<&Value>| value.is_none_or(Value::is_null);
        if old != new && !(empty(old) && empty(new)) {
            let shown = new.cloned().unwrap_or_default();
            self.invalid(path, &shown, "field is immutable");
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// Validates an object to be created (`old` is `None`) or updated, itself or through a subresource.
#[must_use]
pub fn validate(
    resource: &Resource,
    subresource: &str,
    old: Option<&Value>,
    new: &Value,
) -> Vec<FieldError> {
    let mut errors = Errors::default();
    match old {
        _ if resource.kind == "Event" => {
            if let Some(old) = old {
                meta::validate_update(old, new, &mut errors);
            }
        }
        Some(old) => meta::validate_updated(resource, old, new, &mut errors),
        None => meta::validate(resource, new, &mut errors),
    }
    let e = &mut errors;
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => pod::pod(subresource, old, new, e),
        ("", "PodTemplate") => pod::template(new.get("template"), "template", e),
        ("", "ReplicationController") => workload::replication_controller(new, e),
        ("apps", "Deployment") => workload::deployment(old, new, e),
        ("apps", "ReplicaSet") => workload::replica_set(old, new, e),
        ("apps", "DaemonSet") => workload::daemon_set(old, new, e),
        ("apps", "StatefulSet") => workload::stateful_set(old, new, e),
        ("batch", "Job") => workload::job(old, new, e),
        ("batch", "CronJob") => workload::cron_job(new, e),
        ("", "Service") => network::service(old, new, e),
        ("networking.k8s.io", "Ingress") => network::ingress(new, e),
        ("networking.k8s.io", "NetworkPolicy") => network::network_policy(new, e),
        ("networking.k8s.io", "IngressClass") => network::ingress_class(old, new, e),
        ("networking.k8s.io", "ServiceCIDR") => network::service_cidr(new, e),
        ("discovery.k8s.io", _) => network::endpoint_slice(old, new, e),
        ("", "PersistentVolumeClaim") => storage::claim(old, new, e),
        ("", "PersistentVolume") => storage::volume(new, e),
        ("storage.k8s.io", "StorageClass") => storage::class(old, new, e),
        ("storage.k8s.io", "CSIDriver") => storage::csi_driver(old, new, e),
        ("", "Secret") => api::secret(old, new, e),
        ("", "ConfigMap") => api::config_map(old, new, e),
        ("", "Node") => api::node(new, e),
        ("", "Event") => api::event(new, e),
        ("", "LimitRange") => policy::limit_range(new, e),
        ("", "ResourceQuota") => policy::resource_quota(new, e),
        ("autoscaling", _) => policy::autoscaler(resource, new, e),
        ("policy", "PodDisruptionBudget") => policy::budget(new, e),
        ("scheduling.k8s.io", "PriorityClass") => policy::priority_class(old, new, e),
        ("rbac.authorization.k8s.io", "Role" | "ClusterRole") => {
            api::role(new, resource.kind == "ClusterRole", e);
        }
        ("rbac.authorization.k8s.io", _) => {
            api::role_binding(old, new, resource.kind == "ClusterRoleBinding", e);
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => api::signing_request(old, new, e),
        ("node.k8s.io", "RuntimeClass") => {
            if let Some(old) = old {
                e.immutable("handler", old.get("handler"), new.get("handler"));
            }
        }
        ("admissionregistration.k8s.io", kind) if kind.ends_with("WebhookConfiguration") => {
            api::webhooks(new, e);
        }
        ("admissionregistration.k8s.io", kind) if kind.ends_with("PolicyBinding") => {
            api::policy_binding(new, e);
        }
        ("admissionregistration.k8s.io", kind) if kind.ends_with("AdmissionPolicy") => {
            api::admission_policy(new, e);
        }
        ("apiextensions.k8s.io", _) if subresource.is_empty() => {
            definition::definition(old, new, e);
        }
        ("flowcontrol.apiserver.k8s.io", "FlowSchema")
            if super::edit::text_at(new, "/spec/priorityLevelConfiguration/name").is_empty() =>
        {
            e.required(
                "spec.priorityLevelConfiguration.name",
                "must reference a priority level",
            );
        }
        _ => {}
    }
    errors.0
}

/// A label selector; `empty` is what its emptiness is called where that is wrong.
/// Metadata of an object within another one.
pub fn embedded_metadata(metadata: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let mut found = Errors::default();
    meta::embedded(metadata, path, &mut found);
    errors.append(&mut found.0);
}

fn selector(value: Option<&Value>, path: &str, e: &mut Errors) -> bool {
    let Some(selector) = value.filter(|value| !value.is_null()) else {
        return true;
    };
    let before = e.len();
    for (at, expression) in super::edit::items(selector, "/matchExpressions")
        .iter()
        .enumerate()
    {
        let at = format!("{path}.matchExpressions[{at}]");
        let operator = super::edit::text_at(expression, "/operator");
        let values = super::edit::items(expression, "/values");
        match operator {
            "In" | "NotIn" if values.is_empty() => {
                e.required(
                    &format!("{at}.values"),
                    "must be specified when `operator` is 'In' or 'NotIn'",
                );
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                e.forbidden(
                    &format!("{at}.values"),
                    "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
                );
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            other => e.invalid(
                &format!("{at}.operator"),
                &other.into(),
                "not a valid selector operator",
            ),
        }
        let key = super::edit::text_at(expression, "/key");
        for text in name::qualified(key) {
            e.invalid(&format!("{at}.key"), &key.into(), text);
        }
    }
    meta::labels(
        selector.get("matchLabels"),
        &format!("{path}.matchLabels"),
        e,
    );
    e.len() == before
}
