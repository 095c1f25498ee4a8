//! What happens to rotated files: surplus and old ones go, the others are compressed
//! (`millRunOnce` of `gopkg.in/natefinch/lumberjack.v2`).

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::backup::{self, GZIP};
use super::file_path::{absolute, directory, join};
use crate::audit::options::LogOptions;
use crate::node::embedded::runtime::rootfs::Rootfs;

/// Nanoseconds of a day.
const DAY: i64 = 24 * 3600 * 1_000_000_000;

/// Works on rotated files. It may take long, so a thread of its own does it, as a goroutine does
/// upstream: nobody waits for it.
pub(super) struct Mill {
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

/// A rotated file.
struct Backup {
    name: String,
    time: Timestamp,
}

impl Mill {
    /// The mill of a log.
    pub(super) fn new(rootfs: Arc<Rootfs>, options: &LogOptions) -> Arc<Self> {
        Arc::new(Self {
            rootfs,
            path: absolute(&options.path),
            max_age: options.max_age,
            max_backup: options.max_backup,
            compress: options.compress,
            work: Mutex::new(Work::Idle),
        })
    }

    fn work(&self) -> std::sync::MutexGuard<'_, Work> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the mill going.
    pub(super) fn start(self: &Arc<Self>) {
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
            self.once();
            let mut work = self.work();
            if *work == Work::Again {
                *work = Work::Running;
            } else {
                *work = Work::Idle;
                return;
            }
        }
    }

    /// Whether nothing is left to do.
    #[cfg(test)]
    pub(super) fn is_idle(&self) -> bool {
        *self.work() == Work::Idle
    }

    /// Failures are ignored, as upstream: the next rotation tries again.
    fn once(&self) {
        let directory = directory(&self.path);
        let mut kept = self.backups(&directory);
        let mut gone = Vec::new();
        if let Ok(limit) = usize::try_from(self.max_backup)
            && limit > 0
            && limit < kept.len()
        {
            // A file and its compressed form count once.
            let mut counted = BTreeSet::new();
            gone.extend(kept.extract_if(.., |backup| {
                let plain = backup.name.strip_suffix(GZIP).unwrap_or(&backup.name);
                counted.insert(plain.to_owned());
                counted.len() > limit
            }));
        }
        if self.max_age > 0 {
            // As many days as overflow 64 bits lie in the future, upstream too: then all is old.
            let age = i128::from(DAY.wrapping_mul(self.max_age));
            let cutoff = Timestamp::now().as_nanosecond() - age;
            gone.extend(kept.extract_if(.., |backup| backup.time.as_nanosecond() < cutoff));
        }
        for backup in gone {
            let _ = self.rootfs.remove_file(&join(&directory, &backup.name));
        }
        if self.compress {
            for backup in kept.iter().filter(|backup| !backup.name.ends_with(GZIP)) {
                let _ = self.compress(&join(&directory, &backup.name));
            }
        }
    }

    /// The rotated files, newest first.
    fn backups(&self, directory: &str) -> Vec<Backup> {
        let names = self.rootfs.list(directory).unwrap_or_default();
        let mut out: Vec<Backup> = names
            .into_iter()
            .filter_map(|name| {
                let time = backup::rotated_at(&self.path, &name)?;
                let file = self.rootfs.symlink_metadata(&join(directory, &name)).ok()?;
                (!file.is_dir()).then_some(Backup { name, time })
            })
            .collect();
        out.sort_by_key(|backup| std::cmp::Reverse(backup.time));
        out
    }

    /// Replaces a file by its compressed form, of the same mode and owner. What an earlier attempt left
    /// is overwritten.
    fn compress(&self, path: &str) -> io::Result<()> {
        let mut plain = self.rootfs.open(path)?;
        let metadata = plain.metadata()?;
        let target = format!("{path}{GZIP}");
        let file = self
            .rootfs
            .create(&target, metadata.permissions().mode() & 0o7777)?;
        self.rootfs
            .set_owner(&target, metadata.uid(), metadata.gid())?;
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
        match io::copy(&mut plain, &mut encoder).and_then(|_| encoder.finish()) {
            Ok(_) => self.rootfs.remove_file(path),
            Err(error) => {
                let _ = self.rootfs.remove_file(&target);
                Err(error)
            }
        }
    }
}
