//! The kubelet and the container runtime as a state machine: inputs and the time go in, effects
//! come out. It reads and writes files of the node root itself; processes, probes, timers and the
//! file watcher are the edge's ([`super::run`]) or, in tests, a fake clock's.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use super::admission;
use super::backoff::BackOffs;
pub use super::input::{Effect, Input, Request, Setting};
use super::journal::{Journal, Moment};
use super::pod::OTHER_SIGNAL;
pub(super) use super::pod::{Phase, Pod, Record, Step, VolumeWork, Work};
use super::probe::{ProbeAnswer, ProbeKind, Probes, Verdict};
use super::recorder::Recorder;
use super::source::{FileSource, Found};
use super::volume;
use super::worker::{Rhythm, Worker};
use crate::manifest::StaticPod;
use crate::node::embedded::confine::Confined;
use crate::node::embedded::pace::Pace;
use crate::node::embedded::snapshot::{
    ContainerSnapshot, ContainerState, ManifestsRead, NodeSnapshot, PodEvent,
};

/// Time between scans of the manifests directory (`fileCheckFrequency`).
const SCAN: Duration = Duration::from_secs(20);
/// Least time until a pod that waits for another one is looked at again; at most half more.
pub(super) const WORKER_RETRY: Duration = Duration::from_secs(10);
/// How often a pod is looked at for no reason (`syncFrequency`); at most half more. In fast pace
/// too: nothing waits for it.
pub(super) const RESYNC: Duration = Duration::from_secs(60);
/// Pod events kept.
const EVENTS: usize = 200;

/// The kubelet and the runtime of a node.
pub struct Kubelet {
    pub(super) setting: Setting,
    pub(super) node: Confined,
    pub(super) now: Moment,
    pub(super) booted: Timestamp,
    pub(super) journal: Journal,
    pub(super) source: FileSource,
    pub(super) pods: Vec<Pod>,
    pub(super) records: Vec<Record>,
    pub(super) backoffs: BackOffs,
    pub(super) events: VecDeque<PodEvent>,
    pub(super) effects: Vec<Effect>,
    pub(super) next_scan: Duration,
    pub(super) scan_pending: bool,
    /// Whether the last step may have changed what [`Kubelet::snapshot`] says.
    pub(super) moved: bool,
    pub(super) acted_on: ManifestsRead,
    pub(super) active: bool,
    pub(super) shutting_down: bool,
    pub(super) pid: u32,
    pub(super) next_pid: u32,
    pub(super) kubelet_started: Timestamp,
    pub(super) sequence: u64,
    pub(super) dice: u64,
    pub(super) rhythm: Rhythm,
    /// Exited containers of an earlier boot, by pod UID: their restart counts go on.
    pub(super) remembered: HashMap<String, Vec<Record>>,
    /// Mirror pods the kubelet knows of: name to UID of the static pod they mirror.
    pub(super) mirrored: BTreeMap<String, String>,
    pub(super) housekeeping: Duration,
    pub(super) recorder: Recorder,
}

impl Kubelet {
    /// A kubelet of a node that just came up; `before` is the snapshot of the last boot, if any.
    #[must_use]
    pub fn new(setting: Setting, now: Moment, before: Option<NodeSnapshot>) -> Self {
        let pid = 812;
        let mut kubelet = Self {
            node: Confined::new(&setting.node_root),
            now,
            booted: now.wall,
            journal: Journal::new(&setting.node_name, pid, now),
            source: FileSource::default(),
            pods: Vec::new(),
            records: Vec::new(),
            backoffs: BackOffs::default(),
            events: VecDeque::new(),
            effects: Vec::new(),
            next_scan: now.at,
            scan_pending: false,
            moved: true,
            acted_on: ManifestsRead::default(),
            active: true,
            shutting_down: false,
            pid,
            next_pid: 1204,
            kubelet_started: now.wall,
            sequence: 0,
            dice: setting.seed | 1,
            rhythm: Rhythm::default(),
            remembered: HashMap::new(),
            mirrored: BTreeMap::new(),
            housekeeping: now.at,
            recorder: Recorder::default(),
            setting,
        };
        if let Some(before) = before {
            kubelet.remember(before);
        }
        kubelet.start_loop();
        kubelet.announce();
        kubelet.scan();
        kubelet.sweep();
        kubelet.settle();
        kubelet
    }

    /// Removes what earlier boots left and nothing refers to any more.
    fn sweep(&mut self) {
        self.remembered.clear();
        let ids: Vec<String> = self.records.iter().map(|r| r.view.id.clone()).collect();
        let uids: Vec<String> = self.pods.iter().map(|p| safe(&p.spec.uid)).collect();
        let state = Confined::new(&self.setting.state_dir);
        let sweep = |files: &Confined, dir: &str, stays: &dyn Fn(&str) -> bool| {
            for name in files.list(dir).unwrap_or_default() {
                if !stays(&name) {
                    let _ = files.remove_all(&format!("{dir}/{name}"));
                }
            }
        };
        sweep(&state, "/containers", &|name| {
            ids.iter().any(|id| id == name)
        });
        let of_pod = |name: &str| uids.iter().any(|uid| name.ends_with(uid.as_str()));
        sweep(&self.node, "/var/lib/kubelet/pods", &of_pod);
        // Only what a kubelet made: names in these directories end in a UID or an id.
        let logs = |name: &str| name.split('_').count() != 3 || of_pod(name);
        sweep(&self.node, "/var/log/pods", &logs);
        let links = |name: &str| {
            let id = name.strip_suffix(".log").and_then(|n| n.rsplit('-').next());
            id.is_none_or(|id| id.len() != 64 || ids.iter().any(|known| known == id))
        };
        sweep(&self.node, "/var/log/containers", &links);
    }

    /// What an earlier boot left: its containers all ended with the node.
    fn remember(&mut self, before: NodeSnapshot) {
        self.events = before.events.into();
        self.sequence = before.sequence;
        for mut view in before.containers {
            if view.state != ContainerState::Exited {
                view.state = ContainerState::Exited;
                view.finished = Some(before.time);
                view.exit_code = Some(255);
                view.reason = Some("Unknown".into());
                view.ready = false;
            }
            let record = Record {
                probes: Probes::default(),
                finished_at: Duration::ZERO,
                kill_at: None,
                term_at: None,
                last: false,
                oom_at: None,
                killed: None,
                view,
            };
            let uid = record.view.pod_uid.clone();
            self.remembered.entry(uid).or_default().push(record);
        }
    }

    pub(super) fn announce(&mut self) {
        self.journal
            .systemd("Started kubelet.service - kubelet: The Kubernetes Node Agent.");
        let version = crate::node::embedded::version::KUBERNETES;
        self.journal.info(
            "server.go:525",
            "Kubelet version",
            &[("kubeletVersion", version)],
        );
        self.journal.info(
            "server.go:527",
            "Golang settings",
            &[("GOGC", ""), ("GOMAXPROCS", ""), ("GOTRACEBACK", "")],
        );
        let path = [("path", crate::node::embedded::snapshot::MANIFESTS)];
        self.journal
            .info("kubelet.go:430", "Adding static pod path", &path);
        self.journal.info("server.go:1250", "Started kubelet", &[]);
    }

    /// Takes inputs in and does everything that is due; gives the effects to carry out.
    pub fn step(&mut self, now: Moment, inputs: Vec<Input>) -> Vec<Effect> {
        self.now = now;
        self.moved = !inputs.iter().all(is_good_news);
        self.journal.set_time(now);
        if self.active {
            // Read before the files are acted upon: a change in between gives another event. Only
            // the files of these events: another one that changed meanwhile was not acted upon yet.
            for input in &inputs {
                if let Input::File { name, .. } = input {
                    self.acted_on.refresh(&self.node, name);
                }
            }
        }
        for input in inputs {
            self.take(input);
        }
        if self.active && !self.shutting_down && self.next_scan <= now.at {
            self.acted_on = ManifestsRead::of(&self.node);
            self.scan();
            self.moved = true;
        }
        self.settle();
        std::mem::take(&mut self.effects)
    }

    fn take(&mut self, input: Input) {
        match input {
            Input::File { name, removed } => {
                if self.active && !self.shutting_down {
                    let (node, node_name) = (&self.node, &self.setting.node_name);
                    let set = self
                        .source
                        .event(node, node_name, &name, removed, &mut self.journal);
                    if let Some(set) = set {
                        self.reconcile(set);
                    }
                    self.scan_pending = self.source.unsettled;
                    self.hasten_scan();
                }
            }
            Input::Rescan => self.next_scan = self.now.at,
            Input::Exited { container, code } => self.exited(&container, code),
            Input::Probed {
                container,
                kind,
                answer,
            } => self.probed(&container, kind, answer),
            Input::Request(request) => self.requested(request),
            Input::Shutdown => {
                self.shutting_down = true;
                let running: Vec<String> = self
                    .records
                    .iter()
                    .filter(|r| r.view.state == ContainerState::Running)
                    .map(|r| r.view.id.clone())
                    .collect();
                for id in running {
                    self.terminate(&id, Duration::from_secs(30));
                }
            }
        }
    }

    /// In fast pace the scan that confirms (or undoes) a change follows it closely; otherwise
    /// scans keep their real period, so that an unchanged fault does not flood the journal.
    pub(super) fn hasten_scan(&mut self) {
        if self.setting.pace == Pace::Fast {
            self.next_scan = self.next_scan.min(self.now.at + self.scaled(SCAN));
        }
    }

    pub(super) fn scan(&mut self) {
        let set = self
            .source
            .scan(&self.node, &self.setting.node_name, &mut self.journal);
        if let Some(set) = set {
            self.reconcile(set);
        }
        self.scan_pending = false;
        self.next_scan = self.now.at + SCAN;
    }

    /// The set of pods the source has now: what is gone is removed first, then the new is added.
    fn reconcile(&mut self, set: Vec<Found>) {
        for index in 0..self.pods.len() {
            let Some(pod) = self.pods.get_mut(index) else {
                continue;
            };
            let wanted = set.iter().find(|f| f.pod.uid == pod.spec.uid);
            match (&pod.phase, wanted) {
                (Phase::Terminating, None) => pod.again = None,
                (Phase::Terminating, Some(found)) => pod.again = Some(found.clone()),
                (Phase::Terminated { .. }, _) | (_, Some(_)) => {}
                (_, None) => self.remove(index),
            }
        }
        for found in set {
            let known = self.pods.iter().any(|pod| {
                pod.spec.uid == found.pod.uid && !matches!(pod.phase, Phase::Terminated { .. })
            });
            if !known {
                self.add(found);
            }
        }
    }

    /// SyncLoop REMOVE: the containers get SIGTERM at once.
    fn remove(&mut self, index: usize) {
        let Some(pod) = self.pods.get_mut(index) else {
            return;
        };
        // A pod that never started has nothing to end, and is in nobody's way.
        pod.phase = match pod.phase {
            Phase::Queued { .. } | Phase::Rejected { .. } => {
                Phase::Terminated { gone: self.now.at }
            }
            _ => Phase::Terminating,
        };
        let uid = pod.spec.uid.clone();
        let grace = Duration::from_secs(pod.spec.grace_seconds);
        let running: Vec<(String, String)> = self
            .records
            .iter()
            .filter(|r| r.view.pod_uid == uid && r.view.state == ContainerState::Running)
            .map(|r| (r.view.id.clone(), r.view.name.clone()))
            .collect();
        for (id, name) in running {
            let text = format!("Stopping container {name}");
            self.event(&uid, Some(&name), "Normal", "Killing", &text);
            self.end_container(&id, grace, true);
        }
    }

    /// SyncLoop ADD.
    pub(super) fn add(&mut self, found: Found) {
        let spec = found.pod;
        // The same pod once more (its file was moved away and back): its dead containers count.
        let earlier = self.pods.iter().find(|pod| pod.spec.uid == spec.uid);
        let sandboxes = earlier.map_or(0, |pod| pod.sandboxes);
        self.pods.retain(|pod| pod.spec.uid != spec.uid);
        let others = self
            .pods
            .iter()
            .filter(|p| matches!(p.phase, Phase::Queued { .. } | Phase::Active { .. }))
            .map(|p| &*p.spec);
        let rejection = admission::check(&spec, &self.setting.node_name, others);
        let before_it = self.pods.iter().any(|p| {
            p.spec.full_name() == spec.full_name()
                && matches!(p.phase, Phase::Active { .. } | Phase::Terminating)
        });
        let now = self.now.at;
        let phase = if let Some(rejection) = &rejection {
            Phase::Rejected {
                reason: rejection.reason.to_owned(),
                message: rejection.message.clone(),
            }
        } else if before_it {
            let retry = now + self.jittered(WORKER_RETRY);
            let retry = self.tick(retry);
            Phase::Queued { retry }
        } else {
            Phase::Active { since: now }
        };
        let volumes_at = now + self.scaled(Duration::from_millis(100));
        let pod = Pod {
            path: found.path,
            start_time: None,
            volumes: spec
                .volumes
                .iter()
                .map(|v| VolumeWork {
                    name: v.name.clone(),
                    ready: false,
                    retry: volumes_at,
                    delay: Duration::ZERO,
                })
                .collect(),
            volumes_late: false,
            sandbox: None,
            sandboxes,
            work: spec
                .all_containers()
                .map(|c| Work {
                    name: c.name.clone(),
                    step: Step::Idle,
                    problem: None,
                    before: None,
                })
                .collect(),
            again: None,
            conditions: BTreeMap::new(),
            fingerprint: 0,
            look_again: Duration::ZERO,
            sandbox_up: Duration::ZERO,
            probed_since: None,
            wakes: Vec::new(),
            worker: Worker::default(),
            resync: now + RESYNC,
            phase,
            spec: spec.clone(),
        };
        self.pods.push(pod);
        if let Some(remembered) = self.remembered.remove(&spec.uid) {
            self.records.extend(remembered);
        }
        if let Some(rejection) = rejection {
            let text = rejection
                .message
                .trim_start_matches("Pod was rejected: ")
                .to_owned();
            self.event(&spec.uid, None, "Warning", rejection.reason, &text);
        }
    }

    /// Sends SIGTERM; SIGKILL follows after the grace period.
    pub(super) fn terminate(&mut self, id: &str, grace: Duration) {
        let kill_at = self.now.at + self.scaled(grace);
        if let Some(record) = self.records.iter_mut().find(|r| r.view.id == id)
            && record.view.state == ContainerState::Running
        {
            record.view.ready = false;
            record.kill_at = Some(record.kill_at.map_or(kill_at, |at| at.min(kill_at)));
            self.effects.push(Effect::Terminate(id.to_owned()));
        }
    }

    fn exited(&mut self, id: &str, code: i32) {
        let now = self.now;
        let Some(record) = self.records.iter_mut().find(|r| r.view.id == id) else {
            return;
        };
        if record.view.state == ContainerState::Exited {
            return;
        }
        let killed = record.killed;
        let code = match killed {
            None => code,
            Some(OTHER_SIGNAL) => 2,
            Some(_) => 137,
        };
        record.view.state = ContainerState::Exited;
        record.view.ready = false;
        record.view.finished = Some(now.wall);
        record.view.exit_code = Some(code);
        let reason = match killed {
            Some("OOMKilled") => "OOMKilled",
            _ if code == 0 => "Completed",
            _ => "Error",
        };
        record.view.reason = Some(reason.to_owned());
        record.finished_at = now.at;
        record.kill_at = None;
        record.term_at = None;
        record.oom_at = None;
        let (uid, name) = (record.view.pod_uid.clone(), record.view.name.clone());
        let noticed = self.relist_after(now.at);
        self.wake_at(&uid, &[noticed]);
        let pod = self.pods.iter().find(|p| p.spec.uid == uid);
        let spec = pod.map(|p| p.spec.clone());
        if let Some(container) = spec.as_ref().and_then(|s| s.container(&name)) {
            self.wake_by_probes(&uid, container, true);
        }
        for pod in self.pods.iter_mut().filter(|p| p.spec.uid == uid) {
            for work in &mut pod.work {
                if matches!(&work.step, Step::Running { id: it } | Step::PostStart { id: it, .. } if it == id)
                {
                    work.step = Step::Exited { noticed };
                }
            }
        }
    }

    fn probed(&mut self, id: &str, kind: ProbeKind, answer: ProbeAnswer) {
        let (now, pace) = (self.now.at, self.setting.pace);
        let Some(record) = self.records.iter_mut().find(|r| r.view.id == id) else {
            return;
        };
        let ok = match &answer {
            ProbeAnswer::Success => Some(true),
            ProbeAnswer::Failure(_) => Some(false),
            ProbeAnswer::Error(_) => None,
        };
        let before = (record.view.ready, record.probes.started());
        let health = (record.probes.started(), record.probes.ready());
        let verdict = record.probes.answer(kind, ok, now, pace);
        let changed = health != (record.probes.started(), record.probes.ready());
        if record.view.state != ContainerState::Running {
            return;
        }
        record.view.ready = record.probes.ready() && record.kill_at.is_none();
        self.moved |= before != (record.view.ready, record.probes.started());
        let (uid, name) = (record.view.pod_uid.clone(), record.view.name.clone());
        let terminating = record.kill_at.is_some();
        if changed {
            self.wake_at(&uid, &[now, now]);
        }
        match &answer {
            ProbeAnswer::Success => {}
            ProbeAnswer::Failure(text) => {
                let text = format!("{} probe failed: {text}", kind.title());
                self.event(&uid, Some(&name), "Warning", "Unhealthy", &text);
            }
            ProbeAnswer::Error(text) => {
                self.exec_failed(id, kind, text);
                let title = kind.title();
                let text = format!("{title} probe errored and resulted in unknown state: {text}");
                self.event(&uid, Some(&name), "Warning", "Unhealthy", &text);
            }
        }
        if verdict == Verdict::Restart && !terminating {
            let text = format!(
                "Container {name} failed {} probe, will be restarted",
                kind.word()
            );
            self.event(&uid, Some(&name), "Normal", "Killing", &text);
            let pod = self.pods.iter().find(|p| p.spec.uid == uid);
            let grace = Duration::from_secs(pod.map_or(30, |p| p.spec.grace_seconds));
            self.end_container(id, grace, false);
        }
    }

    /// The next time something is due.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        let mut earliest: Option<Duration> = None;
        let mut consider = |at: Duration| {
            earliest = Some(earliest.map_or(at, |e| e.min(at)));
        };
        for record in &self.records {
            if record.view.state == ContainerState::Running {
                record.kill_at.into_iter().for_each(&mut consider);
                let term_at = record.term_at.filter(|at| *at > self.now.at);
                term_at.into_iter().for_each(&mut consider);
                record.oom_at.into_iter().for_each(&mut consider);
                if self.active && record.kill_at.is_none() && record.killed.is_none() {
                    record.probes.deadline().into_iter().for_each(&mut consider);
                }
            }
        }
        if self.active && !self.shutting_down {
            consider(self.next_scan);
            self.recorder.deadline().into_iter().for_each(&mut consider);
            self.housekeeping_deadline()
                .into_iter()
                .for_each(&mut consider);
            self.pods
                .iter()
                .for_each(|pod| self.pod_deadlines(pod, &mut consider));
        }
        earliest
    }

    /// Journal lines since the last call.
    pub fn take_journal(&mut self) -> Vec<String> {
        self.journal.take()
    }

    /// Whether every process ended (after [`Input::Shutdown`]).
    #[must_use]
    pub fn all_ended(&self) -> bool {
        self.records
            .iter()
            .all(|r| r.view.state != ContainerState::Running)
    }

    pub(super) fn event(
        &mut self,
        uid: &str,
        container: Option<&str>,
        kind: &str,
        reason: &str,
        message: &str,
    ) {
        let time = self.now.wall;
        let same = self.events.iter_mut().rev().find(|e| {
            e.pod_uid == uid && e.reason == reason && e.message == message && e.kind == kind
        });
        if let Some(same) = same {
            same.count = same.count.saturating_add(1);
            same.last = time;
            let same = same.clone();
            self.record(&same);
            return;
        }
        let Some(pod) = self.pods.iter().find(|p| p.spec.uid == uid) else {
            return;
        };
        if self.events.len() >= EVENTS {
            self.events.pop_front();
        }
        let event = PodEvent {
            first: time,
            last: time,
            count: 1,
            pod_uid: uid.to_owned(),
            pod_name: pod.spec.name.clone(),
            pod_namespace: pod.spec.namespace.clone(),
            container: container.map(str::to_owned),
            kind: kind.to_owned(),
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        self.record(&event);
        self.events.push_back(event);
    }

    /// Forgets a container and everything it left on disk.
    pub(super) fn discard(&mut self, id: &str) {
        let Some(position) = self.records.iter().position(|r| r.view.id == id) else {
            return;
        };
        let record = self.records.remove(position);
        self.journal
            .info("scope.go:122", "RemoveContainer", &[("containerID", id)]);
        let view = &record.view;
        let _ = self.node.remove_all(&view.log_path);
        let _ = self.node.remove_all(&format!("{}.old", view.log_path));
        let _ = self.node.remove_all(&log_link(view));
        Confined::new(&self.setting.state_dir)
            .remove_all(&format!("/containers/{id}"))
            .unwrap_or_default();
    }

    pub(super) fn forget_pod(&mut self, uid: &str) {
        let gone: Vec<String> = self
            .records
            .iter()
            .filter(|r| r.view.pod_uid == uid)
            .map(|r| r.view.id.clone())
            .collect();
        // Most are removed twice: because they ended, and because their pod did.
        let twice = self.throw() % 8 < 6;
        for id in gone {
            if twice {
                let values = [("containerID", id.as_str())];
                self.journal
                    .info("scope.go:122", "RemoveContainer", &values);
            }
            self.discard(&id);
        }
        if let Some(position) = self.pods.iter().position(|p| p.spec.uid == uid) {
            let pod = self.pods.remove(position);
            let _ = self.node.remove_all(&log_dir(&pod.spec));
            volume::clean_up(&self.node, uid);
            let path = format!("/var/lib/kubelet/pods/{uid}/volumes");
            self.journal.info(
                "kubelet_volumes.go:161",
                "Cleaned up orphaned pod volumes dir",
                &[("podUID", uid), ("path", &path)],
            );
        }
    }

    pub(super) fn scaled(&self, real: Duration) -> Duration {
        self.setting.pace.scale(real)
    }

    /// Between the wait itself and half more, at this pace.
    pub(super) fn jittered(&mut self, real: Duration) -> Duration {
        let millis = u64::try_from(real.as_millis() / 2).unwrap_or(0);
        self.scaled(real) + self.dice_up_to(millis)
    }

    /// Something up to so many milliseconds of a real node, at this pace.
    pub(super) fn dice_up_to(&mut self, millis: u64) -> Duration {
        // xorshift: jitter needs no better dice, and tests need the same ones every time.
        let millis = self.throw() % millis.max(1);
        self.scaled(Duration::from_millis(millis))
    }

    pub(super) fn throw(&mut self) -> u64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        self.dice
    }

    pub(super) fn take_pid(&mut self) -> u32 {
        self.next_pid = self.next_pid.wrapping_add(37).max(1000);
        self.next_pid
    }
}

/// Directory of a pod's logs on the node.
pub(super) fn log_dir(pod: &StaticPod) -> String {
    format!(
        "/var/log/pods/{}_{}_{}",
        pod.namespace,
        pod.name,
        safe(&pod.uid)
    )
}

/// Whether an input confirms what is known: a probe that succeeded.
fn is_good_news(input: &Input) -> bool {
    matches!(
        input,
        Input::Probed {
            answer: ProbeAnswer::Success,
            ..
        }
    )
}

/// A UID as part of a path: a manifest may set any string as UID.
fn safe(uid: &str) -> String {
    uid.replace('/', "_")
}

/// The link under /var/log/containers.
pub(super) fn log_link(view: &ContainerSnapshot) -> String {
    format!(
        "/var/log/containers/{}_{}_{}-{}.log",
        view.pod_name, view.pod_namespace, view.name, view.id
    )
}
