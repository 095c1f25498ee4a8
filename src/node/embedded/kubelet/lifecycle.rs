//! What is due for each pod: volumes, sandbox, image, container, restart, end
//! (`pkg/kubelet/pod_workers.go`, `kuberuntime/kuberuntime_manager.go`).

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::journal::{go_duration, quote};
use super::probe::Probes;
use super::state::{Effect, Kubelet, Phase, Pod, Record, Step, log_dir, log_link};
use super::volume;
use crate::manifest::Container;
use crate::node::embedded::pace::Pace;
use crate::node::embedded::process::go_error_text;
use crate::node::embedded::runtime::image::{self, Image};
use crate::node::embedded::snapshot::{
    ContainerSnapshot, ContainerState, Sandbox, base_name, container_dir,
};

/// First wait after a failed mount; doubles up to [`MOUNT_MAX`].
const MOUNT_RETRY: Duration = Duration::from_millis(500);
const MOUNT_MAX: Duration = Duration::from_secs(122);
/// How long the kubelet waits for volumes before it says so (`podAttachAndMountTimeout`).
const MOUNT_TIMEOUT: Duration = Duration::from_secs(123);
/// In fast pace, how often the hostPath files of a pod in trouble are looked at. A documented
/// short cut: a repair on the node takes effect at once instead of at the next retry.
const LOOK: Duration = Duration::from_millis(200);
/// An API server with less memory than this does not live.
const API_SERVER_MEMORY: u64 = 128 << 20;
const PULL_MAX: Duration = Duration::from_secs(300);

impl Kubelet {
    /// Does everything that is due, until nothing is.
    pub(super) fn settle(&mut self) {
        self.kill_overdue();
        if self.active && !self.shutting_down {
            // Each pass lets a pod make one move; a pod makes only a few in a row.
            for _ in 0..16 {
                let mut moved = false;
                for index in 0..self.pods.len() {
                    moved |= self.advance(index);
                }
                moved |= self.bury();
                if !moved {
                    break;
                }
                self.moved = true;
            }
        }
        self.send_probes();
    }

    fn kill_overdue(&mut self) {
        let now = self.now.at;
        for record in &mut self.records {
            if record.view.state != ContainerState::Running {
                continue;
            }
            if record.oom_at.is_some_and(|at| at <= now) {
                record.killed = Some("OOMKilled");
                record.oom_at = None;
                self.effects.push(Effect::Kill(record.view.id.clone()));
            } else if record.kill_at.is_some_and(|at| at <= now) && record.killed.is_none() {
                record.killed = Some("SIGKILL");
                record.kill_at = None;
                self.effects.push(Effect::Kill(record.view.id.clone()));
            }
        }
    }

    fn send_probes(&mut self) {
        if !self.active {
            return;
        }
        let now = self.now.at;
        for record in &mut self.records {
            let running = record.view.state == ContainerState::Running;
            if !running || record.kill_at.is_some() || record.killed.is_some() {
                continue;
            }
            for (kind, probe) in record.probes.due(now) {
                self.effects.push(Effect::Probe {
                    container: record.view.id.clone(),
                    kind,
                    probe,
                });
            }
        }
    }

    /// Ends pods whose containers have ended; removes those that ended long enough ago.
    fn bury(&mut self) -> bool {
        let now = self.now.at;
        let mut moved = false;
        let keep = self.scaled(Duration::from_secs(10));
        let mut ended = Vec::new();
        let mut gone = Vec::new();
        for pod in &mut self.pods {
            match pod.phase {
                Phase::Terminating => {
                    let alive = self.records.iter().any(|r| {
                        r.view.pod_uid == pod.spec.uid && r.view.state == ContainerState::Running
                    });
                    if !alive {
                        pod.phase = Phase::Terminated { gone: now + keep };
                        if let Some(sandbox) = &mut pod.sandbox {
                            sandbox.ready = false;
                        }
                        ended.push((pod.spec.full_name(), pod.again.take()));
                        moved = true;
                    }
                }
                Phase::Terminated { gone: at } if at <= now => gone.push(pod.spec.uid.clone()),
                _ => {}
            }
        }
        for (name, again) in ended {
            self.journal.info(
                "util.go:52",
                "No ready sandbox for pod can be found. Need to start a new one",
                &[("pod", &name)],
            );
            if let Some(found) = again {
                self.add(found);
            }
        }
        for uid in gone {
            self.forget_pod(&uid);
            moved = true;
        }
        moved
    }

    /// One move of a pod; whether it made one.
    fn advance(&mut self, index: usize) -> bool {
        let now = self.now.at;
        let Some(pod) = self.pods.get(index) else {
            return false;
        };
        match pod.phase.clone() {
            Phase::Queued { retry } => {
                let mounted = self.mount(index);
                if retry > now {
                    return mounted;
                }
                let name = self.pods.get(index).map(|p| p.spec.full_name());
                let blocked = self.pods.iter().enumerate().any(|(other, p)| {
                    other != index
                        && Some(p.spec.full_name()) == name
                        && matches!(p.phase, Phase::Active { .. } | Phase::Terminating)
                });
                let retry = now + self.jittered(Duration::from_secs(10));
                if let Some(pod) = self.pods.get_mut(index) {
                    pod.phase = if blocked {
                        Phase::Queued { retry }
                    } else {
                        Phase::Active { since: now }
                    };
                }
                true
            }
            Phase::Active { since } => {
                let mut moved = self.mount(index);
                moved |= self.run_pod(index, since);
                moved
            }
            Phase::Rejected { .. } | Phase::Terminating | Phase::Terminated { .. } => false,
        }
    }

    /// Sets up volumes that are due.
    fn mount(&mut self, index: usize) -> bool {
        let now = self.now.at;
        let look = self.look(index);
        let pace = self.setting.pace;
        let Some(pod) = self.pods.get_mut(index) else {
            return false;
        };
        let spec = pod.spec.clone();
        let mut moved = false;
        let mut failures = Vec::new();
        for work in pod.volumes.iter_mut().filter(|v| !v.ready) {
            if work.retry > now && !look {
                continue;
            }
            let Some(volume) = spec.volume(&work.name) else {
                work.ready = true;
                continue;
            };
            match volume::set_up(&self.node, &spec, volume) {
                Ok(()) => {
                    work.ready = true;
                    moved = true;
                }
                Err(text) => {
                    work.delay = if work.delay.is_zero() {
                        MOUNT_RETRY
                    } else {
                        (work.delay * 2).min(MOUNT_MAX)
                    };
                    // In fast pace the first few retries would come within the same moment.
                    let wait = pace.scale(work.delay).max(Duration::from_millis(20));
                    work.retry = now + wait;
                    failures.push((work.name.clone(), work.delay, text));
                }
            }
        }
        for (name, delay, text) in failures {
            self.mount_failed(index, &name, delay, &text);
        }
        moved
    }

    fn mount_failed(&mut self, index: usize, volume: &str, delay: Duration, text: &str) {
        let Some(pod) = self.pods.get(index) else {
            return;
        };
        let (uid, name) = (pod.spec.uid.clone(), pod.spec.name.clone());
        let until = self.now.wall.checked_add(delay).unwrap_or(self.now.wall);
        let until = until.strftime("%Y-%m-%d %H:%M:%S%.9f +0000 UTC");
        let since = self.now.at.saturating_sub(Duration::ZERO).as_secs_f64() + delay.as_secs_f64();
        let unique = format!("kubernetes.io/host-path/{uid}-{volume}");
        let line = format!(
            "Operation for \"{{volumeName:{unique} podName:{uid} nodeName:}}\" failed. No retries permitted until {until} m=+{since:.9} (durationBeforeRetry {}). Error: MountVolume.SetUp failed for volume \"{volume}\" (UniqueName: \"{unique}\") pod \"{name}\" (UID: \"{uid}\") : {text}",
            go_duration(delay)
        );
        self.journal
            .klog('E', "nestedpendingoperations.go:348", &line);
        let message = format!("MountVolume.SetUp failed for volume \"{volume}\" : {text}");
        self.event(&uid, None, "Warning", "FailedMount", &message);
    }

    /// Fast pace: whether files that this pod waits for changed since the last look.
    fn look(&mut self, index: usize) -> bool {
        let now = self.now.at;
        if self.setting.pace != Pace::Fast {
            return false;
        }
        let Some(pod) = self.pods.get_mut(index) else {
            return false;
        };
        if !in_trouble(pod) || pod.look_again > now {
            return false;
        }
        pod.look_again = now + LOOK;
        let fingerprint = volume::fingerprint(&self.node, &pod.spec);
        let changed = pod.fingerprint != 0 && pod.fingerprint != fingerprint;
        pod.fingerprint = fingerprint;
        if changed {
            for work in &mut pod.work {
                match &mut work.step {
                    Step::BackOff { until, .. } | Step::CreateFailed { retry: until, .. } => {
                        *until = now;
                    }
                    _ => {}
                }
            }
        }
        changed
    }

    fn run_pod(&mut self, index: usize, since: Duration) -> bool {
        let now = self.now.at;
        let wall = self.now.wall;
        let worker_start = since + self.scaled(Duration::from_millis(50));
        let timeout = self.scaled(MOUNT_TIMEOUT);
        let Some(pod) = self.pods.get_mut(index) else {
            return false;
        };
        if now < worker_start {
            return false;
        }
        let (uid, full_name) = (pod.spec.uid.clone(), pod.spec.full_name());
        let mut moved = false;
        if pod.start_time.is_none() {
            pod.start_time = Some(wall);
            let values = [("pod", full_name.as_str())];
            self.journal.info(
                "kubelet.go:3514",
                "Creating a mirror pod for static pod",
                &values,
            );
            moved = true;
        }
        let Some(pod) = self.pods.get_mut(index) else {
            return false;
        };
        let unmounted: Vec<&str> = pod
            .volumes
            .iter()
            .filter(|v| !v.ready)
            .map(|v| v.name.as_str())
            .collect();
        if !unmounted.is_empty() {
            if !pod.volumes_reported && now >= since + timeout {
                pod.volumes_reported = true;
                let text = format!(
                    "unmounted volumes=[{}], unattached volumes=[], failed to process volumes=[]: context deadline exceeded",
                    unmounted.join(", ")
                );
                self.sync_error(&uid, &full_name, &text);
            }
            return moved;
        }
        let lost = pod.sandbox.as_ref().is_some_and(|s| !s.ready);
        let alive = self
            .records
            .iter()
            .any(|r| r.view.pod_uid == uid && r.view.state == ContainerState::Running);
        if pod.sandbox.is_none() || (lost && !alive) {
            pod.sandboxes += 1;
            let attempt = pod.sandboxes - 1;
            pod.sandbox = Some(Sandbox {
                id: identifier(&[&uid, "sandbox", &attempt.to_string(), &wall.to_string()]),
                created: wall,
                ready: true,
                attempt,
            });
            moved = true;
            if attempt > 0 {
                let text = "Pod sandbox changed, it will be killed and re-created.";
                self.event(&uid, None, "Normal", "SandboxChanged", text);
            }
        }
        let Some(pod) = self.pods.get(index) else {
            return moved;
        };
        let count = pod.work.len();
        for container in 0..count {
            moved |= self.run_container(index, container);
        }
        moved
    }

    fn run_container(&mut self, index: usize, number: usize) -> bool {
        let now = self.now.at;
        let Some(pod) = self.pods.get(index) else {
            return false;
        };
        let spec = pod.spec.clone();
        let (Some(work), Some(container)) = (pod.work.get(number), spec.containers.get(number))
        else {
            return false;
        };
        let next = match work.step.clone() {
            Step::Idle => self.consider(&spec.uid, &spec.full_name(), container, None),
            Step::Pulling { until, text } if until <= now => Some(self.pull_failed(
                &spec.uid,
                &spec.full_name(),
                container,
                &text,
                Duration::ZERO,
            )),
            Step::PullBackOff {
                retry, delay, text, ..
            } if retry <= now => {
                self.consider(&spec.uid, &spec.full_name(), container, Some((delay, text)))
            }
            Step::Create { at } if at <= now => Some(self.create(index, container)),
            Step::CreateFailed { retry, .. } if retry <= now => Some(self.create(index, container)),
            Step::Start { id, at } if at <= now => Some(self.start(index, container, &id)),
            Step::Exited { noticed } if noticed <= now => Some(self.after_exit(index, container)),
            Step::BackOff { until, .. } if until <= now => {
                self.note_restart(&spec.uid, &container.name);
                Some(Step::Create { at: now })
            }
            _ => None,
        };
        let Some(next) = next else {
            return false;
        };
        let pod = self.pods.get_mut(index);
        if let Some(work) = pod.and_then(|pod| pod.work.get_mut(number)) {
            work.step = next;
        }
        true
    }

    /// The image decides whether the container can be made at all.
    fn consider(
        &mut self,
        uid: &str,
        full_name: &str,
        container: &Container,
        failed: Option<(Duration, String)>,
    ) -> Option<Step> {
        let now = self.now.at;
        let reference = &container.image;
        match image::find(reference) {
            Image::Invalid(text) => {
                let event = format!("Error: {text}");
                self.event(
                    uid,
                    Some(&container.name),
                    "Warning",
                    "InspectFailed",
                    &text,
                );
                self.event(uid, Some(&container.name), "Warning", "Failed", &event);
                Some(Step::Hopeless {
                    reason: "InvalidImageName",
                    text,
                })
            }
            Image::Missing(_) if container.pull_policy == "Never" => {
                let text = format!(
                    "Container image \"{reference}\" is not present with pull policy of Never"
                );
                self.event(
                    uid,
                    Some(&container.name),
                    "Warning",
                    "ErrImageNeverPull",
                    &text,
                );
                Some(Step::Hopeless {
                    reason: "ErrImageNeverPull",
                    text,
                })
            }
            Image::Missing(text) => {
                let pulling = format!("Pulling image \"{reference}\"");
                self.event(uid, Some(&container.name), "Normal", "Pulling", &pulling);
                match failed {
                    None => Some(Step::Pulling {
                        until: now + self.scaled(Duration::from_millis(900)),
                        text,
                    }),
                    Some((delay, _)) => {
                        Some(self.pull_failed(uid, full_name, container, &text, delay))
                    }
                }
            }
            Image::Program(_) | Image::Other => {
                let text = format!(
                    "Container image \"{reference}\" already present on machine and can be accessed by the pod"
                );
                self.event(uid, Some(&container.name), "Normal", "Pulled", &text);
                Some(Step::Create {
                    at: now + self.scaled(Duration::from_millis(300)),
                })
            }
        }
    }

    fn pull_failed(
        &mut self,
        uid: &str,
        full_name: &str,
        container: &Container,
        text: &str,
        last: Duration,
    ) -> Step {
        let now = self.now.at;
        let (name, reference) = (&container.name, &container.image);
        let delay = if last.is_zero() {
            Duration::from_secs(10)
        } else {
            (last * 2).min(PULL_MAX)
        };
        let values = [("err", text), ("image", reference.as_str())];
        self.journal.error(
            "remote_image.go:250",
            "PullImage from image service failed",
            &values,
        );
        self.journal
            .error("kuberuntime_image.go:43", "Failed to pull image", &values);
        let error = format!(
            "failed to \"StartContainer\" for \"{name}\" with ErrImagePull: {}",
            quote(text)
        );
        self.sync_error(uid, full_name, &error);
        let failed = format!("Failed to pull image \"{reference}\": {text}");
        self.event(uid, Some(name), "Warning", "Failed", &failed);
        self.event(uid, Some(name), "Warning", "Failed", "Error: ErrImagePull");
        let back_off = format!("Back-off pulling image \"{reference}\"");
        self.event(uid, Some(name), "Normal", "BackOff", &back_off);
        self.event(
            uid,
            Some(name),
            "Warning",
            "Failed",
            "Error: ImagePullBackOff",
        );
        Step::PullBackOff {
            retry: now + self.jittered(delay),
            delay,
            shown: now + self.scaled(Duration::from_secs(2)),
            text: text.to_owned(),
        }
    }

    fn create(&mut self, index: usize, container: &Container) -> Step {
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
        let mounts = match volume::mounts(&self.node, &spec, container) {
            Ok(mounts) => mounts,
            Err(text) => {
                let event = format!("Error: {text}");
                self.event(
                    &spec.uid,
                    Some(&container.name),
                    "Warning",
                    "Failed",
                    &event,
                );
                let error = format!(
                    "failed to \"StartContainer\" for \"{}\" with CreateContainerError: {}",
                    container.name,
                    quote(&text)
                );
                self.sync_error(&spec.uid, &spec.full_name(), &error);
                return Step::CreateFailed {
                    retry: now + self.jittered(Duration::from_secs(10)),
                    reason: "CreateContainerError",
                    text,
                };
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
            // Without a command the image's own entry point runs.
            (mut argv, Image::Program(program)) if container.command.is_empty() => {
                argv.insert(0, program.to_owned());
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
    fn keep_one_dead(&mut self, uid: &str, name: &str) {
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

    fn start(&mut self, index: usize, container: &Container, id: &str) -> Step {
        let now = self.now;
        let pace = self.setting.pace;
        let Some(pod) = self.pods.get(index) else {
            return Step::Idle;
        };
        let (uid, full_name) = (pod.spec.uid.clone(), pod.spec.full_name());
        let programs = self.setting.programs.clone();
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
                record.probes = Probes::start(container, now.at, pace);
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
                Step::Running { id: id.to_owned() }
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
                let noticed =
                    now.at + self.scaled(Duration::from_millis(400)) + self.dice_up_to(700);
                Step::Exited { noticed }
            }
        }
    }

    /// A container ended and the kubelet noticed: restart now, later, or never.
    fn after_exit(&mut self, index: usize, container: &Container) -> Step {
        let now = self.now.at;
        let Some(pod) = self.pods.get(index) else {
            return Step::Idle;
        };
        let spec = pod.spec.clone();
        let last = self
            .records
            .iter()
            .filter(|r| r.view.pod_uid == spec.uid && r.view.name == container.name)
            .max_by_key(|r| r.view.attempt);
        let finished = last.map_or(now, |r| r.finished_at);
        let code = last.and_then(|r| r.view.exit_code).unwrap_or(0);
        self.keep_one_dead(&spec.uid, &container.name);
        match spec.restart_policy.as_str() {
            "Never" => return Step::Done,
            "OnFailure" if code == 0 => return Step::Done,
            _ => {}
        }
        let real = self.unscaled(finished);
        let Some(wait) = self.backoffs.wait(&spec.uid, &container.name, real) else {
            self.note_restart(&spec.uid, &container.name);
            return Step::Create { at: now };
        };
        let message = format!(
            "Back-off restarting failed container {} in pod {}_{}({})",
            container.name, spec.name, spec.namespace, spec.uid
        );
        self.event(
            &spec.uid,
            Some(&container.name),
            "Warning",
            "BackOff",
            &message,
        );
        let text = format!(
            "back-off {} restarting failed container={} pod={}_{}({})",
            go_duration(wait),
            container.name,
            spec.name,
            spec.namespace,
            spec.uid
        );
        let error = format!(
            "failed to \"StartContainer\" for \"{}\" with CrashLoopBackOff: {}",
            container.name,
            quote(&text)
        );
        self.sync_error(&spec.uid, &spec.full_name(), &error);
        if let Some(pod) = self.pods.get_mut(index) {
            pod.fingerprint = volume::fingerprint(&self.node, &pod.spec);
            pod.look_again = now + LOOK;
        }
        let late = self.dice_up_to(3000);
        let shown = now + self.scaled(Duration::from_secs(1)) + self.dice_up_to(4000);
        Step::BackOff {
            until: (finished + self.scaled(wait) + late).max(now),
            shown,
            text,
        }
    }

    fn note_restart(&mut self, uid: &str, container: &str) {
        let last = self
            .records
            .iter()
            .filter(|r| r.view.pod_uid == uid && r.view.name == container)
            .max_by_key(|r| r.view.attempt);
        let finished = last.map_or(self.now.at, |r| r.finished_at);
        let (finished, now) = (self.unscaled(finished), self.unscaled(self.now.at));
        self.backoffs.next(uid, container, finished, now);
        let text = last.map(|r| r.view.image.clone()).unwrap_or_default();
        let text = format!(
            "Container image \"{text}\" already present on machine and can be accessed by the pod"
        );
        self.event(uid, Some(container), "Normal", "Pulled", &text);
    }

    fn sync_error(&mut self, uid: &str, full_name: &str, text: &str) {
        let values = [("err", text), ("pod", full_name), ("podUID", uid)];
        self.journal.error(
            "pod_workers.go:1324",
            "Error syncing pod, skipping",
            &values,
        );
    }

    /// A time of this node as it would be at real pace.
    fn unscaled(&self, at: Duration) -> Duration {
        match self.setting.pace {
            Pace::Real => at,
            Pace::Fast => at * Pace::FAST_DIVISOR,
        }
    }

    pub(super) fn pod_deadlines(&self, pod: &Pod, consider: &mut impl FnMut(Duration)) {
        match &pod.phase {
            Phase::Queued { retry } => consider(*retry),
            Phase::Active { since } => {
                if pod.start_time.is_none() {
                    consider(*since + self.scaled(Duration::from_millis(50)));
                } else if !pod.volumes_reported && pod.volumes.iter().any(|v| !v.ready) {
                    consider(*since + self.scaled(MOUNT_TIMEOUT));
                }
            }
            Phase::Terminated { gone } => {
                consider(*gone);
                return;
            }
            Phase::Rejected { .. } | Phase::Terminating => return,
        }
        let waiting = pod.volumes.iter().filter(|v| !v.ready);
        waiting.for_each(|v| consider(v.retry));
        if self.setting.pace == Pace::Fast && in_trouble(pod) {
            consider(pod.look_again);
        }
        for work in &pod.work {
            match &work.step {
                Step::Pulling { until, .. } => consider(*until),
                Step::PullBackOff { retry, shown, .. } => {
                    consider(*retry);
                    if *shown > self.now.at {
                        consider(*shown);
                    }
                }
                Step::Create { at } | Step::Start { at, .. } => consider(*at),
                Step::CreateFailed { retry, .. } => consider(*retry),
                Step::Exited { noticed } => consider(*noticed),
                Step::BackOff { until, shown, .. } => {
                    consider(*until);
                    if *shown > self.now.at {
                        consider(*shown);
                    }
                }
                Step::Idle | Step::Hopeless { .. } | Step::Running { .. } | Step::Done => {}
            }
        }
    }
}

/// Whether a change of a file on the node might help this pod.
fn in_trouble(pod: &Pod) -> bool {
    let waits = |step: &Step| matches!(step, Step::BackOff { .. } | Step::CreateFailed { .. });
    pod.volumes.iter().any(|v| !v.ready && !v.delay.is_zero())
        || pod.work.iter().any(|w| waits(&w.step))
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
fn identifier(parts: &[&str]) -> String {
    let mut out = String::with_capacity(64);
    for byte in Sha256::digest(parts.join("\0").as_bytes()) {
        out.push_str(&format!("{byte:02x}"));
    }
    out
}
