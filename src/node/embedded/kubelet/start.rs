//! Making and starting containers (`pkg/kubelet/kuberuntime/kuberuntime_container.go`).

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::journal::quote;
use super::probe::Probes;
use super::state::{Effect, Kubelet, Record, Step, WORKER_RETRY, log_dir, log_link};
use super::volume;
use crate::manifest::{Container, StaticPod};
use crate::node::embedded::process::go_error_text;
use crate::node::embedded::runtime::image::{self, Image};
use crate::node::embedded::snapshot::{
    ContainerSnapshot, ContainerState, base_name, container_dir,
};

/// An API server with less memory than this does not live.
const API_SERVER_MEMORY: u64 = 128 << 20;

/// Entry point of the images of Kubernetes (`kubernetes/release`, `images/build/go-runner`).
const GO_RUNNER: &str = "/go-runner";

impl Kubelet {
    /// A container that could not be made.
    fn not_created(
        &mut self,
        spec: &StaticPod,
        container: &Container,
        reason: &'static str,
        text: String,
    ) -> Step {
        let event = format!("Error: {text}");
        self.event(
            &spec.uid,
            Some(&container.name),
            "Warning",
            "Failed",
            &event,
        );
        let error = format!(
            "failed to \"StartContainer\" for \"{}\" with {reason}: {}",
            container.name,
            quote(&text)
        );
        self.sync_error(&spec.uid, &spec.full_name(), &error);
        let retry = self.now.at + self.jittered(WORKER_RETRY);
        let retry = self.tick(retry);
        Step::CreateFailed {
            retry,
            reason,
            text,
        }
    }

    pub(super) fn create(&mut self, index: usize, container: &Container) -> Step {
        let (now, wall) = (self.now.at, self.now.wall);
        let Some(pod) = self.pods.get(index) else {
            return Step::Idle;
        };
        let spec = pod.spec.clone();
        let sandbox_id = pod
            .sandbox
            .as_ref()
            .map(|s| s.id.clone())
            .unwrap_or_default();
        let is_root = container.security.user.unwrap_or(0) == 0;
        if container.security.non_root && is_root {
            let who = if container.security.user.is_some() {
                "container's runAsUser breaks non-root policy"
            } else {
                "container has runAsNonRoot and image will run as root"
            };
            let text = format!(
                "{who} (pod: \"{}_{}({})\", container: {})",
                spec.name, spec.namespace, spec.uid, container.name
            );
            return self.not_created(&spec, container, "CreateContainerConfigError", text);
        }
        let mounts = match volume::mounts(&self.node, &spec, container) {
            Ok(mounts) => mounts,
            Err(text) if text.starts_with("missing value for") => {
                return self.not_created(&spec, container, "CreateContainerConfigError", text);
            }
            Err(text) => {
                return self.not_created(&spec, container, "CreateContainerError", text);
            }
        };
        let attempt = self
            .records
            .iter()
            .filter(|r| r.view.pod_uid == spec.uid && r.view.name == container.name)
            .map(|r| r.view.attempt + 1)
            .max()
            .unwrap_or(0);
        let id = identifier(&[
            &spec.uid,
            &container.name,
            &attempt.to_string(),
            &wall.to_string(),
        ]);
        let argv = match (container.argv(), image::find(&container.image)) {
            (mut argv, Image::Program("etcd")) if container.command.is_empty() => {
                argv.insert(0, "etcd".to_owned());
                argv
            }
            // Without a command the image's own entry point runs, which runs its arguments.
            (mut argv, Image::Program(_)) if container.command.is_empty() => {
                if argv.first().is_none_or(|first| first.starts_with('-')) {
                    argv.insert(0, GO_RUNNER.to_owned());
                }
                argv
            }
            (argv, _) => argv,
        };
        let log_path = format!("{}/{}/{attempt}.log", log_dir(&spec), container.name);
        let view = ContainerSnapshot {
            id: id.clone(),
            pod_uid: spec.uid.clone(),
            pod_name: spec.name.clone(),
            pod_namespace: spec.namespace.clone(),
            sandbox_id,
            name: container.name.clone(),
            image: container.image.clone(),
            attempt,
            state: ContainerState::Created,
            created: wall,
            started: None,
            finished: None,
            exit_code: None,
            reason: None,
            message: None,
            argv,
            read_only_root: container.security.read_only_root,
            user: container.security.user.unwrap_or(0),
            own_network: !spec.host_network,
            pid: self.take_pid(),
            mounts,
            log_path,
            ready: false,
            ports: container
                .ports
                .iter()
                .map(|p| (p.name.clone(), p.container_port))
                .collect(),
        };
        // The link is for people who look under /var/log/containers; nothing depends on it.
        let link = log_link(&view);
        let _ = self.node.create_dir_all("/var/log/containers", 0o755);
        let _ = self.node.remove_file(&link);
        let _ = self.node.symlink(&view.log_path, &link);
        self.event(
            &spec.uid,
            Some(&container.name),
            "Normal",
            "Created",
            "Container created",
        );
        self.records.push(Record {
            view,
            probes: Probes::default(),
            finished_at: now,
            kill_at: None,
            term_at: None,
            last: false,
            oom_at: None,
            killed: None,
        });
        self.keep_one_dead(&spec.uid, &container.name);
        Step::Start {
            id,
            at: now + self.scaled(Duration::from_millis(300)),
        }
    }

    /// Of the containers that ended the kubelet keeps the newest.
    pub(super) fn keep_one_dead(&mut self, uid: &str, name: &str) {
        let mut dead: Vec<(u32, String)> = self
            .records
            .iter()
            .filter(|r| r.view.pod_uid == uid && r.view.name == name)
            .filter(|r| r.view.state == ContainerState::Exited)
            .map(|r| (r.view.attempt, r.view.id.clone()))
            .collect();
        dead.sort_unstable();
        dead.pop();
        for (_, id) in dead {
            self.discard(&id);
        }
    }

    pub(super) fn start(&mut self, index: usize, container: &Container, id: &str) -> Step {
        let now = self.now;
        let pace = self.setting.pace;
        let Some(pod) = self.pods.get(index) else {
            return Step::Idle;
        };
        let (uid, full_name) = (pod.spec.uid.clone(), pod.spec.full_name());
        let programs = self.setting.programs.clone();
        let probed_since = pod.probed_since.unwrap_or(now.at);
        let Some(position) = self.records.iter().position(|r| r.view.id == id) else {
            return Step::Exited { noticed: now.at };
        };
        let Some(record) = self.records.get_mut(position) else {
            return Step::Idle;
        };
        let rootfs = record
            .view
            .rootfs(&self.setting.node_root, &self.setting.state_dir);
        let prepared = rootfs.prepare().map_err(|(mount, error)| {
            format!(
                "error mounting \"{}\" to rootfs at \"{}\": {}",
                mount.node_path,
                mount.container_path,
                go_error_text(&error)
            )
        });
        let program = executable(&record.view.argv, &container.image, &programs);
        let outcome = prepared.and(program);
        match outcome {
            Ok(program) => {
                record.view.state = ContainerState::Running;
                record.view.started = Some(now.wall);
                record.probes = Probes::start(container, now, probed_since, pace);
                record.view.ready = record.probes.ready();
                let needs = if program == "kube-apiserver" {
                    API_SERVER_MEMORY
                } else {
                    16 << 20
                };
                if container.memory_limit.is_some_and(|limit| limit < needs) {
                    record.oom_at = Some(now.at + pace.scale(Duration::from_millis(900)));
                }
                let view = record.view.clone();
                self.effects.push(Effect::Start(Box::new(view), program));
                self.event(
                    &uid,
                    Some(&container.name),
                    "Normal",
                    "Started",
                    "Container started",
                );
                self.wake_after(&uid, &[Duration::from_millis(20)]);
                self.wake_by_probes(&uid, container, false);
                self.after_start(index, container, id)
            }
            Err(problem) => {
                let text = format!(
                    "failed to create containerd task: failed to create shim task: OCI runtime create failed: runc create failed: unable to start container process: error during container init: {problem}"
                );
                record.view.state = ContainerState::Exited;
                record.view.finished = Some(now.wall);
                record.view.exit_code = Some(128);
                record.view.reason = Some("StartError".into());
                record.view.message = Some(text.clone());
                record.finished_at = now.at;
                let _ = std::fs::remove_dir_all(
                    container_dir(&self.setting.state_dir, id).join("binds"),
                );
                let grpc = format!("rpc error: code = Unknown desc = {text}");
                self.journal.error(
                    "remote_runtime.go:435",
                    "StartContainer from runtime service failed",
                    &[("err", &grpc), ("containerID", id)],
                );
                let error = format!(
                    "failed to \"StartContainer\" for \"{}\" with RunContainerError: {}",
                    container.name,
                    quote(&text)
                );
                self.sync_error(&uid, &full_name, &error);
                let event = format!("Error: {text}");
                self.event(&uid, Some(&container.name), "Warning", "Failed", &event);
                let noticed = self.relist_after(now.at);
                self.wake_at(&uid, &[noticed]);
                self.wake_by_probes(&uid, container, false);
                self.wake_by_probes(&uid, container, true);
                Step::Exited { noticed }
            }
        }
    }
}

/// The program a command line starts, or why it cannot be started.
fn executable(argv: &[String], reference: &str, programs: &[String]) -> Result<String, String> {
    let Some(first) = argv.first() else {
        return Ok(String::new());
    };
    let Image::Program(own) = image::find(reference) else {
        // Images the node only pretends to have: whatever they run idles.
        return Ok(String::new());
    };
    if first == GO_RUNNER {
        return Ok("go-runner".to_owned());
    }
    let name = base_name(first);
    let in_path = ["", "/usr/local/bin/", "/usr/bin/../local/bin/"];
    let is_own = name == own && in_path.iter().any(|dir| *first == format!("{dir}{own}"));
    if is_own && programs.iter().any(|p| p == own) {
        return Ok(own.to_owned());
    }
    if is_own {
        return Ok(String::new());
    }
    Err(if first.contains('/') {
        format!("exec: {first:?}: stat {first}: no such file or directory")
    } else {
        format!("exec: {first:?}: executable file not found in $PATH")
    })
}

/// An id of 64 hex digits, as the runtime gives.
pub(super) fn identifier(parts: &[&str]) -> String {
    let mut out = String::with_capacity(64);
    for byte in Sha256::digest(parts.join("\0").as_bytes()) {
        out.push_str(&format!("{byte:02x}"));
    }
    out
}
