//! Makes probes: asks the programs of the node (`pkg/probe`), by what they listen on.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::journal::go_duration;
use super::probe::{ProbeAnswer, ProbeKind};
use super::state::Kubelet;
use crate::manifest::{Probe, ProbeAction};
use crate::node::embedded::apiserver::api::ApiResponse;
use crate::node::embedded::machine::{LocalRequest, Machine};
use crate::node::embedded::runtime::image::{self, Image};
use crate::node::embedded::runtime::stand_in;
use crate::node::embedded::snapshot::{ContainerSnapshot, ContainerState, base_name};
use crate::node::embedded::sockets;

/// A port that a program of the node listens on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// The address it listens on; `*` for every one.
    pub address: String,
    /// The port.
    pub port: u16,
    /// The name of the program.
    pub program: String,
}

/// Ports of programs, with whether they speak TLS there.
const TLS: [&str; 3] = [
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

impl Kubelet {
    /// Ports that programs of the node listen on, by their command lines, once they are up.
    #[must_use]
    pub fn listening(&self) -> Vec<Listener> {
        let own = [("*", 10250), ("127.0.0.1", 10248)];
        let own = own.map(|(address, port)| Listener {
            address: address.to_owned(),
            port,
            program: "kubelet".to_owned(),
        });
        let containers = self.records.iter().map(|record| &record.view);
        let running = containers
            .filter(|view| view.state == ContainerState::Running && !view.own_network)
            .flat_map(|view| {
                let program = base_name(view.argv.first().map_or("", String::as_str));
                let sockets = sockets::of_command_line(&view.argv).into_iter();
                sockets.map(move |(address, port)| Listener {
                    address,
                    port,
                    program: program.to_owned(),
                })
            });
        running.chain(own).collect()
    }
}

/// How often a probe that cannot be made is tried (`maxProbeRetries` of `pkg/kubelet/prober/prober.go`).
const TRIES: usize = 3;

impl Kubelet {
    /// The runtime's client says what it could not run (`cri-client` `pkg/remote_runtime.go`).
    pub(super) fn exec_failed(&mut self, id: &str, kind: ProbeKind, error: &str) {
        let record = self.records.iter().find(|record| record.view.id == id);
        let Some(command) = record.and_then(|record| record.probes.command(kind)) else {
            return;
        };
        let command = serde_json::to_string(command).unwrap_or_default();
        for _ in 0..TRIES {
            self.journal.error(
                "remote_runtime.go:636",
                "ExecSync cmd from runtime service failed",
                &[
                    ("err", error),
                    ("containerID", id),
                    ("cmd", &format!("\0{command}")),
                ],
            );
        }
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
    let timeout = Duration::from_secs(probe.timeout.max(1));
    match &probe.action {
        ProbeAction::Exec(command) => exec(view, command),
        ProbeAction::Grpc(_) if !is_known(view) => ProbeAnswer::Success,
        // Nothing in these images speaks gRPC without TLS: the client tries until its time is over.
        ProbeAction::Grpc(port) => {
            tokio::time::sleep(machine.pace.scale(timeout)).await;
            ProbeAnswer::Failure(format!(
                "timeout: failed to connect service \"{}:{port}\" within {}: context deadline exceeded",
                machine.node_ip,
                go_duration(timeout)
            ))
        }
        ProbeAction::Tcp { host, port } => {
            let port = match number(port) {
                Err(answer) => return answer,
                Ok(port) => port,
            };
            match connect(machine, view, &address(host), port, listening) {
                Ok(_) => ProbeAnswer::Success,
                Err(problem) => ProbeAnswer::Failure(problem),
            }
        }
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
            let scheme = scheme.to_lowercase();
            let url = format!("{scheme}://{host}:{port}{path}");
            let failed = |problem: &str| ProbeAnswer::Failure(format!("Get {url:?}: {problem}"));
            let listener = match connect(machine, view, &host, port, listening) {
                Err(problem) => return failed(&problem),
                Ok(None) => return ProbeAnswer::Success,
                Ok(Some(listener)) => listener,
            };
            let code = if listener.program == "kube-apiserver" && scheme == "https" {
                match tokio::time::timeout(timeout, ask(machine, view, path)).await {
                    Err(_) => {
                        return failed(
                            "context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
                        );
                    }
                    Ok(None) => return failed(&refused(&host, port)),
                    Ok(Some(code)) => code,
                }
            } else {
                match status(listener, path, &scheme) {
                    Err(problem) => return failed(problem),
                    Ok(code) => code,
                }
            };
            if (200..400).contains(&code) {
                ProbeAnswer::Success
            } else {
                ProbeAnswer::Failure(format!("HTTP probe failed with statuscode: {code}"))
            }
        }
    }
}

/// Whether the node knows what the container's program listens on.
fn is_known(view: &ContainerSnapshot) -> bool {
    matches!(image::find(&view.image), Image::Program(_))
}

/// Connects to a port of the node: who listens there. `None` where nobody knows, which is as good as somebody.
///
/// # Errors
/// In the words of Go's `net`.
fn connect<'a>(
    machine: &Machine,
    view: &ContainerSnapshot,
    host: &str,
    port: u16,
    listening: &'a [Listener],
) -> Result<Option<&'a Listener>, String> {
    // A manifest of another node advertises that node's address, which is taken for this one's.
    let advertised = format!("--advertise-address={host}");
    let own = view.argv.contains(&advertised);
    let target = if own { &machine.node_ip } else { host };
    let ours = target == machine.node_ip || host == "localhost" || host.starts_with("127.");
    if !ours {
        return Err(match host.parse::<std::net::IpAddr>() {
            Ok(_) => format!("dial tcp {host}:{port}: i/o timeout"),
            Err(_) => format!("dial tcp: lookup {host}: no such host"),
        });
    }
    let hears = |l: &&Listener| l.port == port && sockets::hears(&l.address, target);
    match listening.iter().find(hears) {
        Some(listener) => Ok(Some(listener)),
        None if is_known(view) => Err(refused(host, port)),
        None => Ok(None),
    }
}

/// The status code with which a program answers an anonymous GET.
///
/// # Errors
/// In the words of Go's HTTP client, where there is no HTTP at all.
fn status(listener: &Listener, path: &str, scheme: &str) -> Result<u16, &'static str> {
    let program = listener.program.as_str();
    let path = path.split('?').next().unwrap_or(path);
    let tls = TLS.contains(&program)
        || program == "kubelet" && listener.port == 10250
        || program == "etcd" && listener.port != 2381;
    match (tls, scheme) {
        (false, "https") => return Err("http: server gave HTTP response to HTTPS client"),
        (true, "http") if program == "etcd" => return Err("EOF"),
        (true, "http") => return Ok(400),
        _ => {}
    }
    Ok(match program {
        "etcd" if tls => return Err("remote error: tls: certificate required"),
        "etcd" if ["/health", "/livez", "/readyz", "/metrics"].contains(&path) => 200,
        "kubelet" if tls => 401,
        "kubelet" | "kube-proxy" if path == "/healthz" => 200,
        "kube-proxy" if ["/livez", "/metrics"].contains(&path) => 200,
        // `--authorization-always-allow-paths`.
        "kube-controller-manager" | "kube-scheduler" => {
            if ["/healthz", "/livez", "/readyz"].contains(&path) {
                200
            } else {
                403
            }
        }
        _ => 404,
    })
}

/// The images of Kubernetes have no shell and no tools, only their own program.
pub(super) fn cannot_exec(image: &str, command: &[String], id: &str) -> Option<String> {
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
        "rpc error: code = Unknown desc = failed to exec in container: failed to start exec \"{id}\": OCI runtime exec failed: exec failed: unable to start container process: {problem}"
    ))
}

/// The id of a command that somebody runs in a container now.
pub(super) fn exec_id(container: &str) -> String {
    let now = jiff::Timestamp::now().as_nanosecond();
    let digest = Sha256::digest(format!("{container} {now}"));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A command in a container that can have one. One that ends by itself tells how.
fn exec(view: &ContainerSnapshot, command: &[String]) -> ProbeAnswer {
    if let Some(error) = cannot_exec(&view.image, command, &exec_id(&view.id)) {
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
