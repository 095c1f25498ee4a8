//! The sockets that programs listen on, as `ss` shows them. A program that takes a while to come up or to end
//! says itself whether it listens.

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::snapshot::base_name;

/// A socket that a process listens on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Socket {
    /// Its address; `*` where it is every one.
    pub address: String,
    /// Its port.
    pub port: u16,
    /// Id of the process on the node.
    pub pid: u32,
}

/// The listening sockets of a node.
#[derive(Debug, Clone, Default)]
pub struct Sockets {
    open: watch::Sender<Vec<Socket>>,
}

impl Sockets {
    /// Opens a socket; it is closed when what this gives is dropped.
    #[must_use]
    pub fn listen(&self, socket: Socket) -> Listening {
        self.open.send_modify(|open| open.push(socket.clone()));
        Listening {
            sockets: self.clone(),
            socket,
        }
    }

    /// All that are open.
    #[must_use]
    pub fn open(&self) -> Vec<Socket> {
        self.open.borrow().clone()
    }

    /// Hears of sockets that are opened and closed from now on.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<Vec<Socket>> {
        self.open.subscribe()
    }
}

/// A socket that is open.
#[derive(Debug)]
pub struct Listening {
    sockets: Sockets,
    socket: Socket,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.sockets.open.send_modify(|open| {
            if let Some(at) = open.iter().position(|socket| *socket == self.socket) {
                open.remove(at);
            }
        });
    }
}

/// What a program of the node listens on, once it does, by its command line: addresses and ports.
#[must_use]
pub fn of_command_line(argv: &[String]) -> Vec<(String, u16)> {
    let flag = |name: &str| {
        argv.iter().rev().find_map(|word| {
            let (flag, value) = word.split_once('=')?;
            (flag == name).then_some(value)
        })
    };
    let secure = |default: u16| {
        let port = flag("--secure-port").map_or(Ok(default), str::parse);
        let address = flag("--bind-address").unwrap_or("0.0.0.0");
        port.ok()
            .filter(|port| *port > 0)
            .map(|port| (any(address), port))
    };
    match base_name(argv.first().map_or("", String::as_str)) {
        "kube-apiserver" => secure(6443).into_iter().collect(),
        "kube-controller-manager" => secure(10257).into_iter().collect(),
        "kube-scheduler" => secure(10259).into_iter().collect(),
        // Its metrics, and its health.
        "kube-proxy" => vec![("127.0.0.1".to_owned(), 10249), ("*".to_owned(), 10256)],
        "etcd" => {
            let urls = |name: &str, default: &'static str| flag(name).unwrap_or(default).to_owned();
            let lists = [
                urls("--listen-client-urls", "http://localhost:2379"),
                urls("--listen-peer-urls", "http://localhost:2380"),
                urls("--listen-metrics-urls", ""),
            ];
            let urls = lists.iter().flat_map(|list| list.split(','));
            urls.filter_map(|url| {
                let (host, port) = url.split_once("://")?.1.rsplit_once(':')?;
                let host = if host == "localhost" {
                    "127.0.0.1"
                } else {
                    host
                };
                Some((any(host), port.trim_end_matches('/').parse().ok()?))
            })
            .collect()
        }
        _ => Vec::new(),
    }
}

/// Go listens on both families where an address is unspecified.
fn any(address: &str) -> String {
    match address {
        "0.0.0.0" | "::" | "[::]" | "" => "*".to_owned(),
        address => address.to_owned(),
    }
}

/// Whether who listens on `address` hears a client that connects to `host`.
#[must_use]
pub fn hears(address: &str, host: &str) -> bool {
    let host = if host == "localhost" {
        "127.0.0.1"
    } else {
        host
    };
    address == "*" || address == host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_there_as_long_as_it_is_held() {
        let sockets = Sockets::default();
        let mut heard = sockets.subscribe();
        let socket = |port| Socket {
            address: "*".into(),
            port,
            pid: 7,
        };
        let held = sockets.listen(socket(1));
        let other = sockets.listen(socket(2));
        assert!(heard.has_changed().unwrap());
        heard.mark_unchanged();
        drop(held);
        assert!(heard.has_changed().unwrap());
        assert_eq!(sockets.open(), [socket(2)]);
        drop(other);
        assert_eq!(sockets.open(), []);
    }

    #[test]
    fn command_lines_say_what_programs_listen_on() {
        for (line, expected) in [
            ("kube-scheduler --bind-address=127.0.0.1", "127.0.0.1:10259"),
            ("/usr/local/bin/kube-controller-manager", "*:10257"),
            ("kube-scheduler --secure-port=0", ""),
            (
                "kube-apiserver --secure-port=6443 --secure-port=7443",
                "*:7443",
            ),
            (
                "etcd --listen-client-urls=https://127.0.0.1:2379,https://10.0.0.1:2379 --listen-metrics-urls=http://0.0.0.0:2381",
                "127.0.0.1:2379 10.0.0.1:2379 127.0.0.1:2380 *:2381",
            ),
            ("nginx --secure-port=1", ""),
        ] {
            let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
            let found: Vec<String> = of_command_line(&argv)
                .into_iter()
                .map(|(address, port)| format!("{address}:{port}"))
                .collect();
            assert_eq!(found.join(" "), expected, "{line}");
        }
    }
}
