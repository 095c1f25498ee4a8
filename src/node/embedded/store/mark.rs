//! A number that no revision has passed, in a small file beside the store: whatever becomes of the
//! store, the next one goes on above it, as an etcd that is restored with `--bump-revision`.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::aside::beside;

/// What the name of the file ends with.
const MARK: &str = "revision";
/// So many revisions are allowed with one write of the file.
const STEP: u64 = 1000;
/// Digits of the number: it is written over in one piece, and takes no more room than before.
const DIGITS: usize = 20;

/// The open mark of a store.
pub(super) struct Mark {
    file: File,
    /// Revisions up to this one may be given.
    allowed: u64,
}

impl Mark {
    /// Opens or makes the mark of the store at `path`. One that cannot be read allows nothing yet.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(beside(path, MARK))?;
        let mut digits = [0; DIGITS];
        let allowed = match file.read_exact_at(&mut digits, 0) {
            Ok(()) => std::str::from_utf8(&digits)
                .ok()
                .and_then(|digits| digits.parse().ok())
                .unwrap_or(0),
            Err(_) => 0,
        };
        Ok(Self { file, allowed })
    }

    /// No store at this path has given a revision above this one.
    pub(super) fn highest(&self) -> u64 {
        self.allowed
    }

    /// To be called before a revision is given.
    pub(super) fn allow(&mut self, revision: u64) -> io::Result<()> {
        if revision <= self.allowed {
            return Ok(());
        }
        let next = revision.div_ceil(STEP).saturating_mul(STEP);
        self.file
            .write_all_at(format!("{next:0DIGITS$}\n").as_bytes(), 0)?;
        self.allowed = next;
        Ok(())
    }
}
