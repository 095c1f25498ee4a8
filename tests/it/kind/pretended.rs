//! What is said where `docker` or `kind` are missing, stopped, slow, refuse, or are interrupted.
//!
//! The programs on PATH are scripts of the test; there is nothing else on it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::builder::Test;

/// A directory for PATH with these scripts; each also notes its words, one call a line.
struct Programs {
    dir: tempfile::TempDir,
}

const DOCKER: &str = r#"case "$1" in
  info) echo '{"ServerVersion": "29.1.3", "CgroupVersion": "2", "SecurityOptions": []}' ;;
  ps) ;;
  images) ;;
  *) echo "Error: No such container: $2" >&2; exit 1 ;;
esac"#;
const KIND: &str = r#"case "$1" in
  version) echo 'kind v0.33.0 go1.26.1 linux/amd64' ;;
  delete) ;;
  *) exit 1 ;;
esac"#;

impl Programs {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn with(self, name: &str, script: &str) -> Self {
        let path = self.dir.path().join(name);
        let log = self.log();
        fs::write(
            &path,
            format!(
                "#!/bin/sh\necho {name} \"$@\" >> {}\n{script}\n",
                log.display()
            ),
        )
        .unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        self
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("calls")
    }

    fn calls(&self) -> Vec<String> {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn test(&self) -> Test {
        Test::new()
            .env("PATH", &self.dir.path().display().to_string())
            .env("CKSLAB_ENGINE", "")
            .env("KIND_EXPERIMENTAL_PROVIDER", "")
            .env("CKSLAB_KIND_IMAGE", "")
    }
}

const START: [&str; 4] = ["start", "audit-03", "--engine", "kind"];

#[test]
fn what_is_missing_is_named_with_how_to_get_it() {
    let embedded = "or practise without it: --engine embedded\n";
    for (programs, error, hint) in [
        (
            Programs::new().with("docker", DOCKER),
            "`kind` is not on PATH",
            "install kind (https://kind.sigs.k8s.io/docs/user/quick-start/#installation), ",
        ),
        (
            Programs::new().with("kind", KIND),
            "neither Docker nor Podman is on PATH",
            "install Docker (https://docs.docker.com/engine/install/), ",
        ),
        (
            Programs::new().with("kind", KIND).with(
                "docker",
                "echo 'Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?' >&2; exit 1",
            ),
            "Docker does not answer: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
            "start Docker (on Linux: sudo systemctl start docker), then run the command again; ",
        ),
        (
            Programs::new().with("kind", KIND).with(
                "docker",
                // As newer ones say it: with 0, in their answer.
                r#"echo '{"ServerErrors": ["Cannot connect to the Docker daemon"]}'"#,
            ),
            "Docker does not answer: Cannot connect to the Docker daemon",
            "start Docker (on Linux: sudo systemctl start docker), then run the command again; ",
        ),
        (
            Programs::new().with("kind", KIND).with(
                "docker",
                "echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1",
            ),
            "this user may not use Docker: permission denied while trying to connect to the Docker daemon socket",
            "sudo usermod -aG docker \"$USER\", then log in again; ",
        ),
        (
            Programs::new()
                .with("kind", KIND)
                .with("docker", "exec /bin/sleep 1000"),
            "Docker does not answer: `docker` did not answer within 3 s",
            "start Docker (on Linux: sudo systemctl start docker), then run the command again; ",
        ),
    ] {
        programs
            .test()
            .run(START)
            .code(4)
            .stdout("")
            .stderr(&format!("error: {error}\n\nhint: {hint}{embedded}"));
    }
}

#[test]
fn auto_takes_the_embedded_engine_where_kind_cannot_be_used() {
    for programs in [
        Programs::new(),
        Programs::new().with("kind", KIND),
        Programs::new().with("kind", KIND).with("docker", "exit 1"),
    ] {
        let test = programs.test();
        let started = test.run(["start", "sandbox", "-o", "json"]).ok();
        assert_eq!(started.json()["engine"], "embedded");
        assert_eq!(
            started.stderr,
            "engine: embedded, chosen by auto (to change it: --engine, CKSLAB_ENGINE, or engine = ... in [HOME]/config.toml)\n"
        );
    }
}

#[test]
fn doctor_says_what_the_kind_engine_needs() {
    let check = |programs: &Programs, name: &str| {
        let report = programs.test().run(["doctor", "-o", "json"]).ok().json();
        let checks = report["checks"].as_array().unwrap().clone();
        let found = checks.iter().find(|check| check["name"] == name);
        let found = found.unwrap_or_else(|| panic!("{report:#}")).clone();
        (
            found["verdict"].as_str().unwrap().to_owned(),
            found["seen"].as_str().unwrap().to_owned(),
        )
    };
    let whole = Programs::new().with("kind", KIND).with("docker", DOCKER);
    assert_eq!(check(&whole, "kind"), ("pass".into(), "v0.33.0".into()));
    assert_eq!(
        check(&whole, "containers"),
        ("pass".into(), "Docker 29.1.3, control groups v2".into())
    );
    assert_eq!(check(&whole, "engine").1, "auto means kind");
    let none = Programs::new();
    assert_eq!(check(&none, "kind").0, "warn");
    assert_eq!(check(&none, "containers").0, "warn");
    assert_eq!(check(&none, "engine").1, "auto means embedded");
}

/// A kind whose `create` ends as given.
fn kind(create: &str) -> String {
    KIND.replace(
        "  delete) ;;",
        &format!("  delete) ;;\n  create) {create} ;;"),
    )
}

#[test]
fn a_cluster_that_cannot_be_made_leaves_nothing_and_says_what_helps() {
    let programs = Programs::new().with("docker", DOCKER).with(
        "kind",
        &kind(
            r#"echo ' • Ensuring node image (x) 🖼️  ...' >&2
            echo 'ERROR: failed to create cluster: failed to pull image "x": command "docker pull x" failed with error: exit status 1' >&2; exit 1"#,
        ),
    );
    let test = programs.test();
    test.run(["start", "audit-03", "--engine", "kind", "--image", "x"])
        .code(4)
        .stdout("")
        .stderr(
            "making the kind cluster `ckslab` from x; the first time takes some minutes
  kind: Ensuring node image (x)
error: kind could not make the cluster: failed to create cluster: failed to pull image \"x\": command \"docker pull x\" failed with error: exit status 1

hint: the node image cannot be downloaded: load one (docker load), then name it with --image; docs/kind.md says how, also behind a proxy
",
        );
    test.run(["status"]).code(4);
    assert!(!test.home().join("kind/ckslab/cluster.json").exists());
    // No cluster and no kubeconfig but our own is ever named.
    let kubeconfig = test.home().join("kind/ckslab/kubeconfig");
    let of_kind: Vec<String> = programs
        .calls()
        .into_iter()
        .filter(|call| call.starts_with("kind ") && call != "kind version")
        .collect();
    assert_eq!(of_kind.len(), 2, "{of_kind:?}");
    for call in of_kind {
        assert!(
            call.contains("cluster --name ckslab ")
                && call.contains(&format!("--kubeconfig {}", kubeconfig.display())),
            "{call}"
        );
    }
}

#[test]
fn a_configuration_no_lab_can_be_put_on_is_refused_before_anything_is_made() {
    let programs = Programs::new().with("docker", DOCKER).with("kind", KIND);
    let test = programs.test();
    let file = test.work().join("kind.yaml");
    fs::write(
        &file,
        "nodes: [{role: control-plane}, {role: control-plane}]\n",
    )
    .unwrap();
    test.run(["start", "audit-03", "--engine", "kind", "--kind-config", "kind.yaml"])
        .code(3)
        .stderr(
            "error: `[WORK]/kind.yaml` is no configuration for a lab's cluster: it has 2 control-plane nodes, and a lab is about exactly one

hint: https://kind.sigs.k8s.io/docs/user/configuration/
",
        );
    test.run(["start", "audit-03", "--engine", "kind", "--cluster", "../x"])
        .code(4)
        .stderr(
            "error: `../x` cannot be the name of a cluster

hint: use up to 30 lower-case letters, digits and dashes: --cluster second
",
        );
    assert!(programs.calls().iter().all(|call| !call.contains("create")));
}

#[test]
fn a_cluster_of_somebody_else_is_left_alone() {
    let docker = DOCKER.replace(
        "  ps) ;;",
        "  ps) echo ckslab-control-plane ;;\n  inspect) echo true ;;",
    );
    let programs = Programs::new().with("docker", &docker).with("kind", KIND);
    programs.test().run(START).code(4).stderr(
        "error: there is a kind cluster `ckslab` that ckslab did not make

hint: use another name (--cluster NAME), or delete it: kind delete cluster --name ckslab
",
    );
    let calls = programs.calls();
    assert!(
        calls
            .iter()
            .all(|call| !call.contains("delete") && !call.contains("create")),
        "{calls:?}"
    );
}

#[test]
fn podman_is_used_where_it_is_asked_for() {
    let podman = r#"case "$1" in
      info) echo '{"host": {"cgroupVersion": "v2", "security": {"rootless": true}}, "version": {"Version": "5.6.0"}}' ;;
      *) ;;
    esac"#;
    let programs = Programs::new()
        .with("docker", "exit 1")
        .with("podman", podman)
        .with("kind", &kind("echo 'ERROR: no' >&2; exit 1"));
    let test = programs.test().env("KIND_EXPERIMENTAL_PROVIDER", "podman");
    let said = test.run(START).code(4).stderr;
    assert!(
        said.contains("error: kind could not make the cluster: no\n"),
        "{said}"
    );
    assert!(
        programs
            .calls()
            .iter()
            .all(|call| !call.starts_with("docker"))
    );
    let report = test.run(["doctor"]).ok().stdout;
    assert!(
        report.contains("containers: Podman 5.6.0, control groups v2, rootless\n"),
        "{report}"
    );
}

/// Whether a process is there and not just waiting to be buried.
fn lives(pid: &str) -> bool {
    fs::read_to_string(Path::new("/proc").join(pid).join("stat"))
        .is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn an_interrupted_creation_ends_kind_and_is_recognised_by_the_next_command() {
    let programs = Programs::new().with("docker", DOCKER);
    let marker = programs.dir.path().join("creating");
    let create = format!(
        "echo $$ > {0}.new; /bin/mv {0}.new {0}; exec /bin/sleep 1000",
        marker.display()
    );
    let programs = programs.with("kind", &kind(&create));
    for signal in ["-INT", "-TERM"] {
        let _ = fs::remove_file(&marker);
        let test = programs.test();
        let mut command = test.command(START);
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        test.until("kind is called", || marker.exists());
        let kind_pid = fs::read_to_string(&marker).unwrap().trim().to_owned();
        // To ckslab alone, as a supervisor sends it.
        let sent = Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status();
        assert!(sent.unwrap().success());
        let status = child.wait().unwrap();
        assert_eq!(
            status.code(),
            Some(if signal == "-INT" { 130 } else { 143 })
        );
        test.until("kind is ended", || !lives(&kind_pid));
        let record = fs::read_to_string(test.home().join("kind/ckslab/cluster.json")).unwrap();
        assert!(record.contains("\"phase\": \"creating\""), "{record}");
        test.run(["status", "audit-03"]).code(4);
        let again = Programs::new()
            .with("docker", DOCKER)
            .with("kind", &kind("echo 'ERROR: enough' >&2; exit 1"));
        let mut command = test.command(START);
        command.env("PATH", again.dir.path());
        let said = test.outcome(command, b"").code(4).stderr;
        assert!(
            said.starts_with(
                "the making of the cluster `ckslab` was interrupted; it is made anew\n"
            ),
            "{said}"
        );
        let calls = again.calls();
        let place = |word: &str| calls.iter().position(|call| call.contains(word)).unwrap();
        assert!(
            place("delete cluster --name ckslab") < place("create cluster"),
            "{calls:?}"
        );
    }
}
