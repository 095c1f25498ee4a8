//! What else is put back between labs, and what cannot be: nodes, the kubelet's configuration, the journal; other
//! versions of Kubernetes.

use serde_json::Value;

use super::docker::{Lab, docker};
use crate::builder::has_kubectl;

/// kubectl with the lab's kubeconfig.
fn kubectl(kubeconfig: &str, words: &[&str]) -> String {
    let output = std::process::Command::new("kubectl")
        .args(words)
        .env("KUBECONFIG", kubeconfig)
        .output()
        .unwrap();
    assert!(output.status.success(), "{words:?} {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_what_was_put_on_the_node_object_is_taken_off() {
    if !has_kubectl() {
        return;
    }
    let lab = Lab::new("labels");
    let started = lab.start("sandbox", &[]).ok().json();
    // Kept by the test, whichever lab it was of.
    let file = lab.test.work().join("kubeconfig");
    std::fs::copy(
        started["kubeconfig"]
            .as_str()
            .unwrap()
            .replace("[HOME]", lab.test.home().to_str().unwrap()),
        &file,
    )
    .unwrap();
    let file = file.display().to_string();
    let node = kubectl(&file, &["get", "nodes", "-o", "name"]);
    let node = node
        .lines()
        .next()
        .unwrap()
        .trim_start_matches("node/")
        .to_owned();
    let look = || {
        let text = kubectl(&file, &["get", "node", &node, "-o", "json"]);
        let seen: Value = serde_json::from_str(&text).unwrap();
        (
            seen["metadata"]["labels"].clone(),
            seen["metadata"]["annotations"]["mine"].clone(),
            seen["spec"]["taints"].clone(),
            seen["spec"]["unschedulable"].clone(),
        )
    };
    let before = look();
    kubectl(&file, &["label", "node", &node, "mine=1"]);
    kubectl(&file, &["label", "node", &node, "kubernetes.io/os-"]);
    kubectl(&file, &["annotate", "node", &node, "mine=1"]);
    kubectl(&file, &["taint", "node", &node, "mine=1:NoExecute"]);
    kubectl(&file, &["cordon", &node]);
    assert_ne!(look(), before);
    lab.start("audit-01", &[]).ok();
    lab.test.until("the node is as it was", || look() == before);
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_the_kubelets_configuration_is_put_back_and_the_journal_begins_anew() {
    let lab = Lab::new("kubelet");
    lab.start("sandbox", &[]).ok();
    let files = "sha256sum /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env";
    let before = lab.sh(files);
    let starts = || {
        let lines = lab.past("journalctl -u kubelet --no-pager | grep -c Started");
        lines.trim().parse::<u32>().unwrap()
    };
    let started = starts();
    lab.sh("echo '# mine' >>/var/lib/kubelet/config.yaml; echo '# mine' >>/var/lib/kubelet/kubeadm-flags.env; echo '{' >/etc/kubernetes/manifests/broken.yaml");
    let tail = || {
        let status = lab.test.run(["status", "-o", "json"]).ok().json();
        status["kubelet"]["journal_tail"].to_string()
    };
    lab.test
        .until("the kubelet complains", || tail().contains("broken.yaml"));
    lab.start("audit-01", &[]).ok();
    assert_eq!(lab.sh(files), before);
    assert!(starts() > started, "the kubelet reads it when it starts");
    assert!(
        !tail().contains("broken.yaml"),
        "that is another lab's past"
    );
    assert!(
        lab.sh("journalctl -u kubelet --no-pager")
            .contains("broken.yaml")
    );
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_another_version_of_the_node_is_told_with_what_differs() {
    let lab = Lab::new("version");
    lab.start("sandbox", &[]).ok();
    for (version, id, told) in [
        ("v1.35.4", "audit-01", None),
        (
            "v1.37.0",
            "audit-01",
            Some("the node runs Kubernetes v1.37.0; this exercise is written for 1.35, 1.36\n"),
        ),
        (
            "v1.34.8",
            "sandbox",
            Some(
                "the node runs Kubernetes v1.34.8; this exercise is written for 1.36 (before 1.36 an audit log keeps every old file: maxage and maxbackup are 0 where they are not set)\n",
            ),
        ),
    ] {
        lab.past(&format!("echo {version} >/kind/version"));
        let said = lab.start(id, &[]).ok().stderr;
        match told {
            Some(told) => assert!(said.contains(told), "{said}"),
            None => assert!(!said.contains("the node runs Kubernetes"), "{said}"),
        }
        // Labs that run are no labs to start anew.
        lab.test.run(["stop", "--remove"]).ok();
    }
}

/// Not a measure of this machine: printed for who reads, bounded by calls.
#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_what_commands_cost() {
    let lab = Lab::new("cost");
    let created = lab.start("sandbox", &[]).ok().json();
    let existing = lab.start("audit-01", &[]).ok().json();
    let graded = lab.test.run(["grade", "-v", "-o", "json"]);
    let told = graded
        .stderr
        .lines()
        .find(|line| line.contains("calls of Docker"));
    let told = told.unwrap_or_else(|| panic!("{}", graded.stderr));
    println!(
        "a new cluster: {} ms; on an existing one: {} ms; {told}",
        created["ready_ms"], existing["ready_ms"]
    );
    let calls = told
        .rsplit(" with ")
        .next()
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert!(calls.parse::<u32>().unwrap() <= 3, "{told}");
    assert!(docker(&["inspect", &lab.container()]));
}
