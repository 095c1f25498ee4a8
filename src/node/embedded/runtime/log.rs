//! Container logs in CRI format: `TIME STREAM F LINE`, one file per start of a container. A long line is
//! written in parts, all but the last with `P` instead of `F`.

use std::fs::File;
use std::io::{self, Write};
use std::sync::{Mutex, PoisonError};

use jiff::{Timestamp, tz::TimeZone};

use crate::node::embedded::confine::Confined;
use crate::node::embedded::process::Output;

/// A log grows to at most this many bytes; then the older half of it is thrown away.
const MAX_BYTES: u64 = 10 << 20;

/// Longest part of a line, in bytes (`max_container_log_line_size` of containerd).
const MAX_PART: usize = 16 << 10;

/// A line of a log in CRI format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When its first part was written.
    pub time: String,
    /// What was written.
    pub text: String,
}

/// The lines of a log, the parts of long ones joined. Of text that is not in the format nothing is left out.
#[must_use]
pub fn lines(log: &str) -> Vec<Line> {
    let mut out: Vec<Line> = Vec::new();
    let mut is_open = false;
    for entry in log.lines() {
        let mut parts = entry.splitn(4, ' ');
        let time = parts.next().unwrap_or_default();
        let is_partial = parts.nth(1).is_some_and(|tag| tag.starts_with('P'));
        let text = parts.next().unwrap_or_default();
        match out.last_mut() {
            Some(line) if is_open => line.text.push_str(text),
            _ => out.push(Line {
                time: time.to_owned(),
                text: text.to_owned(),
            }),
        }
        is_open = is_partial;
    }
    out
}

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
        for mut line in text.split('\n') {
            while line.len() > MAX_PART {
                let (part, rest) = line.split_at(boundary(line, MAX_PART));
                entry.push_str(&format!("{time} {stream} P {part}\n"));
                line = rest;
            }
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

/// The last place at or before `most` where a character begins.
fn boundary(line: &str, most: usize) -> usize {
    (0..=most)
        .rev()
        .find(|at| line.is_char_boundary(*at))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_written_in_parts_and_read_whole() {
        let directory = tempfile::tempdir().unwrap();
        let node = Confined::new(directory.path());
        let log = ContainerLog::create(node.clone(), "/pods/0.log").unwrap();
        let long = "x".repeat(2 * MAX_PART + 1);
        let exact = "y".repeat(MAX_PART);
        log.stdout(&long);
        log.stdout(&exact);
        log.stderr("");
        log.stderr("a\nb");
        let text = node.read_to_string("/pods/0.log", 1 << 20).unwrap();
        let tags: Vec<&str> = text
            .lines()
            .map(|line| line.split(' ').nth(2).unwrap())
            .collect();
        assert_eq!(tags, ["P", "P", "F", "F", "F", "F", "F"]);
        let texts: Vec<String> = lines(&text).into_iter().map(|line| line.text).collect();
        assert_eq!(texts, [long.as_str(), &exact, "", "a", "b"]);
    }
}
