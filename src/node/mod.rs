//! Nodes: the control-plane node of a lab, and the engines that provide one.
//!
//! Architecture invariant: engines know no scenario and no grade; setup and grading know only
//! the [`Node`] trait.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod api;
pub mod courier;
pub mod embedded;
pub mod engine;
pub mod kind;
pub mod sink;

pub use embedded::process::go_error_text;

/// A node as setup and grading see it. Every path is a path on the node (`/etc/kubernetes/...`).
pub trait Node: Send + Sync {
    /// Name of the engine: `embedded` or `kind`.
    fn engine(&self) -> &'static str;

    /// What is at a path on the node; symbolic links are followed as on the node itself.
    ///
    /// # Errors
    /// When the node cannot be asked. A path that does not exist is [`NodeFile::Missing`].
    fn read(&self, path: &str) -> Result<NodeFile, NodeError>;

    /// As [`Node::read`], but the content starts at `offset`. Engines that can should not read what is before it.
    ///
    /// # Errors
    /// As [`Node::read`].
    fn read_from(&self, path: &str, offset: u64) -> Result<NodeFile, NodeError> {
        Ok(match self.read(path)? {
            NodeFile::File {
                content,
                size,
                mode,
                inode,
            } => {
                let start = usize::try_from(offset)
                    .unwrap_or(usize::MAX)
                    .min(content.len());
                NodeFile::File {
                    content: content.get(start..).unwrap_or_default().to_vec(),
                    size,
                    mode,
                    inode,
                }
            }
            other => other,
        })
    }

    /// Changes what is at a path.
    ///
    /// # Errors
    /// When the node refuses or cannot be reached.
    fn change(&self, path: &str, change: FileChange<'_>) -> Result<(), NodeError>;

    /// [`FileChange::Write`].
    ///
    /// # Errors
    /// As [`Node::change`].
    fn write(&self, path: &str, content: &[u8], mode: u32) -> Result<(), NodeError> {
        self.change(path, FileChange::Write { content, mode })
    }

    /// [`FileChange::Directory`].
    ///
    /// # Errors
    /// As [`Node::change`].
    fn create_dir(&self, path: &str, mode: u32) -> Result<(), NodeError> {
        self.change(path, FileChange::Directory { mode })
    }

    /// [`FileChange::Remove`].
    ///
    /// # Errors
    /// As [`Node::change`].
    fn remove(&self, path: &str) -> Result<(), NodeError> {
        self.change(path, FileChange::Remove)
    }

    /// Names in a directory of the node, sorted.
    ///
    /// # Errors
    /// When it is no directory or the node cannot be reached.
    fn list(&self, path: &str) -> Result<Vec<String>, NodeError>;

    /// The user id that what is at a path belongs to on the node (0 is root); links are followed. Nothing where
    /// nothing is, or where the engine cannot tell.
    ///
    /// # Errors
    /// When the node cannot be asked.
    fn owner(&self, path: &str) -> Result<Option<u32>, NodeError>;

    /// Runs a command on the node.
    ///
    /// # Errors
    /// When the command cannot be run at all.
    fn exec(&self, argv: &[String], stdin: &[u8]) -> Result<ExecOutput, NodeError>;

    /// The state of the API server as it really runs.
    ///
    /// # Errors
    /// When the node cannot be asked.
    fn api_server(&self) -> Result<ApiServerState, NodeError>;

    /// How long the kubelet may take to try again a container that ended, where its cause of failure is gone:
    /// what is worth waiting for.
    fn retry_patience(&self) -> std::time::Duration {
        std::time::Duration::from_secs(12)
    }

    /// What the running API server process sees at a path of its own file system (mounts resolved).
    ///
    /// # Errors
    /// When no API server process runs or the node cannot be asked.
    fn read_as_api_server(&self, path: &str) -> Result<NodeFile, NodeError>;

    /// The last lines of the kubelet's journal.
    ///
    /// # Errors
    /// When the node cannot be asked.
    fn kubelet_journal(&self, lines: usize) -> Result<Vec<String>, NodeError>;

    /// Changes objects, as if they had always been so: unaudited where the engine can. Works before the
    /// node was booted for the first time on engines that boot.
    ///
    /// # Errors
    /// When the node refuses or cannot be reached.
    fn change_objects(&self, changes: &[ObjectChange]) -> Result<(), NodeError>;

    /// The version of Kubernetes it runs, `v1.36.1`, where that is not always the same.
    fn kubernetes(&self) -> Option<String> {
        None
    }

    /// Makes a receiver for the audit webhook run on the node, from now on and whenever the node does, and writes
    /// the certificate of its authority. One that was asked for on the same port before is replaced.
    ///
    /// # Errors
    /// When the node cannot run one, with what to do.
    fn run_sink(&self, sink: &sink::Sink) -> Result<(), NodeError> {
        Err(NodeError::Refused(format!(
            "this node cannot run a receiver on port {}",
            sink.port
        )))
    }

    /// A client configuration for the lab's API server with this identity. Must be called within a
    /// tokio runtime only for the client made from it, not for the call.
    ///
    /// # Errors
    /// When credentials cannot be made.
    fn client_config(&self, identity: &Identity) -> Result<kube::Config, NodeError>;
}

/// A change of what is at a path. Links in the middle of a path are followed as on the node; whatever
/// the path, nothing outside the node changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileChange<'a> {
    /// Writes a whole file (temporary file, then rename), with its parent directories; a link is followed.
    Write {
        /// Its bytes.
        content: &'a [u8],
        /// Permission bits.
        mode: u32,
    },
    /// Adds to the end of a file in place; makes it, with its parent directories, where there is none.
    Append {
        /// The bytes to add.
        content: &'a [u8],
        /// Permission bits of a new file.
        mode: u32,
    },
    /// Makes a directory and its parents, or gives one that is there these permission bits.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// Removes a file, link or whole directory; nothing there is no error.
    Remove,
    /// Sets permission bits.
    Mode(u32),
    /// Renames it; what is at the new path is replaced, as `rename(2)` does.
    Rename {
        /// The new path.
        to: &'a str,
    },
    /// Makes a symbolic link there, with its parent directories. What is there stays, and is an error.
    Link {
        /// Where it leads, on the node.
        target: &'a str,
    },
}

/// A change of an object of the cluster, which is named by `apiVersion`, `kind` and `metadata`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectChange {
    /// Creates it, or replaces the one of its name.
    Put(serde_json::Value),
    /// Merges it into the one of its name (a JSON merge patch).
    Patch(serde_json::Value),
    /// Deletes it.
    Delete(serde_json::Value),
}

impl ObjectChange {
    /// The object, as far as it is written.
    #[must_use]
    pub fn object(&self) -> &serde_json::Value {
        match self {
            ObjectChange::Put(object)
            | ObjectChange::Patch(object)
            | ObjectChange::Delete(object) => object,
        }
    }
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeFile {
    /// Nothing.
    Missing,
    /// A regular file.
    File {
        /// Its bytes, at most [`NodeFile::LIMIT`].
        content: Vec<u8>,
        /// Size in bytes; larger than `content` when cut.
        size: u64,
        /// Permission bits.
        mode: u32,
        /// Identity of the file (device and inode), to notice a replacement.
        inode: u64,
    },
    /// A directory, with its permission bits.
    Directory {
        /// Permission bits.
        mode: u32,
    },
    /// A device, socket, pipe, or a link that leads nowhere sensible.
    Other(String),
}

impl NodeFile {
    /// At most this many bytes of a file are read into memory.
    pub const LIMIT: u64 = 64 << 20;
}

/// The result of a command on the node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecOutput {
    /// Exit code.
    pub code: u8,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// Who a request is made as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// `kubernetes-admin` of `kubeadm:cluster-admins`.
    Admin,
    /// `kubernetes-super-admin` of `system:masters`: works without RBAC objects.
    SuperAdmin,
    /// A client certificate for this user and these groups, signed with the cluster's CA.
    User {
        /// User name (CN).
        name: String,
        /// Groups (O).
        groups: Vec<String>,
    },
    /// No credentials.
    Anonymous,
}

/// State of the API server container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerPhase {
    /// The process runs.
    Running,
    /// No process; the kubelet waits (back-off, mounts, image).
    Waiting,
    /// The process ended and was not restarted yet.
    Exited,
    /// There is no such container or pod.
    Absent,
}

/// The API server as it really runs; the `apiserver` object of `status -o json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiServerState {
    /// Phase of the container.
    pub state: ContainerPhase,
    /// Whether `/readyz` answers ok.
    pub ready: bool,
    /// Command line of the running process; empty when none runs.
    pub argv: Vec<String>,
    /// Restarts of the container within its pod.
    pub restarts: u32,
    /// Waiting or termination reason: `CrashLoopBackOff`, `ContainerCreating`, `Error`...
    pub reason: Option<String>,
    /// The message that goes with the reason.
    pub message: Option<String>,
    /// Exit code of the last ended process.
    pub exit_code: Option<i32>,
    /// Last lines of the container's log.
    pub log_tail: Vec<String>,
    /// Whether the kubelet still has work to do with the manifests as they are on disk now
    /// (a change not yet acted on, a stop or start under way): a grader waits while true.
    #[serde(skip, default)]
    pub converging: bool,
    /// Identifies the process: changes whenever another process took over.
    #[serde(skip, default)]
    pub instance: String,
    /// Environment facts an engine may add for messages.
    #[serde(skip, default)]
    pub notes: BTreeMap<String, String>,
}

/// Why a node could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The node does not run.
    #[error("the node does not run: {0}")]
    NotRunning(String),
    /// What the node runs on is missing or does not answer.
    #[error("{reason}")]
    Unreachable {
        /// What.
        reason: String,
        /// The next step.
        hint: String,
    },
    /// An input or output error on the node.
    #[error("`{path}` on the node: {source}")]
    Io {
        /// Path on the node.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The node refuses, with the reason.
    #[error("{0}")]
    Refused(String),
}
