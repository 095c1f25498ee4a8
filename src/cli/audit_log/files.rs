//! The files of a log: in order, plain or gzipped.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use super::super::failure::Failure;
use super::table::plain;
use crate::audit::log::{file_order, split_name};

/// A log to read.
pub(super) struct Log {
    path: String,
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

fn unreadable(path: &str, error: &io::Error) -> anyhow::Error {
    let text = match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    };
    Failure::input(format!("cannot read `{}`: {text}", plain(path))).into()
}

/// The logs in the order in which they were written: rotated files before the one they came from.
pub(super) fn logs(given: &[String], rotated: bool) -> anyhow::Result<Vec<Log>> {
    let mut paths: Vec<String> = Vec::new();
    for path in given {
        if path != "-" {
            check(path)?;
            if rotated {
                paths.extend(siblings(path));
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
        logs.extend(files.into_iter().map(|path| Log { path }));
    }
    Ok(logs)
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
    let (base, _) = split_name(path);
    let directory = match Path::new(path).parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_path_buf(),
        _ => Path::new(".").to_path_buf(),
    };
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let prefix = path
        .rfind('/')
        .and_then(|at| path.get(..=at))
        .unwrap_or_default();
    entries
        .filter_map(Result::ok)
        .filter_map(|entry| entry.file_name().into_string().ok())
        .map(|name| format!("{prefix}{name}"))
        .filter(|name| {
            let (other, stamp) = split_name(name);
            other == base && stamp.is_some()
        })
        .collect()
}
