//! Containers that ended: restart now, later, or never; crash back-off.

use std::time::Duration;

use super::journal::{go_duration, quote};
use super::lifecycle::LOOK;
use super::state::{Kubelet, Step};
use super::volume;
use crate::manifest::{Container, StaticPod};

impl Kubelet {
    /// A container ended and the kubelet noticed: restart now, later, or never.
    pub(super) fn after_exit(&mut self, index: usize, container: &Container) -> Step {
        let now = self.now.at;
        let Some(pod) = self.pods.get(index) else {
            return Step::Idle;
        };
        let spec = pod.spec.clone();
        let last = self
            .records
            .iter()
            .filter(|r| r.view.pod_uid == spec.uid && r.view.name == container.name)
            .max_by_key(|r| r.view.attempt);
        let finished = last.map_or(now, |r| r.finished_at);
        let code = last.and_then(|r| r.view.exit_code).unwrap_or(0);
        self.keep_one_dead(&spec.uid, &container.name);
        if !self.restarts(index, container, code) {
            return Step::Done;
        }
        let real = self.unscaled(finished);
        let Some(wait) = self.backoffs.wait(&spec.uid, &container.name, real) else {
            self.note_restart(&spec.uid, &container.name);
            self.note_dead(&spec.uid, &container.name);
            return Step::Create { at: now };
        };
        let text = format!(
            "back-off {} restarting failed container={} pod={}_{}({})",
            go_duration(wait),
            container.name,
            spec.name,
            spec.namespace,
            spec.uid
        );
        // The worker comes back a few times, and then with the back-off.
        let later = match wait.as_secs() {
            0..15 => &[0.0, 1.0, 7.0][..],
            15..60 => &[0.0, 1.0, 2.5, 6.0],
            _ => &[0.0, 1.0, 6.0, 0.85 * wait.as_secs_f64()],
        };
        let later: Vec<Duration> = later.iter().copied().map(Duration::from_secs_f64).collect();
        self.sync_after(&spec.uid, &later);
        if let Some(pod) = self.pods.get_mut(index) {
            pod.fingerprint = volume::fingerprint(&self.node, &pod.spec);
            pod.look_again = now + LOOK;
        }
        // Rounds of the worker: ten seconds and up to half more each.
        let mut rounds = Duration::ZERO;
        while rounds < self.scaled(wait) {
            rounds += self.jittered(Duration::from_secs(10));
        }
        let shown = now + self.scaled(Duration::from_secs(1)) + self.dice_up_to(4000);
        Step::BackOff {
            until: (finished + rounds).max(now),
            shown,
            text,
        }
    }

    pub(super) fn note_restart(&mut self, uid: &str, container: &str) {
        let last = self
            .records
            .iter()
            .filter(|r| r.view.pod_uid == uid && r.view.name == container)
            .max_by_key(|r| r.view.attempt);
        let finished = last.map_or(self.now.at, |r| r.finished_at);
        let (finished, now) = (self.unscaled(finished), self.unscaled(self.now.at));
        self.backoffs.next(uid, container, finished, now);
        let image = last.map(|r| r.view.image.clone()).unwrap_or_default();
        let pod = self.pods.iter().find(|p| p.spec.uid == uid);
        let spec = pod.and_then(|p| p.spec.container(container));
        if spec.is_some_and(|c| c.pull_policy == "Always") {
            self.pulled(uid, container, &image);
            return;
        }
        let text = format!(
            "Container image \"{image}\" already present on machine and can be accessed by the pod"
        );
        self.event(uid, Some(container), "Normal", "Pulled", &text);
    }

    /// A sync of a container in crash back-off.
    pub(super) fn still_crashing(&mut self, spec: &StaticPod, container: &Container, text: &str) {
        self.note_dead(&spec.uid, &container.name);
        let message = format!(
            "Back-off restarting failed container {} in pod {}_{}({})",
            container.name, spec.name, spec.namespace, spec.uid
        );
        let name = Some(container.name.as_str());
        self.event(&spec.uid, name, "Warning", "BackOff", &message);
        let error = format!(
            "failed to \"StartContainer\" for \"{}\" with CrashLoopBackOff: {}",
            container.name,
            quote(text)
        );
        self.sync_error(&spec.uid, &spec.full_name(), &error);
    }

    /// At each sync the kubelet sets out to remove dead containers, and keeps the newest.
    fn note_dead(&mut self, uid: &str, container: &str) {
        let of_it = self
            .records
            .iter()
            .filter(|r| r.view.pod_uid == uid && r.view.name == container);
        let id = of_it
            .max_by_key(|r| r.view.attempt)
            .map(|r| r.view.id.clone());
        if let Some(id) = id {
            let values = [("containerID", id.as_str())];
            self.journal
                .info("scope.go:122", "RemoveContainer", &values);
        }
    }
}
