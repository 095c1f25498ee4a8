//! What probes meet: the answers of programs, and the words of Go's network and of the runtime.

use super::*;
use crate::manifest::{Probe, ProbeAction};
use crate::node::embedded::kubelet::probe::ProbeAnswer;
use crate::node::embedded::kubelet::prober::{Listener, answer};
use crate::node::embedded::snapshot::ContainerSnapshot;

fn container(image: &str, argv: &[&str]) -> ContainerSnapshot {
    serde_json::from_value(serde_json::json!({
        "id": "c0", "pod_uid": "u", "pod_name": "p", "pod_namespace": "n", "sandbox_id": "s", "name": "c",
        "image": image, "attempt": 0, "state": "running", "created": "2026-11-24T07:00:00Z",
        "started": "2026-11-24T07:00:00Z", "finished": null, "exit_code": null, "reason": null,
        "message": null, "argv": argv, "pid": 7, "mounts": [], "log_path": "", "ready": true,
        "ports": [["probe-port", 2381]],
    }))
    .unwrap()
}

fn probe(action: ProbeAction) -> Probe {
    Probe {
        action,
        initial_delay: 0,
        timeout: 2,
        period: 10,
        success_threshold: 1,
        failure_threshold: 3,
    }
}

fn http(url: &str) -> ProbeAction {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, rest) = rest.split_once(':').unwrap();
    let (port, path) = rest.split_once('/').unwrap();
    ProbeAction::Http {
        host: host.into(),
        port: port.into(),
        path: format!("/{path}"),
        scheme: scheme.to_uppercase(),
    }
}

fn tcp(host: &str, port: &str) -> ProbeAction {
    let (host, port) = (host.into(), port.into());
    ProbeAction::Tcp { host, port }
}

#[tokio::test]
async fn probes_meet_what_listens_on_the_node() {
    let node = Node::start();
    let listening: Vec<Listener> = [
        ("127.0.0.1", 2381, "etcd"),
        ("127.0.0.1", 2379, "etcd"),
        ("127.0.0.1", 10259, "kube-scheduler"),
        ("*", 10250, "kubelet"),
        ("*", 10256, "kube-proxy"),
    ]
    .map(|(address, port, program)| Listener {
        address: address.to_owned(),
        port,
        program: program.to_owned(),
    })
    .to_vec();
    let own = container(
        "registry.k8s.io/kube-apiserver:v1.36.2",
        &["kube-apiserver", "--advertise-address=10.9.9.9"],
    );
    let other = container("nginx:1", &["nginx"]);
    let refused = "dial tcp 172.18.0.2:9: connect: connection refused";
    for (action, view, expected) in [
        (tcp("127.0.0.1", "2381"), &own, Ok(())),
        (tcp("localhost", "probe-port"), &own, Ok(())),
        (tcp("", "10256"), &own, Ok(())),
        // That of a node whose manifest this was.
        (tcp("10.9.9.9", "10256"), &own, Ok(())),
        (tcp("", "9"), &own, Err(refused)),
        // It listens on the loopback only.
        (
            tcp("", "10259"),
            &own,
            Err("dial tcp 172.18.0.2:10259: connect: connection refused"),
        ),
        (
            tcp("10.1.2.3", "80"),
            &own,
            Err("dial tcp 10.1.2.3:80: i/o timeout"),
        ),
        (tcp("", "9"), &other, Ok(())),
        (http("http://127.0.0.1:probe-port/readyz"), &own, Ok(())),
        (
            http("http://127.0.0.1:2381/nothing"),
            &own,
            Err("HTTP probe failed with statuscode: 404"),
        ),
        (
            http("https://127.0.0.1:2381/health"),
            &own,
            Err(
                "Get \"https://127.0.0.1:2381/health\": http: server gave HTTP response to HTTPS client",
            ),
        ),
        (
            http("https://127.0.0.1:2379/health"),
            &own,
            Err("Get \"https://127.0.0.1:2379/health\": remote error: tls: certificate required"),
        ),
        (http("https://127.0.0.1:10259/livez"), &own, Ok(())),
        (
            http("https://127.0.0.1:10259/metrics"),
            &own,
            Err("HTTP probe failed with statuscode: 403"),
        ),
        (
            http("http://127.0.0.1:10259/livez"),
            &own,
            Err("HTTP probe failed with statuscode: 400"),
        ),
        (
            http("https://172.18.0.2:10250/healthz"),
            &own,
            Err("HTTP probe failed with statuscode: 401"),
        ),
        (
            http("https://172.18.0.2:9/livez"),
            &own,
            Err(
                "Get \"https://172.18.0.2:9/livez\": dial tcp 172.18.0.2:9: connect: connection refused",
            ),
        ),
        // The client goes on until its time is over, whatever listens there.
        (
            ProbeAction::Grpc(2381),
            &own,
            Err(
                "timeout: failed to connect service \"172.18.0.2:2381\" within 2s: context deadline exceeded",
            ),
        ),
        (ProbeAction::Grpc(2381), &other, Ok(())),
        (ProbeAction::Exec(vec!["true".into()]), &other, Ok(())),
        (ProbeAction::Exec(vec!["false".into()]), &other, Err("")),
    ] {
        let shown = format!("{action:?}");
        let answer = answer(&node.machine, view, &probe(action), &listening).await;
        let expected = match expected {
            Ok(()) => ProbeAnswer::Success,
            Err(text) => ProbeAnswer::Failure(text.to_owned()),
        };
        assert_eq!(answer, expected, "{shown}");
    }
    for (action, texts) in [
        (
            tcp("", "nope"),
            ["strconv.Atoi: parsing \"nope\": invalid syntax", ""],
        ),
        (
            ProbeAction::Exec(vec!["sh".into()]),
            [
                "rpc error: code = Unknown desc = failed to exec in container: failed to start exec \"",
                "\": OCI runtime exec failed: exec failed: unable to start container process: exec: \"sh\": executable file not found in $PATH",
            ],
        ),
    ] {
        let answer = answer(&node.machine, &own, &probe(action), &listening).await;
        let ProbeAnswer::Error(error) = answer else {
            panic!("{answer:?}");
        };
        assert!(
            error.starts_with(texts[0]) && error.ends_with(texts[1]),
            "{error}"
        );
    }
}

#[test]
fn a_command_that_cannot_be_run_is_tried_three_times_and_stands_in_the_journal() {
    let mut node = clock::Node::new();
    node.answer = |_| {
        let error = "rpc error: code = Unknown desc = failed to exec in container";
        ProbeAnswer::Error(error.into())
    };
    node.pod(
        "web",
        "{containers: [{name: c, image: nginx:1, readinessProbe: {exec: {command: [cat, /x]}, periodSeconds: 10}}]}",
    );
    node.pass(60.0);
    assert!(node.says(&[
        "remote_runtime.go:636] \"ExecSync cmd from runtime service failed\" err=\"rpc error: code = Unknown desc = failed to exec in container\" containerID=\"",
        "cmd=[\"cat\",\"/x\"]",
    ]));
    let text = "Warning Unhealthy Readiness probe errored and resulted in unknown state: rpc error: code = Unknown desc = failed to exec in container";
    assert!(node.events().contains(&text.to_owned()));
}
