//! All objects and the recent changes, in memory.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;

use super::{Change, StoreError, Stored};

/// At most this many changes are kept for watches that start in the past.
const HISTORY_CHANGES: usize = 10_000;
/// At most this many bytes of JSON are kept in the history (the newest change always is). A value in memory
/// takes about ten times its JSON.
const HISTORY_BYTES: usize = 640 << 10;

/// A value with the revision that wrote it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) value: Arc<Value>,
    pub(super) revision: u64,
    /// Size of its JSON.
    pub(super) bytes: usize,
}

/// The committed state.
#[derive(Debug)]
pub(super) struct Memory {
    objects: BTreeMap<String, Entry>,
    /// Size of the JSON of all objects.
    bytes: usize,
    revision: u64,
    /// Contiguous: the change of revision `r` is at index `r - (revision - len + 1)`.
    history: VecDeque<(Arc<Change>, usize)>,
    history_bytes: usize,
}

impl Memory {
    pub(super) fn new(revision: u64) -> Self {
        Self {
            objects: BTreeMap::new(),
            bytes: 0,
            revision,
            history: VecDeque::new(),
            history_bytes: 0,
        }
    }

    /// Puts an object read from disk, without a change in the history.
    pub(super) fn load(&mut self, key: String, entry: Entry) {
        self.insert(key, entry);
    }

    fn insert(&mut self, key: String, entry: Entry) {
        self.bytes += entry.bytes;
        if let Some(before) = self.objects.insert(key, entry) {
            self.bytes -= before.bytes;
        }
    }

    /// Size of the JSON of all objects.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    /// Changes after this revision are in the history.
    pub(super) fn floor(&self) -> u64 {
        self.revision - self.history.len() as u64
    }

    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.objects.get(key)
    }

    pub(super) fn get(&self, key: &str) -> Option<Stored> {
        self.objects.get(key).map(|entry| Stored {
            key: key.to_owned(),
            value: Arc::clone(&entry.value),
            revision: entry.revision,
        })
    }

    pub(super) fn list(&self, prefix: &str) -> Vec<Stored> {
        self.objects
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, entry)| Stored {
                key: key.clone(),
                value: Arc::clone(&entry.value),
                revision: entry.revision,
            })
            .collect()
    }

    pub(super) fn list_at(&self, prefix: &str, revision: u64) -> Result<Vec<Stored>, StoreError> {
        if revision > self.revision {
            return Err(StoreError::Future(self.revision));
        }
        if revision < self.floor() {
            return Err(StoreError::Compacted);
        }
        let mut objects: BTreeMap<String, Stored> = self
            .list(prefix)
            .into_iter()
            .map(|stored| (stored.key.clone(), stored))
            .collect();
        // Undo what happened since, newest first.
        for (change, _) in self.history.iter().rev() {
            if change.revision <= revision {
                break;
            }
            if !change.key.starts_with(prefix) {
                continue;
            }
            match &change.before {
                Some(before) => {
                    objects.insert(
                        change.key.clone(),
                        Stored {
                            key: change.key.clone(),
                            value: Arc::clone(before),
                            revision: change.before_revision,
                        },
                    );
                }
                None => {
                    objects.remove(&change.key);
                }
            }
        }
        Ok(objects.into_values().collect())
    }

    /// The change of this revision, if it is in the history.
    pub(super) fn change(&self, revision: u64) -> Option<&Arc<Change>> {
        let index = revision.checked_sub(self.floor() + 1)?;
        self.history
            .get(usize::try_from(index).ok()?)
            .map(|(change, _)| change)
    }

    /// Applies a committed change, the next one in order; `bytes` is the size of its value.
    pub(super) fn apply(&mut self, change: Change, bytes: usize) {
        debug_assert_eq!(change.revision, self.revision + 1);
        self.revision = change.revision;
        match &change.after {
            Some(after) => {
                self.insert(
                    change.key.clone(),
                    Entry {
                        value: Arc::clone(after),
                        revision: change.revision,
                        bytes,
                    },
                );
            }
            None => {
                if let Some(before) = self.objects.remove(&change.key) {
                    self.bytes -= before.bytes;
                }
            }
        }
        self.history.push_back((Arc::new(change), bytes));
        self.history_bytes += bytes;
        while self.history.len() > HISTORY_CHANGES
            || (self.history_bytes > HISTORY_BYTES && self.history.len() > 1)
        {
            if let Some((_, bytes)) = self.history.pop_front() {
                self.history_bytes -= bytes;
            }
        }
    }
}
