//! Container logs in CRI format: `TIME STREAM F LINE`, one file per start of a container.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use jiff::{Timestamp, tz::TimeZone};

use crate::node::embedded::confine::Confined;
use crate::node::embedded::process::Output;

/// A log grows to at most this many bytes; then the older half of it is thrown away.
const MAX_BYTES: u64 = 10 << 20;

/// The log of one container.
pub struct ContainerLog {
    node: Confined,
    path: String,
    open: Mutex<Option<(File, u64)>>,
}

impl ContainerLog {
    /// Opens (and makes) the log at `path` on the node.
    ///
    /// # Errors
    /// When the directory or file cannot be made.
    pub fn create(node: Confined, path: &str) -> io::Result<Self> {
        if let Some((parent, _)) = path.rsplit_once('/') {
            node.create_dir_all(parent, 0o755)?;
        }
        let file = node.append(path, 0o640)?;
        let size = file.metadata()?.len();
        Ok(Self {
            node,
            path: path.to_owned(),
            open: Mutex::new(Some((file, size))),
        })
    }

    /// A log that throws everything away: the process runs on when the disk is full.
    #[must_use]
    pub fn discard(node: Confined) -> Self {
        Self {
            node,
            path: String::new(),
            open: Mutex::new(None),
        }
    }

    fn write(&self, stream: &str, text: &str) {
        let time = Timestamp::now().to_zoned(TimeZone::UTC);
        let time = time.strftime("%Y-%m-%dT%H:%M:%S%.9fZ").to_string();
        let mut entry = String::new();
        for line in text.split('\n') {
            entry.push_str(&format!("{time} {stream} F {line}\n"));
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((file, size)) = open.as_mut() {
            // A full disk loses lines, as on a real node; the next write tries again.
            if file.write_all(entry.as_bytes()).is_ok() {
                *size += entry.len() as u64;
            }
        }
        let too_large = open.as_ref().is_some_and(|(_, size)| *size > MAX_BYTES);
        if too_large {
            let rotated = format!("{}.old", self.path);
            if self.node.rename(&self.path, &rotated).is_ok() {
                *open = self
                    .node
                    .append(&self.path, 0o640)
                    .ok()
                    .map(|file| (file, 0));
            }
        }
    }
}

impl Output for ContainerLog {
    fn stdout(&self, line: &str) {
        self.write("stdout", line);
    }

    fn stderr(&self, line: &str) {
        self.write("stderr", line);
    }
}
