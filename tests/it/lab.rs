//! The life of a lab, with the built binary: started, stopped, killed, reset, several at once.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use serde_json::Value;

use crate::builder::Test;
use crate::report;

#[test]
fn start_reports_the_lab_and_status_tells_the_truth_at_once() {
    let test = Test::new();
    let started = test.start("sandbox");
    let home = "[HOME]/labs/sandbox";
    assert_eq!(started["schema_version"], 1);
    assert_eq!(started["lab"], "sandbox");
    assert_eq!(started["scenario"], "sandbox");
    assert_eq!(started["engine"], "embedded");
    assert_eq!(started["seed"], 1);
    assert_eq!(started["node_root"], format!("{home}/node"));
    assert_eq!(
        started["kubeconfig"],
        format!("{home}/node/etc/kubernetes/admin.conf")
    );
    assert!(started["ready_ms"].as_u64().is_some());
    let server = started["server"].as_str().unwrap();
    let admin = fs::read_to_string(test.node("sandbox", "/etc/kubernetes/admin.conf")).unwrap();
    assert!(admin.contains(&format!("server: {server}\n")));

    let status = test.run(["status", "-o", "json"]).ok().stderr("").json();
    assert_eq!(status["apiserver"]["state"], "running");
    assert_eq!(status["apiserver"]["ready"], true);
    assert_eq!(status["apiserver"]["restarts"], 0);
    assert_eq!(status["apiserver"]["argv"][0], "kube-apiserver");
    assert_eq!(
        status["manifests"],
        serde_json::json!([
            "etcd.yaml",
            "kube-apiserver.yaml",
            "kube-controller-manager.yaml",
            "kube-scheduler.yaml"
        ])
    );
    assert!(status["kubelet"]["journal_tail"].is_array());
    assert!(status["apiserver"]["log_tail"].is_array());
}

#[test]
fn everything_of_a_lab_is_for_its_owner_only() {
    let test = Test::new();
    test.start("sandbox");
    for (path, mode) in [
        ("", 0o700),
        ("active", 0o600),
        ("labs", 0o700),
        ("labs/sandbox", 0o700),
        ("labs/sandbox/lab.json", 0o600),
        ("labs/sandbox/records", 0o700),
        ("labs/sandbox/records/baseline.json", 0o600),
        ("labs/sandbox/state/ca/ca.key", 0o600),
        ("labs/sandbox/state/node.lock", 0o600),
        ("labs/sandbox/state/node.log", 0o600),
    ] {
        let seen = fs::metadata(test.home().join(path)).unwrap().mode() & 0o777;
        assert_eq!(format!("{seen:o} {path}"), format!("{mode:o} {path}"));
    }
    // Nothing was written beside the home.
    assert_eq!(fs::read_dir(test.work()).unwrap().count(), 0);
}

#[test]
fn start_again_goes_on_with_the_same_lab() {
    let test = Test::new();
    let first = test.start("sandbox");
    let pid = test.pid("sandbox");
    fs::write(test.node("sandbox", "/root/notes"), "mine").unwrap();
    let again = test
        .run(["start", "sandbox", "--engine", "embedded", "-o", "json"])
        .ok()
        .stderr("")
        .json();
    assert_eq!(again["seed"], 1, "the seed of the lab there is");
    assert_eq!(again["server"], first["server"]);
    assert_eq!(test.pid("sandbox"), pid);
    test.run(["start", "sandbox", "--engine", "embedded", "--seed", "2"])
        .code(2)
        .stdout("")
        .stderr(
            "error: lab `sandbox` is already started with seed `1`\n\n\
             hint: ckslab stop sandbox first: your work in it is dropped at the next start with other options\n",
        );
    test.run(["stop"])
        .ok()
        .stderr("")
        .stdout("lab sandbox is stopped (ckslab start sandbox goes on with it)\n");
    assert_eq!(test.pid("sandbox"), None);
    test.run(["status"])
        .code(4)
        .stdout("")
        .stderr("error: lab `sandbox` is stopped\n\nhint: ckslab start sandbox\n");
    test.run(["stop"])
        .ok()
        .stdout("lab sandbox was not running\n");
    test.start("sandbox");
    assert_eq!(
        fs::read_to_string(test.node("sandbox", "/root/notes")).unwrap(),
        "mine"
    );
    test.run(["stop"]).ok();
    let other = test
        .run([
            "start", "sandbox", "--engine", "embedded", "--seed", "2", "-o", "json",
        ])
        .ok()
        .json();
    assert_eq!(other["seed"], 2);
    assert!(!test.node("sandbox", "/root/notes").exists());
}

#[test]
fn two_starts_at_once_make_one_lab() {
    let test = Test::new();
    let reports: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3)
            .map(|_| scope.spawn(|| test.start("sandbox")))
            .collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    for report in &reports {
        assert_eq!(report["server"], reports[0]["server"]);
        assert_eq!(report["seed"], 1);
    }
    let log = fs::read_to_string(test.lab("sandbox").join("state/node.log")).unwrap();
    assert_eq!(log, "");
    let status = test.run(["status", "-o", "json"]).ok().json();
    assert_eq!(status["apiserver"]["ready"], true);
}

#[test]
fn killed_node_is_found_again_with_nothing_lost() {
    let test = Test::new();
    test.start("sandbox");
    fs::write(test.node("sandbox", "/root/notes"), "mine").unwrap();
    test.kill_node("sandbox");
    let doctor = test.run(["doctor"]).ok();
    assert!(
        doctor
            .stdout
            .contains("WARN  lab: the process of lab sandbox is gone\n"),
        "{}",
        doctor.stdout
    );
    let status = test
        .run(["status", "-o", "json"])
        .ok()
        .stderr("the process of lab `sandbox` was gone; it was started again\n")
        .json();
    assert_eq!(status["apiserver"]["ready"], true);
    assert_eq!(
        fs::read_to_string(test.node("sandbox", "/root/notes")).unwrap(),
        "mine"
    );
    // A process that is gone is no reason not to stop or reset.
    test.kill_node("sandbox");
    test.run(["stop"])
        .ok()
        .stdout("lab sandbox was not running\n");
    test.run(["reset"]).ok();
    assert!(!test.node("sandbox", "/root/notes").exists());
}

#[test]
fn killed_commands_leave_a_lab_that_can_be_used() {
    let test = Test::new();
    let labs = test.home().join("labs");
    // Killed while the first lab was built: what is there is no lab.
    fs::create_dir_all(labs.join(".new-sandbox/node/etc")).unwrap();
    test.run(["list"]).ok();
    test.start("sandbox");
    assert!(!labs.join(".new-sandbox").exists());
    // Killed while a reset built the new one.
    fs::create_dir_all(labs.join(".new-sandbox/node/etc")).unwrap();
    test.run(["reset"]).ok();
    assert!(!labs.join(".new-sandbox").exists());
    // Killed after the old one was moved away and before the new one took its place.
    test.run(["stop"]).ok();
    fs::rename(labs.join("sandbox"), labs.join(".new-sandbox")).unwrap();
    let status = test.run(["start", "sandbox", "--engine", "embedded"]).ok();
    assert!(
        status.stdout.starts_with("lab sandbox goes on: "),
        "{}",
        status.stdout
    );
    // Killed between writing the record and anything else: a record of half the length.
    let record = labs.join("sandbox/lab.json");
    let text = fs::read_to_string(&record).unwrap();
    fs::write(&record, &text[..text.len() / 2]).unwrap();
    let damaged = test.run(["status"]).code(4);
    assert!(
        damaged
            .stderr
            .starts_with("error: the record of lab `sandbox` is damaged: ")
            && damaged.stderr.ends_with("\n\nhint: ckslab reset sandbox\n"),
        "{}",
        damaged.stderr
    );
    test.run(["reset", "sandbox"]).ok();
    test.run(["status"]).ok();
}

#[test]
fn reset_goes_back_to_the_start_and_keeps_the_port() {
    let test = Test::new();
    let started = test.start("sandbox");
    let manifest = test.node("sandbox", "/etc/kubernetes/manifests/kube-apiserver.yaml");
    let before = fs::read_to_string(&manifest).unwrap();
    fs::remove_dir_all(test.node("sandbox", "/etc/kubernetes")).unwrap();
    // Modes a learner may leave behind.
    let locked = test.node("sandbox", "/opt/locked");
    fs::create_dir_all(locked.join("inner")).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o000)).unwrap();
    let report = test.run(["reset", "-o", "json"]).ok().stderr("").json();
    assert_eq!(report["server"], started["server"]);
    assert_eq!(report["seed"], 1);
    assert_eq!(fs::read_to_string(&manifest).unwrap(), before);
    assert!(!locked.exists());
    let status = test.run(["status", "-o", "json"]).ok().json();
    assert_eq!(status["apiserver"]["ready"], true);
}

#[test]
fn a_port_that_somebody_took_is_changed_where_it_is_written() {
    let test = Test::new();
    let started = test.start("sandbox");
    test.run(["stop"]).ok();
    let server = started["server"].as_str().unwrap();
    let port: u16 = server.rsplit(':').next().unwrap().parse().unwrap();
    let _taken = std::net::TcpListener::bind(("127.0.0.1", port)).unwrap();
    let again = test.start("sandbox");
    assert_ne!(again["server"], started["server"]);
    for file in ["admin.conf", "controller-manager.conf", "kubelet.conf"] {
        let text = fs::read_to_string(test.node("sandbox", &format!("/etc/kubernetes/{file}")));
        assert!(
            text.unwrap()
                .contains(&format!("server: {}\n", again["server"].as_str().unwrap())),
            "{file}"
        );
    }
    let status = test.run(["status", "-o", "json"]).ok().json();
    assert_eq!(status["apiserver"]["ready"], true);
}

#[test]
fn stop_removes_when_asked_and_stops_all() {
    let test = Test::new();
    test.start("sandbox");
    test.run(["stop", "sandbox", "--all"]).code(2);
    test.run(["stop", "--all"]).ok();
    assert_eq!(test.pid("sandbox"), None);
    test.run(["stop", "--remove"])
        .ok()
        .stdout("lab sandbox is removed\n");
    assert!(!test.lab("sandbox").exists());
    test.run(["stop", "--all"])
        .ok()
        .stdout("no lab is started\n");
    test.run(["status"]).code(4);
}

#[test]
fn files_are_copied_both_ways_with_their_modes_and_never_out() {
    let test = Test::new();
    test.start("sandbox");
    let policy = test.work().join("policy.yaml");
    fs::write(&policy, "rules: []\n").unwrap();
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o640)).unwrap();
    let audit = "node:/etc/kubernetes/audit/policy.yaml";
    test.run(["cp", "policy.yaml", audit]).code(4).stderr(
        "error: there is no directory `/etc/kubernetes/audit` on the node\n\n\
         hint: ckslab cp --parents makes it, or: ckslab exec -- mkdir -p /etc/kubernetes/audit\n",
    );
    test.run(["cp", "-p", "policy.yaml", audit])
        .ok()
        .stdout("")
        .stderr("");
    symlink("/nowhere", test.node("sandbox", "/opt/dangling")).unwrap();
    for parents in [None, Some("-p")] {
        let mut line = vec!["cp", "policy.yaml", "node:/opt/dangling/policy.yaml"];
        line.extend(parents);
        let refused = test.run(line).code(4);
        assert!(
            refused.stderr.starts_with(
                "error: `node:/opt/dangling` is a link to `/nowhere`, which does not exist on the node\n"
            ),
            "{}",
            refused.stderr
        );
    }
    let inside = test.node("sandbox", "/etc/kubernetes/audit/policy.yaml");
    assert_eq!(fs::read_to_string(&inside).unwrap(), "rules: []\n");
    assert_eq!(fs::metadata(&inside).unwrap().mode() & 0o777, 0o640);
    // Logs of the node are read where they are, rotated ones too.
    let line = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"a","stage":"ResponseComplete","requestURI":"/api","verb":"get","user":{"username":"jane"},"stageTimestamp":"2026-11-22T16:25:01.500000Z"}"#;
    for name in ["x.log", "x-2026-11-22T16-25-01.500.log"] {
        test.run_with(
            ["cp", "-", &format!("node:/root/{name}")],
            format!("{line}\n").as_bytes(),
        )
        .ok();
    }
    test.run(["audit", "query", "node:/root/x.log", "-o", "count"])
        .ok()
        .stdout("1\n");
    test.run([
        "audit",
        "query",
        "node:/root/x.log",
        "--rotated",
        "-o",
        "count",
    ])
    .ok()
    .stdout("2\n");
    test.run(["audit", "query", "node:/root/none.log"])
        .code(3)
        .stderr("error: cannot read `node:/root/none.log`: no such file\n");
    test.run(["cp", "node:/etc/kubernetes/audit/policy.yaml", "back.yaml"])
        .ok();
    let back = fs::metadata(test.work().join("back.yaml")).unwrap();
    assert_eq!(back.mode() & 0o777, 0o640);
    test.run(["cp", "policy.yaml", "node:/opt"]).ok();
    assert!(test.node("sandbox", "/opt/policy.yaml").is_file());
    test.run_with(["cp", "-", "node:notes.txt"], b"from a pipe")
        .ok();
    test.run(["cp", "node:/root/notes.txt", "-"])
        .ok()
        .stdout("from a pipe");
    test.run(["cp", "node:/etc/kubernetes", "copy"])
        .code(2)
        .stderr("error: `node:/etc/kubernetes` is a directory\n\nhint: ckslab cp -r copies directories\n");
    test.run(["cp", "-r", "node:/etc/kubernetes", "copy"]).ok();
    assert!(test.work().join("copy/manifests/etcd.yaml").is_file());
    test.run(["cp", "-r", "copy", "node:/opt/copy"]).ok();
    assert!(
        test.node("sandbox", "/opt/copy/manifests/etcd.yaml")
            .is_file()
    );
    test.run(["cp", "policy.yaml", "other.yaml"]).code(2);
    test.run(["cp", "none.yaml", "node:/opt"])
        .code(4)
        .stderr("error: `none.yaml`: no such file or directory\n");
    test.run(["cp", "node:/none", "."])
        .code(4)
        .stderr("error: `node:/none`: no such file or directory\n");

    // Links that point out of the node lead nowhere.
    let secret = test.home().join("secret");
    fs::write(&secret, "outside").unwrap();
    symlink(&secret, test.node("sandbox", "/opt/absolute")).unwrap();
    symlink("../../../../secret", test.node("sandbox", "/opt/relative")).unwrap();
    symlink(test.home(), test.node("sandbox", "/opt/dir")).unwrap();
    for link in ["absolute", "relative"] {
        let path = format!("node:/opt/{link}");
        test.run(["cp", &path, "stolen"]).code(4);
    }
    test.run(["cp", "policy.yaml", "node:/opt/dir/secret"])
        .code(4);
    test.run(["cp", "policy.yaml", "node:/../../../secret"])
        .ok();
    assert_eq!(fs::read_to_string(&secret).unwrap(), "outside");
    assert!(!test.work().join("stolen").exists());
}

#[test]
fn naming_a_lab_makes_it_active_and_others_say_where_they_work() {
    let test = Test::new();
    test.start("audit-01");
    test.start("sandbox");
    let active = || fs::read_to_string(test.home().join("active")).unwrap();
    assert_eq!(active(), "sandbox\n");
    for line in [
        ["task", "audit-01"],
        ["status", "sandbox"],
        ["grade", "audit-01"],
    ] {
        test.run(line);
        assert_eq!(active(), format!("{}\n", line[1]), "{line:?}");
    }
    let said = "lab audit-01 (the active one; `ckslab task ID` makes another one active)\n";
    test.run_with(["cp", "-", "node:/root/a"], b"a")
        .ok()
        .stderr(said);
    test.run(["exec", "crictl", "ps", "-q"])
        .ok()
        .stderr
        .starts_with(said)
        .then_some(())
        .unwrap();
    assert!(test.node("audit-01", "/root/a").is_file());
}

#[test]
fn a_damaged_lab_is_listed_as_such_and_reset_keeps_its_seed() {
    let test = Test::new();
    let started = test
        .run([
            "start", "audit-01", "--engine", "embedded", "--seed", "77", "-o", "json",
        ])
        .ok()
        .json();
    let record = test.lab("audit-01").join("lab.json");
    let listed = || {
        let list = test.run(["list", "-o", "json"]).ok().json();
        let row = list["scenarios"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["id"] == "audit-01")
            .cloned()
            .unwrap();
        row["lab"].clone()
    };
    assert_eq!(listed(), "running");
    fs::write(&record, "{").unwrap();
    assert_eq!(listed(), "damaged");
    let text = test.run(["list"]).ok().stdout;
    assert!(
        text.contains("[damaged: ckslab reset audit-01, active]"),
        "{text}"
    );
    let reset = test.run(["reset", "audit-01", "-o", "json"]).ok();
    assert_eq!(reset.json()["seed"], 77);
    assert_eq!(reset.json()["server"], started["server"]);
    fs::write(&record, "{").unwrap();
    fs::write(test.lab("audit-01").join("records/lab.json"), "").unwrap();
    let reset = test.run(["reset", "audit-01"]).ok();
    assert!(
        reset.stderr.contains("the seed is a new one")
            && reset.stderr.contains("ckslab task audit-01"),
        "{}",
        reset.stderr
    );
}

#[test]
fn what_was_solved_before_a_reset_is_not_the_present_state() {
    let test = Test::new();
    test.start("audit-01");
    let record = test.lab("audit-01").join("lab.json");
    let mut value: serde_json::Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
    value["grades"] = serde_json::json!([
        {"at": value["started"], "score": 100.0, "max": 100.0, "passed": true}
    ]);
    fs::write(&record, value.to_string()).unwrap();
    let text = test.run(["list"]).ok().stdout;
    assert!(text.contains("[running, active, passed]"), "{text}");
    test.run(["reset"]).ok();
    let text = test.run(["list"]).ok().stdout;
    assert!(text.contains("[running, active, solved before]"), "{text}");
}

#[test]
fn escapes_in_logs_and_manifests_do_not_reach_the_terminal() {
    let test = Test::new();
    test.start("audit-03");
    let manifest = test.node("audit-03", "/etc/kubernetes/manifests/kube-apiserver.yaml");
    for content in [
        &b"a: \"\xc2\x9b31m\x1b[2J\xe2\x80\xae\"\nb: {\n"[..],
        b"\x00\xff\xfe\x1b]0;x\x07\x80",
        b"{apiVersion: v1, kind: \"P\\e[31mod\"}",
    ] {
        fs::write(&manifest, content).unwrap();
        for line in [&["status"][..], &["grade"], &["status", "-o", "json"]] {
            let outcome = test.run(line);
            let steers = |text: &str| {
                text.chars()
                    .any(|c| (c.is_control() && c != '\n') || c == '\u{202e}')
            };
            assert!(!steers(&outcome.stdout), "{line:?}: {:?}", outcome.stdout);
            assert!(!steers(&outcome.stderr), "{line:?}: {:?}", outcome.stderr);
        }
        // The grader says what the kubelet says.
        let graded = test.run(["grade", "-o", "json"]).json();
        let seen = graded["checks"][0]["seen"].as_str().unwrap_or_default();
        let journal =
            test.run(["status", "-o", "json"]).json()["kubelet"]["journal_tail"].to_string();
        let reason = seen.split("couldn't parse as pod(").nth(1).unwrap_or("?");
        assert!(
            seen.is_empty() || journal.contains(reason.get(..8).unwrap_or(reason)),
            "{seen}\n{journal}"
        );
    }
}

#[test]
fn env_points_to_the_lab() {
    let test = Test::new();
    test.start("sandbox");
    test.run(["env"]).ok().stderr("").stdout(
        "\
export KUBECONFIG='[HOME]/labs/sandbox/node/etc/kubernetes/admin.conf'
export CKSLAB_NODE_ROOT='[HOME]/labs/sandbox/node'
",
    );
    test.run(["env", "--shell", "fish"]).ok().stdout(
        "\
set -gx KUBECONFIG '[HOME]/labs/sandbox/node/etc/kubernetes/admin.conf'
set -gx CKSLAB_NODE_ROOT '[HOME]/labs/sandbox/node'
",
    );
}

#[test]
fn exec_runs_on_the_node_and_passes_the_exit_code_on() {
    let test = Test::new();
    test.start("sandbox");
    if !namespaces(&test) {
        return;
    }
    test.run(["exec", "--", "sh", "-c", "id -u; hostname; pwd; exit 7"])
        .code(7)
        .stderr("")
        .stdout("0\ncontrolplane\n/root\n");
    test.run(["exec", "no-such-command"])
        .code(127)
        .stderr("ckslab: no-such-command: command not found\n");
    test.run_with(["exec", "tee", "/etc/kubernetes/new"], b"typed")
        .ok()
        .stdout("typed");
    assert_eq!(
        fs::read_to_string(test.node("sandbox", "/etc/kubernetes/new")).unwrap(),
        "typed"
    );
    test.run(["exec", "--", "sudo", "-u", "root", "--", "id", "-u"])
        .ok()
        .stdout("0\n");
    let containers = test
        .run([
            "exec",
            "--",
            "crictl",
            "ps",
            "-q",
            "--name",
            "^(etcd|kube-apiserver|kube-controller-manager|kube-scheduler)$",
        ])
        .ok()
        .stderr("");
    assert_eq!(containers.stdout.lines().count(), 4, "{containers:#?}");
    let units = test.run(["exec", "systemctl", "is-active", "kubelet"]).ok();
    assert_eq!(units.stdout, "active\n");
    // A whole new directory in `/` is on the node, too.
    test.run(["exec", "mkdir", "/audit"]).ok();
    assert!(test.node("sandbox", "/audit").is_dir());
}

#[test]
fn nothing_of_the_host_can_be_reached_from_the_node() {
    let test = Test::new();
    test.start("sandbox");
    if !namespaces(&test) {
        return;
    }
    fs::write(test.home().join("secret"), "outside").unwrap();
    let script = "
        for path in /proc/1/root /proc/self/root/../.. \"$1\" \"$1/labs\"; do
            if cat \"$path/secret\" 2>/dev/null || ls \"$path/labs\" 2>/dev/null; then
                echo \"out through $path\"; fi
        done
        touch /usr/ckslab-test 2>/dev/null && echo 'wrote to /usr'
        mount -o remount,bind,rw /usr 2>/dev/null && echo 'remounted /usr'
        umount /usr 2>/dev/null && echo 'unmounted /usr'
        mknod /tmp/disk b 8 0 2>/dev/null && echo 'made a device'
        ls /run/ckslab/records /run/ckslab/lab.json 2>/dev/null
        grep -q '^root:x:0:0:root:/root:/bin/bash$' /etc/passwd || echo 'not the passwd of the node'
        true
    ";
    let home = test.home().display().to_string();
    test.run(["exec", "--", "bash", "-c", script, "sh", &home])
        .ok()
        .stdout("");
    assert!(!Path::new("/usr/ckslab-test").exists());
    assert!(!Path::new("/etc/kubernetes/manifests").exists());
}

#[test]
fn without_namespaces_only_mapped_commands_run() {
    let test = Test::new().env("CKSLAB_NO_NAMESPACES", "1");
    test.start("sandbox");
    let told = "this machine does not let ckslab confine a shell (CKSLAB_NO_NAMESPACES is set); \
                exec runs the node's own tools and simple file commands only\n";
    test.run(["exec", "cat", "/etc/hostname"])
        .ok()
        .stderr(told)
        .stdout("controlplane\n");
    test.run(["exec", "cat", "/etc/hostname"])
        .ok()
        .stderr("")
        .stdout("controlplane\n");
    test.run_with(["exec", "tee", "/opt/new"], b"typed").ok();
    assert!(test.node("sandbox", "/opt/new").is_file());
    test.run(["exec", "cat", "/opt/none"])
        .code(1)
        .stderr("cat: /opt/none: No such file or directory\n");
    let refused = test
        .run(["exec", "--", "sh", "-c", "cat /etc/passwd"])
        .code(4);
    assert!(
        refused
            .stderr
            .starts_with("error: `sh` cannot be confined to the node here"),
        "{}",
        refused.stderr
    );
}

#[test]
fn a_full_disk_is_said_and_nothing_half_made_is_left() {
    let test = Test::new();
    fs::create_dir_all(test.home()).unwrap();
    let binary = test.command::<&str>([]);
    // A small file system in a private namespace.
    let script = "
        mount -t tmpfs -o size=$1 tmpfs \"$CKSLAB_HOME\" || exit 99
        \"$0\" start sandbox --engine embedded --seed 1
        echo \"exit $?\"
        ls -A \"$CKSLAB_HOME/labs\"
    ";
    for size in ["16k", "64k", "128k", "400k"] {
        let mut command = std::process::Command::new("unshare");
        command.args(["-Urm", "sh", "-c", script]);
        command.arg(binary.get_program()).arg(size);
        for (name, value) in binary.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        let Ok(output) = command.output() else {
            report::skipped("unshare is not installed");
            return;
        };
        if output.status.code() != Some(0) {
            report::skipped("no private namespaces on this machine");
            return;
        }
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        let left = if size == "400k" { "sandbox\n" } else { "" };
        assert_eq!(stdout, format!("exit 4\n{left}"), "{size}: {stderr}");
        assert!(
            stderr.starts_with("error: cannot ")
                && stderr.ends_with(
                    "no space left on device\n\nhint: free some space, then run the command again\n"
                ),
            "{size}: {stderr}"
        );
    }
}

#[test]
fn bad_files_on_the_node_never_hurt_the_node_process() {
    let test = Test::new();
    test.start("audit-03");
    let manifest = test.node("audit-03", "/etc/kubernetes/manifests/kube-apiserver.yaml");
    // The same manifest without the audit flags starts.
    let good = fs::read_to_string(&manifest)
        .unwrap()
        .lines()
        .filter(|line| !line.contains("--audit-"))
        .fold(String::new(), |text, line| text + line + "\n");
    let pid = test.pid("audit-03");
    let state = |what: &str, wanted: &dyn Fn(&Value) -> bool| {
        let mut last = Value::Null;
        test.until(what, || {
            last = test.run(["status", "-o", "json"]).ok().json();
            wanted(&last["apiserver"])
        });
        last
    };
    let ready = |state: &Value| state["ready"] == true;
    let down = |state: &Value| state["ready"] == false && state["state"] != "running";
    let policy = test.node("audit-03", "/etc/kubernetes/bad-policy.yaml");
    let mounted = good
        .replace(
            "    - kube-apiserver\n",
            "    - kube-apiserver\n    - --audit-policy-file=/etc/kubernetes/bad-policy.yaml\n",
        )
        .replace(
            "    volumeMounts:\n",
            "    volumeMounts:\n    - mountPath: /etc/kubernetes/bad-policy.yaml\n      name: bad\n",
        )
        .replace(
            "  volumes:\n",
            "  volumes:\n  - hostPath:\n      path: /etc/kubernetes/bad-policy.yaml\n    name: bad\n",
        );
    let clear = |path: &Path| {
        let _ = fs::remove_dir_all(path);
        let _ = fs::remove_file(path);
    };
    let huge = |path: &Path| {
        fs::File::create(path).unwrap().set_len(1 << 30).unwrap();
    };
    let binary = |path: &Path| {
        fs::write(path, (0..=255).cycle().take(100_000).collect::<Vec<u8>>()).unwrap()
    };
    let looped = |path: &Path| symlink(path.file_name().unwrap(), path).unwrap();
    let outside = |path: &Path| symlink("/etc/passwd", path).unwrap();
    let directory = |path: &Path| fs::create_dir(path).unwrap();
    type Spoil<'a> = &'a dyn Fn(&Path);
    let ways: [(&str, Spoil<'_>); 5] = [
        ("huge", &huge),
        ("binary", &binary),
        ("looped", &looped),
        ("outside", &outside),
        ("directory", &directory),
    ];
    for (way, spoil) in ways {
        clear(&policy);
        spoil(&policy);
        fs::write(
            &manifest,
            mounted.replace("tier:", &format!("way: {way}\n    tier:")),
        )
        .unwrap();
        state(&format!("a {way} policy is refused"), &down);
        clear(&manifest);
        fs::write(&manifest, &good).unwrap();
        state("the good manifest is back", &ready);
        clear(&manifest);
        spoil(&manifest);
        state(&format!("a {way} manifest is refused"), &down);
        clear(&manifest);
        fs::write(&manifest, &good).unwrap();
        state("the good manifest is back", &ready);
    }
    fs::remove_dir_all(test.node("audit-03", "/etc")).unwrap();
    let status = state("a node without /etc is down", &down);
    assert_eq!(status["manifests"], serde_json::json!([]));
    assert_eq!(test.pid("audit-03"), pid, "the node process is the same");
    let log = fs::read_to_string(test.lab("audit-03").join("state/node.log")).unwrap();
    assert_eq!(log, "");
    test.run(["reset"]).ok();
}

/// Whether this machine allows private namespaces; a test that needs them says that it is skipped.
fn namespaces(test: &Test) -> bool {
    let found = test.run(["node-enter", "--probe"]).code == 0;
    if !found {
        report::skipped("no private namespaces on this machine");
    }
    found
}

/// Whether a process runs; one that ended and waits to be reaped does not.
fn runs(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit(") ").next().is_some_and(|s| s.starts_with('Z')))
}

#[test]
fn node_process_ends_when_its_lab_is_gone() {
    let test = Test::new();
    test.start("sandbox");
    let pid = test.pid("sandbox").unwrap();
    // Files that the node is just writing can come back while the directory is emptied.
    test.until("the lab's directory is gone", || {
        let _ = fs::remove_dir_all(test.lab("sandbox"));
        !test.lab("sandbox").exists()
    });
    test.until("the node process ends", || !runs(pid));
    test.run(["start", "sandbox", "--engine", "embedded"]).ok();
}

#[test]
fn process_of_a_lab_that_was_moved_away_is_stopped() {
    let test = Test::new();
    test.start("sandbox");
    let pid = test.pid("sandbox").unwrap();
    let labs = test.home().join("labs");
    // As after a removal that was killed in between.
    fs::rename(labs.join("sandbox"), labs.join(".old-sandbox")).unwrap();
    test.run(["start", "sandbox", "--engine", "embedded"]).ok();
    assert!(!runs(pid));
    assert!(!labs.join(".old-sandbox").exists());
    assert_ne!(test.pid("sandbox"), Some(pid));
    test.run(["stop"])
        .ok()
        .stdout("lab sandbox is stopped (ckslab start sandbox goes on with it)\n");
}

#[test]
fn entering_the_node_makes_nothing_behind_its_links() {
    let test = Test::new();
    test.start("sandbox");
    let outside = test.work().join("outside");
    fs::create_dir(&outside).unwrap();
    let run = test.node("sandbox", "/run");
    let _ = fs::remove_dir_all(&run);
    symlink(&outside, &run).unwrap();
    let refused = test.run(["exec", "--", "sh", "-c", "true"]);
    assert_ne!(refused.code, 0);
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{refused:?}");
}

#[test]
fn kubectl_without_namespaces_knows_the_nodes_files_only() {
    let test = Test::new().env("CKSLAB_NO_NAMESPACES", "1");
    if !crate::builder::has_kubectl() {
        return;
    }
    test.start("sandbox");
    let seen = test
        .run(["exec", "--", "kubectl", "get", "ns", "default", "-oname"])
        .ok();
    assert_eq!(seen.stdout, "namespace/default\n");
    let made = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: mine}\n";
    fs::write(test.node("sandbox", "/root/cm.yaml"), made).unwrap();
    test.run(["exec", "--", "kubectl", "apply", "-f", "cm.yaml"])
        .ok()
        .stdout("configmap/mine created\n");
    test.run([
        "exec",
        "--",
        "kubectl",
        "get",
        "ns",
        "-o",
        "jsonpath-file=/etc/passwd",
        "--cache-dir=/tmp",
    ])
    .code(4);
}

#[test]
fn commands_that_a_grade_names_next_can_be_typed() {
    let test = Test::new();
    test.start("audit-06");
    let report = test.run(["grade", "-o", "json"]).code(1).json();
    let commands: Vec<&str> = report["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|check| check["next"].as_str())
        .filter_map(|next| next.strip_prefix("ckslab "))
        .filter(|next| next.starts_with("policy explain node:"))
        .collect();
    assert!(!commands.is_empty(), "{report}");
    for command in commands {
        let said = test.run(command.split(' ')).ok();
        assert!(
            said.stdout.contains("matches first"),
            "{command}: {}",
            said.stdout
        );
    }
    test.run(["policy", "lint", "node:/etc/kubernetes"]).code(3);
    test.run(["policy", "lint", "node:/nothing"]).code(3);
}
