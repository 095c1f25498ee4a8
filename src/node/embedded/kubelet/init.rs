//! Init containers and sidecars: whose turn it is, what stays ended, and what goes when the work is done
//! (`pkg/kubelet/kuberuntime/kuberuntime_manager.go`, `computeInitContainerActions`).

use std::time::Duration;

use super::state::{Kubelet, Pod, Step};
use crate::manifest::{Container, StaticPod};
use crate::node::embedded::snapshot::ContainerState;

impl Kubelet {
    /// Whether the containers before this one let it start: init containers have ended well, sidecars have
    /// started, and no hook holds the worker up.
    pub(super) fn its_turn(&self, pod: &Pod, number: usize) -> bool {
        // A worker does one thing after the other.
        let busy = |step: &Step| {
            matches!(
                step,
                Step::Create { .. } | Step::Start { .. } | Step::PostStart { .. }
            )
        };
        if pod.work.iter().any(|work| busy(&work.step)) {
            return false;
        }
        let before = number.min(pod.spec.init_containers.len());
        (0..before).all(|number| self.initialized(pod, number))
    }

    /// Whether an init container is no reason to wait any more.
    pub(super) fn initialized(&self, pod: &Pod, number: usize) -> bool {
        let (Some(work), Some(container)) = (pod.work.get(number), pod.spec.nth_container(number))
        else {
            return true;
        };
        match &work.step {
            Step::Running { id } if container.is_sidecar() => {
                let own = self.records.iter().find(|r| r.view.id == *id);
                own.is_some_and(|r| r.probes.started())
            }
            Step::Done if !container.is_sidecar() => {
                self.last_code(&pod.spec.uid, &container.name) == Some(0)
            }
            _ => false,
        }
    }

    /// Whether an init container failed for good, and the pod with it.
    pub(super) fn failed_for_good(&self, pod: &Pod) -> bool {
        let inits = pod.spec.init_containers.iter().zip(&pod.work);
        inits
            .filter(|(c, work)| !c.is_sidecar() && work.step == Step::Done)
            .any(|(c, _)| self.last_code(&pod.spec.uid, &c.name) != Some(0))
    }

    /// The exit code of the latest process of a container.
    pub(super) fn last_code(&self, uid: &str, name: &str) -> Option<i32> {
        let own = self
            .records
            .iter()
            .filter(|r| r.view.pod_uid == uid && r.view.name == name);
        own.max_by_key(|r| r.view.attempt)?.view.exit_code
    }

    /// Whether a container that ended with this code is started again.
    pub(super) fn restarts(&self, index: usize, container: &Container, code: i32) -> bool {
        let Some(pod) = self.pods.get(index) else {
            return false;
        };
        let spec = &pod.spec;
        let own = container.restart_policy.as_deref();
        let policy = own.unwrap_or(spec.restart_policy.as_str());
        if spec.is_sidecar(&container.name) {
            return !self.work_is_done(pod);
        }
        let is_init = spec
            .init_containers
            .iter()
            .any(|c| c.name == container.name);
        match policy {
            "Never" => false,
            "OnFailure" => code != 0,
            _ => code != 0 || !is_init,
        }
    }

    /// Whether nothing but sidecars could still run.
    fn work_is_done(&self, pod: &Pod) -> bool {
        let inits = pod.spec.init_containers.len();
        pod.work
            .iter()
            .skip(inits)
            .all(|work| work.step == Step::Done)
            || self.failed_for_good(pod)
    }

    /// Sidecars end when the containers they go with have ended for good.
    pub(super) fn end_sidecars(&mut self, index: usize) {
        let Some(pod) = self.pods.get(index) else {
            return;
        };
        if pod.spec.init_containers.is_empty() || !self.work_is_done(pod) {
            return;
        }
        let spec = pod.spec.clone();
        let running = self.records.iter().filter(|r| {
            r.view.pod_uid == spec.uid
                && r.view.state == ContainerState::Running
                && r.kill_at.is_none()
                && spec.is_sidecar(&r.view.name)
        });
        let running: Vec<(String, String)> = running
            .map(|r| (r.view.id.clone(), r.view.name.clone()))
            .collect();
        for (id, name) in running {
            let text = format!("Stopping container {name}");
            self.event(&spec.uid, Some(&name), "Normal", "Killing", &text);
            self.end_container(&id, Duration::from_secs(spec.grace_seconds), true);
        }
    }

    /// A new sandbox begins with the first init container again.
    pub(super) fn initialize_again(&mut self, index: usize) {
        if let Some(pod) = self.pods.get_mut(index)
            && !pod.spec.init_containers.is_empty()
        {
            for work in &mut pod.work {
                work.step = Step::Idle;
            }
        }
    }

    /// Whether a container that is to end last may end now: what it is a sidecar of has ended.
    pub(super) fn may_end(&self, spec: &StaticPod, name: &str) -> bool {
        let place = |name: &str| spec.all_containers().position(|c| c.name == name);
        let own = place(name);
        !self.records.iter().any(|r| {
            r.view.pod_uid == spec.uid
                && r.view.state == ContainerState::Running
                && r.view.name != name
                && place(&r.view.name) > own
        })
    }
}
