//! exec, attach and port-forward (`pkg/registry/core/pod/rest/subresources.go`). Nothing of a container
//! runs anywhere: commands are answered by a small simulated shell.

use std::sync::Arc;

use http::HeaderValue;

use super::forward::Backend;
use super::pod::{
    bad_request, container, find, is_running, kubelet_address, kubelet_runs, refused,
};
use super::session::Session;
use super::shell::Shell;
use super::stream::Wire;
use super::stream::negotiate::{CHANNELS, FORWARD, TUNNEL, best};
use super::stream::terminal::Terminal;
use super::stream::websocket::accept;
use crate::audit::options::number::quote;
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult, Body};
use crate::node::embedded::apiserver::authz;
use crate::node::embedded::apiserver::kinds::edit::text_at;
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::{self, Status};

/// What the connection becomes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Carrier {
    WebSocket,
    Spdy,
}

/// Headers of an answer.
type Headers = Vec<(http::HeaderName, HeaderValue)>;

/// What happens on it.
enum Work {
    Session(Box<Session>),
    Forward(Backend, Vec<u16>),
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
    let unreachable = || {
        Status::new(
            500,
            "",
            format!("error dialing backend: {}", refused(&address)),
        )
    };
    let carrier = match request.header("upgrade") {
        Some(value) if value.eq_ignore_ascii_case("websocket") => Carrier::WebSocket,
        Some(value) if value.eq_ignore_ascii_case("spdy/3.1") && runs => Carrier::Spdy,
        _ if runs => return Err(bad_request("Upgrade request required")),
        _ => return Err(unreachable()),
    };
    if forward && !runs {
        return Err(unreachable());
    }
    let (headers, protocol) = upgrade_headers(request, carrier, forward)?;
    let flag = |name: &str| matches!(request.param(name), Some("true" | "1"));
    let values = |name: &str| -> Vec<String> {
        request
            .query
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.clone())
            .collect()
    };
    let (argv, stdin, tty) = (values("command"), flag("stdin"), flag("tty"));
    let work = if forward {
        let ports = values("ports")
            .iter()
            .flat_map(|list| list.split(','))
            .map(str::parse)
            .collect();
        let ports: Vec<u16> = match ports {
            Ok(ports) => ports,
            Err(_) => return Err(bad_request("unable to upgrade: a port is not a number")),
        };
        Work::Forward(Backend::new(pod), ports)
    } else {
        let failure = if runs {
            (!is_running(&pod, &container))
                .then(|| format!("container not found (\"{container}\")"))
        } else {
            let query = kubelet_query(&argv, stdin, tty);
            Some(format!(
                "error sending request: Post \"https://{address}/{subresource}/{}/{name}/{container}?{query}\": {}",
                request.info.namespace,
                refused(&address)
            ))
        };
        let mut session = Session {
            state: state.clone(),
            shell: Shell::new(state, &pod, &container),
            pod,
            container,
            argv,
            stdin,
            tty,
            attach: subresource == "attach",
            left: false,
            failure,
        };
        if session.failure.is_none() {
            session.failure = session.missing_program(carrier == Carrier::WebSocket);
        }
        Work::Session(Box::new(session))
    };
    // The streams a client opens: one for errors, and those it asked for.
    let wanted = 1
        + ["stdin", "stdout", "stderr"]
            .iter()
            .filter(|name| flag(name))
            .count()
        + usize::from(tty && protocol != "v2.channel.k8s.io" && protocol != "channel.k8s.io");
    let wanted = if tty && flag("stderr") {
        wanted - 1
    } else {
        wanted
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
        let wire = match carrier {
            Carrier::WebSocket => Wire::messages(upgraded),
            Carrier::Spdy => Wire::bytes(upgraded),
        };
        let streams = carrier == Carrier::Spdy || protocol == TUNNEL;
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = async {
                match work {
                    Work::Forward(backend, _) if streams => backend.streams(wire).await,
                    Work::Forward(backend, ports) => backend.channels(wire, &ports).await,
                    Work::Session(session) => {
                        let terminal = if streams {
                            Terminal::streams(wire, wanted).await
                        } else {
                            Some(Terminal::messages(wire).await)
                        };
                        if let Some(terminal) = terminal {
                            session.run(terminal).await;
                        }
                    }
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

/// The headers of the answer, and the protocol that both speak.
fn upgrade_headers(
    request: &ApiRequest,
    carrier: Carrier,
    forward: bool,
) -> Result<(Headers, &'static str), Status> {
    let refuse = || bad_request("unable to upgrade: no supported protocol was offered");
    let mut headers = vec![(
        http::header::CONNECTION,
        HeaderValue::from_static("Upgrade"),
    )];
    let protocol = match carrier {
        Carrier::WebSocket => {
            let offered = request.header("sec-websocket-protocol").unwrap_or_default();
            let protocol = if forward {
                best(&[TUNNEL], offered).or_else(|| best(&CHANNELS, offered))
            } else {
                best(&CHANNELS, offered)
            };
            let (Some(protocol), Some(key)) = (protocol, request.header("sec-websocket-key"))
            else {
                return Err(refuse());
            };
            headers.push((http::header::UPGRADE, HeaderValue::from_static("websocket")));
            let key = HeaderValue::from_str(&accept(key))
                .map_err(|_| bad_request("unable to upgrade: bad header"))?;
            headers.push((http::header::SEC_WEBSOCKET_ACCEPT, key));
            headers.push((
                http::header::SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(protocol),
            ));
            protocol
        }
        Carrier::Spdy => {
            const VERSION: &str = "x-stream-protocol-version";
            let offered: Vec<&str> = request
                .headers
                .get_all(VERSION)
                .iter()
                .filter_map(|value| value.to_str().ok())
                .collect();
            let offered = offered.join(",");
            let protocol = if forward {
                best(&[FORWARD], &offered)
            } else {
                best(&CHANNELS, &offered)
            };
            let protocol = protocol.ok_or_else(refuse)?;
            headers.push((http::header::UPGRADE, HeaderValue::from_static("SPDY/3.1")));
            headers.push((
                http::HeaderName::from_static(VERSION),
                HeaderValue::from_static(protocol),
            ));
            protocol
        }
    };
    Ok((headers, protocol))
}

/// The query with which the server asks a kubelet.
fn kubelet_query(argv: &[String], stdin: bool, tty: bool) -> String {
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
    query.join("&")
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
