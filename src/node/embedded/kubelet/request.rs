//! What node tools ask for: crictl and systemctl.

use std::time::Duration;

use super::input::{Effect, Request};
use super::pod::{OTHER_SIGNAL, Record, Step};
use super::source::FileSource;
use super::state::Kubelet;
use crate::node::embedded::snapshot::{ContainerState, ManifestsRead};

impl Kubelet {
    pub(super) fn requested(&mut self, request: Request) {
        match request {
            Request::RestartKubelet => {
                if self.active {
                    self.stop_kubelet();
                }
                self.start_kubelet();
            }
            Request::StopKubelet if self.active => self.stop_kubelet(),
            Request::StartKubelet if !self.active => self.start_kubelet(),
            Request::StopKubelet | Request::StartKubelet => {}
            Request::StopContainer(id, seconds) => {
                self.terminate(&id, Duration::from_secs(seconds));
            }
            Request::Signal(id, signal) => self.signal(&id, signal),
            Request::RemoveContainer(id) => {
                let running = |r: &&Record| r.view.state == ContainerState::Running;
                if self
                    .records
                    .iter()
                    .filter(|r| r.view.id == id)
                    .any(|r| running(&r))
                {
                    self.terminate(&id, Duration::ZERO);
                } else {
                    self.discard(&id);
                }
            }
            Request::StopSandbox(id) | Request::RemoveSandbox(id) => {
                let mut running = Vec::new();
                for pod in &mut self.pods {
                    let Some(sandbox) = pod.sandbox.as_mut().filter(|s| s.id == id) else {
                        continue;
                    };
                    sandbox.ready = false;
                    let uid = &pod.spec.uid;
                    let of_pod = self.records.iter().filter(|r| r.view.pod_uid == *uid);
                    running.extend(of_pod.map(|r| r.view.id.clone()));
                }
                for id in running {
                    self.terminate(&id, Duration::from_secs(10));
                }
            }
        }
    }

    /// A signal from somebody on the node: SIGTERM and SIGINT ask the process to end, SIGKILL kills it. Others that end
    /// processes make a Go program that is the first of its container exit with 2 (`dieFromSignal`,
    /// `runtime/signal_unix.go`): the kernel keeps the signal itself from it.
    fn signal(&mut self, id: &str, signal: i32) {
        let running = |r: &&mut Record| r.view.id == id && r.view.state == ContainerState::Running;
        if let Some(record) = self.records.iter_mut().find(running) {
            record.view.ready = false;
            if [2, 15].contains(&signal) {
                self.effects.push(Effect::Terminate(id.to_owned()));
            } else {
                record.killed = Some(if signal == 9 { "SIGKILL" } else { OTHER_SIGNAL });
                self.effects.push(Effect::Kill(id.to_owned()));
            }
        }
    }

    fn stop_kubelet(&mut self) {
        self.active = false;
        self.forget_events();
        self.journal
            .systemd("Stopping kubelet.service - kubelet: The Kubernetes Node Agent...");
        self.journal
            .systemd("kubelet.service: Deactivated successfully.");
        self.journal
            .systemd("Stopped kubelet.service - kubelet: The Kubernetes Node Agent.");
    }

    fn start_kubelet(&mut self) {
        self.active = true;
        self.pid = self.take_pid();
        self.journal.set_pid(self.pid);
        self.kubelet_started = self.now.wall;
        self.backoffs.clear();
        self.source = FileSource::default();
        self.start_loop();
        self.announce();
        // A new kubelet knows nothing of back-offs: what waits is tried at once.
        let now = self.now.at;
        for pod in &mut self.pods {
            for work in &mut pod.work {
                match &mut work.step {
                    Step::BackOff { expiry, until, .. } => (*expiry, *until) = (now, now),
                    Step::PullBackOff { retry, .. } => *retry = now,
                    _ => {}
                }
            }
            for volume in pod.volumes.iter_mut().filter(|v| !v.ready) {
                volume.retry = now;
                volume.delay = Duration::ZERO;
            }
        }
        self.acted_on = ManifestsRead::of(&self.node);
        self.scan();
    }
}
