//! Makes probes: asks the programs of the node (`pkg/probe`), by what they listen on.

use std::time::Duration;

use super::probe::ProbeAnswer;
use super::state::Kubelet;
use crate::manifest::{Probe, ProbeAction};
use crate::node::embedded::apiserver::api::ApiResponse;
use crate::node::embedded::machine::{LocalRequest, Machine};
use crate::node::embedded::runtime::image::{self, Image};
use crate::node::embedded::runtime::stand_in;
use crate::node::embedded::snapshot::{ContainerSnapshot, base_name};

/// A port of the node and the program that listens on it.
pub type Listener = (u16, &'static str);

impl Kubelet {
    /// Ports that programs of the node listen on, by their command lines.
    #[must_use]
    pub fn listening(&self) -> Vec<Listener> {
        let mut ports = Vec::new();
        for (program, flag, default) in [
            ("kube-apiserver", "--secure-port", 6443),
            ("kube-controller-manager", "--secure-port", 10257),
            ("kube-scheduler", "--secure-port", 10259),
            ("etcd", "--listen-metrics-urls", 2379),
        ] {
            let Some(view) = self.running(program) else {
                continue;
            };
            let value = view.argv.iter().rev().find_map(|arg| {
                let (name, value) = arg.split_once('=')?;
                (name == flag).then(|| value.rsplit(':').next().unwrap_or(value))
            });
            let port = value.and_then(|v| v.parse().ok()).unwrap_or(default);
            ports.push((port, program));
        }
        ports
    }
}

/// Makes a probe of a container.
pub async fn answer(
    machine: &Machine,
    view: &ContainerSnapshot,
    probe: &Probe,
    listening: &[Listener],
) -> ProbeAnswer {
    let number = |port: &str| -> Result<u16, ProbeAnswer> {
        if let Ok(port) = port.parse() {
            return Ok(port);
        }
        let named = view.named_port(port);
        named.ok_or_else(|| {
            ProbeAnswer::Error(format!("strconv.Atoi: parsing {port:?}: invalid syntax"))
        })
    };
    let address = |host: &str| {
        if host.is_empty() {
            machine.node_ip.clone()
        } else {
            host.to_owned()
        }
    };
    match &probe.action {
        ProbeAction::Exec(command) => exec(view, command),
        ProbeAction::Grpc(port) if view.image.contains("kube-") || view.image.contains("etcd") => {
            ProbeAnswer::Failure(format!(
                "timeout: failed to connect service \"{}:{port}\" within {}s: context deadline exceeded",
                machine.node_ip,
                probe.timeout.max(1)
            ))
        }
        ProbeAction::Grpc(_) => ProbeAnswer::Success,
        ProbeAction::Tcp { host, port } => match number(port) {
            Err(answer) => answer,
            Ok(port) if listening.iter().any(|(p, _)| *p == port) => ProbeAnswer::Success,
            Ok(port) => ProbeAnswer::Failure(refused(&address(host), port)),
        },
        ProbeAction::Http {
            host,
            port,
            path,
            scheme,
        } => {
            let port = match number(port) {
                Err(answer) => return answer,
                Ok(port) => port,
            };
            let host = address(host);
            let url = format!("{}://{host}:{port}{path}", scheme.to_lowercase());
            let refused = || ProbeAnswer::Failure(format!("Get {url:?}: {}", refused(&host, port)));
            match listening.iter().find(|(p, _)| *p == port) {
                None if base_name(view.argv.first().map_or("", String::as_str))
                    .starts_with("kube-") =>
                {
                    refused()
                }
                // A program the node only pretends to run is well.
                None if listening.iter().all(|(_, name)| !view.image.contains(name)) => {
                    ProbeAnswer::Success
                }
                None => refused(),
                Some((_, "kube-apiserver")) => {
                    if scheme == "HTTP" {
                        return ProbeAnswer::Failure(
                            "HTTP probe failed with statuscode: 400".into(),
                        );
                    }
                    let timeout = Duration::from_secs(probe.timeout.max(1));
                    let request = ask(machine, view, path);
                    match tokio::time::timeout(timeout, request).await {
                        Err(_) => ProbeAnswer::Failure(format!(
                            "Get {url:?}: context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
                        )),
                        Ok(None) => refused(),
                        Ok(Some(code)) if (200..400).contains(&code) => ProbeAnswer::Success,
                        Ok(Some(code)) => ProbeAnswer::Failure(format!(
                            "HTTP probe failed with statuscode: {code}"
                        )),
                    }
                }
                Some(_) => ProbeAnswer::Success,
            }
        }
    }
}

/// The images of Kubernetes have no shell and no tools, only their own program.
pub(super) fn cannot_exec(image: &str, command: &[String]) -> Option<String> {
    if !matches!(image::find(image), Image::Program(_)) {
        return None;
    }
    let first = command.first().map_or("", String::as_str);
    let problem = if first.contains('/') {
        format!("exec: {first:?}: stat {first}: no such file or directory")
    } else {
        format!("exec: {first:?}: executable file not found in $PATH")
    };
    Some(format!(
        "rpc error: code = Unknown desc = failed to exec in container: failed to start exec: OCI runtime exec failed: exec failed: unable to start container process: {problem}"
    ))
}

/// A command in a container that can have one. One that ends by itself tells how.
fn exec(view: &ContainerSnapshot, command: &[String]) -> ProbeAnswer {
    if let Some(error) = cannot_exec(&view.image, command) {
        return ProbeAnswer::Error(error);
    }
    match stand_in::ending("", command) {
        Some(ending) if ending.code != 0 => ProbeAnswer::Failure(ending.lines.join("\n")),
        _ => ProbeAnswer::Success,
    }
}

fn refused(host: &str, port: u16) -> String {
    format!("dial tcp {host}:{port}: connect: connection refused")
}

/// An anonymous GET at the API server; its status code, `None` when it does not serve.
async fn ask(machine: &Machine, view: &ContainerSnapshot, path: &str) -> Option<u16> {
    let api = machine.api.borrow().clone()?;
    if view.argv.iter().any(|arg| arg == "--anonymous-auth=false") {
        return Some(401);
    }
    let user = crate::node::embedded::apiserver::request::UserInfo {
        username: "system:anonymous".into(),
        groups: vec!["system:unauthenticated".into()],
        ..Default::default()
    };
    let response: ApiResponse = api
        .call(LocalRequest {
            user,
            user_agent: "kube-probe/1.36".into(),
            source_ip: machine.node_ip.clone(),
            method: http::Method::GET,
            path_and_query: path.to_owned(),
            content_type: String::new(),
            body: None,
        })
        .await;
    Some(response.code)
}
