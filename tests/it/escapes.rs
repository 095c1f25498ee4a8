//! What a learner may try to get out of the node, and what it meets. `ARCHITECTURE.md` lists the same.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::builder::Test;
use crate::report;

/// A way out: a name, a script, and what the script prints (both streams) where it is closed.
struct Escape(&'static str, &'static str, &'static str);

/// `$HOME_DIR` is ckslab's home on the host, `$SECRET` a file of the host, `$HOST_PID` a process of it.
const ESCAPES: &[Escape] = &[
    // Paths.
    Escape(
        "a host path",
        "cat $SECRET 2>&1 | grep -o 'No such file.*'",
        "No such file or directory",
    ),
    Escape(
        "parents of the root",
        "cat /../../../..$SECRET 2>&1 | grep -o 'No such file.*'",
        "No such file or directory",
    ),
    Escape(
        "a symbolic link",
        "ln -s $SECRET /root/l; cat /root/l 2>&1 | grep -o 'No such file.*'",
        "No such file or directory",
    ),
    Escape(
        "a hard link",
        "ln $SECRET /root/h 2>&1 | grep -o 'No such file.*'",
        "No such file or directory",
    ),
    Escape(
        "records of the lab",
        "ls $HOME_DIR /lab.json /../lab.json /scenarios 2>/dev/null; find / -xdev -name lab.json -o -xdev -name 'solution*' -path '*lab*' 2>/dev/null",
        "",
    ),
    Escape(
        "the lab's own copy of its CA",
        "ls -A /run/ckslab/state/ca",
        "",
    ),
    Escape(
        "state of the simulation",
        "touch /run/ckslab/state/x 2>&1 | grep -o 'Read-only.*'; rm -f /run/ckslab/state/snapshot.json 2>&1 | grep -o 'Read-only.*'",
        "Read-only file system\nRead-only file system",
    ),
    // Processes.
    Escape(
        "root of the first process",
        "cat /proc/1/root$SECRET 2>&1 | grep -oE 'Permission denied|No such file.*'",
        "Permission denied",
    ),
    Escape(
        "its directory, files and environment",
        "readlink /proc/1/cwd /proc/1/fd/0; cat /proc/1/environ /proc/1/mem 2>/dev/null",
        "",
    ),
    Escape(
        "a process of the host",
        "test -e /proc/$HOST_PID/cmdline && grep -c sleep /proc/$HOST_PID/cmdline",
        "",
    ),
    Escape(
        "namespaces of the first process",
        "nsenter -t 1 -m -p true 2>&1 | grep -oE 'Permission denied|not permitted' | head -1",
        "Permission denied",
    ),
    Escape("files the caller had open", "ls /proc/self/fd | wc -l", "4"),
    // Mounts.
    Escape(
        "a mount",
        "mkdir -p /mnt; mount -t tmpfs x /mnt 2>&1 | grep -ciE 'permission denied|superuser|not permitted'",
        "1",
    ),
    Escape(
        "a bind of the root",
        "mount --bind / /mnt 2>&1 | grep -ciE 'permission denied|superuser|not permitted'",
        "1",
    ),
    Escape(
        "/usr writable",
        "mount -o remount,rw /usr 2>&1 | grep -ciE 'permission denied|superuser|not permitted'",
        "1",
    ),
    Escape(
        "what lies under a mount",
        "umount /usr /proc /run/ckslab/state 2>&1 | grep -ciE 'permission denied|superuser|not permitted'",
        "3",
    ),
    Escape(
        "another root",
        "pivot_root /mnt /mnt 2>&1 | grep -oE 'not permitted'",
        "not permitted",
    ),
    Escape(
        "a mount namespace",
        "unshare -m true 2>&1 | grep -oE 'not permitted'",
        "not permitted",
    ),
    Escape(
        "a user namespace",
        "unshare -Ur true 2>&1 | grep -oE 'No space left on device|not permitted'",
        "No space left on device",
    ),
    Escape(
        "control groups",
        "ls /sys | wc -l; mount -t cgroup2 x /mnt 2>&1 | grep -ciE 'permission denied|superuser|not permitted'",
        "0\n1",
    ),
    // The kernel.
    Escape(
        "core_pattern",
        "(echo '|/x' > /proc/sys/kernel/core_pattern) 2>&1 | grep -oE 'Read-only file system|Permission denied'",
        "Read-only file system",
    ),
    Escape(
        "sysrq",
        "(echo h > /proc/sysrq-trigger) 2>&1 | grep -cE 'Read-only|Permission|No such'",
        "1",
    ),
    Escape(
        "limits of the user namespace",
        "(echo 9 > /proc/sys/user/max_user_namespaces) 2>&1 | grep -oE 'Read-only file system'",
        "Read-only file system",
    ),
    Escape(
        "memory and keys",
        "cat /proc/kcore /proc/keys 2>/dev/null | head -c 9",
        "",
    ),
    Escape(
        "capabilities",
        "grep -E '^(CapBnd|NoNewPrivs)' /proc/self/status | awk '{print $2}' | sed 's/^00000018300[0-9a-f]*$/few/;s/^000000[0-9a-f]*$/few/'",
        "few\n1",
    ),
    // Devices.
    Escape(
        "devices of the host",
        "ls /dev | tr '\\n' ' '",
        "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero ",
    ),
    Escape(
        "mode of a device",
        "chmod 600 /dev/null 2>&1 | grep -o 'Read-only.*'",
        "Read-only file system",
    ),
    Escape(
        "a new device",
        "mknod /root/d b 8 0 2>&1 | grep -o 'not permitted'",
        "not permitted",
    ),
    // Programs of the host.
    Escape(
        "a program of the host",
        "(touch /usr/bin/x; echo > /bin/true; chmod 777 /usr/bin/env) 2>&1 | grep -c 'Read-only'",
        "3",
    ),
    Escape(
        "set-user-id programs",
        "setpriv --reuid 1000 id 2>&1 | grep -o 'Invalid argument' | head -1; sudo id -u",
        "Invalid argument\n0",
    ),
    Escape(
        "ckslab itself",
        "/run/ckslab/ckslab solution 2>&1 | head -1; CKSLAB_HOME=$HOME_DIR /run/ckslab/ckslab list 2>&1 | head -1",
        "error: you are on the node: ckslab works outside of it\nerror: you are on the node: ckslab works outside of it",
    ),
    // What is inherited or shared.
    Escape(
        "environment",
        "env | grep -cE 'CKSLAB_HOME|HOST_TOKEN'; echo $KUBECONFIG $HOME",
        "0\n/etc/kubernetes/admin.conf /root",
    ),
    Escape(
        "sockets by path",
        "ls $SOCKET /run/docker.sock /run/containerd /run/dbus 2>/dev/null",
        "",
    ),
    Escape(
        "shared memory and queues",
        "tail -n +2 -q /proc/sysvipc/* 2>/dev/null",
        "",
    ),
];

/// Files a learner leaves where requests to the kubelet go.
const HOSTILE_REQUESTS: &str = "cd /run/ckslab/state/requests
    mkfifo a.json; ln -s /etc/shadow b.json; mkdir c.json; echo '{' >d.json
    head -c 9000000 /dev/zero >e.json; echo '{\"stopContainer\":[\"\",0]}' >f.json";

fn try_all(test: &Test, also_known: &[(&str, &str)]) {
    let secret = test.work().join("secret");
    fs::write(&secret, "a secret of the host").unwrap();
    let socket = test.work().join("socket");
    let _listener = UnixListener::bind(&socket).unwrap();
    let mut host = Command::new("sleep")
        .arg("60")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let modes = |path: &str| fs::metadata(path).map(|m| m.permissions().mode()).ok();
    let before = (
        modes("/dev/null"),
        fs::read("/proc/sys/kernel/core_pattern").ok(),
    );
    let prelude = format!(
        "HOME_DIR={}; SECRET={}; SOCKET={}; HOST_PID={};",
        test.home().display(),
        secret.display(),
        socket.display(),
        host.id()
    );
    let mut open = Vec::new();
    for Escape(name, script, met) in ESCAPES {
        let script = format!("{prelude} {script}");
        let outcome = test.run(["exec", "--", "bash", "-c", &script]);
        let shown = outcome.stdout.trim_end().to_owned();
        let met = also_known
            .iter()
            .find(|(known, _)| known == name)
            .map_or(*met, |(_, met)| *met);
        if shown != met.trim_end() || outcome.stdout.contains("a secret of the host") {
            open.push(format!(
                "{name}: met {shown:?} instead of {met:?} {}",
                outcome.stderr
            ));
        }
    }
    assert!(open.is_empty(), "{}", open.join("\n"));
    test.run(["exec", "--", "bash", "-c", HOSTILE_REQUESTS]);
    test.until("the node has looked at the requests", || {
        let left = test.run(["exec", "--", "ls", "/run/ckslab/state/requests"]);
        left.stdout.is_empty()
    });
    assert_eq!(
        test.run(["status", "-o", "json"]).json()["apiserver"]["ready"],
        true
    );
    assert!(
        host.try_wait().unwrap().is_none(),
        "a process of the host ended"
    );
    host.kill().unwrap();
    host.wait().unwrap();
    let after = (
        modes("/dev/null"),
        fs::read("/proc/sys/kernel/core_pattern").ok(),
    );
    assert_eq!(before, after);
}

/// A lab that can be entered; `None`, said, where this machine allows no private namespaces.
fn entered(test: Test) -> Option<Test> {
    if test.run(["node-enter", "--probe"]).code != 0 {
        report::skipped("no private namespaces on this machine");
        return None;
    }
    let test = test.env("HOST_TOKEN", "x");
    test.start("sandbox");
    Some(test)
}

#[test]
fn nothing_gets_out_of_the_node() {
    let Some(test) = entered(Test::new()) else {
        return;
    };
    try_all(&test, &[]);
}

#[test]
fn nothing_gets_out_of_the_node_of_a_plain_user() {
    let Some(test) = Test::plain_user().and_then(entered) else {
        return;
    };
    try_all(&test, &[]);
}

#[test]
fn what_is_made_inside_is_in_the_node_root_only() {
    for test in [Some(Test::new()), Test::plain_user()]
        .into_iter()
        .flatten()
    {
        let Some(test) = entered(test) else { return };
        test.run(["exec", "--", "touch", "/etc/kubernetes/made-inside"])
            .ok();
        assert!(
            test.node("sandbox", "/etc/kubernetes/made-inside")
                .is_file()
        );
        assert!(!std::path::Path::new("/etc/kubernetes/made-inside").exists());
    }
}

/// Words that run a command where what they name is so, as in a container; `None`, said, where that
/// cannot be had.
fn within<'a>(words: &'a [&'a str]) -> Option<&'a [&'a str]> {
    let (program, rest) = words.split_first().unwrap();
    let tried = Command::new(program).args(rest).arg("true").output();
    if tried.is_ok_and(|output| output.status.success()) {
        return Some(words);
    }
    report::skipped("this machine cannot play a container");
    None
}

#[test]
fn where_proc_is_masked_the_processes_of_the_node_are_files() {
    let script = "mount --bind /dev/null /proc/keys && exec \"$@\"";
    let masked = [
        "unshare",
        "-Urmpf",
        "--mount-proc",
        "sh",
        "-c",
        script,
        "sh",
    ];
    let Some(masked) = within(&masked) else {
        return;
    };
    let test = Test::new();
    test.start("sandbox");
    let test = test.through(masked);
    let script = "tr '\\0' ' ' </proc/$(pgrep kube-apiserver)/cmdline; cat /proc/1/cmdline 2>&1 | grep -c labs; ls -d /proc/self 2>/dev/null; ps -C kubelet -o pid=";
    let outcome = test.run(["exec", "--", "bash", "-c", script]).ok();
    assert!(
        outcome
            .stdout
            .starts_with("kube-apiserver --advertise-address="),
        "{outcome:?}"
    );
    assert!(
        outcome.stdout.ends_with("\n0\n    812\n") || outcome.stdout.contains(" 0\n    812\n"),
        "{outcome:?}"
    );
}

#[test]
fn where_namespaces_are_not_allowed_it_is_said_once_and_paths_are_mapped() {
    let script = "echo 0 >/proc/sys/user/max_user_namespaces && exec \"$@\"";
    let refused = ["unshare", "-Ur", "sh", "-c", script, "sh"];
    let Some(refused) = within(&refused) else {
        return;
    };
    let test = Test::new();
    test.start("sandbox");
    let test = test.through(refused);
    let first = test
        .run(["exec", "--", "touch", "/etc/kubernetes/mapped"])
        .ok();
    let said = "this machine does not let ckslab confine a shell (unshare: No space left on device";
    assert!(first.stderr.contains(said), "{}", first.stderr);
    assert!(test.node("sandbox", "/etc/kubernetes/mapped").is_file());
    assert!(!std::path::Path::new("/etc/kubernetes/mapped").exists());
    let again = test
        .run(["exec", "--", "crictl", "ps", "-q", "--name", "etcd"])
        .ok();
    assert_eq!((again.stderr.as_str(), again.stdout.len()), ("", 65));
    let refused = test.run(["exec", "--", "bash", "-c", "true"]);
    assert!(
        refused
            .stderr
            .contains("cannot be confined to the node here"),
        "{}",
        refused.stderr
    );
    // A signal, too, goes to a process of the node and to none of this machine.
    let pid = test
        .run(["exec", "--", "pgrep", "kube-scheduler"])
        .ok()
        .stdout;
    test.run(["exec", "--", "kill", "-9", pid.trim()]).ok();
    test.until("it is another process", || {
        let found = test.run(["exec", "--", "pgrep", "kube-scheduler"]);
        found.code == 0 && found.stdout != pid
    });
}

#[test]
fn a_killed_api_server_is_started_again() {
    let Some(test) = entered(Test::new()) else {
        return;
    };
    let running = || {
        let line = [
            "exec",
            "--",
            "crictl",
            "ps",
            "-o",
            "json",
            "--name",
            "kube-apiserver",
        ];
        let value = test.run(line).ok().json();
        let container = value["containers"].get(0)?;
        Some(container["metadata"]["attempt"].as_u64().unwrap())
    };
    let ready = || test.run(["status", "-o", "json"]).json()["apiserver"]["ready"] == true;
    for (attempt, signal) in [(1, "-9"), (2, "-TERM")] {
        test.run([
            "exec",
            "--",
            "bash",
            "-c",
            &format!("kill {signal} $(pgrep kube-apiserver)"),
        ])
        .ok();
        test.until("it runs again", || running() == Some(attempt) && ready());
    }
}
