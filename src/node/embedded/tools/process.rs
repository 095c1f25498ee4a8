//! The processes the node simulates.

use jiff::Timestamp;

use crate::node::embedded::snapshot::{ContainerSnapshot, ContainerState, NodeSnapshot, base_name};

/// Process id of containerd.
pub(super) const CONTAINERD: u32 = 541;

/// The kubelet's command line as kubeadm sets it up.
pub(super) const KUBELET_FLAGS: &str = "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml";

/// Whose process it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// The process of the container of this id.
    Container(String),
    /// The kubelet.
    Kubelet,
    /// systemd, the container runtime.
    System,
}

/// A process of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Process {
    /// Its id.
    pub pid: u32,
    /// Its parent's id.
    pub parent: u32,
    /// When it was started.
    pub started: Timestamp,
    /// Its command line.
    pub argv: Vec<String>,
    /// Resident memory, in KiB.
    pub memory: u64,
    /// Whose it is.
    pub owner: Owner,
}

impl Process {
    /// The command line in one.
    pub fn command(&self) -> String {
        self.argv.join(" ")
    }

    /// The name, of which the kernel keeps 15 characters.
    pub fn name(&self) -> String {
        let program = self.argv.first().map_or("", String::as_str);
        match base_name(program) {
            "init" => "systemd".to_owned(),
            name => name.chars().take(15).collect(),
        }
    }
}

/// The processes of the node, by id.
pub(crate) fn processes(snapshot: &NodeSnapshot) -> Vec<Process> {
    let booted = snapshot.booted;
    let of = |pid, parent, started, command: &str, memory, owner| Process {
        pid,
        parent,
        started,
        argv: command.split(' ').map(str::to_owned).collect(),
        memory,
        owner,
    };
    let mut all = vec![
        of(1, 0, booted, "/sbin/init", 12_104, Owner::System),
        of(
            CONTAINERD,
            1,
            booted,
            "/usr/bin/containerd",
            61_228,
            Owner::System,
        ),
    ];
    if snapshot.kubelet_active {
        let command = format!("/usr/bin/kubelet {KUBELET_FLAGS}");
        let (pid, started) = (snapshot.kubelet_pid, snapshot.kubelet_started);
        all.push(of(pid, 1, started, &command, 88_940, Owner::Kubelet));
    }
    for container in running(snapshot) {
        let started = container.started.unwrap_or(container.created);
        let shim = container.pid.saturating_sub(20);
        let command = format!(
            "/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id {} -address /run/containerd/containerd.sock",
            container.sandbox_id
        );
        all.push(of(
            shim,
            1,
            container.created,
            &command,
            13_660,
            Owner::System,
        ));
        let argv = if container.argv.is_empty() {
            vec![container.image.clone()]
        } else {
            container.argv.clone()
        };
        let memory = match base_name(argv.first().map_or("", String::as_str)) {
            "kube-apiserver" => 268_412,
            "kube-controller-manager" => 118_204,
            "etcd" => 62_380,
            _ => 52_116,
        };
        all.push(Process {
            pid: container.pid,
            parent: shim,
            started,
            argv,
            memory,
            owner: Owner::Container(container.id.clone()),
        });
    }
    all.sort_by_key(|p| p.pid);
    all.dedup_by_key(|p| p.pid);
    all
}

/// Containers whose process runs.
pub(super) fn running(snapshot: &NodeSnapshot) -> impl Iterator<Item = &ContainerSnapshot> {
    snapshot
        .containers
        .iter()
        .filter(|c| c.state == ContainerState::Running)
}
