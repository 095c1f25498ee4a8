//! The file behind the store (redb).
//!
//! Every commit is written before it is acknowledged, so it survives the end of the process however
//! it comes: the pages are in the kernel. Waiting for the disk itself (`fsync`) happens at most once in
//! [`SYNC_EVERY`]: after a power cut the newest writes may be gone, and in the worst case the file is
//! found damaged, which a lab survives with a reset; a learner's every `kubectl apply` does not wait
//! for a slow disk.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use redb::backends::FileBackend;
use redb::{
    Database, DatabaseError, ReadableDatabase, ReadableTable, StorageBackend, StorageError,
    TableDefinition,
};

use super::mark::Mark;
use super::memory::{Entry, Memory};
use super::{Change, StoreError};

/// The disk itself is waited for at most this often.
const SYNC_EVERY: Duration = Duration::from_secs(5);
/// Memory for pages of the file; all objects are in memory anyway.
const CACHE_BYTES: usize = 1 << 20;
/// The length of the file is looked at once in so many commits.
const LOOK_EVERY: u32 = 256;
/// A file up to this length is not worth a compaction.
const ROOM: u64 = 8 << 20;
/// Version of the layout of the file.
const FORMAT: u64 = 1;

/// Key to revision (8 bytes), CRC-32 of the JSON (4 bytes), JSON.
const OBJECTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("objects");
/// `revision` and `format`.
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// A change with its value encoded.
pub(super) struct Write {
    pub(super) change: Change,
    pub(super) json: Vec<u8>,
}

/// The open file.
pub(super) struct Disk {
    path: PathBuf,
    /// `None` after a failed write, until it is opened again.
    database: Option<Database>,
    mark: Mark,
    /// Commits since the length of the file was looked at.
    commits: u32,
    /// Its length after the last compaction.
    compacted: u64,
}

impl Disk {
    /// Opens or makes the file and reads everything in it.
    pub(super) fn open(path: &Path) -> Result<(Self, Memory), StoreError> {
        let database = open_database(path)?;
        let mark = Mark::open(path).map_err(io_error)?;
        let memory = guarded(|| load(&database, mark.highest()))?;
        Ok((
            Self {
                path: path.to_owned(),
                database: Some(database),
                mark,
                commits: 0,
                compacted: 0,
            },
            memory,
        ))
    }

    /// Commits these writes, all or none.
    pub(super) fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let Some(database) = &self.database else {
            return Err(StoreError::Backend("the file is not open".to_owned()));
        };
        if let Some(last) = writes.last() {
            self.mark.allow(last.change.revision).map_err(io_error)?;
        }
        let done = guarded(|| commit(database, writes));
        if done.is_err() {
            // redb refuses everything after an input/output error: open it again.
            self.database = None;
        }
        done
    }

    /// Compacts the file when it has become much larger than what is in it, which is so many bytes of JSON.
    pub(super) fn tidy(&mut self, bytes: usize) {
        self.commits += 1;
        if self.commits < LOOK_EVERY {
            return;
        }
        self.commits = 0;
        let length = || std::fs::metadata(&self.path).map_or(0, |found| found.len());
        let fit = u64::try_from(bytes).unwrap_or(u64::MAX).saturating_mul(4);
        if length() <= ROOM.max(fit).max(self.compacted.saturating_mul(2)) {
            return;
        }
        let done = self.database.as_mut().map(|database| {
            guarded(|| {
                database
                    .compact()
                    .map_err(|error| StoreError::Backend(error.to_string()))
            })
        });
        self.compacted = length();
        if matches!(done, Some(Err(_))) {
            self.database = None;
        }
    }

    /// Opens the file again if a write failed, and gives what it holds.
    pub(super) fn reopen_if_failed(&mut self) -> Result<Option<Memory>, StoreError> {
        if self.database.is_some() {
            return Ok(None);
        }
        let (disk, memory) = Self::open(&self.path)?;
        *self = disk;
        Ok(Some(memory))
    }
}

/// redb asserts that its file is sound; a panic on a damaged one becomes an error.
fn guarded<T>(f: impl FnOnce() -> Result<T, StoreError>) -> Result<T, StoreError> {
    std::panic::catch_unwind(AssertUnwindSafe(f))
        .unwrap_or_else(|_| Err(StoreError::Damaged("inconsistent pages".to_owned())))
}

fn open_database(path: &Path) -> Result<Database, StoreError> {
    // A new one is never seen without content: it is not there before.
    match std::fs::metadata(path) {
        Ok(there) if !there.is_file() => {
            return Err(StoreError::Damaged("it is not a file".to_owned()));
        }
        Ok(there) if there.len() == 0 => {
            return Err(StoreError::Damaged("it is empty".to_owned()));
        }
        _ => {}
    }
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|error| StoreError::Backend(format!("`{}`: {error}", path.display())))?;
    database_in(SparingSync {
        file: FileBackend::new(file).map_err(database_error)?,
        last: Mutex::new(None),
    })
}

fn database_in(backend: impl StorageBackend) -> Result<Database, StoreError> {
    guarded(|| {
        Database::builder()
            .set_cache_size(CACHE_BYTES)
            .create_with_backend(backend)
            .map_err(database_error)
    })
}

/// Reads everything; a new store goes on after revision `highest`.
fn load(database: &Database, highest: u64) -> Result<Memory, StoreError> {
    // The tables are made here, so that a new store can be read at once.
    let transaction = database.begin_write().map_err(backend)?;
    let (revision, format) = {
        transaction.open_table(OBJECTS).map_err(backend)?;
        let mut meta = transaction.open_table(META).map_err(backend)?;
        let read = |name| -> Result<Option<u64>, StoreError> {
            Ok(meta.get(name).map_err(storage_error)?.map(|v| v.value()))
        };
        let (revision, format) = (read("revision")?, read("format")?);
        if format.is_none() {
            meta.insert("format", FORMAT).map_err(storage_error)?;
            meta.insert("revision", highest).map_err(storage_error)?;
        }
        (revision.unwrap_or(highest), format.unwrap_or(FORMAT))
    };
    if format > FORMAT {
        return Err(StoreError::Backend(format!(
            "the file was written by a newer version of ckslab (format {format}, this one knows {FORMAT})"
        )));
    }
    transaction.commit().map_err(backend)?;

    let mut memory = Memory::new(revision);
    let transaction = database.begin_read().map_err(backend)?;
    let objects = transaction.open_table(OBJECTS).map_err(backend)?;
    for row in objects.iter().map_err(storage_error)? {
        let (key, bytes) = row.map_err(storage_error)?;
        let key = key.value().to_owned();
        let entry = decode(bytes.value())
            .filter(|entry| entry.revision <= revision)
            .ok_or_else(|| StoreError::Damaged(format!("the object at `{key}` cannot be read")))?;
        memory.load(key, entry);
    }
    Ok(memory)
}

fn commit(database: &Database, writes: &[Write]) -> Result<(), StoreError> {
    let transaction = database.begin_write().map_err(backend)?;
    {
        let mut objects = transaction.open_table(OBJECTS).map_err(backend)?;
        let mut last = 0;
        for write in writes {
            let Change {
                key,
                revision,
                after,
                ..
            } = &write.change;
            last = *revision;
            if after.is_some() {
                objects
                    .insert(key.as_str(), encode(*revision, &write.json).as_slice())
                    .map_err(storage_error)?;
            } else {
                objects.remove(key.as_str()).map_err(storage_error)?;
            }
        }
        let mut meta = transaction.open_table(META).map_err(backend)?;
        meta.insert("revision", last).map_err(storage_error)?;
    }
    transaction.commit().map_err(backend)
}

fn encode(revision: u64, json: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(json.len() + 12);
    bytes.extend_from_slice(&revision.to_le_bytes());
    bytes.extend_from_slice(&checksum(json).to_le_bytes());
    bytes.extend_from_slice(json);
    bytes
}

fn decode(bytes: &[u8]) -> Option<Entry> {
    let (revision, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, json) = rest.split_first_chunk::<4>()?;
    if checksum(json) != u32::from_le_bytes(*sum) {
        return None;
    }
    Some(Entry {
        value: Arc::new(serde_json::from_slice(json).ok()?),
        revision: u64::from_le_bytes(*revision),
        bytes: json.len(),
    })
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

fn database_error(error: DatabaseError) -> StoreError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => StoreError::InUse,
        DatabaseError::Storage(error) => storage_error(error),
        error => StoreError::Damaged(error.to_string()),
    }
}

fn storage_error(error: StorageError) -> StoreError {
    match error {
        StorageError::Corrupted(text) => StoreError::Damaged(text),
        StorageError::Io(error) => io_error(error),
        error => StoreError::Backend(error.to_string()),
    }
}

fn io_error(error: io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof => {
            StoreError::Damaged(error.to_string())
        }
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            StoreError::Full
        }
        _ => StoreError::Backend(error.to_string()),
    }
}

fn backend(error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Corrupted(text) => StoreError::Damaged(text),
        redb::Error::Io(error) => io_error(error),
        error @ (redb::Error::TableTypeMismatch { .. }
        | redb::Error::TypeDefinitionChanged { .. }) => StoreError::Damaged(error.to_string()),
        error => StoreError::Backend(error.to_string()),
    }
}

/// The file, waiting for the disk only once in a while.
#[derive(Debug)]
struct SparingSync {
    file: FileBackend,
    last: Mutex<Option<Instant>>,
}

impl StorageBackend for SparingSync {
    fn len(&self) -> Result<u64, io::Error> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        self.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        // The first seconds of a lab are its start: nothing there is worth a wait.
        let start = last.get_or_insert_with(Instant::now);
        if start.elapsed() < SYNC_EVERY {
            return Ok(());
        }
        *start = Instant::now();
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.file.close()
    }
}

#[cfg(test)]
mod crash;
