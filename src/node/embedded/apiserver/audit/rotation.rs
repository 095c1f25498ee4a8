//! A log file that rotates by size, and the pruning of its old files
//! (`gopkg.in/natefinch/lumberjack.v2`).

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::audit::options::LogOptions;
use crate::node::embedded::process::go_error_text;
use crate::node::embedded::runtime::rootfs::Rootfs;

/// A file that rotates.
pub(super) struct Rotating {
    rootfs: Arc<Rootfs>,
    path: String,
    /// As given on the command line, for messages.
    shown: String,
    file: Option<File>,
    size: u64,
    limit: Option<u64>,
    mill: Arc<Mill>,
}

/// What happens to rotated files. It may take long, so a thread of its own does it, as a goroutine
/// does upstream: nobody waits for it.
struct Mill {
    rootfs: Arc<Rootfs>,
    path: String,
    max_age: i64,
    max_backup: i64,
    compress: bool,
    work: Mutex<Work>,
}

/// Whether the mill runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    Idle,
    Running,
    /// It runs, and must look again when it is through.
    Again,
}

/// The directory of a path.
pub(super) fn parent(path: &str) -> String {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/".to_owned(),
        Some((directory, _)) => directory.to_owned(),
    }
}

impl Rotating {
    /// The file at `path` (absolute), with the limits of the options.
    pub(super) fn new(rootfs: Arc<Rootfs>, path: &str, options: &LogOptions) -> Self {
        let mill = Arc::new(Mill {
            rootfs: rootfs.clone(),
            path: path.to_owned(),
            max_age: options.max_age,
            max_backup: options.max_backup,
            compress: options.compress,
            work: Mutex::new(Work::Idle),
        });
        Self {
            rootfs,
            path: path.to_owned(),
            shown: options.path.clone(),
            file: None,
            size: 0,
            limit: u64::try_from(options.max_size)
                .ok()
                .filter(|size| *size > 0)
                .map(|size| size.saturating_mul(1024 * 1024)),
            mill,
        }
    }

    /// Writes a line with one write.
    pub(super) fn write(&mut self, line: &[u8]) -> Result<(), String> {
        let length = line.len() as u64;
        if let Some(limit) = self.limit
            && length > limit
        {
            return Err(format!(
                "write length {length} exceeds maximum file size {limit}"
            ));
        }
        if self.file.is_none() {
            self.open(length)?;
        }
        if self.limit.is_some_and(|limit| self.size + length > limit) {
            self.rotate()?;
        }
        let Some(file) = &mut self.file else {
            return Err(format!("write {}: file already closed", self.shown));
        };
        // One write per line: readers never see half of one from us.
        match file.write(line) {
            Ok(written) => {
                self.size += written as u64;
                if written < line.len() {
                    return Err("short write".to_owned());
                }
                Ok(())
            }
            Err(error) => Err(format!("write {}: {}", self.shown, go_error_text(&error))),
        }
    }

    fn open(&mut self, length: u64) -> Result<(), String> {
        self.mill.start();
        let size = match self.rootfs.metadata(&self.path) {
            Ok(metadata) => metadata.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
            Err(error) => {
                return Err(format!(
                    "error getting log file info: stat {}: {}",
                    self.shown,
                    go_error_text(&error)
                ));
            }
        };
        if self.limit.is_some_and(|limit| size + length >= limit) {
            return self.rotate();
        }
        let file = self.rootfs.append(&self.path, 0o600).map_err(|error| {
            format!(
                "can't open new logfile: open {}: {}",
                self.shown,
                go_error_text(&error)
            )
        })?;
        self.file = Some(file);
        self.size = size;
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), String> {
        self.file = None;
        let mut mode = 0o600;
        if let Ok(metadata) = self.rootfs.metadata(&self.path) {
            mode = metadata.permissions().mode() & 0o7777;
            let now = jiff::Timestamp::now();
            let (stem, extension) = name_parts(&self.path);
            let backup = format!(
                "{}/{stem}-{}{extension}",
                parent(&self.path).trim_end_matches('/'),
                now.strftime("%Y-%m-%dT%H-%M-%S%.3f")
            );
            self.rootfs.rename(&self.path, &backup).map_err(|error| {
                format!(
                    "can't rename log file: rename {} {backup}: {}",
                    self.shown,
                    go_error_text(&error)
                )
            })?;
        }
        let file = self.rootfs.append(&self.path, mode).map_err(|error| {
            format!(
                "can't open new logfile: open {}: {}",
                self.shown,
                go_error_text(&error)
            )
        })?;
        self.file = Some(file);
        self.size = 0;
        self.mill.start();
        Ok(())
    }
}

/// `audit` and `.log`.
fn name_parts(path: &str) -> (String, String) {
    let name = path.rsplit('/').next().unwrap_or_default();
    match name.rfind('.') {
        Some(dot) => (
            name.get(..dot).unwrap_or_default().to_owned(),
            name.get(dot..).unwrap_or_default().to_owned(),
        ),
        None => (name.to_owned(), String::new()),
    }
}

impl Mill {
    fn work(&self) -> std::sync::MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the mill going.
    fn start(self: &Arc<Self>) {
        if self.max_age <= 0 && self.max_backup <= 0 && !self.compress {
            return;
        }
        let mut work = self.work();
        if *work != Work::Idle {
            *work = Work::Again;
            return;
        }
        let mill = self.clone();
        let thread = std::thread::Builder::new().name("audit-log-mill".to_owned());
        if thread.spawn(move || mill.run()).is_ok() {
            *work = Work::Running;
        }
    }

    fn run(&self) {
        loop {
            self.prune();
            let mut work = self.work();
            if *work == Work::Again {
                *work = Work::Running;
            } else {
                *work = Work::Idle;
                return;
            }
        }
    }

    /// Removes (and compresses) old files, newest first kept. Failures are ignored, as upstream.
    fn prune(&self) {
        let directory = parent(&self.path);
        let (stem, extension) = name_parts(&self.path);
        let prefix = format!("{stem}-");
        let mut old: Vec<(String, String)> = self
            .rootfs
            .list(&directory)
            .unwrap_or_default()
            .into_iter()
            .filter_map(|name| {
                let plain = name.strip_suffix(".gz").unwrap_or(&name);
                let stamp = plain
                    .strip_prefix(&prefix)?
                    .strip_suffix(&extension)?
                    .to_owned();
                is_stamp(&stamp).then_some((stamp, name))
            })
            .collect();
        old.sort_by(|a, b| b.cmp(a));
        let full = |name: &str| format!("{}/{name}", directory.trim_end_matches('/'));
        let mut keep: Vec<(String, String)> = Vec::new();
        let mut stamps: Vec<String> = Vec::new();
        for (stamp, name) in old {
            if !stamps.contains(&stamp) {
                stamps.push(stamp.clone());
            }
            let surplus = usize::try_from(self.max_backup)
                .is_ok_and(|limit| limit > 0 && stamps.len() > limit);
            if surplus || self.is_aged(&stamp) {
                let _ = self.rootfs.remove_file(&full(&name));
            } else {
                keep.push((stamp, name));
            }
        }
        if self.compress {
            for (_, name) in keep.iter().filter(|(_, name)| !name.ends_with(".gz")) {
                let _ = self.compress(&full(name));
            }
        }
    }

    fn is_aged(&self, stamp: &str) -> bool {
        if self.max_age <= 0 {
            return false;
        }
        let Ok(time) = jiff::civil::DateTime::strptime("%Y-%m-%dT%H-%M-%S%.f", stamp)
            .and_then(|time| time.to_zoned(jiff::tz::TimeZone::UTC))
        else {
            return false;
        };
        let age = jiff::Timestamp::now().as_second() - time.timestamp().as_second();
        age > self.max_age.saturating_mul(24 * 3600)
    }

    fn compress(&self, path: &str) -> io::Result<()> {
        let mut plain = self.rootfs.open(path)?;
        let mode = plain.metadata()?.permissions().mode() & 0o7777;
        let target = format!("{path}.gz");
        let file = self.rootfs.append(&target, mode)?;
        // An earlier attempt may have been cut short.
        let written = file.set_len(0).and_then(|()| {
            let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
            io::copy(&mut plain, &mut encoder)?;
            encoder.finish()
        });
        match written {
            Ok(_) => self.rootfs.remove_file(path),
            Err(error) => {
                let _ = self.rootfs.remove_file(&target);
                Err(error)
            }
        }
    }
}

/// `2006-01-02T15-04-05.000`.
fn is_stamp(text: &str) -> bool {
    text.len() == 23
        && text
            .bytes()
            .zip(b"0000-00-00T00-00-00.000")
            .all(|(byte, pattern)| {
                if *pattern == b'0' {
                    byte.is_ascii_digit()
                } else {
                    byte == *pattern
                }
            })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::log::ensure;
    use super::*;
    use crate::node::embedded::runtime::rootfs::Mount;

    struct Place {
        directory: tempfile::TempDir,
        rootfs: Arc<Rootfs>,
    }

    impl Place {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            std::fs::create_dir_all(directory.path().join("logs")).unwrap();
            let layer = directory.path().join("layer");
            std::fs::create_dir_all(&layer).unwrap();
            let rootfs = Arc::new(Rootfs::new(
                directory.path().to_path_buf(),
                layer,
                vec![Mount {
                    name: "logs".to_owned(),
                    container_path: "/logs".to_owned(),
                    node_path: "/logs".to_owned(),
                    read_only: false,
                }],
            ));
            rootfs.prepare().unwrap();
            ensure(&rootfs, "/logs/audit.log").unwrap();
            Self { directory, rootfs }
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.directory.path().join("logs").join(name)
        }

        fn log(&self, limit: Option<u64>, max_backup: i64, compress: bool) -> Rotating {
            Rotating {
                rootfs: self.rootfs.clone(),
                path: "/logs/audit.log".to_owned(),
                shown: "/logs/audit.log".to_owned(),
                file: None,
                size: 0,
                limit,
                mill: Arc::new(Mill {
                    rootfs: self.rootfs.clone(),
                    path: "/logs/audit.log".to_owned(),
                    max_age: 30,
                    max_backup,
                    compress,
                    work: Mutex::new(Work::Idle),
                }),
            }
        }

        /// Sizes by name; names of rotated files without their time.
        fn files(&self) -> BTreeMap<String, Vec<u64>> {
            let mut out: BTreeMap<String, Vec<u64>> = BTreeMap::new();
            for entry in std::fs::read_dir(self.directory.path().join("logs")).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().into_string().unwrap();
                let name = match name.strip_prefix("audit-") {
                    Some(rest) if is_stamp(rest.get(..23).unwrap_or("")) => {
                        format!("audit-TIME{}", rest.get(23..).unwrap_or(""))
                    }
                    _ => name,
                };
                out.entry(name)
                    .or_default()
                    .push(entry.metadata().unwrap().len());
            }
            out
        }
    }

    const LINE: &[u8] = b"0123456789012345678901234567890123456789\n";

    fn write(log: &mut Rotating, lines: usize) {
        for _ in 0..lines {
            log.write(LINE).unwrap();
            // Names have milliseconds: two rotations within one would be one file.
            let now = jiff::Timestamp::now().as_millisecond();
            while jiff::Timestamp::now().as_millisecond() == now {
                std::hint::spin_loop();
            }
        }
        settle(log);
    }

    /// Waits for what happens to rotated files.
    fn settle(log: &Rotating) {
        while *log.mill.work() != Work::Idle {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }

    #[test]
    fn the_file_is_rotated_before_it_passes_its_size() {
        let place = Place::new();
        let mut log = place.log(Some(100), 0, false);
        write(&mut log, 5);
        assert_eq!(
            place.files(),
            BTreeMap::from([
                ("audit-TIME.log".to_owned(), vec![82, 82]),
                ("audit.log".to_owned(), vec![41]),
            ])
        );
        assert_eq!(
            log.write(&[b'x'; 101]),
            Err("write length 101 exceeds maximum file size 100".to_owned())
        );
    }

    #[test]
    fn surplus_and_old_files_go() {
        let place = Place::new();
        std::fs::write(place.path("audit-2020-01-01T00-00-00.000.log"), "old").unwrap();
        std::fs::write(place.path("audit-notes.log"), "kept").unwrap();
        let mut log = place.log(Some(50), 2, false);
        write(&mut log, 6);
        let files = place.files();
        assert_eq!(files.get("audit-TIME.log").map(Vec::len), Some(2));
        assert!(files.contains_key("audit-notes.log"));
        assert!(!place.path("audit-2020-01-01T00-00-00.000.log").exists());
    }

    #[test]
    fn rotated_files_are_compressed() {
        let place = Place::new();
        let mut log = place.log(Some(50), 0, true);
        write(&mut log, 2);
        let files = place.files();
        assert_eq!(files.get("audit-TIME.log.gz").map(Vec::len), Some(1));
        assert_eq!(files.get("audit.log"), Some(&vec![41]));
    }

    #[test]
    fn what_an_interrupted_compression_left_is_replaced() {
        let place = Place::new();
        let name = format!(
            "audit-{}.log",
            jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S%.3f")
        );
        let text = "one line\n".repeat(100_000);
        std::fs::write(place.path(&name), &text).unwrap();
        std::fs::write(place.path(&format!("{name}.gz")), "half of someth").unwrap();
        let mut log = place.log(Some(1000), 0, true);
        write(&mut log, 1);
        assert!(!place.path(&name).exists());
        let file = File::open(place.path(&format!("{name}.gz"))).unwrap();
        let mut read = String::new();
        io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut read).unwrap();
        assert_eq!(read, text);
    }

    #[test]
    fn a_deleted_file_is_not_made_again_and_a_truncated_one_goes_on() {
        let place = Place::new();
        let mut log = place.log(Some(1000), 0, false);
        write(&mut log, 2);
        std::fs::write(place.path("audit.log"), "").unwrap();
        write(&mut log, 1);
        assert_eq!(place.files().get("audit.log"), Some(&vec![41]));
        std::fs::remove_file(place.path("audit.log")).unwrap();
        write(&mut log, 3);
        assert!(place.files().is_empty());
    }

    #[test]
    fn a_file_that_is_too_large_at_first_is_rotated_with_its_mode() {
        let place = Place::new();
        std::fs::write(place.path("audit.log"), [b'x'; 200]).unwrap();
        std::fs::set_permissions(
            place.path("audit.log"),
            std::fs::Permissions::from_mode(0o640),
        )
        .unwrap();
        let mut log = place.log(Some(100), 0, false);
        write(&mut log, 1);
        assert_eq!(
            place.files(),
            BTreeMap::from([
                ("audit-TIME.log".to_owned(), vec![200]),
                ("audit.log".to_owned(), vec![41]),
            ])
        );
        let mode = std::fs::metadata(place.path("audit.log"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o640);
    }
}
