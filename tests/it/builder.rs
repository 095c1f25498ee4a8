//! The builder of end-to-end tests: the built binary with a home of its own.
//!
//! Every test has its own `CKSLAB_HOME` in a temporary directory, removed at its end together with
//! the node processes it left, also when it fails. Output is asserted whole; paths of the temporary
//! directory read `[HOME]`.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::report;

/// An end-to-end test.
pub struct Test {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
    /// Words before the binary's name: programs that run it as somebody else, or elsewhere.
    wrapper: Vec<String>,
    program: PathBuf,
}

/// User and group of [`Test::plain_user`], where the tests run as root.
const PLAIN: u32 = 65_533;

/// What a command did.
#[derive(Debug, Clone)]
pub struct Outcome {
    command: String,
    /// Exit code; 255 where a signal ended it.
    pub code: i32,
    /// Standard output, paths replaced.
    pub stdout: String,
    /// Standard error, paths replaced.
    pub stderr: String,
}

impl Test {
    /// A test with an empty home.
    pub fn new() -> Self {
        let dir = tempfile::Builder::new()
            .prefix("ckslab-test-")
            .tempdir()
            .unwrap();
        fs::create_dir(dir.path().join("work")).unwrap();
        Self {
            dir,
            env: Vec::new(),
            wrapper: Vec::new(),
            program: assert_cmd::cargo::cargo_bin("ckslab"),
        }
    }

    /// A test whose commands run as a user without any privilege: another one, where the tests run as
    /// root. `None`, said, where that is not possible.
    pub fn plain_user() -> Option<Self> {
        let mut test = Self::new();
        if !rustix::process::geteuid().is_root() {
            return Some(test);
        }
        test.wrapper = format!("setpriv --reuid {PLAIN} --regid {PLAIN} --clear-groups --")
            .split(' ')
            .map(str::to_owned)
            .collect();
        for dir in [test.dir.path().to_path_buf(), test.work()] {
            std::os::unix::fs::chown(dir, Some(PLAIN), Some(PLAIN)).unwrap();
        }
        let tried = |test: &Self| {
            let output = test.command(["--version"]).output();
            output.is_ok_and(|output| output.status.success())
        };
        if !tried(&test) {
            // The user may not reach where the binary was built.
            let copy = test.dir.path().join("ckslab");
            fs::copy(&test.program, &copy).unwrap();
            test.program = copy;
            if !tried(&test) {
                report::skipped("no `setpriv` to run a command as another user");
                return None;
            }
        }
        Some(test)
    }

    /// Runs the binary through these programs.
    pub fn through(mut self, words: &[&str]) -> Self {
        self.wrapper = words.iter().map(|word| (*word).to_owned()).collect();
        self
    }

    /// The words that run the binary, for a shell.
    pub fn words(&self) -> String {
        let mut words = self.wrapper.clone();
        words.push(self.program.display().to_string());
        words.join(" ")
    }

    /// Sets an environment variable for every command.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// `CKSLAB_HOME`.
    pub fn home(&self) -> PathBuf {
        self.dir.path().join("home")
    }

    /// The current directory of commands.
    pub fn work(&self) -> PathBuf {
        self.dir.path().join("work")
    }

    /// The directory of a lab.
    pub fn lab(&self, id: &str) -> PathBuf {
        self.home().join("labs").join(id)
    }

    /// The host path of a node path.
    pub fn node(&self, id: &str, path: &str) -> PathBuf {
        self.lab(id).join("node").join(path.trim_start_matches('/'))
    }

    /// A command of the binary, not run yet.
    pub fn command<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Command {
        let mut words = self
            .wrapper
            .iter()
            .map(PathBuf::from)
            .chain([self.program.clone()]);
        let mut command = Command::new(words.next().unwrap());
        command.args(words).args(args);
        self.prepare(&mut command);
        command
    }

    fn prepare(&self, command: &mut Command) {
        command
            .current_dir(self.work())
            .env("CKSLAB_HOME", self.home())
            .env("HOME", self.work())
            .env("NO_COLOR", "1")
            .env("COLUMNS", "100")
            // `auto` would be kind on a machine that has it.
            .env("CKSLAB_ENGINE", "embedded")
            .env_remove("CKSLAB_SCENARIOS")
            .env_remove("CKSLAB_NODE_SHELL")
            .env_remove("KUBECONFIG")
            .stdin(Stdio::null());
        for (name, value) in &self.env {
            if value.is_empty() {
                command.env_remove(name);
            } else {
                command.env(name, value);
            }
        }
    }

    /// Runs the binary.
    pub fn run<S: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = S>) -> Outcome {
        self.outcome(self.command(args), b"")
    }

    /// Runs the binary with this standard input.
    pub fn run_with<S: AsRef<OsStr>>(
        &self,
        args: impl IntoIterator<Item = S>,
        stdin: &[u8],
    ) -> Outcome {
        self.outcome(self.command(args), stdin)
    }

    /// Runs a prepared command.
    pub fn outcome(&self, mut command: Command, stdin: &[u8]) -> Outcome {
        use std::io::Write;
        let shown = format!("{command:?}");
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{shown}: {e}"));
        let mut input = child.stdin.take().unwrap();
        let stdin = stdin.to_vec();
        let writer = std::thread::spawn(move || {
            let _ = input.write_all(&stdin);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        Outcome {
            command: shown,
            code: output.status.code().unwrap_or(255),
            stdout: self.clean(&output.stdout),
            stderr: self.clean(&output.stderr),
        }
    }

    /// Runs the binary with little memory, and ends it (with a failure) when it hangs.
    pub fn run_bounded(&self, args: &[&str]) -> Outcome {
        const ADDRESS_SPACE_KIB: &str = "ulimit -v 1500000 && exec \"$0\" \"$@\"";
        let program = self.command([""; 0]).get_program().to_owned();
        let mut command = Command::new("timeout");
        command
            .args(["--signal=KILL", "60", "sh", "-c", ADDRESS_SPACE_KIB])
            .arg(program)
            .args(args);
        self.prepare(&mut command);
        self.outcome(command, b"")
    }

    fn clean(&self, bytes: &[u8]) -> String {
        let home = self.home();
        String::from_utf8_lossy(bytes)
            .replace(&home.display().to_string(), "[HOME]")
            .replace(&self.work().display().to_string(), "[WORK]")
    }

    /// Starts a lab and gives what `start -o json` says.
    pub fn start(&self, id: &str) -> Value {
        self.run([
            "start", id, "--engine", "embedded", "--seed", "1", "-o", "json",
        ])
        .ok()
        .json()
    }

    /// kubectl for the active lab, where there is one on this machine. Says so where there is none.
    pub fn kubectl(&self, args: &[&str]) -> Option<Outcome> {
        self.kubectl_with(args, b"")
    }

    /// kubectl with standard input.
    pub fn kubectl_with(&self, args: &[&str], stdin: &[u8]) -> Option<Outcome> {
        if !has_kubectl() {
            return None;
        }
        let id = fs::read_to_string(self.home().join("active")).unwrap();
        let mut command = Command::new("kubectl");
        command.args(args);
        self.prepare(&mut command);
        command.env(
            "KUBECONFIG",
            self.node(id.trim(), "/etc/kubernetes/admin.conf"),
        );
        Some(self.outcome(command, stdin))
    }

    /// Looks until something holds: for what the node does by itself.
    pub fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let start = Instant::now();
        while !holds() {
            assert!(
                start.elapsed() < Duration::from_secs(30),
                "waited 30 s until {what}"
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Process id of the node process of a lab, if one runs.
    pub fn pid(&self, id: &str) -> Option<u32> {
        pid_of(&self.lab(id))
    }

    /// Kills the node process of a lab, as `kill -9` does, and waits until it is gone.
    pub fn kill_node(&self, id: &str) {
        let pid = self.pid(id).expect("the node process runs");
        kill(pid);
        self.until("the node process is gone", || self.pid(id).is_none());
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        // Directly, by process id: the binary under test may be what is broken.
        for entry in fs::read_dir(self.home().join("labs"))
            .into_iter()
            .flatten()
            .flatten()
        {
            if let Some(pid) = pid_of(&entry.path()) {
                kill(pid);
            }
        }
    }
}

/// The process that holds the lock of the node in this lab directory.
fn pid_of(lab: &Path) -> Option<u32> {
    let path = lab.join("state/node.lock");
    let lock = fs::File::open(&path).ok()?;
    if lock.try_lock_shared().is_ok() {
        return None;
    }
    let pid = fs::read_to_string(&path).ok()?.trim().parse().ok()?;
    // A node raised within the test process itself ends with it.
    (pid != std::process::id()).then_some(pid)
}

fn kill(pid: u32) {
    let _ = Command::new("kill")
        .args(["-9", &pid.to_string()])
        .stderr(Stdio::null())
        .status();
}

/// Whether kubectl is on this machine; a test that needs it says that it is skipped, or fails where
/// `CKSLAB_TEST_REQUIRE_KUBECTL=1` says that there must be one.
pub fn has_kubectl() -> bool {
    let found = Command::new("kubectl")
        .args(["version", "--client"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok();
    if !found {
        let required = std::env::var("CKSLAB_TEST_REQUIRE_KUBECTL").is_ok_and(|value| value == "1");
        assert!(!required, "kubectl is not installed, and required here");
        report::skipped("kubectl is not installed");
    }
    found
}

impl Outcome {
    /// Asserts the exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "exit code of {self:#?}");
        self
    }

    /// Asserts success.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// Asserts the whole standard output.
    #[track_caller]
    pub fn stdout(self, expected: &str) -> Self {
        assert_eq!(self.stdout, expected, "standard output of {}", self.command);
        self
    }

    /// Asserts the whole standard error.
    #[track_caller]
    pub fn stderr(self, expected: &str) -> Self {
        assert_eq!(self.stderr, expected, "standard error of {}", self.command);
        self
    }

    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON ({error}): {self:#?}"))
    }
}
