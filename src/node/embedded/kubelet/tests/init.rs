//! Init containers, sidecars and lifecycle hooks.

use serde_json::{Value, json};

use super::clock::{Node, text};
use crate::node::embedded::kubelet::probe::ProbeAnswer;

fn initialized(status: &Value) -> &Value {
    let conditions = status["conditions"].as_array().unwrap();
    conditions
        .iter()
        .find(|c| c["type"] == "Initialized")
        .unwrap()
}

#[test]
fn init_containers_run_one_after_the_other_before_the_rest() {
    let mut node = Node::new();
    node.pod(
        "web",
        "{initContainers: [{name: a, image: busybox:1, command: [sleep, '20']}, \
          {name: b, image: busybox:1, command: ['true']}], \
          containers: [{name: web, image: nginx:1}]}",
    );
    node.pass(10.0);
    let status = node.status("web").status;
    assert_eq!(status["phase"], "Pending");
    assert_eq!(
        text(&status, "/containerStatuses/0/state/waiting/reason"),
        "PodInitializing"
    );
    assert_eq!(
        text(&status, "/initContainerStatuses/1/state/waiting/reason"),
        "PodInitializing"
    );
    assert!(
        status
            .pointer("/initContainerStatuses/0/state/running")
            .is_some()
    );
    let condition = initialized(&status);
    assert_eq!(condition["status"], "False");
    assert_eq!(condition["reason"], "ContainersNotInitialized");
    assert_eq!(
        condition["message"],
        "containers with incomplete status: [a b]"
    );
    node.pass(30.0);
    let status = node.status("web").status;
    assert_eq!(status["phase"], "Running");
    assert_eq!(initialized(&status)["status"], "True");
    for index in 0..2 {
        let own = &status["initContainerStatuses"][index];
        assert_eq!(text(own, "/state/terminated/reason"), "Completed");
        assert_eq!(
            (&own["ready"], &own["started"]),
            (&json!(true), &json!(false))
        );
    }
    assert_eq!(node.order(), ["start a", "start b", "start web"]);
    // One that ended well is not run again.
    node.pass(600.0);
    assert_eq!(node.processes.len(), 3);
}

#[test]
fn a_failing_init_container_is_tried_again_with_back_off() {
    let mut node = Node::new();
    let spec = |policy: &str| {
        format!(
            "{{restartPolicy: {policy}, \
              initContainers: [{{name: a, image: busybox:1, command: [sh, -c, exit 3]}}], \
              containers: [{{name: web, image: nginx:1}}]}}"
        )
    };
    node.pod("web", &spec("Always"));
    // The status tells at the second look of the worker.
    let reason = |status: &Value| {
        text(&status["initContainerStatuses"][0], "/state/waiting/reason").to_owned()
    };
    let mut status = Value::Null;
    for _ in 0..1200 {
        node.pass(1.0);
        status = node.status("web").status;
        if reason(&status) == "CrashLoopBackOff" {
            break;
        }
    }
    assert_eq!(reason(&status), "CrashLoopBackOff");
    assert_eq!(status["phase"], "Pending");
    let own = &status["initContainerStatuses"][0];
    assert_eq!(own["lastState"]["terminated"]["exitCode"], 3);
    assert!(own["restartCount"].as_u64().unwrap() >= 1);
    assert!(node.events().iter().any(|e| {
        e.starts_with(
            "Warning BackOff Back-off restarting failed container a in pod web-node_default(",
        )
    }));

    node.pod("once", &spec("Never"));
    node.pass(60.0);
    let status = node.status("once").status;
    assert_eq!(status["phase"], "Failed");
    assert_eq!(status["initContainerStatuses"][0]["restartCount"], 0);
    assert_eq!(
        text(&status, "/containerStatuses/0/state/waiting/reason"),
        "PodInitializing"
    );
    assert!(!node.order().contains(&"start web"));
}

#[test]
fn a_sidecar_starts_first_and_ends_last() {
    let mut node = Node::new();
    node.pod(
        "web",
        "{initContainers: [{name: side, image: nginx:1, restartPolicy: Always, \
            startupProbe: {tcpSocket: {port: 80}, initialDelaySeconds: 5}}, \
          {name: a, image: busybox:1, command: ['true']}], \
          containers: [{name: web, image: nginx:1, lifecycle: {preStop: {sleep: {seconds: 4}}}}]}",
    );
    node.pass(30.0);
    assert_eq!(node.order(), ["start side", "start a", "start web"]);
    assert!(node.time_of("start a") - node.time_of("start side") >= 5.0);
    let status = node.status("web").status;
    assert_eq!(status["initContainerStatuses"][0]["ready"], true);
    assert_eq!(status["initContainerStatuses"][0]["started"], true);
    let removed = node.now.as_secs_f64();
    node.remove("web.yaml");
    node.pass(30.0);
    assert_eq!(&node.order()[3..], ["term web", "term side"]);
    assert!((node.time_of("term web") - removed - 4.0).abs() < 0.2);
    assert!(node.snapshot().pods.is_empty());
}

#[test]
fn a_sidecar_goes_with_a_pod_that_is_done_and_is_restarted_until_then() {
    let mut node = Node::new();
    node.pod(
        "job",
        "{restartPolicy: Never, \
          initContainers: [{name: side, image: busybox:1, restartPolicy: Always, command: [sleep, '8']}], \
          containers: [{name: work, image: busybox:1, command: [sleep, '12']}]}",
    );
    node.pass(60.0);
    assert_eq!(node.status("job").status["phase"], "Succeeded");
    assert_eq!(
        node.order(),
        ["start side", "start work", "start side", "term side"]
    );
}

#[test]
fn a_sidecar_that_is_not_ready_keeps_the_pod_unready() {
    let mut node = Node::new();
    node.answer = |_| ProbeAnswer::Failure("no".into());
    node.pod(
        "web",
        "{initContainers: [{name: side, image: nginx:1, restartPolicy: Always, \
            readinessProbe: {tcpSocket: {port: 80}}}], containers: [{name: web, image: nginx:1}]}",
    );
    node.pass(30.0);
    let status = node.status("web").status;
    assert_eq!(status["phase"], "Running");
    let ready = status["conditions"].as_array().unwrap();
    let ready = ready.iter().find(|c| c["type"] == "Ready").unwrap();
    assert_eq!(ready["message"], "containers with unready status: [side]");
}

#[test]
fn a_post_start_hook_that_fails_ends_its_container() {
    let mut node = Node::new();
    node.pod(
        "kube-apiserver",
        "{containers: [{name: kube-apiserver, image: 'registry.k8s.io/kube-apiserver:v1.36.2', \
          command: [kube-apiserver], lifecycle: {postStart: {exec: {command: [sh, -c, sleep 1]}}}}]}",
    );
    node.pass(8.0);
    let events = node.events();
    assert!(events.contains(&"Warning FailedPostStartHook PostStartHook failed".to_owned()));
    assert!(events.contains(&"Normal Killing FailedPostStartHook".to_owned()));
    assert!(node.says(&[
        "\"Failed to execute PostStartHook\" err=\"rpc error: code = Unknown desc = failed to exec in container: failed to start exec \\\"",
        "\\\": OCI runtime exec failed: exec failed: unable to start container process: exec: \\\"sh\\\": executable file not found in $PATH\"",
        "containerName=\"kube-apiserver\" containerID=\"containerd://",
    ]));
    assert!(node.says(&[
        "\"Error syncing pod, skipping\"",
        "failed to \\\"StartContainer\\\" for \\\"kube-apiserver\\\" with PostStartHookError: ",
        "Exec lifecycle hook ([sh -c sleep 1]) for Container",
    ]));
    node.pass(60.0);
    let status = node.status("kube-apiserver").status;
    let own = &status["containerStatuses"][0];
    let reason = text(own, "/state/waiting/reason");
    assert!(
        ["CrashLoopBackOff", "PostStartHookError"].contains(&reason),
        "{own}"
    );
    assert!(own["restartCount"].as_u64().unwrap() >= 1);
}

#[test]
fn an_http_hook_needs_somebody_who_answers() {
    let mut node = Node::new();
    let pod = |image: &str| {
        format!(
            "{{hostNetwork: true, containers: [{{name: c, image: '{image}', command: [kube-apiserver], \
              lifecycle: {{postStart: {{httpGet: {{path: /readyz, port: 6443, scheme: HTTPS}}}}}}}}]}}"
        )
    };
    node.pod("nginx", &pod("nginx:1"));
    node.pass(5.0);
    assert!(
        node.status("nginx")
            .status
            .pointer("/containerStatuses/0/state/running")
            .is_some()
    );
    node.remove("nginx.yaml");
    node.pass(30.0);
    node.pod("api", &pod("registry.k8s.io/kube-apiserver:v1.36.2"));
    node.pass(5.0);
    assert!(node.says(&[
        "Failed to execute PostStartHook",
        "Get \\\"https://172.18.0.2:6443/readyz\\\": dial tcp 172.18.0.2:6443: connect: connection refused",
    ]));
}

#[test]
fn the_worker_waits_for_a_post_start_hook() {
    let mut node = Node::new();
    node.pod(
        "two",
        "{containers: [{name: a, image: nginx:1, lifecycle: {postStart: {exec: {command: [sleep, '9']}}}}, \
          {name: b, image: nginx:1}]}",
    );
    node.pass(30.0);
    assert!(node.time_of("start b") - node.time_of("start a") >= 9.0);
}

#[test]
fn a_pre_stop_hook_takes_its_time_from_the_grace_period() {
    let mut node = Node::new();
    node.stubborn = vec!["web"];
    let spec = |hook: &str| {
        format!(
            "{{terminationGracePeriodSeconds: 10, containers: [{{name: web, image: nginx:1, \
              lifecycle: {{preStop: {hook}}}}}]}}"
        )
    };
    node.pod("long", &spec("{exec: {command: [sleep, '60']}}"));
    node.pass(10.0);
    let removed = node.now.as_secs_f64();
    node.remove("long.yaml");
    node.pass(30.0);
    assert!((node.time_of("term web") - removed - 10.0).abs() < 0.2);
    assert!((node.time_of("kill web") - removed - 12.0).abs() < 0.2);

    node.processes.clear();
    node.pod("bad", &spec("{exec: {command: ['false']}}"));
    node.pass(10.0);
    let removed = node.now.as_secs_f64();
    node.remove("bad.yaml");
    let failed = "Warning FailedPreStopHook PreStopHook failed".to_owned();
    assert!(node.events().contains(&failed));
    node.pass(30.0);
    assert!((node.time_of("term web") - removed).abs() < 0.2);
    assert!(node.says(&["\"PreStop hook failed\"", "command 'false' exited with 1: "]));
}

#[test]
fn programs_that_tell_their_end_end() {
    let mut node = Node::new();
    node.pod(
        "three",
        "{restartPolicy: OnFailure, containers: [\
          {name: good, image: busybox:1, command: [sh, -c, 'echo hi; exit 0']}, \
          {name: bad, image: busybox:1, command: ['false']}, \
          {name: serves, image: busybox:1, command: [httpd, -f]}]}",
    );
    node.pass(60.0);
    let status = node.status("three").status;
    let of =
        |index: usize, pointer: &str| status["containerStatuses"][index].pointer(pointer).cloned();
    assert_eq!(of(0, "/state/terminated/reason"), Some(json!("Completed")));
    assert_eq!(of(0, "/restartCount"), Some(json!(0)));
    assert_eq!(of(1, "/state/terminated/exitCode"), Some(json!(1)));
    assert_eq!(of(1, "/lastState/terminated/exitCode"), Some(json!(1)));
    assert!(of(2, "/state/running").is_some());
    assert_eq!(status["phase"], "Running");
}
