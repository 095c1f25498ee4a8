//! The audit pipeline of the running server: policy decision, events, backends.

pub(super) mod ending;
pub mod legacy;
pub mod log;
pub mod recorder;
mod rotation;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::audit::event::Event;
use crate::audit::policy::Policy;

/// Where events go.
pub trait Backend: Send + Sync {
    /// Takes an event. `false` makes the request fail where the mode is that strict.
    fn process(&self, event: &Event) -> bool;

    /// An event that cannot be written as JSON, for this reason.
    fn refuse(&self, event: &Event, reason: &str) -> bool {
        let _ = (event, reason);
        true
    }

    /// The server shuts down.
    fn shutdown(&self) {}
}

/// Policy and backends.
#[derive(Default)]
pub struct Sink {
    policy: Option<Policy>,
    backends: Vec<Box<dyn Backend>>,
    events: AtomicU64,
    refused: AtomicU64,
}

impl Sink {
    /// A sink. Without a policy nothing is audited; without backends nothing is written.
    #[must_use]
    pub fn new(policy: Option<Policy>, backends: Vec<Box<dyn Backend>>) -> Self {
        Self {
            policy,
            backends,
            ..Self::default()
        }
    }

    /// The policy in force, if events are to be made at all.
    #[must_use]
    pub fn policy(&self) -> Option<&Policy> {
        self.policy.as_ref().filter(|_| !self.backends.is_empty())
    }

    /// Gives an event to every backend.
    pub fn process(&self, event: &Event) -> bool {
        self.events.fetch_add(1, Ordering::Relaxed);
        // Every backend gets the event, whatever the others say.
        let mut ok = true;
        for backend in &self.backends {
            ok &= backend.process(event);
        }
        if !ok {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        ok
    }

    /// Reports an event that cannot be encoded.
    pub fn refuse(&self, event: &Event, reason: &str) -> bool {
        self.events.fetch_add(1, Ordering::Relaxed);
        let mut ok = true;
        for backend in &self.backends {
            ok &= backend.refuse(event, reason);
        }
        ok
    }

    /// Events given to the backends so far, and requests refused because of one.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (
            self.events.load(Ordering::Relaxed),
            self.refused.load(Ordering::Relaxed),
        )
    }

    /// Ends the backends.
    pub fn shutdown(&self) {
        for backend in &self.backends {
            backend.shutdown();
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

impl Backend for std::sync::Arc<Memory> {
    fn process(&self, event: &Event) -> bool {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(event.clone());
        true
    }
}
