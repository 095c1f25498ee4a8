//! A command in a container, or the process of the container itself, with a terminal at its other end
//! (`pkg/kubelet/server/remotecommand/{exec,attach}.go`). Nothing runs anywhere: a small shell answers.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;

use super::log::{self, Attached};
use super::shell::{Outcome, Shell};
use super::stream::terminal::{Input, Terminal};
use crate::node::embedded::apiserver::kinds::edit::text_at;
use crate::node::embedded::apiserver::state::ApiState;

/// Longest line an interactive shell takes; what comes after it is dropped, as a terminal does.
const LINE: usize = 64 << 10;
/// Most a command takes as its input.
const INPUT: usize = 24 << 20;
/// How a command ends for which there is no memory.
const KILLED: i32 = 137;
/// How often an attached container is looked at.
const POLL: Duration = Duration::from_millis(100);

/// What the session will be.
pub(super) struct Session {
    pub(super) state: Arc<ApiState>,
    pub(super) pod: Arc<Value>,
    pub(super) container: String,
    pub(super) shell: Shell,
    pub(super) argv: Vec<String>,
    pub(super) stdin: bool,
    pub(super) tty: bool,
    pub(super) attach: bool,
    /// Whether the client left before the command ended.
    pub(super) left: bool,
    /// Why there is no session, as the kubelet says it.
    pub(super) failure: Option<String>,
}

fn success() -> Vec<u8> {
    json!({"metadata": {}, "status": "Success"})
        .to_string()
        .into_bytes()
}

/// A Status of what went wrong before the command ran.
fn internal(why: &str) -> Vec<u8> {
    let status = json!({"metadata": {}, "status": "Failure",
        "message": format!("Internal error occurred: {why}"), "reason": "InternalError",
        "details": {"causes": [{"message": why}]}, "code": 500});
    status.to_string().replace('&', "\\u0026").into_bytes()
}

/// A Status of a command that ended with this code.
fn exit(code: i32) -> Vec<u8> {
    let status = json!({"metadata": {}, "status": "Failure",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}});
    status.to_string().into_bytes()
}

impl Session {
    /// Why the command cannot even be started. Over WebSockets it is the API server that asks the kubelet, and
    /// says once more that the error is an internal one (`StreamTranslatorHandler`).
    pub(super) fn missing_program(&self, translated: bool) -> Option<String> {
        if self.attach || self.failure.is_some() {
            return None;
        }
        let why = self.shell.cannot_start(self.argv.first()?)?;
        let id = log::container_id(&self.pod, &self.container)
            .unwrap_or_default()
            .trim_start_matches("containerd://");
        let again = if translated {
            "Internal error occurred: "
        } else {
            ""
        };
        Some(format!(
            "{again}error executing command in container: failed to exec in container: failed to start exec \"{id}\": OCI runtime exec failed: exec failed: unable to start container process: {why}"
        ))
    }

    /// Runs to the end of the command, the container or the client.
    pub(super) async fn run(mut self, mut terminal: Terminal) {
        let status = match self.failure.take() {
            Some(why) => internal(&why),
            None if self.attach => {
                self.attached(&mut terminal).await;
                success()
            }
            None => match self.talk(&mut terminal).await {
                0 => success(),
                code => exit(code),
            },
        };
        terminal.finish(&status).await;
    }

    /// Shows what the container's process prints; a shell that has its input open is talked to.
    async fn attached(&mut self, terminal: &mut Terminal) {
        let program = self.shell.program();
        if self.shell.has_stdin() && self.shell.is_interactive(&program) {
            self.argv = program;
            if !self.stdin {
                while self.wait(terminal).await {}
                return;
            }
            let code = self.talk(terminal).await;
            if !self.left {
                let machine = &self.state.machine;
                machine
                    .containers
                    .exit(text_at(&self.pod, "/metadata/uid"), &self.container, code);
                while self.wait(terminal).await {}
            }
            return;
        }
        let mut printed = Attached::new(&self.pod, &self.container);
        loop {
            let runs = self.runs();
            let text = printed.next();
            if !text.is_empty() {
                terminal.stdout(self.line_ends(&text).as_bytes()).await;
            }
            if !runs || !self.wait(terminal).await {
                return;
            }
        }
    }

    fn runs(&self) -> bool {
        let (namespace, name) = (
            text_at(&self.pod, "/metadata/namespace"),
            text_at(&self.pod, "/metadata/name"),
        );
        self.state
            .store
            .get(&format!("/registry/core/pods/{namespace}/{name}"))
            .is_some_and(|now| {
                super::pod::is_running(&now.value, &self.container)
                    && log::container_id(&now.value, &self.container)
                        == log::container_id(&self.pod, &self.container)
            })
    }

    /// Waits a moment; whether there still are a client and a container.
    async fn wait(&self, terminal: &mut Terminal) -> bool {
        let deadline = tokio::time::Instant::now() + POLL;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => return self.runs(),
                input = terminal.receive() => {
                    if input.is_none() {
                        return false;
                    }
                }
            }
        }
    }

    fn line_ends(&self, text: &str) -> String {
        if self.tty {
            text.replace('\n', "\r\n")
        } else {
            text.to_owned()
        }
    }

    async fn write(&self, terminal: &mut Terminal, outcome: &Outcome) {
        if !outcome.stdout.is_empty() {
            if self.tty {
                let text = String::from_utf8_lossy(&outcome.stdout);
                terminal.stdout(self.line_ends(&text).as_bytes()).await;
            } else {
                terminal.stdout(&outcome.stdout).await;
            }
        }
        if !outcome.stderr.is_empty() {
            let text = self.line_ends(&outcome.stderr);
            if self.tty {
                terminal.stdout(text.as_bytes()).await;
            } else {
                terminal.stderr(text.as_bytes()).await;
            }
        }
    }

    /// Runs the command; a shell without a command reads more of them.
    async fn talk(&mut self, terminal: &mut Terminal) -> i32 {
        if !self.shell.is_interactive(&self.argv) || !self.stdin {
            let reads = self.stdin && self.shell.reads_input(&self.argv);
            // The room of the input is held as long as it is used.
            let (input, _room) = if reads {
                match read_all(&self.state, terminal).await {
                    Some(read) => read,
                    None => return KILLED,
                }
            } else {
                (Vec::new(), None)
            };
            let outcome = self.shell.run(&self.argv, &input);
            self.write(terminal, &outcome).await;
            return outcome.code;
        }
        self.prompt(terminal).await;
        let mut line = String::new();
        let mut last = 0;
        loop {
            let data = match terminal.receive().await {
                Some(Input::Data(data)) => data,
                Some(Input::End) => break,
                None => {
                    self.left = true;
                    break;
                }
            };
            for c in String::from_utf8_lossy(&data).chars() {
                match c {
                    '\r' | '\n' => {
                        if self.tty {
                            terminal.stdout(b"\r\n").await;
                        }
                        let command = std::mem::take(&mut line);
                        let outcome = self.shell.line(&command);
                        last = outcome.code;
                        self.write(terminal, &outcome).await;
                        if outcome.exit {
                            return last;
                        }
                        self.prompt(terminal).await;
                    }
                    // End of transmission on an empty line ends the shell.
                    '\u{4}' if line.is_empty() => return last,
                    '\u{3}' => {
                        line.clear();
                        terminal.stdout(b"^C\r\n").await;
                        self.prompt(terminal).await;
                    }
                    '\u{7f}' | '\u{8}' => {
                        if line.pop().is_some() && self.tty {
                            terminal.stdout(b"\x08 \x08").await;
                        }
                    }
                    c if c.is_control() || line.len() + c.len_utf8() > LINE => {}
                    c => {
                        line.push(c);
                        if self.tty {
                            let mut buffer = [0_u8; 4];
                            terminal.stdout(c.encode_utf8(&mut buffer).as_bytes()).await;
                        }
                    }
                }
            }
        }
        if !line.trim().is_empty() {
            let outcome = self.shell.line(&line);
            last = outcome.code;
            self.write(terminal, &outcome).await;
        }
        last
    }

    async fn prompt(&self, terminal: &mut Terminal) {
        if self.tty {
            terminal.stdout(self.shell.prompt().as_bytes()).await;
        }
    }
}

/// Standard input to its end, and the room it takes; `None` when there is no room for it.
async fn read_all(
    state: &ApiState,
    terminal: &mut Terminal,
) -> Option<(Vec<u8>, Option<OwnedSemaphorePermit>)> {
    let (mut input, mut room) = (Vec::new(), None::<OwnedSemaphorePermit>);
    while let Some(Input::Data(data)) = terminal.receive().await {
        let more = state.limits.body(data.len())?;
        match &mut room {
            Some(room) => room.merge(more),
            None => room = Some(more),
        }
        input.extend_from_slice(&data);
        if input.len() > INPUT {
            break;
        }
    }
    Some((input, room))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_written_as_go_writes_them() {
        let text =
            String::from_utf8(internal("Post \"https://n:10250/exec/a/b/c?x=1&y=2\"")).unwrap();
        assert!(text.contains("x=1\\u0026y=2"), "{text}");
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
}
