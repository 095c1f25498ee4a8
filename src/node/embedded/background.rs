//! The background process of a lab: found, started, stopped.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::confine::Confined;
use super::daemon::{self, Config, Liveness};
use super::engine::EmbeddedNode;
use super::snapshot::NodeSnapshot;
use super::{ports, root};
use crate::node::engine::EngineError as Error;
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
fn program() -> PathBuf {
    match std::env::current_exe() {
        Ok(path) if path.is_file() => path,
        _ => PathBuf::from("/proc/self/exe"),
    }
}

/// Starts the node process of a lab directory.
fn spawn(dir: &Path) -> Result<Child, Error> {
    let path = dir.join("state/node.log");
    let open = || {
        OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o600)
            .open(&path)
            .map_err(Error::at("open", &path))
    };
    let not_started = |error: std::io::Error| Error::NotStarted(error.to_string());
    Command::new(program())
        .arg(SUBCOMMAND)
        .arg(dir)
        .stdin(Stdio::null())
        .stdout(open()?)
        .stderr(open()?)
        // Not the terminal's process group: Ctrl-C is not for it, even before it has its session.
        .process_group(0)
        .current_dir("/")
        // What a burst of requests took is given back after it (`mallopt(3)` of glibc).
        .envs([
            ("MALLOC_ARENA_MAX", "1"),
            ("MALLOC_TRIM_THRESHOLD_", "65536"),
            ("MALLOC_MMAP_THRESHOLD_", "65536"),
        ])
        // Nothing of the caller's setup belongs to the node.
        .env_remove("KUBECONFIG")
        .spawn()
        .map_err(not_started)
}

/// Waits until a node that was just started says something settled; says whether it is ready.
///
/// The process is this child, or one that another command started.
///
/// # Errors
/// When the process ends.
pub fn wait_settled(lab: &str, dir: &Path, mut child: Option<&mut Child>) -> Result<bool, Error> {
    let node = EmbeddedNode::open(dir).map_err(Error::at("open node of", dir))?;
    let start = Instant::now();
    let mut settled_since: Option<Instant> = None;
    loop {
        let ended = child.as_mut().and_then(|child| child.try_wait().ok()?);
        if let Some(status) = ended {
            if disk_is_full(dir) {
                let full = std::io::Error::from(rustix::io::Errno::NOSPC);
                return Err(Error::io(format!("start the node of lab `{lab}`"))(full));
            }
            let words = last_words(dir).unwrap_or_else(|| format!("it ended with {status}"));
            return Err(Error::NotStarted(words));
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
///
/// # Errors
/// As [`wait_settled`].
pub fn wait_booted(lab: &str, dir: &Path) -> Result<(), Error> {
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
    use std::io::{Read, Seek, SeekFrom};
    const TAIL: u64 = 16 << 10;
    let mut file = fs::File::open(dir.join("state/node.log")).ok()?;
    let start = file.metadata().ok()?.len().saturating_sub(TAIL);
    file.seek(SeekFrom::Start(start)).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let mut lines = text.lines().rev().filter(|line| !line.trim().is_empty());
    let last = lines.clone().next();
    lines
        .find_map(|line| line.strip_prefix("error: "))
        .or(last)
        .map(str::to_owned)
}

/// Starts the node process of a lab directory and waits for the first settled truth.
///
/// # Errors
/// When it does not start.
pub fn start(lab: &str, dir: &Path) -> Result<(), Error> {
    // What the last process knew is not true any more.
    let _ = fs::remove_file(NodeSnapshot::path(&dir.join("state")));
    let mut child = spawn(dir)?;
    wait_settled(lab, dir, Some(&mut child)).map(|_| ())
}

/// Whether the node process of a lab directory runs.
#[must_use]
pub fn is_running(dir: &Path) -> bool {
    daemon::liveness(&dir.join("state")) != Liveness::Down
}

/// Removes a directory of a lab, whatever modes a learner gave to things in it.
///
/// # Errors
/// As `unlink(2)` and `rmdir(2)`.
pub fn remove(dir: &Path) -> std::io::Result<()> {
    match dir
        .parent()
        .zip(dir.file_name().and_then(|name| name.to_str()))
    {
        Some((parent, name)) => Confined::new(parent).remove_all(name),
        None => Ok(()),
    }
}

/// Stops the node process of a lab directory, if one runs. It is asked first, then killed.
///
/// # Errors
/// When it does not end.
pub fn stop(dir: &Path) -> Result<bool, Error> {
    let state_dir = dir.join("state");
    let start = Instant::now();
    let mut asked = None;
    let mut killed = false;
    loop {
        match daemon::liveness(&state_dir) {
            Liveness::Down => return Ok(asked.is_some()),
            Liveness::Up(Some(pid)) if asked != Some(pid) => {
                if signal(pid, &state_dir, rustix::process::Signal::TERM) {
                    asked = Some(pid);
                }
            }
            Liveness::Up(Some(pid)) if !killed && start.elapsed() > STOP_PATIENCE => {
                killed = signal(pid, &state_dir, rustix::process::Signal::KILL);
            }
            Liveness::Up(_) => {}
        }
        if start.elapsed() > STOP_PATIENCE + Duration::from_secs(3) {
            return Err(Error::Busy);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Signals the node process; says whether it did.
///
/// A lock file may be older than the process that holds the lock now, and process ids are used again:
/// the process is pinned first, then it must be the one that has the lock file open.
#[cfg(target_os = "linux")]
fn signal(pid: u32, state_dir: &Path, signal: rustix::process::Signal) -> bool {
    use rustix::process::{PidfdFlags, pidfd_open, pidfd_send_signal};
    let Some(id) = to_pid(pid) else {
        return false;
    };
    match pidfd_open(id, PidfdFlags::empty()) {
        Ok(process) => holds_lock(pid, state_dir) && pidfd_send_signal(&process, signal).is_ok(),
        // A kernel or a sandbox without it.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
            holds_lock(pid, state_dir) && rustix::process::kill_process(id, signal).is_ok()
        }
        Err(_) => false,
    }
}

#[cfg(not(target_os = "linux"))]
fn signal(pid: u32, state_dir: &Path, signal: rustix::process::Signal) -> bool {
    let Some(id) = to_pid(pid) else {
        return false;
    };
    holds_lock(pid, state_dir) && rustix::process::kill_process(id, signal).is_ok()
}

fn to_pid(pid: u32) -> Option<rustix::process::Pid> {
    i32::try_from(pid)
        .ok()
        .and_then(rustix::process::Pid::from_raw)
}

/// Whether the lock is held, names this process, and is held by it. The directory may have been moved since
/// the process was started.
fn holds_lock(pid: u32, state_dir: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    if daemon::liveness(state_dir) != Liveness::Up(Some(pid)) {
        return false;
    }
    let Ok(lock) = fs::metadata(daemon::lock_path(state_dir)) else {
        return false;
    };
    let Ok(command) = fs::read(format!("/proc/{pid}/cmdline")) else {
        // No /proc on this system: the lock is held and names this process.
        return !Path::new("/proc/self/cmdline").exists();
    };
    if command.split(|byte| *byte == 0).nth(1) != Some(SUBCOMMAND.as_bytes()) {
        return false;
    }
    fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|files| {
        files.flatten().any(|file| {
            fs::metadata(file.path())
                .is_ok_and(|file| (file.dev(), file.ino()) == (lock.dev(), lock.ino()))
        })
    })
}

/// Makes sure nobody else has the lab's port: it is changed, with the kubeconfigs, where somebody has.
///
/// # Errors
/// When no port is free, or a file cannot be written.
pub fn settle_port(dir: &Path, others: &[PathBuf]) -> Result<(), Error> {
    let mut config = Config::load(dir).map_err(|error| Error::Damaged(error.to_string()))?;
    if ports::is_free(config.spec.api_port) {
        return Ok(());
    }
    let port = free_port(others)?;
    let old = config.spec.api_port;
    root::change_port(&config.node_root, old, port)
        .map_err(Error::io("change the port in kubeconfigs"))?;
    config.spec.api_port = port;
    config.save().map_err(Error::io("write state/node.json"))
}

/// A port for a new node.
///
/// # Errors
/// When none is free.
pub fn free_port(others: &[PathBuf]) -> Result<u16, Error> {
    ports::choose(others).ok_or_else(|| Error::NotStarted("no loopback port is free".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_words_are_found_at_the_end_of_a_long_log() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last_words(dir.path()), None);
        fs::create_dir(dir.path().join("state")).unwrap();
        let mut text = "error: long ago\n".to_owned();
        text.push_str(&"é\n".repeat(1 << 16));
        fs::write(dir.path().join("state/node.log"), &text).unwrap();
        assert_eq!(last_words(dir.path()).as_deref(), Some("é"));
        text.push_str("error: the disk is full\n\n");
        fs::write(dir.path().join("state/node.log"), &text).unwrap();
        assert_eq!(last_words(dir.path()).as_deref(), Some("the disk is full"));
    }

    #[test]
    fn nobody_is_signalled_who_does_not_hold_the_lock() {
        let dir = tempfile::tempdir().unwrap();
        let lock = daemon::lock_path(dir.path());
        fs::write(&lock, format!("{}\n", std::process::id())).unwrap();
        assert!(!holds_lock(std::process::id(), dir.path()));
        let held = fs::File::open(&lock).unwrap();
        held.lock().unwrap();
        // Held by this process, which is no node process.
        assert!(!holds_lock(std::process::id(), dir.path()));
        assert!(!signal(
            std::process::id(),
            dir.path(),
            rustix::process::Signal::KILL
        ));
    }
}
