//! Volumes of pods on their way (`pkg/volume/util/nestedpendingoperations`).

use std::time::Duration;

use super::journal::go_duration;
use super::state::{Kubelet, Step};
use super::{
    lifecycle::{LOOK, in_trouble},
    volume,
};
use crate::node::embedded::pace::Pace;

/// First wait after a failed mount; doubles up to [`MOUNT_MAX`].
const MOUNT_RETRY: Duration = Duration::from_millis(500);
const MOUNT_MAX: Duration = Duration::from_secs(122);

impl Kubelet {
    /// Sets up volumes that are due.
    pub(super) fn mount(&mut self, index: usize) -> bool {
        let now = self.now.at;
        let look = self.look(index);
        let pace = self.setting.pace;
        let Some(pod) = self.pods.get_mut(index) else {
            return false;
        };
        let spec = pod.spec.clone();
        let mut moved = false;
        let mut failures = Vec::new();
        for work in pod.volumes.iter_mut().filter(|v| !v.ready) {
            if work.retry > now && !look {
                continue;
            }
            let Some(volume) = spec.volume(&work.name) else {
                work.ready = true;
                continue;
            };
            match volume::set_up(&self.node, &spec, volume) {
                Ok(()) => {
                    work.ready = true;
                    moved = true;
                }
                Err(text) => {
                    work.delay = if work.delay.is_zero() {
                        MOUNT_RETRY
                    } else {
                        (work.delay * 2).min(MOUNT_MAX)
                    };
                    // In fast pace the first few retries would come within the same moment.
                    let wait = pace.scale(work.delay).max(Duration::from_millis(20));
                    work.retry = now + wait;
                    failures.push((work.name.clone(), work.delay, text));
                }
            }
        }
        for (name, delay, text) in failures {
            self.mount_failed(index, &name, delay, &text);
        }
        moved
    }

    fn mount_failed(&mut self, index: usize, volume: &str, delay: Duration, text: &str) {
        let Some(pod) = self.pods.get(index) else {
            return;
        };
        let (uid, name) = (pod.spec.uid.clone(), pod.spec.name.clone());
        let until = self.now.wall.checked_add(delay).unwrap_or(self.now.wall);
        let until = until.strftime("%Y-%m-%d %H:%M:%S%.9f +0000 UTC");
        let since = self.now.at.saturating_sub(Duration::ZERO).as_secs_f64() + delay.as_secs_f64();
        let unique = format!("kubernetes.io/host-path/{uid}-{volume}");
        let line = format!(
            "Operation for \"{{volumeName:{unique} podName:{uid} nodeName:}}\" failed. No retries permitted until {until} m=+{since:.9} (durationBeforeRetry {}). Error: MountVolume.SetUp failed for volume \"{volume}\" (UniqueName: \"{unique}\") pod \"{name}\" (UID: \"{uid}\") : {text}",
            go_duration(delay)
        );
        self.journal
            .klog('E', "nestedpendingoperations.go:348", &line);
        let message = format!("MountVolume.SetUp failed for volume \"{volume}\" : {text}");
        self.event(&uid, None, "Warning", "FailedMount", &message);
    }

    /// Fast pace: whether files that this pod waits for changed since the last look.
    fn look(&mut self, index: usize) -> bool {
        let now = self.now.at;
        if self.setting.pace != Pace::Fast {
            return false;
        }
        let Some(pod) = self.pods.get_mut(index) else {
            return false;
        };
        if !in_trouble(pod) || pod.look_again > now {
            return false;
        }
        pod.look_again = now + LOOK;
        let fingerprint = volume::fingerprint(&self.node, &pod.spec);
        let changed = pod.fingerprint != 0 && pod.fingerprint != fingerprint;
        pod.fingerprint = fingerprint;
        if changed {
            for work in &mut pod.work {
                match &mut work.step {
                    Step::BackOff { expiry, until, .. } => (*expiry, *until) = (now, now),
                    Step::CreateFailed { retry, .. } => *retry = now,
                    _ => {}
                }
            }
        }
        changed
    }
}
