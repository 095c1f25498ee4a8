//! A log file that rotates by size (`gopkg.in/natefinch/lumberjack.v2` 2.2.1), and one that does not
//! (`--audit-log-maxsize=0`).
//!
//! What a real one guarantees, and this one: a line is one write under one lock, so lines of concurrent
//! requests never mix. The kernel may still cut a line when the disk is full or the process is killed in
//! the middle of a write; the next line then follows the cut one immediately. The file that a start finds
//! is opened for appending; the one that a rotation makes is not, so after a rotation a file truncated
//! from outside goes on at the old offset, with zero bytes in front.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::Arc;

use jiff::Timestamp;

use super::backup;
use super::file_path::{absolute, directory};
use super::mill::Mill;
use crate::audit::options::LogOptions;
use crate::node::embedded::process::{Output, go_error_text};
use crate::node::embedded::runtime::device::Device;
use crate::node::embedded::runtime::rootfs::Rootfs;

/// Bytes of a MiB.
const MEGABYTE: i64 = 1024 * 1024;

/// Makes a directory and its parents, as Go's `os.MkdirAll`.
///
/// # Errors
/// `mkdir PATH: reason`, with the directory that could not be made.
fn make_directories(rootfs: &Rootfs, path: &str, mode: u32) -> Result<(), String> {
    match rootfs.metadata(&absolute(path)) {
        Ok(metadata) if metadata.is_dir() => return Ok(()),
        Ok(_) => return Err(format!("mkdir {path}: not a directory")),
        Err(_) => {}
    }
    let parent = directory(path);
    if parent != path && parent != "." {
        make_directories(rootfs, &parent, mode)?;
    }
    // A link that leads nowhere.
    if rootfs.symlink_metadata(&absolute(path)).is_ok() {
        return Err(format!("mkdir {path}: file exists"));
    }
    rootfs
        .create_dir_all(&absolute(path), mode)
        .map_err(|error| format!("mkdir {path}: {}", go_error_text(&error)))
}

/// Makes sure the log can be written, as start-up does (`ensureLogFile`).
///
/// # Errors
/// The real text, without `ensureLogFile: `.
pub fn ensure(rootfs: &Rootfs, shown: &str) -> Result<(), String> {
    let path = absolute(shown);
    if rootfs.device(&path).is_some() {
        return Ok(());
    }
    make_directories(rootfs, &directory(shown), 0o700)?;
    rootfs
        .append(&path, 0o600)
        .map(drop)
        .map_err(opening(shown))
}

fn opening(path: &str) -> impl Fn(io::Error) -> String {
    move |error| format!("open {path}: {}", go_error_text(&error))
}

/// What is written to.
enum Target {
    File(File),
    Device(Device),
}

impl Target {
    /// What is at a path, for appending.
    fn open(rootfs: &Rootfs, path: &str) -> io::Result<Self> {
        match rootfs.device(path) {
            Some(device) => Ok(Self::Device(device)),
            None => rootfs.append(path, 0o600).map(Self::File),
        }
    }

    /// Writes all of it, if need be in parts, as Go does. Gives what was written and why not more.
    fn write(&mut self, line: &[u8], output: &dyn Output) -> (usize, io::Result<()>) {
        let whole = || String::from_utf8_lossy(line);
        match self {
            Self::File(file) => {
                let mut rest = line;
                while !rest.is_empty() {
                    let result = match file.write(rest) {
                        Ok(0) => Err(io::ErrorKind::WriteZero.into()),
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
                        other => other,
                    };
                    match result {
                        Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                        Err(error) => return (line.len() - rest.len(), Err(error)),
                    }
                }
            }
            Self::Device(Device::Stdout) => output.stdout(whole().trim_end_matches('\n')),
            Self::Device(Device::Stderr) => output.stderr(whole().trim_end_matches('\n')),
            Self::Device(Device::Null) => {}
            Self::Device(Device::Full) => return (0, Err(rustix::io::Errno::NOSPC.into())),
        }
        (line.len(), Ok(()))
    }
}

/// A file that does not rotate: opened once, when the server starts.
pub(super) struct Plain {
    shown: String,
    target: Option<Target>,
    output: Arc<dyn Output>,
}

impl Plain {
    /// The file of the options.
    pub(super) fn new(rootfs: &Rootfs, options: &LogOptions, output: Arc<dyn Output>) -> Self {
        Self {
            shown: options.path.clone(),
            target: Target::open(rootfs, &absolute(&options.path)).ok(),
            output,
        }
    }

    /// Standard output.
    pub(super) fn stdout(output: Arc<dyn Output>) -> Self {
        Self {
            shown: "/dev/stdout".to_owned(),
            target: Some(Target::Device(Device::Stdout)),
            output,
        }
    }

    /// Writes a line.
    ///
    /// # Errors
    /// The real text.
    pub(super) fn write(&mut self, line: &[u8]) -> Result<(), String> {
        let Some(target) = &mut self.target else {
            return Err(format!("write {}: file already closed", self.shown));
        };
        let (_, result) = target.write(line, &*self.output);
        result.map_err(|error| format!("write {}: {}", self.shown, go_error_text(&error)))
    }
}

/// A file that rotates: opened at the first write.
pub(super) struct Rotating {
    rootfs: Arc<Rootfs>,
    path: String,
    /// As given on the command line, for messages.
    shown: String,
    target: Option<Target>,
    /// What it had when it was opened, and what was written since.
    size: i64,
    limit: i64,
    mill: Arc<Mill>,
    output: Arc<dyn Output>,
}

impl Rotating {
    /// The file of the options.
    pub(super) fn new(rootfs: Arc<Rootfs>, options: &LogOptions, output: Arc<dyn Output>) -> Self {
        Self {
            mill: Mill::new(rootfs.clone(), options),
            rootfs,
            path: absolute(&options.path),
            shown: options.path.clone(),
            target: None,
            size: 0,
            limit: options.max_size.wrapping_mul(MEGABYTE),
            output,
        }
    }

    /// Writes a line.
    ///
    /// # Errors
    /// The real text.
    pub(super) fn write(&mut self, line: &[u8]) -> Result<(), String> {
        let length = i64::try_from(line.len()).unwrap_or(i64::MAX);
        if length > self.limit {
            return Err(format!(
                "write length {length} exceeds maximum file size {}",
                self.limit
            ));
        }
        if self.target.is_none() {
            self.open_existing_or_new(length)?;
        }
        if self.size.saturating_add(length) > self.limit {
            self.rotate()?;
        }
        let Some(target) = &mut self.target else {
            return Err("invalid argument".to_owned());
        };
        let (written, result) = target.write(line, &*self.output);
        self.size = self
            .size
            .saturating_add(i64::try_from(written).unwrap_or(i64::MAX));
        result.map_err(|error| format!("write {}: {}", self.shown, go_error_text(&error)))
    }

    fn open_existing_or_new(&mut self, length: i64) -> Result<(), String> {
        self.mill.start();
        let size = match self.stat() {
            Ok(Some(found)) => found.size,
            Ok(None) => return self.open_new(),
            Err(error) => {
                return Err(format!(
                    "error getting log file info: stat {}: {}",
                    self.shown,
                    go_error_text(&error)
                ));
            }
        };
        if size.saturating_add(length) >= self.limit {
            return self.rotate();
        }
        match Target::open(&self.rootfs, &self.path) {
            Ok(target) => {
                self.target = Some(target);
                self.size = size;
                Ok(())
            }
            // One that cannot be opened is moved away.
            Err(_) => self.open_new(),
        }
    }

    fn rotate(&mut self) -> Result<(), String> {
        self.target = None;
        self.open_new()?;
        self.mill.start();
        Ok(())
    }

    /// Moves what is there away and makes a new file of the same mode and owner.
    fn open_new(&mut self) -> Result<(), String> {
        make_directories(&self.rootfs, &directory(&self.shown), 0o755)
            .map_err(|reason| format!("can't make directories for new logfile: {reason}"))?;
        let mut mode = 0o600;
        if let Ok(Some(found)) = self.stat() {
            mode = found.mode;
            let backup = backup::name(&self.shown, Timestamp::now());
            self.move_away(found.is_device, &backup).map_err(|error| {
                format!(
                    "can't rename log file: rename {} {backup}: {}",
                    self.shown,
                    go_error_text(&error)
                )
            })?;
            self.rootfs
                .create(&self.path, mode)
                .map_err(opening(&self.shown))?;
            self.rootfs
                .set_owner(&self.path, found.uid, found.gid)
                .map_err(|error| format!("chown {}: {}", self.shown, go_error_text(&error)))?;
        }
        let file = self
            .rootfs
            .create(&self.path, mode)
            .map_err(|error| format!("can't open new logfile: {}", opening(&self.shown)(error)))?;
        self.target = Some(Target::File(file));
        self.size = 0;
        Ok(())
    }

    fn move_away(&self, is_device: bool, backup: &str) -> io::Result<()> {
        // A device has no node of its own here: the new file hides it.
        if is_device && self.rootfs.symlink_metadata(&self.path).is_err() {
            return Ok(());
        }
        self.rootfs.rename(&self.path, &absolute(backup))
    }

    fn stat(&self) -> io::Result<Option<Found>> {
        if self.rootfs.device(&self.path).is_some() {
            return Ok(Some(Found {
                size: 0,
                mode: 0o666,
                uid: 0,
                gid: 0,
                is_device: true,
            }));
        }
        match self.rootfs.metadata(&self.path) {
            Ok(metadata) => Ok(Some(Found {
                size: i64::try_from(metadata.len()).unwrap_or(i64::MAX),
                mode: metadata.permissions().mode() & 0o7777,
                uid: metadata.uid(),
                gid: metadata.gid(),
                is_device: false,
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What is at the path of the log.
struct Found {
    size: i64,
    mode: u32,
    uid: u32,
    gid: u32,
    is_device: bool,
}

#[cfg(test)]
mod tests;
