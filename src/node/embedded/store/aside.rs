//! A damaged store is set aside: kept for whoever wants to look, out of the way of a new one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::{Store, StoreError};

/// What the name of a store that was set aside ends with.
const ASIDE: &str = "damaged";
/// What the name of the file that says why ends with.
const REASON: &str = "damaged.txt";

impl Store {
    /// Opens or makes the store at `path`; one that is damaged is set aside first, with the reason.
    /// One that was set aside before is replaced.
    ///
    /// # Errors
    /// As [`Store::open`], or when the damaged one cannot be moved.
    pub fn open_or_set_aside(path: &Path) -> Result<Self, StoreError> {
        let reason = match Self::open(path) {
            Err(StoreError::Damaged(reason)) => reason,
            opened => return opened,
        };
        set_aside(path, &reason).map_err(|error| {
            StoreError::Damaged(format!("{reason}; it cannot be set aside: {error}"))
        })?;
        Self::open(path)
    }
}

fn set_aside(path: &Path, reason: &str) -> io::Result<()> {
    let aside = beside(path, ASIDE);
    match fs::symlink_metadata(&aside) {
        Ok(there) if there.is_dir() => fs::remove_dir_all(&aside)?,
        Ok(_) => fs::remove_file(&aside)?,
        Err(_) => {}
    }
    fs::rename(path, &aside)?;
    let now = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ");
    fs::write(beside(path, REASON), format!("{now} {reason}\n"))
}

/// The path with more after the name.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(end);
    PathBuf::from(name)
}

/// When and why a store at this path was set aside: `TIME REASON`; `None` if none was.
#[must_use]
pub fn set_aside_because(path: &Path) -> Option<String> {
    const LONGEST: usize = 1000;
    let text = fs::read_to_string(beside(path, REASON)).ok()?;
    Some(text.trim_end().chars().take(LONGEST).collect())
}
