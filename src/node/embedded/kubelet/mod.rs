//! The kubelet: watches the manifests directory; starts, stops and replaces static pods.
//!
//! [`state::Kubelet`] decides, as a state machine without clock or threads; [`run`] is the edge:
//! file watcher, timers, processes, probes, journal and snapshot on disk.

mod admission;
mod backoff;
mod edge;
mod hooks;
mod init;
mod input;
pub mod journal;
mod lifecycle;
mod mounting;
mod pod;
pub mod probe;
pub mod prober;
mod pull;
mod recorder;
mod request;
mod restart;
mod source;
mod start;
pub mod state;
mod status;
mod sync;
#[cfg(test)]
mod tests;
mod volume;
mod worker;

pub use edge::{REQUESTS, run};
pub use sync::{ApiView, Mirror};
