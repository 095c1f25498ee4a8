//! Events that cannot be written, as the journal tells of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::clock::Node;
use crate::node::embedded::kubelet::{ApiView, Mirror};

/// An API server that answers or not.
struct Server(AtomicBool);

impl ApiView for Server {
    fn serving(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn mirror(&self, _: &str, _: &str) -> Option<Mirror> {
        None
    }
}

fn node(up: bool) -> (Node, Arc<Server>) {
    let server = Arc::new(Server(AtomicBool::new(up)));
    (Node::of_cluster(server.clone()), server)
}

fn lines<'a>(node: &'a Node, place: &str) -> Vec<&'a String> {
    node.journal
        .iter()
        .filter(|line| line.contains(place))
        .collect()
}

#[test]
fn the_first_event_is_tried_twelve_times_and_holds_up_the_rest() {
    let (mut node, _) = node(false);
    node.pod("web", "{containers: [{name: web, image: nginx:1}]}");
    node.pass(100.0);
    let tries = lines(&node, "event.go:368");
    assert!((9..=11).contains(&tries.len()), "{tries:#?}");
    assert!(tries.iter().all(|line| {
        line.contains("err=\"Post \\\"https://172.18.0.2:6443/api/v1/namespaces/default/events\\\": dial tcp 172.18.0.2:6443: connect: connection refused\"")
            && line.contains("FieldPath:spec.containers{web},},Reason:Pulled,Message:Container image \\\"nginx:1\\\"")
            && line.contains("Count:1,Type:Normal,")
    }));
    node.pass(25.0);
    let given_up = lines(&node, "event.go:307");
    assert_eq!(given_up.len(), 1);
    assert!(given_up[0].contains("Reason:Pulled"));
    assert!(
        lines(&node, "event.go:368")
            .iter()
            .any(|line| line.contains("Reason:Created"))
    );
}

#[test]
fn events_go_through_once_the_server_answers() {
    let (mut node, server) = node(false);
    node.pod("web", "{containers: [{name: web, image: nginx:1}]}");
    node.pass(25.0);
    let before = lines(&node, "event.go:").len();
    assert!(before > 0);
    server.0.store(true, Ordering::Relaxed);
    node.pass(60.0);
    assert_eq!(lines(&node, "event.go:").len(), before);
}

#[test]
fn a_kubelet_on_its_own_writes_to_nobody() {
    let mut node = Node::new();
    node.pod("web", "{containers: [{name: web, image: nginx:1}]}");
    node.pass(60.0);
    assert_eq!(lines(&node, "event.go:").len(), 0);
}
