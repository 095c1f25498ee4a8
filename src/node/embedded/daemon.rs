//! The node process: what runs in the background as long as a lab is started.
//!
//! [`boot`] raises a node within this process; [`run`] is the life of the process that
//! `ckslab start` leaves behind. Whoever holds `state/node.lock` is the node; the lock ends with
//! its process, however that ends.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::apiserver::program::KubeApiServer;
use super::cluster::{self, bootstrap};
use super::confine::Confined;
use super::machine::Machine;
use super::objects;
use super::pace::Pace;
use super::process::Programs;
use super::root::{self, Spec};
use super::runtime::go_runner::GoRunner;
use super::store::{Op, Store, StoreError};

/// Format of `state/node.json`.
const FORMAT: u32 = 1;

/// What the node process must know; kept in `state/node.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Host directory that is the node's `/`.
    pub node_root: PathBuf,
    /// Host directory of the simulation's state.
    pub state_dir: PathBuf,
    /// Pace.
    pub pace: Pace,
    /// Name, address and port of the node.
    pub spec: Spec,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    format: u32,
    pace: Pace,
    node_name: String,
    node_ip: String,
    api_port: u16,
}

impl Config {
    /// A new node in this lab directory (`node/` and `state/` below it).
    #[must_use]
    pub fn new(lab_dir: &Path, pace: Pace, spec: Spec) -> Self {
        Self {
            node_root: lab_dir.join("node"),
            state_dir: lab_dir.join("state"),
            pace,
            spec,
        }
    }

    /// Reads the configuration of the node in this lab directory.
    ///
    /// # Errors
    /// When there is none, or it is not understood.
    pub fn load(lab_dir: &Path) -> io::Result<Self> {
        let file: ConfigFile = serde_json::from_slice(&fs::read(lab_dir.join("state/node.json"))?)?;
        if file.format > FORMAT {
            return Err(io::Error::other("made by a newer ckslab"));
        }
        Ok(Self::new(
            lab_dir,
            file.pace,
            Spec {
                node_name: file.node_name,
                node_ip: file.node_ip,
                api_port: file.api_port,
            },
        ))
    }

    /// Writes the configuration; the old or the new one is there at any moment.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self) -> io::Result<()> {
        let file = ConfigFile {
            format: FORMAT,
            pace: self.pace,
            node_name: self.spec.node_name.clone(),
            node_ip: self.spec.node_ip.clone(),
            api_port: self.spec.api_port,
        };
        let mut out = tempfile::NamedTempFile::new_in(&self.state_dir)?;
        serde_json::to_writer_pretty(&mut out, &file)?;
        out.write_all(b"\n")?;
        out.persist(self.state_dir.join("node.json"))
            .map_err(|error| error.error)?;
        Ok(())
    }

    /// Makes the node's files: node root, PKI, state directory, configuration.
    ///
    /// # Errors
    /// When a file cannot be written; names it.
    pub fn create(&self) -> io::Result<()> {
        for dir in [&self.node_root, &self.state_dir] {
            fs::create_dir_all(dir)?;
        }
        root::create(&self.node_root, &self.state_dir, &self.spec)?;
        self.save()
    }
}

/// Why a node did not come up.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// Another process runs this node.
    #[error("the node runs already")]
    Running,
    /// The store is damaged or in use.
    #[error("etcd data: {0}")]
    Store(#[from] StoreError),
    /// The node ended while nobody told it to.
    #[error("{0}")]
    Ended(String),
    /// The system said no.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

fn tried(what: &'static str) -> impl FnOnce(io::Error) -> BootError {
    move |source| BootError::Io { what, source }
}

/// A node that runs in this process.
pub struct Running {
    machine: Arc<Machine>,
    shutdown: CancellationToken,
    kubelet: tokio::task::JoinHandle<()>,
    /// Whether the kubelet's task was waited for already.
    over: bool,
    lock: File,
    /// Keeps the port while the API server is down.
    _port: Option<super::port::Reservation>,
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "it panicked".to_owned())
}

impl Running {
    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Arc<Machine> {
        &self.machine
    }

    /// Waits until the node ends although nobody told it to, and says why.
    pub async fn ended(&mut self) -> BootError {
        let ended = (&mut self.kubelet).await;
        self.over = true;
        BootError::Ended(match ended {
            Ok(()) => "the kubelet ended".to_owned(),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => format!("the kubelet stopped: {}", panic_text(&*panic)),
                Err(error) => format!("the kubelet stopped: {error}"),
            },
        })
    }

    /// Whether the node's directory is gone, or another node is where it was.
    #[must_use]
    pub fn orphaned(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let inode = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
        let held = self.lock.metadata().map(inode).ok();
        let there = fs::metadata(lock_path(&self.machine.state_dir)).map(inode);
        match there {
            Ok(there) => Some(there) != held,
            // Any other error may pass.
            Err(error) => matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ),
        }
    }

    /// Stops everything on the node, then gives up its lock.
    pub async fn stop(mut self) {
        self.shutdown.cancel();
        if !self.over {
            // A program that does not end must not keep the node process alive for ever.
            let _ = tokio::time::timeout(Duration::from_secs(5), &mut self.kubelet).await;
            self.kubelet.abort();
        }
        let _ = self.lock.set_len(0);
        let _ = self.lock.unlock();
    }
}

/// Path of the store of the node in this state directory.
#[must_use]
pub fn store_path(state_dir: &Path) -> PathBuf {
    state_dir.join("etcd.redb")
}

/// Path of the lock of the node in this state directory.
#[must_use]
pub fn lock_path(state_dir: &Path) -> PathBuf {
    state_dir.join("node.lock")
}

/// Whether a process runs the node of this state directory, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Liveness {
    /// No process runs it.
    Down,
    /// A process runs it; its id, once it has written it.
    Up(Option<u32>),
}

/// Looks at the lock of a node.
#[must_use]
pub fn liveness(state_dir: &Path) -> Liveness {
    let path = lock_path(state_dir);
    let Ok(file) = File::open(&path) else {
        return Liveness::Down;
    };
    match file.try_lock_shared() {
        Ok(()) => Liveness::Down,
        Err(TryLockError::WouldBlock) => {
            let pid = fs::read_to_string(&path)
                .ok()
                .and_then(|text| text.trim().parse().ok());
            Liveness::Up(pid)
        }
        Err(TryLockError::Error(_)) => Liveness::Down,
    }
}

/// Takes the lock. A look at it ([`liveness`]) holds it for a moment: those are waited out.
fn take_lock(state_dir: &Path) -> Result<File, BootError> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        .open(lock_path(state_dir))
        .map_err(tried("open node.lock"))?;
    for _ in 0..40 {
        match file.try_lock() {
            Ok(()) => {
                file.set_len(0).map_err(tried("write node.lock"))?;
                writeln!(file, "{}", std::process::id()).map_err(tried("write node.lock"))?;
                return Ok(file);
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(5)),
            Err(TryLockError::Error(error)) => return Err(tried("lock node.lock")(error)),
        }
    }
    Err(BootError::Running)
}

/// Raises a node in this process. Must be called within a tokio runtime.
///
/// # Errors
/// When the node runs already, or its files cannot be used.
pub fn boot(config: &Config) -> Result<Running, BootError> {
    raise(config, take_lock(&config.state_dir)?)
}

/// Raises the node whose lock is held.
fn raise(config: &Config, lock: File) -> Result<Running, BootError> {
    let store = Store::open_or_set_aside(&store_path(&config.state_dir))?;
    seed(config, &store)?;
    let machine = Arc::new(Machine {
        pace: config.pace,
        node_name: config.spec.node_name.clone(),
        node_ip: config.spec.node_ip.clone(),
        api_port: config.spec.api_port,
        node_root: config.node_root.clone(),
        state_dir: config.state_dir.clone(),
        store,
        etcd_up: watch::Sender::new(false),
        snapshots: watch::Sender::new(0),
        api: watch::Sender::new(None),
        containers: super::containers::Containers::default(),
        sockets: super::sockets::Sockets::default(),
    });
    let shutdown = CancellationToken::new();
    // Without it (somebody else listens there) the API server says what is in its way, as a real one.
    let port = super::port::reserve(config.spec.api_port);
    tokio::spawn(super::witness::run(machine.clone(), shutdown.clone()));
    tokio::spawn(super::sinks::run(machine.clone(), shutdown.clone()));
    let kubelet = tokio::spawn(kubelet(machine.clone(), shutdown.clone()));
    Ok(Running {
        machine,
        shutdown,
        kubelet,
        over: false,
        lock,
        _port: port,
    })
}

/// The kubelet with the programs its static pods run.
async fn kubelet(machine: Arc<Machine>, shutdown: CancellationToken) {
    let programs = Programs::new()
        .with("go-runner", Arc::new(GoRunner))
        .with(
            "kube-apiserver",
            Arc::new(KubeApiServer::new(machine.clone())),
        )
        .with("etcd", Arc::new(cluster::Etcd::new(machine.clone())))
        .with(
            "kube-controller-manager",
            Arc::new(cluster::KubeControllerManager::new(machine.clone())),
        )
        .with(
            "kube-scheduler",
            Arc::new(cluster::KubeScheduler::new(machine.clone())),
        );
    tokio::join!(
        super::kubelet::run(machine.clone(), programs, shutdown.clone()),
        cluster::run(machine, shutdown),
    );
}

/// The certificate of the aggregation layer's CA, on the node.
const FRONT_PROXY_CA: &str = "/etc/kubernetes/pki/front-proxy-ca.crt";

/// Key that says the initial objects are there. Outside of `/registry/`: no API object.
const SEEDED: &str = "/ckslab/seeded";

/// Puts the initial objects and those of the scenario into a new store.
fn seed(config: &Config, store: &Store) -> Result<(), BootError> {
    let mut ops = Vec::new();
    if store.get(SEEDED).is_none() {
        let read = |path: &str| fs::read_to_string(config.state_dir.join(path));
        let ca_pem = read("ca/ca.crt").map_err(tried("read the cluster's CA"))?;
        let front_proxy_ca_pem = Confined::new(&config.node_root)
            .read_to_string(FRONT_PROXY_CA, 1 << 20)
            .unwrap_or_default();
        let facts = bootstrap::Facts {
            node_ip: config.spec.node_ip.clone(),
            worker_ip: "172.30.2.2".to_owned(),
            server: config.spec.server(),
            ca_pem,
            front_proxy_ca_pem,
            now: jiff::Timestamp::now(),
        };
        for (key, value) in bootstrap::entries(&facts) {
            ops.push(Op::Put {
                key,
                value: Arc::new(value),
            });
        }
        ops.push(Op::Put {
            key: SEEDED.to_owned(),
            value: Arc::new(Value::Bool(true)),
        });
    }
    commit(store, ops)?;
    let left = objects::left(&config.state_dir).map_err(tried("read objects to change"))?;
    for (name, changes) in left {
        let done = format!("{SEEDED}/{name}");
        if store.get(&done).is_some() {
            continue;
        }
        for change in changes {
            commit(store, objects::op(store, change).into_iter().collect())?;
        }
        let value = Arc::new(Value::Bool(true));
        commit(store, vec![Op::Put { key: done, value }])?;
    }
    Ok(())
}

/// Writes to the store. The caller may be a task of a runtime, where waiting for its writer is forbidden.
fn commit(store: &Store, ops: Vec<Op>) -> Result<(), StoreError> {
    if ops.is_empty() {
        return Ok(());
    }
    std::thread::scope(|scope| {
        scope
            .spawn(|| store.commit_blocking(ops))
            .join()
            .unwrap_or_else(|_| Err(StoreError::Backend("the writer stopped".to_owned())))
    })?;
    Ok(())
}

/// How often the node process looks whether its lab is still there.
const LOOK: Duration = Duration::from_secs(3);
/// How long the node process may take to end, all in all.
const END: Duration = Duration::from_secs(6);

/// The life of a lab's background process: boots the node, waits for SIGTERM or the end of the lab's
/// directory, stops.
///
/// # Errors
/// When the node cannot be booted, or ends by itself.
pub fn run(lab_dir: &Path) -> Result<(), BootError> {
    // Its own session: the terminal's signals are not for it. Fails only where that is so already.
    let _ = rustix::process::setsid();
    let config = Config::load(lab_dir).map_err(tried("read state/node.json"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(8)
        .thread_keep_alive(Duration::from_secs(2))
        .enable_all()
        .build()
        .map_err(tried("start threads"))?;
    raise_file_limit();
    // Before any task runs: taking the lock may have to wait.
    let lock = take_lock(&config.state_dir)?;
    let ended = runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).map_err(tried("wait for signals"))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(tried("wait for signals"))?;
        let mut hangup = signal(SignalKind::hangup()).map_err(tried("wait for signals"))?;
        let mut running = raise(&config, lock)?;
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let ended = loop {
            tokio::select! {
                _ = terminate.recv() => break Ok(()),
                _ = interrupt.recv() => break Ok(()),
                // The terminal that started the lab was closed: the lab stays.
                _ = hangup.recv() => {}
                error = running.ended() => break Err(error),
                _ = look.tick() => if running.orphaned() {
                    break Ok(());
                }
            }
        };
        let last_words = ended.as_ref().err().map(ToString::to_string);
        std::thread::spawn(move || {
            std::thread::sleep(END);
            // Something does not end; the caller does not come to say why.
            if let Some(text) = &last_words {
                eprintln!("error: {text}");
            }
            std::process::exit(i32::from(last_words.is_some()));
        });
        running.stop().await;
        ended
    });
    runtime.shutdown_timeout(Duration::from_millis(500));
    ended
}

/// Lets this process have as many files open as it may: every connection is one.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    const ENOUGH: u64 = 16_384;
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(ENOUGH).min(ENOUGH);
    if limit.current.is_some_and(|current| current < most) {
        limit.current = Some(most);
        // Without it fewer clients are served at once.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made() -> (tempfile::TempDir, Config) {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new(dir.path(), Pace::Fast, Spec::new(21999));
        config.create().unwrap();
        (dir, config)
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_panicking_kubelet_is_noticed() {
        let (_dir, config) = made();
        let mut running = boot(&config).unwrap();
        let kubelet = std::mem::replace(
            &mut running.kubelet,
            tokio::spawn(async { panic!("no such {}", "state") }),
        );
        let error = running.ended().await;
        assert_eq!(error.to_string(), "the kubelet stopped: no such state");
        running.shutdown.cancel();
        kubelet.await.unwrap();
        running.stop().await;
        assert_eq!(liveness(&config.state_dir), Liveness::Down);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_notices_that_its_directory_is_gone_or_another() {
        let (dir, config) = made();
        let running = boot(&config).unwrap();
        assert!(!running.orphaned());
        let moved = dir.path().join("moved");
        fs::rename(&config.state_dir, &moved).unwrap();
        assert!(running.orphaned());
        fs::create_dir(&config.state_dir).unwrap();
        fs::write(lock_path(&config.state_dir), "").unwrap();
        assert!(running.orphaned());
        // The node still writes there: its files can come back while they are removed.
        let back = (0..10_000).any(|_| {
            let _ = fs::remove_dir_all(&config.state_dir);
            fs::rename(&moved, &config.state_dir).is_ok()
        });
        assert!(back);
        assert!(!running.orphaned());
        running.stop().await;
    }

    #[test]
    fn the_front_proxys_certificate_is_read_on_the_node_only() {
        let (dir, config) = made();
        let outside = dir.path().join("outside");
        fs::write(&outside, "of the host").unwrap();
        let inside = root::host_path(&config.node_root, FRONT_PROXY_CA);
        fs::remove_file(&inside).unwrap();
        std::os::unix::fs::symlink(&outside, &inside).unwrap();
        let store = Store::open(&config.state_dir.join("etcd.redb")).unwrap();
        seed(&config, &store).unwrap();
        let leaked = store
            .list("/registry/")
            .0
            .iter()
            .any(|stored| stored.value.to_string().contains("of the host"));
        assert!(!leaked);
    }

    #[test]
    fn an_empty_store_is_seeded_once() {
        let (_dir, config) = made();
        let store = Store::in_memory();
        seed(&config, &store).unwrap();
        let revision = store.revision();
        seed(&config, &store).unwrap();
        assert_eq!(store.revision(), revision);
        assert!(store.get("/registry/core/nodes/node01").is_some());
    }
}
