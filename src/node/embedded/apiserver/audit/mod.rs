//! The audit pipeline of the running server: policy decision, events, backends.

mod backup;
pub mod buffered;
pub mod clock;
pub(super) mod ending;
pub mod errors;
mod file_path;
pub mod ignore;
pub mod legacy;
pub mod log;
mod mill;
pub mod recorder;
mod rotation;
pub mod setup;
pub mod truncate;
pub mod union;
pub mod webhook;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;

use self::clock::StartClock;
use self::errors::PluginErrors;
use self::union::Union;
use crate::audit::event::Event;
use crate::audit::level::{Level, Stage};
use crate::audit::policy::Policy;

/// An event on its way to the backends.
#[derive(Debug, Clone)]
pub struct Record {
    /// The event.
    pub event: Event,
    /// Why it cannot be written as JSON, if it cannot.
    pub unencodable: Option<String>,
}

/// Where events go (`pkg/audit/types.go`).
pub trait Backend: Send + Sync {
    /// As in `Using audit backend: …`: `truncate<ignoreErrors<log>>`.
    fn name(&self) -> String;

    /// Takes events; ends when they are stored, queued or given up. `false`: some could not be
    /// stored, and whoever asks should know.
    fn process<'a>(&'a self, records: &'a [&'a Record]) -> BoxFuture<'a, bool>;

    /// No more events will come: what is queued goes out.
    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// Policy and backends.
#[derive(Default)]
pub struct Sink {
    policy: Option<Policy>,
    backend: Option<Box<dyn Backend>>,
    errors: Option<PluginErrors>,
    clock: Arc<StartClock>,
    events: AtomicU64,
    rejected: AtomicU64,
    levels: [AtomicU64; 4],
    /// Whether the process that writes is over.
    is_closed: AtomicBool,
}

/// What `/metrics` says of audit (`pkg/audit/metrics.go`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events given to the backends.
    pub events: u64,
    /// Requests refused because a strict backend failed.
    pub rejected: u64,
    /// Requests by the level that the policy gave them.
    pub levels: Vec<(&'static str, u64)>,
    /// Events that a plugin lost.
    pub errors: Vec<(&'static str, u64)>,
}

impl Sink {
    /// A sink. Without a policy nothing is audited; without backends nothing is written.
    #[must_use]
    pub fn new(policy: Option<Policy>, backends: Vec<Box<dyn Backend>>) -> Self {
        Self {
            policy,
            backend: Union::of(backends),
            ..Self::default()
        }
    }

    /// Counts the errors reported here, too.
    #[must_use]
    pub fn counting(mut self, errors: PluginErrors) -> Self {
        self.errors = Some(errors);
        self
    }

    /// Waits by this clock.
    #[must_use]
    pub fn timed(mut self, clock: Arc<StartClock>) -> Self {
        self.clock = clock;
        self
    }

    /// The clock that its backends wait by.
    #[must_use]
    pub fn clock(&self) -> &StartClock {
        &self.clock
    }

    /// The name of all backends together.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        self.backend.as_ref().map(|backend| backend.name())
    }

    /// The policy in force, if events are to be made at all.
    #[must_use]
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref().filter(|_| self.backend.is_some())
    }

    /// Counts a request of this level.
    pub fn observe(&self, level: Level) {
        if let Some(count) = self.levels.get(level as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Gives an event to the backends. `false`: the request is to be refused if it has not begun.
    pub async fn process(&self, record: &Record) -> bool {
        if self.is_closed.load(Ordering::Acquire) {
            return true;
        }
        self.events.fetch_add(1, Ordering::Relaxed);
        let Some(backend) = &self.backend else {
            return true;
        };
        let stored = backend.process(&[record]).await;
        if !stored && record.event.stage == Stage::RequestReceived {
            self.rejected.fetch_add(1, Ordering::Relaxed);
        }
        stored
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let levels = [
            Level::None,
            Level::Metadata,
            Level::Request,
            Level::RequestResponse,
        ];
        Counts {
            events: self.events.load(Ordering::Relaxed),
            rejected: self.rejected.load(Ordering::Relaxed),
            levels: levels
                .iter()
                .zip(&self.levels)
                .map(|(level, count)| (level.name(), count.load(Ordering::Relaxed)))
                .collect(),
            errors: self
                .errors
                .as_ref()
                .map(PluginErrors::counts)
                .unwrap_or_default(),
        }
    }

    /// Writes nothing from now on: answers that go on belong to a process that is no more.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
    }

    /// Ends the backends; gives whether there are any.
    pub async fn shutdown(&self) -> bool {
        match &self.backend {
            Some(backend) => {
                backend.shutdown().await;
                true
            }
            None => false,
        }
    }
}

/// Keeps events in memory, for tests.
#[derive(Default)]
pub struct Memory(Mutex<Vec<Event>>);

impl Memory {
    /// Takes what was kept.
    #[must_use]
    pub fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Backend for Arc<Memory> {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn process<'a>(&'a self, records: &'a [&'a Record]) -> BoxFuture<'a, bool> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(
                records
                    .iter()
                    .filter(|record| record.unencodable.is_none())
                    .map(|record| record.event.clone()),
            );
        Box::pin(std::future::ready(true))
    }
}
