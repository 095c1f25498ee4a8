//! crictl where it is asked for what is not there, and what it shows of pods that are not static.

use super::*;
use crate::node::embedded::workload::Workload;

const HEAD: &str = "rpc error: code =";

fn message(error: &str) -> &str {
    let text = error
        .trim_end()
        .rsplit_once("msg=")
        .map_or(error, |(_, text)| text);
    text.trim_matches('"')
}

/// A node with two containers whose ids begin alike.
fn node() -> Node {
    let node = Node::new();
    let mut snapshot = NodeSnapshot::load(node.dir.path()).unwrap().unwrap();
    let mut twin = snapshot.containers[0].clone();
    twin.id = "aa99".into();
    snapshot.containers.push(twin);
    snapshot.store(node.dir.path()).unwrap();
    node
}

#[test]
fn the_beginning_of_an_id_must_be_of_one_alone() {
    let node = node();
    assert_eq!(node.run("crictl inspect -q aa11").0, 0);
    for (line, text) in [
        (
            "crictl inspect aa",
            format!(
                "get the status of containers: get container status: {HEAD} Unknown desc = an error occurred when try to find container \\\"aa\\\": Multiple IDs found with provided prefix: aa"
            ),
        ),
        (
            "crictl logs aa",
            format!(
                "{HEAD} Unknown desc = an error occurred when try to find container \\\"aa\\\": Multiple IDs found with provided prefix: aa"
            ),
        ),
        (
            "crictl inspect zz",
            format!(
                "get the status of containers: get container status: {HEAD} NotFound desc = an error occurred when try to find container \\\"zz\\\": not found"
            ),
        ),
        (
            "crictl inspectp zz",
            format!(
                "get the status of pod sandboxes: get pod sandbox status: {HEAD} NotFound desc = an error occurred when try to find sandbox: not found"
            ),
        ),
        (
            "crictl stop aa",
            format!(
                "stopping the container \\\"aa\\\": {HEAD} Unknown desc = an error occurred when try to find container \\\"aa\\\": Multiple IDs found with provided prefix: aa"
            ),
        ),
        ("crictl logs", "ID cannot be empty".into()),
        (
            "crictl events -o table",
            "don't support \\\"table\\\" format".into(),
        ),
        (
            "crictl events -o json --template x",
            "template can't be used with \\\"json\\\" format".into(),
        ),
        (
            "crictl ps --state nope",
            "--state should be one of created, running, exited or unknown".into(),
        ),
        (
            "crictl ps --label nope",
            "incorrectly specified label: nope".into(),
        ),
        ("crictl nope", "No help topic for 'nope'".into()),
    ] {
        let (code, _, error) = node.run(line);
        assert_eq!((code, message(&error)), (1, text.as_str()), "{line}");
    }
    // To the runtime a container that is not there is stopped.
    assert_eq!(
        node.run("crictl stop zz"),
        (0, "zz\n".into(), String::new())
    );
    // Of several each is looked for.
    let both: serde_json::Value =
        serde_json::from_str(&node.run("crictl inspect -q aa11 aa99").1).unwrap();
    assert_eq!(both.as_array().map(Vec::len), Some(2));
}

#[test]
fn usage_goes_before_the_error() {
    let node = node();
    let (code, out, error) = node.run("crictl ps --nope");
    assert_eq!(code, 1);
    assert!(out.starts_with("Incorrect Usage: flag provided but not defined: -nope\n\nNAME:\n   crictl ps - List containers\n"));
    assert_eq!(message(&error), "flag provided but not defined: -nope");
    assert!(
        node.run("crictl events --help")
            .1
            .contains("--template value")
    );
    assert!(
        node.run("crictl update -h")
            .1
            .contains("--cpuset-cpus value")
    );
    assert_eq!(
        node.run("crictl runtime-config").1,
        "cgroup driver:   SYSTEMD\n"
    );
    assert_eq!(node.run("crictl help").1, node.run("crictl").1);
    assert_eq!(
        node.run("crictl ps extra").1,
        node.run("crictl ps --help").1
    );
}

#[test]
fn pods_of_the_api_are_containers_too() {
    let node = Node::new();
    let container = |name: &str, own: bool| {
        serde_json::json!({
            "id": format!("{name}00"), "pod_uid": "u", "pod_name": format!("{name}-x"), "pod_namespace": "kube-system",
            "sandbox_id": format!("{name}01"), "name": name, "image": format!("registry.k8s.io/{name}:v1"),
            "attempt": 0, "state": "running", "created": "2026-11-24T06:00:00Z", "started": "2026-11-24T06:00:00Z",
            "finished": null, "exit_code": null, "reason": null, "message": null, "argv": [format!("/usr/local/bin/{name}")],
            "pid": 15207, "mounts": [], "ready": true, "own_network": own, "log_path": "/var/log/pods/x/0.log",
        })
    };
    let pod = serde_json::json!({
        "uid": "u", "name": "coredns-x", "namespace": "kube-system", "manifest_path": "", "terminating": false,
        "pod": {"metadata": {"name": "coredns-x"}, "spec": {}}, "status": {"podIP": "10.244.0.7"},
        "sandbox": {"id": "coredns01", "created": "2026-11-24T06:00:00Z", "ready": true, "attempt": 0},
    });
    let workload: Workload = serde_json::from_value(serde_json::json!({
        "pods": [pod], "containers": [container("kube-proxy", false), container("coredns", true)],
    }))
    .unwrap();
    workload.store(node.dir.path()).unwrap();
    assert_eq!(node.run("crictl ps -q").1, "kube-proxy00\ncoredns00\n");
    let inspected: serde_json::Value =
        serde_json::from_str(&node.run("crictl inspectp coredns01").1).unwrap();
    assert_eq!(inspected["status"]["network"]["ip"], "10.244.0.7");
    assert_eq!(
        inspected["status"]["annotations"]["kubernetes.io/config.source"],
        "api"
    );
    assert_eq!(inspected["info"]["image"], "registry.k8s.io/pause:3.10.2");
    let open = node.run("ss -ltn").1;
    assert!(
        open.contains("127.0.0.1:10249") && open.contains("*:10256"),
        "{open}"
    );
    let images: serde_json::Value =
        serde_json::from_str(&node.run("crictl images -o json").1).unwrap();
    let tags = images["images"].to_string();
    assert!(tags.contains("registry.k8s.io/pause:3.10.2"), "{tags}");
    let listed = node.run("kubeadm config images list").1;
    assert!(listed.contains("registry.k8s.io/pause:3.10.2\n"));
    // The command line of the kubelet is what its unit says.
    let kubelet = node.run("pgrep -af kubelet.conf").1;
    assert!(
        kubelet
            .trim_end()
            .ends_with("--config=/var/lib/kubelet/config.yaml"),
        "{kubelet}"
    );
}
