//! Commands that end in the middle of their work on a cluster: Ctrl-C and `kill -9`. The next one goes on from there.
//!
//! A program on the node is made to wait, so that the moment is always the same.

use std::process::{Child, Command, Stdio};

use super::docker::{Lab, repair};

/// Makes a program of the node wait where its arguments have this text, until [`release`].
fn hold(lab: &Lab, program: &str, text: &str) {
    let wrapper = format!(
        "#!/bin/bash\ncase \"$*\" in *'{text}'*) if [ -e /run/hold ]; then touch /run/held; while [ -e /run/hold ]; do sleep 0.05; done; fi ;; esac\nexec /usr/bin/{program}.real \"$@\"\n"
    );
    let script = format!(
        "[ -e /usr/bin/{program}.real ] || mv /usr/bin/{program} /usr/bin/{program}.real; printf %s \"$0\" >/usr/bin/{program}; chmod 755 /usr/bin/{program}; rm -f /run/held; touch /run/hold"
    );
    let container = lab.container();
    let words = ["exec", &container, "bash", "-c", &script, &wrapper];
    assert!(super::docker::docker(&words));
}

fn release(lab: &Lab) {
    lab.past("rm -f /run/hold");
}

/// Starts a command and ends it where the node waits; gives its exit code, if it had the time for one.
fn interrupt(lab: &Lab, words: &[&str], signal: &str) -> Option<i32> {
    let mut command = lab.test.command(words);
    let mut child: Child = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    lab.test.until("the node waits", || {
        lab.past("[ ! -e /run/held ] || echo yes") == "yes\n"
    });
    let sent = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(sent.unwrap().success());
    child.wait().unwrap().code()
}

/// Ctrl-C ends with 130, `kill -9` without a code.
const SIGNALS: [(&str, Option<i32>); 2] = [("-INT", Some(130)), ("-KILL", None)];

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_an_interrupted_restore_is_done_by_the_next_command() {
    let lab = Lab::new("halfway");
    for (signal, code) in SIGNALS {
        lab.start("sandbox", &[]).ok();
        lab.sh("echo mine >/root/notes; mkdir -p /srv/mine; chmod 644 /etc/kubernetes/admin.conf");
        hold(&lab, "tar", "-xpf");
        assert_eq!(interrupt(&lab, &["reset"], signal), code);
        // Half put back, it is no lab any more.
        lab.test.run(["status"]).code(4).stderr(
            "error: lab `sandbox` has no cluster any more\n\nhint: ckslab start sandbox makes it anew\n",
        );
        // What the killed command left running on the node ends first.
        release(&lab);
        lab.start("sandbox", &[]).ok();
        let left = "ls -d /root/notes /srv/mine 2>/dev/null; stat -c %a /etc/kubernetes/admin.conf";
        assert_eq!(lab.sh(left), "600\n", "{signal}");
        let status = lab.test.run(["status", "-o", "json"]).ok().json();
        assert_eq!(status["apiserver"]["ready"], true);
    }
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_an_interrupted_start_on_an_existing_cluster_is_begun_again() {
    let lab = Lab::new("again");
    lab.start("sandbox", &[]).ok();
    for (signal, code) in SIGNALS {
        hold(&lab, "mktemp", "/etc/kubernetes/manifests");
        let words = [
            "start",
            "audit-03",
            "--engine",
            "kind",
            "--seed",
            "1",
            "--cluster",
            "again",
        ];
        assert_eq!(interrupt(&lab, &words, signal), code);
        lab.test.run(["status", "audit-03"]).code(4);
        release(&lab);
        lab.start("audit-03", &[]).ok();
        assert_eq!(lab.grade().1["score"], 0);
        lab.test.run(["stop"]).ok();
        lab.start("sandbox", &[]).ok();
    }
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_an_interrupted_grade_leaves_nothing_and_can_be_done_again() {
    let lab = Lab::new("graded");
    lab.start("audit-03", &[]).ok();
    repair(&lab);
    let (_, before) = lab.grade();
    assert_eq!(before["score"], before["max"], "{before:#}");
    for (signal, code) in SIGNALS {
        hold(&lab, "curl", "/readyz");
        assert_eq!(interrupt(&lab, &["grade"], signal), code);
        release(&lab);
        let (_, after) = lab.grade();
        assert_eq!(after["checks"], before["checks"]);
        lab.test.until("the node has no file of the grade", || {
            lab.past("ls -d /tmp/.ckslab.* /run/.ckslab.* 2>/dev/null")
                .is_empty()
        });
    }
}
