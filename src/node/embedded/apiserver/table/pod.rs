//! Rows of pods (`printPod`).

use serde_json::{Value, json};

use super::duration;
use super::words::Object;

/// Conditions of the row of a finished pod.
pub(super) fn conditions(pod: &Value) -> Option<Value> {
    let (reason, message) = match Object(pod).text("/status/phase") {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}

/// What is counted over containers.
#[derive(Default)]
struct Restarts {
    count: i64,
    last: String,
}

impl Restarts {
    fn add(&mut self, container: Object<'_>) {
        self.count += container.number("/restartCount");
        let finished = container.text("/lastState/terminated/finishedAt");
        if finished > self.last.as_str() {
            finished.clone_into(&mut self.last);
        }
    }
}

pub(super) fn cells(pod: Object<'_>) -> Vec<Value> {
    let state = State::of(pod);
    let restarts = if state.restarts.count != 0 && !state.restarts.last.is_empty() {
        format!(
            "{} ({} ago)",
            state.restarts.count,
            duration::since(&state.restarts.last)
        )
    } else {
        state.restarts.count.to_string()
    };
    let ip = pod
        .objects("/status/podIPs")
        .next()
        .map_or_else(|| pod.text("/status/podIP"), |ip| ip.text("/ip"));
    vec![
        json!(format!("{}/{}", state.ready, state.total)),
        json!(state.reason),
        json!(restarts),
        pod.age(),
        json!(if ip.is_empty() { "<none>" } else { ip }),
        json!(pod.text_or("/spec/nodeName", "<none>")),
        json!(pod.text_or("/status/nominatedNodeName", "<none>")),
        json!(readiness_gates(pod)),
    ]
}

struct State {
    reason: String,
    ready: usize,
    total: usize,
    restarts: Restarts,
}

impl State {
    fn of(pod: Object<'_>) -> Self {
        let mut state = Self {
            reason: pod
                .text_or("/status/reason", pod.text("/status/phase"))
                .to_owned(),
            ready: 0,
            total: pod.count("/spec/containers"),
            restarts: Restarts::default(),
        };
        if pod
            .objects("/status/conditions")
            .any(|c| c.text("/type") == "PodScheduled" && c.text("/reason") == "SchedulingGated")
        {
            "SchedulingGated".clone_into(&mut state.reason);
        }
        let sidecar = |name: &str| {
            pod.objects("/spec/initContainers")
                .any(|c| c.text("/name") == name && c.text("/restartPolicy") == "Always")
        };
        state.total += pod
            .objects("/spec/initContainers")
            .filter(|c| c.text("/restartPolicy") == "Always")
            .count();
        let mut sidecar_restarts = Restarts::default();
        let initializing = state.init_containers(pod, &sidecar, &mut sidecar_restarts);
        if !initializing || pod.condition("Initialized") == Some("True") {
            state.restarts = sidecar_restarts;
            state.containers(pod);
        }
        let deleting = pod.has("/metadata/deletionTimestamp");
        if deleting && pod.text("/status/reason") == "NodeLost" {
            "Unknown".clone_into(&mut state.reason);
        } else if deleting && !matches!(pod.text("/status/phase"), "Failed" | "Succeeded") {
            "Terminating".clone_into(&mut state.reason);
        }
        state
    }

    /// Whether the pod is still initialising.
    fn init_containers(
        &mut self,
        pod: Object<'_>,
        sidecar: &dyn Fn(&str) -> bool,
        sidecar_restarts: &mut Restarts,
    ) -> bool {
        for (index, container) in pod.objects("/status/initContainerStatuses").enumerate() {
            self.restarts.add(container);
            let is_sidecar = sidecar(container.text("/name"));
            if is_sidecar {
                sidecar_restarts.add(container);
            }
            let terminated = container.has("/state/terminated");
            if terminated && container.number("/state/terminated/exitCode") == 0 {
                continue;
            }
            if is_sidecar && container.flag("/started") {
                if container.flag("/ready") {
                    self.ready += 1;
                }
                continue;
            }
            let waiting = container.text("/state/waiting/reason");
            self.reason = if terminated {
                format!("Init:{}", ended(container))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{}", pod.count("/spec/initContainers"))
            };
            return true;
        }
        false
    }

    fn containers(&mut self, pod: Object<'_>) {
        let mut running = false;
        for container in pod.objects("/status/containerStatuses").rev() {
            self.restarts.add(container);
            let waiting = container.text("/state/waiting/reason");
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.reason);
            } else if container.has("/state/terminated") {
                self.reason = ended(container);
            } else if container.flag("/ready") && container.has("/state/running") {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && running {
            let ready = pod.condition("Ready") == Some("True");
            (if ready { "Running" } else { "NotReady" }).clone_into(&mut self.reason);
        }
    }
}

/// How a container ended.
fn ended(container: Object<'_>) -> String {
    let reason = container.text("/state/terminated/reason");
    if !reason.is_empty() {
        return reason.to_owned();
    }
    let signal = container.number("/state/terminated/signal");
    if signal != 0 {
        format!("Signal:{signal}")
    } else {
        format!(
            "ExitCode:{}",
            container.number("/state/terminated/exitCode")
        )
    }
}

fn readiness_gates(pod: Object<'_>) -> String {
    let gates = pod.count("/spec/readinessGates");
    if gates == 0 {
        return "<none>".to_owned();
    }
    let met = pod
        .objects("/spec/readinessGates")
        .filter(|gate| pod.condition(gate.text("/conditionType")) == Some("True"))
        .count();
    format!("{met}/{gates}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_pod_is_that_of_its_containers() {
        let pod = json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{}, {}], "initContainers": [{"name": "i"}]},
            "status": {"phase": "Running",
                "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 0}}}],
                "containerStatuses": [
                    {"ready": true, "state": {"running": {}}, "restartCount": 0},
                    {"ready": false, "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 3}
                ]}
        });
        let cells = cells(Object(&pod));
        assert_eq!(
            cells[..3],
            [json!("1/2"), json!("CrashLoopBackOff"), json!("3")]
        );
        let waiting = json!({"spec": {"containers": [{}], "initContainers": [{"name": "i"}]},
            "status": {"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]}});
        assert_eq!(super::cells(Object(&waiting))[1], json!("Init:0/1"));
    }
}
