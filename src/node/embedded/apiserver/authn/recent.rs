//! What was found good a moment ago.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

/// How long what was good stays so (`tokenSuccessCacheTTL`).
const REMEMBER: Duration = Duration::from_secs(10);
/// How much is remembered.
const REMEMBERED: usize = 1024;

/// Credentials that were good a moment ago, by their digest.
pub struct Recent<T>(Mutex<HashMap<[u8; 32], (Instant, T)>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: Clone> Recent<T> {
    /// What these parts are known by.
    #[must_use]
    pub fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }

    /// What was found, if that is not long ago.
    #[must_use]
    pub fn get(&self, key: &[u8; 32]) -> Option<T> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (since, found) = all.get(key)?;
        (since.elapsed() < REMEMBER).then(|| found.clone())
    }

    /// Remembers what was found.
    pub fn put(&self, key: [u8; 32], found: T) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= REMEMBERED {
            all.clear();
        }
        all.insert(key, (Instant::now(), found));
    }
}
