//! Warnings about objects that are valid but will surprise (`pkg/api/{pod,node,persistentvolume}/warnings.go`).

use std::collections::HashSet;

use serde_json::Value;

use super::edit::{items, text_at};
use super::validation::name;
use crate::node::embedded::apiserver::catalog::Resource;

/// Labels that have a successor, with the version that deprecated them.
const LABELS: [(&str, &str, &str); 6] = [
    ("beta.kubernetes.io/arch", "v1.14", "kubernetes.io/arch"),
    ("beta.kubernetes.io/os", "v1.14", "kubernetes.io/os"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "v1.17",
        "topology.kubernetes.io/region",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "v1.17",
        "topology.kubernetes.io/zone",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "v1.17",
        "node.kubernetes.io/instance-type",
    ),
    ("kubernetes.io/legacy-host-ip", "v1.10", "status.hostIP"),
];

fn successor(label: &str) -> Option<(&'static str, &'static str)> {
    LABELS
        .iter()
        .find(|(own, _, _)| *own == label)
        .map(|(_, since, new)| (*since, *new))
}

/// Warnings about an object that is written.
#[must_use]
pub fn about(resource: &Resource, old: Option<&Value>, new: &Value) -> Vec<String> {
    let mut all = Vec::new();
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Pod") => {
            let own = text_at(new, "/metadata/name");
            let problems = name::label(own);
            if old.is_none()
                && !own.is_empty()
                && !problems.is_empty()
                && name::subdomain(own).is_empty()
            {
                all.push(format!(
                    "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: [{}]",
                    problems.join(" ")
                ));
            }
            // Warnings of what was there before are not repeated.
            if old.is_none_or(|old| old.get("spec") != new.get("spec")) {
                pod(new.get("spec"), "spec", &mut all);
            }
        }
        ("", "PodTemplate") => pod(new.pointer("/template/spec"), "template.spec", &mut all),
        ("", "ReplicationController") | ("apps", _) | ("batch", "Job") => {
            let spec = |object: &Value| object.pointer("/spec/template/spec").cloned();
            if old.is_none_or(|old| spec(old) != spec(new)) {
                pod(
                    new.pointer("/spec/template/spec"),
                    "spec.template.spec",
                    &mut all,
                );
            }
        }
        ("batch", "CronJob") => pod(
            new.pointer("/spec/jobTemplate/spec/template/spec"),
            "spec.jobTemplate.spec.template.spec",
            &mut all,
        ),
        ("", "PersistentVolume") => volume(new, &mut all),
        ("node.k8s.io", "RuntimeClass") => {
            for (label, _) in new
                .pointer("/scheduling/nodeSelector")
                .and_then(Value::as_object)
                .into_iter()
                .flatten()
            {
                if let Some((since, new)) = successor(label) {
                    all.push(format!(
                        "scheduling.nodeSelector: deprecated since {since}; use \"{new}\" instead"
                    ));
                }
            }
        }
        _ => {}
    }
    all
}

fn volume(new: &Value, all: &mut Vec<String>) {
    for annotation in ["volume.beta.kubernetes.io/storage-class"] {
        if new
            .pointer("/metadata/annotations")
            .is_some_and(|annotations| annotations.get(annotation).is_some())
        {
            all.push(format!(
                "metadata.annotations[{annotation}]: deprecated since v1.8; use \"storageClassName\" attribute instead"
            ));
        }
    }
    if text_at(new, "/spec/persistentVolumeReclaimPolicy") == "Recycle" {
        all.push("spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.".to_owned());
    }
}

fn pod(spec: Option<&Value>, path: &str, all: &mut Vec<String>) {
    let Some(spec) = spec else {
        return;
    };
    for (label, _) in spec
        .get("nodeSelector")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        if let Some((since, new)) = successor(label) {
            all.push(format!(
                "{path}.nodeSelector[{label}]: deprecated since {since}; use \"{new}\" instead"
            ));
        }
    }
    let affinity = "/affinity/nodeAffinity";
    for (at, term) in items(
        spec,
        &format!("{affinity}/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms"),
    )
    .iter()
    .enumerate()
    {
        expressions(
            term,
            &format!(
                "{path}.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[{at}]"
            ),
            all,
        );
    }
    for (at, term) in items(
        spec,
        &format!("{affinity}/preferredDuringSchedulingIgnoredDuringExecution"),
    )
    .iter()
    .enumerate()
    {
        let empty = Value::Null;
        expressions(
            term.get("preference").unwrap_or(&empty),
            &format!(
                "{path}.affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[{at}].preference"
            ),
            all,
        );
    }
    for (at, secret) in items(spec, "/imagePullSecrets").iter().enumerate() {
        if text_at(secret, "/name").is_empty() {
            all.push(format!(
                "{path}.imagePullSecrets[{at}].name: invalid empty name \"\""
            ));
        }
    }
    for volume in items(spec, "/volumes") {
        if volume.get("projected").is_some_and(Value::is_object)
            && !items(volume, "/projected/sources")
                .iter()
                .any(|source| source.as_object().is_some_and(|kinds| !kinds.is_empty()))
        {
            all.push(format!(
                "volume \"{}\" (Projected) has no sources provided",
                text_at(volume, "/name")
            ));
        }
    }
    for list in ["initContainers", "containers"] {
        for (at, container) in items(spec, &format!("/{list}")).iter().enumerate() {
            let mut seen = HashSet::new();
            for (number, variable) in items(container, "/env").iter().enumerate() {
                let own = text_at(variable, "/name");
                if !seen.insert(own) {
                    all.push(format!(
                        "{path}.{list}[{at}].env[{number}]: hides previous definition of \"{own}\", which may be dropped when using apply"
                    ));
                }
            }
        }
    }
    if spec
        .get("terminationGracePeriodSeconds")
        .and_then(Value::as_i64)
        .is_some_and(|seconds| seconds < 0)
    {
        all.push(format!(
            "{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        ));
    }
}

fn expressions(term: &Value, path: &str, all: &mut Vec<String>) {
    for (at, expression) in items(term, "/matchExpressions").iter().enumerate() {
        let key = text_at(expression, "/key");
        if let Some((since, new)) = successor(key) {
            all.push(format!(
                "{path}.matchExpressions[{at}].key: {key} is deprecated since {since}; use \"{new}\" instead"
            ));
        }
    }
}
