use super::*;

struct Node {
    dir: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = Confined::new(&dir.path().join("root"));
        std::fs::create_dir(node.root()).unwrap();
        let snapshot: NodeSnapshot = serde_json::from_value(serde_json::json!({
            "schema_version": 1, "sequence": 1, "time": "2026-11-24T07:00:00Z",
            "booted": "2026-11-24T06:00:00Z", "node_name": "controlplane",
            "node_ip": "172.30.1.2", "kubelet_active": true, "kubelet_pid": 812,
            "kubelet_started": "2026-11-24T06:00:00Z", "manifests_hash": "", "busy": false,
            "pods": [], "events": [],
            "containers": [
                {"id": "aa11223344556677", "pod_uid": "u", "pod_name": "kube-apiserver-controlplane",
                 "pod_namespace": "kube-system", "sandbox_id": "bb11223344556677", "name": "kube-apiserver",
                 "image": "registry.k8s.io/kube-apiserver:v1.36.2", "attempt": 2, "state": "exited",
                 "created": "2026-11-24T06:59:00Z", "started": "2026-11-24T06:59:00Z",
                 "finished": "2026-11-24T06:59:01Z", "exit_code": 1, "reason": "Error", "message": null,
                 "argv": ["kube-apiserver", "--x"], "pid": 1300, "mounts": [], "ready": false,
                 "log_path": "/var/log/pods/p/kube-apiserver/2.log"}
            ]
        }))
        .unwrap();
        snapshot.store(dir.path()).unwrap();
        node.write_atomic(
            "/var/log/pods/p/kube-apiserver/2.log",
            b"2026-11-24T06:59:00.000000001Z stderr F Error: unknown flag: --x\n2026-11-24T06:59:00.000000002Z stdout F out\n",
            0o640,
        )
        .unwrap();
        Confined::new(dir.path())
            .write_atomic(
                "/journal/kubelet.log",
                b"Nov 24 06:59:00 controlplane kubelet[812]: E1124 06:59:00.000000     812 file.go:108] \"Unable\" err=\"x\"\nNov 24 06:59:30 controlplane kubelet[812]: I1124 second\n",
                0o644,
            )
            .unwrap();
        Self { dir }
    }

    fn run(&self, line: &str) -> (u8, String, String) {
        let argv: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let root = self.dir.path().join("root");
        let code = run(&root, self.dir.path(), &argv, b"", &mut out, &mut err);
        (
            code,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }
}

#[test]
fn crictl_lists_what_ended_only_when_asked() {
    let node = Node::new();
    let (code, out, _) = node.run("crictl ps");
    assert_eq!((code, out.lines().count()), (0, 1));
    let (_, out, _) = node.run("crictl ps -a");
    let header = out.lines().next().unwrap();
    assert_eq!(
        header.split_whitespace().collect::<Vec<_>>().join(" "),
        "CONTAINER IMAGE CREATED STATE NAME ATTEMPT POD ID POD NAMESPACE"
    );
    let row = out.lines().nth(1).unwrap();
    assert!(
        row.starts_with("aa11223344556       ") && row.contains("Exited"),
        "{row}"
    );
    assert_eq!(
        node.run("crictl ps -aq --name kube-api").1,
        "aa11223344556677\n"
    );
    assert_eq!(node.run("crictl ps -a --name etcd -q").1, "");
    let json = node.run("crictl ps -a -o json").1;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["containers"][0]["state"], "CONTAINER_EXITED");
    assert_eq!(node.run("crictl ps --nope").0, 1);
}

#[test]
fn crictl_logs_keep_the_streams_apart() {
    let node = Node::new();
    let (code, out, err) = node.run("crictl logs aa11");
    assert_eq!(
        (code, out.as_str(), err.as_str()),
        (0, "out\n", "Error: unknown flag: --x\n")
    );
    assert_eq!(node.run("crictl logs --tail 1 aa11").2, "");
    let (code, _, err) = node.run("crictl logs zz");
    assert_eq!(code, 1);
    assert!(err.contains("code = NotFound"));
    let json = node.run("crictl inspect aa11").1;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["status"]["exitCode"], 1);
    assert_eq!(json["info"]["runtimeSpec"]["process"]["args"][1], "--x");
}

#[test]
fn journalctl_selects() {
    let node = Node::new();
    assert_eq!(
        node.run("journalctl -u kubelet --no-pager")
            .1
            .lines()
            .count(),
        2
    );
    assert_eq!(node.run("journalctl -xeu kubelet").1.lines().count(), 2);
    assert!(
        node.run("journalctl -u kubelet -n 1")
            .1
            .ends_with("second\n")
    );
    assert_eq!(
        node.run("journalctl -u kubelet -g unable -o cat").1,
        "E1124 06:59:00.000000     812 file.go:108] \"Unable\" err=\"x\"\n"
    );
    assert!(
        node.run("journalctl -r -u kubelet.service")
            .1
            .lines()
            .next()
            .unwrap()
            .ends_with("second")
    );
    assert_eq!(node.run("journalctl -u nothing").1, "-- No entries --\n");
    let json = node.run("journalctl -u kubelet -n1 -o json").1;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["MESSAGE"], "I1124 second");
    assert_eq!(node.run("journalctl --since nonsense").0, 1);
    assert_eq!(node.run("journalctl -Z").0, 1);
}

#[test]
fn services_and_processes() {
    let node = Node::new();
    assert_eq!(
        node.run("systemctl is-active kubelet"),
        (0, "active\n".into(), String::new())
    );
    assert!(
        node.run("systemctl status kubelet")
            .1
            .contains("Active: active (running)")
    );
    assert_eq!(node.run("systemctl status nope").0, 4);
    assert!(node.run("ps aux").1.contains("/usr/bin/kubelet"));
    assert!(!node.run("ps -ef").1.contains("kube-apiserver --x"));
    assert_eq!(node.run("pgrep -a kube-apiserver").0, 1);
    assert!(!node.run("ss -ltnp").1.contains("6443"));
    assert_eq!(node.run("vim x").0, 127);
}
