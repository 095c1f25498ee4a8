//! The node process as a witness: it says itself how the node is, over a socket in the state directory.
//!
//! Other processes read `snapshot.json`, and so could whoever edits it. The witness repeats the bytes
//! the kubelet wrote last, from memory, and it is believed only if it is the process that holds the
//! node's lock. Where no socket can be had, the file is all there is, and that is said.

use std::io::{self, Read};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;

use super::machine::Machine;
use super::snapshot::NodeSnapshot;

/// Name of the socket in the state directory.
const SOCKET: &str = "node.sock";
/// How long an answer may take. The node process may be busy; it is not when it is well.
const PATIENCE: Duration = Duration::from_secs(2);
/// A larger answer is none.
const LARGEST: u64 = 64 << 20;

/// A path of the socket that is short enough for the system, whatever the directory's name is.
/// The directory must stay open while the path is used.
fn short_path(state_dir: &Path) -> io::Result<(std::fs::File, PathBuf)> {
    use std::os::fd::AsRawFd;
    let directory = std::fs::File::open(state_dir)?;
    let path = if cfg!(target_os = "linux") {
        PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", directory.as_raw_fd()))
    } else {
        state_dir.join(SOCKET)
    };
    Ok((directory, path))
}

/// Answers until the node is told to stop. Gives up at once where the system does not let it.
pub async fn run(machine: Arc<Machine>, shutdown: CancellationToken) {
    let Ok((_directory, path)) = short_path(&machine.state_dir) else {
        return;
    };
    // Of a process that was killed; the lock says that this one is the node now.
    let _ = std::fs::remove_file(&path);
    let Ok(listener) = UnixListener::bind(&path) else {
        return;
    };
    let _ = std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600));
    let latest: Arc<RwLock<Arc<[u8]>>> = Arc::default();
    let mut written = machine.snapshots.subscribe();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            changed = written.changed() => {
                if changed.is_err() {
                    break;
                }
                if let Ok(bytes) = std::fs::read(NodeSnapshot::path(&machine.state_dir)) {
                    *latest.write().unwrap_or_else(PoisonError::into_inner) = bytes.into();
                }
            }
            asked = listener.accept() => {
                let Ok((mut stream, _)) = asked else { continue };
                let bytes = latest.read().unwrap_or_else(PoisonError::into_inner).clone();
                tokio::spawn(async move {
                    // Who asks and does not listen must not be waited for.
                    let _ = tokio::time::timeout(PATIENCE, stream.write_all(&bytes)).await;
                });
            }
        }
    }
    let _ = std::fs::remove_file(&path);
}

/// What the node process says; nothing while the kubelet has not looked at its manifests yet.
///
/// # Errors
/// When there is no witness, or it is another process than `pid`.
pub fn ask(state_dir: &Path, pid: Option<u32>) -> io::Result<Option<NodeSnapshot>> {
    let (_directory, path) = short_path(state_dir)?;
    let stream = UnixStream::connect(path)?;
    if !is_of(&stream, pid) {
        return Err(io::Error::other("somebody else answers for the node"));
    }
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = Vec::new();
    stream.take(LARGEST).read_to_end(&mut bytes)?;
    if bytes.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_slice(&bytes)?))
}

#[cfg(target_os = "linux")]
fn is_of(stream: &UnixStream, pid: Option<u32>) -> bool {
    let peer = rustix::net::sockopt::socket_peercred(stream);
    let peer = peer.ok().map(|peer| peer.pid.as_raw_nonzero().get());
    // A lock whose holder has not written its id yet names nobody.
    pid.is_none_or(|pid| peer.and_then(|peer| u32::try_from(peer).ok()) == Some(pid))
}

#[cfg(not(target_os = "linux"))]
fn is_of(_: &UnixStream, _: Option<u32>) -> bool {
    true
}
