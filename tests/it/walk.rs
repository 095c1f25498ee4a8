//! The learner's walk at a terminal: break the API server, find out why, repair it, watch it return.

use std::process::Command;

use crate::builder::Test;
use crate::inside::{Typist, has_script};
use crate::report;

const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

/// Types a line and waits for what it shows; parts of it that the echo must not show are quoted `''`.
fn walk(test: &Test) {
    let mut learner = Typist::new(test, &format!("{} shell", test.words()));
    learner.sees(test, "root@controlplane:~#");
    // As an editor does it: a new file in the place of the old.
    let edit = |from: &str, to: &str| {
        format!(
            "sed 's/{from}/{to}/' {MANIFEST} >/root/.new && mv /root/.new {MANIFEST}; echo sa''ved\n"
        )
    };
    learner.types(test, &edit("--secure-port", "--secure-prot"), "saved");
    let crashed =
        "until crictl ps -a --name kube-apiserver | grep -o 'Exi''ted'; do sleep 0.2; done\n";
    learner.types(test, crashed, "Exited");
    if Command::new("kubectl")
        .arg("version")
        .arg("--client")
        .output()
        .is_ok()
    {
        let refused = "kubectl get nodes 2>&1 | grep -o 'was ref''used'\n";
        learner.types(test, refused, "was refused");
    } else {
        report::skipped("no kubectl: the refusal was not looked at");
    }
    // The container that ended first may still be the one before the edit.
    let log = "until crictl logs $(crictl ps -aq --name kube-apiserver | head -1) 2>&1 | grep 'unknown fl''ag'; do sleep 0.2; done\n";
    learner.types(test, log, "Error: unknown flag: --secure-prot");
    let journal = "until journalctl -u kubelet --no-pager | grep -om1 'CrashLoop''BackOff'; do sleep 0.2; done\n";
    learner.types(test, journal, "CrashLoopBackOff");
    learner.types(
        test,
        "ls /var/log/pods\n",
        "kube-system_kube-apiserver-controlplane_",
    );
    learner.types(test, &edit("--secure-prot", "--secure-port"), "saved");
    let back = "until crictl ps --name kube-apiserver | grep -o 'Run''ning'; do sleep 0.2; done\n";
    learner.types(test, back, "Running");
    let process = "until pgrep -a kube-apiserver; do sleep 0.2; done\n";
    learner.types(test, process, "--secure-port=6443");
    learner.types(test, "exit\n", "exit");
    test.until("the API server is ready", || {
        test.run(["status", "-o", "json"]).json()["apiserver"]["ready"] == true
    });
}

fn start(test: Option<Test>) -> Option<Test> {
    let test = test?;
    if !has_script() {
        return None;
    }
    if test.run(["node-enter", "--probe"]).code != 0 {
        report::skipped("no private namespaces on this machine");
        return None;
    }
    test.start("sandbox");
    Some(test)
}

#[test]
fn a_learner_breaks_and_repairs_the_api_server() {
    let Some(test) = start(Some(Test::new())) else {
        return;
    };
    walk(&test);
}

#[test]
fn a_plain_user_breaks_and_repairs_the_api_server() {
    let Some(test) = start(Test::plain_user()) else {
        return;
    };
    walk(&test);
}
