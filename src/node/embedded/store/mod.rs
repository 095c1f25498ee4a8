//! The lab's etcd: a durable, ordered, revisioned key-value store with watches.
//!
//! Every acknowledged write survives `kill -9`; revisions never go back. All objects are kept in
//! memory; the file (redb) is written by one thread that commits everything that waits in one
//! transaction (group commit), so many small writes cost few commits.
//!
//! Architecture invariant: memory shows a write only after its commit, so nobody can see a
//! revision that a crash takes back.

mod aside;
mod disk;
mod mark;
mod memory;
mod watch;
mod writer;

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, mpsc};
use std::thread::JoinHandle;

use serde_json::Value;
use tokio::sync::oneshot;

pub use aside::set_aside_because;
use disk::Disk;
use memory::Memory;
pub use watch::Watcher;
use writer::{Answer, Request};

/// An object as stored, with the revision that wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Key: `/registry/GROUP/RESOURCE/NAMESPACE/NAME` (no namespace for cluster scope; group `core`).
    pub key: String,
    /// The object, without `metadata.resourceVersion` (the revision is the version).
    pub value: Arc<Value>,
    /// Revision of the last write.
    pub revision: u64,
}

/// A change, in revision order.
#[derive(Debug, Clone)]
pub struct Change {
    /// Revision of the change.
    pub revision: u64,
    /// Key that changed.
    pub key: String,
    /// Value before, if there was one.
    pub before: Option<Arc<Value>>,
    /// Revision of the value before; 0 when there was none.
    pub before_revision: u64,
    /// Value after; `None` for a deletion.
    pub after: Option<Arc<Value>>,
}

/// Why the store did not do it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The key exists already.
    #[error("key exists")]
    Exists,
    /// The key does not exist.
    #[error("key not found")]
    NotFound,
    /// The object was changed meanwhile; holds the current one.
    #[error("revision conflict")]
    Conflict(Stored),
    /// That revision is no longer kept.
    #[error("required revision has been compacted")]
    Compacted,
    /// That revision is still to come; holds the current one.
    #[error("revision is in the future (now {0})")]
    Future(u64),
    /// Another process has the store open.
    #[error("the store is in use by another process")]
    InUse,
    /// The file is not a store any more.
    #[error("the store is damaged: {0}")]
    Damaged(String),
    /// There is no room for more.
    #[error("etcdserver: mvcc: database space exceeded")]
    Full,
    /// The disk said no.
    #[error("store: {0}")]
    Backend(String),
}

/// One write of a [`Store::commit`].
#[derive(Debug, Clone)]
pub enum Op {
    /// Makes a key that must not exist.
    Create {
        /// Key.
        key: String,
        /// Value.
        value: Arc<Value>,
    },
    /// Replaces the value of a key that exists, at the expected revision if one is given.
    Update {
        /// Key.
        key: String,
        /// Revision the current value must have.
        expected: Option<u64>,
        /// Value.
        value: Arc<Value>,
    },
    /// Sets the value whether the key exists or not.
    Put {
        /// Key.
        key: String,
        /// Value.
        value: Arc<Value>,
    },
    /// Removes a key that exists, at the expected revision if one is given.
    Delete {
        /// Key.
        key: String,
        /// Revision the current value must have.
        expected: Option<u64>,
    },
}

/// The store. Cheap to clone; all clones are one store. The file is closed when the last is dropped.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    shared: Arc<Shared>,
    queue: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

/// What readers, watchers and the writer share.
struct Shared {
    memory: RwLock<Memory>,
    /// Latest committed revision, for watchers that wait.
    latest: tokio::sync::watch::Sender<u64>,
}

impl Shared {
    fn read<T>(&self, f: impl FnOnce(&Memory) -> T) -> T {
        f(&self.memory.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write<T>(&self, f: impl FnOnce(&mut Memory) -> T) -> T {
        f(&mut self.memory.write().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The writer ends when its queue does, after what is queued; then the file is closed.
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            drop(writer.join());
        }
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Store(revision {})", self.revision())
    }
}

impl Store {
    /// Opens or makes the store at `path`.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when the file is not a store, [`StoreError::InUse`] when another
    /// process has it open, [`StoreError::Backend`] when the system refuses.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let (disk, memory) = Disk::open(path)?;
        Self::start(Some(disk), memory)
    }

    /// A store without a file.
    ///
    /// # Errors
    /// When the system has no thread left for the writer.
    pub fn try_in_memory() -> Result<Self, StoreError> {
        Self::start(None, Memory::new(0))
    }

    /// A store without a file.
    #[must_use]
    pub fn in_memory() -> Self {
        Self::try_in_memory().unwrap_or_else(|_| Self {
            // Without a writer every write is answered with an error; reads work.
            inner: Arc::new(Inner {
                shared: Arc::new(Shared {
                    memory: RwLock::new(Memory::new(0)),
                    latest: tokio::sync::watch::Sender::new(0),
                }),
                queue: None,
                writer: None,
            }),
        })
    }

    fn start(disk: Option<Disk>, memory: Memory) -> Result<Self, StoreError> {
        let latest = tokio::sync::watch::Sender::new(memory.revision());
        let shared = Arc::new(Shared {
            memory: RwLock::new(memory),
            latest,
        });
        let (queue, requests) = mpsc::channel();
        let for_writer = Arc::clone(&shared);
        let writer = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || writer::run(&for_writer, disk, &requests))
            .map_err(|error| StoreError::Backend(error.to_string()))?;
        Ok(Self {
            inner: Arc::new(Inner {
                shared,
                queue: Some(queue),
                writer: Some(writer),
            }),
        })
    }

    /// Revision of the latest change.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.inner.shared.read(Memory::revision)
    }

    /// The oldest revision a watch can start from.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        self.inner.shared.read(Memory::floor)
    }

    /// The object at a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Stored> {
        self.inner.shared.read(|memory| memory.get(key))
    }

    /// All objects whose key starts with `prefix`, in key order, and the revision they are of.
    #[must_use]
    pub fn list(&self, prefix: &str) -> (Vec<Stored>, u64) {
        self.inner
            .shared
            .read(|memory| (memory.list(prefix), memory.revision()))
    }

    /// The objects as they were at a revision that is still in the history.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] for a revision too old, [`StoreError::Future`] for one to come.
    pub fn list_at(&self, prefix: &str, revision: u64) -> Result<Vec<Stored>, StoreError> {
        self.inner
            .shared
            .read(|memory| memory.list_at(prefix, revision))
    }

    /// Makes an object.
    ///
    /// # Errors
    /// [`StoreError::Exists`], or the disk refuses.
    pub async fn create(&self, key: &str, value: Value) -> Result<Stored, StoreError> {
        self.one(Op::Create {
            key: key.to_owned(),
            value: Arc::new(value),
        })
        .await
    }

    /// Replaces an object; with an expected revision only if it still is the current one.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`], or the disk refuses.
    pub async fn update(
        &self,
        key: &str,
        expected: Option<u64>,
        value: Value,
    ) -> Result<Stored, StoreError> {
        self.one(Op::Update {
            key: key.to_owned(),
            expected,
            value: Arc::new(value),
        })
        .await
    }

    /// Removes an object. Gives its last value with the revision of the deletion.
    ///
    /// # Errors
    /// [`StoreError::NotFound`], [`StoreError::Conflict`], or the disk refuses.
    pub async fn delete(&self, key: &str, expected: Option<u64>) -> Result<Stored, StoreError> {
        self.one(Op::Delete {
            key: key.to_owned(),
            expected,
        })
        .await
    }

    /// Does all writes, in order, or none of them. Gives one [`Stored`] for each.
    ///
    /// # Errors
    /// The error of the first write that cannot be done.
    pub async fn commit(&self, ops: Vec<Op>) -> Result<Vec<Stored>, StoreError> {
        self.send(ops)?
            .await
            .unwrap_or_else(|_| Err(StoreError::Backend("the writer has ended".to_owned())))
    }

    /// [`Store::commit`] for callers outside an async runtime.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub fn commit_blocking(&self, ops: Vec<Op>) -> Result<Vec<Stored>, StoreError> {
        self.send(ops)?
            .blocking_recv()
            .unwrap_or_else(|_| Err(StoreError::Backend("the writer has ended".to_owned())))
    }

    /// Changes an object however often others change it meanwhile. `change` sees the current object
    /// and gives the new value, or `None` to leave it as it is.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such object, or the disk refuses.
    pub async fn guaranteed_update(
        &self,
        key: &str,
        change: impl Fn(&Stored) -> Option<Value>,
    ) -> Result<Stored, StoreError> {
        loop {
            let current = self.get(key).ok_or(StoreError::NotFound)?;
            let Some(value) = change(&current) else {
                return Ok(current);
            };
            match self.update(key, Some(current.revision), value).await {
                Err(StoreError::Conflict(_)) => {}
                done => return done,
            }
        }
    }

    /// Changes of keys that start with `prefix`, after revision `from`.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when changes after `from` are no longer in the history.
    pub fn watch(&self, prefix: &str, from: u64) -> Result<Watcher, StoreError> {
        Watcher::new(Arc::clone(&self.inner.shared), prefix.to_owned(), from)
    }

    /// How many watches are open.
    #[must_use]
    pub fn watchers(&self) -> usize {
        self.inner.shared.latest.receiver_count()
    }

    async fn one(&self, op: Op) -> Result<Stored, StoreError> {
        self.commit(vec![op])
            .await?
            .pop()
            .ok_or_else(|| StoreError::Backend("no answer".to_owned()))
    }

    fn send(&self, ops: Vec<Op>) -> Result<oneshot::Receiver<Answer>, StoreError> {
        let ended = || StoreError::Backend("the writer has ended".to_owned());
        let (answer, receiver) = oneshot::channel();
        self.inner
            .queue
            .as_ref()
            .ok_or_else(ended)?
            .send(Request {
                ops: ops.into_iter().map(writer::Prepared::new).collect(),
                answer,
            })
            .map_err(|_| ended())?;
        Ok(receiver)
    }
}

#[cfg(test)]
mod tests;
