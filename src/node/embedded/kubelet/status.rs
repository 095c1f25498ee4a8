//! What the kubelet reports: the status of each pod as the API shows it, and the snapshot.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::state::{Kubelet, Phase, Pod, Record, Step, Work};
use crate::manifest::Container;
use crate::node::embedded::runtime::image;
use crate::node::embedded::snapshot::{ContainerState, NodeSnapshot, PodSnapshot};

/// How long (on a real node) a running container may be unready and still count as starting.
const STARTING: Duration = Duration::from_secs(90);
/// The same in fast pace.
const STARTING_FAST: Duration = Duration::from_secs(4);

impl Kubelet {
    /// The state of the node now.
    pub fn snapshot(&mut self) -> NodeSnapshot {
        self.sequence += 1;
        let mut pods = Vec::new();
        for index in 0..self.pods.len() {
            pods.extend(self.pod_snapshot(index));
        }
        NodeSnapshot {
            schema_version: 1,
            sequence: self.sequence,
            time: self.now.wall,
            booted: self.booted,
            node_name: self.setting.node_name.clone(),
            node_ip: self.setting.node_ip.clone(),
            kubelet_active: self.active && !self.shutting_down,
            kubelet_pid: self.pid,
            kubelet_started: self.kubelet_started,
            manifests_hash: self.acted_on.hash(),
            busy: self.busy(),
            pods,
            containers: self.records.iter().map(|r| r.view.clone()).collect(),
            events: self.events.iter().cloned().collect(),
            sockets: Vec::new(),
        }
    }

    /// Whether something will change soon without anybody doing anything. A crash loop and a
    /// failing mount are states, not changes under way.
    fn busy(&self) -> bool {
        if !self.active || self.shutting_down {
            return false;
        }
        self.scan_pending || self.pods.iter().any(|pod| self.pod_busy(pod))
    }

    fn pod_busy(&self, pod: &Pod) -> bool {
        match pod.phase {
            Phase::Queued { .. } | Phase::Terminating => true,
            Phase::Rejected { .. } => false,
            Phase::Terminated { .. } => pod.again.is_some(),
            Phase::Active { .. } => {
                if pod.volumes.iter().any(|v| !v.ready) {
                    return pod.volumes.iter().any(|v| !v.ready && v.delay.is_zero());
                }
                pod.work
                    .iter()
                    .enumerate()
                    .any(|(number, work)| match &work.step {
                        Step::Idle => self.its_turn(pod, number),
                        Step::PostStart { .. }
                        | Step::Pulling { .. }
                        | Step::Create { .. }
                        | Step::Start { .. }
                        | Step::Exited { .. } => true,
                        Step::Running { id } => self.starting(id),
                        _ => false,
                    })
            }
        }
    }

    fn starting(&self, id: &str) -> bool {
        let limit = match self.setting.pace {
            crate::node::embedded::pace::Pace::Real => STARTING,
            crate::node::embedded::pace::Pace::Fast => STARTING_FAST,
        };
        self.records.iter().any(|r| {
            r.view.id == id
                && !r.view.ready
                && self.now.at.saturating_sub(r.probes.started_at()) < limit
        })
    }

    /// When `busy` will change by the clock alone.
    pub(super) fn busy_deadline(&self) -> Option<Duration> {
        let limit = match self.setting.pace {
            crate::node::embedded::pace::Pace::Real => STARTING,
            crate::node::embedded::pace::Pace::Fast => STARTING_FAST,
        };
        self.records
            .iter()
            .filter(|r| r.view.state == ContainerState::Running && !r.view.ready)
            .map(|r| r.probes.started_at() + limit)
            .filter(|at| *at > self.now.at)
            .min()
    }

    /// Whether the last step may have changed the snapshot; the clock alone may too
    /// ([`Kubelet::snapshot_changes_at`]).
    pub fn moved(&self) -> bool {
        self.moved
    }

    /// When the clock alone will change the snapshot next.
    pub fn snapshot_changes_at(&self) -> Option<Duration> {
        let steps = self.pods.iter().flat_map(|pod| &pod.work);
        let shown = steps.filter_map(|work| match &work.step {
            Step::PullBackOff { shown, .. } => Some(*shown),
            _ => None,
        });
        let shown = shown.filter(|at| *at > self.now.at).min();
        shown.into_iter().chain(self.busy_deadline()).min()
    }

    fn pod_snapshot(&mut self, index: usize) -> Option<PodSnapshot> {
        let pod = self.pods.get(index)?;
        if matches!(pod.phase, Phase::Terminated { .. }) {
            // Its containers may still be listed; the pod itself is gone from the kubelet.
            return None;
        }
        let (status, changed) = self.pod_status(pod);
        let snapshot = PodSnapshot {
            uid: pod.spec.uid.clone(),
            name: pod.spec.name.clone(),
            namespace: pod.spec.namespace.clone(),
            manifest_path: pod.path.clone(),
            pod: pod.spec.value.clone(),
            status,
            terminating: matches!(pod.phase, Phase::Terminating),
            sandbox: pod.sandbox.clone(),
        };
        if let Some(pod) = self.pods.get_mut(index) {
            pod.conditions = changed;
        }
        Some(snapshot)
    }

    /// `status` of a pod, and its conditions with the times they changed.
    fn pod_status(&self, pod: &Pod) -> (Value, BTreeMap<&'static str, (bool, Timestamp)>) {
        let mut status = Map::new();
        let mut conditions = pod.conditions.clone();
        if let Phase::Rejected { reason, message } = &pod.phase {
            status.insert("phase".into(), json!("Failed"));
            status.insert("message".into(), json!(message));
            status.insert("reason".into(), json!(reason));
            status.insert("startTime".into(), json!(self.now.wall.to_string()));
            return (Value::Object(status), conditions);
        }
        let Some(start_time) = pod.start_time else {
            status.insert("phase".into(), json!("Pending"));
            return (Value::Object(status), conditions);
        };
        let mut inits: Vec<Value> = pod
            .spec
            .all_containers()
            .zip(&pod.work)
            .map(|(container, work)| self.container_status(pod, container, work))
            .collect();
        let containers = inits.split_off(pod.spec.init_containers.len().min(inits.len()));
        let is_ready = |c: &&Value| c.get("ready") == Some(&Value::Bool(true));
        let name = |c: &Value| Some(c.get("name")?.as_str()?.to_owned());
        let counts = inits
            .iter()
            .filter(|c| name(c).is_some_and(|name| pod.spec.is_sidecar(&name)));
        let unready: Vec<String> = counts
            .chain(&containers)
            .filter(|c| !is_ready(c))
            .filter_map(name)
            .collect();
        let ready = unready.is_empty();
        let incomplete: Vec<&str> = (0..pod.spec.init_containers.len())
            .filter(|number| !self.initialized(pod, *number))
            .filter_map(|number| pod.spec.nth_container(number))
            .map(|container| container.name.as_str())
            .collect();
        let sandboxed = pod.sandbox.as_ref().is_some_and(|s| s.ready);
        for (kind, value) in [
            ("PodReadyToStartContainers", sandboxed),
            ("Initialized", incomplete.is_empty()),
            ("Ready", ready),
            ("ContainersReady", ready),
            ("PodScheduled", true),
        ] {
            let entry = conditions.entry(kind).or_insert((value, self.now.wall));
            if entry.0 != value {
                *entry = (value, self.now.wall);
            }
        }
        let order = [
            "PodReadyToStartContainers",
            "Initialized",
            "Ready",
            "ContainersReady",
            "PodScheduled",
        ];
        let list: Vec<Value> = order
            .iter()
            .filter_map(|kind| {
                conditions
                    .get(kind)
                    .map(|(value, time)| (kind, value, time))
            })
            .map(|(kind, value, time)| {
                let mut condition = Map::new();
                condition.insert("lastProbeTime".into(), Value::Null);
                condition.insert("lastTransitionTime".into(), json!(seconds(*time)));
                if !value && ["Ready", "ContainersReady"].contains(kind) {
                    let text = format!("containers with unready status: [{}]", unready.join(" "));
                    condition.insert("message".into(), json!(text));
                    condition.insert("reason".into(), json!("ContainersNotReady"));
                }
                if !value && *kind == "Initialized" {
                    let names = incomplete.join(" ");
                    let text = format!("containers with incomplete status: [{names}]");
                    condition.insert("message".into(), json!(text));
                    condition.insert("reason".into(), json!("ContainersNotInitialized"));
                }
                condition.insert(
                    "status".into(),
                    json!(if *value { "True" } else { "False" }),
                );
                condition.insert("type".into(), json!(kind));
                Value::Object(condition)
            })
            .collect();
        status.insert("phase".into(), json!(self.phase(pod)));
        status.insert("conditions".into(), Value::Array(list));
        status.insert("hostIP".into(), json!(self.setting.node_ip));
        status.insert("hostIPs".into(), json!([{"ip": self.setting.node_ip}]));
        if sandboxed && pod.spec.host_network {
            status.insert("podIP".into(), json!(self.setting.node_ip));
            status.insert("podIPs".into(), json!([{"ip": self.setting.node_ip}]));
        }
        status.insert("startTime".into(), json!(seconds(start_time)));
        if !inits.is_empty() {
            status.insert("initContainerStatuses".into(), Value::Array(inits));
        }
        status.insert("containerStatuses".into(), Value::Array(containers));
        status.insert("qosClass".into(), json!(quality(pod)));
        (Value::Object(status), conditions)
    }

    fn container_status(&self, pod: &Pod, container: &Container, work: &Work) -> Value {
        let mut own: Vec<&Record> = self
            .records
            .iter()
            .filter(|r| r.view.pod_uid == pod.spec.uid && r.view.name == container.name)
            .filter(|r| r.view.state != ContainerState::Created)
            .collect();
        own.sort_by_key(|r| r.view.attempt);
        let latest = own.pop();
        let creating = if pod.spec.init_containers.is_empty() {
            "ContainerCreating"
        } else {
            "PodInitializing"
        };
        let (state, last) = self.states(work, latest, own.pop(), creating);
        let running = latest.filter(|r| r.view.state == ContainerState::Running);
        let is_init = pod
            .spec
            .init_containers
            .iter()
            .any(|c| c.name == container.name);
        let ready = if is_init && !container.is_sidecar() {
            state.pointer("/terminated/exitCode") == Some(&json!(0))
        } else {
            running.is_some_and(|r| r.view.ready)
        };
        let started = running.is_some_and(|r| r.probes.started());
        let restarts = latest.map_or(0, |r| r.view.attempt);
        let digest = format!(
            "{}@{}",
            image::repository(&container.image),
            image::digest(&container.image)
        );
        let id = latest.map(|r| format!("containerd://{}", r.view.id));
        let mut status = Map::new();
        if let Some(id) = &id {
            status.insert("containerID".into(), json!(id));
        }
        status.insert("image".into(), json!(container.image));
        status.insert(
            "imageID".into(),
            json!(if id.is_some() { digest } else { String::new() }),
        );
        status.insert("lastState".into(), last);
        status.insert("name".into(), json!(container.name));
        status.insert("ready".into(), json!(ready));
        status.insert("restartCount".into(), json!(restarts));
        status.insert("started".into(), json!(started));
        status.insert("state".into(), state);
        Value::Object(status)
    }

    /// `state` and `lastState`.
    fn states(
        &self,
        work: &Work,
        latest: Option<&Record>,
        before: Option<&Record>,
        creating: &str,
    ) -> (Value, Value) {
        let waiting = |reason: &str, message: Option<&str>| {
            let mut waiting = Map::new();
            if let Some(message) = message {
                waiting.insert("message".into(), json!(message));
            }
            waiting.insert("reason".into(), json!(reason));
            json!({ "waiting": waiting })
        };
        let ended = |record: Option<&Record>| record.map_or(json!({}), terminated);
        let before = before.or(work.before.as_ref());
        let now = self.now.at;
        let failed_start = latest
            .filter(|r| r.view.reason.as_deref() == Some("StartError"))
            .and_then(|r| r.view.message.as_deref())
            .map(|text| ("RunContainerError", text));
        let hook = work
            .problem
            .as_ref()
            .map(|(reason, text)| (*reason, text.as_str()));
        let failed_start = failed_start.or(hook);
        match &work.step {
            Step::Running { .. } | Step::PostStart { .. } => match latest {
                Some(record) if record.view.state == ContainerState::Running => {
                    let started = record.view.started.unwrap_or(record.view.created);
                    (
                        json!({"running": {"startedAt": seconds(started)}}),
                        ended(before),
                    )
                }
                _ => (waiting(creating, None), ended(latest)),
            },
            Step::Pulling { .. } => (waiting(creating, None), ended(latest)),
            Step::PullBackOff { shown, text, .. } if now >= *shown => {
                let reference = latest.map(|r| r.view.image.clone());
                let reference = reference.unwrap_or_else(|| self.image_of(&work.name));
                let text = format!("Back-off pulling image \"{reference}\": ErrImagePull: {text}");
                (waiting("ImagePullBackOff", Some(&text)), ended(latest))
            }
            Step::PullBackOff { text, .. } => (waiting("ErrImagePull", Some(text)), ended(latest)),
            Step::Hopeless { reason, text } => (waiting(reason, Some(text)), ended(latest)),
            Step::CreateFailed { reason, text, .. } => (waiting(reason, Some(text)), ended(latest)),
            Step::BackOff {
                shown: true, text, ..
            } => (waiting("CrashLoopBackOff", Some(text)), ended(latest)),
            Step::Idle => (waiting(creating, None), ended(latest)),
            Step::Create { .. } | Step::Start { .. } if latest.is_none() => {
                (waiting(creating, None), json!({}))
            }
            Step::BackOff { .. }
            | Step::Create { .. }
            | Step::Start { .. }
            | Step::Exited { .. }
            | Step::Done => match (failed_start, latest) {
                (Some((reason, text)), _) => (waiting(reason, Some(text)), ended(latest)),
                (None, Some(_)) => (ended(latest), ended(before)),
                (None, None) => (waiting(creating, None), json!({})),
            },
        }
    }

    /// `phase` of a pod (`getPhase` in `pkg/kubelet/kubelet_pods.go`).
    fn phase(&self, pod: &Pod) -> &'static str {
        let inits = pod.spec.init_containers.len();
        if self.failed_for_good(pod) {
            return "Failed";
        }
        let of_pod = || {
            self.records
                .iter()
                .filter(|r| r.view.pod_uid == pod.spec.uid)
        };
        let begun = of_pod().any(|r| r.view.state != ContainerState::Created);
        let works = pod.work.iter().skip(inits);
        let waits = works.clone().any(|work| work.step == Step::Idle);
        if !begun || (waits && (0..inits).any(|number| !self.initialized(pod, number))) {
            return "Pending";
        }
        if works.clone().all(|work| work.step == Step::Done) {
            let mut codes = works.map(|work| self.last_code(&pod.spec.uid, &work.name));
            let failed = codes.any(|code| code.unwrap_or(0) != 0);
            return if failed { "Failed" } else { "Succeeded" };
        }
        "Running"
    }

    fn image_of(&self, container: &str) -> String {
        let mut found = self.pods.iter().filter_map(|p| p.spec.container(container));
        found.next().map(|c| c.image.clone()).unwrap_or_default()
    }
}

fn terminated(record: &Record) -> Value {
    let view = &record.view;
    let mut state = Map::new();
    state.insert(
        "containerID".into(),
        json!(format!("containerd://{}", view.id)),
    );
    state.insert("exitCode".into(), json!(view.exit_code.unwrap_or(0)));
    state.insert("finishedAt".into(), json!(view.finished.map(seconds)));
    if let Some(message) = &view.message {
        state.insert("message".into(), json!(message));
    }
    state.insert("reason".into(), json!(view.reason));
    // A process that never started has the zero time of Unix there.
    let started = view
        .started
        .map_or_else(|| "1970-01-01T00:00:00Z".to_owned(), seconds);
    state.insert("startedAt".into(), json!(started));
    json!({ "terminated": state })
}

/// `qosClass` (`pkg/apis/core/v1/helper/qos/qos.go`), without the distinction of Guaranteed, which
/// needs equal limits and requests for every resource of every container.
fn quality(pod: &Pod) -> &'static str {
    let mut any = false;
    let mut guaranteed = true;
    let (inits, own) = (pod.spec.init_containers.len(), pod.spec.containers.len());
    let of = |list: &'static str, count: usize| (0..count).map(move |index| (list, index));
    for (list, index) in of("initContainers", inits).chain(of("containers", own)) {
        let at = format!("/spec/{list}/{index}/resources");
        let of = |kind: &str| pod.spec.value.pointer(&format!("{at}/{kind}")).cloned();
        let (limits, requests) = (of("limits"), of("requests"));
        let has = |map: &Option<Value>, name: &str| map.as_ref().and_then(|m| m.get(name)).cloned();
        for name in ["cpu", "memory"] {
            let (limit, request) = (has(&limits, name), has(&requests, name));
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && limit == request;
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

/// A time as `metav1.Time` shows it.
pub(super) fn seconds(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
