//! Webhook receivers on the node of a kind cluster: ckslab's own program, run there.

use std::fs;

use super::docker::{Lab, docker};
use crate::sink::{gate, scenarios};

/// Whether somebody listens on the receiver's port of the node.
const LISTENS: &str = "curl -ks -o /dev/null https://127.0.0.1:29443/ && echo yes || echo no";

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_every_attempt_with_a_receiver_gets_the_grade_it_deserves() {
    let lab = Lab::new("posts");
    gate(&lab.test, &["--engine", "kind", "--cluster", "posts"]);
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_a_receiver_lives_as_long_as_the_lab() {
    let lab = Lab::new("sink");
    let dir = scenarios().display().to_string();
    let mine = ["--scenarios", dir.as_str()];
    lab.start("sink-01", &mine).ok();
    assert_eq!(lab.sh(LISTENS), "yes\n");
    let modes =
        "stat -c %a /kind/ckslab/sinks/29443/settings.json /etc/kubernetes/audit/sink-ca.crt";
    assert_eq!(lab.sh(modes), "600\n644\n");
    let trusted =
        "curl -s --cacert /etc/kubernetes/audit/sink-ca.crt https://127.0.0.1:29443/audit";
    assert_eq!(
        lab.sh(trusted),
        "post an EventList of audit.k8s.io/v1 here\n"
    );
    let outside = "curl -ks -m 5 -o /dev/null https://$(hostname -i | cut -d' ' -f1):29443/ && echo yes || echo no";
    assert_eq!(lab.sh(outside), "no\n", "it listens on the loopback only");

    // With the node, after whoever stops that.
    assert!(docker(&["stop", "-t", "1", &lab.container()]));
    lab.test.run(["status"]).ok();
    assert_eq!(lab.sh(LISTENS), "yes\n");

    // Not while the lab is stopped, and again with it.
    lab.test.run(["stop"]).ok();
    assert_eq!(lab.past(LISTENS), "no\n");
    lab.start("sink-01", &mine).ok();
    assert_eq!(lab.past(LISTENS), "yes\n");

    // Nothing of it is left for the next lab.
    lab.start("sandbox", &[]).ok();
    assert_eq!(lab.sh(LISTENS), "no\n");
    assert_eq!(lab.sh("pgrep -f '[s]ink-process'; ls /kind/ckslab/sinks /etc/kubernetes/audit /var/log/audit-sink 2>/dev/null; true"), "");
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_a_program_that_cannot_run_on_the_node_is_explained() {
    let lab = Lab::new("alien");
    // The header of a program for another machine.
    let mut alien = vec![0; 120];
    alien[..6].copy_from_slice(b"\x7fELF\x02\x01");
    alien[18] = 243;
    let path = lab.test.work().join("ckslab-alien");
    fs::write(&path, alien).unwrap();
    let dir = scenarios().display().to_string();
    let mut command = lab.test.command([
        "start",
        "sink-01",
        "--engine",
        "kind",
        "--cluster",
        "alien",
        "--scenarios",
        &dir,
    ]);
    command.env("CKSLAB_NODE_BINARY", &path);
    let said = lab.test.outcome(command, b"").code(4).stderr;
    let machine = std::env::consts::ARCH;
    assert!(
        said.ends_with(&format!(
            "error: the exercise needs a webhook receiver on the node, and `[WORK]/ckslab-alien` cannot run there: it is made for riscv64, and the node is {machine}

hint: get the released ckslab for linux/{machine}, which is static, and name it: export CKSLAB_NODE_BINARY=PATH; or practise on this machine: --engine embedded
"
        )),
        "{said}"
    );
    // No half of a lab is left, and another one starts.
    lab.test.run(["status", "sink-01"]).code(4);
    lab.start("sandbox", &[]).ok();
}
