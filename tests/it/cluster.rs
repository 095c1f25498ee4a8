//! The simulated cluster at work: what a user creates comes to life, and goes away again.

use std::sync::Arc;
use std::time::Duration;

use ckslab::node::embedded::cluster::actor::{Actor, api_is_up};
use ckslab::node::embedded::daemon::{Config, boot};
use ckslab::node::embedded::machine::Machine;
use ckslab::node::embedded::pace::Pace;
use ckslab::node::embedded::root::Spec;
use serde_json::{Value, json};

/// Waits until what is stored under a prefix satisfies the condition.
async fn until(machine: &Arc<Machine>, prefix: &str, holds: impl Fn(&[Value]) -> bool) {
    let waiting = async {
        let mut changes = machine
            .store
            .watch("/registry/", machine.store.revision())
            .unwrap();
        loop {
            let all: Vec<Value> = machine
                .store
                .list(prefix)
                .0
                .iter()
                .map(|stored| stored.value.as_ref().clone())
                .collect();
            if holds(&all) {
                return;
            }
            changes.next().await.unwrap().unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), waiting)
        .await
        .unwrap_or_else(|_| panic!("{prefix} is not as it should become"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_lives_and_its_namespace_dies() {
    let dir = tempfile::tempdir().unwrap();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let spec = Spec {
        node_name: "controlplane".to_owned(),
        node_ip: "172.30.1.2".to_owned(),
        api_port: port,
    };
    let config = Config::new(dir.path(), Pace::Fast, spec);
    config.create().unwrap();
    let running = boot(&config).unwrap();
    let machine = running.machine().clone();
    api_is_up(&machine).await;
    let admin = Actor::component(
        &machine,
        "kubernetes-admin",
        &["system:masters"],
        "kubectl",
        "",
    );
    let space = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "demo"}});
    assert_eq!(
        admin.create("/api/v1/namespaces", space).await.unwrap().0,
        201
    );
    let deployment = json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "web", "image": "nginx:1.27"}]}}}});
    let path = "/apis/apps/v1/namespaces/demo/deployments";
    assert_eq!(admin.create(path, deployment).await.unwrap().0, 201);
    until(&machine, "/registry/core/pods/demo/", |pods| {
        pods.len() == 2 && pods.iter().all(|pod| pod["status"]["phase"] == "Running")
    })
    .await;
    until(&machine, "/registry/apps/deployments/demo/", |all| {
        all.first()
            .is_some_and(|web| web["status"]["readyReplicas"] == 2)
    })
    .await;
    until(&machine, "/registry/core/pods/kube-system/", |pods| {
        let mirror = |name: &str| {
            pods.iter().any(|pod| {
                pod["metadata"]["name"] == name
                    && pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string()
            })
        };
        mirror("kube-apiserver-controlplane") && mirror("etcd-controlplane")
    })
    .await;
    assert!(
        admin
            .delete("/api/v1/namespaces/demo", None)
            .await
            .unwrap()
            .0
            < 300
    );
    until(&machine, "/registry/core/namespaces/", |all| {
        all.iter().all(|space| space["metadata"]["name"] != "demo")
    })
    .await;
    assert!(machine.store.list("/registry/core/pods/demo/").0.is_empty());
    running.stop().await;
}
