//! What the kubelet is told, what it asks to be done, and what the node is to it.

use std::path::PathBuf;
use std::sync::Arc;

use super::probe::{ProbeAnswer, ProbeKind};
use super::sync::ApiView;
use crate::manifest::Probe;
use crate::node::embedded::pace::Pace;
use crate::node::embedded::snapshot::ContainerSnapshot;

/// What the kubelet is told.
#[derive(Debug, Clone)]
pub enum Input {
    /// A file of the manifests directory was written, or removed.
    File {
        /// Its name.
        name: String,
        /// Whether it is gone.
        removed: bool,
    },
    /// The watch of the manifests directory was lost or overflowed: scan now.
    Rescan,
    /// A process ended.
    Exited {
        /// Its container.
        container: String,
        /// Its exit code.
        code: i32,
    },
    /// A probe was answered.
    Probed {
        /// Its container.
        container: String,
        /// Which probe.
        kind: ProbeKind,
        /// The answer.
        answer: ProbeAnswer,
    },
    /// Somebody on the node asks for something (crictl, systemctl).
    Request(Request),
    /// The node shuts down: every container is asked to end.
    Shutdown,
}

/// What node tools ask for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Request {
    /// `systemctl restart kubelet`.
    RestartKubelet,
    /// `systemctl stop kubelet`: containers keep running.
    StopKubelet,
    /// `systemctl start kubelet`.
    StartKubelet,
    /// `crictl stop ID`: seconds until it is killed; at once with 0.
    StopContainer(String, u64),
    /// A signal to the process of a container.
    Signal(String, i32),
    /// `crictl rm ID` of a container that ended (with `-f` of any).
    RemoveContainer(String),
    /// `crictl stopp ID`.
    StopSandbox(String),
    /// `crictl rmp -f ID`.
    RemoveSandbox(String),
}

/// What must be done outside.
#[derive(Debug, Clone)]
pub enum Effect {
    /// Start the process of this container.
    Start(Box<ContainerSnapshot>, String),
    /// Send SIGTERM.
    Terminate(String),
    /// Send SIGKILL.
    Kill(String),
    /// Probe a container; the answer is an input.
    Probe {
        /// Its container.
        container: String,
        /// Which probe.
        kind: ProbeKind,
        /// What to ask.
        probe: Probe,
    },
}

/// What the node is, to its kubelet.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Name of the node.
    pub node_name: String,
    /// Address of the node.
    pub node_ip: String,
    /// Pace of everything that waits.
    pub pace: Pace,
    /// Host directory that is the node's `/`.
    pub node_root: PathBuf,
    /// Host directory of the simulation's state.
    pub state_dir: PathBuf,
    /// Executables the control-plane images contain.
    pub programs: Vec<String>,
    /// The API server the node is registered with; `None` for a kubelet on its own, which makes
    /// no mirror pods.
    pub api: Option<Arc<dyn ApiView>>,
    /// Seed of jitter and ids.
    pub seed: u64,
}
