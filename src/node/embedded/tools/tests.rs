use super::*;

mod runtime;
mod services;

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
            "/etc/crictl.yaml",
            b"runtime-endpoint: unix:///run/containerd/containerd.sock\n",
            0o644,
        )
        .unwrap();
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
        self.run_words(&line.split_whitespace().collect::<Vec<_>>())
    }

    fn run_words(&self, words: &[&str]) -> (u8, String, String) {
        let argv: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let root = self.dir.path().join("root");
        let code = run(&root, self.dir.path(), &argv, false, &mut out, &mut err);
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

#[test]
fn crictl_reads_its_command_line_as_urfave_does() {
    let node = Node::new();
    let help = "OPTIONS:\n   --follow, -f              Follow log output (default: false)\n";
    // Options after the first argument are arguments: it prints its help, and that is no failure.
    let (code, out, err) = node.run("crictl logs aa11 --tail 1");
    assert_eq!((code, err.as_str()), (0, ""));
    assert!(
        out.contains("NAME:\n   crictl logs - Fetch the logs of a container"),
        "{out}"
    );
    assert!(out.contains(help), "{out}");
    assert!(
        node.run("crictl ps extra")
            .1
            .starts_with("NAME:\n   crictl ps - List containers\n")
    );
    let (code, out, err) = node.run("crictl ps --nope");
    assert_eq!(code, 1);
    assert!(
        out.starts_with("Incorrect Usage: flag provided but not defined: -nope\n\nNAME:"),
        "{out}"
    );
    assert!(
        err.contains("level=fatal msg=\"flag provided but not defined: -nope\""),
        "{err}"
    );
    for (line, text) in [
        ("crictl nope", "No help topic for 'nope'"),
        ("crictl logs", "ID cannot be empty"),
        (
            "crictl stop",
            "you must specify at least one CONTAINER-ID or use --all",
        ),
        (
            "crictl ps --state up",
            "--state should be one of created, running, exited or unknown",
        ),
        (
            "crictl pods --state up",
            "--state should be ready or notready",
        ),
        ("crictl ps --label a", "incorrectly specified label: a"),
        (
            "crictl ps -o xml",
            "listing containers: unsupported output format",
        ),
        (
            "crictl inspect -o xml aa11",
            "get the status of containers: unsupported format",
        ),
        ("crictl logs --tail=x aa11", "for flag -tail: parse error"),
        (
            "crictl logs --tail=1 --stream=stdout aa11",
            "--tail and --stream are mutually exclusive",
        ),
        ("crictl pull", "image name cannot be empty"),
        (
            "crictl pull registry.k8s.io/kube-apiserver:v9",
            "pulling image: rpc error: code = NotFound",
        ),
        (
            "crictl -r unix:///x ps",
            "dial unix /x: connect: no such file or directory",
        ),
        (
            "crictl config --get nope",
            "no configuration option named nope",
        ),
    ] {
        let (code, _, err) = node.run(line);
        assert_eq!(code, 1, "{line}: {err}");
        assert!(
            err.contains("level=fatal") && err.contains(text),
            "{line}: {err}"
        );
    }
}

#[test]
fn crictl_says_what_the_runtime_says_of_ids_that_are_not_there() {
    let node = Node::new();
    let (code, _, err) = node.run("crictl inspect zz");
    assert_eq!(code, 1);
    assert!(err.contains("remote_runtime.go:569] \"ContainerStatus from runtime service failed\" err=\"rpc error: code = NotFound desc = an error occurred when try to find container \\\"zz\\\": not found\" containerID=\"zz\""), "{err}");
    assert!(
        err.contains("msg=\"get the status of containers: get container status: rpc error"),
        "{err}"
    );
    assert!(
        node.run("crictl rm zz")
            .2
            .contains("getting container status \\\"zz\\\": rpc error")
    );
    assert!(
        node.run("crictl rmp zz")
            .2
            .contains("getting sandbox status of pod \\\"zz\\\": rpc error")
    );
    // To stop what is gone is no error.
    assert_eq!(
        node.run("crictl stop zz"),
        (0, "zz\n".into(), String::new())
    );
    assert_eq!(
        node.run("crictl stopp zz"),
        (0, "Stopped sandbox zz\n".into(), String::new())
    );
}

#[test]
fn crictl_selects_and_shapes() {
    let node = Node::new();
    let id = "aa11223344556677\n";
    for line in [
        "crictl ps -q -s exited",
        "crictl ps -ql",
        "crictl ps -q --last 3",
        "crictl ps -aq --label io.kubernetes.container.name=kube-apiserver",
        "crictl ps -aq --image registry.k8s.io/kube-apiserver:v1.36.2",
        "crictl ps -aq --name ^kube-.*server$",
        "crictl ps -aq --pod bb11",
        "crictl ps -aq --namespace kube-system",
        "crictl --timeout 5s ps -a -q",
    ] {
        assert_eq!(node.run(line).1, id, "{line}");
    }
    for line in [
        "crictl ps -q",
        "crictl ps -aq --name ^api",
        "crictl ps -aq --name (",
        "crictl ps -aq --label a=b",
        "crictl ps -aq --namespace default",
    ] {
        assert_eq!(node.run(line).1, "", "{line}");
    }
    assert!(node.run("crictl ps -a --no-trunc").1.contains("sha256:"));
    assert!(
        node.run("crictl ps -ar")
            .1
            .contains("registry.k8s.io/kube-apiserver:v1.36.2")
    );
    let template = "{{.status.state}}/{{.status.exitCode}}";
    let line = format!("crictl inspect -o go-template --template {template} aa11");
    assert_eq!(node.run(&line).1, "CONTAINER_EXITED/1\n");
    assert!(
        node.run("crictl inspect --quiet aa11")
            .1
            .starts_with("{\n  \"status\"")
    );
    assert!(
        node.run("crictl inspect -o yaml aa11")
            .1
            .contains("  exitCode: 1\n")
    );
    assert!(
        node.run("crictl inspect -o table aa11")
            .1
            .contains("State: CONTAINER_EXITED\nCreated: ")
    );
    assert_eq!(
        node.run("crictl version").1,
        "Version:  0.1.0\nRuntimeName:  containerd\nRuntimeVersion:  v2.1.4\nRuntimeApiVersion:  v1\n"
    );
    assert_eq!(
        node.run("crictl config --get runtime-endpoint").1,
        "unix:///run/containerd/containerd.sock\n"
    );
    assert_eq!(node.run("crictl config --set timeout=10,debug=false").0, 0);
    assert_eq!(node.run("crictl config --get timeout").1, "10\n");
    assert_eq!(
        node.run("crictl images --pinned")
            .1
            .lines()
            .last()
            .unwrap()
            .split_whitespace()
            .last(),
        Some("true")
    );
    let text = node.run("crictl exec aa11 ls").2;
    assert!(
        text.contains("container is in CONTAINER_EXITED state"),
        "{text}"
    );
    let stats = node.run("crictl stats -a").1;
    assert!(
        stats.starts_with("\u{1b}[2J\u{1b}[HCONTAINER           NAME"),
        "{stats:?}"
    );
    assert_eq!(node.run("crictl logs --stream stdout aa11").2, "");
    assert_eq!(node.run("crictl logs -t --limit-bytes 7 aa11").2, "2026-11");
    assert!(node.run("crictl logs --since 1m aa11").2.is_empty());
    let (code, _, err) = node.run("crictl logs -p aa11");
    assert_eq!(code, 1);
    assert!(
        err.contains("lstat /var/log/pods/p/kube-apiserver/1.log: no such file or directory"),
        "{err}"
    );
}

#[test]
fn journalctl_knows_importance_units_and_formats() {
    let node = Node::new();
    let count = |line: &str| {
        let (code, out, _) = node.run(line);
        (
            code,
            if out == "-- No entries --\n" {
                0
            } else {
                out.lines().count()
            },
        )
    };
    // What a service writes to its standard error is of level info.
    assert_eq!(count("journalctl -u kubelet -p err"), (0, 0));
    assert_eq!(count("journalctl -u kubelet -p info"), (0, 2));
    assert_eq!(count("journalctl -u kubelet -p 7"), (0, 2));
    assert_eq!(count("journalctl -u kubelet -b"), (0, 2));
    assert_eq!(count("journalctl -u kubelet -b -1").0, 1);
    assert_eq!(count("journalctl -k"), (0, 0));
    assert_eq!(count("journalctl -u kubelet -u nothing"), (0, 2));
    assert_eq!(count("journalctl -u kubelet -n +1"), (0, 1));
    assert_eq!(count("journalctl _SYSTEMD_UNIT=kubelet.service"), (0, 2));
    assert!(count("journalctl -u containerd").1 >= 4);
    assert_eq!(
        node.run("journalctl -u kubelet -p loud").2,
        "Unknown log level loud\n"
    );
    assert_eq!(
        node.run("journalctl -u kubelet -g un[a-c]ble -o cat")
            .1
            .lines()
            .count(),
        1
    );
    assert_eq!(count("journalctl -u kubelet -g nowhere"), (1, 0));
    assert_eq!(
        node.run("journalctl -u kubelet -n1 -r -o short-iso").1,
        "2026-11-24T06:59:30+00:00 controlplane kubelet[812]: I1124 second\n"
    );
    assert!(
        node.run("journalctl -u kubelet -o verbose")
            .1
            .contains("    _SYSTEMD_UNIT=kubelet.service\n")
    );
    assert_eq!(
        node.run("journalctl -o nope").2,
        "Unknown output format 'nope'.\n"
    );
    assert_eq!(
        node.run("journalctl --nope").2,
        "journalctl: unrecognized option '--nope'\n"
    );
}

#[test]
fn systemctl_shows_both_services() {
    let node = Node::new();
    assert_eq!(node.run("systemctl is-enabled kubelet").1, "enabled\n");
    assert_eq!(
        node.run("systemctl is-active nginx"),
        (4, "inactive\n".into(), String::new())
    );
    assert_eq!(node.run("systemctl is-enabled nginx").0, 4);
    assert_eq!(
        node.run("systemctl show kubelet -p MainPID,ActiveState").1,
        "MainPID=812\nActiveState=active\n"
    );
    assert_eq!(
        node.run("systemctl show kubelet -p MainPID --value").1,
        "812\n"
    );
    assert!(
        node.run("systemctl cat kubelet")
            .1
            .contains("ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS")
    );
    assert!(
        node.run("systemctl list-units --type=service").1.contains(
            "kubelet.service    loaded active running kubelet: The Kubernetes Node Agent"
        )
    );
    assert_eq!(node.run("systemctl daemon-reload").0, 0);
    assert_eq!(
        node.run("systemctl frobnicate").2,
        "Unknown command verb 'frobnicate'.\n"
    );
    assert_eq!(
        node.run("systemctl restart nginx"),
        (
            5,
            String::new(),
            "Failed to restart nginx.service: Unit nginx.service not found.\n".into()
        )
    );
}

#[test]
fn ps_takes_the_options_people_use() {
    let node = Node::new();
    assert_eq!(
        node.run("ps -eo pid,args --no-headers").1.lines().next(),
        Some("      1 /sbin/init")
    );
    assert_eq!(node.run("ps -C kubelet -o pid=").1, "    812\n");
    assert_eq!(node.run("ps -p 812 -o comm").1, "COMMAND\nkubelet\n");
    assert_eq!(node.run("ps -p 4 -o comm").0, 1);
    assert_eq!(node.run("ps -eo nope").0, 1);
    assert_eq!(node.run("pidof kubelet").1, "812\n");
    assert_eq!(node.run("pgrep -l kubelet").1, "812 kubelet\n");
    assert!(
        node.run("pgrep -af kubelet.conf")
            .1
            .starts_with("812 /usr/bin/kubelet --bootstrap")
    );
    assert_eq!(node.run("pgrep -x kube").0, 1);
    assert_eq!(node.run("pgrep").0, 2);
    assert!(node.run("ss -ltnp").1.contains("*:10250"));
    assert!(node.run("ss -ltn sport = :10250").1.lines().count() == 2);
    assert!(node.run("netstat -tlnp").1.contains("tcp6       0      0 :::10250                :::*                    LISTEN      812/kubelet"));
    assert_eq!(node.run("kill 4").0, 1);
}

#[test]
fn programs_of_the_node_say_their_versions_and_no_more() {
    let node = Node::new();
    assert_eq!(node.run("kubelet --version").1, "Kubernetes v1.36.2\n");
    assert_eq!(node.run("kubeadm version -o short").1, "v1.36.2\n");
    assert!(
        node.run("kubeadm version")
            .1
            .starts_with("kubeadm version: &version.Info{Major:\"1\", Minor:\"36\"")
    );
    assert_eq!(node.run("kubeadm config images list").1.lines().count(), 7);
    assert!(
        node.run("kubeadm certs check-expiration")
            .1
            .contains("!MISSING! apiserver")
    );
    assert_eq!(node.run("kubeadm init").0, 1);
    assert!(
        node.run("containerd --version")
            .1
            .starts_with("containerd github.com/containerd/containerd/v2 v2.1.4")
    );
    assert_eq!(node.run("ctr -n k8s.io c ls -q").1, "aa11223344556677\n");
    assert_eq!(node.run("ctr c ls -q").1, "");
    assert_eq!(node.run("etcdctl get /").0, 127);
}
