//! A kubelet on a fake clock, whose control-plane programs run until SIGTERM.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use crate::node::embedded::confine::Confined;
use crate::node::embedded::kubelet::ApiView;
use crate::node::embedded::kubelet::journal::Moment;
use crate::node::embedded::kubelet::probe::ProbeAnswer;
use crate::node::embedded::kubelet::state::{Effect, Input, Kubelet, Setting};
use crate::node::embedded::pace::Pace;
use crate::node::embedded::runtime::stand_in;
use crate::node::embedded::snapshot::{ContainerSnapshot, MANIFESTS, NodeSnapshot, PodSnapshot};

/// A node of which only the kubelet is there, at real pace.
pub(super) struct Node {
    _dir: tempfile::TempDir,
    pub(super) files: Confined,
    pub(super) kubelet: Kubelet,
    pub(super) now: Duration,
    later: Vec<(Duration, Input)>,
    pub(super) journal: Vec<String>,
    /// What happened to processes, and when: `3.1 start web`, `40.0 term web`, `70.0 kill web`.
    pub(super) processes: Vec<(f64, String)>,
    /// What a probe is answered.
    pub(super) answer: fn(&ContainerSnapshot) -> ProbeAnswer,
    /// Containers that do not end at SIGTERM.
    pub(super) stubborn: Vec<&'static str>,
}

impl Node {
    /// With a kubelet on its own.
    pub(super) fn new() -> Self {
        Self::with(None)
    }

    /// With a kubelet that is registered with an API server.
    pub(super) fn of_cluster(api: Arc<dyn ApiView>) -> Self {
        Self::with(Some(api))
    }

    fn with(api: Option<Arc<dyn ApiView>>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (node_root, state_dir) = (dir.path().join("root"), dir.path().join("state"));
        std::fs::create_dir_all(&node_root).unwrap();
        std::fs::create_dir_all(&state_dir).unwrap();
        let files = Confined::new(&node_root);
        files.create_dir_all(MANIFESTS, 0o755).unwrap();
        let setting = Setting {
            api,
            node_name: "node".into(),
            node_ip: "172.18.0.2".into(),
            pace: Pace::Real,
            node_root,
            state_dir,
            programs: vec!["kube-apiserver".into()],
            seed: 7,
        };
        let moment = Moment {
            at: Duration::ZERO,
            wall: wall(Duration::ZERO),
        };
        Self {
            kubelet: Kubelet::new(setting, moment, None),
            _dir: dir,
            files,
            now: Duration::ZERO,
            later: Vec::new(),
            journal: Vec::new(),
            processes: Vec::new(),
            answer: |_| ProbeAnswer::Success,
            stubborn: Vec::new(),
        }
    }

    /// Writes `NAME.yaml`: a pod of this name and `spec` (flow style), in the default namespace.
    pub(super) fn pod(&mut self, name: &str, spec: &str) {
        let text = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: default}}\nspec: {spec}\n"
        );
        self.write(&format!("{name}.yaml"), &text);
    }

    pub(super) fn write(&mut self, file: &str, text: &str) {
        let path = format!("{MANIFESTS}/{file}");
        self.files
            .write_atomic(&path, text.as_bytes(), 0o600)
            .unwrap();
        self.step(vec![Input::File {
            name: file.to_owned(),
            removed: false,
        }]);
    }

    pub(super) fn remove(&mut self, file: &str) {
        self.files
            .remove_file(&format!("{MANIFESTS}/{file}"))
            .unwrap();
        self.step(vec![Input::File {
            name: file.to_owned(),
            removed: true,
        }]);
    }

    /// Lets so many seconds pass.
    pub(super) fn pass(&mut self, seconds: f64) {
        let until = self.now + Duration::from_secs_f64(seconds);
        for turn in 0.. {
            assert!(turn < 20_000, "the kubelet spins at {:?}", self.now);
            let input = self.later.iter().map(|(at, _)| *at).min();
            let next = [input, self.kubelet.deadline()].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= until) else {
                break;
            };
            self.now = self.now.max(next);
            let now = self.now;
            let (due, later) = std::mem::take(&mut self.later)
                .into_iter()
                .partition(|(at, _)| *at <= now);
            self.later = later;
            let due: Vec<(Duration, Input)> = due;
            self.step(due.into_iter().map(|(_, input)| input).collect());
        }
        self.now = until;
        self.step(Vec::new());
    }

    fn step(&mut self, inputs: Vec<Input>) {
        let moment = Moment {
            at: self.now,
            wall: wall(self.now),
        };
        for effect in self.kubelet.step(moment, inputs) {
            self.carry_out(effect);
        }
        self.journal.extend(self.kubelet.take_journal());
    }

    fn carry_out(&mut self, effect: Effect) {
        let mut note = |what: &str, name: &str| {
            let seconds = (self.now.as_secs_f64() * 10.0).round() / 10.0;
            self.processes.push((seconds, format!("{what} {name}")));
        };
        let exits = |id: &str, code: i32| Input::Exited {
            container: id.to_owned(),
            code,
        };
        let soon = self.now + Duration::from_millis(100);
        match effect {
            Effect::Start(view, program) => {
                note("start", &view.name);
                let ending = stand_in::ending(&view.image, &view.argv);
                if let Some(ending) = ending.filter(|_| program.is_empty()) {
                    self.later
                        .push((soon + ending.after, exits(&view.id, ending.code)));
                }
            }
            Effect::Terminate(id) => {
                let name = self.kubelet.container(&id).unwrap().name.clone();
                note("term", &name);
                if !self.stubborn.contains(&name.as_str()) {
                    self.later.push((soon, exits(&id, 0)));
                }
            }
            Effect::Kill(id) => {
                note("kill", &self.kubelet.container(&id).unwrap().name);
                self.later.push((soon, exits(&id, 137)));
            }
            Effect::Probe {
                container, kind, ..
            } => {
                let answer = (self.answer)(self.kubelet.container(&container).unwrap());
                let answered = Input::Probed {
                    container,
                    kind,
                    answer,
                };
                self.later
                    .push((self.now + Duration::from_millis(5), answered));
            }
        }
    }

    pub(super) fn snapshot(&mut self) -> NodeSnapshot {
        self.kubelet.snapshot()
    }

    /// The pod of this name that is not being ended.
    pub(super) fn status(&mut self, name: &str) -> PodSnapshot {
        let pods = self.snapshot().pods;
        let mut own = pods
            .into_iter()
            .filter(|p| p.name == format!("{name}-node"));
        own.find(|p| !p.terminating).unwrap()
    }

    /// Events of all pods: `Warning BackOff MESSAGE`.
    pub(super) fn events(&mut self) -> Vec<String> {
        let events = self.snapshot().events;
        events
            .iter()
            .map(|e| format!("{} {} {}", e.kind, e.reason, e.message))
            .collect()
    }

    /// What happened to processes, without times.
    pub(super) fn order(&self) -> Vec<&str> {
        self.processes
            .iter()
            .map(|(_, what)| what.as_str())
            .collect()
    }

    pub(super) fn time_of(&self, what: &str) -> f64 {
        let found = self.processes.iter().find(|(_, it)| it == what);
        found
            .unwrap_or_else(|| panic!("no {what}: {:?}", self.processes))
            .0
    }

    /// Whether the journal has a line with all these parts.
    pub(super) fn says(&self, parts: &[&str]) -> bool {
        let all = |line: &&String| parts.iter().all(|part| line.contains(part));
        self.journal.iter().any(|line| all(&line))
    }
}

fn wall(at: Duration) -> Timestamp {
    let start: Timestamp = "2026-11-24T07:00:00Z".parse().unwrap();
    start.checked_add(at).unwrap()
}

/// A text of a JSON value.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}
