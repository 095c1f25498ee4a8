//! What the checks look at, gathered once so that all of them speak of the same moment.

use std::collections::BTreeMap;

use super::argv::{Flags, clean};
use super::pod::ApiServerPod;
use crate::audit::options::versions;
use crate::audit::policy::{LoadError, Loaded, load};
use crate::node::{ApiServerState, ContainerPhase, Node, NodeError, NodeFile};
use crate::scenario::setup::{MANIFEST, MANIFESTS};
use crate::scenario::step::{RunSink, Step};

/// The node as it is.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Names in the manifests directory.
    pub manifests: Vec<String>,
    /// The API server's manifest.
    pub manifest: Result<ApiServerPod, String>,
    /// Flags in the manifest; none when it cannot be read.
    pub manifest_flags: Flags,
    /// The API server that runs.
    pub state: ApiServerState,
    /// Flags of the process that runs; none when none runs.
    pub flags: Flags,
    /// The policy file as that process sees it, with what loading it gives.
    pub policy: Option<PolicySeen>,
    /// Files that checks compare, as they are on the node.
    pub files: BTreeMap<String, NodeFile>,
    /// The minor version of Kubernetes that the node runs: 36 for 1.36.
    pub minor: u32,
    /// The webhook receivers that the scenario runs on the node.
    pub sinks: Vec<RunSink>,
}

/// The policy file as the API server sees it.
#[derive(Debug, Clone)]
pub struct PolicySeen {
    /// Path in the container.
    pub path: String,
    /// What is there.
    pub file: NodeFile,
    /// What loading gives, for a file.
    pub loaded: Option<Result<Loaded, LoadError>>,
}

/// The node's name, as the kubelet takes it from the host name.
fn node_name(node: &dyn Node) -> Result<String, NodeError> {
    let name = match node.read("/etc/hostname")? {
        NodeFile::File { content, .. } => String::from_utf8_lossy(&content).trim().to_lowercase(),
        _ => String::new(),
    };
    // A learner's slip in that file is no matter of the manifest.
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    Ok(if !name.is_empty() && name.bytes().all(plain) {
        name
    } else {
        "controlplane".to_owned()
    })
}

impl Facts {
    /// Gathers everything.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub fn gather(node: &dyn Node, state: ApiServerState) -> Result<Self, NodeError> {
        let manifest = match node.read(MANIFEST)? {
            NodeFile::File { content, .. } => ApiServerPod::read(&content, &node_name(node)?),
            NodeFile::Missing => Err(format!("`{MANIFEST}` does not exist")),
            NodeFile::Directory { .. } => Err(format!("`{MANIFEST}` is a directory")),
            NodeFile::Other(what) => Err(format!("`{MANIFEST}` is {what}")),
        };
        let running = state.state == ContainerPhase::Running;
        let flags = if running {
            Flags::of(&state.argv)
        } else {
            Flags::default()
        };
        let policy = match flags.text("audit-policy-file") {
            Some(path) => {
                let file = node.read_as_api_server(path).unwrap_or(NodeFile::Missing);
                let loaded = match &file {
                    NodeFile::File { content, .. } => Some(load(content)),
                    _ => None,
                };
                Some(PolicySeen {
                    path: path.to_owned(),
                    file,
                    loaded,
                })
            }
            None => None,
        };
        Ok(Self {
            manifests: node.list(MANIFESTS).unwrap_or_default(),
            manifest_flags: manifest
                .as_ref()
                .map(|pod| Flags::of(&pod.argv))
                .unwrap_or_default(),
            manifest,
            state,
            flags,
            policy,
            files: BTreeMap::new(),
            minor: versions::TABLE,
            sinks: Vec::new(),
        })
    }

    /// As [`Facts::gather`], with the node's version and the receivers of a scenario.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub fn gather_with(
        node: &dyn Node,
        state: ApiServerState,
        setup: &[Step],
    ) -> Result<Self, NodeError> {
        let sinks = setup.iter().filter_map(|step| step.sink.clone()).collect();
        let minor = node
            .kubernetes()
            .and_then(|version| versions::minor(&version))
            .unwrap_or(versions::TABLE);
        let facts = Self::gather(node, state)?;
        Ok(Self {
            minor,
            sinks,
            ..facts
        })
    }

    /// The receiver whose file this is.
    #[must_use]
    pub fn sink(&self, path: &str) -> Option<&RunSink> {
        let at = |sink: &&RunSink| clean(&sink.entries) == clean(path);
        self.sinks.iter().find(at)
    }

    /// Whether a process runs.
    #[must_use]
    pub fn running(&self) -> bool {
        self.state.state == ContainerPhase::Running
    }

    /// Why nothing can be asked of the API server; nothing when it is ready.
    #[must_use]
    pub fn down(&self) -> Option<String> {
        if self.running() && self.state.ready {
            return None;
        }
        Some(format!("blocked: the API server is {}", self.phase()))
    }

    /// The state in words: phase, reason, and the line of the log that matters.
    #[must_use]
    pub fn describe_state(&self) -> String {
        let mut text = self.phase();
        if let Some(line) = self.telling_line() {
            text.push_str(&format!("; its log ends with `{line}`"));
        }
        text
    }

    /// Phase and reason in words. The phases of a crash loop (ended, waiting for the next start) are
    /// one state here: which of them is met is chance.
    #[must_use]
    pub fn phase(&self) -> String {
        let state = &self.state;
        match (state.state, state.reason.as_deref()) {
            (ContainerPhase::Running, _) if state.ready => "running and ready".to_owned(),
            (ContainerPhase::Running, _) => "running, but not ready".to_owned(),
            (ContainerPhase::Absent, _) => "not running: there is no container at all".to_owned(),
            (ContainerPhase::Exited, _) | (_, Some("CrashLoopBackOff")) => {
                "not running: it ends right after every start".to_owned()
            }
            (ContainerPhase::Waiting, Some(reason)) => format!("not running ({reason})"),
            (ContainerPhase::Waiting, None) => "not running".to_owned(),
        }
    }

    /// The last line of the container's log that says why it ended.
    #[must_use]
    pub fn telling_line(&self) -> Option<&str> {
        if self.running() {
            return None;
        }
        self.state
            .log_tail
            .iter()
            .rev()
            .map(|line| without_header(line.trim()))
            .find(|line| line.starts_with("Error:") || line.contains("\"command failed\""))
            .or_else(|| {
                self.state
                    .log_tail
                    .iter()
                    .rev()
                    .map(|line| without_header(line.trim()))
                    .find(|line| !line.is_empty())
            })
    }

    /// The command that shows why the API server does not run.
    #[must_use]
    pub fn where_to_look(&self) -> &'static str {
        match self.state.state {
            ContainerPhase::Absent => {
                "journalctl -u kubelet --no-pager | grep -i 'manifest\\|kube-apiserver' | tail"
            }
            ContainerPhase::Waiting
                if self.state.reason.as_deref() == Some("ContainerCreating") =>
            {
                "journalctl -u kubelet --no-pager | grep -i 'FailedMount\\|MountVolume' | tail"
            }
            ContainerPhase::Running => "curl -ks https://127.0.0.1:6443/readyz?verbose",
            _ => "crictl ps -a --name kube-apiserver, then crictl logs CONTAINER-ID",
        }
    }
}

/// A line of klog without `E1124 07:45:56.107370    1389 run.go:72] `: time and process id are chance.
fn without_header(line: &str) -> &str {
    let is_header = line.starts_with(['E', 'F', 'W', 'I'])
        && line
            .get(1..5)
            .is_some_and(|date| date.bytes().all(|byte| byte.is_ascii_digit()));
    match line.split_once("] ") {
        Some((_, text)) if is_header => text,
        _ => line,
    }
}
