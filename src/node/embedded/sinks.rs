//! Webhook receivers of an embedded node: they live in its process.
//!
//! Settings are in `state/sinks/PORT.json`, out of the node's sight. A receiver listens on the machine's loopback, on its
//! own port where that is free, else on another; `PORT.port` says which, and only the node's own network
//! ([`super::apiserver::audit`]) need know.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::confine::Confined;
use super::machine::Machine;
use crate::node::NodeError;
use crate::node::sink::process::LARGEST_FILE;
use crate::node::sink::{Settings, receiver};

/// How often the node process looks for settings that were left while it runs.
const LOOK: Duration = Duration::from_millis(500);
/// How long a running node process may take to see them.
const PATIENCE: Duration = Duration::from_secs(10);

fn directory(state_dir: &Path) -> PathBuf {
    state_dir.join("sinks")
}

fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut out = tempfile::NamedTempFile::new_in(path.parent().unwrap_or(path))?;
    out.write_all(content)?;
    out.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Leaves settings for the node process; where that runs, waits until the receiver does.
///
/// # Errors
/// When they cannot be written, or the process does not take them.
pub fn leave(state_dir: &Path, settings: &Settings, runs: bool) -> Result<(), NodeError> {
    let dir = directory(state_dir);
    let failed = |source| NodeError::Io {
        path: "state/sinks".to_owned(),
        source,
    };
    let port = settings.port;
    let told = dir.join(format!("{port}.port"));
    fs::create_dir_all(&dir).map_err(failed)?;
    let _ = fs::remove_file(&told);
    write_private(&dir.join(format!("{port}.json")), &settings.to_json()?).map_err(failed)?;
    let start = Instant::now();
    while runs && !told.exists() {
        if start.elapsed() > PATIENCE {
            return Err(NodeError::Refused(format!(
                "the node does not start its receiver on port {port}"
            )));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The port of the machine where the sink of this port of the node listens, if there is one.
#[must_use]
pub fn real_port(state_dir: &Path, port: u16) -> Option<u16> {
    let told = directory(state_dir).join(format!("{port}.port"));
    fs::read_to_string(told).ok()?.trim().parse().ok()
}

/// Runs the receivers until the node is told to stop.
pub async fn run(machine: Arc<Machine>, shutdown: CancellationToken) {
    let mut running: BTreeMap<u16, (Settings, CancellationToken)> = BTreeMap::new();
    loop {
        for settings in wanted(&machine.state_dir) {
            let port = settings.port;
            if running.get(&port).is_some_and(|(old, _)| *old == settings) {
                continue;
            }
            if let Some((_, old)) = running.remove(&port) {
                old.cancel();
            }
            let stop = shutdown.child_token();
            // Without a port it is tried again.
            if begin(&machine, &settings, stop.clone()).await.is_ok() {
                running.insert(port, (settings, stop));
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// What is asked for.
fn wanted(state_dir: &Path) -> Vec<Settings> {
    let Ok(entries) = fs::read_dir(directory(state_dir)) else {
        return Vec::new();
    };
    let files = entries.flatten().map(|entry| entry.path());
    files
        .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
        .filter_map(|path| Settings::load(&path).ok())
        .collect()
}

async fn begin(machine: &Machine, settings: &Settings, stop: CancellationToken) -> io::Result<()> {
    let asked = (Ipv4Addr::LOCALHOST, settings.port);
    // Another lab may have a sink of the same port.
    let listener = match TcpListener::bind(asked).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
    };
    let real = listener.local_addr()?.port();
    let told = directory(&machine.state_dir).join(format!("{}.port", settings.port));
    write_private(&told, real.to_string().as_bytes())?;
    let files = Confined::new(&machine.node_root);
    let path = settings.entries.clone();
    let append = Box::new(move |lines: &[u8]| append(&files, &path, lines));
    let settings = settings.clone();
    tokio::spawn(async move {
        let _ = receiver::serve(listener, &settings, append, stop).await;
    });
    Ok(())
}

/// Adds lines to a file of the node.
fn append(files: &Confined, path: &str, lines: &[u8]) -> io::Result<()> {
    if let Some((parent, _)) = path.rsplit_once('/').filter(|(at, _)| !at.is_empty()) {
        files.create_dir_all(parent, 0o755)?;
    }
    let mut file = files.append(path, 0o600)?;
    if file.metadata()?.len() + lines.len() as u64 > LARGEST_FILE {
        return Err(io::Error::other("the file of the receiver is full"));
    }
    file.write_all(lines)
}
