//! Containers that ended: restart now, later, or never; crash back-off.

use std::time::Duration;

use super::journal::{go_duration, quote};
use super::lifecycle::LOOK;
use super::state::{Kubelet, Step};
use super::volume;
use crate::manifest::{Container, StaticPod};
use crate::node::embedded::snapshot::ContainerState;

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
        let earlier = last.map_or(0, |r| r.view.attempt);
        let before = self
            .records
            .iter()
            .filter(|r| r.view.pod_uid == spec.uid && r.view.name == container.name)
            .filter(|r| r.view.attempt < earlier && r.view.state == ContainerState::Exited)
            .max_by_key(|r| r.view.attempt)
            .cloned();
        let pod = self.pods.get_mut(index);
        let work = pod.and_then(|p| p.work.iter_mut().find(|w| w.name == container.name));
        if let Some(work) = work {
            work.before = before;
        }
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
        if let Some(pod) = self.pods.get_mut(index) {
            pod.fingerprint = volume::fingerprint(&self.node, &pod.spec);
            pod.look_again = now + LOOK;
        }
        self.still_crashing(&spec, container, &text);
        let expiry = finished + self.scaled(wait);
        Step::BackOff {
            expiry,
            until: self.put_off(expiry),
            shown: false,
            text,
        }
    }

    /// The worker looks at a container in crash back-off: it starts it, or says that it must wait and looks again later.
    pub(super) fn look_at_back_off(
        &mut self,
        index: usize,
        container: &Container,
        expiry: Duration,
        text: &str,
    ) {
        let now = self.now.at;
        let over = now >= expiry;
        let next = if over { now } else { self.put_off(expiry) };
        let Some(pod) = self.pods.get_mut(index) else {
            return;
        };
        let spec = pod.spec.clone();
        let mut own = pod.work.iter_mut().filter(|w| w.name == container.name);
        if let Some(work) = own.next()
            && let Step::BackOff { until, shown, .. } = &mut work.step
        {
            *until = next;
            *shown = true;
        }
        if !over {
            self.still_crashing(&spec, container, text);
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
