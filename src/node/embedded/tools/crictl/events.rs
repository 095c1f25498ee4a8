//! `crictl events`: what happens to containers from now on, until it is interrupted.

use std::time::Duration;

use serde_json::{Value, json};

use super::flags::Given;
use super::{Done, Failed, Runtime, fatal, objects, output};
use crate::node::embedded::snapshot::{ContainerSnapshot, ContainerState, NodeSnapshot};
use crate::yaml::go::quote;

/// How often the node is looked at.
const POLL: Duration = Duration::from_millis(100);

pub(super) fn run(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    if !given.arguments.is_empty() {
        return Err(Failed::Help);
    }
    let format = given.get("output").unwrap_or("json").to_owned();
    let template = given.get("template").map(str::to_owned);
    match (format.as_str(), &template) {
        ("json" | "yaml", None) | ("go-template", _) => {}
        ("json" | "yaml", Some(_)) => {
            return fatal(format!(
                "template can't be used with {} format",
                quote(&format)
            ));
        }
        _ => return fatal(format!("don't support {} format", quote(&format))),
    }
    let mut before = runtime.connect(false)?;
    loop {
        std::thread::sleep(POLL);
        let Some(now) = runtime.refresh()? else {
            continue;
        };
        for event in happened(&before, &now) {
            output::value(runtime, &event, &format, template.as_deref())?;
        }
        runtime.tool.out.flush()?;
        before = now;
    }
}

/// What happened between two looks, oldest first, in the words of `ContainerEventResponse`.
fn happened(before: &NodeSnapshot, now: &NodeSnapshot) -> Vec<Value> {
    let mut events = Vec::new();
    for container in &now.containers {
        let old = before.containers.iter().find(|old| old.id == container.id);
        let was = old.map(|old| old.state);
        let mut add = |kind: &str, time: jiff::Timestamp| {
            events.push((time, event(now, container, kind, time)));
        };
        if was.is_none() {
            add("CONTAINER_CREATED_EVENT", container.created);
        }
        if let Some(started) = container.started
            && was.is_none_or(|was| was == ContainerState::Created)
        {
            add("CONTAINER_STARTED_EVENT", started);
        }
        if let Some(finished) = container.finished
            && was != Some(ContainerState::Exited)
        {
            add("CONTAINER_STOPPED_EVENT", finished);
        }
    }
    for container in &before.containers {
        if now.containers.iter().all(|new| new.id != container.id) {
            let event = event(now, container, "CONTAINER_DELETED_EVENT", now.time);
            events.push((now.time, event));
        }
    }
    events.sort_by_key(|(time, _)| *time);
    events.into_iter().map(|(_, event)| event).collect()
}

fn event(
    snapshot: &NodeSnapshot,
    container: &ContainerSnapshot,
    kind: &str,
    time: jiff::Timestamp,
) -> Value {
    let of_pod = |c: &&ContainerSnapshot| c.sandbox_id == container.sandbox_id;
    let statuses: Vec<Value> = snapshot
        .containers
        .iter()
        .filter(of_pod)
        .map(|container| status(&objects::container(container, snapshot)))
        .collect();
    let pod = snapshot.pods.iter().find_map(|pod| {
        let sandbox = pod.sandbox.as_ref()?;
        (sandbox.id == container.sandbox_id).then(|| status(&objects::pod(pod, sandbox)))
    });
    json!({
        "containerId": container.id,
        "containerEventType": kind,
        "createdAt": time.as_nanosecond().to_string(),
        "podSandboxStatus": pod,
        "containersStatuses": statuses,
    })
}

fn status(inspected: &Value) -> Value {
    inspected.get("status").cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(containers: Value) -> NodeSnapshot {
        serde_json::from_value(json!({
            "schema_version": 1, "sequence": 1, "time": "2026-11-24T07:00:09Z",
            "booted": "2026-11-24T06:00:00Z", "node_name": "n", "node_ip": "172.30.1.2",
            "kubelet_active": true, "kubelet_pid": 812, "kubelet_started": "2026-11-24T06:00:00Z",
            "manifests_hash": "", "busy": false, "pods": [], "events": [], "containers": containers,
        }))
        .unwrap()
    }

    fn container(id: &str, state: &str) -> Value {
        let at = |given: bool, second: u8| given.then(|| format!("2026-11-24T07:00:0{second}Z"));
        json!({
            "id": id, "pod_uid": "u", "pod_name": "p", "pod_namespace": "n", "sandbox_id": "s",
            "name": "c", "image": "i", "attempt": 0, "state": state, "created": at(true, 1),
            "started": at(state != "created", 2), "finished": at(state == "exited", 3),
            "exit_code": null, "reason": null, "message": null, "argv": [], "pid": 7, "mounts": [],
            "log_path": "", "ready": false,
        })
    }

    #[test]
    fn each_step_of_a_container_is_an_event() {
        let none = snapshot(json!([]));
        let created = snapshot(json!([container("a", "created")]));
        let exited = snapshot(json!([container("a", "exited")]));
        let kinds = |before: &NodeSnapshot, now: &NodeSnapshot| -> Vec<String> {
            happened(before, now)
                .iter()
                .map(|event| event["containerEventType"].as_str().unwrap().to_owned())
                .collect()
        };
        assert_eq!(kinds(&none, &created), ["CONTAINER_CREATED_EVENT"]);
        assert_eq!(
            kinds(&created, &exited),
            ["CONTAINER_STARTED_EVENT", "CONTAINER_STOPPED_EVENT"]
        );
        assert_eq!(kinds(&none, &exited).len(), 3);
        assert_eq!(kinds(&exited, &none), ["CONTAINER_DELETED_EVENT"]);
        assert_eq!(kinds(&exited, &exited).len(), 0);
        let event = happened(&created, &exited).remove(0);
        assert_eq!(event["containerId"], "a");
        assert_eq!(event["containersStatuses"][0]["state"], "CONTAINER_EXITED");
    }
}
