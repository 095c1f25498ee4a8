//! The files of a log: in order, plain or gzipped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;
use std::rc::Rc;

use super::super::failure::Failure;
use super::super::node_file::{self, unreadable};
use super::table::plain;
use crate::audit::log::{file_order, split_name};
use crate::node::engine::LabNode;

/// A log to read.
pub(super) struct Log {
    path: String,
    /// The node that it is on, where its name says so.
    node: Option<Rc<dyn LabNode>>,
}

impl Log {
    /// Its name, as messages show it.
    pub fn shown(&self) -> String {
        if self.path == "-" {
            "standard input".to_owned()
        } else {
            plain(&self.path)
        }
    }

    /// Opens it; gzip is recognised by its content.
    pub fn open(&self) -> anyhow::Result<Box<dyn BufRead>> {
        let mut reader: Box<dyn BufRead> = if self.path == "-" {
            Box::new(BufReader::new(io::stdin().lock()))
        } else if let (Some(node), Some(path)) = (&self.node, node_file::on_node(&self.path)) {
            let file = node_file::open(node.as_ref(), path, &self.path)?;
            Box::new(BufReader::with_capacity(1 << 16, file))
        } else {
            let file = File::open(&self.path).map_err(|error| unreadable(&self.path, &error))?;
            Box::new(BufReader::with_capacity(1 << 16, file))
        };
        // Both magic bytes may not be there at once; one is telling enough for text.
        let start = reader
            .fill_buf()
            .map_err(|error| unreadable(&self.path, &error))?;
        if start.first() == Some(&0x1f) {
            return Ok(Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(
                Untorn(reader),
            ))));
        }
        Ok(reader)
    }
}

/// Passes bytes on; there so that the decoder owns its input.
struct Untorn(Box<dyn BufRead>);

impl Read for Untorn {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

/// The logs in the order in which they were written: rotated files before the one they came from. Those
/// named with `node:` in front are on the active lab's node.
pub(super) fn logs(given: &[String], rotated: bool) -> anyhow::Result<Vec<Log>> {
    let mut paths: Vec<String> = Vec::new();
    let node: Option<Rc<dyn LabNode>> = if given.iter().any(|name| on_node(name)) {
        Some(node_file::node()?.into())
    } else {
        None
    };
    for path in given {
        match &node {
            Some(node) if on_node(path) => {
                if rotated {
                    paths.extend(siblings_on(node.as_ref(), path)?);
                }
            }
            _ if path == "-" => {}
            _ => {
                check(path)?;
                if rotated {
                    paths.extend(siblings(path));
                }
            }
        }
        if !paths.contains(path) {
            paths.push(path.clone());
        }
    }
    // Files of one log stand together, in the place of the first of them.
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for path in paths {
        let (base, _) = split_name(&path);
        match groups.iter_mut().find(|(known, _)| *known == base) {
            Some((_, files)) => files.push(path),
            None => groups.push((base, vec![path])),
        }
    }
    let mut logs = Vec::new();
    for (_, mut files) in groups {
        files.sort_by(|a, b| file_order(a, b));
        files.dedup();
        logs.extend(files.into_iter().map(|path| Log {
            node: node.clone().filter(|_| on_node(&path)),
            path,
        }));
    }
    Ok(logs)
}

fn on_node(name: &str) -> bool {
    node_file::on_node(name).is_some()
}

/// A log is a file or a pipe: a directory cannot be read, a device may never end.
fn check(path: &str) -> anyhow::Result<()> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    let kind = metadata.file_type();
    let what = if kind.is_dir() {
        "a directory"
    } else if kind.is_char_device() || kind.is_block_device() {
        "a device"
    } else if kind.is_socket() {
        "a socket"
    } else {
        return Ok(());
    };
    let failure = Failure::input(format!("cannot read `{}`: it is {what}", plain(path)));
    Err(failure
        .hint("give the log files themselves, such as /var/log/kubernetes/audit/audit*.log*")
        .into())
}

/// The rotated files beside a log.
fn siblings(path: &str) -> Vec<String> {
    let directory = match Path::new(path).parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => Path::new(".").to_path_buf(),
    };
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    rotated_of(
        path,
        entries
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().into_string().ok()),
    )
}

/// The rotated files beside a log of a node.
fn siblings_on(node: &dyn LabNode, path: &str) -> anyhow::Result<Vec<String>> {
    let on_node = node_file::on_node(path).unwrap_or(path);
    let directory = on_node.rfind('/').and_then(|at| on_node.get(..=at));
    let names = node.list(directory.unwrap_or("/"))?;
    Ok(rotated_of(path, names.into_iter()))
}

/// Those of a directory's names that are rotated files of this log, with its directory in front.
fn rotated_of(path: &str, names: impl Iterator<Item = String>) -> Vec<String> {
    let (base, _) = split_name(path);
    let prefix = path
        .rfind('/')
        .and_then(|at| path.get(..=at))
        .unwrap_or_default();
    names
        .map(|name| format!("{prefix}{name}"))
        .filter(|name| {
            let (other, stamp) = split_name(name);
            other == base && stamp.is_some()
        })
        .collect()
}
