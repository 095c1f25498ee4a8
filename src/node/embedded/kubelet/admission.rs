//! Whether the kubelet takes a pod at all (`pkg/kubelet/lifecycle/predicate.go`).

use crate::manifest::{Container, StaticPod};

/// Cores of the node, in thousandths.
pub(super) const NODE_CPU_MILLI: u64 = 2000;

/// Memory of the node, in bytes.
pub(super) const NODE_MEMORY: u64 = 4 << 30;

/// Why a pod is rejected for good.
pub(super) struct Rejection {
    pub reason: &'static str,
    pub message: String,
}

/// Decides about a pod beside the ones that are active.
pub(super) fn check<'a>(
    pod: &StaticPod,
    node_name: &str,
    others: impl Iterator<Item = &'a StaticPod> + Clone,
) -> Option<Rejection> {
    let mut missing = Vec::new();
    let mut take = |resource: &str, of: fn(&StaticPod) -> u64, capacity: u64| {
        let used: u64 = others.clone().map(of).fold(of(pod), u64::saturating_add);
        if used > capacity {
            missing.push(format!("(res: {resource}, q: {}), ", used - capacity));
        }
    };
    take("cpu", cpu, NODE_CPU_MILLI);
    take("memory", memory, NODE_MEMORY);
    if !missing.is_empty() {
        let missing = missing.concat();
        return Some(Rejection {
            reason: "UnexpectedAdmissionError",
            message: format!(
                "Pod was rejected: Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [{missing}]"
            ),
        });
    }
    if !pod.node_selector.iter().all(|label| has(node_name, label)) {
        return Some(Rejection {
            reason: "NodeAffinity",
            message: "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector".into(),
        });
    }
    let taken: Vec<(String, u16)> = others.flat_map(host_ports).collect();
    if host_ports(pod).any(|port| taken.contains(&port)) {
        return Some(Rejection {
            reason: "NodePorts",
            message: "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports".into(),
        });
    }
    None
}

/// Whether the node has a label that kubeadm and the kubelet give a control-plane node.
fn has(node_name: &str, (key, value): &(String, String)) -> bool {
    let expected = match key.as_str() {
        "kubernetes.io/hostname" => node_name,
        "kubernetes.io/os" | "beta.kubernetes.io/os" => "linux",
        "kubernetes.io/arch" | "beta.kubernetes.io/arch" => "amd64",
        "node-role.kubernetes.io/control-plane"
        | "node.kubernetes.io/exclude-from-external-load-balancers" => "",
        _ => return false,
    };
    value == expected
}

fn memory(pod: &StaticPod) -> u64 {
    effective(pod, |c| c.memory_request)
}

fn cpu(pod: &StaticPod) -> u64 {
    effective(pod, |c| c.cpu_request_milli)
}

/// What a pod needs at its worst: all its containers with all its sidecars, or one init container with
/// the sidecars before it.
fn effective(pod: &StaticPod, of: fn(&Container) -> u64) -> u64 {
    let (mut sidecars, mut worst) = (0_u64, 0_u64);
    for container in &pod.init_containers {
        let need = sidecars.saturating_add(of(container));
        worst = worst.max(need);
        if container.is_sidecar() {
            sidecars = need;
        }
    }
    let containers = pod.containers.iter().map(of);
    worst.max(containers.fold(sidecars, u64::saturating_add))
}

fn host_ports(pod: &StaticPod) -> impl Iterator<Item = (String, u16)> + '_ {
    let sidecars = pod.init_containers.iter().filter(|c| c.is_sidecar());
    sidecars
        .chain(&pod.containers)
        .flat_map(|c| &c.ports)
        .filter(|port| port.host_port != 0)
        .map(|port| (port.protocol.clone(), port.host_port))
}
