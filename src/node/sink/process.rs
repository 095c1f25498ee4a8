//! A sink as a process of its own, on a node that is a real machine or container.
//!
//! Its directory has `settings.json`, and gets `pid`, and `status`: `ready`, or why it could not start.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::receiver;

/// Name of the hidden subcommand.
pub const SUBCOMMAND: &str = "sink-process";
/// What the file of a sink may grow to.
pub const LARGEST_FILE: u64 = 256 << 20;

/// Serves the sink of a directory until the process is told to end.
///
/// # Errors
/// When it cannot be started; its directory has the reason, too.
pub fn run(dir: &Path) -> io::Result<()> {
    // Its own session: the end of whoever started it is not its own. Fails only where that is so already.
    let _ = rustix::process::setsid();
    let result = live(dir);
    if let Err(error) = &result {
        let _ = note(dir, "status", &format!("{error}\n"));
    }
    result
}

fn live(dir: &Path) -> io::Result<()> {
    let settings = Settings::load(&dir.join("settings.json"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(2)
        .enable_all()
        .build()?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let port = settings.port;
        let listener = TcpListener::bind(("127.0.0.1", port))
            .await
            .map_err(|error| io::Error::other(format!("port {port}: {error}")))?;
        note(dir, "pid", &format!("{}\n", std::process::id()))?;
        note(dir, "status", "ready\n")?;
        let shutdown = CancellationToken::new();
        let entries = settings.entries.clone();
        let append = Box::new(move |lines: &[u8]| append(Path::new(&entries), lines));
        let served = receiver::serve(listener, &settings, append, shutdown.clone());
        tokio::select! {
            served = served => served,
            _ = terminate.recv() => Ok(()),
        }
    })
}

/// A small file of the directory, whole at any moment.
fn note(dir: &Path, name: &str, text: &str) -> io::Result<()> {
    let new = dir.join(format!(".{name}"));
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&new)?;
    file.write_all(text.as_bytes())?;
    fs::rename(new, dir.join(name))
}

/// Adds lines to a file that is made, for one user, where there is none. It is opened each time: whoever
/// rotates it or removes it gets a new one.
fn append(path: &Path, lines: &[u8]) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)?;
    }
    let mut file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(libc_nonblock())
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    if metadata.len() + lines.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("the file of the receiver is full"));
    }
    file.write_all(lines)
}

/// Whatever is at the path, opening it must not wait.
fn libc_nonblock() -> i32 {
    i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default()
}
