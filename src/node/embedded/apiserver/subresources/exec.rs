//! exec, attach and port-forward (`pkg/registry/core/pod/rest/subresources.go`). Nothing of a container
//! runs anywhere: commands are answered by a small simulated shell.

use std::sync::Arc;

use serde_json::json;

use super::pod::{
    bad_request, container, find, is_running, kubelet_address, kubelet_runs, refused,
};
use super::shell::{Outcome, Shell};
use super::websocket::{WebSocket, accept};
use crate::audit::options::number::quote;
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult, Body};
use crate::node::embedded::apiserver::authz;
use crate::node::embedded::apiserver::kinds::edit::text_at;
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::{self, Status};

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const CLOSE: u8 = 255;

/// Longest line an interactive shell takes; what comes after it is dropped, as a terminal does.
const LINE: usize = 64 << 10;

/// Protocols of exec and attach, best first.
const CHANNELS: [&str; 4] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "channel.k8s.io",
];
/// The protocol of port-forward.
const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";

/// What the session will be.
struct Session {
    shell: Shell,
    argv: Vec<String>,
    stdin: bool,
    tty: bool,
    attach: bool,
    failure: Option<String>,
}

/// Serves the upgrade, or says why not.
pub(super) fn serve(state: &Arc<ApiState>, request: &mut ApiRequest) -> ApiResult {
    let subresource = request.info.subresource.clone();
    may_create(state, request)?;
    let pod = find(state, request)?;
    let forward = subresource == "portforward";
    let container = if forward {
        String::new()
    } else {
        container(&pod, request.param("container"))?
    };
    let name = request.info.name.clone();
    let node = text_at(&pod, "/spec/nodeName").to_owned();
    if node.is_empty() {
        return Err(bad_request(format!(
            "pod {name} does not have a host assigned"
        )));
    }
    let address =
        kubelet_address(state, &node).ok_or_else(|| Status::not_found("", "nodes", &node))?;
    let runs = kubelet_runs(state, &node);
    let websocket = request
        .header("upgrade")
        .is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    if !websocket {
        return Err(if runs {
            bad_request("Upgrade request required")
        } else {
            Status::new(
                500,
                "",
                format!("error dialing backend: {}", refused(&address)),
            )
        });
    }
    if forward && !runs {
        return Err(Status::new(
            500,
            "",
            format!("error dialing backend: {}", refused(&address)),
        ));
    }
    let offered = request.header("sec-websocket-protocol").unwrap_or_default();
    let protocol = if forward {
        offered.contains(TUNNEL).then_some(TUNNEL)
    } else {
        CHANNELS
            .into_iter()
            .find(|known| offered.split(',').any(|offer| offer.trim() == *known))
    };
    let (Some(protocol), Some(key)) = (protocol, request.header("sec-websocket-key")) else {
        return Err(bad_request(
            "unable to upgrade: no supported protocol was offered",
        ));
    };
    let flag = |name: &str| matches!(request.param(name), Some("true" | "1"));
    let argv: Vec<String> = request
        .query
        .iter()
        .filter(|(key, _)| key == "command")
        .map(|(_, value)| value.clone())
        .collect();
    let (stdin, tty) = (flag("stdin"), flag("tty"));
    let failure = if runs {
        (!forward && !is_running(&pod, &container))
            .then(|| format!("container not found (\"{container}\")"))
    } else {
        let mut query: Vec<String> = argv
            .iter()
            .map(|word| format!("command={}", escape(word)))
            .collect();
        query.push("error=1".to_owned());
        if stdin {
            query.push("input=1".to_owned());
        }
        query.push("output=1".to_owned());
        if tty {
            query.push("tty=1".to_owned());
        }
        Some(format!(
            "error sending request: Post \"https://{address}/{subresource}/{}/{name}/{container}?{}\": {}",
            request.info.namespace,
            query.join("&"),
            refused(&address)
        ))
    };
    let header = |text: &str| {
        http::HeaderValue::from_str(text).map_err(|_| bad_request("unable to upgrade: bad header"))
    };
    let headers = vec![
        (
            http::header::UPGRADE,
            http::HeaderValue::from_static("websocket"),
        ),
        (
            http::header::CONNECTION,
            http::HeaderValue::from_static("Upgrade"),
        ),
        (http::header::SEC_WEBSOCKET_ACCEPT, header(&accept(key))?),
        (http::header::SEC_WEBSOCKET_PROTOCOL, header(protocol)?),
    ];
    let session = Session {
        shell: Shell::new(state, &pod, &container),
        argv,
        stdin,
        tty,
        attach: subresource == "attach",
        failure,
    };
    let Some(upgrade) = request.upgrade.take() else {
        return Err(bad_request("Upgrade request required"));
    };
    let shutdown = state.shutdown.clone();
    // The request is complete, for the audit log, when the last clone is gone.
    let audit = request.audit.clone();
    tokio::spawn(async move {
        let _audit = audit;
        let Ok(upgraded) = upgrade.await else {
            return;
        };
        let mut socket = WebSocket::new(upgraded);
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = async {
                if forward {
                    // The tunnel stays open; nobody listens at its other end.
                    while socket.receive().await.is_some() {}
                } else {
                    let _ = session.run(&mut socket).await;
                }
            } => {}
        }
    });
    Ok(ApiResponse {
        code: 101,
        headers,
        body: Body::Empty,
    })
}

/// A WebSocket asks with GET, which is the verb `get`; reading must not be enough to run commands, so
/// `create` is asked for too (`AuthorizePodWebsocketUpgradeCreatePermission`, on since 1.35).
fn may_create(state: &Arc<ApiState>, request: &ApiRequest) -> Result<(), Status> {
    let info = &request.info;
    if info.verb == "create" {
        return Ok(());
    }
    let mut attributes = authz::Attributes::from(info);
    attributes.verb = "create".to_owned();
    let decision = authz::authorize(state, &request.user, &attributes);
    if decision.allowed {
        return Ok(());
    }
    // The reason is all the real text says; RBAC mostly has none.
    Err(Status::new(
        403,
        "Forbidden",
        format!(
            "{} {} is forbidden: {}",
            status::qualified(&info.group, &info.resource),
            quote(&info.name),
            decision.reason
        ),
    )
    .with_details(status::details(&info.group, &info.resource, &info.name)))
}

/// Query escaping of Go for the characters commands have.
fn escape(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%20", "+")
        .replace("%2E", ".")
        .replace("%2D", "-")
        .replace("%5F", "_")
}

fn success() -> Vec<u8> {
    json!({"metadata": {}, "status": "Success"})
        .to_string()
        .into_bytes()
}

fn internal(why: &str) -> Vec<u8> {
    let status = json!({"metadata": {}, "status": "Failure",
        "message": format!("Internal error occurred: {why}"), "reason": "InternalError",
        "details": {"causes": [{"message": why}]}, "code": 500});
    status.to_string().replace('&', "\\u0026").into_bytes()
}

fn exit(code: i32) -> Vec<u8> {
    let status = json!({"metadata": {}, "status": "Failure",
        "message": format!("command terminated with non-zero exit code: exit status {code}"),
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}});
    status.to_string().into_bytes()
}

impl Session {
    async fn run(mut self, socket: &mut WebSocket) -> std::io::Result<()> {
        // The real server starts with an empty message, so that the client knows it is there.
        socket.send(STDOUT, b"").await?;
        let status = match self.failure.take() {
            Some(why) => internal(&why),
            None if self.attach => {
                while socket.receive().await.is_some() {}
                success()
            }
            None => match self.talk(socket).await? {
                0 => success(),
                code => exit(code),
            },
        };
        socket.send(ERROR, &status).await?;
        socket.close().await
    }

    async fn write(&self, socket: &mut WebSocket, outcome: &Outcome) -> std::io::Result<()> {
        let line_ends = |text: &str| {
            if self.tty {
                text.replace('\n', "\r\n")
            } else {
                text.to_owned()
            }
        };
        if !outcome.stdout.is_empty() {
            socket
                .send(STDOUT, line_ends(&outcome.stdout).as_bytes())
                .await?;
        }
        if !outcome.stderr.is_empty() {
            let channel = if self.tty { STDOUT } else { STDERR };
            socket
                .send(channel, line_ends(&outcome.stderr).as_bytes())
                .await?;
        }
        Ok(())
    }

    /// Runs the command; a shell without a command reads more of them.
    async fn talk(&mut self, socket: &mut WebSocket) -> std::io::Result<i32> {
        if !self.shell.is_interactive(&self.argv) || !self.stdin {
            let reads = self.stdin && self.shell.reads_input(&self.argv);
            let input = if reads {
                read_all(socket).await
            } else {
                String::new()
            };
            let outcome = self.shell.run(&self.argv, &input);
            self.write(socket, &outcome).await?;
            return Ok(outcome.code);
        }
        let prompt = self.shell.prompt();
        if self.tty {
            socket.send(STDOUT, prompt.as_bytes()).await?;
        }
        let mut line = String::new();
        let mut last = 0;
        while let Some(message) = socket.receive().await {
            let Some((channel, data)) = message.split_first() else {
                continue;
            };
            match *channel {
                STDIN => {}
                CLOSE if data.first() == Some(&STDIN) => break,
                _ => continue,
            }
            for c in String::from_utf8_lossy(data).chars() {
                match c {
                    '\r' | '\n' => {
                        if self.tty {
                            socket.send(STDOUT, b"\r\n").await?;
                        }
                        let command = std::mem::take(&mut line);
                        if command.trim() == "exit" || command.trim().starts_with("exit ") {
                            let code = command
                                .trim()
                                .strip_prefix("exit")
                                .unwrap_or_default()
                                .trim();
                            return Ok(code.parse().unwrap_or(last));
                        }
                        let outcome = self.shell.line(&command);
                        last = outcome.code;
                        self.write(socket, &outcome).await?;
                        if self.tty {
                            let prompt = self.shell.prompt();
                            socket.send(STDOUT, prompt.as_bytes()).await?;
                        }
                    }
                    // End of transmission on an empty line ends the shell.
                    '\u{4}' if line.is_empty() => return Ok(last),
                    '\u{3}' => {
                        line.clear();
                        let text = format!("^C\r\n{}", self.shell.prompt());
                        socket.send(STDOUT, text.as_bytes()).await?;
                    }
                    '\u{7f}' | '\u{8}' => {
                        if line.pop().is_some() && self.tty {
                            socket.send(STDOUT, b"\x08 \x08").await?;
                        }
                    }
                    c if c.is_control() || line.len() + c.len_utf8() > LINE => {}
                    c => {
                        line.push(c);
                        if self.tty {
                            let mut buffer = [0_u8; 4];
                            socket
                                .send(STDOUT, c.encode_utf8(&mut buffer).as_bytes())
                                .await?;
                        }
                    }
                }
            }
        }
        if !line.trim().is_empty() {
            let outcome = self.shell.line(&line);
            last = outcome.code;
            self.write(socket, &outcome).await?;
        }
        Ok(last)
    }
}

/// Standard input to its end.
async fn read_all(socket: &mut WebSocket) -> String {
    let mut input = Vec::new();
    while let Some(message) = socket.receive().await {
        match message.split_first() {
            Some((&STDIN, data)) => input.extend_from_slice(data),
            Some((&CLOSE, _)) => break,
            _ => {}
        }
        if input.len() > 1 << 20 {
            break;
        }
    }
    String::from_utf8_lossy(&input).into_owned()
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
