//! One command at a time works on a lab: an advisory lock that ends with its process.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{Error, Home, at};

/// How long a command waits for another one.
const PATIENCE: Duration = Duration::from_secs(60);

/// A lock that is held.
#[derive(Debug)]
pub struct LabLock {
    _file: File,
}

impl LabLock {
    /// Waits for the lock of a lab.
    ///
    /// # Errors
    /// When another command keeps it for very long, or the lock file cannot be made.
    pub fn take(home: &Home, id: &str) -> Result<Self, Error> {
        home.ensure()?;
        Self::at(&home.locks().join(id), id)
    }

    fn at(path: &Path, id: &str) -> Result<Self, Error> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(Error::io(at("open", path)))?;
        let start = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(TryLockError::WouldBlock) => return Err(Error::Busy(id.to_owned())),
                Err(TryLockError::Error(error)) => return Err(Error::io(at("lock", path))(error)),
            }
        }
    }
}
