//! What the kubelet and the container runtime know, written to `STATE_DIR/snapshot.json` on every
//! change, so that other processes (status, grade, crictl) can tell the truth about the node.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::confine::Confined;
use super::runtime::log as container_log;
use super::runtime::rootfs::{Mount, Rootfs};
use super::sockets::Socket;
use crate::node::{ApiServerState, ContainerPhase};

/// The directory the kubelet watches.
pub const MANIFESTS: &str = "/etc/kubernetes/manifests";

/// What the runtime remembers over a boot, in the state directory.
const RUNTIME: &str = "runtime.json";

/// Lines of a container's log given with its state.
const LOG_TAIL: usize = 100;

/// State of the node's kubelet and runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NodeSnapshot {
    /// Version of this format.
    pub schema_version: u32,
    /// Number of this snapshot, counting up while the node runs.
    pub sequence: u64,
    /// When it was taken.
    pub time: Timestamp,
    /// When the node came up.
    pub booted: Timestamp,
    /// Name of the node.
    pub node_name: String,
    /// Address of the node.
    pub node_ip: String,
    /// Whether the kubelet service runs (`systemctl stop kubelet` ends it, containers stay).
    pub kubelet_active: bool,
    /// Process id of the kubelet, simulated.
    pub kubelet_pid: u32,
    /// When the kubelet service was started.
    pub kubelet_started: Timestamp,
    /// Hash of the manifests directory as the kubelet last acted on it ([`manifests_hash`]).
    pub manifests_hash: String,
    /// Whether a stop, a start or a scan is under way.
    pub busy: bool,
    /// Static pods, also those that are being ended.
    pub pods: Vec<PodSnapshot>,
    /// Containers, the ended ones too, oldest first.
    pub containers: Vec<ContainerSnapshot>,
    /// Latest pod events, oldest first.
    pub events: Vec<PodEvent>,
    /// Sockets of programs that say when they listen.
    #[serde(default)]
    pub sockets: Vec<Socket>,
}

/// A static pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodSnapshot {
    /// UID (the hash of the manifest).
    pub uid: String,
    /// Name with the node's suffix.
    pub name: String,
    /// Namespace.
    pub namespace: String,
    /// Path of the manifest on the node.
    pub manifest_path: String,
    /// The pod object as decoded, without status.
    pub pod: Value,
    /// `status` as the API shows it.
    pub status: Value,
    /// Whether the kubelet is ending it (its manifest is gone or was replaced).
    pub terminating: bool,
    /// The sandbox, once there is one.
    pub sandbox: Option<Sandbox>,
}

/// A pod sandbox.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Id, 64 hex digits.
    pub id: String,
    /// When it was made.
    pub created: Timestamp,
    /// Whether it is up.
    pub ready: bool,
    /// Which sandbox of the pod this is, from 0.
    pub attempt: u32,
}

/// State of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ContainerState {
    /// Made, not started.
    Created,
    /// Its process runs.
    Running,
    /// Its process ended, or never started.
    Exited,
}

/// A container of the runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSnapshot {
    /// Id, 64 hex digits.
    pub id: String,
    /// UID of its pod.
    pub pod_uid: String,
    /// Name of its pod.
    pub pod_name: String,
    /// Namespace of its pod.
    pub pod_namespace: String,
    /// Id of its sandbox.
    pub sandbox_id: String,
    /// Name.
    pub name: String,
    /// Image as the manifest names it.
    pub image: String,
    /// Which start of the container this is, from 0.
    pub attempt: u32,
    /// State.
    pub state: ContainerState,
    /// When it was made.
    pub created: Timestamp,
    /// When its process was started.
    pub started: Option<Timestamp>,
    /// When its process ended.
    pub finished: Option<Timestamp>,
    /// Exit code.
    pub exit_code: Option<i32>,
    /// `Completed`, `Error`, `StartError`, `OOMKilled`.
    pub reason: Option<String>,
    /// Message that goes with the reason.
    pub message: Option<String>,
    /// Command line of its process.
    pub argv: Vec<String>,
    /// Whether its root file system is read-only.
    #[serde(default)]
    pub read_only_root: bool,
    /// User its process runs as.
    #[serde(default)]
    pub user: u32,
    /// Whether it has a network of its own instead of the node's.
    #[serde(default)]
    pub own_network: bool,
    /// Process id on the node, simulated.
    pub pid: u32,
    /// Mounts as they were made.
    pub mounts: Vec<Mount>,
    /// Path of its log on the node.
    pub log_path: String,
    /// Whether it passed its readiness probe (or has none).
    pub ready: bool,
    /// Its ports with names.
    #[serde(default)]
    pub ports: Vec<(String, u16)>,
}

/// An event about a pod.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PodEvent {
    /// First time.
    pub first: Timestamp,
    /// Last time.
    pub last: Timestamp,
    /// How often.
    pub count: u32,
    /// UID of the pod.
    pub pod_uid: String,
    /// Name of the pod.
    pub pod_name: String,
    /// Namespace of the pod.
    pub pod_namespace: String,
    /// Container the event is about, if any.
    pub container: Option<String>,
    /// `Normal` or `Warning`.
    pub kind: String,
    /// `Started`, `BackOff`, `FailedMount`...
    pub reason: String,
    /// Message.
    pub message: String,
}

impl NodeSnapshot {
    /// Path of the snapshot.
    #[must_use]
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join("snapshot.json")
    }

    /// The latest snapshot; `None` before the node came up for the first time.
    ///
    /// # Errors
    /// When the file cannot be read or is damaged.
    pub fn load(state_dir: &Path) -> io::Result<Option<Self>> {
        match std::fs::read(Self::path(state_dir)) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map(Some)
                .map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes the snapshot (temporary file, then rename).
    ///
    /// # Errors
    /// When the disk says no; the previous snapshot is untouched then.
    pub fn store(&self, state_dir: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::from)?;
        Confined::new(state_dir).write_atomic("/snapshot.json", &bytes, 0o600)
    }

    /// What the runtime remembers from before the node went down: the last snapshot, also when
    /// `snapshot.json` itself was removed because it is no longer true.
    #[must_use]
    pub fn load_runtime(state_dir: &Path) -> Option<Self> {
        let bytes = std::fs::read(state_dir.join(RUNTIME)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Keeps the snapshot just stored for [`NodeSnapshot::load_runtime`]. Should that fail, restart
    /// counts begin anew after the next boot; nothing else depends on it.
    pub fn keep_runtime(state_dir: &Path) {
        let kept = state_dir.join(RUNTIME);
        let _ = std::fs::remove_file(&kept);
        let _ = std::fs::hard_link(Self::path(state_dir), &kept);
    }

    /// The container that the question "how is the API server" is about: the running one, else
    /// the newest of the current pod.
    #[must_use]
    pub fn api_server_container(&self) -> Option<&ContainerSnapshot> {
        let pod = self.api_server_pod();
        let of_pod = |c: &&ContainerSnapshot| match &pod {
            Some((pod, container)) => c.pod_uid == pod.uid && &c.name == container,
            None => false,
        };
        let newest = self
            .containers
            .iter()
            .filter(of_pod)
            .max_by_key(|c| c.attempt);
        match newest {
            Some(container) if container.state == ContainerState::Running => newest,
            _ => self
                .containers
                .iter()
                .find(|c| is_api_server(c) && c.state == ContainerState::Running)
                .or(newest),
        }
    }

    /// The pod that runs (or should run) the API server, and the name of the container in it.
    fn api_server_pod(&self) -> Option<(&PodSnapshot, String)> {
        let mut found = None;
        for pod in &self.pods {
            let containers = pod
                .pod
                .pointer("/spec/containers")
                .and_then(Value::as_array);
            for container in containers.into_iter().flatten() {
                let text = |pointer: &str| {
                    container
                        .pointer(pointer)
                        .and_then(Value::as_str)
                        .unwrap_or("")
                };
                let component = pod
                    .pod
                    .pointer("/metadata/labels/component")
                    .and_then(Value::as_str);
                let matches = text("/name") == "kube-apiserver"
                    || base_name(text("/command/0")) == "kube-apiserver"
                    || text("/image").contains("/kube-apiserver:")
                    || component == Some("kube-apiserver");
                // A pod that stays wins over one that is being ended.
                if matches && (found.is_none() || !pod.terminating) {
                    found = Some((pod, text("/name").to_owned()));
                }
            }
        }
        found
    }

    /// State of the API server for `status` and `grade`.
    #[must_use]
    pub fn api_server(&self, node_root: &Path, state_dir: &Path) -> ApiServerState {
        let _ = state_dir;
        let node = Confined::new(node_root);
        let mut state = ApiServerState {
            state: ContainerPhase::Absent,
            ready: false,
            argv: Vec::new(),
            restarts: 0,
            reason: None,
            message: None,
            exit_code: None,
            log_tail: Vec::new(),
            converging: self.busy
                || (self.kubelet_active && manifests_hash(&node) != self.manifests_hash),
            instance: String::new(),
            notes: std::collections::BTreeMap::new(),
        };
        let running = self
            .api_server_container()
            .filter(|c| c.state == ContainerState::Running);
        if let Some(container) = running {
            state.state = ContainerPhase::Running;
            state.ready = container.ready;
            state.argv.clone_from(&container.argv);
            state.instance.clone_from(&container.id);
            state.restarts = container.attempt;
            state.log_tail = log_tail(&node, &container.log_path, LOG_TAIL);
            state.exit_code = self.last_exit(&container.pod_uid, &container.name);
            return state;
        }
        let Some((pod, name)) = self.api_server_pod() else {
            return state;
        };
        state.state = ContainerPhase::Waiting;
        if let Some(container) = self.api_server_container() {
            state.instance.clone_from(&container.id);
            state.log_tail = log_tail(&node, &container.log_path, LOG_TAIL);
            state.exit_code = self.last_exit(&pod.uid, &name);
            if pod.terminating {
                state.state = ContainerPhase::Exited;
            }
        }
        let status = &pod.status;
        let own_reason = status.get("reason").and_then(Value::as_str);
        if let Some(reason) = own_reason {
            // Rejected at admission: there will be no container.
            state.reason = Some(reason.to_owned());
            state.message = text_of(status, "/message");
        }
        let statuses = status.get("containerStatuses").and_then(Value::as_array);
        let own = statuses
            .into_iter()
            .flatten()
            .find(|s| s.get("name").and_then(Value::as_str) == Some(&name));
        if let Some(own) = own {
            let restarts = own.get("restartCount").and_then(Value::as_u64).unwrap_or(0);
            state.restarts = u32::try_from(restarts).unwrap_or(u32::MAX);
            if own.pointer("/state/terminated").is_some() {
                state.state = ContainerPhase::Exited;
                state.reason = text_of(own, "/state/terminated/reason");
                state.message = text_of(own, "/state/terminated/message");
            } else if own.pointer("/state/waiting").is_some() {
                state.reason = text_of(own, "/state/waiting/reason");
                state.message = text_of(own, "/state/waiting/message");
            }
        } else if own_reason.is_none() && state.state == ContainerPhase::Waiting {
            state.reason = Some("Pending".into());
        }
        if state.reason.as_deref() == Some("ContainerCreating") && state.message.is_none() {
            // `kubectl describe` shows why in the events; there is no other place to look.
            state.message = self
                .events
                .iter()
                .rev()
                .find(|e| e.pod_uid == pod.uid && e.reason == "FailedMount")
                .map(|e| e.message.clone());
        }
        state
    }

    fn last_exit(&self, pod_uid: &str, name: &str) -> Option<i32> {
        self.containers
            .iter()
            .filter(|c| c.pod_uid == pod_uid && c.name == name)
            .filter(|c| c.exit_code.is_some())
            .max_by_key(|c| c.attempt)
            .and_then(|c| c.exit_code)
    }

    /// The file system of the running API server process.
    #[must_use]
    pub fn api_server_rootfs(&self, node_root: &Path, state_dir: &Path) -> Option<Rootfs> {
        self.api_server_container()
            .filter(|c| c.state == ContainerState::Running)
            .map(|c| c.rootfs(node_root, state_dir))
    }
}

impl ContainerSnapshot {
    /// The port of this name.
    #[must_use]
    pub fn named_port(&self, name: &str) -> Option<u16> {
        self.ports
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, port)| *port)
    }

    /// The file system the container sees.
    #[must_use]
    pub fn rootfs(&self, node_root: &Path, state_dir: &Path) -> Rootfs {
        Rootfs::new(
            node_root.to_path_buf(),
            container_dir(state_dir, &self.id).join("rootfs"),
            self.mounts.clone(),
        )
        .read_only(self.read_only_root)
        .seen_by(self.user)
    }
}

/// Where the runtime keeps what belongs to one container.
#[must_use]
pub fn container_dir(state_dir: &Path, id: &str) -> PathBuf {
    state_dir.join("containers").join(id)
}

fn is_api_server(container: &ContainerSnapshot) -> bool {
    let program = container.argv.first().map_or("", String::as_str);
    base_name(program) == "kube-apiserver"
}

/// The last component of a path.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn text_of(value: &Value, pointer: &str) -> Option<String> {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .map(str::to_owned)
}

/// The last lines of a container log (CRI format), without time stamp and stream.
#[must_use]
pub fn log_tail(node: &Confined, path: &str, lines: usize) -> Vec<String> {
    let text = tail_of_file(node, path, 64 << 10);
    let all = container_log::lines(&text);
    let tail = all.len().saturating_sub(lines);
    all.into_iter().skip(tail).map(|line| line.text).collect()
}

/// The end of a file on the node, from a line start on; empty when it cannot be read.
pub(super) fn tail_of_file(node: &Confined, path: &str, limit: u64) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> io::Result<String> {
        let mut file = node.open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Ok(String::new());
        }
        let skip = metadata.len().saturating_sub(limit);
        file.seek(SeekFrom::Start(skip))?;
        let mut bytes = Vec::new();
        file.take(limit).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(match text.split_once('\n') {
            Some((_, rest)) if skip > 0 => rest.to_owned(),
            _ => text,
        })
    };
    read().unwrap_or_default()
}

/// A hash of what the kubelet can read in the manifests directory: names that do not start with a
/// dot, and contents. Equal hashes mean that nothing changed.
#[must_use]
pub fn manifests_hash(node: &Confined) -> String {
    ManifestsRead::of(node).hash()
}

/// What was read of the manifests directory, file by file: a file that changed is part of it only
/// once it was read itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ManifestsRead {
    /// The error code with which the directory could not be listed.
    unreadable: Option<Option<i32>>,
    /// A digest of each visible file, or of why it could not be read.
    files: BTreeMap<String, [u8; 32]>,
}

impl ManifestsRead {
    /// The whole directory as it is now.
    #[must_use]
    pub fn of(node: &Confined) -> Self {
        match node.list(MANIFESTS) {
            Err(error) => Self {
                unreadable: Some(error.raw_os_error()),
                files: BTreeMap::new(),
            },
            Ok(names) => {
                let mut read = Self::default();
                for name in names {
                    read.refresh(node, &name);
                }
                read
            }
        }
    }

    /// Reads one file of the directory again.
    pub fn refresh(&mut self, node: &Confined, name: &str) {
        if name.starts_with('.') {
            return;
        }
        let path = format!("{MANIFESTS}/{name}");
        let digest = match node.read(&path, crate::manifest::MAX_BYTES) {
            Ok(bytes) => Sha256::digest(&bytes),
            Err(error)
                if error.kind() == std::io::ErrorKind::NotFound
                    && node.symlink_metadata(&path).is_err() =>
            {
                self.files.remove(name);
                return;
            }
            Err(error) => Sha256::digest(format!("error {:?}", error.raw_os_error())),
        };
        self.files.insert(name.to_owned(), digest.into());
    }

    /// One text for all of it.
    #[must_use]
    pub fn hash(&self) -> String {
        let mut hasher = Sha256::new();
        if let Some(code) = self.unreadable {
            hasher.update(format!("error {code:?}"));
        }
        for (name, digest) in &self.files {
            hasher.update(format!("\0{name}\0"));
            hasher.update(digest);
        }
        let mut out = String::new();
        for byte in hasher.finalize().iter().take(16) {
            out.push_str(&format!("{byte:02x}"));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_counts_only_once_it_was_read_itself() {
        let dir = tempfile::tempdir().unwrap();
        let node = Confined::new(dir.path());
        let write = |name: &str, text: &str| {
            node.write_atomic(&format!("{MANIFESTS}/{name}"), text.as_bytes(), 0o600)
                .unwrap();
        };
        write("etcd.yaml", "a: 1");
        write("kube-apiserver.yaml", "a: 1");
        let mut read = ManifestsRead::of(&node);
        assert_eq!(read.hash(), manifests_hash(&node));

        write("etcd.yaml", "a: 2");
        write("kube-apiserver.yaml", "a: 2");
        write(".swap", "x");
        read.refresh(&node, "etcd.yaml");
        read.refresh(&node, ".swap");
        assert_ne!(
            read.hash(),
            manifests_hash(&node),
            "one file is still unread"
        );
        read.refresh(&node, "kube-apiserver.yaml");
        assert_eq!(read.hash(), manifests_hash(&node));

        node.remove_file(&format!("{MANIFESTS}/etcd.yaml")).unwrap();
        assert_ne!(read.hash(), manifests_hash(&node));
        read.refresh(&node, "etcd.yaml");
        assert_eq!(read.hash(), manifests_hash(&node));
    }
}
