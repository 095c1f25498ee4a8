//! What `crictl` shows as JSON: containers and pods in the words of the CRI.

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::node::embedded::runtime::image;
use crate::node::embedded::snapshot::{
    ContainerSnapshot, ContainerState, NodeSnapshot, PodSnapshot, Sandbox,
};
use crate::node::embedded::version::PAUSE;

/// Labels the kubelet puts on a container.
pub(super) fn labels(container: &ContainerSnapshot) -> Vec<(String, String)> {
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

/// Annotations the kubelet puts on a container.
pub(super) fn annotations(container: &ContainerSnapshot) -> Vec<(String, String)> {
    let mut digits = 0xcbf2_9ce4_8422_2325_u64;
    for byte in container
        .argv
        .iter()
        .chain([&container.image])
        .flat_map(|t| t.bytes())
    {
        digits = (digits ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    [
        (
            "io.kubernetes.container.hash",
            format!("{:08x}", digits >> 32),
        ),
        (
            "io.kubernetes.container.restartCount",
            container.attempt.to_string(),
        ),
        (
            "io.kubernetes.container.terminationMessagePath",
            "/dev/termination-log".to_owned(),
        ),
        (
            "io.kubernetes.container.terminationMessagePolicy",
            "File".to_owned(),
        ),
        ("io.kubernetes.pod.terminationGracePeriod", "30".to_owned()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .to_vec()
}

/// Annotations the kubelet puts on the sandbox of a pod, which has a manifest if it is static.
pub(super) fn pod_annotations(pod: &PodSnapshot) -> Vec<(String, String)> {
    let seen = pod
        .pod
        .pointer("/metadata/annotations")
        .and_then(Value::as_object);
    let mut all: Vec<(String, String)> = seen
        .into_iter()
        .flatten()
        .map(|(k, v)| (k.clone(), v.as_str().unwrap_or("").to_owned()))
        .collect();
    let (hash, source) = match pod.manifest_path.as_str() {
        "" => (None, "api"),
        _ => (Some(pod.uid.as_str()), "file"),
    };
    let hash = hash.map(|hash| ("kubernetes.io/config.hash", hash));
    for (key, value) in hash
        .into_iter()
        .chain([("kubernetes.io/config.source", source)])
    {
        if !all.iter().any(|(k, _)| k == key) {
            all.push((key.to_owned(), value.to_owned()));
        }
    }
    all.sort_unstable();
    all
}

/// A time as Go's `%v` prints it.
pub(super) fn go_time(time: Timestamp) -> String {
    let nanos = time.strftime("%Y-%m-%d %H:%M:%S%.f");
    format!("{nanos} +0000 UTC")
}

/// What statistics say of the container they are about.
pub(super) fn attributes(container: &ContainerSnapshot) -> Value {
    json!({
        "id": container.id,
        "metadata": {"name": container.name, "attempt": container.attempt},
        "labels": map(labels(container)),
        "annotations": map(annotations(container)),
    })
}

/// What statistics say of the pod they are about.
pub(super) fn pod_attributes(pod: &PodSnapshot, sandbox: &Sandbox) -> Value {
    json!({
        "id": sandbox.id,
        "metadata": {"name": pod.name, "uid": pod.uid, "namespace": pod.namespace, "attempt": sandbox.attempt},
        "labels": map(pod_labels(pod)),
        "annotations": map(pod_annotations(pod)),
    })
}

pub(super) fn state(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "CONTAINER_CREATED",
        ContainerState::Running => "CONTAINER_RUNNING",
        ContainerState::Exited => "CONTAINER_EXITED",
    }
}

fn time(time: Option<Timestamp>) -> String {
    time.map_or_else(|| "0001-01-01T00:00:00Z".into(), |t| t.to_string())
}

/// A container in `crictl ps -o json`, in the order of the message's fields.
pub(super) fn listed(container: &ContainerSnapshot) -> Value {
    json!({
        "id": container.id,
        "podSandboxId": container.sandbox_id,
        "metadata": {"name": container.name, "attempt": container.attempt},
        "image": {"image": image::digest(&container.image), "annotations": {}, "userSpecifiedImage": container.image, "runtimeHandler": ""},
        "imageRef": image::digest(&container.image),
        "state": state(container.state),
        "createdAt": container.created.as_nanosecond().to_string(),
        "labels": map(labels(container)),
        "annotations": map(annotations(container)),
        "imageId": image::digest(&container.image),
    })
}

/// A pod in `crictl pods -o json`, in the order of the message's fields.
pub(super) fn listed_pod(pod: &PodSnapshot, sandbox: &Sandbox) -> Value {
    json!({
        "id": sandbox.id,
        "metadata": {"name": pod.name, "uid": pod.uid, "namespace": pod.namespace, "attempt": sandbox.attempt},
        "state": if sandbox.ready { "SANDBOX_READY" } else { "SANDBOX_NOTREADY" },
        "createdAt": sandbox.created.as_nanosecond().to_string(),
        "labels": map(pod_labels(pod)),
        "annotations": map(pod_annotations(pod)),
        "runtimeHandler": "",
    })
}

/// `crictl inspect`.
pub(super) fn container(container: &ContainerSnapshot, snapshot: &NodeSnapshot) -> Value {
    let mounts: Vec<Value> = container
        .mounts
        .iter()
        .map(|mount| {
            json!({
                "containerPath": mount.container_path,
                "gidMappings": [],
                "hostPath": mount.node_path,
                "image": null,
                "imageSubPath": "",
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
            "runtimeOptions": {"systemd_cgroup": true},
            "runtimeSpec": {
                "annotations": {
                    "io.kubernetes.cri.container-name": container.name,
                    "io.kubernetes.cri.container-type": "container",
                    "io.kubernetes.cri.image-name": container.image,
                    "io.kubernetes.cri.sandbox-id": container.sandbox_id,
                    "io.kubernetes.cri.sandbox-name": container.pod_name,
                    "io.kubernetes.cri.sandbox-namespace": container.pod_namespace,
                    "io.kubernetes.cri.sandbox-uid": container.pod_uid,
                },
                "mounts": spec_mounts,
                "ociVersion": "1.2.1",
                "process": {
                    "args": container.argv,
                    "cwd": "/",
                    "env": [
                        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                        format!("HOSTNAME={}", snapshot.node_name),
                        "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
                    ],
                    "user": {"additionalGids": [0], "gid": 0, "uid": 0},
                },
                "root": {"path": "rootfs"},
            },
            "runtimeType": "io.containerd.runc.v2",
            "sandboxID": container.sandbox_id,
            "snapshotKey": container.id,
            "snapshotter": "overlayfs",
        },
        "status": {
            "annotations": map(annotations(container)),
            "createdAt": container.created.to_string(),
            "exitCode": container.exit_code.unwrap_or(0),
            "finishedAt": time(container.finished),
            "id": container.id,
            "image": {"annotations": {}, "image": container.image, "runtimeHandler": "", "userSpecifiedImage": ""},
            "imageId": image::digest(&container.image),
            "imageRef": format!("{}@{}", image::repository(&container.image), image::digest(&container.image)),
            "labels": map(labels(container)),
            "logPath": container.log_path,
            "message": container.message.clone().unwrap_or_default(),
            "metadata": {"attempt": container.attempt, "name": container.name},
            "mounts": mounts,
            "reason": container.reason.clone().unwrap_or_default(),
            "resources": {"linux": {
                "cpuPeriod": "100000", "cpuQuota": "0", "cpuShares": "256", "cpusetCpus": "", "cpusetMems": "",
                "hugepageLimits": [], "memoryLimitInBytes": "0", "memorySwapLimitInBytes": "0",
                "oomScoreAdj": "-997", "unified": {},
            }, "windows": null},
            "startedAt": time(container.started),
            "state": state(container.state),
            "user": {"linux": {"gid": "0", "supplementalGroups": ["0"], "uid": "0"}},
        },
    })
}

/// Address of a pod; of one in the node's network the runtime knows none (containerd `sandbox_status.go`).
pub(super) fn address(pod: &PodSnapshot) -> &str {
    let host = pod.pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
    let ip = pod.status.get("podIP").and_then(Value::as_str);
    ip.filter(|_| !host).unwrap_or("")
}

/// `crictl inspectp`.
pub(super) fn pod(pod: &PodSnapshot, sandbox: &Sandbox) -> Value {
    let host = pod.pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true));
    let mut value = listed_pod(pod, sandbox);
    if let Some(object) = value.as_object_mut() {
        object.insert("createdAt".into(), json!(sandbox.created.to_string()));
        let network = if host { "NODE" } else { "POD" };
        object.insert(
            "linux".into(),
            json!({"namespaces": {"options": {
                "ipc": "POD", "network": network, "pid": "CONTAINER", "targetId": "", "usernsOptions": null,
            }}}),
        );
        object.insert(
            "network".into(),
            json!({"additionalIps": [], "ip": address(pod)}),
        );
    }
    json!({
        "info": {
            "image": PAUSE,
            "netNamespaceClosed": false,
            "processStatus": if sandbox.ready { "running" } else { "deleted" },
            "runtimeHandler": "",
            "runtimeType": "io.containerd.runc.v2",
            "snapshotKey": sandbox.id,
            "snapshotter": "overlayfs",
        },
        "status": value,
    })
}
