//! Lifecycle hooks, and how containers are asked to end (`pkg/kubelet/lifecycle/handlers.go`,
//! `pkg/kubelet/kuberuntime/kuberuntime_container.go`).

use std::time::Duration;

use super::journal::quote;
use super::prober;
use super::state::{Effect, Kubelet, Record, Step};
use crate::manifest::{Container, Hook, ProbeAction, StaticPod};
use crate::node::embedded::runtime::image::{self, Image};
use crate::node::embedded::runtime::stand_in;
use crate::node::embedded::snapshot::ContainerState;

/// What a container is given after its SIGTERM, whatever is left of its grace period.
const LEAST_GRACE: Duration = Duration::from_secs(2);

/// How a hook ends.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// After this long on a real node.
    after: Duration,
    /// What went wrong: what the handler says of it, and the error alone.
    problem: Option<(String, String)>,
}

impl Kubelet {
    /// A container was started: its hook runs, if it has one.
    pub(super) fn after_start(&mut self, index: usize, container: &Container, id: &str) -> Step {
        let pod = self.pods.get_mut(index);
        let work = pod.and_then(|p| p.work.iter_mut().find(|w| w.name == container.name));
        if let Some(work) = work {
            work.problem = None;
        }
        let id = id.to_owned();
        let (Some(hook), Some(pod)) = (&container.post_start, self.pods.get(index)) else {
            return Step::Running { id };
        };
        let (uid, full_name) = (pod.spec.uid.clone(), pod.spec.full_name());
        let outcome = self.run_hook(&pod.spec.clone(), container, hook, true);
        let problem = outcome.problem.map(|(text, error)| {
            let container_id = format!("containerd://{id}");
            self.journal.error(
                "kuberuntime_container.go:343",
                "Failed to execute PostStartHook",
                &[
                    ("err", &error),
                    ("pod", &full_name),
                    ("podUID", &uid),
                    ("containerName", &container.name),
                    ("containerID", &container_id),
                ],
            );
            text
        });
        let until = self.now.at + self.scaled(outcome.after);
        Step::PostStart { id, until, problem }
    }

    /// The hook of a container that was started has ended.
    pub(super) fn after_hook(
        &mut self,
        index: usize,
        container: &Container,
        id: String,
        problem: Option<String>,
    ) -> Step {
        let (Some(text), Some(pod)) = (problem, self.pods.get_mut(index)) else {
            return Step::Running { id };
        };
        let reason = "PostStartHookError";
        if let Some(work) = pod.work.iter_mut().find(|w| w.name == container.name) {
            work.problem = Some((reason, text.clone()));
        }
        let spec = pod.spec.clone();
        let name = Some(container.name.as_str());
        let event = "PostStartHook failed";
        self.event(&spec.uid, name, "Warning", "FailedPostStartHook", event);
        self.event(&spec.uid, name, "Normal", "Killing", "FailedPostStartHook");
        self.end_container(&id, Duration::from_secs(spec.grace_seconds), false);
        let error = format!(
            "failed to \"StartContainer\" for \"{}\" with {reason}: {}",
            container.name,
            quote(&text)
        );
        self.sync_error(&spec.uid, &spec.full_name(), &error);
        Step::Running { id }
    }

    /// Asks a container to end: its preStop hook, its turn among sidecars, SIGTERM, and SIGKILL after
    /// what is left of the grace period.
    pub(super) fn end_container(&mut self, id: &str, grace: Duration, in_turn: bool) {
        let running = |r: &&Record| r.view.id == id && r.view.state == ContainerState::Running;
        let Some(record) = self.records.iter().find(running) else {
            return;
        };
        let (uid, name) = (record.view.pod_uid.clone(), record.view.name.clone());
        let waits = record.term_at.is_some();
        let spec = self
            .pods
            .iter()
            .find(|p| p.spec.uid == uid)
            .map(|p| p.spec.clone());
        let Some((spec, container)) = spec.as_ref().and_then(|s| Some((s, s.container(&name)?)))
        else {
            self.terminate(id, grace);
            return;
        };
        if waits {
            return;
        }
        let hook = container.pre_stop.as_ref().filter(|_| !grace.is_zero());
        let outcome = hook
            .map(|hook| self.run_hook(spec, container, hook, false))
            .unwrap_or_default();
        if let Some((_, error)) = &outcome.problem {
            let container_id = format!("containerd://{id}");
            self.journal.error(
                "kuberuntime_container.go:797",
                "PreStop hook failed",
                &[
                    ("err", error),
                    ("pod", &spec.full_name()),
                    ("podUID", &uid),
                    ("containerName", &name),
                    ("containerID", &container_id),
                ],
            );
            let text = "PreStopHook failed";
            self.event(&uid, Some(&name), "Warning", "FailedPreStopHook", text);
        }
        let last = in_turn && spec.is_sidecar(&name);
        let after = outcome.after.min(grace);
        if after.is_zero() && (!last || self.may_end(spec, &name)) {
            self.terminate(id, grace);
            return;
        }
        let now = self.now.at;
        let (term_at, kill_at) = (now + self.scaled(after), now + self.scaled(grace));
        if let Some(record) = self.records.iter_mut().find(|r| r.view.id == id) {
            record.view.ready = false;
            record.term_at = Some(term_at);
            record.kill_at = Some(kill_at);
            record.last = last;
        }
    }

    /// SIGTERM for containers whose hook has ended and whose turn it is.
    pub(super) fn send_terms(&mut self) {
        let now = self.now.at;
        let due: Vec<String> = self
            .records
            .iter()
            .filter(|r| r.term_at.is_some_and(|at| at <= now))
            .filter(|r| {
                let pod = self.pods.iter().find(|p| p.spec.uid == r.view.pod_uid);
                let waits = |spec: &StaticPod| !self.may_end(spec, &r.view.name);
                let overdue = r.kill_at.is_some_and(|at| at <= now);
                overdue || !r.last || !pod.is_some_and(|p| waits(&p.spec))
            })
            .map(|r| r.view.id.clone())
            .collect();
        let least = now + self.scaled(LEAST_GRACE);
        for record in &mut self.records {
            if due.contains(&record.view.id) {
                record.term_at = None;
                record.kill_at = record.kill_at.map(|at| at.max(least));
                self.effects.push(Effect::Terminate(record.view.id.clone()));
            }
        }
    }

    /// What a hook of a container comes to. A container that is `fresh` does not listen yet.
    fn run_hook(
        &self,
        spec: &StaticPod,
        container: &Container,
        hook: &Hook,
        fresh: bool,
    ) -> Outcome {
        let of = format!(
            "for Container {} in Pod {}",
            quote(&container.name),
            quote(&format!("{}_{}({})", spec.name, spec.namespace, spec.uid))
        );
        let failed = |what: &str, error: String, message: &str| {
            let message = quote(message);
            let text = format!("{what} {of} failed - error: {error}, message: {message}");
            Some((text, error))
        };
        match hook {
            Hook::Sleep(seconds) => Outcome {
                after: Duration::from_secs(*seconds),
                problem: None,
            },
            Hook::Action(ProbeAction::Exec(command)) => {
                let what = format!("Exec lifecycle hook ([{}])", command.join(" "));
                if let Some(error) = prober::cannot_exec(
                    &container.image,
                    command,
                    &prober::exec_id(&container.name),
                ) {
                    return Outcome {
                        after: Duration::ZERO,
                        problem: failed(&what, error, ""),
                    };
                }
                let Some(ending) = stand_in::ending("", command) else {
                    return Outcome::default();
                };
                let output: String = ending
                    .lines
                    .iter()
                    .map(|line| format!("{line}\n"))
                    .collect();
                let error = format!(
                    "command '{}' exited with {}: ",
                    command.join(" "),
                    ending.code
                );
                Outcome {
                    after: ending.after,
                    problem: (ending.code != 0)
                        .then(|| failed(&what, error, &output))
                        .flatten(),
                }
            }
            Hook::Action(ProbeAction::Http {
                host,
                port,
                path,
                scheme,
            }) => {
                let what = format!("Http lifecycle hook ({path})");
                let error = self.http_hook(container, fresh, (host, port, path, scheme));
                Outcome {
                    after: Duration::ZERO,
                    problem: error.and_then(|error| failed(&what, error, "")),
                }
            }
            Hook::Action(ProbeAction::Tcp { port, host }) => {
                let port = port.parse().map_or_else(
                    |_| format!("{{1 0 {port}}}"),
                    |number: u16| format!("{{0 {number} }}"),
                );
                let error = format!(
                    "invalid handler: &LifecycleHandler{{Exec:nil,HTTPGet:nil,TCPSocket:&TCPSocketAction{{Port:{port},Host:{host},}},Sleep:nil,}}"
                );
                Outcome {
                    after: Duration::ZERO,
                    problem: Some((format!("Cannot run handler: {error}"), error)),
                }
            }
            Hook::Action(ProbeAction::Grpc(_)) => Outcome::default(),
        }
    }

    /// What is wrong with an HTTP hook: nothing that answers, whatever it answers.
    fn http_hook(
        &self,
        container: &Container,
        fresh: bool,
        (host, port, path, scheme): (&str, &str, &str, &str),
    ) -> Option<String> {
        let named = container
            .ports
            .iter()
            .find(|p| !p.name.is_empty() && p.name == port);
        let number = port.parse().ok().or(named.map(|p| p.container_port));
        let Some(number) = number else {
            return Some(format!(
                "couldn't find port: {port} in {{{}}}",
                container.name
            ));
        };
        let Image::Program(own) = image::find(&container.image) else {
            return None;
        };
        let listening = self.listening();
        let listener = listening.iter().find(|l| l.port == number);
        let serves = self.setting.api.as_ref().is_none_or(|api| api.serving());
        let answers = listener.is_some_and(|l| {
            !(fresh && l.program == own) && (l.program != "kube-apiserver" || serves)
        });
        let host = if host.is_empty() {
            &self.setting.node_ip
        } else {
            host
        };
        let scheme = scheme.to_lowercase();
        (!answers).then(|| {
            format!(
                "Get \"{scheme}://{host}:{number}{path}\": dial tcp {host}:{number}: connect: connection refused"
            )
        })
    }
}
