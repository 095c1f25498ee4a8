//! The life of a running server as its health checks tell it: post-start hooks that are not finished yet,
//! and a shutdown that has begun (`pkg/server/{hooks,lifecycle_signals,genericapiserver}.go`).

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::node::embedded::pace::Pace;

/// So long after it began to serve a real server knows no RBAC objects: only `system:masters` may
/// do anything, and an anonymous `/readyz` is forbidden.
const RBAC_SYNCED: Duration = Duration::from_millis(500);
/// So long after it began to serve a real server is ready.
pub const READY: Duration = Duration::from_secs(2);

/// Where a server is in its life.
#[derive(Debug)]
pub struct Lifecycle {
    pace: Pace,
    serving: OnceLock<Instant>,
    /// Whether the hooks that make requests are still at it.
    held: AtomicBool,
    shutting_down: AtomicBool,
}

/// How long after the first answer a check of the start-up succeeds. Those that wait for nothing but the
/// start of their goroutine are not in here.
fn finished_after(check: &str) -> Duration {
    let name = check.strip_prefix("poststarthook/").unwrap_or(check);
    match name {
        // These two look for their objects only after a second.
        "rbac/bootstrap-roles" | "scheduling/bootstrap-system-priority-classes" => READY,
        "autoregister-completion" => Duration::from_millis(1500),
        "apiservice-discovery-controller" => Duration::from_millis(900),
        "apiservice-registration-controller" | "apiservice-wait-for-first-sync" => {
            Duration::from_millis(800)
        }
        "start-apiextensions-controllers" | "crd-informer-synced" => Duration::from_millis(700),
        "informer-sync"
        | "bootstrap-controller"
        | "priority-and-fairness-config-producer"
        | "start-kubernetes-service-cidr-controller"
        | "start-service-ip-repair-controllers" => Duration::from_millis(600),
        _ => Duration::ZERO,
    }
}

impl Lifecycle {
    /// A server that has been ready since long ago.
    #[must_use]
    pub fn new(pace: Pace) -> Self {
        Self {
            pace,
            serving: OnceLock::new(),
            held: AtomicBool::new(false),
            shutting_down: AtomicBool::new(false),
        }
    }

    /// Requests can be answered since this moment.
    pub fn serve(&self, since: Instant) {
        let _ = self.serving.set(since);
    }

    fn has_passed(&self, wait: Duration) -> bool {
        self.serving
            .get()
            .is_none_or(|since| since.elapsed() >= self.pace.scale(wait))
    }

    /// Whether RBAC objects are known.
    #[must_use]
    pub fn knows_rbac(&self) -> bool {
        self.has_passed(RBAC_SYNCED)
    }

    /// Whether a check of the start-up (a hook, `informer-sync`, `autoregister-completion`) succeeds.
    #[must_use]
    pub fn is_finished(&self, check: &str) -> bool {
        let held = super::hooks::HOOKS.contains(&check) && self.held.load(Ordering::Acquire);
        !held && self.has_passed(finished_after(check))
    }

    /// The hooks that make requests begin.
    pub fn hold(&self) {
        self.held.store(true, Ordering::Release);
    }

    /// They have ended.
    pub fn release(&self) {
        self.held.store(false, Ordering::Release);
    }

    /// SIGTERM came.
    pub fn shut_down(&self) {
        self.shutting_down.store(true, Ordering::Release);
    }

    /// Whether SIGTERM came.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        self.shutting_down.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::embedded::apiserver::health;

    #[test]
    fn the_last_checks_to_succeed_are_the_recorded_ones() {
        let last: Vec<&str> = health::checks("readyz")
            .into_iter()
            .filter(|check| finished_after(check) == READY)
            .collect();
        assert_eq!(
            last,
            [
                "poststarthook/rbac/bootstrap-roles",
                "poststarthook/scheduling/bootstrap-system-priority-classes"
            ]
        );
        for check in health::checks("readyz") {
            assert!(finished_after(check) <= READY, "{check}");
        }
        assert!(RBAC_SYNCED < READY);
    }
}
