//! Whether the kubelet takes a pod at all (`pkg/kubelet/lifecycle/predicate.go`).

use crate::manifest::StaticPod;

/// Cores of the node, in thousandths.
pub(super) const NODE_CPU_MILLI: u64 = 2000;

/// Why a pod is rejected for good.
pub(super) struct Rejection {
    pub reason: &'static str,
    pub message: String,
}

/// Decides about a pod beside the ones that are active.
pub(super) fn check<'a>(
    pod: &StaticPod,
    others: impl Iterator<Item = &'a StaticPod> + Clone,
) -> Option<Rejection> {
    let wanted = cpu(pod);
    let used: u64 = others.clone().map(cpu).sum();
    if wanted + used > NODE_CPU_MILLI {
        let missing = wanted + used - NODE_CPU_MILLI;
        return Some(Rejection {
            reason: "UnexpectedAdmissionError",
            message: format!(
                "Pod was rejected: Unexpected error while attempting to recover from admission failure: preemption: error finding a set of pods to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: {missing}), ]"
            ),
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

fn cpu(pod: &StaticPod) -> u64 {
    pod.containers.iter().map(|c| c.cpu_request_milli).sum()
}

fn host_ports(pod: &StaticPod) -> impl Iterator<Item = (String, u16)> + '_ {
    pod.containers
        .iter()
        .flat_map(|c| &c.ports)
        .filter(|port| port.host_port != 0)
        .map(|port| (port.protocol.clone(), port.host_port))
}
