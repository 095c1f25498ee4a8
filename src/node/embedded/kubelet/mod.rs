//! The kubelet: watches the manifests directory; starts, stops and replaces static pods.
//!
//! [`state::Kubelet`] decides, as a state machine without clock or threads; [`run`] is the edge:
//! file watcher, timers, processes, probes, journal and snapshot on disk.

mod admission;
mod backoff;
mod edge;
pub mod journal;
mod lifecycle;
pub mod probe;
pub mod prober;
mod source;
pub mod state;
mod status;
#[cfg(test)]
mod tests;
mod volume;

pub use edge::{REQUESTS, run};
