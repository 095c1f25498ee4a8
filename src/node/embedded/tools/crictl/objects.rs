//! What `crictl` shows as JSON: containers and pods in the words of the CRI.

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::node::embedded::runtime::image;
use crate::node::embedded::snapshot::{
    ContainerSnapshot, ContainerState, NodeSnapshot, PodSnapshot, Sandbox,
};

/// Labels the kubelet puts on a container.
pub(super) fn labels(container: &ContainerSnapshot, _: &NodeSnapshot) -> Vec<(String, String)> {
    vec![
        (
            "io.kubernetes.container.name".into(),
            container.name.clone(),
        ),
        ("io.kubernetes.pod.name".into(), container.pod_name.clone()),
        (
            "io.kubernetes.pod.namespace".into(),
            container.pod_namespace.clone(),
        ),
        ("io.kubernetes.pod.uid".into(), container.pod_uid.clone()),
    ]
}

/// Labels of a pod sandbox: the pod's own and the kubelet's.
pub(super) fn pod_labels(pod: &PodSnapshot) -> Vec<(String, String)> {
    let own = pod
        .pod
        .pointer("/metadata/labels")
        .and_then(Value::as_object);
    let mut labels: Vec<(String, String)> = own
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.as_str().unwrap_or("").to_owned()))
        .collect();
    labels.push(("io.kubernetes.pod.name".into(), pod.name.clone()));
    labels.push(("io.kubernetes.pod.namespace".into(), pod.namespace.clone()));
    labels.push(("io.kubernetes.pod.uid".into(), pod.uid.clone()));
    labels.sort_unstable();
    labels
}

fn map(entries: Vec<(String, String)>) -> Value {
    Value::Object(
        entries
            .into_iter()
            .map(|(k, v)| (k, Value::from(v)))
            .collect::<Map<_, _>>(),
    )
}

fn annotations(container: &ContainerSnapshot) -> Value {
    json!({
        "io.kubernetes.container.restartCount": container.attempt.to_string(),
        "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
        "io.kubernetes.container.terminationMessagePolicy": "File",
        "io.kubernetes.pod.terminationGracePeriod": "30",
    })
}

fn state(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "CONTAINER_CREATED",
        ContainerState::Running => "CONTAINER_RUNNING",
        ContainerState::Exited => "CONTAINER_EXITED",
    }
}

fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "0001-01-01T00:00:00Z".into(), |t| t.to_string())
}

/// A container in `crictl ps -o json`.
pub(super) fn listed(container: &ContainerSnapshot, snapshot: &NodeSnapshot) -> Value {
    json!({
        "annotations": annotations(container),
        "createdAt": container.created.as_nanosecond().to_string(),
        "id": container.id,
        "image": {"annotations": {}, "image": image::digest(&container.image), "userSpecifiedImage": container.image},
        "imageRef": image::digest(&container.image),
        "labels": map(labels(container, snapshot)),
        "metadata": {"attempt": container.attempt, "name": container.name},
        "podSandboxId": container.sandbox_id,
        "state": state(container.state),
    })
}

/// A pod in `crictl pods -o json`.
pub(super) fn listed_pod(pod: &PodSnapshot, sandbox: &Sandbox) -> Value {
    json!({
        "annotations": {"kubernetes.io/config.hash": pod.uid, "kubernetes.io/config.source": "file"},
        "createdAt": sandbox.created.as_nanosecond().to_string(),
        "id": sandbox.id,
        "labels": map(pod_labels(pod)),
        "metadata": {"attempt": sandbox.attempt, "name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "runtimeHandler": "",
        "state": if sandbox.ready { "SANDBOX_READY" } else { "SANDBOX_NOTREADY" },
    })
}

/// `crictl inspect`.
pub(super) fn container(
    container: &ContainerSnapshot,
    snapshot: &NodeSnapshot,
    node_root: &Path,
) -> Value {
    let _ = node_root;
    let mounts: Vec<Value> = container
        .mounts
        .iter()
        .map(|mount| {
            json!({
                "containerPath": mount.container_path,
                "gidMappings": [],
                "hostPath": mount.node_path,
                "propagation": "PROPAGATION_PRIVATE",
                "readonly": mount.read_only,
                "recursiveReadOnly": false,
                "selinuxRelabel": false,
                "uidMappings": [],
            })
        })
        .collect();
    let spec_mounts: Vec<Value> = container
        .mounts
        .iter()
        .map(|mount| {
            let access = if mount.read_only { "ro" } else { "rw" };
            json!({
                "destination": mount.container_path,
                "options": ["rbind", "rprivate", access],
                "source": mount.node_path,
                "type": "bind",
            })
        })
        .collect();
    let pid = if container.state == ContainerState::Running {
        container.pid
    } else {
        0
    };
    json!({
        "info": {
            "config": {
                "command": container.argv,
                "image": {"image": image::digest(&container.image), "user_specified_image": container.image},
                "log_path": format!("{}/{}.log", container.name, container.attempt),
                "metadata": {"attempt": container.attempt, "name": container.name},
                "mounts": container.mounts.iter().map(|m| json!({
                    "container_path": m.container_path,
                    "host_path": m.node_path,
                    "readonly": m.read_only,
                })).collect::<Vec<_>>(),
            },
            "pid": pid,
            "removing": false,
            "runtimeSpec": {
                "mounts": spec_mounts,
                "process": {"args": container.argv, "cwd": "/"},
            },
            "sandboxID": container.sandbox_id,
            "snapshotter": "overlayfs",
        },
        "status": {
            "annotations": annotations(container),
            "createdAt": container.created.to_string(),
            "exitCode": container.exit_code.unwrap_or(0),
            "finishedAt": time(container.finished),
            "id": container.id,
            "image": {"annotations": {}, "image": container.image, "runtimeHandler": "", "userSpecifiedImage": ""},
            "imageId": image::digest(&container.image),
            "imageRef": format!("{}@{}", image::repository(&container.image), image::digest(&container.image)),
            "labels": map(labels(container, snapshot)),
            "logPath": container.log_path,
            "message": container.message.clone().unwrap_or_default(),
            "metadata": {"attempt": container.attempt, "name": container.name},
            "mounts": mounts,
            "reason": container.reason.clone().unwrap_or_default(),
            "startedAt": time(container.started),
            "state": state(container.state),
        },
    })
}

/// `crictl inspectp`.
pub(super) fn pod(pod: &PodSnapshot, sandbox: &Sandbox, snapshot: &NodeSnapshot) -> Value {
    let host = pod.pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
    let mut value = listed_pod(pod, sandbox);
    if let Some(object) = value.as_object_mut() {
        object.insert("createdAt".into(), json!(sandbox.created.to_string()));
        let network = if host { "NODE" } else { "POD" };
        object.insert(
            "linux".into(),
            json!({"namespaces": {"options": {"network": network}}}),
        );
        object.insert(
            "network".into(),
            json!({"additionalIps": [], "ip": snapshot.node_ip}),
        );
    }
    json!({"info": {"runtimeHandler": ""}, "status": value})
}
