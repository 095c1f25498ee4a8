//! What the container runtime of the control-plane node knows of the API's pods there, worked out of their
//! status, which their kubelet wrote.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::object::{is_deleting, name, namespace, number, uid};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::subresources;
use crate::node::embedded::confine::Confined;
use crate::node::embedded::machine::Machine;
use crate::node::embedded::runtime::rootfs::Mount;
use crate::node::embedded::snapshot::{ContainerSnapshot, ContainerState, PodSnapshot, Sandbox};
use crate::node::embedded::workload::Workload;

/// Where pods are in the store.
const PODS: &str = "/registry/core/pods/";

/// Runs as long as the node.
pub async fn run(machine: Arc<Machine>) {
    let mut before = Workload::load(&machine.state_dir);
    write_logs(&machine, &before.containers);
    loop {
        let from = machine.store.revision();
        let Ok(mut changes) = machine.store.watch(PODS, from) else {
            continue;
        };
        loop {
            before = update(&machine, before);
            match changes.next().await {
                Some(Ok(_)) => {}
                // It was too slow: it starts over.
                Some(Err(_)) => break,
                None => return,
            }
        }
    }
}

/// Writes what there is now, if that is news.
fn update(machine: &Machine, before: Workload) -> Workload {
    let mut now = Workload::default();
    for stored in machine.store.list(PODS).0 {
        let pod = &stored.value;
        let mirror = "/metadata/annotations/kubernetes.io~1config.mirror";
        if text_at(pod, "/spec/nodeName") != machine.node_name || pod.pointer(mirror).is_some() {
            continue;
        }
        let containers = containers(pod);
        // Before its first container there is nothing to show.
        if let Some(first) = containers.first() {
            now.pods.push(shown(pod, first));
            now.containers.extend(containers);
        }
    }
    now.pods
        .sort_by_key(|pod| pod.sandbox.as_ref().map(|sandbox| sandbox.created));
    now.containers.sort_by_key(|container| container.created);
    now.number(&before);
    if now == before {
        return before;
    }
    let node = Confined::new(&machine.node_root);
    let is_in = |all: &[ContainerSnapshot], one: &ContainerSnapshot| {
        all.iter().any(|container| container.id == one.id)
    };
    let new = now.containers.iter();
    let new = new.filter(|container| !is_in(&before.containers, container));
    write_logs(machine, new);
    for container in &before.containers {
        if !is_in(&now.containers, container) {
            let _ = node.remove_all(&container.log_path);
            let _ = node.remove_all(&link(container));
        }
    }
    // Tried again with the next change.
    match now.store(&machine.state_dir) {
        Ok(()) => now,
        Err(_) => before,
    }
}

/// The logs of containers that have just been started, or of those that run when the node comes up.
fn write_logs<'a>(machine: &Machine, new: impl IntoIterator<Item = &'a ContainerSnapshot>) {
    let node = Confined::new(&machine.node_root);
    for container in new {
        if let Some(pod) = pod_of(machine, container) {
            write_log(&node, &pod, container);
        }
    }
}

fn pod_of(machine: &Machine, container: &ContainerSnapshot) -> Option<Arc<Value>> {
    let key = format!("{PODS}{}/{}", container.pod_namespace, container.pod_name);
    machine.store.get(&key).map(|stored| stored.value)
}

fn shown(pod: &Value, first: &ContainerSnapshot) -> PodSnapshot {
    PodSnapshot {
        uid: uid(pod).to_owned(),
        name: name(pod).to_owned(),
        namespace: namespace(pod).to_owned(),
        manifest_path: String::new(),
        pod: pod.clone(),
        status: pod.get("status").cloned().unwrap_or_default(),
        terminating: is_deleting(pod),
        sandbox: Some(Sandbox {
            id: first.sandbox_id.clone(),
            created: text_at(pod, "/status/startTime")
                .parse()
                .unwrap_or(first.created),
            ready: text_at(pod, "/status/phase") == "Running",
            attempt: 0,
        }),
    }
}

/// The containers of a pod: as they are, and as they were before their last restart.
fn containers(pod: &Value) -> Vec<ContainerSnapshot> {
    let mut all = Vec::new();
    for (specs, statuses) in [
        ("initContainers", "initContainerStatuses"),
        ("containers", "containerStatuses"),
        ("ephemeralContainers", "ephemeralContainerStatuses"),
    ] {
        for status in items(pod, &format!("/status/{statuses}")) {
            let spec = items(pod, &format!("/spec/{specs}"))
                .iter()
                .find(|spec| text_at(spec, "/name") == text_at(status, "/name"));
            let Some(spec) = spec else { continue };
            let restarts = u32::try_from(number(status, "/restartCount")).unwrap_or(0);
            if let Some(attempt) = restarts.checked_sub(1) {
                all.extend(container(pod, spec, status, "/lastState", attempt));
            }
            all.extend(container(pod, spec, status, "/state", restarts));
        }
    }
    all
}

fn container(
    pod: &Value,
    spec: &Value,
    status: &Value,
    which: &str,
    attempt: u32,
) -> Option<ContainerSnapshot> {
    let state = status.pointer(which)?;
    let running = state.get("running");
    let ended = state.get("terminated");
    let time = |name: &str| -> Option<Timestamp> {
        let state = running.or(ended)?;
        text_at(state, name).parse().ok()
    };
    let started = time("/startedAt")?;
    let id = ended
        .map(|ended| text_at(ended, "/containerID"))
        .filter(|id| !id.is_empty())
        .unwrap_or_else(|| text_at(status, "/containerID"));
    let (name, image) = (text_at(spec, "/name"), text_at(spec, "/image"));
    let directory = format!(
        "/var/log/pods/{}_{}_{}",
        namespace(pod),
        super::object::name(pod),
        uid(pod)
    );
    Some(ContainerSnapshot {
        id: id.trim_start_matches("containerd://").to_owned(),
        pod_uid: uid(pod).to_owned(),
        pod_name: super::object::name(pod).to_owned(),
        pod_namespace: namespace(pod).to_owned(),
        sandbox_id: digest(&format!("{} sandbox", uid(pod))),
        name: name.to_owned(),
        image: image.to_owned(),
        attempt,
        state: if running.is_some() {
            ContainerState::Running
        } else {
            ContainerState::Exited
        },
        created: started
            .checked_sub(SignedDuration::from_millis(120))
            .unwrap_or(started),
        started: Some(started),
        finished: time("/finishedAt").filter(|_| ended.is_some()),
        exit_code: ended.and_then(|ended| i32::try_from(number(ended, "/exitCode")).ok()),
        reason: ended.map(|ended| text_at(ended, "/reason").to_owned()),
        message: None,
        argv: command_line(spec, image),
        read_only_root: false,
        user: 0,
        own_network: pod.pointer("/spec/hostNetwork") != Some(&Value::Bool(true)),
        pid: 0,
        mounts: mounts(pod, spec),
        log_path: format!("{directory}/{name}/{attempt}.log"),
        ready: running.is_some() && status.get("ready") == Some(&Value::Bool(true)),
        ports: Vec::new(),
    })
}

/// What it runs: its own words, or the image's.
fn command_line(spec: &Value, image: &str) -> Vec<String> {
    let words = |pointer: &str| {
        let words = items(spec, pointer).iter();
        words.filter_map(Value::as_str).map(str::to_owned)
    };
    let mut line: Vec<String> = words("/command").collect();
    if line.is_empty() {
        let base = image.rsplit('/').next().unwrap_or(image);
        let base = base.split([':', '@']).next().unwrap_or(base);
        line.push(match base {
            "coredns" => "/coredns".to_owned(),
            base => base.to_owned(),
        });
    }
    line.extend(words("/args"));
    line
}

/// Where the kubelet has the volumes of a pod.
fn mounts(pod: &Value, spec: &Value) -> Vec<Mount> {
    let volumes = items(pod, "/spec/volumes");
    let of = |mount: &Value| {
        let name = text_at(mount, "/name");
        let volume = volumes
            .iter()
            .find(|volume| text_at(volume, "/name") == name)?;
        let kind = [
            "configMap",
            "secret",
            "projected",
            "emptyDir",
            "downwardAPI",
        ]
        .into_iter()
        .find(|kind| volume.get(kind).is_some());
        let node_path = match (volume.get("hostPath"), kind) {
            (Some(host), _) => text_at(host, "/path").to_owned(),
            (None, Some(kind)) => format!(
                "/var/lib/kubelet/pods/{}/volumes/kubernetes.io~{}/{name}",
                uid(pod),
                match kind {
                    "configMap" => "configmap",
                    "emptyDir" => "empty-dir",
                    "downwardAPI" => "downward-api",
                    kind => kind,
                }
            ),
            (None, None) => return None,
        };
        Some(Mount {
            name: name.to_owned(),
            container_path: text_at(mount, "/mountPath").to_owned(),
            node_path,
            read_only: mount.get("readOnly") == Some(&Value::Bool(true)),
        })
    };
    items(spec, "/volumeMounts").iter().filter_map(of).collect()
}

/// The link under /var/log/containers.
fn link(container: &ContainerSnapshot) -> String {
    format!(
        "/var/log/containers/{}_{}_{}-{}.log",
        container.pod_name, container.pod_namespace, container.name, container.id
    )
}

/// A log of what the container has printed by now. Names of clients' objects are checked by the API.
fn write_log(node: &Confined, pod: &Arc<Value>, container: &ContainerSnapshot) {
    let mut text = String::new();
    for (time, line) in subresources::printed(pod, &container.name) {
        text.push_str(&format!("{time} stdout F {line}\n"));
    }
    let written = node.write_atomic(&container.log_path, text.as_bytes(), 0o640);
    if written.is_ok() {
        let _ = node.create_dir_all("/var/log/containers", 0o755);
        let _ = node.symlink(&container.log_path, &link(container));
    }
}

fn digest(text: &str) -> String {
    let bytes = Sha256::digest(text);
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
