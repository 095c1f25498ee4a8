//! What the kubelet knows of its pods, and the runtime of its containers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::probe::Probes;
use super::source::Found;
use super::worker::Worker;
use crate::manifest::StaticPod;
use crate::node::embedded::snapshot::{ContainerSnapshot, Sandbox};

/// Where a pod is in its life.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Phase {
    /// Waits for another pod of the same name to end.
    Queued { retry: Duration },
    /// Rejected at admission, for good.
    Rejected { reason: String, message: String },
    /// Being run.
    Active { since: Duration },
    /// Being ended.
    Terminating,
    /// Ended; removed from everything at `gone`.
    Terminated { gone: Duration },
}

/// What happens next to a container of an active pod.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Step {
    /// Waits for volumes and sandbox.
    Idle,
    /// Its image is pulled, in vain.
    Pulling { until: Duration, text: String },
    /// Waits until the image is pulled again.
    PullBackOff {
        retry: Duration,
        delay: Duration,
        shown: Duration,
        text: String,
    },
    /// The image name is no image name, or the image may not be pulled.
    Hopeless { reason: &'static str, text: String },
    /// Will be made.
    Create { at: Duration },
    /// Was made, will be started.
    Start { id: String, at: Duration },
    /// Could not be made; will be tried again.
    CreateFailed {
        retry: Duration,
        reason: &'static str,
        text: String,
    },
    /// Runs, and its postStart hook runs until `until`; the worker of the pod waits for that.
    PostStart {
        id: String,
        until: Duration,
        problem: Option<String>,
    },
    /// Runs.
    Running { id: String },
    /// Ended; the kubelet notices at `noticed`.
    Exited { noticed: Duration },
    /// Waits in crash back-off, which ends at `expiry`; the worker looks again at `until`. The status tells from its second
    /// look on.
    BackOff {
        expiry: Duration,
        until: Duration,
        shown: bool,
        text: String,
    },
    /// Ended and stays so (`restartPolicy`).
    Done,
}

/// A container of a pod as the kubelet sees it.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub name: String,
    pub step: Step,
    /// Why its latest start counts as failed though its process ran.
    pub problem: Option<(&'static str, String)>,
    /// The container before the latest one, which the runtime has no more and the status still tells of.
    pub before: Option<Record>,
}

/// A volume on its way.
#[derive(Debug, Clone)]
pub(super) struct VolumeWork {
    pub name: String,
    pub ready: bool,
    pub retry: Duration,
    pub delay: Duration,
}

/// A pod of the kubelet.
#[derive(Debug, Clone)]
pub(super) struct Pod {
    pub spec: Arc<StaticPod>,
    pub path: String,
    pub phase: Phase,
    pub start_time: Option<Timestamp>,
    pub volumes: Vec<VolumeWork>,
    /// Whether its worker gave up waiting for its volumes and comes back later.
    pub volumes_late: bool,
    pub sandbox: Option<Sandbox>,
    pub sandboxes: u32,
    pub work: Vec<Work>,
    /// Comes back under the same UID once it has ended.
    pub again: Option<Found>,
    /// When each condition last changed, and to what.
    pub conditions: BTreeMap<&'static str, (bool, Timestamp)>,
    pub fingerprint: u64,
    pub look_again: Duration,
    /// When its sandbox is up.
    pub sandbox_up: Duration,
    /// Since when probe workers tick for it.
    pub probed_since: Option<Duration>,
    /// When something wakes its worker.
    pub wakes: Vec<Duration>,
    pub worker: Worker,
    /// When it does so for no reason (`syncFrequency`).
    pub resync: Duration,
}

/// What ended a program that neither SIGKILL nor the kernel's memory killer did.
pub(super) const OTHER_SIGNAL: &str = "signal";

/// A container of the runtime.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub view: ContainerSnapshot,
    pub probes: Probes,
    /// Time its process ended, on the node's clock.
    pub finished_at: Duration,
    /// When SIGKILL follows the SIGTERM.
    pub kill_at: Option<Duration>,
    /// When SIGTERM is sent at the earliest, where something comes before it.
    pub term_at: Option<Duration>,
    /// Whether it ends only after the containers that it is a sidecar of.
    pub last: bool,
    /// When the kernel kills it for its memory.
    pub oom_at: Option<Duration>,
    /// `SIGKILL`, `OOMKilled` or [`OTHER_SIGNAL`].
    pub killed: Option<&'static str>,
}
