//! When the worker of a pod looks at it (`pkg/kubelet/pod_workers.go`). Whatever the kubelet learns of a
//! pod wakes its worker, which waits until the runtime was listed after its last look
//! (`GetNewerThan`, `pkg/kubelet/pleg/generic.go`); what the worker put off itself is due at a tick of the
//! sync loop (`pkg/kubelet/kubelet.go`).

use std::time::Duration;

use super::state::{Kubelet, Phase, Pod, RESYNC, Step};
use crate::manifest::Container;

/// Between ticks of the sync loop, and between lists of the runtime (`relistPeriod`).
const BEAT: Duration = Duration::from_secs(1);
/// From the end of a look that changed something until the runtime is listed because of it.
const ASKED: Duration = Duration::from_millis(20);

/// When the sync loop ticks and the runtime is listed: some time of each second.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rhythm {
    tick: Duration,
    relist: Duration,
}

/// The worker of a pod.
#[derive(Debug, Clone, Default)]
pub(super) struct Worker {
    /// When its last look ended.
    last: Duration,
    /// Whether the runtime was listed because of that look.
    fresh: bool,
    /// When it looks, having been woken.
    next: Option<Duration>,
    /// Whether it was woken once more meanwhile.
    pending: bool,
    /// Whether it is in the middle of making something.
    working: bool,
}

/// The first time of a rhythm that is not before `at`.
pub(super) fn beat(from: Duration, period: Duration, at: Duration) -> Duration {
    let past = at.saturating_sub(from).as_nanos();
    let beats = past.div_ceil(period.as_nanos().max(1));
    from + period * u32::try_from(beats).unwrap_or(u32::MAX)
}

impl Kubelet {
    /// The sync loop starts: once everything before it is done.
    pub(super) fn start_loop(&mut self) {
        let now = self.now.at;
        self.rhythm = Rhythm {
            tick: now + self.dice_up_to(1000),
            relist: now + self.dice_up_to(1000),
        };
    }

    /// The tick of the sync loop that finds what is due at `at`.
    pub(super) fn tick(&self, at: Duration) -> Duration {
        beat(self.rhythm.tick, self.scaled(BEAT), at)
    }

    /// When the runtime is listed next after `at`.
    pub(super) fn relist_after(&self, at: Duration) -> Duration {
        let next = at + Duration::from_nanos(1);
        beat(self.rhythm.relist, self.scaled(BEAT), next)
    }

    /// Wakes the worker of a pod at these times.
    pub(super) fn wake_at(&mut self, uid: &str, times: &[Duration]) {
        if let Some(pod) = self.pods.iter_mut().find(|p| p.spec.uid == uid) {
            pod.wakes.extend(times);
        }
    }

    /// Has the pod looked at after these waits of a real node.
    pub(super) fn wake_after(&mut self, uid: &str, waits: &[Duration]) {
        let now = self.now.at;
        let times: Vec<Duration> = waits.iter().map(|wait| now + self.scaled(*wait)).collect();
        self.wake_at(uid, &times);
    }

    /// Probe workers see a container that they do not know, and one that has ended: at their own ticks,
    /// which count from the time the pod was first run (`pkg/kubelet/prober/worker.go`).
    pub(super) fn wake_by_probes(&mut self, uid: &str, container: &Container, ended: bool) {
        let now = self.now.at;
        let since = self.pods.iter().find(|p| p.spec.uid == uid);
        let Some(since) = since.and_then(|p| p.probed_since) else {
            return;
        };
        let after = |period: u64| {
            let period = self.scaled(Duration::from_secs(period.max(1)));
            beat(since, period, now + Duration::from_nanos(1))
        };
        let slow = container.startup.as_ref().or(container.liveness.as_ref());
        let slow = slow.map(|probe| after(probe.period));
        let quick = container
            .readiness
            .as_ref()
            .map(|probe| after(probe.period));
        // One says that it is not started, another that it does not live: mostly while the worker looks already.
        let moment = self.scaled(Duration::from_millis(5));
        let again = self.throw() % 5 < 3;
        let times: Vec<Duration> = if ended {
            let later = slow.filter(|_| again).map(|at| at + moment);
            slow.into_iter().chain(later).collect()
        } else {
            slow.into_iter().chain(quick).collect()
        };
        self.wake_at(uid, &times);
    }

    fn wake(&mut self, index: usize) {
        let now = self.now.at;
        let Some(last) = self.pods.get(index).map(|p| p.worker.last) else {
            return;
        };
        let listed = self.relist_after(last).max(now);
        let Some(pod) = self.pods.get_mut(index) else {
            return;
        };
        let worker = &mut pod.worker;
        if worker.working || worker.next.is_some() {
            worker.pending = true;
        } else {
            worker.next = Some(if worker.fresh { now } else { listed });
        }
    }

    /// What the worker of a pod does now; whether it did anything.
    pub(super) fn work(&mut self, index: usize) -> bool {
        let now = self.now.at;
        let Some(pod) = self.pods.get_mut(index) else {
            return false;
        };
        let before = pod.wakes.len();
        pod.wakes.retain(|at| *at > now);
        let mut woken = before - pod.wakes.len();
        if pod.resync <= now && pod.start_time.is_some() {
            woken += 1;
            pod.resync = now + RESYNC;
        }
        for _ in 0..woken {
            self.wake(index);
        }
        let asked = now + self.scaled(ASKED);
        let Some(pod) = self.pods.get_mut(index) else {
            return false;
        };
        let busy = busy(pod, now);
        let worker = &mut pod.worker;
        match (worker.working, busy) {
            (false, true) => {
                worker.pending |= worker.next.take().is_some();
                worker.working = true;
            }
            (true, false) => {
                worker.working = false;
                worker.last = now;
                worker.fresh = true;
                worker.next = std::mem::take(&mut worker.pending).then_some(asked);
            }
            _ => {}
        }
        let due = worker.next.is_some_and(|at| at <= now);
        let noticed = |step: &Step| matches!(step, Step::Exited { noticed } if *noticed <= now);
        if !due || busy || pod.work.iter().any(|work| noticed(&work.step)) {
            return woken > 0;
        }
        self.sync_pod(index);
        true
    }

    /// The worker looks at its pod, unless it just did.
    pub(super) fn sync_once(&mut self, index: usize) {
        let last = self.pods.get(index).map(|p| p.worker.last);
        if last != Some(self.now.at) {
            self.sync_pod(index);
        }
    }

    /// The worker looks at its pod.
    pub(super) fn sync_pod(&mut self, index: usize) {
        let now = self.now.at;
        if let Some(pod) = self.pods.get_mut(index)
            && pod.worker.next.is_some_and(|at| at <= now)
        {
            pod.worker.next = None;
        }
        self.synced(index);
        let listed = self.relist_after(now);
        let resync = self.now.at + RESYNC + Duration::from_millis(self.dice % 30_000);
        let Some(pod) = self.pods.get_mut(index) else {
            return;
        };
        pod.resync = resync;
        let worker = &mut pod.worker;
        worker.last = now;
        worker.fresh = false;
        if std::mem::take(&mut worker.pending) {
            worker.next = Some(listed);
        }
    }

    /// When a look is put off until `expiry`: half more at most, but no longer than a pod is left alone
    /// anyway (`completeWork`).
    pub(super) fn put_off(&mut self, expiry: Duration) -> Duration {
        let now = self.now.at;
        let wait = expiry.saturating_sub(now).min(self.scaled(RESYNC));
        let half = u64::try_from(wait.as_micros() / 2).unwrap_or(0);
        let more = Duration::from_micros(self.throw() % half.max(1));
        self.tick(now + wait + more)
    }
}

impl Worker {
    /// When something is due.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.next
    }
}

/// Whether the worker waits for what it set going.
fn busy(pod: &Pod, now: Duration) -> bool {
    let Phase::Active { since } = pod.phase else {
        return false;
    };
    let making = |step: &Step| {
        matches!(
            step,
            Step::Create { .. }
                | Step::Start { .. }
                | Step::Pulling { .. }
                | Step::PostStart { .. }
        )
    };
    let mounting = now >= since && pod.volumes.iter().any(|v| !v.ready);
    pod.start_time.is_none()
        || mounting
        || now < pod.sandbox_up
        || pod.work.iter().any(|work| making(&work.step))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beats_count_from_their_first() {
        let at = Duration::from_millis;
        assert_eq!(beat(at(300), at(1000), at(0)), at(300));
        assert_eq!(beat(at(300), at(1000), at(300)), at(300));
        assert_eq!(beat(at(300), at(1000), at(301)), at(1300));
        assert_eq!(beat(at(300), at(1000), at(5299)), at(5300));
    }
}
