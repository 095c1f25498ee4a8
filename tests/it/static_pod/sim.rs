//! A node on a fake clock: the real kubelet, and the real programs, run for real while the clock stands.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use ckslab::manifest::Probe;
use ckslab::node::embedded::apiserver::program::KubeApiServer;
use ckslab::node::embedded::cluster::bootstrap;
use ckslab::node::embedded::confine::Confined;
use ckslab::node::embedded::kubelet::journal::Moment;
use ckslab::node::embedded::kubelet::probe::ProbeAnswer;
use ckslab::node::embedded::kubelet::state::{Effect, Input, Kubelet, Setting};
use ckslab::node::embedded::kubelet::{ApiView, Mirror, prober};
use ckslab::node::embedded::machine::Machine;
use ckslab::node::embedded::pace::Pace;
use ckslab::node::embedded::process::{Output, Process, Program};
use ckslab::node::embedded::root;
use ckslab::node::embedded::runtime::log::ContainerLog;
use ckslab::node::embedded::snapshot::{ContainerSnapshot, MANIFESTS, PodEvent};
use ckslab::node::embedded::store::{Op, Store};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{scan_phase, text};

/// From the start of an API server until it answers: what a quiet machine needs.
const START_UP: Duration = Duration::from_secs(6);
/// From the start of an API server until it gives up on what it was given.
const FAILURE: Duration = Duration::from_millis(700);

/// The UID every mirror pod has here.
const MIRROR: &str = "70080ecd-af80-4032-874d-ac9758a67095";

/// The API server as the kubelet sees it, by the fake clock.
struct View {
    machine: Arc<Machine>,
    up: AtomicBool,
}

impl ApiView for View {
    fn serving(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }

    fn mirror(&self, namespace: &str, name: &str) -> Option<Mirror> {
        self.machine.mirror(namespace, name)
    }
}

/// The files of a node, made once.
static FILES: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let spec = root::Spec::new(0);
    std::fs::create_dir_all(dir.path().join("root")).unwrap();
    std::fs::create_dir_all(dir.path().join("state")).unwrap();
    root::create(&dir.path().join("root"), &dir.path().join("state"), &spec).unwrap();
    dir
});

/// The objects of a new cluster, made once.
static OBJECTS: LazyLock<Vec<(String, Value)>> = LazyLock::new(|| {
    bootstrap::entries(&bootstrap::Facts {
        node_ip: "172.18.0.2".into(),
        worker_ip: "172.18.0.3".into(),
        server: "https://172.18.0.2:6443".into(),
        ca_pem: String::new(),
        front_proxy_ca_pem: String::new(),
        now: "2026-11-24T07:00:00Z".parse().unwrap(),
    })
});

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.file_type().unwrap().is_file() {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// The output of a container: in its log on the node, and kept.
struct Kept {
    log: ContainerLog,
    lines: Mutex<Vec<String>>,
}

impl Kept {
    fn keep(&self, stream: &str, line: &str) {
        let lines = line.split('\n').map(|line| format!("{stream}: {line}"));
        self.lines.lock().unwrap().extend(lines);
    }
}

impl Output for Kept {
    fn stdout(&self, line: &str) {
        self.log.stdout(line);
        self.keep("stdout", line);
    }
    fn stderr(&self, line: &str) {
        self.log.stderr(line);
        self.keep("stderr", line);
    }
}

/// An API server that runs, or ran.
struct Server {
    terminate: CancellationToken,
    task: Option<JoinHandle<i32>>,
    output: Arc<Kept>,
    started: Duration,
}

/// A node with a fake clock.
pub(super) struct Sim {
    dir: tempfile::TempDir,
    pub(super) node: Confined,
    pub(super) kubelet: Kubelet,
    pub(super) now: Duration,
    pub(super) start: Timestamp,
    later: Vec<(Duration, Input)>,
    listing: BTreeMap<String, (u64, i64, i64)>,
    pub(super) journal: Vec<(Duration, String)>,
    runtime: tokio::runtime::Runtime,
    machine: Arc<Machine>,
    servers: BTreeMap<String, Server>,
    /// How long the recorded containers that failed took to do so: a matter of the machine.
    lives: VecDeque<Duration>,
    /// What a registered kubelet sees of the API server; `None` for a kubelet on its own.
    view: Option<Arc<View>>,
    /// Events as they were at the first edit.
    pub(super) before: Vec<PodEvent>,
    /// Containers seen, in order, in their latest state.
    pub(super) seen: Vec<ContainerSnapshot>,
    pub(super) old: String,
    old_end: Duration,
    /// Whether the first server was known to be ready at the first edit.
    ready: bool,
    /// When the first server refused connections.
    closed: Duration,
    /// When the first edit comes, since the node came up; scans come every 20 seconds.
    pub(super) t0: Duration,
    /// Whether SIGTERM is not enough (open watches keep the server alive).
    pub(super) stubborn: bool,
}

impl Sim {
    fn new(node_name: &str, stubborn: bool, seed: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (node_root, state_dir) = (dir.path().join("root"), dir.path().join("state"));
        std::fs::create_dir_all(&node_root).unwrap();
        std::fs::create_dir_all(&state_dir).unwrap();
        let spec = root::Spec {
            node_name: node_name.to_owned(),
            node_ip: "172.18.0.2".into(),
            api_port: 0,
        };
        copy(
            &FILES.path().join("root/etc/kubernetes"),
            &node_root.join("etc/kubernetes"),
        );
        let node = Confined::new(&node_root);
        // As on the recorded node: nothing is there yet that the cases are about.
        node.remove_all(MANIFESTS).unwrap();
        node.create_dir_all(MANIFESTS, 0o755).unwrap();
        node.remove_all("/var/log/kubernetes").unwrap_or_default();
        node.create_dir_all("/root", 0o700).unwrap();
        let machine = Arc::new(Machine {
            pace: Pace::Fast,
            node_name: spec.node_name.clone(),
            node_ip: spec.node_ip.clone(),
            api_port: 0,
            node_root: node_root.clone(),
            state_dir: state_dir.clone(),
            store: objects(),
            etcd_up: tokio::sync::watch::Sender::new(true),
            snapshots: tokio::sync::watch::Sender::new(0),
            api: tokio::sync::watch::Sender::new(None),
            containers: ckslab::node::embedded::containers::Containers::default(),
            sockets: ckslab::node::embedded::sockets::Sockets::default(),
        });
        let start: Timestamp = "2026-11-24T07:00:00Z".parse().unwrap();
        let view = stubborn.then(|| {
            Arc::new(View {
                machine: machine.clone(),
                up: AtomicBool::new(false),
            })
        });
        let setting = Setting {
            api: view.clone().map(|view| -> Arc<dyn ApiView> { view }),
            node_name: node_name.to_owned(),
            node_ip: spec.node_ip,
            pace: Pace::Real,
            node_root,
            state_dir,
            programs: vec!["kube-apiserver".into()],
            seed,
        };
        let moment = Moment {
            at: Duration::ZERO,
            wall: start,
        };
        let mut sim = Self {
            kubelet: Kubelet::new(setting, moment, None),
            dir,
            node,
            now: Duration::ZERO,
            start,
            later: Vec::new(),
            listing: BTreeMap::new(),
            journal: Vec::new(),
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap(),
            machine,
            servers: BTreeMap::new(),
            lives: VecDeque::new(),
            view,
            before: Vec::new(),
            seen: Vec::new(),
            old: String::new(),
            old_end: Duration::ZERO,
            ready: false,
            closed: Duration::ZERO,
            t0: Duration::ZERO,
            stubborn,
        };
        sim.listing = sim.list();
        sim
    }

    fn list(&self) -> BTreeMap<String, (u64, i64, i64)> {
        use std::os::unix::fs::MetadataExt;
        let names = self.node.list(MANIFESTS).unwrap_or_default();
        names
            .into_iter()
            .map(|name| {
                let m = self
                    .node
                    .symlink_metadata(&format!("{MANIFESTS}/{name}"))
                    .unwrap();
                (name, (m.ino(), m.mtime(), m.mtime_nsec()))
            })
            .collect()
    }

    /// What inotify would tell since the last call.
    fn changes(&mut self) -> Vec<Input> {
        let now = self.list();
        let mut inputs = Vec::new();
        for name in self.listing.keys().filter(|name| !now.contains_key(*name)) {
            let name = name.clone();
            inputs.push(Input::File {
                name,
                removed: true,
            });
        }
        for (name, state) in &now {
            if self.listing.get(name) != Some(state) {
                let name = name.clone();
                inputs.push(Input::File {
                    name,
                    removed: false,
                });
            }
        }
        self.listing = now;
        inputs
    }

    /// Lets the time pass up to `until`, doing everything on the way.
    fn run(&mut self, until: Duration) {
        for turn in 0.. {
            assert!(
                turn < 20_000,
                "the kubelet spins at {:?}: {:?}",
                self.now,
                self.kubelet.deadline()
            );
            let due = self.later.iter().map(|(at, _)| *at).min();
            let next = [due, self.kubelet.deadline()].into_iter().flatten().min();
            match next {
                Some(next) if next <= until => {
                    self.now = self.now.max(next);
                    let now = self.now;
                    let mut inputs = Vec::new();
                    self.later.retain(|(at, input)| {
                        if *at <= now {
                            inputs.push(input.clone());
                        }
                        *at > now
                    });
                    self.step(inputs);
                }
                _ => {
                    self.now = until;
                    self.step(Vec::new());
                    return;
                }
            }
        }
    }

    fn step(&mut self, inputs: Vec<Input>) {
        let wall = self.start.checked_add(self.now).unwrap();
        let moment = Moment { at: self.now, wall };
        self.look_at_api();
        // Probes alone change no container of interest.
        let mut quiet = inputs.iter().all(|i| matches!(i, Input::Probed { .. }));
        for effect in self.kubelet.step(moment, inputs) {
            quiet &= matches!(effect, Effect::Probe { .. });
            self.carry_out(effect);
        }
        let now = self.now;
        let lines = self.journal.len();
        self.journal.extend(
            self.kubelet
                .take_journal()
                .into_iter()
                .map(|line| (now, line)),
        );
        if quiet && self.journal.len() == lines {
            return;
        }
        for view in self.kubelet.snapshot().containers {
            match self.seen.iter_mut().find(|c| c.id == view.id) {
                Some(known) => *known = view,
                None => self.seen.push(view),
            }
        }
    }

    /// Whether the API server answers; when it does, its mirror pods are those of the kubelet.
    fn look_at_api(&mut self) {
        let Some(view) = self.view.clone() else {
            return;
        };
        let up = self.servers.values().any(|server| {
            server.task.is_some()
                && !server.terminate.is_cancelled()
                && self.now >= self.up_at(server)
        });
        // The first server went on answering for a moment: how long is part of the recording.
        let ending = up || (self.now < self.closed && self.now >= self.t0);
        view.up.store(ending, Ordering::Relaxed);
        if up {
            for pod in self.kubelet.snapshot().pods {
                let value = json!({"metadata": {
                    "uid": MIRROR,
                    "annotations": {"kubernetes.io/config.mirror": pod.uid},
                }});
                let key = format!("/registry/core/pods/{}/{}", pod.namespace, pod.name);
                let value = Arc::new(value);
                let put = Op::Put { key, value };
                self.machine.store.commit_blocking(vec![put]).unwrap();
            }
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let in_a_moment = |ms| self.now + Duration::from_millis(ms);
        match effect {
            Effect::Start(view, _) => self.start_server(*view),
            Effect::Terminate(container) if !self.stubborn => {
                // How long the first server took to shut down is part of the recording.
                let end = if container == self.old {
                    self.old_end
                } else {
                    Duration::ZERO
                };
                let end = end.max(in_a_moment(300)).min(in_a_moment(6000));
                let server = self.servers.get_mut(&container).unwrap();
                server.terminate.cancel();
                let code = self.runtime.block_on(server.task.take().unwrap()).unwrap();
                self.later.push((end, Input::Exited { container, code }));
            }
            Effect::Terminate(container) => {
                let server = &self.servers[&container];
                server.terminate.cancel();
                // It says what it lets go of, and waits.
                let last = "stopping ServiceCIDR Allocator Controller";
                self.runtime.block_on(async {
                    for _ in 0..400 {
                        let said = |line: &String| line.contains(last);
                        if server.output.lines.lock().unwrap().iter().any(said) {
                            break;
                        }
                        tokio::time::sleep(Duration::from_millis(5)).await;
                    }
                });
            }
            Effect::Kill(container) => {
                if let Some(task) = self.servers.get_mut(&container).and_then(|s| s.task.take()) {
                    task.abort();
                    let _ = self.runtime.block_on(task);
                }
                self.machine.api.send_replace(None);
                let end = in_a_moment(1);
                self.later.push((
                    end,
                    Input::Exited {
                        container,
                        code: 137,
                    },
                ));
            }
            Effect::Probe {
                container,
                kind,
                probe,
            } => {
                let answer = self.answer(&container, &probe);
                self.later.push((
                    in_a_moment(5),
                    Input::Probed {
                        container,
                        kind,
                        answer,
                    },
                ));
            }
        }
    }

    /// Runs the program until it serves or ends.
    fn start_server(&mut self, view: ContainerSnapshot) {
        let log = ContainerLog::create(self.node.clone(), &view.log_path).unwrap();
        let output = Arc::new(Kept {
            log,
            lines: Mutex::default(),
        });
        let terminate = CancellationToken::new();
        let state = self.dir.path().join("state");
        let process = Process {
            rootfs: Arc::new(view.rootfs(self.node.root(), &state)),
            argv: view.argv,
            output: output.clone(),
            terminate: terminate.clone(),
            pid: view.pid,
            own_network: view.own_network,
        };
        let mut api = self.machine.api.subscribe();
        let program = KubeApiServer::new(self.machine.clone());
        let mut task = self
            .runtime
            .spawn(async move { program.run(process).await });
        let ended = self.runtime.block_on(async {
            tokio::select! {
                code = &mut task => Some(code.unwrap()),
                _ = api.wait_for(Option::is_some) => None,
            }
        });
        if let Some(code) = ended {
            let container = view.id.clone();
            let life = self.lives.pop_front().unwrap_or(FAILURE);
            let end = self.now + life;
            self.later.push((end, Input::Exited { container, code }));
        }
        let server = Server {
            terminate,
            task: ended.is_none().then_some(task),
            output,
            started: self.now,
        };
        self.servers.insert(view.id, server);
    }

    fn answer(&self, container: &str, probe: &Probe) -> ProbeAnswer {
        let server = self.servers.get(container);
        let up = server.is_some_and(|server| self.now >= self.up_at(server));
        let listening = if up {
            self.kubelet.listening()
        } else {
            Vec::new()
        };
        let view = self.seen.iter().find(|c| c.id == container).unwrap();
        self.runtime
            .block_on(prober::answer(&self.machine, view, probe, &listening))
    }

    /// When a server answers. The first edit came when the first server had just come up.
    fn up_at(&self, server: &Server) -> Duration {
        let quiet = server.started + START_UP;
        if server.started < self.t0 && !self.ready {
            quiet.max(self.t0.saturating_sub(Duration::from_secs(1)))
        } else {
            quiet
        }
    }

    /// What a container wrote: stream and line.
    pub(super) fn log(&self, container: &str) -> Vec<String> {
        let server = self.servers.get(container);
        server.map_or(Vec::new(), |s| s.output.lines.lock().unwrap().clone())
    }

    fn perform(&mut self, op: &Value) {
        let manifest_path = text(op, "/path");
        match text(op, "/op") {
            "write" => {
                let mode = u32::from_str_radix(text(op, "/mode"), 8).unwrap_or(0o644);
                let content = text(op, "/content").as_bytes();
                self.node
                    .write_atomic(manifest_path, content, mode)
                    .unwrap();
            }
            "mkdir" => self.node.create_dir_all(manifest_path, 0o755).unwrap(),
            "mv" => self
                .node
                .rename(text(op, "/args/0"), text(op, "/args/1"))
                .unwrap(),
            "rm" => self.node.remove_all(text(op, "/args/0")).unwrap(),
            "touch" => {
                let path = text(op, "/args/0");
                let bytes = self.node.read(path, 1 << 20).unwrap();
                self.node.write_atomic(path, &bytes, 0o600).unwrap();
            }
            "sh" => {
                let root = self.node.root().to_str().unwrap();
                let script = text(op, "/script").replace(" /etc/", &format!(" {root}/etc/"));
                assert!(!script.contains(" /root"), "{script}");
                let done = std::process::Command::new("sh")
                    .args(["-c", &script])
                    .status();
                assert!(done.unwrap().success());
            }
            "sleep" | "wait_down" | "wait_ready" => {}
            other => panic!("unknown step {other}"),
        }
    }

    /// What a case looks like at its end.
    pub(super) fn replay(case: &Value, stubborn: bool, baseline: &str, seed: u64) -> Sim {
        let pod = text(case, "/summary/pods_at_end/0/pod");
        let node_name = pod
            .strip_prefix("kube-apiserver-")
            .unwrap_or("cks-control-plane");
        let mut sim = Sim::new(node_name, stubborn, seed);
        sim.t0 = Duration::from_secs_f64(80.0 - scan_phase(case));
        // The first server was started as long before the edit as in the recording.
        let containers = case["containers"].as_array().unwrap();
        let old = containers.iter().find(|c| c["is_baseline"] == true);
        sim.ready = was_ready(case);
        let created = old.and_then(|c| c["created_t"].as_f64());
        let age = match created {
            // A cluster had written its events before.
            _ if stubborn => 50.0,
            Some(created) => age(case, created).clamp(6.0, sim.t0.as_secs_f64() - 1.0),
            None => 50.0,
        };
        sim.run(sim.t0 - Duration::from_secs_f64(age));
        let manifest = format!("{MANIFESTS}/kube-apiserver.yaml");
        sim.node
            .write_atomic(&manifest, baseline.as_bytes(), 0o600)
            .unwrap();
        let inputs = sim.changes();
        sim.step(inputs);
        sim.run(sim.t0);
        let recorded = |c: &&Value| c["is_baseline"] == false;
        sim.lives = containers
            .iter()
            .filter(recorded)
            .map(|c| Some(c["finished_t"].as_f64()? - c["started_t"].as_f64()?))
            .map(|life| Duration::from_secs_f64(life.unwrap_or(0.7).clamp(0.2, 6.0)))
            .collect();
        let end = case
            .pointer("/summary/old_container/0/finished_t")
            .and_then(Value::as_f64);
        sim.old_end = end.map_or(Duration::ZERO, |end| sim.at(end));
        let mut polls = case["readyz"].as_array().into_iter().flatten();
        let closed = polls.find(|poll| text(poll, "/state") == "connection refused");
        // It was asked every half a second, and took what was said at the edit itself.
        let closed = closed.and_then(|poll| poll["t"].as_f64()).unwrap_or(0.0) - 0.5;
        sim.closed = sim.at(closed.max(0.2));
        sim.old = sim.seen.last().unwrap().id.clone();
        sim.before = sim.kubelet.snapshot().events;
        for op in case
            .get("setup")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            sim.perform(op);
        }
        for op in case
            .get("steps")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            sim.run(sim.at(op.get("t").and_then(Value::as_f64).unwrap_or(0.0)));
            sim.perform(op);
            let inputs = sim.changes();
            sim.step(inputs);
        }
        sim.run(sim.at(case.get("observed_s").and_then(Value::as_f64).unwrap()));
        sim
    }

    pub(super) fn seconds(&self, time: Option<Timestamp>) -> Option<f64> {
        let since = time?.duration_since(self.start).as_secs_f64();
        Some(since - self.t0.as_secs_f64())
    }

    fn at(&self, seconds: f64) -> Duration {
        self.t0 + Duration::from_secs_f64(seconds.max(0.0))
    }
}

/// Whether the kubelet knew the first server to be ready.
fn was_ready(case: &Value) -> bool {
    let ready = case.pointer("/pod_status/0/pods/0/containers/0/ready");
    ready == Some(&Value::Bool(true))
}

/// How long before the edit the recorded kubelet began with the first pod: its probe workers tick since
/// then, and tell.
fn age(case: &Value, created: f64) -> f64 {
    if was_ready(case) {
        return (0.7 - created).max(50.0);
    }
    let lines = case["kubelet_log_higher_verbosity"].as_array().unwrap();
    let startup = lines.iter().find(|e| {
        let line = text(e, "/line");
        line.contains("SyncLoop (probe)") && line.contains("probe=\"startup\"")
    });
    let tick = startup.and_then(|e| e["t"].as_f64()).filter(|t| *t < 10.0);
    match tick {
        Some(tick) => 10.0 * ((tick - created + 0.1) / 10.0).ceil() - tick + 0.05,
        None => 0.7 - created,
    }
}

/// The objects of a new cluster, in a store.
fn objects() -> Store {
    let store = Store::in_memory();
    let rules = OBJECTS.iter().filter(|(key, _)| key.contains("/rbac"));
    let puts = rules.map(|(key, value)| Op::Put {
        key: key.clone(),
        value: Arc::new(value.clone()),
    });
    store.commit_blocking(puts.collect()).unwrap();
    store
}
