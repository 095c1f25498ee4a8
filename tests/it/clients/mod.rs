//! Clients that were not made for ckslab against a sandbox lab: a kubectl's streams, one many versions older, and
//! the Python package. The latter two are run by `.ci/run`, which fetches them.

mod afternoon;
mod protobuf;
mod rust;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::builder::{Outcome, Test, has_kubectl};
use crate::report;

const POD: &str = "\
apiVersion: v1
kind: Pod
metadata:
  name: two
spec:
  containers:
  - name: counter
    image: busybox
    command: [sh, -c, 'i=0; while true; do echo \"line $i\"; i=$((i+1)); sleep 1; done']
  - name: web
    image: nginx
    ports:
    - containerPort: 80
";

/// A started sandbox and the kubectl that is used with it.
struct Client {
    test: Test,
    program: PathBuf,
}

impl Client {
    fn new(program: impl Into<PathBuf>) -> Self {
        let test = Test::new();
        test.start("sandbox");
        Self {
            test,
            program: program.into(),
        }
    }

    fn command(&self, words: &[&str]) -> Command {
        // A client that waits for what never comes fails instead of holding up the tests.
        let mut command = Command::new("timeout");
        command
            .arg("60")
            .arg(&self.program)
            .args(words)
            .current_dir(self.test.work())
            .env("HOME", self.test.work())
            .env("KUBECONFIG", self.kubeconfig());
        command
    }

    fn kubeconfig(&self) -> PathBuf {
        self.test.node("sandbox", "/etc/kubernetes/admin.conf")
    }

    fn run(&self, line: &str) -> Outcome {
        self.run_with(line, "")
    }

    fn run_with(&self, line: &str, stdin: &str) -> Outcome {
        let words: Vec<&str> = line.split_whitespace().collect();
        self.words(&words, stdin)
    }

    fn words(&self, words: &[&str], stdin: &str) -> Outcome {
        self.test.outcome(self.command(words), stdin.as_bytes())
    }

    /// A command whose output is read while it runs.
    fn spawn(&self, words: &[&str]) -> Spawned {
        let mut child = self
            .command(words)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Spawned { child, lines }
    }

    /// exec, cp, run, debug, attach, logs and port-forward.
    fn streams(&self) {
        self.run_with("apply -f -", POD).ok();
        self.run("wait pod/two --for=condition=Ready --timeout=30s")
            .ok();
        self.commands_run_in_containers();
        self.files_are_copied_both_ways();
        self.containers_are_attached_to();
        self.logs_are_followed();
        self.ports_are_forwarded();
    }

    fn commands_run_in_containers(&self) {
        let script = "echo out; echo err >&2; exit 3";
        let outcome = self.words(&["exec", "two", "-c", "web", "--", "sh", "-c", script], "");
        assert_eq!((outcome.code, outcome.stdout.as_str()), (3, "out\n"));
        assert_eq!(outcome.stderr, "err\ncommand terminated with exit code 3\n");
        self.run_with("exec -i two -c web -- cat", "given\n")
            .ok()
            .stdout("given\n");
        let missing = self.run("exec two -c web -- frobnicate").code(1);
        assert!(
            missing.stderr.ends_with("unable to start container process: exec: \"frobnicate\": executable file not found in $PATH\n"),
            "{missing:#?}"
        );
        self.run_with("exec -i two -c web -- sh", "cd /tmp\npwd\nexit 4\n")
            .code(4)
            .stdout("/tmp\n");
    }

    fn files_are_copied_both_ways(&self) {
        let there = self.test.work().join("there");
        std::fs::create_dir(&there).unwrap();
        let content: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        std::fs::write(there.join("binary"), &content).unwrap();
        self.run("cp there two:/tmp/copied -c web").ok();
        self.run("exec two -c web -- ls /tmp/copied")
            .ok()
            .stdout("binary\n");
        self.run("cp two:/tmp/copied/binary back -c web").ok();
        assert!(std::fs::read(self.test.work().join("back")).unwrap() == content);
        // The other container of the pod has files of its own.
        self.run("exec two -c counter -- ls /tmp/copied").code(1);
    }

    fn containers_are_attached_to(&self) {
        let ran = self.run("run once --image=busybox -i --rm --restart=Never -- echo hello");
        assert!(ran.clone().ok().stdout.starts_with("hello\n"), "{ran:#?}");
        let shell = self.run_with(
            "run shell --image=busybox -i --rm --restart=Never -- sh",
            "hostname\nexit\n",
        );
        assert!(
            shell.clone().ok().stdout.starts_with("shell\n"),
            "{shell:#?}"
        );
        let debug = self.run_with(
            "debug two -i --image=busybox --target=web -c looks -- sh",
            "hostname\nexit 2\n",
        );
        assert!(debug.stdout.contains("two\n"), "{debug:#?}");
        let state = "get pod two -o jsonpath={.status.ephemeralContainerStatuses[0].state.terminated.exitCode}";
        self.test.until("the ephemeral container ended", || {
            self.run(state).stdout == "2"
        });
        let words = "run failed --image=busybox -i --rm --restart=Never -- sh -c";
        let words: Vec<&str> = words.split(' ').chain(["exit 4"]).collect();
        let failed = self.words(&words, "").code(4);
        assert!(
            failed
                .stderr
                .ends_with("pod default/failed terminated (Error)\n"),
            "{failed:#?}"
        );
    }

    fn logs_are_followed(&self) {
        let mut follow = self.spawn(&["logs", "-f", "two", "-c", "counter"]);
        assert_eq!(follow.line(), "line 0");
        assert_eq!(follow.line(), "line 1");
        let rest: Vec<String> = (0..3).map(|_| follow.line()).collect();
        assert_eq!(rest, ["line 2", "line 3", "line 4"]);
    }

    fn ports_are_forwarded(&self) {
        let mut forward = self.spawn(&["port-forward", "pod/two", ":80", ":81"]);
        let mut port = || -> u16 {
            loop {
                let line = forward.line();
                if let Some(rest) = line.strip_prefix("Forwarding from 127.0.0.1:") {
                    return rest.split(' ').next().unwrap().parse().unwrap();
                }
            }
        };
        let (web, closed) = (port(), port());
        let ask = |port: u16| {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            write!(
                stream,
                "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            let mut answer = String::new();
            let _ = stream.read_to_string(&mut answer);
            answer
        };
        let answer = ask(web);
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("</html>\n"), "{answer}");
        assert_eq!(ask(closed), "");
    }
}

/// A command that runs; it is ended with the test.
struct Spawned {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
}

impl Spawned {
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "it ended: {line:?}");
        line.trim_end().to_owned()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn streams_of_kubectl() {
    if has_kubectl() {
        Client::new("kubectl").streams();
    }
}

/// What is given by this variable; where nothing is, that the test is skipped.
fn given(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        report::skipped(&format!("{variable} is not set"));
    }
    path
}

/// A kubectl before WebSockets: its streams are SPDY.
#[test]
#[ignore = "needs an old kubectl: .ci/run fetches one"]
fn streams_of_an_old_kubectl() {
    if let Some(program) = given("CKSLAB_TEST_OLD_KUBECTL") {
        let client = Client::new(program);
        client.streams();
        client.run("create deployment web --image=nginx").ok();
        client
            .run("rollout status deployment/web --timeout=30s")
            .ok();
        client.run("describe deployment web").ok();
        client.run("explain deployment.spec.strategy").ok();
        client.run("create token default").ok();
        client.run("scale deployment web --replicas=2").ok();
        client
            .run("drain node01 --ignore-daemonsets --force --delete-emptydir-data --timeout=30s")
            .ok();
    }
}

/// The Python package `kubernetes`.
#[test]
#[ignore = "needs a Python with the package kubernetes: .ci/run installs one"]
fn python_client() {
    if let Some(python) = given("CKSLAB_TEST_PYTHON") {
        let client = Client::new(python);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/clients/client.py");
        let done = client.words(&["-W", "ignore", script], "").ok();
        assert_eq!(done.stdout.lines().last(), Some("done"), "{done:#?}");
    }
}
