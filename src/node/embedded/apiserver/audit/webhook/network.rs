//! What the API server reaches from a node that has no network but itself: its loopback addresses,
//! and its own address, which are the loopback of the machine that runs the lab. Errors are those of
//! Go's `net` package.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpStream;

use crate::node::embedded::confine::Confined;
use crate::node::embedded::machine::Machine;
use crate::node::embedded::process::go_error_text;
use crate::node::embedded::sinks;

/// Largest `/etc/hosts` and `/etc/resolv.conf`.
const FILE_LIMIT: u64 = 1 << 16;
/// The port of the API server on the node.
const API_PORT: u16 = 6443;

/// The network as a program in the node's network namespace sees it.
#[derive(Clone)]
pub struct Network {
    machine: Arc<Machine>,
}

impl Network {
    /// The network of this machine.
    #[must_use]
    pub fn new(machine: Arc<Machine>) -> Self {
        Self { machine }
    }

    /// Connects to a host, by name or address.
    ///
    /// # Errors
    /// Go's text, `dial tcp …`.
    pub async fn dial(&self, host: &str, port: u16) -> Result<TcpStream, String> {
        let addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![address],
            Err(_) => self
                .resolve(host)
                .map_err(|reason| format!("dial tcp: {reason}"))?,
        };
        let mut first = None;
        for address in addresses {
            let reached = match self.route(address, port) {
                Ok(real) => TcpStream::connect(real).await.map_err(|error| {
                    // What the machine lacks (IPv6, say) the node has, and nobody listens there.
                    if error.kind() == io::ErrorKind::AddrNotAvailable {
                        "connection refused".to_owned()
                    } else {
                        go_error_text(&error)
                    }
                }),
                Err(reason) => Err(reason.to_owned()),
            };
            match reached {
                Ok(stream) => return Ok(stream),
                Err(reason) => {
                    let at = SocketAddr::new(address, port);
                    first.get_or_insert(format!("dial tcp {at}: connect: {reason}"));
                }
            }
        }
        Err(first.unwrap_or_else(|| format!("dial tcp: lookup {host}: no such host")))
    }

    /// Where an address of the node really is, or why it cannot be reached.
    fn route(&self, address: IpAddr, port: u16) -> Result<SocketAddr, &'static str> {
        let own = self.machine.node_ip.parse::<IpAddr>().ok();
        let address = address.to_canonical();
        if address.is_loopback() || address.is_unspecified() || Some(address) == own {
            if port == API_PORT && self.machine.api_port != 0 {
                return Ok((Ipv4Addr::LOCALHOST, self.machine.api_port).into());
            }
            let real = if address.is_loopback() {
                address
            } else {
                Ipv4Addr::LOCALHOST.into()
            };
            // A sink of the node listens on its 127.0.0.1 alone.
            let sink = (address == IpAddr::V4(Ipv4Addr::LOCALHOST))
                .then(|| sinks::real_port(&self.machine.state_dir, port))
                .flatten();
            return Ok((real, sink.unwrap_or(port)).into());
        }
        if self.is_service(address) {
            // Nothing in a pod of this node listens.
            return Err("connection refused");
        }
        match (own, address) {
            // A neighbour who does not answer.
            (Some(IpAddr::V4(own)), IpAddr::V4(other))
                if own.octets().get(..3) == other.octets().get(..3) =>
            {
                Err("no route to host")
            }
            _ => Err("network is unreachable"),
        }
    }

    fn is_service(&self, address: IpAddr) -> bool {
        let address = address.to_string();
        let (services, _) = self.machine.store.list("/registry/core/services/");
        services.iter().any(|service| {
            service
                .value
                .pointer("/spec/clusterIP")
                .and_then(serde_json::Value::as_str)
                == Some(&address)
        })
    }

    /// Addresses of a name: `/etc/hosts`, and a name server that knows no other.
    fn resolve(&self, host: &str) -> Result<Vec<IpAddr>, String> {
        let node = Confined::new(&self.machine.node_root);
        let file = |path: &str| node.read_to_string(path, FILE_LIMIT).unwrap_or_default();
        let mut addresses: Vec<IpAddr> = file("/etc/hosts")
            .lines()
            .filter_map(|line| {
                let mut words = line.split('#').next()?.split_whitespace();
                let address = words.next()?.parse().ok()?;
                words
                    .any(|name| name.eq_ignore_ascii_case(host.trim_end_matches('.')))
                    .then_some(address)
            })
            .collect();
        if addresses.is_empty() && host.eq_ignore_ascii_case("localhost") {
            addresses.push(Ipv4Addr::LOCALHOST.into());
        }
        if !addresses.is_empty() {
            return Ok(addresses);
        }
        let resolv = file("/etc/resolv.conf");
        let server = resolv
            .lines()
            .filter_map(|line| line.trim().strip_prefix("nameserver"))
            .find_map(|rest| rest.split_whitespace().next())
            .and_then(|server| server.parse::<IpAddr>().ok())
            .unwrap_or(Ipv4Addr::new(127, 0, 0, 53).into());
        let at = SocketAddr::new(server, 53);
        Err(format!("lookup {host} on {at}: no such host"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::embedded::pace::Pace;
    use crate::node::embedded::store::{Op, Store};

    fn network(root: &std::path::Path) -> Network {
        Network::new(Arc::new(Machine {
            pace: Pace::Fast,
            node_name: "controlplane".to_owned(),
            node_ip: "192.168.49.2".to_owned(),
            api_port: 0,
            node_root: root.to_path_buf(),
            state_dir: root.to_path_buf(),
            store: Store::in_memory(),
            etcd_up: tokio::sync::watch::Sender::new(true),
            snapshots: tokio::sync::watch::Sender::new(0),
            api: tokio::sync::watch::Sender::new(None),
            containers: crate::node::embedded::containers::Containers::default(),
            sockets: crate::node::embedded::sockets::Sockets::default(),
        }))
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_node_reaches_itself_and_nobody_else() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc")).unwrap();
        std::fs::write(
            root.path().join("etc/hosts"),
            "192.168.49.2 controlplane\n127.0.0.1 localhost\n",
        )
        .unwrap();
        std::fs::write(
            root.path().join("etc/resolv.conf"),
            "nameserver 192.168.49.1\n",
        )
        .unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let network = network(root.path());
        for host in ["127.0.0.1", "localhost", "192.168.49.2", "controlplane"] {
            network.dial(host, port).await.unwrap();
        }
        let service = serde_json::json!({"spec": {"clusterIP": "10.96.7.8"}});
        let put = Op::Put {
            key: "/registry/core/services/default/audit".to_owned(),
            value: Arc::new(service),
        };
        tokio::task::block_in_place(|| network.machine.store.commit_blocking(vec![put])).unwrap();
        for (host, text) in [
            (
                "audit.default.svc",
                "dial tcp: lookup audit.default.svc on 192.168.49.1:53: no such host",
            ),
            (
                "10.96.7.8",
                "dial tcp 10.96.7.8:9443: connect: connection refused",
            ),
            (
                "203.0.113.9",
                "dial tcp 203.0.113.9:9443: connect: network is unreachable",
            ),
            (
                "192.168.49.77",
                "dial tcp 192.168.49.77:9443: connect: no route to host",
            ),
            (
                "2001:db8::1",
                "dial tcp [2001:db8::1]:9443: connect: network is unreachable",
            ),
        ] {
            assert_eq!(network.dial(host, 9443).await.unwrap_err(), text);
        }
    }
}
