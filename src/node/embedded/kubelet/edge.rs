//! The edge of the kubelet: carries out what the state machine decides.

use std::collections::HashMap;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use jiff::Timestamp;
use notify::event::{EventKind, ModifyKind, RenameMode};
use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::journal::Moment;
use super::probe::ProbeAnswer;
use super::prober;
use super::state::{Effect, Input, Kubelet, Request, Setting};
use crate::node::embedded::confine::Confined;
use crate::node::embedded::machine::Machine;
use crate::node::embedded::process::{Output, Process, Programs};
use crate::node::embedded::runtime::log::ContainerLog;
use crate::node::embedded::runtime::stand_in;
use crate::node::embedded::snapshot::{
    ContainerSnapshot, ContainerState, MANIFESTS, NodeSnapshot, base_name,
};
use crate::node::embedded::workload::Workload;

/// Directory of requests from node tools, within the state directory.
pub const REQUESTS: &str = "requests";
/// A journal grows to at most this much; then its older half goes.
const JOURNAL_BYTES: u64 = 8 << 20;
/// How long a node that shuts down waits for its processes.
const SHUTDOWN: Duration = Duration::from_secs(5);
/// A snapshot is compared with the written one at least this often, whatever the kubelet says.
const SNAPSHOT_AT_LEAST: Duration = Duration::from_secs(2);

/// What wakes the loop.
enum Wake {
    Input(Input),
    /// Something happened in the requests directory.
    Requests,
    /// The manifests directory itself went away or came back.
    Watch,
}

/// A process that runs.
struct Running {
    terminate: CancellationToken,
    abort: AbortHandle,
}

struct Edge {
    machine: Arc<Machine>,
    programs: Programs,
    kubelet: Kubelet,
    processes: HashMap<String, Running>,
    wake: UnboundedSender<Wake>,
    watcher: Option<notify::RecommendedWatcher>,
    /// The directory that is watched, by inode; `None` when there is none.
    watched: Option<u64>,
    start: Instant,
    written: Option<NodeSnapshot>,
    /// The latest snapshot could not be written (a full disk).
    unsaved: bool,
    /// When the snapshot is taken again though nothing moved.
    snapshot_due: Option<Duration>,
    /// Journal lines that a full disk did not take yet.
    unwritten: Vec<String>,
}

/// Runs the kubelet of a machine until `shutdown`, then ends its containers.
pub async fn run(machine: Arc<Machine>, programs: Programs, shutdown: CancellationToken) {
    let (wake, woken) = unbounded_channel();
    let _ = std::fs::create_dir_all(machine.state_dir.join(REQUESTS));
    let before = NodeSnapshot::load_runtime(&machine.state_dir);
    let start = Instant::now();
    let setting = Setting {
        node_name: machine.node_name.clone(),
        node_ip: machine.node_ip.clone(),
        pace: machine.pace,
        node_root: machine.node_root.clone(),
        state_dir: machine.state_dir.clone(),
        programs: programs.names().map(str::to_owned).collect(),
        api: Some(machine.clone()),
        seed: u64::from(Timestamp::now().subsec_nanosecond().unsigned_abs()),
    };
    let watcher = watcher(&machine, wake.clone());
    let now = Moment {
        at: Duration::ZERO,
        wall: Timestamp::now(),
    };
    let mut edge = Edge {
        kubelet: Kubelet::new(setting, now, before),
        machine,
        programs,
        processes: HashMap::new(),
        wake,
        watcher,
        watched: None,
        start,
        written: None,
        unsaved: false,
        snapshot_due: None,
        unwritten: Vec::new(),
    };
    // Watched first, then looked at once more: nothing written in between is missed.
    edge.watch();
    edge.advance(vec![Input::Rescan]);
    edge.turn(woken, shutdown).await;
}

impl Edge {
    async fn turn(&mut self, mut woken: UnboundedReceiver<Wake>, shutdown: CancellationToken) {
        let mut ending: Option<Instant> = None;
        let mut sockets = self.machine.sockets.subscribe();
        loop {
            let deadline = self.deadline(ending);
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if ending.is_none() => {
                    ending = Some(Instant::now() + SHUTDOWN);
                    batch.push(Wake::Input(Input::Shutdown));
                }
                received = woken.recv() => batch.extend(received),
                // The machine, and so the sender, outlives this.
                _ = sockets.changed() => self.snapshot_due = None,
                () = tokio::time::sleep_until(deadline) => {}
            }
            // What arrived together is handled together.
            while let Ok(more) = woken.try_recv() {
                batch.push(more);
            }
            let mut inputs = Vec::new();
            for wake in batch {
                match wake {
                    Wake::Input(input) => inputs.push(input),
                    Wake::Requests => {
                        inputs.extend(self.requests().into_iter().map(Input::Request))
                    }
                    Wake::Watch => inputs.push(Input::Rescan),
                }
            }
            if self.watch() {
                inputs.push(Input::Rescan);
            }
            self.advance(inputs);
            if let Some(end) = ending
                && (self.kubelet.all_ended() || Instant::now() >= end)
            {
                for (_, running) in self.processes.drain() {
                    running.abort.abort();
                }
                self.release();
                return;
            }
        }
    }

    fn deadline(&self, ending: Option<Instant>) -> Instant {
        let now = Instant::now();
        // A disk that was full is tried again; without one there is always the next scan.
        let retry =
            (!self.unwritten.is_empty() || self.unsaved).then(|| now + Duration::from_secs(1));
        // Nothing tells when a directory that is not there comes back.
        let lost = self
            .watched
            .is_none()
            .then(|| now + self.machine.pace.scale(Duration::from_secs(20)));
        // A time no clock can show never comes.
        let due = self
            .kubelet
            .next_deadline()
            .and_then(|at| self.start.checked_add(at));
        let earliest = [retry, lost, due, ending].into_iter().flatten().min();
        let earliest = earliest.unwrap_or_else(|| now + Duration::from_secs(60));
        // Never more than a few hundred turns a second, whatever a deadline says.
        earliest.max(now + Duration::from_millis(2))
    }

    fn now(&self) -> Moment {
        Moment {
            at: self.start.elapsed(),
            wall: Timestamp::now(),
        }
    }

    fn advance(&mut self, inputs: Vec<Input>) {
        let now = self.now();
        let effects = self.kubelet.step(now, inputs);
        let moved = self.kubelet.moved()
            || self.snapshot_due.is_none_or(|due| due <= now.at)
            || effects.iter().any(|e| !matches!(e, Effect::Probe { .. }));
        for effect in effects {
            self.carry_out(effect);
        }
        self.write_journal();
        // Most turns of a healthy node only probe: they cost next to nothing.
        if moved || self.unsaved {
            self.write_snapshot();
            let latest = now.at + SNAPSHOT_AT_LEAST;
            let by_clock = self.kubelet.snapshot_changes_at().unwrap_or(latest);
            self.snapshot_due = Some(by_clock.min(latest));
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Start(view, program) => self.start_process(*view, &program),
            Effect::Terminate(id) => {
                if let Some(running) = self.processes.get(&id) {
                    running.terminate.cancel();
                }
            }
            Effect::Kill(id) => {
                if let Some(running) = self.processes.remove(&id) {
                    running.abort.abort();
                }
                let _ = self.wake.send(Wake::Input(Input::Exited {
                    container: id,
                    code: 137,
                }));
                self.release();
            }
            Effect::Probe {
                container,
                kind,
                probe,
            } => {
                let wake = self.wake.clone();
                let machine = self.machine.clone();
                let view = self.view(&container);
                let mut listening = self.kubelet.listening();
                // It says itself since when and until when.
                let open = self.machine.sockets.open();
                listening.retain(|listener| {
                    listener.program != "kube-apiserver"
                        || open.iter().any(|socket| socket.port == listener.port)
                });
                tokio::spawn(async move {
                    let answer = match view {
                        Some(view) => prober::answer(&machine, &view, &probe, &listening).await,
                        None => ProbeAnswer::Error("container not found".into()),
                    };
                    let _ = wake.send(Wake::Input(Input::Probed {
                        container,
                        kind,
                        answer,
                    }));
                });
            }
        }
    }

    fn view(&self, id: &str) -> Option<ContainerSnapshot> {
        self.kubelet.container(id).cloned()
    }

    fn start_process(&mut self, view: ContainerSnapshot, program: &str) {
        let node = Confined::new(&self.machine.node_root);
        let log = ContainerLog::create(node.clone(), &view.log_path);
        let output: Arc<dyn Output> = Arc::new(log.unwrap_or_else(|_| ContainerLog::discard(node)));
        let terminate = CancellationToken::new();
        let (image, argv, pace) = (view.image.clone(), view.argv.clone(), self.machine.pace);
        let process = Process {
            rootfs: Arc::new(view.rootfs(&self.machine.node_root, &self.machine.state_dir)),
            output: output.clone(),
            terminate: terminate.clone(),
            pid: view.pid,
            own_network: view.own_network,
            argv: view.argv,
        };
        let wake = self.wake.clone();
        let id = view.id.clone();
        let program = self.programs.get(program);
        let ends = terminate.clone();
        let task = tokio::spawn(async move {
            let code = match program {
                Some(program) => {
                    let run = AssertUnwindSafe(async move { program.run(process).await });
                    run.catch_unwind().await.unwrap_or_else(|panic| {
                        let text = panic
                            .downcast_ref::<String>()
                            .cloned()
                            .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
                        output.stderr(&format!("panic: {}", text.unwrap_or_default()));
                        2
                    })
                }
                // Images the node only pretends to have: the process idles until SIGTERM.
                None => {
                    let ending = stand_in::ending(&image, &argv);
                    for line in ending.iter().flat_map(|ending| &ending.lines) {
                        output.stdout(line);
                    }
                    let ended = async {
                        match &ending {
                            Some(ending) => tokio::time::sleep(pace.scale(ending.after)).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = ends.cancelled() => 0,
                        () = ended => ending.as_ref().map_or(0, |ending| ending.code),
                    }
                }
            };
            let _ = wake.send(Wake::Input(Input::Exited {
                container: id,
                code,
            }));
        });
        let running = Running {
            terminate,
            abort: task.abort_handle(),
        };
        self.processes.insert(view.id, running);
    }

    /// What a killed program cannot put right itself: nobody may find it still up.
    fn release(&self) {
        if self.kubelet.running("kube-apiserver").is_none() {
            self.machine
                .api
                .send_if_modified(|api| api.take().is_some());
        }
        if self.kubelet.running("etcd").is_none() {
            self.machine
                .etcd_up
                .send_if_modified(|up| std::mem::replace(up, false));
        }
    }

    /// Requests that node tools left; each is a file.
    fn requests(&self) -> Vec<Request> {
        let dir = Confined::new(&self.machine.state_dir.join(REQUESTS));
        let mut requests = Vec::new();
        for name in dir.list("/").unwrap_or_default() {
            if name.starts_with('.') || !name.ends_with(".json") {
                continue;
            }
            let bytes = dir.read(&format!("/{name}"), 64 << 10);
            // Taken or unreadable: either way it is done with.
            let _ = dir.remove_all(&format!("/{name}"));
            if let Ok(bytes) = bytes {
                let request = serde_json::from_slice::<Request>(&bytes).ok();
                requests.extend(request.filter(|request| !self.of_workload(request)));
            }
        }
        requests
    }

    /// Whether a request is about a container of a pod that is not static; if so, what it asks for is done.
    fn of_workload(&self, request: &Request) -> bool {
        let (id, code) = match request {
            Request::StopContainer(id, 0) => (id, 137),
            Request::StopContainer(id, _) | Request::StopSandbox(id) => (id, 0),
            Request::RemoveContainer(id) | Request::RemoveSandbox(id) => (id, 137),
            Request::Signal(id, signal) => (id, 128 + *signal),
            _ => return false,
        };
        let workload = Workload::load(&self.machine.state_dir);
        let mut known = false;
        for container in workload.containers {
            if container.id == *id || container.sandbox_id == *id {
                known = true;
                if container.state == ContainerState::Running {
                    let (pod, name) = (&container.pod_uid, &container.name);
                    self.machine.containers.exit(pod, name, code);
                }
            }
        }
        known
    }

    /// Watches the manifests directory that is there now; whether that is another one than before.
    fn watch(&mut self) -> bool {
        let node = Confined::new(&self.machine.node_root);
        let inode = node
            .metadata(MANIFESTS)
            .ok()
            .filter(std::fs::Metadata::is_dir)
            .map(|m| {
                use std::os::unix::fs::MetadataExt;
                m.ino()
            });
        if inode == self.watched {
            return false;
        }
        let Some(watcher) = &mut self.watcher else {
            return false;
        };
        let path = manifests_on_host(&self.machine.node_root);
        let _ = watcher.unwatch(&path);
        self.watched = None;
        if inode.is_some() && watcher.watch(&path, RecursiveMode::NonRecursive).is_ok() {
            self.watched = inode;
        }
        true
    }

    fn write_journal(&mut self) {
        self.unwritten.extend(self.kubelet.take_journal());
        if self.unwritten.is_empty() {
            return;
        }
        // While the disk is full only the latest lines are kept.
        let excess = self.unwritten.len().saturating_sub(5000);
        self.unwritten.drain(..excess);
        let dir = Confined::new(&self.machine.state_dir);
        let mut text = self.unwritten.join("\n");
        text.push('\n');
        let write = || -> std::io::Result<()> {
            dir.create_dir_all("/journal", 0o755)?;
            let mut file = dir.append("/journal/kubelet.log", 0o644)?;
            if file.metadata()?.len() > JOURNAL_BYTES {
                dir.rename("/journal/kubelet.log", "/journal/kubelet.log.1")?;
                file = dir.append("/journal/kubelet.log", 0o644)?;
            }
            file.write_all(text.as_bytes())
        };
        if write().is_ok() {
            self.unwritten.clear();
        }
    }

    fn write_snapshot(&mut self) {
        let mut snapshot = self.kubelet.snapshot();
        snapshot.sockets = self.machine.sockets.open();
        if let Some(written) = &self.written {
            // Its number and time aside.
            let (sequence, time) = (snapshot.sequence, snapshot.time);
            (snapshot.sequence, snapshot.time) = (written.sequence, written.time);
            if *written == snapshot {
                self.unsaved = false;
                return;
            }
            (snapshot.sequence, snapshot.time) = (sequence, time);
        }
        self.unsaved = snapshot.store(&self.machine.state_dir).is_err();
        if !self.unsaved {
            NodeSnapshot::keep_runtime(&self.machine.state_dir);
            self.written = Some(snapshot);
            self.machine.snapshots.send_modify(|count| *count += 1);
        }
    }
}

fn manifests_on_host(node_root: &Path) -> PathBuf {
    // A manifests directory behind links is watched where it really is, within the node root.
    let real = Confined::new(node_root).canonical(MANIFESTS);
    node_root.join(real.as_deref().unwrap_or(MANIFESTS).trim_start_matches('/'))
}

fn watcher(machine: &Machine, wake: UnboundedSender<Wake>) -> Option<notify::RecommendedWatcher> {
    let requests = machine.state_dir.join(REQUESTS);
    let requests_path = requests.clone();
    let root = machine.node_root.clone();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Ok(event) = event else {
            let _ = wake.send(Wake::Watch);
            return;
        };
        if event.need_rescan() {
            let _ = wake.send(Wake::Watch);
            return;
        }
        let removed = match event.kind {
            EventKind::Create(_) => false,
            EventKind::Modify(ModifyKind::Name(RenameMode::From)) | EventKind::Remove(_) => true,
            EventKind::Modify(ModifyKind::Name(RenameMode::Both)) => return,
            EventKind::Modify(_) => false,
            EventKind::Access(_) | EventKind::Any | EventKind::Other => return,
        };
        for path in &event.paths {
            if path.parent() == Some(requests_path.as_path()) {
                let _ = wake.send(Wake::Requests);
            } else if *path == manifests_on_host(&root)
                || (removed && !path.exists() && path.ends_with("manifests"))
            {
                let _ = wake.send(Wake::Watch);
            } else if let Some(name) = path.file_name().and_then(|n| n.to_str()) {
                let name = name.to_owned();
                let _ = wake.send(Wake::Input(Input::File { name, removed }));
            }
        }
    })
    .ok()?;
    let _ = watcher.watch(&requests, RecursiveMode::NonRecursive);
    Some(watcher)
}

impl Kubelet {
    /// The next time something is due, the end of a start included.
    fn next_deadline(&self) -> Option<Duration> {
        [self.deadline(), self.busy_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn container(&self, id: &str) -> Option<&ContainerSnapshot> {
        self.records.iter().map(|r| &r.view).find(|v| v.id == id)
    }

    /// The running container of a program.
    pub(super) fn running(&self, program: &str) -> Option<&ContainerSnapshot> {
        self.records.iter().map(|r| &r.view).find(|v| {
            v.state == ContainerState::Running
                && v.argv
                    .first()
                    .is_some_and(|first| base_name(first) == program)
        })
    }
}
