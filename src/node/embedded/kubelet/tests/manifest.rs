//! What fields of a manifest do to its pod.

use std::os::unix::fs::symlink;

use super::clock::{Node, text};
use crate::node::embedded::kubelet::probe::ProbeAnswer;

fn container(node: &mut Node, name: &str) -> serde_json::Value {
    node.status(name).status["containerStatuses"][0].clone()
}

#[test]
fn a_pod_that_needs_another_node_or_more_than_this_one_is_rejected() {
    for (name, spec, reason, message) in [
        (
            "elsewhere",
            "nodeSelector: {disk: ssd}, containers: [{name: c, image: nginx:1}]",
            "NodeAffinity",
            "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
        ),
        (
            "big",
            "containers: [{name: c, image: nginx:1, resources: {requests: {memory: 5Gi}}}]",
            "UnexpectedAdmissionError",
            "no set of running pods found to reclaim resources: [(res: memory, q: 1073741824), ]",
        ),
        (
            "init",
            "initContainers: [{name: i, image: nginx:1, resources: {requests: {cpu: '3'}}}], \
             containers: [{name: c, image: nginx:1}]",
            "UnexpectedAdmissionError",
            "[(res: cpu, q: 1000), ]",
        ),
    ] {
        let mut node = Node::new();
        node.pod(name, &format!("{{{spec}}}"));
        node.pass(30.0);
        let status = node.status(name).status;
        assert_eq!(text(&status, "/phase"), "Failed");
        assert_eq!(text(&status, "/reason"), reason);
        assert!(text(&status, "/message").contains(message), "{status}");
        assert!(node.processes.is_empty());
    }
    let mut node = Node::new();
    node.pod(
        "here",
        "{nodeSelector: {kubernetes.io/os: linux}, containers: [{name: c, image: nginx:1}]}",
    );
    node.pass(10.0);
    assert_eq!(node.order(), ["start c"]);
}

#[test]
fn root_is_refused_where_the_manifest_says_so() {
    for (security, message) in [
        (
            "{runAsNonRoot: true}",
            "container has runAsNonRoot and image will run as root (pod: \"web-node_default(",
        ),
        (
            "{runAsNonRoot: true, runAsUser: 0}",
            "container's runAsUser breaks non-root policy (pod: \"web-node_default(",
        ),
    ] {
        let mut node = Node::new();
        node.pod(
            "web",
            &format!("{{securityContext: {security}, containers: [{{name: c, image: nginx:1}}]}}"),
        );
        node.pass(10.0);
        let own = container(&mut node, "web");
        assert_eq!(
            text(&own, "/state/waiting/reason"),
            "CreateContainerConfigError"
        );
        assert!(
            text(&own, "/state/waiting/message").starts_with(message),
            "{own}"
        );
        assert!(node.processes.is_empty());
    }
}

#[test]
fn the_user_and_the_root_file_system_of_a_container_reach_its_process() {
    let mut node = Node::new();
    node.files.write_atomic("/etc/policy", b"x", 0o600).unwrap();
    node.files.create_dir_all("/var/log/audit", 0o755).unwrap();
    node.pod(
        "web",
        "{hostNetwork: true, volumes: [{name: p, hostPath: {path: /etc/policy}}, \
            {name: l, hostPath: {path: /var/log/audit}}], \
          containers: [{name: c, image: nginx:1, \
            securityContext: {runAsUser: 65534, readOnlyRootFilesystem: true}, \
            volumeMounts: [{name: p, mountPath: /etc/policy}, {name: l, mountPath: /var/log/audit}]}]}",
    );
    node.pod("root", "{containers: [{name: c, image: nginx:1}]}");
    node.pass(10.0);
    let views = node.snapshot().containers;
    let view = |name: &str| {
        views
            .iter()
            .find(|c| c.pod_name == format!("{name}-node"))
            .unwrap()
    };
    let (own, other) = (view("web"), view("root"));
    assert_eq!(
        (own.user, own.read_only_root, own.own_network),
        (65534, true, false)
    );
    assert_eq!(
        (other.user, other.read_only_root, other.own_network),
        (0, false, true)
    );
    let state = node.files.root().parent().unwrap().join("state");
    let rootfs = own.rootfs(node.files.root(), &state);
    let denied = std::io::ErrorKind::PermissionDenied;
    assert_eq!(rootfs.read("/etc/policy", 10).unwrap_err().kind(), denied);
    assert_eq!(
        rootfs
            .append("/var/log/audit/a.log", 0o600)
            .unwrap_err()
            .kind(),
        denied
    );
    assert!(rootfs.write("/tmp/x", b"", 0o600).is_err());
    let rootfs = other.rootfs(node.files.root(), &state);
    assert!(rootfs.write("/tmp/x", b"", 0o600).is_ok());
}

#[test]
fn pull_policies_decide_about_images_that_are_not_there() {
    let mut node = Node::new();
    let spec = |policy: &str, tag: &str| {
        format!(
            "{{containers: [{{name: c, imagePullPolicy: {policy}, \
              image: 'registry.k8s.io/kube-apiserver:{tag}', command: [kube-apiserver]}}]}}"
        )
    };
    node.pod("never", &spec("Never", "v1.0.0"));
    node.pod("missing", &spec("IfNotPresent", "v1.0.0"));
    node.pod("always", &spec("Always", "v1.36.2"));
    node.pass(20.0);
    let own = container(&mut node, "never");
    assert_eq!(text(&own, "/state/waiting/reason"), "ErrImageNeverPull");
    assert_eq!(
        text(&own, "/state/waiting/message"),
        "Container image \"registry.k8s.io/kube-apiserver:v1.0.0\" is not present with pull policy of Never"
    );
    let own = container(&mut node, "missing");
    let reason = text(&own, "/state/waiting/reason");
    assert!(
        ["ImagePullBackOff", "ErrImagePull"].contains(&reason),
        "{own}"
    );
    assert!(container(&mut node, "always")["state"]["running"].is_object());
    assert!(node.events().iter().any(|event| {
        event.starts_with("Normal Pulled Successfully pulled image \"registry.k8s.io/kube-apiserver:v1.36.2\" in ")
    }));
}

#[test]
fn special_files_are_checked_by_their_kind() {
    for (kind, message) in [
        ("Socket", "is not a socket file"),
        ("CharDevice", "is not a character device"),
        ("BlockDevice", "is not a block device"),
        ("File", ""),
    ] {
        let mut node = Node::new();
        node.files.write_atomic("/run/it", b"", 0o600).unwrap();
        symlink("it", node.files.root().join("run/link")).unwrap();
        node.pod(
            "web",
            &format!(
                "{{volumes: [{{name: v, hostPath: {{path: /run/link, type: {kind}}}}}], \
                  containers: [{{name: c, image: nginx:1, volumeMounts: [{{name: v, mountPath: /v}}]}}]}}"
            ),
        );
        node.pass(5.0);
        let failed = format!(
            "Warning FailedMount MountVolume.SetUp failed for volume \"v\" : hostPath type check failed: /run/link {message}"
        );
        assert_eq!(
            node.events().contains(&failed),
            kind != "File",
            "{:?}",
            node.events()
        );
        assert_eq!(node.order().is_empty(), kind != "File");
    }
}

#[test]
fn a_probe_that_fails_restarts_and_one_that_cannot_be_made_does_not() {
    let mut node = Node::new();
    let spec = "{terminationGracePeriodSeconds: 5, containers: [{name: c, image: nginx:1, \
         livenessProbe: {exec: {command: [check]}, periodSeconds: 5}}, {name: d, image: nginx:1}]}";
    node.answer = |_| ProbeAnswer::Error("rpc error".into());
    node.pod("web", spec);
    node.pass(60.0);
    assert_eq!(node.order(), ["start c", "start d"]);
    assert!(node.events().contains(
        &"Warning Unhealthy Liveness probe errored and resulted in unknown state: rpc error".into()
    ));
    node.answer = |_| ProbeAnswer::Failure("timeout".into());
    node.pass(20.0);
    // The other container of the pod goes on.
    assert_eq!(&node.order()[2..], ["term c", "start c"]);
    let events = node.events();
    assert!(events.contains(&"Warning Unhealthy Liveness probe failed: timeout".into()));
    assert!(
        events.contains(
            &"Normal Killing Container c failed liveness probe, will be restarted".into()
        )
    );
}

#[test]
fn a_pod_that_is_not_restarted_keeps_its_end() {
    for (policy, command, phase, restarts) in [
        ("Never", "'false'", "Failed", false),
        ("Never", "'true'", "Succeeded", false),
        ("OnFailure", "'true'", "Succeeded", false),
        ("OnFailure", "'false'", "Running", true),
        ("Always", "'true'", "Running", true),
    ] {
        let mut node = Node::new();
        node.pod(
            "job",
            &format!(
                "{{restartPolicy: {policy}, containers: [{{name: c, image: busybox:1, command: [{command}]}}]}}"
            ),
        );
        node.pass(40.0);
        let status = node.status("job").status;
        assert_eq!(text(&status, "/phase"), phase, "{policy} {command}");
        let count = status["containerStatuses"][0]["restartCount"].as_u64();
        assert_eq!(count.unwrap() > 0, restarts, "{policy} {command}");
    }
}

#[test]
fn logs_are_kept_for_the_latest_two_starts_and_go_with_the_pod() {
    let mut node = Node::new();
    node.pod(
        "web",
        "{containers: [{name: c, image: busybox:1, command: ['false']}]}",
    );
    node.pass(100.0);
    let view = node.snapshot().containers.pop().unwrap();
    let uid = view.pod_uid.clone();
    assert!(view.attempt >= 3);
    let pod = format!("/var/log/pods/default_web-node_{uid}");
    assert_eq!(view.log_path, format!("{pod}/c/{}.log", view.attempt));
    let own = node.snapshot().containers;
    let links = node.files.list("/var/log/containers").unwrap();
    let expected: Vec<String> = own
        .iter()
        .map(|c| format!("web-node_default_c-{}.log", c.id))
        .collect();
    assert!(own.len() <= 2, "{own:#?}");
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    assert_eq!(sorted(links), sorted(expected));
    for container in &own {
        let link = format!(
            "/var/log/containers/web-node_default_c-{}.log",
            container.id
        );
        let target = std::fs::read_link(node.files.root().join(&link[1..])).unwrap();
        assert_eq!(target.to_str().unwrap(), container.log_path);
    }
    node.remove("web.yaml");
    node.pass(60.0);
    assert!(node.files.metadata(&pod).is_err());
    assert_eq!(
        node.files.list("/var/log/containers").unwrap(),
        Vec::<String>::new()
    );
}

#[test]
fn a_worker_waits_two_minutes_for_volumes_and_comes_back() {
    let mut node = Node::new();
    node.pod(
        "web",
        "{volumes: [{name: v, hostPath: {path: /nowhere, type: File}}], \
          containers: [{name: web, image: nginx:1, volumeMounts: [{name: v, mountPath: /v}]}]}",
    );
    let count = |node: &Node, what: &str| node.journal.iter().filter(|l| l.contains(what)).count();
    let late = "unmounted volumes=[v], unattached volumes=[], failed to process volumes=[]: context deadline exceeded";
    node.pass(122.0);
    assert_eq!(count(&node, late), 0);
    node.pass(10.0);
    assert_eq!(count(&node, late), 1);
    // 10 to 15 seconds later it looks again, and waits as long once more.
    let looks = count(&node, "Creating a mirror pod");
    node.pass(10.0);
    assert_eq!(count(&node, "Creating a mirror pod"), looks + 1);
    node.pass(126.0);
    assert_eq!(count(&node, late), 2);
}
