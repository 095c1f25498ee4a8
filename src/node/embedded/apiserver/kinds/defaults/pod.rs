//! Defaults of pods and pod templates (`pkg/apis/core/v1/defaults.go`).

use serde_json::{Map, Value, json};

use crate::node::embedded::apiserver::kinds::edit::{
    Object, child, default, default_number, default_text, each, ensure, text,
};
use crate::node::embedded::apiserver::kinds::quantity::Quantity;

/// A pod: the defaults of its spec, and those that only pods get, not templates.
pub fn pod(object: &mut Object) {
    if let Some(status) = child(object, "status") {
        first_address(status);
    }
    let spec = ensure(object, "spec");
    spec_defaults(spec);
    if spec
        .get("terminationGracePeriodSeconds")
        .and_then(Value::as_i64)
        .is_some_and(|seconds| seconds < 0)
    {
        spec.insert("terminationGracePeriodSeconds".into(), 1.into());
    }
    for list in ["containers", "initContainers"] {
        each(spec, list, |container| {
            let Some(resources) = child(container, "resources") else {
                return;
            };
            let Some(Value::Object(limits)) = resources.get("limits").cloned() else {
                return;
            };
            let requests = ensure(resources, "requests");
            for (name, value) in limits {
                default(requests, &name, value);
            }
            requests.sort_keys();
            if requests.is_empty() {
                resources.shift_remove("requests");
            }
        });
    }
    default(spec, "enableServiceLinks", true);
    if spec.get("hostNetwork") == Some(&Value::Bool(true)) {
        for list in ["containers", "initContainers"] {
            each(spec, list, |container| {
                each(container, "ports", |port| {
                    let number = port.get("containerPort").and_then(Value::as_i64);
                    default_number(port, "hostPort", number.unwrap_or_default());
                });
            });
        }
    }
}

/// The single address takes precedence over the list (`Convert_v1_PodStatus_To_core_PodStatus`).
fn first_address(status: &mut Object) {
    let ip = text(status, "podIP").to_owned();
    let first = status
        .get("podIPs")
        .and_then(|ips| ips.pointer("/0/ip"))
        .and_then(Value::as_str);
    if !ip.is_empty() && first != Some(ip.as_str()) {
        status.insert("podIPs".into(), json!([{"ip": ip}]));
    }
}

/// A pod template.
pub fn template(object: &mut Object) {
    spec_defaults(ensure(object, "spec"));
}

/// `SetDefaults_PodSpec` and everything below it.
fn spec_defaults(spec: &mut Object) {
    default_text(spec, "dnsPolicy", "ClusterFirst");
    default_text(spec, "restartPolicy", "Always");
    default(spec, "securityContext", Value::Object(Map::new()));
    default(spec, "terminationGracePeriodSeconds", 30);
    default_text(spec, "schedulerName", "default-scheduler");
    // The deprecated name of the field is kept equal (conversion of PodSpec).
    let account = match text(spec, "serviceAccountName") {
        "" => text(spec, "serviceAccount").to_owned(),
        name => name.to_owned(),
    };
    if !account.is_empty() {
        spec.insert("serviceAccountName".into(), account.clone().into());
        spec.insert("serviceAccount".into(), account.into());
    }
    quantities(spec, "overhead");
    if let Some(resources) = child(spec, "resources") {
        quantities(resources, "limits");
        quantities(resources, "requests");
    }
    each(spec, "volumes", volume);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        each(spec, list, container);
    }
}

/// `SetDefaults_Container` and below.
fn container(container: &mut Object) {
    let latest = is_latest(text(container, "image"));
    default_text(
        container,
        "imagePullPolicy",
        if latest { "Always" } else { "IfNotPresent" },
    );
    default_text(container, "terminationMessagePath", "/dev/termination-log");
    default_text(container, "terminationMessagePolicy", "File");
    each(container, "ports", |port| {
        default_text(port, "protocol", "TCP")
    });
    each(container, "env", |variable| {
        if let Some(source) = child(variable, "valueFrom") {
            field_source(source);
        }
    });
    if let Some(resources) = child(container, "resources") {
        quantities(resources, "limits");
        quantities(resources, "requests");
    }
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = child(container, name) {
            default_number(probe, "timeoutSeconds", 1);
            default_number(probe, "periodSeconds", 10);
            default_number(probe, "successThreshold", 1);
            default_number(probe, "failureThreshold", 3);
            http_get(probe);
            if let Some(grpc) = child(probe, "grpc") {
                default(grpc, "service", "");
            }
        }
    }
    if let Some(lifecycle) = child(container, "lifecycle") {
        for name in ["postStart", "preStop"] {
            if let Some(handler) = child(lifecycle, name) {
                http_get(handler);
            }
        }
    }
}

fn http_get(handler: &mut Object) {
    if let Some(get) = child(handler, "httpGet") {
        default_text(get, "path", "/");
        default_text(get, "scheme", "HTTP");
    }
}

/// `fieldRef.apiVersion`, `resourceFieldRef.divisor`.
fn field_source(source: &mut Object) {
    if let Some(field) = child(source, "fieldRef") {
        default_text(field, "apiVersion", "v1");
    }
    if let Some(resource) = child(source, "resourceFieldRef") {
        default(resource, "divisor", "0");
        quantity(resource, "divisor");
    }
}

/// The names of volume sources: a volume without one is an `emptyDir`.
pub const VOLUME_SOURCES: [&str; 30] = [
    "hostPath",
    "emptyDir",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "gitRepo",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "persistentVolumeClaim",
    "rbd",
    "flexVolume",
    "cinder",
    "cephfs",
    "flocker",
    "downwardAPI",
    "fc",
    "azureFile",
    "configMap",
    "vsphereVolume",
    "quobyte",
    "azureDisk",
    "photonPersistentDisk",
    "projected",
    "portworxVolume",
    "scaleIO",
    "storageos",
    "csi",
    "ephemeral",
    "image",
];

fn volume(volume: &mut Object) {
    if !VOLUME_SOURCES
        .iter()
        .any(|name| volume.get(*name).is_some_and(|v| !v.is_null()))
    {
        volume.insert("emptyDir".into(), json!({}));
    }
    for name in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = child(volume, name) {
            default(source, "defaultMode", 420);
        }
    }
    if let Some(empty) = child(volume, "emptyDir") {
        quantity(empty, "sizeLimit");
    }
    if let Some(source) = child(volume, "downwardAPI") {
        each(source, "items", field_source);
    }
    if let Some(source) = child(volume, "projected") {
        each(source, "sources", |part| {
            if let Some(token) = child(part, "serviceAccountToken") {
                default(token, "expirationSeconds", 3600);
            }
            if let Some(downward) = child(part, "downwardAPI") {
                each(downward, "items", field_source);
            }
        });
    }
    if let Some(image) = volume.get_mut("image").and_then(Value::as_object_mut) {
        let latest = is_latest(text(image, "reference"));
        default_text(
            image,
            "pullPolicy",
            if latest { "Always" } else { "IfNotPresent" },
        );
    }
    if let Some(claim) = volume
        .get_mut("ephemeral")
        .and_then(|e| e.pointer_mut("/volumeClaimTemplate/spec"))
        .and_then(Value::as_object_mut)
    {
        super::storage::claim_spec(claim);
    }
    volume_source(volume);
}

/// Defaults that volumes of pods and persistent volumes share.
pub fn volume_source(source: &mut Object) {
    if let Some(path) = child(source, "hostPath") {
        default(path, "type", "");
    }
    if let Some(iscsi) = child(source, "iscsi") {
        default_text(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = child(source, "rbd") {
        default_text(rbd, "pool", "rbd");
        default_text(rbd, "user", "admin");
        default_text(rbd, "keyring", "/etc/ceph/keyring");
    }
    if let Some(disk) = child(source, "azureDisk") {
        default(disk, "cachingMode", "ReadWrite");
        default(disk, "kind", "Shared");
        default(disk, "fsType", "ext4");
        default(disk, "readOnly", false);
    }
    if let Some(scale) = child(source, "scaleIO") {
        default_text(scale, "storageMode", "ThinProvisioned");
        default_text(scale, "fsType", "xfs");
    }
}

/// Whether an image's tag is `latest`, given or not (`parsers.ParseImageName`).
#[must_use]
pub fn is_latest(image: &str) -> bool {
    if image.is_empty() || image.contains('@') {
        // An image that does not parse has the tag `latest` left empty: no tag, not latest.
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    match last.rsplit_once(':') {
        Some((_, tag)) => tag == "latest",
        None => true,
    }
}

/// Writes the quantities of a resource list canonically.
pub fn quantities(object: &mut Object, key: &str) {
    if let Some(list) = child(object, key) {
        let names: Vec<String> = list.keys().cloned().collect();
        for name in names {
            quantity(list, &name);
        }
    }
}

/// Writes a quantity canonically.
pub fn quantity(object: &mut Object, key: &str) {
    let written = match object.get(key) {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => return,
    };
    if let Some(quantity) = Quantity::parse(&written) {
        object.insert(key.to_owned(), quantity.canonical().into());
    }
}
