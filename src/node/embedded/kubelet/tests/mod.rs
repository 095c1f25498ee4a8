//! The kubelet with its real edge: files, watcher, processes.

mod clock;
mod init;
mod manifest;
mod prober;
mod recorder;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::edge::{REQUESTS, run};
use super::input::Request;
use crate::node::embedded::apiserver::api::{ApiResponse, Body};
use crate::node::embedded::confine::Confined;
use crate::node::embedded::machine::{LocalApi, LocalRequest, Machine};
use crate::node::embedded::pace::Pace;
use crate::node::embedded::process::{Process, Program, Programs, go_error_text};
use crate::node::embedded::snapshot::{ContainerState, NodeSnapshot};
use crate::node::embedded::sockets::Socket;
use crate::node::embedded::store::Store;
use crate::node::{ApiServerState, ContainerPhase};

const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
const BASE: &str = include_str!("../../../../../fixtures/golden/static-pod/baseline.yaml");

struct Healthy;

impl LocalApi for Healthy {
    fn call(&self, _: LocalRequest) -> Pin<Box<dyn Future<Output = ApiResponse> + Send + '_>> {
        Box::pin(async {
            ApiResponse {
                code: 200,
                headers: Vec::new(),
                body: Body::Empty,
            }
        })
    }
}

/// An API server that only reads its policy.
struct Server(Arc<Machine>);

impl Program for Server {
    fn run(&self, process: Process) -> Pin<Box<dyn Future<Output = i32> + Send>> {
        let machine = self.0.clone();
        Box::pin(async move {
            let flag = "--audit-policy-file=";
            if let Some(path) = process.argv.iter().find_map(|a| a.strip_prefix(flag))
                && let Err(error) = process.rootfs.read(path, 1 << 20)
            {
                process
                    .output
                    .stderr(&format!("read {path}: {}", go_error_text(&error)));
                return 1;
            }
            let _socket = machine.sockets.listen(Socket {
                address: "*".into(),
                port: 6443,
                pid: process.pid,
            });
            machine.api.send_replace(Some(Arc::new(Healthy)));
            process.terminate.cancelled().await;
            machine.api.send_replace(None);
            0
        })
    }
}

struct Node {
    _dir: tempfile::TempDir,
    machine: Arc<Machine>,
    files: Confined,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Node {
    fn start() -> Self {
        Self::start_at(Pace::Fast)
    }

    fn start_at(pace: Pace) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node_root = dir.path().join("root");
        let state_dir = dir.path().join("state");
        std::fs::create_dir_all(&node_root).unwrap();
        std::fs::create_dir_all(&state_dir).unwrap();
        let files = Confined::new(&node_root);
        files
            .write_atomic(MANIFEST, BASE.as_bytes(), 0o600)
            .unwrap();
        let machine = Arc::new(Machine {
            pace,
            node_name: "controlplane".into(),
            node_ip: "172.18.0.2".into(),
            api_port: 0,
            node_root,
            state_dir,
            store: Store::in_memory(),
            etcd_up: watch::Sender::new(false),
            snapshots: watch::Sender::new(0),
            api: watch::Sender::new(None),
            containers: crate::node::embedded::containers::Containers::default(),
            sockets: crate::node::embedded::sockets::Sockets::default(),
        });
        let shutdown = CancellationToken::new();
        let programs = Programs::new().with("kube-apiserver", Arc::new(Server(machine.clone())));
        let task = tokio::spawn(run(machine.clone(), programs, shutdown.clone()));
        Self {
            _dir: dir,
            machine,
            files,
            shutdown,
            task,
        }
    }

    fn snapshot(&self) -> Option<NodeSnapshot> {
        NodeSnapshot::load(&self.machine.state_dir).unwrap()
    }

    async fn until(&self, what: &str, wanted: impl Fn(&ApiServerState) -> bool) -> ApiServerState {
        let mut last = None;
        for _ in 0..2000 {
            if let Some(snapshot) = self.snapshot() {
                let state = snapshot.api_server(&self.machine.node_root, &self.machine.state_dir);
                if wanted(&state) {
                    return state;
                }
                last = Some(state);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("never came: {what}; last {last:#?}\n{}", self.journal());
    }

    fn journal(&self) -> String {
        let path = self.machine.state_dir.join("journal/kubelet.log");
        std::fs::read_to_string(path).unwrap_or_default()
    }

    async fn ready(&self) -> ApiServerState {
        self.until("ready", |s| s.ready && !s.converging).await
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

fn with_policy(mount: bool) -> String {
    let mut text = BASE.replace(
        "    - --advertise-address",
        "    - --audit-policy-file=/etc/kubernetes/audit-policy.yaml\n    - --advertise-address",
    );
    if mount {
        text = text
            .replace(
                "    volumeMounts:\n",
                "    volumeMounts:\n    - mountPath: /etc/kubernetes/audit-policy.yaml\n      name: audit\n",
            )
            .replace(
                "  volumes:\n",
                "  volumes:\n  - hostPath:\n      path: /etc/kubernetes/audit-policy.yaml\n      type: File\n    name: audit\n",
            );
    }
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_replaces_the_container() {
    let node = Node::start();
    let first = node.ready().await;
    assert_eq!(first.state, ContainerPhase::Running);
    node.files
        .write_atomic("/etc/kubernetes/audit-policy.yaml", b"x", 0o644)
        .unwrap();
    node.files
        .write_atomic(MANIFEST, with_policy(true).as_bytes(), 0o600)
        .unwrap();
    let second = node
        .until("replaced", |s| s.ready && s.instance != first.instance)
        .await;
    assert!(
        second
            .argv
            .iter()
            .any(|a| a.starts_with("--audit-policy-file"))
    );
    let snapshot = node.snapshot().unwrap();
    let rootfs = snapshot
        .api_server_rootfs(&node.machine.node_root, &node.machine.state_dir)
        .unwrap();
    assert_eq!(
        rootfs
            .read("/etc/kubernetes/audit-policy.yaml", 10)
            .unwrap(),
        b"x"
    );
    let pid = snapshot.api_server_container().unwrap().pid;
    node.files.set_mode(MANIFEST, 0o644).unwrap();
    let same = node.ready().await;
    assert_eq!(same.instance, second.instance);
    assert_eq!(
        node.snapshot().unwrap().api_server_container().unwrap().pid,
        pid
    );
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_manifest_leaves_nothing_until_it_is_repaired() {
    let node = Node::start();
    node.ready().await;
    node.files
        .write_atomic(
            MANIFEST,
            BASE.replace("  - command", "\t- command").as_bytes(),
            0o600,
        )
        .unwrap();
    let gone = node
        .until("gone", |s| {
            s.state == ContainerPhase::Absent && !s.converging
        })
        .await;
    assert_eq!(gone.reason, None);
    assert!(node.journal().contains("file.go:187] \"Could not process manifest file\" err=\"/etc/kubernetes/manifests/kube-apiserver.yaml: couldn't parse as pod(yaml: line"));
    node.files
        .write_atomic(MANIFEST, BASE.as_bytes(), 0o600)
        .unwrap();
    node.ready().await;
    // The directory itself goes and comes back.
    node.files.remove_all("/etc/kubernetes/manifests").unwrap();
    node.until("gone again", |s| s.state == ContainerPhase::Absent)
        .await;
    node.files
        .write_atomic(MANIFEST, BASE.as_bytes(), 0o600)
        .unwrap();
    node.ready().await;
    // A directory in its place.
    node.files.remove_all(MANIFEST).unwrap();
    node.files.create_dir_all(MANIFEST, 0o755).unwrap();
    node.until("no pod", |s| {
        s.state == ContainerPhase::Absent && !s.converging
    })
    .await;
    assert!(
        node.journal()
            .contains("Provided manifest path is a directory")
    );
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_shows_and_a_repair_on_the_node_ends_it() {
    let node = Node::start();
    node.ready().await;
    node.files
        .write_atomic(MANIFEST, with_policy(false).as_bytes(), 0o600)
        .unwrap();
    let crash = node
        .until("crash loop", |s| {
            s.reason.as_deref() == Some("CrashLoopBackOff")
        })
        .await;
    assert_eq!(crash.exit_code, Some(1));
    assert!(crash.message.unwrap().contains(
        "restarting failed container=kube-apiserver pod=kube-apiserver-controlplane_kube-system("
    ));
    assert_eq!(
        crash.log_tail,
        ["read /etc/kubernetes/audit-policy.yaml: no such file or directory"]
    );
    node.files
        .write_atomic(MANIFEST, with_policy(true).as_bytes(), 0o600)
        .unwrap();
    let mount = node
        .until("mount", |s| {
            s.reason.as_deref() == Some("ContainerCreating") && !s.converging
        })
        .await;
    assert!(mount.message.unwrap().contains("is not a file"));
    node.files
        .write_atomic("/etc/kubernetes/audit-policy.yaml", b"x", 0o644)
        .unwrap();
    node.ready().await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_node_counts_on() {
    let node = Node::start();
    let first = node.ready().await;
    assert_eq!(first.restarts, 0);
    node.shutdown.cancel();
    let Node {
        _dir,
        machine,
        task,
        ..
    } = node;
    task.await.unwrap();
    let snapshot = NodeSnapshot::load(&machine.state_dir).unwrap().unwrap();
    let state = snapshot.api_server(&machine.node_root, &machine.state_dir);
    assert_eq!(state.exit_code, Some(0));
    // What was true is removed before a boot; the runtime remembers all the same.
    std::fs::remove_file(machine.state_dir.join("snapshot.json")).unwrap();
    std::fs::create_dir_all(machine.state_dir.join("containers/left-over")).unwrap();
    let shutdown = CancellationToken::new();
    let programs = Programs::new().with("kube-apiserver", Arc::new(Server(machine.clone())));
    let task = tokio::spawn(run(machine.clone(), programs, shutdown.clone()));
    let node = Node {
        files: Confined::new(&machine.node_root),
        _dir,
        machine,
        shutdown,
        task,
    };
    let second = node.ready().await;
    assert_eq!(second.restarts, 1);
    assert!(!node.machine.state_dir.join("containers/left-over").exists());
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn odd_things_in_the_directory_do_no_harm() {
    let node = Node::start();
    node.ready().await;
    let dir = "/etc/kubernetes/manifests";
    node.files
        .symlink("loop.yaml", &format!("{dir}/loop.yaml"))
        .unwrap();
    node.files
        .symlink("/../../../../etc/shadow", &format!("{dir}/out.yaml"))
        .unwrap();
    node.files
        .write_atomic(&format!("{dir}/binary.yaml"), &[0, 255, 7, 0x1b], 0o644)
        .unwrap();
    node.files
        .write_atomic(&format!("{dir}/list.yaml"), b"- a\n- b\n", 0o644)
        .unwrap();
    node.files
        .append(&format!("{dir}/huge.yaml"), 0o644)
        .unwrap()
        .set_len(1 << 30)
        .unwrap();
    node.files
        .write_atomic(&format!("{dir}/.swp"), b"kind: Pod", 0o644)
        .unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        node.machine
            .node_root
            .join("etc/kubernetes/manifests/pipe.yaml"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let state = node.ready().await;
    assert_eq!(state.restarts, 0);
    node.until("complaints", |_| {
        let journal = node.journal();
        journal.contains("the read limit is reached") && journal.contains("couldn't parse as pod(")
    })
    .await;
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_longest_grace_period_there_is_does_no_harm() {
    // At fast pace even this number is one that clocks can show.
    let node = Node::start_at(Pace::Real);
    let with_grace = |image: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: patient}}\nspec:\n  \
             terminationGracePeriodSeconds: 9223372036854775807\n  \
             containers: [{{name: c, image: {image}}}]\n"
        )
    };
    let path = "/etc/kubernetes/manifests/patient.yaml";
    node.files
        .write_atomic(path, with_grace("nginx").as_bytes(), 0o600)
        .unwrap();
    let wait = async |what: &str, holds: fn(&NodeSnapshot) -> bool| {
        for _ in 0..1500 {
            assert!(!node.task.is_finished(), "the kubelet ended");
            if node.snapshot().is_some_and(|snapshot| holds(&snapshot)) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("never came: {what}\n{}", node.journal());
    };
    wait("its container", |snapshot| {
        snapshot.containers.iter().any(|container| {
            container.pod_name == "patient-controlplane"
                && matches!(container.state, ContainerState::Running)
        })
    })
    .await;
    node.files.remove_file(path).unwrap();
    wait("its end", |snapshot| {
        snapshot
            .pods
            .iter()
            .all(|pod| pod.name != "patient-controlplane" || pod.terminating)
    })
    .await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!node.task.is_finished());
    node.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_that_the_server_does_not_handle_ends_it_with_2() {
    let node = Node::start();
    for (signal, code) in [(1, 2), (9, 137)] {
        let id = node.ready().await.instance;
        let request = serde_json::to_vec(&Request::Signal(id.clone(), signal)).unwrap();
        let directory = node.machine.state_dir.join(REQUESTS);
        std::fs::write(directory.join("part"), request).unwrap();
        std::fs::rename(directory.join("part"), directory.join("signal.json")).unwrap();
        node.until("restarted", |s| s.ready && s.instance != id)
            .await;
        let snapshot = node.snapshot().unwrap();
        let ended = snapshot.containers.iter().find(|one| one.id == id).unwrap();
        assert_eq!(ended.exit_code, Some(code));
        assert_eq!(ended.reason.as_deref(), Some("Error"));
    }
    node.end().await;
}
