//! The cluster of the recorded sessions: an API server that starts with an empty etcd, its controllers
//! and its scheduler, no node; and the files the recorded commands name.

use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use ckslab::node::embedded::apiserver::program::KubeApiServer;
use ckslab::node::embedded::cluster::{KubeControllerManager, KubeScheduler, api_server};
use ckslab::node::embedded::machine::Machine;
use ckslab::node::embedded::pace::Pace;
use ckslab::node::embedded::process::{Process, Program};
use ckslab::node::embedded::root::{self, Spec, kubeconfig, pki::Authority};
use ckslab::node::embedded::runtime::rootfs::{Mount, Rootfs};
use ckslab::node::embedded::store::{Op, Store};
use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use crate::{flags::Captured, replay};

/// What a command did.
pub(super) struct Outcome {
    pub exit: i64,
    pub stdout: String,
    pub stderr: String,
}

pub(super) struct Cluster {
    dir: tempfile::TempDir,
    machine: Arc<Machine>,
    terminate: CancellationToken,
    programs: Vec<tokio::task::JoinHandle<()>>,
    kubectl: PathBuf,
    read: usize,
}

/// Objects that a server without kubeadm, nodes and add-ons has once its controllers ran.
fn fresh_store() -> Store {
    let fresh = Store::in_memory();
    let ops = replay::base_store()
        .list("/registry/")
        .0
        .into_iter()
        .filter(|stored| is_fresh(&stored.key, &stored.value))
        .map(|stored| Op::Put {
            key: stored.key.clone(),
            value: stored.value.clone(),
        })
        .collect();
    fresh.commit_blocking(ops).unwrap();
    fresh
}

fn is_fresh(key: &str, object: &Value) -> bool {
    let parts: Vec<&str> = key.split('/').skip(2).collect();
    let name = *parts.last().unwrap();
    match (parts[0], parts[1]) {
        ("apps", _) | ("core", "nodes" | "pods" | "secrets" | "events") => false,
        ("certificates.k8s.io", _) => false,
        ("coordination.k8s.io", _) => name.starts_with("apiserver-"),
        ("core", "configmaps") => name.starts_with("kube-root-ca") || name.contains("apiserver"),
        ("core", "serviceaccounts") => name != "coredns" && name != "kube-proxy",
        ("core", "services" | "endpoints") | ("discovery.k8s.io", _) => name == "kubernetes",
        ("networking.k8s.io", "ipaddresses") => name == "10.96.0.1",
        ("rbac.authorization.k8s.io", _) => object
            .pointer("/metadata/labels/kubernetes.io~1bootstrapping")
            .is_some(),
        _ => true,
    }
}

fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

impl Cluster {
    /// Raises the cluster of a session.
    pub(super) async fn raise(head: &Value, kubectl: &Path) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("ckslab-events-")
            .tempdir()
            .unwrap();
        let (root, state) = (dir.path().join("node"), dir.path().join("state"));
        std::fs::create_dir_all(&root).unwrap();
        std::fs::create_dir_all(&state).unwrap();
        let spec = Spec {
            node_name: "controlplane".to_owned(),
            node_ip: "192.168.49.2".to_owned(),
            api_port: free_port(),
        };
        root::create(&root, &state, &spec).unwrap();
        identities(&root, &spec);
        std::fs::write(
            root.join("etc/kubernetes/audit-policy.yaml"),
            head["policy"].as_str().unwrap(),
        )
        .unwrap();
        std::fs::create_dir_all(root.join("var/log/kubernetes")).unwrap();
        std::fs::create_dir_all(dir.path().join("home")).unwrap();
        let machine = Arc::new(Machine {
            pace: Pace::Fast,
            node_name: spec.node_name.clone(),
            node_ip: spec.node_ip.clone(),
            api_port: spec.api_port,
            node_root: root.clone(),
            state_dir: state.clone(),
            store: tokio::task::spawn_blocking(fresh_store).await.unwrap(),
            etcd_up: tokio::sync::watch::Sender::new(true),
            snapshots: tokio::sync::watch::Sender::new(0),
            api: tokio::sync::watch::Sender::new(None),
            containers: ckslab::node::embedded::containers::Containers::default(),
            sockets: ckslab::node::embedded::sockets::Sockets::default(),
        });
        let mut cluster = Self {
            dir,
            machine: machine.clone(),
            terminate: CancellationToken::new(),
            programs: Vec::new(),
            kubectl: kubectl.to_owned(),
            read: 0,
        };
        let mut argv = vec!["kube-apiserver".to_owned()];
        argv.extend(
            head["apiserverArgs"]
                .as_array()
                .unwrap()
                .iter()
                .map(|argument| argument.as_str().unwrap().to_owned()),
        );
        cluster.start(Arc::new(KubeApiServer::new(machine.clone())), argv);
        let mut api = machine.api.subscribe();
        tokio::time::timeout(Duration::from_secs(30), api.wait_for(Option::is_some))
            .await
            .expect("the API server is ready")
            .unwrap();
        let manager = KubeControllerManager::new(machine.clone());
        cluster.start(
            Arc::new(manager),
            vec!["kube-controller-manager".to_owned()],
        );
        let scheduler = KubeScheduler::new(machine.clone());
        cluster.start(Arc::new(scheduler), vec!["kube-scheduler".to_owned()]);
        cluster
            .programs
            .push(tokio::spawn(api_server::run(machine)));
        cluster
    }

    fn start(&mut self, program: Arc<dyn Program>, argv: Vec<String>) {
        let mount = |name: &str, path: &str| Mount {
            name: name.to_owned(),
            container_path: path.to_owned(),
            node_path: path.to_owned(),
            read_only: false,
        };
        let layer = self.dir.path().join(format!("layer-{}", argv[0]));
        std::fs::create_dir_all(&layer).unwrap();
        let mounts = vec![
            mount("k8s", "/etc/kubernetes"),
            mount("log", "/var/log/kubernetes"),
        ];
        let rootfs = Rootfs::new(self.root(), layer, mounts);
        rootfs.prepare().unwrap();
        let process = Process {
            argv,
            rootfs: Arc::new(rootfs),
            output: Arc::new(Captured::default()),
            terminate: self.terminate.clone(),
            pid: 4242,
            own_network: false,
        };
        self.programs.push(tokio::spawn(async move {
            program.run(process).await;
        }));
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("node")
    }

    /// Paths and addresses of the recording, as they are here.
    fn here(&self, text: &str) -> String {
        let etc = self.root().join("etc/kubernetes").display().to_string();
        text.replace("/etc/kubernetes", &etc).replace(
            "https://127.0.0.1:6443",
            &format!("https://127.0.0.1:{}", self.machine.api_port),
        )
    }

    fn recorded(&self, bytes: &[u8]) -> String {
        String::from_utf8_lossy(bytes)
            .replace(&self.root().display().to_string(), "")
            .replace(
                &format!("127.0.0.1:{}", self.machine.api_port),
                "127.0.0.1:6443",
            )
    }

    /// Waits until the controllers have done what the last command gave them to do, as they had when the
    /// next one was recorded: those were a quarter of a second apart, and no two machines are as fast.
    pub(super) async fn settle(&self) {
        const QUIET: Duration = Duration::from_millis(150);
        let store = &self.machine.store;
        let settled = async {
            let mut seen = store.revision();
            loop {
                tokio::time::sleep(QUIET).await;
                let now = store.revision();
                if now == seen {
                    return;
                }
                seen = now;
            }
        };
        // What never ends (a controller that tries again for ever) is seen as it is then.
        let _ = tokio::time::timeout(QUIET * 20, settled).await;
    }

    /// The last change of the cluster.
    pub(super) fn revision(&self) -> u64 {
        self.machine.store.revision()
    }

    /// Runs the command of a step.
    pub(super) async fn run(&self, step: &Value, token: &str) -> Outcome {
        let words: Vec<String> = step["argv"]
            .as_array()
            .unwrap()
            .iter()
            .map(|word| self.here(&word.as_str().unwrap().replace("${TOKEN}", token)))
            .collect();
        let home = self.dir.path().join("home");
        let program = match words[0].as_str() {
            "kubectl" => self.kubectl.clone(),
            other => PathBuf::from(other),
        };
        let mut command = tokio::process::Command::new(program);
        command
            .args(&words[1..])
            .current_dir(&home)
            .env("HOME", &home)
            .env("TMPDIR", &home)
            .env("NO_COLOR", "1")
            .kill_on_drop(true)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in step["env"].as_object().into_iter().flatten() {
            command.env(name, self.here(value.as_str().unwrap()));
        }
        let mut child = command.spawn().unwrap();
        let pid = child.id().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = step["stdin"].as_str().unwrap_or_default().to_owned();
        tokio::spawn(async move {
            let _ = stdin.write_all(input.as_bytes()).await;
        });
        if let Some(seconds) = step["killedAfterSeconds"].as_f64() {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
                let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
            });
        }
        let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output())
            .await
            .expect("a command ends")
            .unwrap();
        let status = output.status;
        let exit = status.code().map_or_else(
            || -i64::from(status.signal().unwrap_or_default()),
            i64::from,
        );
        Outcome {
            exit,
            stdout: self.recorded(&output.stdout),
            stderr: self.recorded(&output.stderr),
        }
    }

    /// The lines of the audit log that clients caused since the last call; waits for `expected` of them,
    /// which may come a moment after the answer.
    pub(super) async fn entries(&mut self, expected: usize) -> Vec<String> {
        let path = self.root().join("var/log/kubernetes/audit/audit.log");
        let deadline = tokio::time::Instant::now() + Duration::from_millis(1500);
        loop {
            let log = std::fs::read(&path).unwrap_or_default();
            let end = log
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |at| at + 1);
            let new = String::from_utf8_lossy(&log[self.read.min(end)..end]).into_owned();
            let lines: Vec<String> = new
                .lines()
                .filter(|line| is_foreground(line))
                .map(str::to_owned)
                .collect();
            if lines.len() >= expected || tokio::time::Instant::now() > deadline {
                self.read = end;
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// The audit log as it is now.
    pub(super) fn log(&self) -> String {
        let path = self.root().join("var/log/kubernetes/audit/audit.log");
        std::fs::read_to_string(path).unwrap_or_default()
    }

    pub(super) async fn end(self) {
        self.terminate.cancel();
        for program in self.programs {
            program.abort();
            let _ = program.await;
        }
    }
}

/// Whether a line is about a request of a command rather than of the control plane itself.
fn is_foreground(line: &str) -> bool {
    [
        "kube-controller-manager/",
        "kube-scheduler/",
        "kube-apiserver/",
    ]
    .iter()
    .all(|agent| {
        !line.contains(&format!("\"userAgent\":\"{agent}"))
            && !line.contains(&format!("user-agent=\"{agent}"))
    })
}

/// The users of the recordings that kubeadm does not make.
fn identities(root: &Path, spec: &Spec) {
    let etc = root.join("etc/kubernetes");
    let read = |name: &str| std::fs::read_to_string(etc.join("pki").join(name)).unwrap();
    let ca = read("ca.crt");
    let authority = Authority::from_pem(&ca, &read("ca.key")).unwrap();
    let jane = authority
        .client("jane", &["developers".to_owned()])
        .unwrap();
    std::fs::write(
        etc.join("jane.conf"),
        kubeconfig::embedded(&spec.server(), &ca, &jane),
    )
    .unwrap();
    let whole = kubeconfig::embedded(&spec.server(), &ca, &jane);
    let nobody: Vec<&str> = whole
        .lines()
        .filter(|line| !line.contains("client-"))
        .collect();
    let nobody = nobody.join("\n").replace("  user:", "  user: {}");
    std::fs::write(
        etc.join("anon.conf"),
        nobody.replace("user: {} jane", "user: jane"),
    )
    .unwrap();
    let admin = authority
        .client("kubernetes-super-admin", &["system:masters".to_owned()])
        .unwrap();
    std::fs::write(etc.join("pki/super-admin.crt"), admin.certificate).unwrap();
    std::fs::write(etc.join("pki/super-admin.key"), admin.key).unwrap();
}
