//! One command at a time works on a cluster.

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use super::progress::tell;
use super::record::Place;
use crate::node::engine::EngineError;

/// How long another command may work on the same cluster.
const PATIENCE: Duration = Duration::from_secs(900);

/// One command at a time works on a cluster: an advisory lock that ends with its process.
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Waits for the lock of a cluster.
    ///
    /// # Errors
    /// When another command keeps it for very long, or the lock file cannot be made.
    pub fn take(place: &Place) -> Result<Self, EngineError> {
        let failed = || EngineError::io(format!("lock the cluster `{}`", place.name));
        place.ensure().map_err(failed())?;
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(place.file("lock"))
            .map_err(failed())?;
        let start = Instant::now();
        let mut told = false;
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::WouldBlock) if start.elapsed() < PATIENCE => {
                    if !told && start.elapsed() > Duration::from_secs(1) {
                        told = true;
                        tell(&format!(
                            "another ckslab command works on the cluster `{}`; waiting for it …",
                            place.name
                        ));
                    }
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => return Err(EngineError::Busy),
                Err(TryLockError::Error(error)) => return Err(failed()(error)),
            }
        }
    }
}
