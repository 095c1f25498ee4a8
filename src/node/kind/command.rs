//! Runs of other programs (`docker`, `kind`), bounded in time and output.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

use super::interrupt::Guard;

/// What is kept of the output of a program.
const LARGEST: u64 = 512 << 20;

static CALLS: AtomicUsize = AtomicUsize::new(0);

/// How many programs this process has run through this module.
#[must_use]
pub fn calls() -> usize {
    CALLS.load(Ordering::Relaxed)
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// Exit code; none where a signal ended it.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

impl Output {
    /// Whether it ended with 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == Some(0)
    }

    /// Standard output as text, without blanks at its ends.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).trim().to_owned()
    }

    /// Standard error as text.
    #[must_use]
    pub fn complaint(&self) -> String {
        String::from_utf8_lossy(&self.stderr).trim().to_owned()
    }
}

/// Why a program gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no such program.
    #[error("`{0}` is not on PATH")]
    Missing(String),
    /// It took too long and was ended.
    #[error("`{program}` did not answer within {} s", limit.as_secs())]
    TimedOut {
        /// The program.
        program: String,
        /// How long it was waited for.
        limit: Duration,
    },
    /// The system said no.
    #[error("cannot run `{program}`: {source}")]
    Io {
        /// The program.
        program: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Starts a program in a process group of its own, which ends with this process.
///
/// # Errors
/// When it cannot be started.
pub fn spawn(command: &mut Command) -> Result<(Child, Guard), Failure> {
    CALLS.fetch_add(1, Ordering::Relaxed);
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => Failure::Missing(program),
            _ => Failure::Io { program, source },
        })?;
    let guard = Guard::new(child.id());
    Ok((child, guard))
}

/// Ends a program with everything it started.
pub fn kill(child: &mut Child) {
    if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Runs a program to its end.
///
/// # Errors
/// When it cannot be started, or does not end in time.
pub fn run(command: Command, stdin: &[u8], limit: Duration) -> Result<Output, Failure> {
    run_with(command, stdin, limit, &mut |_| {})
}

/// Runs a program to its end; `line` gets what it writes to standard error, line by line.
///
/// # Errors
/// As [`run`].
pub fn run_with(
    mut command: Command,
    stdin: &[u8],
    limit: Duration,
    line: &mut dyn FnMut(&str),
) -> Result<Output, Failure> {
    let program = command.get_program().to_string_lossy().into_owned();
    let (mut child, guard) = spawn(&mut command)?;
    feed(&mut child, stdin);
    let (tell, told) = mpsc::channel();
    let (whole, done) = mpsc::channel();
    if let Some(out) = child.stdout.take() {
        let whole = whole.clone();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = out.take(LARGEST).read_to_end(&mut bytes);
            let _ = whole.send((true, bytes));
        });
    }
    if let Some(err) = child.stderr.take() {
        thread::spawn(move || {
            let mut bytes = Vec::new();
            let mut reader = BufReader::new(err.take(LARGEST));
            let mut one = Vec::new();
            while reader
                .read_until(b'\n', &mut one)
                .is_ok_and(|read| read > 0)
            {
                let _ = tell.send(String::from_utf8_lossy(&one).trim_end().to_owned());
                bytes.append(&mut one);
            }
            let _ = whole.send((false, bytes));
        });
    }
    let start = Instant::now();
    let mut pause = Duration::from_millis(1);
    let status: ExitStatus = loop {
        while let Ok(text) = told.try_recv() {
            line(&text);
        }
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if start.elapsed() > limit => {
                kill(&mut child);
                return Err(Failure::TimedOut { program, limit });
            }
            Ok(None) => {}
            Err(source) => return Err(Failure::Io { program, source }),
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(20));
    };
    drop(guard);
    let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
    // Something it left behind may keep the streams open: what is there by then is what there is.
    for _ in 0..2 {
        match done.recv_timeout(Duration::from_secs(2)) {
            Ok((true, bytes)) => stdout = bytes,
            Ok((false, bytes)) => stderr = bytes,
            Err(_) => break,
        }
    }
    while let Ok(text) = told.try_recv() {
        line(&text);
    }
    Ok(Output {
        code: status.code(),
        stdout,
        stderr,
    })
}

/// Gives a program its input, from a thread of its own: it may not read all of it.
fn feed(child: &mut Child, stdin: &[u8]) {
    if let Some(mut input) = child.stdin.take()
        && !stdin.is_empty()
    {
        let bytes = stdin.to_vec();
        thread::spawn(move || {
            let _ = input.write_all(&bytes);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn streams_and_code_are_kept_apart() {
        let mut lines = Vec::new();
        let output = run_with(
            sh("cat; echo one >&2; echo two >&2; exit 3"),
            b"in",
            Duration::from_secs(30),
            &mut |line| lines.push(line.to_owned()),
        )
        .unwrap();
        assert_eq!(output.code, Some(3));
        assert_eq!(output.text(), "in");
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn what_does_not_end_is_ended_with_all_it_started() {
        let error = run(
            sh("sleep 1000 & sleep 1000"),
            b"",
            Duration::from_millis(50),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "`sh` did not answer within 0 s");
        let error = run(
            Command::new("ckslab-no-such-program"),
            b"",
            Duration::from_secs(1),
        )
        .unwrap_err();
        assert_eq!(error.to_string(), "`ckslab-no-such-program` is not on PATH");
    }
}
