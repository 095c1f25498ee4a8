//! Pods of the API on the control-plane node, as its container runtime knows them: what node tools show beside
//! the static pods. Kept in `STATE_DIR/workload.json`, so that it is true also while the API server is down.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::confine::Confined;
use super::snapshot::{ContainerSnapshot, NodeSnapshot, PodSnapshot};

/// Name of the file in the state directory.
const FILE: &str = "workload.json";
/// Process id of the first of these containers; static pods have lower ones.
const FIRST_PID: u32 = 15_207;
/// A larger file is none.
const LARGEST: u64 = 64 << 20;

/// Pods and their containers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Pods, by their age.
    pub pods: Vec<PodSnapshot>,
    /// Containers, oldest first.
    pub containers: Vec<ContainerSnapshot>,
}

impl Workload {
    /// Path of the file.
    #[must_use]
    pub fn path(state_dir: &Path) -> PathBuf {
        state_dir.join(FILE)
    }

    /// What was written last; nothing before that.
    #[must_use]
    pub fn load(state_dir: &Path) -> Self {
        let bytes = Confined::new(state_dir).read(&format!("/{FILE}"), LARGEST);
        bytes
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default()
    }

    /// Writes it (temporary file, then rename).
    ///
    /// # Errors
    /// When the disk says no.
    pub fn store(&self, state_dir: &Path) -> io::Result<()> {
        let bytes = serde_json::to_vec(self).map_err(io::Error::from)?;
        Confined::new(state_dir).write_atomic(&format!("/{FILE}"), &bytes, 0o600)
    }

    /// Gives every container a process id: the one it had, or one that none of these has had.
    pub fn number(&mut self, before: &Self) {
        let known = |id: &str| before.containers.iter().find(|c| c.id == id).map(|c| c.pid);
        let highest = before.containers.iter().map(|c| c.pid).max();
        let mut next = highest.map_or(FIRST_PID, |pid| pid.saturating_add(41));
        for container in &mut self.containers {
            container.pid = known(&container.id).unwrap_or_else(|| {
                let pid = next;
                next = next.saturating_add(41);
                pid
            });
        }
    }

    /// The node's state with these pods in it.
    pub fn join(self, snapshot: &mut NodeSnapshot) {
        snapshot.pods.extend(self.pods);
        snapshot.containers.extend(self.containers);
        snapshot
            .containers
            .sort_by_key(|container| container.created);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_keeps_its_process_id() {
        let container = |id: &str| -> ContainerSnapshot {
            serde_json::from_value(serde_json::json!({
                "id": id, "pod_uid": "u", "pod_name": "p", "pod_namespace": "n", "sandbox_id": "s",
                "name": "c", "image": "i", "attempt": 0, "state": "running",
                "created": "2026-11-24T07:00:00Z", "started": null, "finished": null, "exit_code": null,
                "reason": null, "message": null, "argv": [], "pid": 0, "mounts": [], "log_path": "",
                "ready": true,
            }))
            .unwrap()
        };
        let of = |ids: &[&str]| Workload {
            pods: Vec::new(),
            containers: ids.iter().map(|id| container(id)).collect(),
        };
        let mut first = of(&["a", "b"]);
        first.number(&Workload::default());
        let mut second = of(&["c", "b"]);
        second.number(&first);
        let pids: Vec<u32> = second.containers.iter().map(|c| c.pid).collect();
        assert_eq!(pids, [FIRST_PID + 82, first.containers[1].pid]);

        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Workload::load(dir.path()), Workload::default());
        second.store(dir.path()).unwrap();
        assert_eq!(Workload::load(dir.path()), second);
    }
}
