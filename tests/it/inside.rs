//! Commands on the node have processes, signals and a terminal of their own.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal};

use crate::builder::Test;
use crate::report;

/// A lab that runs; `None`, said, where this machine allows no private namespaces.
fn lab() -> Option<Test> {
    let test = Test::new();
    if test.run(["node-enter", "--probe"]).code != 0 {
        report::skipped("no private namespaces on this machine");
        return None;
    }
    test.start("sandbox");
    Some(test)
}

/// Whether a process of this machine has this argument.
fn runs_with(argument: &str) -> bool {
    fs::read_dir("/proc").unwrap().flatten().any(|entry| {
        fs::read(entry.path().join("cmdline")).is_ok_and(|line| {
            line.split(|byte| *byte == 0)
                .any(|word| word == argument.as_bytes())
        })
    })
}

#[test]
fn a_process_of_the_host_can_be_neither_seen_nor_signalled() {
    let Some(test) = lab() else { return };
    let mut host = Command::new("sleep").arg("87654.1").spawn().unwrap();
    let script = "
        kill -KILL \"$1\" 2>/dev/null && echo 'signalled'
        test -e \"/proc/$1\" && echo 'seen'
        for file in /proc/[0-9]*/cmdline; do
            tr '\\0' ' ' <\"$file\" 2>/dev/null | grep -q '^sleep 87654' && echo \"seen: $file\"
        done
        ls -l /proc/1/root/ /proc/1/cwd/ /proc/1/fd/ 2>/dev/null | grep -e '->'
        pgrep -x kube-apiserver >/dev/null || echo 'the processes of the node are not shown'
        trap '' TERM
        kill -TERM 0
        kill -TERM -1
        true
    ";
    let pid = host.id().to_string();
    test.run(["exec", "--", "bash", "-c", script, "sh", &pid])
        .ok()
        .stdout("");
    assert!(
        host.try_wait().unwrap().is_none(),
        "the host's process ended"
    );
    host.kill().unwrap();
    host.wait().unwrap();
    // Nor is shared memory of the host there.
    test.run([
        "exec",
        "--",
        "sh",
        "-c",
        "tail -n +2 /proc/sysvipc/shm 2>/dev/null",
    ])
    .stdout("");
}

#[test]
fn exit_codes_and_standard_input_pass_through() {
    let Some(test) = lab() else { return };
    for (script, code) in [
        ("exit 7", 7),
        ("kill -KILL $$", 137),
        ("(exit 3) & wait $!", 3),
        ("(sleep 0.1; exit 9) & exit 4", 4),
        ("/etc", 126),
    ] {
        test.run(["exec", "--", "sh", "-c", script]).code(code);
    }
    test.run_with(["exec", "wc", "-c"], &vec![b'x'; 300_000])
        .ok()
        .stdout("300000\n");
}

#[test]
fn signals_to_ckslab_reach_the_command() {
    let Some(test) = lab() else { return };
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
    ] {
        let script =
            format!("trap 'echo got {name}; exit 3' {name}; echo ready; sleep 1000 & wait");
        let mut child = test
            .command(["exec", "--", "bash", "-c", &script])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        rustix::process::kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(lines.next().unwrap().unwrap(), format!("got {name}"));
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }
}

#[test]
fn nothing_outlives_the_command_or_ckslab() {
    let Some(test) = lab() else { return };
    let script = "sleep 87654.2 >/dev/null 2>&1 & setsid sleep 87654.3 >/dev/null 2>&1 & exit 0";
    test.run(["exec", "--", "sh", "-c", script]).ok();
    assert!(!runs_with("87654.2"));
    assert!(!runs_with("87654.3"));

    let mut child = test
        .command(["exec", "--", "sh", "-c", "echo ready; sleep 87654.4; true"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    test.until("the command runs", || runs_with("87654.4"));
    child.kill().unwrap();
    child.wait().unwrap();
    test.until("the command has ended", || !runs_with("87654.4"));
}

/// Somebody at a terminal, through `script`.
pub(crate) struct Typist {
    child: Child,
    keys: ChildStdin,
    shown: Arc<Mutex<String>>,
}

impl Typist {
    pub(crate) fn new(test: &Test, line: &str) -> Self {
        let mut command = test.command(["--version"]);
        let program = command.get_program().to_owned();
        let mut script = Command::new("script");
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => script.env(name, value),
                None => script.env_remove(name),
            };
        }
        command.stdin(Stdio::null());
        let mut child = script
            .args(["-qefc", line, "/dev/null"])
            .env("CKSLAB", program)
            .env("SHELL", "/bin/sh")
            .env("TERM", "dumb")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let shown = Arc::new(Mutex::new(String::new()));
        let mut output = child.stdout.take().unwrap();
        let seen = Arc::clone(&shown);
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length @ 1..) = output.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]);
                seen.lock().unwrap().push_str(&text);
            }
        });
        Self {
            keys: child.stdin.take().unwrap(),
            child,
            shown,
        }
    }

    /// Types, then waits until this is shown after what was shown before.
    pub(crate) fn types(&mut self, test: &Test, keys: &str, expected: &str) {
        self.shown.lock().unwrap().clear();
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.sees(test, expected);
    }

    pub(crate) fn sees(&self, test: &Test, expected: &str) {
        test.until(&format!("{expected:?} is shown"), || {
            self.shown.lock().unwrap().contains(expected)
        });
    }
}

pub(crate) fn has_script() -> bool {
    let found = Command::new("script")
        .arg("--version")
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        report::skipped("no `script` on this machine");
    }
    found
}

#[test]
fn a_shell_has_a_terminal_and_job_control() {
    let Some(test) = lab() else { return };
    if !has_script() {
        return;
    }
    let line = "stty rows 33 cols 77; \"$CKSLAB\" shell; echo code=$?; stty -a";
    let mut typist = Typist::new(&test, line);
    typist.sees(&test, "root@controlplane:~#");
    typist.types(&test, "echo $((1+1)); stty size; tty\n", "\n/dev/pts/0");
    assert!(typist.shown.lock().unwrap().contains("\n33 77"));
    typist.types(&test, "echo a''b; sleep 1000\n", "\nab");
    typist.types(&test, "\x03", "#");
    typist.types(&test, "echo code=$?\n", "\ncode=130");
    typist.types(&test, "echo c''d; sleep 87654.5\n", "\ncd");
    test.until("it runs", || runs_with("87654.5"));
    typist.types(&test, "\x1a", "Stopped");
    typist.types(&test, "fg\n", "sleep 87654.5");
    typist.types(&test, "\x03", "#");
    typist.types(&test, "exit 5\n", "code=5");
    // The learner's terminal is as it was.
    typist.sees(&test, " icanon");
    assert!(typist.child.wait().unwrap().success());
    assert!(!runs_with("87654.5"));
}

#[test]
fn an_interrupt_at_the_terminal_ends_a_command_once() {
    let Some(test) = lab() else { return };
    if !has_script() {
        return;
    }
    // With and without a terminal of its own.
    for rest in ["", " | cat"] {
        let script = "trap 'echo got; exit 3' INT; echo rea''dy; sleep 1000 & wait";
        let line = format!(
            "trap '' INT; (\"$CKSLAB\" exec -- bash -c \"{script}\"; echo code=$?){rest}; sleep 0.1"
        );
        let mut typist = Typist::new(&test, &line);
        typist.sees(&test, "ready");
        typist.types(&test, "\x03", "code=3");
        let shown = typist.shown.lock().unwrap().clone();
        assert_eq!(shown.matches("got").count(), 1, "{shown}");
        typist.child.wait().unwrap();
    }
}
