//! The server in process: who may open a session in a pod, logs that are followed.

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ckslab::audit::options::pflag::CommandLine;
use ckslab::audit::policy;
use ckslab::node::embedded::apiserver::audit::{Memory, Sink};
use ckslab::node::embedded::apiserver::flags::Flags;
use ckslab::node::embedded::apiserver::klog::Klog;
use ckslab::node::embedded::apiserver::pipeline::{self, Peer, RequestBody, ResponseBody};
use ckslab::node::embedded::apiserver::request::UserInfo;
use ckslab::node::embedded::apiserver::state::ApiState;
use ckslab::node::embedded::process::Output;
use ckslab::node::embedded::store::{Op, Store};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};

use crate::replay;

struct Silent;

impl Output for Silent {
    fn stdout(&self, _: &str) {}
    fn stderr(&self, _: &str) {}
}

const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n";

pub struct Server {
    pub state: Arc<ApiState>,
    pub memory: Arc<Memory>,
}

impl Server {
    fn new(root: &Path, flags: &[&str]) -> Self {
        Self::on(Store::in_memory(), POLICY, root, flags)
    }

    /// A server on this store, with this policy.
    pub fn on(store: Store, policy: &str, root: &Path, flags: &[&str]) -> Self {
        let mut arguments = vec!["--etcd-servers=https://127.0.0.1:2379".to_owned()];
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let memory = Arc::new(Memory::default());
        let mut machine = Arc::into_inner(replay::machine(store)).unwrap();
        machine.node_root = root.to_path_buf();
        let state = ApiState {
            audit: Arc::new(Sink::new(
                Some(policy::load(policy.as_bytes()).unwrap().policy),
                vec![Box::new(memory.clone())],
            )),
            ..ApiState::new(
                Arc::new(machine),
                Flags::from(CommandLine::parse(&arguments).unwrap()),
                Klog::new(Arc::new(Silent), 1, 0),
            )
        };
        Self {
            state: Arc::new(state),
            memory,
        }
    }

    async fn put(&self, key: &str, value: Value) {
        let store = self.state.store.clone();
        let op = Op::Put {
            key: key.to_owned(),
            value: Arc::new(value),
        };
        tokio::task::spawn_blocking(move || store.commit_blocking(vec![op]).unwrap())
            .await
            .unwrap();
    }

    /// A node whose kubelet lives, and a pod that runs on it.
    async fn pod(&self, annotations: Value, id: &str) {
        self.put(
            "/registry/core/nodes/controlplane",
            json!({"kind": "Node", "apiVersion": "v1", "metadata": {"name": "controlplane"},
                "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}}),
        )
        .await;
        self.put(
            "/registry/coordination.k8s.io/leases/kube-node-lease/controlplane",
            json!({"kind": "Lease", "apiVersion": "coordination.k8s.io/v1",
                "metadata": {"name": "controlplane", "namespace": "kube-node-lease"},
                "spec": {"renewTime": jiff::Timestamp::now().to_string()}}),
        )
        .await;
        self.put(
            "/registry/core/pods/kube-system/etcd",
            json!({"kind": "Pod", "apiVersion": "v1",
                "metadata": {"name": "etcd", "namespace": "kube-system", "annotations": annotations},
                "spec": {"nodeName": "controlplane", "containers": [{"name": "etcd", "image": "etcd"}]},
                "status": {"containerStatuses": [{"name": "etcd", "containerID": id,
                    "state": {"running": {}}}]}}),
        )
        .await;
    }

    async fn get(
        &self,
        user: &str,
        groups: &[&str],
        path: &str,
        headers: &[(&str, &str)],
    ) -> http::Response<ResponseBody> {
        let mut request = http::Request::builder()
            .uri(path)
            .header("audit-id", "asked");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = RequestBody::new(Full::new(bytes::Bytes::new()).map_err(|never| match never {}));
        let peer = Peer::Local {
            user: UserInfo {
                username: user.to_owned(),
                groups: groups.iter().map(|group| (*group).to_owned()).collect(),
                ..UserInfo::default()
            },
            address: "127.0.0.1".parse().unwrap(),
        };
        pipeline::handle(self.state.clone(), request.body(body).unwrap(), peer).await
    }
}

async fn text(response: http::Response<ResponseBody>) -> String {
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8_lossy(&bytes).into_owned()
}

const UPGRADE: [(&str, &str); 4] = [
    ("connection", "Upgrade"),
    ("upgrade", "websocket"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ("sec-websocket-protocol", "v5.channel.k8s.io"),
];

#[tokio::test]
async fn reading_is_not_enough_to_open_a_session() {
    let root = tempfile::tempdir().unwrap();
    let server = Server::new(root.path(), &["--authorization-mode=Node,RBAC"]);
    server.pod(json!({}), "containerd://1").await;
    for (user, verbs) in [
        ("reader", json!(["get"])),
        ("runner", json!(["get", "create"])),
    ] {
        server
            .put(
                &format!("/registry/rbac.authorization.k8s.io/roles/kube-system/{user}"),
                json!({"metadata": {"name": user, "namespace": "kube-system"}, "rules": [{
                    "verbs": verbs, "apiGroups": [""],
                    "resources": ["pods/exec", "pods/attach", "pods/portforward"]}]}),
            )
            .await;
        server
            .put(
                &format!("/registry/rbac.authorization.k8s.io/rolebindings/kube-system/{user}"),
                json!({"metadata": {"name": user, "namespace": "kube-system"},
                    "roleRef": {"kind": "Role", "name": user},
                    "subjects": [{"kind": "User", "name": user}]}),
            )
            .await;
    }
    for subresource in ["exec", "attach", "portforward"] {
        let path = format!("/api/v1/namespaces/kube-system/pods/etcd/{subresource}?command=id");
        let refused = server
            .get("reader", &["system:authenticated"], &path, &UPGRADE)
            .await;
        assert_eq!(refused.status(), 403, "{subresource}");
        let status: Value = serde_json::from_str(&text(refused).await).unwrap();
        assert_eq!(status["message"], "pods \"etcd\" is forbidden: ");
        assert_eq!(status["reason"], "Forbidden");
        assert_eq!(status["details"], json!({"name": "etcd", "kind": "pods"}));
        let events = server.memory.take();
        let last = serde_json::to_value(events.last().unwrap()).unwrap();
        assert_eq!(last["verb"], "get");
        assert_eq!(last["responseStatus"]["code"], 403);
        // The request itself was authorised.
        assert_eq!(
            last["annotations"]["authorization.k8s.io/decision"],
            "allow"
        );
        // Nothing can be upgraded here, but that is what the answer says then.
        let allowed = server
            .get("runner", &["system:authenticated"], &path, &UPGRADE)
            .await;
        assert_eq!(allowed.status(), 400, "{subresource}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_followed_log_goes_on_until_its_container_ends() {
    let root = tempfile::tempdir().unwrap();
    let directory = root.path().join("var/log/pods/kube-system_etcd_abc/etcd");
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("0.log");
    std::fs::write(&path, "2026-01-01T00:00:00Z stderr F first\n").unwrap();
    let server = Server::new(root.path(), &["--authorization-mode=Node,RBAC"]);
    let annotations = json!({"kubernetes.io/config.mirror": "abc"});
    server.pod(annotations.clone(), "containerd://1").await;
    let response = server
        .get(
            "root",
            &["system:masters"],
            "/api/v1/namespaces/kube-system/pods/etcd/log?follow=true",
            &[],
        )
        .await;
    assert_eq!(response.status(), 200);
    let mut body = response.into_body();
    let mut next = async || {
        let frame = tokio::time::timeout(Duration::from_secs(10), body.frame());
        let frame = frame.await.expect("the log goes on")?;
        Some(String::from_utf8(frame.unwrap().into_data().unwrap().to_vec()).unwrap())
    };
    assert_eq!(next().await.as_deref(), Some("first\n"));
    let append = |text: &str| {
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    };
    append("2026-01-01T00:00:01Z stderr F second\n");
    assert_eq!(next().await.as_deref(), Some("second\n"));
    // What it still said before it ended is sent too; its successor is another log.
    append("2026-01-01T00:00:02Z stderr F last\n");
    server.pod(annotations, "containerd://2").await;
    assert_eq!(next().await.as_deref(), Some("last\n"));
    assert_eq!(next().await, None);
}

#[tokio::test]
async fn a_log_is_below_the_directory_of_logs() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("var/log/pods/kube-system_etcd_x/etcd")).unwrap();
    let secret = root.path().join("secret/etcd");
    std::fs::create_dir_all(&secret).unwrap();
    std::fs::write(secret.join("0.log"), "T stdout F secret\n").unwrap();
    let server = Server::new(root.path(), &["--authorization-mode=Node,RBAC"]);
    for uid in ["x/../../../../secret", "x/etcd/../../../../../secret", ".."] {
        server
            .pod(
                json!({"kubernetes.io/config.mirror": uid}),
                "containerd://1",
            )
            .await;
        let response = server
            .get(
                "root",
                &["system:masters"],
                "/api/v1/namespaces/kube-system/pods/etcd/log",
                &[],
            )
            .await;
        assert_eq!(text(response).await, "", "{uid}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_past_the_limit_are_asked_to_come_back() {
    let root = tempfile::tempdir().unwrap();
    let server = Arc::new(Server::new(
        root.path(),
        &[
            "--authorization-mode=AlwaysAllow",
            "--max-requests-inflight=1",
            "--max-mutating-requests-inflight=0",
            "--enable-priority-and-fairness=false",
        ],
    ));
    // Without etcd the first request waits.
    server.state.machine.etcd_up.send_replace(false);
    let path = "/api/v1/namespaces/default/pods";
    let first = {
        let server = server.clone();
        tokio::spawn(async move { server.get("jane", &[], path, &[]).await })
    };
    let mut waits = server.state.machine.etcd_up.receiver_count();
    while waits == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
        waits = server.state.machine.etcd_up.receiver_count();
    }
    let refused = server.get("joe", &[], path, &[]).await;
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_eq!(
        text(refused).await,
        "Too many requests, please try again later.\n"
    );
    let events = server.memory.take();
    let last = serde_json::to_value(events.last().unwrap()).unwrap();
    assert_eq!(last["responseStatus"]["code"], 429);
    assert_eq!(last["annotations"], Value::Null);
    // Neither probes nor administrators are held up.
    let probe = server.get("system:anonymous", &[], "/livez", &[]).await;
    assert_eq!(probe.status(), 500, "it says that etcd is down");
    let admin = server.get("root", &["system:masters"], "/version", &[]);
    assert_eq!(admin.await.status(), 200);
    server.state.machine.etcd_up.send_replace(true);
    assert_eq!(first.await.unwrap().status(), 200);
    assert_eq!(server.get("joe", &[], path, &[]).await.status(), 200);
}
