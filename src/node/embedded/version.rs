//! The version of Kubernetes that the node is of.

/// As tags and `gitVersion` write it.
pub const KUBERNETES: &str = crate::audit::options::table::RELEASE;

/// The sandbox image kubeadm 1.36 wants (`cmd/kubeadm/app/constants`), and containerd is set to.
pub const PAUSE: &str = "registry.k8s.io/pause:3.10.2";

/// The container runtime, as the node's status names it.
pub const CONTAINERD: &str = "2.1.4";

/// systemd of the operating system that the node's status names.
pub const SYSTEMD: &str = "systemd 255 (255.4-1ubuntu8.10)";
