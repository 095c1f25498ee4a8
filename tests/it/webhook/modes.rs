//! Batches, buffers, throttling, both backends: what the recordings do not show.

use serde_json::Value;

use super::receiver::{Receiver, Reply};
use super::server::{Node, Server, lines};

/// Only the tests' own requests are audited: two events each.
pub(super) const POLICY: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: None\n  nonResourceURLs: [\"*\"]\n- level: Metadata\n  users: [kubernetes-super-admin]\n";
const CONFIG: &str = "--audit-webhook-config-file=/etc/kubernetes/audit-webhook.yaml";
const LOG: &str = "--audit-log-path=/var/log/kubernetes/audit.log";

pub(super) fn arguments(flags: &[&str]) -> Vec<String> {
    flags.iter().map(|flag| (*flag).to_owned()).collect()
}

pub(super) async fn to(node: &Node, receiver: &Receiver, flags: &[&str]) -> Server {
    node.webhook(
        &format!("{{server: \"http://127.0.0.1:{}/audit\"}}", receiver.port),
        "{}",
    );
    let mut all = arguments(flags);
    all.push(CONFIG.to_owned());
    node.start(&all)
}

fn uris(events: &[Value]) -> Vec<String> {
    events
        .iter()
        .map(|event| {
            let uri = event["requestURI"].as_str().unwrap();
            let (_, query) = uri.split_once('?').unwrap_or(("", ""));
            format!("{query} {}", event["stage"].as_str().unwrap())
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_queued_goes_out_at_sigterm() {
    let node = Node::new(POLICY);
    let receiver = Receiver::start(Vec::new(), None).await;
    let server = to(
        &node,
        &receiver,
        &["--audit-webhook-batch-max-wait=1h", "--v=1"],
    )
    .await;
    assert_eq!(server.get("?a").await, 200);
    assert!(receiver.posts().is_empty());
    let (code, output) = server.terminate().await;
    assert_eq!(code, 0);
    assert_eq!(
        uris(&receiver.events()),
        ["a RequestReceived", "a ResponseComplete"]
    );
    let stderr = output.stderr.lock().unwrap().join("\n");
    assert!(stderr.contains("[graceful-termination] audit backend shutdown completed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_sends_nothing_more() {
    let node = Node::new(POLICY);
    let receiver = Receiver::start(Vec::new(), None).await;
    let server = to(&node, &receiver, &["--audit-webhook-batch-max-wait=1h"]).await;
    assert_eq!(server.get("?a").await, 200);
    server.kill().await;
    // A server started afterwards delivers its own events, and only those.
    let server = to(&node, &receiver, &["--audit-webhook-batch-max-wait=1h"]).await;
    assert_eq!(server.get("?b").await, 200);
    server.terminate().await;
    assert_eq!(
        uris(&receiver.events()),
        ["b RequestReceived", "b ResponseComplete"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_that_find_the_buffer_full_are_lost_and_said_so() {
    let node = Node::new(POLICY);
    let receiver = Receiver::start(Vec::new(), None).await;
    // One batch may go in an hour: the first takes it, the second waits, the rest fills the buffer.
    let server = to(
        &node,
        &receiver,
        &[
            "--audit-webhook-batch-max-size=1",
            "--audit-webhook-batch-buffer-size=2",
            "--audit-webhook-batch-throttle-qps=0.0003",
            "--audit-webhook-batch-throttle-burst=1",
        ],
    )
    .await;
    for _ in 0..4 {
        // The requests themselves notice nothing.
        assert_eq!(server.get("").await, 200);
    }
    receiver.wait(1).await;
    let errors = server.plugin_errors();
    // Eight events: one sent, at most one in hand, two queued.
    assert!((4..=6).contains(&errors.len()), "{errors:#?}");
    for line in &errors {
        assert!(line.ends_with(
            "metrics.go:110] Error in audit plugin 'buffered' affecting 1 audit events: audit buffer queue blocked"
        ));
    }
    let (_, metrics) = server.request("GET", "/metrics", None).await;
    let want = format!(
        "apiserver_audit_error_total{{plugin=\"buffered\"}} {}",
        errors.len()
    );
    assert!(metrics.contains(&want), "{metrics}");
    assert_eq!(receiver.posts().len(), 1);
    server.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_beyond_the_burst_wait_for_their_turn() {
    let node = Node::new(POLICY);
    let receiver = Receiver::start(Vec::new(), None).await;
    let server = to(
        &node,
        &receiver,
        &[
            "--audit-webhook-batch-max-size=1",
            "--audit-webhook-batch-throttle-qps=20",
            "--audit-webhook-batch-throttle-burst=2",
        ],
    )
    .await;
    for _ in 0..3 {
        server.get("").await;
    }
    let posts = receiver.wait(6).await;
    // Six batches, two at once: the last goes four twentieths of a second later.
    let passed = posts[5].at - posts[0].at;
    assert!(passed.as_millis() >= 140, "{passed:?}");
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_in_batches_is_written_later() {
    let node = Node::new(POLICY);
    let log = node.path("var/log/kubernetes/audit.log");
    let flags = [
        LOG,
        "--audit-log-mode=batch",
        "--audit-log-batch-max-size=100",
        "--audit-log-batch-max-wait=1h",
    ];
    let server = node.start(&arguments(&flags));
    assert_eq!(server.get("?a").await, 200);
    assert_eq!(lines(&log).len(), 0);
    let (code, _) = server.terminate().await;
    assert_eq!((code, lines(&log).len()), (0, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_backends_get_every_event() {
    let node = Node::new(POLICY);
    let receiver = Receiver::start(Vec::new(), None).await;
    let flags = [
        LOG,
        "--audit-log-truncate-enabled",
        "--audit-webhook-mode=blocking-strict",
        "--v=2",
    ];
    let server = to(&node, &receiver, &flags).await;
    assert_eq!(server.get("?a").await, 200);
    let line = "audit.go:344] Using audit backend: union[truncate<ignoreErrors<log>>,webhook]";
    assert!(server.stderr().iter().any(|l| l.ends_with(line)));
    let logged: Vec<Value> = lines(&node.path("var/log/kubernetes/audit.log"))
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(uris(&logged), uris(&receiver.events()));
    assert_eq!(logged.len(), 2);
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_too_large_lose_their_bodies_or_go() {
    let node = Node::new(
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n- level: Request\n  users: [kubernetes-super-admin]\n  resources: [{group: \"\", resources: [configmaps]}]\n- level: Metadata\n  users: [kubernetes-super-admin]\n",
    );
    let receiver = Receiver::start(Vec::new(), None).await;
    let flags = [
        "--audit-webhook-mode=blocking",
        "--audit-webhook-truncate-enabled",
        "--audit-webhook-truncate-max-event-size=1200",
        "--audit-webhook-truncate-max-batch-size=1200",
    ];
    let server = to(&node, &receiver, &flags).await;
    let object = serde_json::json!({"apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "large"}, "data": {"k": "z".repeat(2000)}});
    let path = "/api/v1/namespaces/default/configmaps";
    assert_eq!(server.request("POST", path, Some(object)).await.0, 201);
    let event = receiver.events().pop().unwrap();
    assert_eq!(event["annotations"]["audit.k8s.io/truncated"], "true");
    assert!(event.get("requestObject").is_none());
    // What has no body cannot be cut.
    server.get(&format!("?x={}", "y".repeat(2000))).await;
    server
        .request("GET", &format!("/api?x={}", "y".repeat(2000)), None)
        .await;
    assert_eq!(receiver.posts().len(), 1);
    let errors = server.plugin_errors();
    assert_eq!(errors.len(), 2);
    for line in errors {
        assert!(line.ends_with(
            "Error in audit plugin 'truncate' affecting 1 audit events: event is too large even after truncating"
        ));
    }
    server.terminate().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_comes_back_gets_what_is_still_tried() {
    let node = Node::new(POLICY);
    let receiver = Receiver::start(Vec::new(), None).await;
    let port = receiver.port;
    let flags = [
        "--audit-webhook-batch-max-wait=20ms",
        "--audit-webhook-initial-backoff=1s",
    ];
    let server = to(&node, &receiver, &flags).await;
    server.get("?first").await;
    let before: usize = {
        let mut events = receiver.wait(1).await.iter().map(|p| p.items().len()).sum();
        while events < 2 {
            let posts = receiver.wait(2).await;
            events = posts.iter().map(|p| p.items().len()).sum();
        }
        events
    };
    assert_eq!(before, 2);
    receiver.kill().await;
    server.get("?second").await;
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port))
        .await
        .unwrap();
    let receiver = Receiver::on(listener, vec![Reply::status(200)], None);
    receiver.wait(1).await;
    server.terminate().await;
    assert_eq!(
        uris(&receiver.events()),
        ["second RequestReceived", "second ResponseComplete"]
    );
}
