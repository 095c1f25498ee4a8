//! What is due for each pod: volumes, sandbox, image, container, restart, end
//! (`pkg/kubelet/pod_workers.go`, `kuberuntime/kuberuntime_manager.go`).

use std::time::Duration;

use super::start::identifier;
use super::state::{Effect, Kubelet, Phase, Pod, Step, WORKER_RETRY, log_dir};
use crate::node::embedded::pace::Pace;
use crate::node::embedded::snapshot::{ContainerState, Sandbox};

/// How long the kubelet waits for volumes before it says so (`podAttachAndMountTimeout`).
const MOUNT_TIMEOUT: Duration = Duration::from_secs(123);
/// How long making a sandbox takes at least, with the directories and limits of its pod; at most 600 ms more.
const SANDBOX: Duration = Duration::from_millis(150);
/// In fast pace, how often the hostPath files of a pod in trouble are looked at. A documented
/// short cut: a repair on the node takes effect at once instead of at the next retry.
pub(super) const LOOK: Duration = Duration::from_millis(200);

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
        if self.active && !self.shutting_down {
            self.learn_mirrors();
            self.housekeep();
            self.write_events();
        }
        self.send_probes();
    }

    fn kill_overdue(&mut self) {
        let now = self.now.at;
        self.send_terms();
        for record in &mut self.records {
            if record.view.state != ContainerState::Running {
                continue;
            }
            if record.term_at.is_some() {
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
        let keep = self.scaled(Duration::from_millis(1200)) + self.dice_up_to(1000);
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
            // A line of verbosity 2, which kubeadm's kubelet does not reach.
            if self.setting.api.is_none() {
                let text = "No ready sandbox for pod can be found. Need to start a new one";
                for _ in 0..2 {
                    self.journal.info("util.go:52", text, &[("pod", &name)]);
                }
            }
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
                let retry = now + self.jittered(WORKER_RETRY);
                let retry = self.tick(retry);
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
                moved |= self.work(index);
                moved |= self.run_pod(index, since);
                moved
            }
            Phase::Rejected { .. } | Phase::Terminating | Phase::Terminated { .. } => false,
        }
    }

    fn run_pod(&mut self, index: usize, since: Duration) -> bool {
        let now = self.now.at;
        let wall = self.now.wall;
        let worker_start = since + self.scaled(Duration::from_millis(50));
        let timeout = self.scaled(MOUNT_TIMEOUT);
        let making = self.scaled(SANDBOX) + self.dice_up_to(600);
        let Some(pod) = self.pods.get_mut(index) else {
            return false;
        };
        if now < worker_start {
            return false;
        }
        let (uid, full_name) = (pod.spec.uid.clone(), pod.spec.full_name());
        let mut moved = false;
        if pod.start_time.is_none() || pod.volumes_late {
            pod.start_time.get_or_insert(wall);
            pod.volumes_late = false;
            self.sync_pod(index);
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
            if now >= since + timeout {
                pod.volumes_late = true;
                let text = format!(
                    "unmounted volumes=[{}], unattached volumes=[], failed to process volumes=[]: context deadline exceeded",
                    unmounted.join(", ")
                );
                self.sync_error(&uid, &full_name, &text);
                let retry = now + self.jittered(WORKER_RETRY);
                let since = self.tick(retry);
                if let Some(pod) = self.pods.get_mut(index) {
                    pod.phase = Phase::Active { since };
                }
                return true;
            }
            return moved;
        }
        if pod.probed_since.is_none() {
            pod.probed_since = Some(now);
        }
        let lost = pod.sandbox.as_ref().is_some_and(|s| !s.ready);
        let alive = self
            .records
            .iter()
            .any(|r| r.view.pod_uid == uid && r.view.state == ContainerState::Running);
        if pod.sandbox.is_none() || (lost && !alive) {
            pod.sandbox_up = now + making;
            pod.sandboxes += 1;
            let attempt = pod.sandboxes - 1;
            pod.sandbox = Some(Sandbox {
                id: identifier(&[&uid, "sandbox", &attempt.to_string(), &wall.to_string()]),
                created: wall,
                ready: true,
                attempt,
            });
            moved = true;
            // The directory of its logs is there before any container (`kuberuntime_sandbox.go`).
            let _ = self.node.create_dir_all(&log_dir(&pod.spec), 0o755);
            let listed = self.relist_after(now + making);
            self.wake_at(&uid, &[listed]);
            if attempt > 0 {
                self.initialize_again(index);
                let text = "Pod sandbox changed, it will be killed and re-created.";
                self.event(&uid, None, "Normal", "SandboxChanged", text);
            }
        }
        let Some(pod) = self.pods.get(index) else {
            return moved;
        };
        if now < pod.sandbox_up {
            return moved;
        }
        let count = pod.work.len();
        for container in 0..count {
            moved |= self.run_container(index, container);
        }
        self.end_sidecars(index);
        moved
    }

    fn run_container(&mut self, index: usize, number: usize) -> bool {
        let now = self.now.at;
        let Some(pod) = self.pods.get(index) else {
            return false;
        };
        let spec = pod.spec.clone();
        let (Some(work), Some(container)) = (pod.work.get(number), spec.nth_container(number))
        else {
            return false;
        };
        let next = match work.step.clone() {
            Step::Idle if !self.its_turn(pod, number) => None,
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
            Step::PostStart { id, until, problem } if until <= now => {
                Some(self.after_hook(index, container, id, problem))
            }
            Step::Exited { noticed } if noticed <= now => {
                self.sync_pod(index);
                Some(self.after_exit(index, container))
            }
            Step::BackOff { expiry, until, .. } if until <= now => {
                self.sync_once(index);
                if now < expiry {
                    return true;
                }
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

    pub(super) fn sync_error(&mut self, uid: &str, full_name: &str, text: &str) {
        let values = [("err", text), ("pod", full_name), ("podUID", uid)];
        self.journal.error(
            "pod_workers.go:1324",
            "Error syncing pod, skipping",
            &values,
        );
    }

    /// A time of this node as it would be at real pace.
    pub(super) fn unscaled(&self, at: Duration) -> Duration {
        match self.setting.pace {
            Pace::Real => at,
            Pace::Fast => at * Pace::FAST_DIVISOR,
        }
    }

    pub(super) fn pod_deadlines(&self, pod: &Pod, consider: &mut impl FnMut(Duration)) {
        match &pod.phase {
            Phase::Queued { retry } => consider(*retry),
            Phase::Active { since } => {
                if pod.start_time.is_none() || pod.volumes_late {
                    consider(*since + self.scaled(Duration::from_millis(50)));
                } else if pod.volumes.iter().any(|v| !v.ready) {
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
        if matches!(pod.phase, Phase::Active { .. }) {
            pod.wakes.iter().for_each(|at| consider(*at));
            pod.worker.deadline().into_iter().for_each(&mut *consider);
            if pod.sandbox_up > self.now.at {
                consider(pod.sandbox_up);
            }
            if pod.start_time.is_some() {
                consider(pod.resync);
            }
        }
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
                Step::PostStart { until, .. } => consider(*until),
                Step::BackOff { until, .. } => consider(*until),
                Step::Idle | Step::Hopeless { .. } | Step::Running { .. } | Step::Done => {}
            }
        }
    }
}

/// Whether a change of a file on the node might help this pod.
pub(super) fn in_trouble(pod: &Pod) -> bool {
    let waits = |step: &Step| matches!(step, Step::BackOff { .. } | Step::CreateFailed { .. });
    pod.volumes.iter().any(|v| !v.ready && !v.delay.is_zero())
        || pod.work.iter().any(|w| waits(&w.step))
}
