//! Ephemeral containers, which are added to a pod that runs, and containers whose process somebody told to end.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Agent, Life, container_status, life};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::cluster::object::{is_deleting, now, number, uid};
use crate::node::embedded::containers::Exit;
use crate::node::embedded::store::Stored;

/// Ephemeral containers that have no status yet.
pub(super) fn unstarted(pod: &Value) -> Vec<&Value> {
    let known = items(pod, "/status/ephemeralContainerStatuses");
    items(pod, "/spec/ephemeralContainers")
        .iter()
        .filter(|container| {
            let name = text_at(container, "/name");
            !known.iter().any(|status| text_at(status, "/name") == name)
        })
        .collect()
}

impl Agent {
    /// Starts the ephemeral containers that were added.
    pub(super) fn start_ephemeral(self: &Arc<Self>, pod: &Stored) {
        let key = format!("{}ephemeral", uid(&pod.value));
        let Ok(mut busy) = self.busy.lock() else {
            return;
        };
        if !busy.insert(key.clone()) {
            return;
        }
        drop(busy);
        let (agent, pod) = (Arc::clone(self), pod.clone());
        tokio::spawn(async move {
            tokio::time::sleep(agent.wait(Duration::from_millis(800))).await;
            let mut ends = Vec::new();
            // Others may be added meanwhile.
            while let Some(current) = agent.machine.store.get(&pod.key) {
                let value = current.value.as_ref();
                let new = unstarted(value);
                if new.is_empty() || is_deleting(value) || uid(value) != uid(&pod.value) {
                    break;
                }
                let started = now();
                let mut statuses = items(value, "/status/ephemeralContainerStatuses").to_vec();
                for container in new {
                    let image = text_at(container, "/image");
                    let text = format!(
                        "Container image \"{image}\" already present on machine and can be accessed by the pod"
                    );
                    agent.event(&current, false, "Pulled", &text).await;
                    agent
                        .event(&current, false, "Created", "Container created")
                        .await;
                    agent
                        .event(&current, false, "Started", "Container started")
                        .await;
                    if let Life::Ends { seconds, code } = life(container) {
                        ends.push((text_at(container, "/name").to_owned(), seconds, code));
                    }
                    let state = json!({"running": {"startedAt": started}});
                    let mut status = container_status(container, state, false);
                    if let Some(fields) = status.as_object_mut() {
                        fields.remove("started");
                    }
                    statuses.push(status);
                }
                let status = json!({"status": {"ephemeralContainerStatuses": statuses}});
                let answer = agent.actor.patch(&Self::status_path(value), status).await;
                if answer.is_none_or(|(code, _)| code >= 300) {
                    break;
                }
            }
            if let Ok(mut busy) = agent.busy.lock() {
                busy.remove(&key);
            }
            ends.sort_by_key(|(_, seconds, _)| *seconds);
            for (container, seconds, code) in ends {
                let real = Duration::from_secs(seconds.max(1));
                tokio::time::sleep(agent.wait(real)).await;
                let code = i32::try_from(code).unwrap_or(1);
                agent
                    .machine
                    .containers
                    .exit(uid(&pod.value), &container, code);
            }
        });
    }

    /// Somebody told the process of a container to end.
    pub(super) async fn exited(&self, exit: &Exit) {
        let pods = self.machine.store.list("/registry/core/pods/").0;
        let Some(pod) = pods.iter().find(|pod| {
            uid(&pod.value) == exit.pod && text_at(&pod.value, "/spec/nodeName") == self.node
        }) else {
            return;
        };
        let value = pod.value.as_ref();
        let name = |status: &Value| text_at(status, "/name") == exit.container;
        let ephemeral = items(value, "/status/ephemeralContainerStatuses");
        if !ephemeral.iter().any(name) {
            let serves = items(value, "/spec/containers")
                .iter()
                .filter(|spec| text_at(spec, "/name") == exit.container)
                .any(|spec| matches!(life(spec), Life::Serves));
            if serves && text_at(value, "/spec/restartPolicy") == "Always" && !is_deleting(value) {
                self.restart(pod, exit).await;
                return;
            }
            let started = items(value, "/status/containerStatuses")
                .iter()
                .find(|status| name(status))
                .map(|status| text_at(status, "/state/running/startedAt").to_owned())
                .unwrap_or_default();
            self.finish(pod, &started, i64::from(exit.code)).await;
            return;
        }
        let mut statuses = ephemeral.to_vec();
        for status in statuses.iter_mut().filter(|status| name(status)) {
            let started = text_at(status, "/state/running/startedAt").to_owned();
            let id = text_at(status, "/containerID").to_owned();
            let reason = if exit.code == 0 { "Completed" } else { "Error" };
            if let Some(fields) = status.as_object_mut() {
                fields.insert(
                    "state".into(),
                    json!({"terminated": {"exitCode": exit.code, "reason": reason,
                        "startedAt": started, "finishedAt": now(), "containerID": id}}),
                );
            }
        }
        let status = json!({"status": {"ephemeralContainerStatuses": statuses}});
        let _ = self.actor.patch(&Self::status_path(value), status).await;
    }

    /// Starts a container that serves anew. The first time it is not made to wait.
    async fn restart(&self, pod: &Stored, exit: &Exit) {
        let value = pod.value.as_ref();
        let mut statuses = items(value, "/status/containerStatuses").to_vec();
        let specs = items(value, "/spec/containers").iter();
        let spec = specs
            .into_iter()
            .find(|spec| text_at(spec, "/name") == exit.container);
        let own = statuses
            .iter_mut()
            .find(|status| text_at(status, "/name") == exit.container);
        let (Some(spec), Some(status)) = (spec, own) else {
            return;
        };
        let reason = if exit.code == 0 { "Completed" } else { "Error" };
        let ended = json!({"terminated": {"exitCode": exit.code, "reason": reason,
            "startedAt": text_at(status, "/state/running/startedAt"), "finishedAt": now(),
            "containerID": text_at(status, "/containerID")}});
        let restarts = number(status, "/restartCount").saturating_add(1);
        let mut new = container_status(spec, json!({"running": {"startedAt": now()}}), true);
        if let Some(fields) = new.as_object_mut() {
            fields.insert("lastState".into(), ended);
            fields.insert("restartCount".into(), restarts.into());
        }
        *status = new;
        let image = text_at(spec, "/image");
        let text = format!(
            "Container image \"{image}\" already present on machine and can be accessed by the pod"
        );
        self.event(pod, false, "Pulled", &text).await;
        self.event(pod, false, "Created", "Container created").await;
        self.event(pod, false, "Started", "Container started").await;
        let status = json!({"status": {"containerStatuses": statuses}});
        let _ = self.actor.patch(&Self::status_path(value), status).await;
    }
}
