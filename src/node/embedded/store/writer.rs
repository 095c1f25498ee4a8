//! The thread that writes: takes everything that waits, commits it as one transaction, then shows it.

use std::collections::HashMap;
use std::sync::{Arc, mpsc};

use serde_json::Value;
use tokio::sync::oneshot;

use super::disk::{Disk, Write};
use super::memory::{Entry, Memory};
use super::{Change, Op, Shared, StoreError, Stored};

/// At most this many requests share a commit.
const GROUP: usize = 512;
/// Most JSON in the store, as `--quota-backend-bytes` limits an etcd: all of it is in memory.
const QUOTA: usize = 32 << 20;

pub(super) type Answer = Result<Vec<Stored>, StoreError>;

/// A write with its value already encoded (by the caller's thread, not by the writer's).
pub(super) struct Prepared {
    op: Op,
    json: Vec<u8>,
}

impl Prepared {
    pub(super) fn new(op: Op) -> Self {
        let json = match &op {
            Op::Create { value, .. } | Op::Update { value, .. } | Op::Put { value, .. } => {
                value.to_string().into_bytes()
            }
            Op::Delete { .. } => Vec::new(),
        };
        Self { op, json }
    }
}

pub(super) struct Request {
    pub(super) ops: Vec<Prepared>,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// Runs until the queue is closed.
pub(super) fn run(shared: &Shared, mut disk: Option<Disk>, requests: &mpsc::Receiver<Request>) {
    while let Ok(first) = requests.recv() {
        let mut group = vec![first];
        while group.len() < GROUP {
            let Ok(next) = requests.try_recv() else { break };
            group.push(next);
        }
        if let Some(disk) = &mut disk
            && let Err(error) = recover(shared, disk)
        {
            for request in group {
                drop(request.answer.send(Err(error.clone())));
            }
            continue;
        }
        let (answers, staged) = shared.read(|memory| stage(memory, &mut group));
        let written = match &mut disk {
            Some(disk) if !staged.is_empty() => disk.write(&staged),
            _ => Ok(()),
        };
        let mut wrote = false;
        if let Err(error) = written {
            for request in group {
                drop(request.answer.send(Err(error.clone())));
            }
            continue;
        }
        if !staged.is_empty() {
            let revision = shared.write(|memory| {
                for write in staged {
                    memory.apply(write.change, write.json.len());
                }
                memory.revision()
            });
            shared.latest.send_replace(revision);
            wrote = true;
        }
        for (request, answer) in group.into_iter().zip(answers) {
            drop(request.answer.send(answer));
        }
        if wrote && let Some(disk) = &mut disk {
            disk.tidy(shared.read(Memory::bytes));
        }
    }
}

/// After a failed write (full disk) the file is opened again; what it holds is the truth.
fn recover(shared: &Shared, disk: &mut Disk) -> Result<(), StoreError> {
    let Some(reloaded) = disk.reopen_if_failed()? else {
        return Ok(());
    };
    if reloaded.revision() != shared.read(Memory::revision) {
        let revision = reloaded.revision();
        shared.write(|memory| *memory = reloaded);
        shared.latest.send_replace(revision);
    }
    Ok(())
}

/// Decides every request of the group, each all or nothing, in order.
fn stage(memory: &Memory, group: &mut [Request]) -> (Vec<Answer>, Vec<Write>) {
    let mut overlay: HashMap<String, Option<Entry>> = HashMap::new();
    let mut staged: Vec<Write> = Vec::new();
    let mut answers = Vec::with_capacity(group.len());
    let mut bytes = memory.bytes();
    for request in group {
        let before_request = bytes;
        let mut tried: Vec<Write> = Vec::new();
        // What the overlay held before this request, to take its writes back.
        let mut undo: Vec<(String, Option<Option<Entry>>)> = Vec::new();
        let mut results = Vec::new();
        let mut failed = None;
        for prepared in &mut request.ops {
            let revision = memory.revision() + (staged.len() + tried.len()) as u64 + 1;
            let key = key_of(&prepared.op).to_owned();
            let current = match overlay.get(&key) {
                Some(entry) => entry.clone(),
                None => memory.entry(&key).cloned(),
            };
            let before = current.as_ref().map_or(0, |entry| entry.bytes);
            let after = prepared.json.len();
            let is_full = after > before && bytes - before + after > QUOTA;
            let decided = if is_full {
                Err(StoreError::Full)
            } else {
                decide(&prepared.op, current.as_ref())
            };
            match decided {
                Err(error) => {
                    failed = Some(error);
                    break;
                }
                Ok(after) => {
                    bytes = bytes - before + prepared.json.len();
                    results.push(Stored {
                        key: key.clone(),
                        value: after
                            .clone()
                            .or_else(|| current.as_ref().map(|entry| Arc::clone(&entry.value)))
                            .unwrap_or_default(),
                        revision,
                    });
                    let entry = after.clone().map(|value| Entry {
                        value,
                        revision,
                        bytes: prepared.json.len(),
                    });
                    undo.push((key.clone(), overlay.insert(key.clone(), entry)));
                    tried.push(Write {
                        change: Change {
                            revision,
                            key,
                            before_revision: current.as_ref().map_or(0, |entry| entry.revision),
                            before: current.map(|entry| entry.value),
                            after,
                        },
                        json: std::mem::take(&mut prepared.json),
                    });
                }
            }
        }
        match failed {
            None => {
                staged.append(&mut tried);
                answers.push(Ok(results));
            }
            Some(error) => {
                bytes = before_request;
                for (key, previous) in undo.into_iter().rev() {
                    match previous {
                        Some(previous) => overlay.insert(key, previous),
                        None => overlay.remove(&key),
                    };
                }
                answers.push(Err(error));
            }
        }
    }
    (answers, staged)
}

fn key_of(op: &Op) -> &str {
    match op {
        Op::Create { key, .. }
        | Op::Update { key, .. }
        | Op::Put { key, .. }
        | Op::Delete { key, .. } => key,
    }
}

/// The value after the write, or why it cannot be.
fn decide(op: &Op, current: Option<&Entry>) -> Result<Option<Arc<Value>>, StoreError> {
    match op {
        Op::Create { value, .. } => match current {
            Some(_) => Err(StoreError::Exists),
            None => Ok(Some(Arc::clone(value))),
        },
        Op::Put { value, .. } => Ok(Some(Arc::clone(value))),
        Op::Update {
            key,
            expected,
            value,
        } => {
            check(key, *expected, current)?;
            Ok(Some(Arc::clone(value)))
        }
        Op::Delete { key, expected } => {
            check(key, *expected, current)?;
            Ok(None)
        }
    }
}

fn check(key: &str, expected: Option<u64>, current: Option<&Entry>) -> Result<(), StoreError> {
    let current = current.ok_or(StoreError::NotFound)?;
    if expected.is_some_and(|expected| expected != current.revision) {
        return Err(StoreError::Conflict(Stored {
            key: key.to_owned(),
            value: Arc::clone(&current.value),
            revision: current.revision,
        }));
    }
    Ok(())
}
