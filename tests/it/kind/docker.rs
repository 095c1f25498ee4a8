//! Labs on the stand-in for a kind cluster, under a real Docker Engine: `.ci/kind-standin/with-docker
//! cargo test --test it -- --ignored kind::docker`. Each test has a cluster of its own.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::builder::{Outcome, Test};

/// A test, and the words that start a lab on a cluster of this name.
pub(super) struct Lab {
    pub(super) test: Test,
    cluster: String,
}

impl Lab {
    pub(super) fn new(cluster: &str) -> Self {
        assert!(
            std::env::var_os("CKSLAB_TEST_DOCKER").is_some(),
            "these tests run under .ci/kind-standin/with-docker"
        );
        let test = Test::new();
        // The user's own kubeconfig.
        fs::create_dir_all(test.work().join(".kube")).unwrap();
        fs::write(test.work().join(".kube/config"), "current-context: mine\n").unwrap();
        Self {
            test,
            cluster: cluster.to_owned(),
        }
    }

    pub(super) fn start(&self, id: &str, more: &[&str]) -> Outcome {
        let mut words = vec![
            "start",
            id,
            "--engine",
            "kind",
            "--seed",
            "1",
            "-o",
            "json",
            "--cluster",
        ];
        words.push(&self.cluster);
        words.extend(more);
        self.test.run(words)
    }

    pub(super) fn container(&self) -> String {
        format!("ckslab-{}-control-plane", self.cluster)
    }

    /// A command on the node.
    pub(super) fn exec(&self, words: &[&str]) -> Outcome {
        let mut all = vec!["exec", "--"];
        all.extend(words);
        self.test.run(all)
    }

    /// A script on the node.
    pub(super) fn sh(&self, script: &str) -> String {
        self.exec(&["sh", "-c", script]).ok().stdout
    }

    /// A script on the node, past ckslab: what it wrote.
    pub(super) fn past(&self, script: &str) -> String {
        let output = Command::new("docker")
            .args(["exec", &self.container(), "bash", "-c", script])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    pub(super) fn grade(&self) -> (i32, Value) {
        let outcome = self.test.run(["grade", "-o", "json"]);
        (outcome.code, outcome.json())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        docker(&["rm", "-f", "-v", &self.container()]);
    }
}

pub(super) fn docker(words: &[&str]) -> bool {
    let output = Command::new("docker").args(words).output().unwrap();
    output.status.success()
}

/// Brings the reference solution of audit-03 into the manifest, as a learner's editor would.
pub(super) fn repair(lab: &Lab) {
    let (policy, log) = ("/srv/audit/rules.yaml", "/var/log/kubernetes/audit");
    let text = lab.sh("cat /etc/kubernetes/manifests/kube-apiserver.yaml");
    let text = text.replacen(
        "    volumeMounts:\n",
        &format!(
            "    volumeMounts:\n    - {{name: p, mountPath: {policy}, readOnly: true}}\n    - {{name: l, mountPath: {log}}}\n"
        ),
        1,
    );
    let text = text.replacen(
        "  volumes:\n",
        &format!(
            "  volumes:\n  - {{name: p, hostPath: {{path: {policy}, type: File}}}}\n  - {{name: l, hostPath: {{path: {log}, type: DirectoryOrCreate}}}}\n"
        ),
        1,
    );
    lab.test
        .run_with(
            [
                "cp",
                "-",
                "node:/etc/kubernetes/manifests/kube-apiserver.yaml",
            ],
            text.as_bytes(),
        )
        .ok();
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_a_lab_from_start_to_end() {
    let lab = Lab::new("walk");
    let test = &lab.test;
    let started = lab.start("audit-03", &[]).ok().json();
    assert_eq!(started["engine"], "kind");
    assert_eq!(started["node_root"], Value::Null);
    assert!(
        started["server"]
            .as_str()
            .unwrap()
            .starts_with("https://127.0.0.1:")
    );
    let kubeconfig = started["kubeconfig"].as_str().unwrap();
    assert_eq!(
        test.run(["env"]).ok().stdout,
        format!(
            "export KUBECONFIG='{}'\n",
            kubeconfig.replace(&test.home().display().to_string(), "[HOME]")
        )
    );
    // Between two starts: for a moment after each it runs.
    let mut status = Value::Null;
    test.until("the crash loop waits", || {
        status = test.run(["status", "-o", "json"]).ok().json();
        status["apiserver"]["state"] == "waiting"
    });
    assert_eq!(status["apiserver"]["reason"], "CrashLoopBackOff");
    assert_eq!(status["apiserver"]["exit_code"], 1);
    assert_eq!(status["manifests"].as_array().unwrap().len(), 4);
    let (code, report) = lab.grade();
    assert_eq!((code, report["score"].as_u64()), (1, Some(0)), "{report:#}");

    // Commands, their codes and their words.
    assert_eq!(lab.exec(&["sh", "-c", "exit 7"]).code, 7);
    assert_eq!(lab.exec(&["no-such-command"]).code, 127);
    assert_eq!(
        lab.exec(&["printf", "%s|", "$HOME", "a b", "'"]).stdout,
        "$HOME|a b|'|"
    );
    assert_eq!(lab.exec(&["hostname"]).ok().stdout.trim(), lab.container());

    // Files both ways, whatever they are called, with their modes.
    let odd = "it's $(odd) \"name\"";
    fs::write(test.work().join(odd), "content\n").unwrap();
    test.run(["cp", odd, &format!("node:/root/{odd}")]).ok();
    assert_eq!(
        lab.exec(&["cat", &format!("/root/{odd}")]).ok().stdout,
        "content\n"
    );
    lab.sh("mkdir -p /root/d && printf x > /root/d/f && chmod 640 /root/d/f && ln -s f /root/d/l");
    test.run(["cp", "-r", "node:/root/d", "."]).ok();
    use std::os::unix::fs::PermissionsExt;
    let copied = fs::metadata(test.work().join("d/f")).unwrap();
    assert_eq!(copied.permissions().mode() & 0o777, 0o640);
    assert_eq!(
        fs::read_link(test.work().join("d/l")).unwrap().to_str(),
        Some("f")
    );
    test.run(["cp", odd, "node:/none/f"]).code(4).stderr(
        "error: there is no directory `/none` on the node\n\nhint: ckslab cp --parents makes it, or: ckslab exec -- mkdir -p /none\n",
    );

    // The repair, graded with few calls of Docker.
    repair(&lab);
    let graded = test.run(["grade", "-o", "json", "-v"]).ok();
    let report = graded.json();
    assert_eq!(report["score"], report["max"], "{report:#}");
    assert!(
        graded.stderr.contains(" with 2 calls of Docker\n"),
        "{}",
        graded.stderr
    );
    let (_, again) = lab.grade();
    assert_eq!(again["checks"], report["checks"]);
    let status = test.run(["status", "-o", "json"]).ok().json();
    assert_eq!(status["apiserver"]["ready"], true);
    let argv = status["apiserver"]["argv"].to_string();
    assert!(
        argv.contains("--audit-policy-file=/srv/audit/rules.yaml"),
        "{argv}"
    );

    // Back to the start; stopped and gone on with; deleted.
    test.run(["reset"]).ok();
    assert_eq!(lab.exec(&["ls", &format!("/root/{odd}")]).code, 2);
    assert_eq!(lab.grade().1["score"], 0);
    test.run(["stop"]).ok();
    assert!(
        docker(&["inspect", &lab.container()]),
        "stop keeps the cluster"
    );
    test.run(["status"]).code(4);
    assert_eq!(lab.start("audit-03", &[]).ok().json()["seed"], 1);
    test.run(["stop", "--delete"])
        .ok()
        .stdout("the cluster ckslab-walk of lab audit-03 is deleted\n");
    assert!(!docker(&["inspect", &lab.container()]));
    assert_eq!(
        fs::read_to_string(test.work().join(".kube/config")).unwrap(),
        "current-context: mine\n"
    );
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_a_container_stopped_or_removed_by_others_is_recognised() {
    let lab = Lab::new("lost");
    let test = &lab.test;
    lab.start("audit-01", &[]).ok();
    assert!(docker(&["stop", "-t", "1", &lab.container()]));
    let status = test.run(["status", "-o", "json"]).ok();
    // A slow machine is also told what is waited for.
    let told: Vec<&str> = status
        .stderr
        .lines()
        .filter(|line| !line.starts_with("waiting for the kubelet and the API server"))
        .collect();
    assert_eq!(
        told,
        [
            format!(
                "the container `{}` was stopped; starting it …",
                lab.container()
            ),
            "the process of lab `audit-01` was gone; it was started again".to_owned(),
        ]
    );
    assert_eq!(status.json()["apiserver"]["ready"], true);
    assert!(docker(&["rm", "-f", "-v", &lab.container()]));
    test.run(["grade"]).code(4).stdout("").stderr(&format!(
        "error: the container `{}` of the lab's node is gone: somebody deleted the cluster\n\n\
         hint: ckslab reset audit-01 makes the lab anew, on a new cluster\n",
        lab.container()
    ));
    test.run(["reset"]).ok();
    assert_eq!(lab.grade().1["score"], 0);
    // Docker itself goes away.
    let mut command = test.command(["grade"]);
    command.env("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let gone = test.outcome(command, b"").code(4).stderr;
    assert!(
        gone.starts_with("error: Docker does not answer: "),
        "{gone}"
    );
    assert!(gone.contains("hint: start Docker"), "{gone}");
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_a_cluster_is_put_back_for_the_next_lab() {
    let lab = Lab::new("next");
    let test = &lab.test;
    lab.start("sandbox", &[]).ok();
    let look = "cd / && find etc/kubernetes root srv opt var/log -path var/log/pods -prune -o -path var/log/containers -prune -o -type f -exec sha256sum {} + | sort; ls /; stat -c '%a %n' /etc/kubernetes/pki/* /etc/kubernetes/manifests/*";
    let before = lab.sh(look);
    lab.sh("echo x >> /etc/kubernetes/pki/sa.pub; rm /etc/kubernetes/pki/etcd/peer.crt; chmod 644 /etc/kubernetes/admin.conf
        mkdir -p /audit /var/log/kubernetes/a '/srv/a b'; echo 1 > /var/log/kubernetes/a/audit.log; echo 1 > '/srv/a b/$x'
        echo 'alias k=kubectl' >> /root/.bashrc; cp /etc/kubernetes/manifests/etcd.yaml /etc/kubernetes/manifests/.hidden
        sed -i 's/- --authorization-mode=Node,RBAC/- --authorization-mode=RBAC/' /etc/kubernetes/manifests/kube-apiserver.yaml");
    let next = lab.start("audit-01", &[]).ok();
    assert!(
        next.stderr
            .contains("goes from lab sandbox to lab audit-01"),
        "{}",
        next.stderr
    );
    // audit-01 makes namespaces only.
    assert_eq!(lab.sh(look), before);
    let status = test.run(["status", "-o", "json"]).ok().json();
    assert_eq!(status["apiserver"]["ready"], true);
    let argv = status["apiserver"]["argv"].to_string();
    assert!(argv.contains("--authorization-mode=Node,RBAC"), "{argv}");
    // The lab that lost it says so, and can be made anew.
    test.run(["status", "sandbox"]).code(4).stderr(
        "error: the cluster of lab `sandbox` is lab `audit-01`'s now\n\n\
         hint: ckslab start sandbox makes it anew there, --cluster NAME on another cluster\n",
    );
    lab.start("sandbox", &[]).ok();
    test.run(["status", "audit-01"]).code(4);
    let doctor = test.run(["doctor"]).ok().stdout;
    assert!(
        doctor.contains("WARN  lab: lab audit-01 has no cluster any more"),
        "{doctor}"
    );
    // Keys alone, with the API server as it was: it is made anew, as it has read the others.
    let started = lab.sh("ps -o lstart= -C kube-apiserver; pgrep -x kube-apiserver");
    lab.sh("echo x >> /etc/kubernetes/pki/sa.pub");
    test.run(["reset"]).ok();
    assert_ne!(
        lab.sh("ps -o lstart= -C kube-apiserver; pgrep -x kube-apiserver"),
        started
    );
    assert_eq!(lab.sh(look), before);
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_two_clusters_and_another_home_get_along() {
    let (one, two) = (Lab::new("one"), Lab::new("two"));
    one.start("audit-01", &[]).ok();
    one.test
        .run([
            "start",
            "audit-02",
            "--engine",
            "kind",
            "--seed",
            "1",
            "--cluster",
            "two",
        ])
        .ok();
    let clusters = |test: &Test| {
        let listed = test.run(["list", "-o", "json"]).ok().stdout;
        listed.matches("\"running\"").count()
    };
    assert_eq!(clusters(&one.test), 2);
    // The same clusters for somebody with another home: taken over, not destroyed.
    let taken = two.start("audit-03", &[]).ok();
    assert!(
        taken.stderr.starts_with(
            "the cluster `ckslab-two` was made by another CKSLAB_HOME; it is taken over\n"
        ),
        "{}",
        taken.stderr
    );
    assert_eq!(two.grade().1["score"], 0);
    repair(&two);
    assert_eq!(two.grade().0, 0);
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_the_release_gate_runs_on_one_cluster() {
    let lab = Lab::new("gate");
    let gate = lab.test.run([
        "scenario",
        "test",
        "--engine",
        "kind",
        "--cluster",
        "gate",
        "audit-05",
        "-o",
        "json",
    ]);
    let report = gate.json();
    assert_eq!(
        (gate.code, &report["ok"]),
        (0, &Value::Bool(true)),
        "{report:#}"
    );
    assert!(report["results"].as_array().unwrap().len() > 5);
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_a_port_that_cannot_be_reached_is_gone_around() {
    let lab = Lab::new("around");
    lab.start("audit-03", &[]).ok();
    repair(&lab);
    // As if Docker were on another machine: nobody listens where kind says.
    let kept = lab.test.home().join("kind/ckslab-around/kubeconfig");
    let text = fs::read_to_string(&kept).unwrap();
    let server = text
        .split("server: ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    fs::write(&kept, text.replace(server, "https://127.0.0.1:1")).unwrap();
    let (code, report) = lab.grade();
    assert_eq!((code, &report["score"]), (0, &report["max"]), "{report:#}");
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_other_wishes_for_a_lab_that_runs_are_told() {
    let lab = Lab::new("wishes");
    let said = lab.start("sandbox", &[]).ok().stderr;
    assert!(!said.contains("the node runs Kubernetes"), "{said}");
    lab.test
        .run(["start", "sandbox", "--engine", "kind", "--cluster", "other"])
        .code(2)
        .stderr(
            "error: lab `sandbox` is already started with cluster `ckslab-wishes`\n\n\
             hint: ckslab stop sandbox first: your work in it is dropped at the next start with other options\n",
        );
}
