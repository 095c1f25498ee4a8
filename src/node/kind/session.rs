//! A session on the node: one `docker exec` through which everything is asked.
//!
//! The words of a request are data from end to end: they reach `node.sh` NUL-terminated on its standard
//! input and are never part of a script. Many requests cost one call of Docker.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;

use super::command::{self, Failure};
use super::interrupt::Guard;
use super::trouble::Trouble;
use crate::node::{ExecOutput, NodeError};

/// What runs on the node.
const SCRIPT: &str = include_str!("node.sh");
/// How long one request may take where it has no limit of its own.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Requests to one node; the connection is made with the first one.
pub struct Session {
    program: String,
    container: String,
    open: Mutex<Option<Connection>>,
}

struct Connection {
    child: Child,
    input: ChildStdin,
    answers: mpsc::Receiver<Result<ExecOutput, String>>,
    _guard: Guard,
}

impl Session {
    /// To this container.
    #[must_use]
    pub fn new(program: &str, container: &str) -> Self {
        Self {
            program: program.to_owned(),
            container: container.to_owned(),
            open: Mutex::new(None),
        }
    }

    /// The container.
    #[must_use]
    pub fn container(&self) -> &str {
        &self.container
    }

    /// The program that reaches it.
    #[must_use]
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Sends a request.
    ///
    /// # Errors
    /// When the node cannot be reached or does not answer.
    pub fn ask(&self, words: &[&str], stdin: &[u8]) -> Result<ExecOutput, NodeError> {
        self.ask_within(words, stdin, PATIENCE)
    }

    /// Sends a request that may take this long.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub fn ask_within(
        &self,
        words: &[&str],
        stdin: &[u8],
        limit: Duration,
    ) -> Result<ExecOutput, NodeError> {
        if words.iter().any(|word| word.contains('\0')) {
            return Err(NodeError::Refused(
                "a word with a NUL byte cannot be sent to the node".to_owned(),
            ));
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut connection = match open.take() {
            Some(connection) => connection,
            None => self.connect()?,
        };
        match connection.exchange(words, stdin, limit) {
            Ok(output) => {
                *open = Some(connection);
                Ok(output)
            }
            Err(reason) => {
                command::kill(&mut connection.child);
                Err(self.explain(&reason))
            }
        }
    }

    fn connect(&self) -> Result<Connection, NodeError> {
        let mut command = Command::new(&self.program);
        command.args([
            "exec",
            "-i",
            &self.container,
            "bash",
            "-c",
            SCRIPT,
            "ckslab",
        ]);
        let (mut child, guard) = command::spawn(&mut command).map_err(Trouble::from)?;
        let (Some(input), Some(output), Some(errors)) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(NodeError::NotRunning("it has no streams".to_owned()));
        };
        let (send, answers) = mpsc::channel();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(output);
            loop {
                match answer(&mut reader) {
                    Some(output) => {
                        if send.send(Ok(output)).is_err() {
                            return;
                        }
                    }
                    None => {
                        let mut text = String::new();
                        let _ = errors.take(1 << 16).read_to_string(&mut text);
                        let _ = send.send(Err(text.trim().to_owned()));
                        return;
                    }
                }
            }
        });
        Ok(Connection {
            child,
            input,
            answers,
            _guard: guard,
        })
    }

    /// What it means that the node cannot be reached: the container and Docker are looked at.
    fn explain(&self, reason: &str) -> NodeError {
        match super::cluster::presence(&self.program, &self.container) {
            Err(trouble) => trouble.into(),
            Ok(super::cluster::Presence::Missing) => super::cluster::gone(&self.container).into(),
            Ok(super::cluster::Presence::Stopped) => {
                NodeError::NotRunning(format!("its container `{}` is stopped", self.container))
            }
            Ok(super::cluster::Presence::Running) => NodeError::NotRunning(if reason.is_empty() {
                format!("its container `{}` does not answer", self.container)
            } else {
                reason.to_owned()
            }),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut connection) = open.take() {
            // The end of its input is the end of the script, which clears up after itself.
            drop(connection.input);
            for _ in 0..100 {
                if !matches!(connection.child.try_wait(), Ok(None)) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            command::kill(&mut connection.child);
        }
    }
}

impl Connection {
    fn exchange(
        &mut self,
        words: &[&str],
        stdin: &[u8],
        limit: Duration,
    ) -> Result<ExecOutput, String> {
        let sent = self
            .input
            .write_all(&request(words, stdin))
            .and_then(|()| self.input.flush());
        match self.answers.recv_timeout(limit) {
            Ok(answer) => answer,
            Err(mpsc::RecvTimeoutError::Timeout) => Err(Failure::TimedOut {
                program: words.join(" "),
                limit,
            }
            .to_string()),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(sent
                .err()
                .map(|error| error.to_string())
                .unwrap_or_default()),
        }
    }
}

/// A request as the script reads it.
fn request(words: &[&str], stdin: &[u8]) -> Vec<u8> {
    let mut out = format!("{}\0", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(word.as_bytes());
        out.push(0);
    }
    out.extend_from_slice(format!("{}\0", stdin.len()).as_bytes());
    out.extend_from_slice(stdin);
    out
}

/// The next answer; nothing where there is none any more.
fn answer(reader: &mut impl BufRead) -> Option<ExecOutput> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut numbers = line.split_whitespace();
    let code = numbers.next()?.parse().ok()?;
    let mut take = || -> Option<Vec<u8>> {
        let size: u64 = numbers.next()?.parse().ok()?;
        let mut bytes = Vec::new();
        reader.by_ref().take(size).read_to_end(&mut bytes).ok()?;
        (bytes.len() as u64 == size).then_some(bytes)
    };
    let (stdout, stderr) = (take()?, take()?);
    Some(ExecOutput {
        code,
        stdout,
        stderr,
    })
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    /// The script on this machine instead of a node.
    fn play(requests: &[(&[&str], &[u8])]) -> Vec<(u8, String, String)> {
        let mut child = Command::new("bash")
            .args(["-c", SCRIPT, "ckslab"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        for (words, stdin) in requests {
            input.write_all(&request(words, stdin)).unwrap();
        }
        drop(input);
        let mut reader = BufReader::new(child.stdout.take().unwrap());
        let mut answers = Vec::new();
        while let Some(output) = answer(&mut reader) {
            answers.push((
                output.code,
                String::from_utf8(output.stdout).unwrap(),
                String::from_utf8(output.stderr).unwrap(),
            ));
        }
        assert!(child.wait().unwrap().success());
        answers
    }

    #[test]
    fn words_are_data_and_answers_are_kept_apart() {
        let answers = play(&[
            (
                &[
                    "n_run",
                    "5",
                    "printf",
                    "%s|",
                    "$(touch x)",
                    "a\n b ",
                    "'\"",
                    "",
                    "*",
                    "-n",
                ],
                b"",
            ),
            (&["n_run", "5", "cat"], b"1\n2\0\n"),
            (&["n_run", "5", "sh", "-c", "echo no >&2; exit 7"], b""),
            (&["n_run", "0.1", "sleep", "100"], b""),
        ]);
        assert_eq!(
            answers,
            [
                (0, "$(touch x)|a\n b |'\"||*|-n|".to_owned(), String::new()),
                (0, "1\n2\0\n".to_owned(), String::new()),
                (7, String::new(), "no\n".to_owned()),
                (124, String::new(), String::new()),
            ]
        );
    }

    #[test]
    fn files_are_written_whole_with_mode_and_read_from_an_offset() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let odd = path("a b/-n $(x)\n'.txt");
        std::os::unix::fs::symlink("/nowhere", path("broken")).unwrap();
        std::os::unix::fs::symlink("loop", path("loop")).unwrap();
        let answers = play(&[
            (&["n_write", "0640", &odd], b"0123456789"),
            (&["n_read", "", "7", "100", &odd], b""),
            (&["n_list", &path("a b")], b""),
            (&["n_append", "0600", &odd], b"x"),
            (&["n_read", "", "9", "100", &odd], b""),
            (&["n_read", "", "0", "9", &path("broken")], b""),
            (&["n_read", "", "0", "9", &path("loop")], b""),
            (&["n_read", "", "0", "9", &path("none")], b""),
            (&["n_link", "/x", &odd], b""),
            (&["n_write", "0600", &path("a b")], b""),
            (&["n_stat", "0", &path("broken")], b""),
        ]);
        let texts: Vec<(u8, String)> = answers
            .iter()
            .map(|(code, out, _)| {
                let shown = out.split('|').next().unwrap_or_default();
                let end = out.rsplit('\n').next().unwrap_or_default();
                (*code, format!("{shown}…{end}"))
            })
            .collect();
        assert_eq!(texts[0], (0, "…".to_owned()));
        assert_eq!(texts[1], (0, "regular file…789".to_owned()));
        assert_eq!(answers[2].1, "-n $(x)\n'.txt\0");
        assert_eq!(texts[4], (0, "regular file…9x".to_owned()));
        assert!(answers[4].1.contains("|640|11|"), "{}", answers[4].1);
        assert_eq!(answers[5].1, "link\n/nowhere");
        assert_eq!(answers[6].1, "loop\n");
        assert_eq!(answers[7].1, "missing\n");
        assert!(answers[8].2.contains("File exists"), "{}", answers[8].2);
        assert!(answers[9].2.contains("Is a directory"), "{}", answers[9].2);
        assert_eq!(answers[10].1, "symbolic link|777\n/nowhere");
    }

    #[test]
    fn links_are_resolved_as_the_process_sees_them() {
        let root = tempfile::tempdir().unwrap();
        let at = |name: &str| root.path().join(name);
        std::fs::create_dir_all(at("etc/audit")).unwrap();
        std::fs::write(at("etc/audit/p.yaml"), "inside").unwrap();
        std::os::unix::fs::symlink("/etc/audit", at("policies")).unwrap();
        std::os::unix::fs::symlink("../../../etc/audit/p.yaml", at("etc/up")).unwrap();
        let shown = root.path().display().to_string();
        let answers = play(&[
            (&["n_read", &shown, "0", "99", "/policies/p.yaml"], b""),
            (&["n_read", &shown, "0", "99", "/etc/up"], b""),
            (&["n_read", &shown, "0", "99", "/etc/hostname"], b""),
            (&["n_read", "/proc/0/root", "0", "99", "/etc/hostname"], b""),
        ]);
        assert!(answers[0].1.ends_with("\ninside"), "{}", answers[0].1);
        assert!(answers[1].1.ends_with("\ninside"), "{}", answers[1].1);
        assert_eq!(answers[2].1, "missing\n");
        assert_eq!(answers[3].1, "gone\n");
    }
}
