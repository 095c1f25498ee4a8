//! What creating and updating means for each kind (`pkg/registry/*/*/strategy.go`): which half of an
//! object a request may change, generations, phases.

use serde_json::{Map, Value, json};

use super::edit::{Object, ensure, items, text, text_at};
use crate::node::embedded::apiserver::catalog::Resource;
use crate::node::embedded::apiserver::request::UserInfo;

/// Whether objects of this resource count the generations of their spec.
fn has_generation(resource: &Resource) -> bool {
    match resource.group.as_str() {
        "apps" => resource.kind != "ControllerRevision",
        "batch"
        | "policy"
        | "admissionregistration.k8s.io"
        | "flowcontrol.apiserver.k8s.io"
        | "apiextensions.k8s.io"
        | "scheduling.k8s.io"
        | "discovery.k8s.io" => true,
        "networking.k8s.io" => {
            matches!(
                resource.kind.as_str(),
                "Ingress" | "NetworkPolicy" | "IngressClass"
            )
        }
        "resource.k8s.io" => resource.kind == "DeviceClass",
        "" => matches!(
            resource.kind.as_str(),
            "Pod" | "PodTemplate" | "ReplicationController"
        ),
        _ => false,
    }
}

/// The status of a new object; `None` where creating keeps the client's.
fn initial_status(resource: &Resource, object: &Object) -> Option<Value> {
    Some(match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Node" | "Event" | "ComponentStatus") => return None,
        ("storage.k8s.io", "VolumeAttachment") => json!({"attached": false}),
        ("", "Pod") => {
            let mut status = json!({"phase": "Pending"});
            if let Some(fields) = status.as_object_mut() {
                let gated = object
                    .get("spec")
                    .and_then(|spec| spec.get("schedulingGates"))
                    .and_then(Value::as_array)
                    .is_some_and(|gates| !gates.is_empty());
                if gated {
                    fields.insert(
                        "conditions".into(),
                        json!([{"type": "PodScheduled", "status": "False", "lastProbeTime": null,
                            "lastTransitionTime": null, "reason": "SchedulingGated",
                            "message": "Scheduling is blocked due to non-empty scheduling gates"}]),
                    );
                }
                fields.insert("qosClass".into(), qos_class(object.get("spec")).into());
            }
            status
        }
        ("", "Namespace") => json!({"phase": "Active"}),
        ("", "PersistentVolumeClaim") => json!({"phase": "Pending"}),
        ("", "PersistentVolume") => {
            json!({"phase": "Pending", "lastPhaseTransitionTime": now()})
        }
        ("", "Service") | ("networking.k8s.io", "Ingress") => json!({"loadBalancer": {}}),
        ("apps", "StatefulSet") => json!({"replicas": 0, "availableReplicas": 0}),
        ("apps", "ReplicaSet") | ("", "ReplicationController") => json!({"replicas": 0}),
        ("apps", "DaemonSet") => json!({"currentNumberScheduled": 0, "numberMisscheduled": 0,
            "desiredNumberScheduled": 0, "numberReady": 0}),
        ("autoscaling", _) if resource.version == "v1" => {
            json!({"currentReplicas": 0, "desiredReplicas": 0})
        }
        ("autoscaling", _) => json!({"desiredReplicas": 0, "currentMetrics": null}),
        ("policy", "PodDisruptionBudget") => json!({"disruptionsAllowed": 0, "currentHealthy": 0,
            "desiredHealthy": 0, "expectedPods": 0}),
        ("apiextensions.k8s.io", _) => {
            let stored: Vec<Value> = object
                .get("spec")
                .map(|spec| items(spec, "/versions"))
                .unwrap_or_default()
                .iter()
                .filter(|version| version.get("storage") == Some(&Value::Bool(true)))
                .filter_map(|version| version.get("name").cloned())
                .collect();
            json!({"conditions": null, "acceptedNames": {"plural": "", "kind": ""},
                "storedVersions": if stored.is_empty() { Value::Null } else { stored.into() }})
        }
        ("apps", "Deployment")
        | ("batch" | "flowcontrol.apiserver.k8s.io" | "certificates.k8s.io", _)
        | ("", "ResourceQuota")
        | ("networking.k8s.io", "ServiceCIDR")
        | ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy")
        | ("apiregistration.k8s.io", "APIService") => json!({}),
        ("resource.k8s.io", "ResourceClaim") => json!({}),
        _ => return None,
    })
}

/// Prepares a new object (`PrepareForCreate`).
pub fn create(resource: &Resource, user: &UserInfo, object: &mut Value) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    match initial_status(resource, object) {
        Some(status) => {
            object.insert("status".into(), status);
        }
        None if !keeps_status(resource) => {
            object.shift_remove("status");
        }
        None => {}
    }
    let metadata = ensure(object, "metadata");
    if has_generation(resource) {
        metadata.insert("generation".into(), 1.into());
    } else {
        metadata.shift_remove("generation");
    }
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace") => {
            let spec = ensure(object, "spec");
            let finalizers = spec
                .entry("finalizers".to_owned())
                .or_insert_with(|| json!([]));
            if let Some(list) = finalizers.as_array_mut()
                && !list.iter().any(|name| name == "kubernetes")
            {
                list.push("kubernetes".into());
            }
        }
        ("batch", "Job") => job_selector(object),
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            let spec = ensure(object, "spec");
            for key in ["username", "uid", "groups", "extra"] {
                spec.shift_remove(key);
            }
            spec.insert("username".into(), user.username.clone().into());
            if !user.uid.is_empty() {
                spec.insert("uid".into(), user.uid.clone().into());
            }
            if !user.groups.is_empty() {
                spec.insert("groups".into(), json!(user.groups));
            }
            if !user.extra.is_empty() {
                spec.insert("extra".into(), json!(user.extra));
            }
        }
        ("", "ServiceAccount") => clean_secret_references(object),
        ("", "Service") => {
            let spec = ensure(object, "spec");
            let ip = text(spec, "clusterIP").to_owned();
            if !ip.is_empty() && items_len(spec, "clusterIPs") == 0 {
                spec.insert("clusterIPs".into(), json!([ip]));
            }
        }
        _ => {}
    }
}

/// Kinds without a strategy for status: it is data like any other.
fn keeps_status(resource: &Resource) -> bool {
    matches!(
        (resource.group.as_str(), resource.kind.as_str()),
        ("", "Node" | "ComponentStatus" | "Event")
    ) || !super::is_built_in(resource)
}

/// Prepares an update of an object or one of its subresources (`PrepareForUpdate`).
pub fn update(resource: &Resource, subresource: &str, old: &Value, new: &mut Value) {
    let (Some(before), Some(object)) = (old.as_object(), new.as_object_mut()) else {
        return;
    };
    // A different time of creation is ignored, not refused.
    if let Some(created) = old.pointer("/metadata/creationTimestamp") {
        ensure(object, "metadata").insert("creationTimestamp".into(), created.clone());
    }
    match subresource {
        "status" => return update_status(resource, before, object),
        "approval" => {
            keep(object, before, "spec");
            let conditions = object
                .get("status")
                .and_then(|s| s.get("conditions"))
                .cloned();
            keep(object, before, "status");
            let status = ensure(object, "status");
            if conditions.is_none() {
                status.shift_remove("conditions");
            }
            if let Some(mut conditions) = conditions {
                for condition in conditions.as_array_mut().into_iter().flatten() {
                    if let Some(fields) = condition.as_object_mut() {
                        super::edit::default(fields, "lastUpdateTime", now());
                        super::edit::default(fields, "lastTransitionTime", now());
                    }
                }
                status.insert("conditions".into(), conditions);
            }
            return;
        }
        "finalize" => {
            keep(object, before, "status");
            return;
        }
        _ => {}
    }
    if initial_status(resource, before).is_some() || !super::is_built_in(resource) {
        keep(object, before, "status");
    }
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Node") => keep(object, before, "status"),
        ("", "Namespace") => {
            keep(object, before, "status");
            keep(object, before, "spec");
        }
        ("", "ServiceAccount") => clean_secret_references(object),
        ("certificates.k8s.io", "CertificateSigningRequest") => keep(object, before, "spec"),
        ("batch", "Job") => {}
        _ => {}
    }
    let counts = has_generation(resource);
    let changed =
        counts && generation_relevant(resource, before) != generation_relevant(resource, object);
    let old_generation = old.pointer("/metadata/generation").and_then(Value::as_i64);
    let metadata = ensure(object, "metadata");
    match old_generation {
        Some(generation) if changed => {
            metadata.insert("generation".into(), (generation + 1).into());
        }
        Some(generation) => {
            metadata.insert("generation".into(), generation.into());
        }
        None if counts && changed => {
            metadata.insert("generation".into(), 1.into());
        }
        None => {
            metadata.shift_remove("generation");
        }
    }
}

/// What of an object counts as its spec when generations are counted.
fn generation_relevant(resource: &Resource, object: &Object) -> Vec<(String, Value)> {
    let fields: &[&str] = match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "PodTemplate") => &["template"],
        ("scheduling.k8s.io", "PriorityClass") => &[],
        ("admissionregistration.k8s.io", kind) if kind.ends_with("WebhookConfiguration") => {
            &["webhooks"]
        }
        ("discovery.k8s.io", _) => {
            let metadata = object.get("metadata").and_then(Value::as_object);
            let mut all: Vec<(String, Value)> = ["endpoints", "ports", "addressType"]
                .iter()
                .filter_map(|key| Some(((*key).to_owned(), object.get(*key)?.clone())))
                .collect();
            for key in ["labels", "annotations", "ownerReferences"] {
                if let Some(value) = metadata.and_then(|m| m.get(key)) {
                    all.push((key.to_owned(), value.clone()));
                }
            }
            return all;
        }
        _ => &["spec"],
    };
    let annotations =
        matches!(resource.group.as_str(), "apps") && matches!(resource.kind.as_str(), "Deployment");
    let mut all: Vec<(String, Value)> = fields
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), object.get(*key)?.clone())))
        .collect();
    // A changed annotation of a deployment is a change of its generation too (deployment strategy).
    if annotations
        && let Some(value) = object.get("metadata").and_then(|m| m.get("annotations"))
        && value.as_object().is_some_and(|a| !a.is_empty())
    {
        all.push(("annotations".into(), value.clone()));
    }
    all
}

/// Updates of `status`: everything else stays, with the exceptions each strategy makes.
fn update_status(resource: &Resource, before: &Object, object: &mut Object) {
    for key in before.keys() {
        if !matches!(key.as_str(), "status" | "metadata" | "kind" | "apiVersion") {
            keep(object, before, key);
        }
    }
    let extra: Vec<String> = object
        .keys()
        .filter(|key| {
            !before.contains_key(*key)
                && !matches!(key.as_str(), "status" | "metadata" | "kind" | "apiVersion")
        })
        .cloned()
        .collect();
    for key in extra {
        object.shift_remove(&key);
    }
    let Some(old_metadata) = before.get("metadata").and_then(Value::as_object) else {
        return;
    };
    let metadata = ensure(object, "metadata");
    let fixed: &[&str] = match (resource.group.as_str(), resource.kind.as_str()) {
        ("apps", "Deployment") => &["labels", "generation"],
        ("", "Pod") => &["ownerReferences", "generation"],
        ("apiextensions.k8s.io", _) => &[
            "labels",
            "annotations",
            "ownerReferences",
            "finalizers",
            "generation",
        ],
        ("certificates.k8s.io", _) => &["generation"],
        _ => &["generation"],
    };
    for key in fixed {
        keep(metadata, old_metadata, key);
    }
    if resource.group == "certificates.k8s.io" {
        keep_approval(before, object);
    }
    if resource.kind == "Pod" && resource.group.is_empty() {
        let qos = before
            .get("status")
            .and_then(|s| s.get("qosClass"))
            .cloned();
        let status = ensure(object, "status");
        if let Some(qos) = qos
            && status.get("qosClass").is_none()
        {
            status.insert("qosClass".into(), qos);
        }
    }
}

/// `Approved` and `Denied` change only through the subresource `approval`.
fn keep_approval(before: &Object, object: &mut Object) {
    let decided = |condition: &Value| matches!(text_at(condition, "/type"), "Approved" | "Denied");
    let old: Vec<Value> = before
        .get("status")
        .map(|status| items(status, "/conditions"))
        .unwrap_or_default()
        .iter()
        .filter(|condition| decided(condition))
        .cloned()
        .collect();
    let status = ensure(object, "status");
    let mut conditions = old;
    if let Some(Value::Array(new)) = status.get("conditions") {
        conditions.extend(new.iter().filter(|condition| !decided(condition)).cloned());
    }
    if conditions.is_empty() {
        status.shift_remove("conditions");
    } else {
        status.insert("conditions".into(), conditions.into());
    }
}

/// Sets a field as it was, or removes it.
fn keep(object: &mut Object, before: &Object, key: &str) {
    match before.get(key) {
        Some(value) => {
            object.insert(key.to_owned(), value.clone());
        }
        None => {
            object.shift_remove(key);
        }
    }
}

/// Selector and labels of a job's pods (`pkg/registry/batch/job/strategy.go`, `generateSelector`).
fn job_selector(object: &mut Object) {
    let metadata = object.get("metadata").and_then(Value::as_object);
    let uid = metadata
        .map(|m| text(m, "uid"))
        .unwrap_or_default()
        .to_owned();
    let name = metadata
        .map(|m| text(m, "name"))
        .unwrap_or_default()
        .to_owned();
    let spec = ensure(object, "spec");
    if spec.get("manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    let template = ensure(ensure(spec, "template"), "metadata");
    let labels = ensure(template, "labels");
    for (key, value) in [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ] {
        labels.insert(key.into(), value.clone().into());
    }
    labels.sort_keys();
    let selector = ensure(ensure(spec, "selector"), "matchLabels");
    selector.insert("batch.kubernetes.io/controller-uid".into(), uid.into());
    selector.sort_keys();
}

/// References to secrets have names only (`cleanSecretReferences`).
fn clean_secret_references(object: &mut Object) {
    super::edit::each(object, "secrets", |reference| {
        let name = text(reference, "name").to_owned();
        *reference = Map::from_iter([("name".to_owned(), Value::from(name))]);
    });
}

/// The quality-of-service class of a pod (`pkg/apis/core/helper/qos`).
#[must_use]
pub fn qos_class(spec: Option<&Value>) -> &'static str {
    let Some(spec) = spec else {
        return "BestEffort";
    };
    let mut any = false;
    let mut guaranteed = true;
    let containers = items(spec, "/containers")
        .iter()
        .chain(items(spec, "/initContainers"));
    for container in containers {
        let resources = |list: &str, name: &str| {
            container
                .pointer(&format!("/resources/{list}/{name}"))
                .and_then(Value::as_str)
                .and_then(super::quantity::Quantity::parse)
                .filter(|quantity| !quantity.is_zero())
        };
        for name in ["cpu", "memory"] {
            let (limit, request) = (resources("limits", name), resources("requests", name));
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some()
                && (request.is_none() || request.map(|r| r.nano()) == limit.map(|l| l.nano()));
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// The time now, as objects show it.
#[must_use]
pub fn now() -> String {
    jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string()
}

/// Takes over what was allocated to a service when the update leaves it open
/// (`patchAllocatedValues` of `pkg/registry/core/service/strategy.go`).
pub fn keep_service_allocations(before: &Value, object: &mut Value) {
    let Some(old) = before.get("spec").and_then(Value::as_object) else {
        return;
    };
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let (old_type, new_type) = (text(old, "type").to_owned(), text(spec, "type").to_owned());
    let has_ip = |kind: &str| matches!(kind, "ClusterIP" | "NodePort" | "LoadBalancer");
    if has_ip(&old_type) && has_ip(&new_type) {
        if text(spec, "clusterIP").is_empty()
            && let Some(ip) = old.get("clusterIP")
        {
            spec.insert("clusterIP".into(), ip.clone());
        }
        if items_len(spec, "clusterIPs") == 0
            && spec.get("clusterIP") == old.get("clusterIP")
            && let Some(ips) = old.get("clusterIPs")
        {
            spec.insert("clusterIPs".into(), ips.clone());
        }
        for key in ["ipFamilies", "ipFamilyPolicy"] {
            if !spec.contains_key(key)
                && let Some(value) = old.get(key)
            {
                spec.insert(key.into(), value.clone());
            }
        }
    }
    link_addresses(old, spec);
    let ports = |kind: &str| matches!(kind, "NodePort" | "LoadBalancer");
    if ports(&old_type) && ports(&new_type) {
        let known: Vec<(Value, Value, Value)> = items(before, "/spec/ports")
            .iter()
            .map(|port| {
                (
                    port.get("port").cloned().unwrap_or_default(),
                    port.get("protocol").cloned().unwrap_or_default(),
                    port.get("nodePort").cloned().unwrap_or_default(),
                )
            })
            .collect();
        super::edit::each(spec, "ports", |port| {
            let unset = port.get("nodePort").and_then(Value::as_i64).unwrap_or(0) == 0;
            if unset
                && let Some((_, _, node_port)) = known.iter().find(|(number, protocol, _)| {
                    port.get("port") == Some(number) && port.get("protocol") == Some(protocol)
                })
                && !node_port.is_null()
            {
                port.insert("nodePort".into(), node_port.clone());
            }
        });
    }
    if let Some(port) = old.get("healthCheckNodePort")
        && new_type == "LoadBalancer"
        && text(spec, "externalTrafficPolicy") == "Local"
        && !spec.contains_key("healthCheckNodePort")
    {
        spec.insert("healthCheckNodePort".into(), port.clone());
    }
}

/// Keeps the single address and the list in step where a client changed only one of them
/// (`normalizeClusterIPs` of `pkg/registry/core/service/storage/storage.go`).
fn link_addresses(old: &Object, spec: &mut Object) {
    let (before, after) = (
        text(old, "clusterIP").to_owned(),
        text(spec, "clusterIP").to_owned(),
    );
    let first = |spec: &Object| {
        spec.get("clusterIPs")
            .and_then(|ips| ips.pointer("/0"))
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let lists_agree = items_len(old, "clusterIPs") == items_len(spec, "clusterIPs")
        && old.get("clusterIPs") == spec.get("clusterIPs");
    if before != after {
        if after.is_empty() && lists_agree {
            spec.shift_remove("clusterIPs");
        } else if before.is_empty() && items_len(spec, "clusterIPs") == 0 {
            spec.insert("clusterIPs".into(), json!([after]));
        } else if lists_agree
            && let Some(list) = spec.get_mut("clusterIPs").and_then(Value::as_array_mut)
        {
            match list.first_mut() {
                Some(own) => *own = after.into(),
                None => list.push(after.into()),
            }
        }
    } else if items_len(old, "clusterIPs") > 0 && items_len(spec, "clusterIPs") == 0 {
        // The list alone was cleared.
        spec.insert("clusterIP".into(), "".into());
    } else if items_len(old, "clusterIPs") > 0 && first(old) != first(spec) {
        let own = first(spec);
        spec.insert("clusterIP".into(), own.into());
    }
}

fn items_len(object: &Object, key: &str) -> usize {
    object
        .get(key)
        .and_then(Value::as_array)
        .map_or(0, Vec::len)
}
