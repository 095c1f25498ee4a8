//! The background process of a lab: found, started, stopped.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Error, at};
use crate::node::embedded::daemon::{self, Config, Liveness};
use crate::node::embedded::engine::EmbeddedNode;
use crate::node::embedded::snapshot::NodeSnapshot;
use crate::node::{ContainerPhase, Node};

/// Name of the hidden subcommand that is the node process.
pub const SUBCOMMAND: &str = "node-process";

/// How long a healthy API server may take before a command goes on without it.
const READY_PATIENCE: Duration = Duration::from_secs(15);
/// How long the first truth about a broken API server may take.
const TRUTH_PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at the snapshot.
const LOOK: Duration = Duration::from_millis(4);
/// How long a node process may take to end by itself.
const STOP_PATIENCE: Duration = Duration::from_secs(7);

/// This program, also when its file was replaced meanwhile.
pub(super) fn program() -> PathBuf {
    match std::env::current_exe() {
        Ok(path) if path.is_file() => path,
        _ => PathBuf::from("/proc/self/exe"),
    }
}

/// Starts the node process of a lab directory.
pub(super) fn spawn(lab: &str, dir: &Path) -> Result<Child, Error> {
    let path = dir.join("state/node.log");
    let open = || {
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::io(at("open", &path)))
    };
    let not_started = |error: std::io::Error| Error::NotStarted {
        lab: lab.to_owned(),
        reason: error.to_string(),
    };
    Command::new(program())
        .arg(SUBCOMMAND)
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(open()?)
        .stderr(open()?)
        // Not the terminal's process group: Ctrl-C is not for it, even before it has its session.
        .process_group(0)
        .current_dir("/")
        // Nothing of the caller's setup belongs to the node.
        .env_remove("KUBECONFIG")
        .spawn()
        .map_err(not_started)
}

/// Waits until the snapshot of a node that was just started says something settled.
///
/// The process is this child, or one that another command started.
pub(super) fn wait_settled(
    lab: &str,
    dir: &Path,
    mut child: Option<&mut Child>,
) -> Result<bool, Error> {
    let node = EmbeddedNode::open(dir).map_err(Error::io(at("open node of", dir)))?;
    let start = Instant::now();
    let mut settled_since: Option<Instant> = None;
    loop {
        let ended = child.as_mut().and_then(|child| child.try_wait().ok()?);
        if let Some(status) = ended {
            if disk_is_full(dir) {
                let full = std::io::Error::from(rustix::io::Errno::NOSPC);
                return Err(Error::io(format!("start the node of lab `{lab}`"))(full));
            }
            return Err(Error::NotStarted {
                lab: lab.to_owned(),
                reason: last_words(dir).unwrap_or_else(|| format!("it ended with {status}")),
            });
        }
        if child.is_none() && node.liveness() == Liveness::Down {
            return Ok(false);
        }
        if let Ok(state) = node.api_server() {
            if state.ready && !state.converging {
                return Ok(true);
            }
            let waits_for_ready = state.state == ContainerPhase::Running || state.converging;
            if waits_for_ready {
                settled_since = None;
            } else {
                // A crash loop passes through several phases: the truth is what stays a moment.
                let since = settled_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= Duration::from_millis(60) {
                    return Ok(false);
                }
            }
            if state.state != ContainerPhase::Running && start.elapsed() >= TRUTH_PATIENCE {
                return Ok(false);
            }
        }
        if start.elapsed() >= READY_PATIENCE {
            return Ok(false);
        }
        std::thread::sleep(LOOK);
    }
}

/// Waits for a node that is just coming up, started by a command that was killed meanwhile.
pub(super) fn wait_booted(lab: &str, dir: &Path) -> Result<(), Error> {
    const FRESH: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);
    let fresh = match NodeSnapshot::load(&dir.join("state")) {
        Ok(Some(snapshot)) => jiff::Timestamp::now().duration_since(snapshot.booted) < FRESH,
        Ok(None) => true,
        Err(_) => false,
    };
    if fresh {
        wait_settled(lab, dir, None)?;
    }
    Ok(())
}

/// Whether the disk of a lab is full: then the node process could not even say so.
fn disk_is_full(dir: &Path) -> bool {
    const LITTLE: u64 = 512 << 10;
    rustix::fs::statvfs(dir).is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) < LITTLE)
}

/// The last line the node process wrote.
fn last_words(dir: &Path) -> Option<String> {
    let text = fs::read_to_string(dir.join("state/node.log")).ok()?;
    let mut lines = text.lines().rev().filter(|line| !line.trim().is_empty());
    let last = lines.clone().next();
    lines
        .find_map(|line| line.strip_prefix("error: "))
        .or(last)
        .map(str::to_owned)
}

/// Stops the node process of a lab directory, if one runs. It is asked first, then killed.
pub(super) fn stop(lab: &str, dir: &Path) -> Result<bool, Error> {
    let state_dir = dir.join("state");
    let start = Instant::now();
    let mut asked = None;
    let mut killed = false;
    loop {
        match daemon::liveness(&state_dir) {
            Liveness::Down => return Ok(asked.is_some()),
            Liveness::Up(Some(pid)) if asked != Some(pid) && is_node_process(pid, dir) => {
                signal(pid, rustix::process::Signal::TERM);
                asked = Some(pid);
            }
            Liveness::Up(Some(pid))
                if asked == Some(pid) && !killed && start.elapsed() > STOP_PATIENCE =>
            {
                signal(pid, rustix::process::Signal::KILL);
                killed = true;
            }
            Liveness::Up(_) => {}
        }
        if start.elapsed() > STOP_PATIENCE + Duration::from_secs(3) {
            return Err(Error::Busy(lab.to_owned()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn signal(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

/// Whether a process id that a lock file names is really the node process of this lab: the file may
/// be older than the process that holds the lock now, and process ids are used again.
fn is_node_process(pid: u32, dir: &Path) -> bool {
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else {
        // No /proc on this system: the lock is held and names this process.
        return !Path::new("/proc/self/cmdline").exists();
    };
    let mut words = command.split(|byte| *byte == 0).skip(1);
    words.next() == Some(SUBCOMMAND.as_bytes())
        && words.next() == Some(std::os::unix::ffi::OsStrExt::as_bytes(dir.as_os_str()))
}

/// Makes sure nobody else has the lab's port: it is changed, with the kubeconfigs, where somebody has.
pub(super) fn settle_port(home: &super::Home, lab: &str, dir: &Path) -> Result<Option<u16>, Error> {
    let mut config = Config::load(dir).map_err(|error| Error::Damaged {
        lab: lab.to_owned(),
        reason: error.to_string(),
    })?;
    if super::port::is_free(config.spec.api_port) {
        return Ok(None);
    }
    let Some(port) = super::port::choose(home) else {
        return Err(Error::NotStarted {
            lab: lab.to_owned(),
            reason: "no loopback port is free".to_owned(),
        });
    };
    let old = config.spec.api_port;
    crate::node::embedded::root::change_port(&config.node_root, old, port)
        .map_err(Error::io("change the port in kubeconfigs"))?;
    config.spec.api_port = port;
    config.save().map_err(Error::io("write state/node.json"))?;
    Ok(Some(port))
}
