//! Port-forward: what listens in a pod (`pkg/kubelet/server/portforward`). Simulated web servers answer; nobody
//! else listens.

use std::collections::HashMap;

use serde_json::Value;
use tokio::sync::mpsc;

use super::log::container_id;
use super::stream::Wire;
use super::stream::spdy::{self, Event};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};

/// Longest request a simulated server reads.
const REQUEST: usize = 64 << 10;
/// Most connections of one client that wait for something.
const CONNECTIONS: usize = 128;

/// What a client reaches in a pod.
pub(super) struct Backend {
    pod: std::sync::Arc<Value>,
}

/// A connection to a port.
enum Port {
    /// A web server, and what it has of the request so far.
    Web(&'static Site, Vec<u8>),
    /// Nobody listens: what the runtime says.
    Closed(String),
}

/// What a web server of an image shows.
struct Site {
    server: &'static str,
    page: &'static str,
}

const NGINX: Site = Site {
    server: "nginx/1.29.0",
    page: "<!DOCTYPE html>\n<html>\n<head>\n<title>Welcome to nginx!</title>\n</head>\n<body>\n<h1>Welcome to nginx!</h1>\n</body>\n</html>\n",
};
const APACHE: Site = Site {
    server: "Apache/2.4.63 (Unix)",
    page: "<html><body><h1>It works!</h1></body></html>\n",
};

/// What a server answers, and whether it hangs up then.
struct Answer {
    bytes: Vec<u8>,
    hangs_up: bool,
}

impl Backend {
    /// The pod that is forwarded to.
    pub(super) fn new(pod: std::sync::Arc<Value>) -> Self {
        Self { pod }
    }

    /// Connects to a port of the pod.
    fn connect(&self, port: u16) -> Port {
        let site = items(&self.pod, "/spec/containers")
            .iter()
            .filter(|container| super::pod::is_running(&self.pod, text_at(container, "/name")))
            .find_map(|container| {
                let image = text_at(container, "/image");
                let site = if image.contains("nginx") {
                    &NGINX
                } else if image.contains("httpd") {
                    &APACHE
                } else {
                    return None;
                };
                let declared = items(container, "/ports")
                    .iter()
                    .any(|own| own.get("containerPort") == Some(&port.into()));
                (port == 80 || declared).then_some(site)
            });
        site.map_or_else(
            || Port::Closed(self.refusal(port)),
            |site| Port::Web(site, Vec::new()),
        )
    }

    /// What containerd says of a port that nobody listens on (`internal/cri/server/sandbox_portforward_linux.go`).
    fn refusal(&self, port: u16) -> String {
        let uid = text_at(&self.pod, "/metadata/uid");
        let first = items(&self.pod, "/spec/containers")
            .first()
            .map_or("", |container| text_at(container, "/name"));
        let id = container_id(&self.pod, first)
            .unwrap_or_default()
            .trim_start_matches("containerd://");
        format!(
            "error forwarding port {port} to pod {id}, uid : failed to execute portforward in network namespace \"/var/run/netns/cni-{uid}\": failed to connect to localhost:{port} inside namespace \"{id}\", IPv4: dial tcp4 127.0.0.1:{port}: connect: connection refused IPv6 dial tcp6 [::1]:{port}: connect: connection refused "
        )
    }

    /// Over SPDY: for each connection a stream of errors and one of data.
    pub(super) async fn streams(&self, wire: Wire) {
        let (mut reader, sender) = spdy::start(wire);
        let mut is_first = true;
        let mut errors: HashMap<String, u32> = HashMap::new();
        let mut open: HashMap<u32, (Port, u32)> = HashMap::new();
        while let Some(event) = reader.next().await {
            match event {
                Event::Open(stream, headers) => {
                    sender.accept(stream, std::mem::take(&mut is_first)).await;
                    let header = |wanted: &str| {
                        headers
                            .iter()
                            .find(|(name, _)| name.eq_ignore_ascii_case(wanted))
                            .map_or("", |(_, value)| value.as_str())
                    };
                    let request = header("requestid").to_owned();
                    if header("streamtype") == "error" {
                        if errors.len() >= CONNECTIONS {
                            return;
                        }
                        errors.insert(request, stream);
                        continue;
                    }
                    let Some(error) = errors.remove(&request) else {
                        return;
                    };
                    match self.connect(header("port").parse().unwrap_or_default()) {
                        Port::Closed(why) => {
                            sender.data(error, why.as_bytes(), true).await;
                            sender.data(stream, b"", true).await;
                            sender.reset(stream).await;
                        }
                        port @ Port::Web(..) => {
                            open.insert(stream, (port, error));
                        }
                    }
                }
                Event::Data(stream, data) => {
                    let Some((port, error)) = open.get_mut(&stream) else {
                        continue;
                    };
                    let answer = port.take(&data);
                    if !answer.bytes.is_empty() || answer.hangs_up {
                        sender.data(stream, &answer.bytes, answer.hangs_up).await;
                    }
                    if answer.hangs_up {
                        sender.data(*error, b"", true).await;
                        open.remove(&stream);
                    }
                }
                Event::End(stream) => {
                    if let Some((_, error)) = open.remove(&stream) {
                        sender.data(stream, b"", true).await;
                        sender.data(error, b"", true).await;
                    }
                }
            }
        }
    }

    /// Over WebSocket messages: for each port of the query a channel of data and one of errors.
    pub(super) async fn channels(&self, wire: Wire, ports: &[u16]) {
        let Wire {
            mut incoming,
            outgoing,
        } = wire;
        let mut open: Vec<Port> = Vec::new();
        for (index, port) in ports.iter().enumerate() {
            let number = u8::try_from(index * 2).unwrap_or(u8::MAX);
            let [low, high] = port.to_le_bytes();
            for channel in [number, number.saturating_add(1)] {
                send(&outgoing, channel, &[low, high]).await;
            }
            let connection = self.connect(*port);
            if let Port::Closed(why) = &connection {
                send(&outgoing, number.saturating_add(1), why.as_bytes()).await;
            }
            open.push(connection);
        }
        while let Some(message) = incoming.recv().await {
            let Some((channel, data)) = message.split_first() else {
                continue;
            };
            let Some(port) = open.get_mut(usize::from(*channel / 2)) else {
                return;
            };
            if channel % 2 == 1 {
                continue;
            }
            let answer = port.take(data);
            if !answer.bytes.is_empty() {
                send(&outgoing, *channel, &answer.bytes).await;
            }
            if answer.hangs_up && ports.len() == 1 {
                return;
            }
        }
    }
}

async fn send(outgoing: &mpsc::Sender<Vec<u8>>, channel: u8, data: &[u8]) {
    let _ = outgoing.send([&[channel], data].concat()).await;
}

impl Port {
    /// Takes bytes of the client.
    fn take(&mut self, data: &[u8]) -> Answer {
        let silent = |hangs_up| Answer {
            bytes: Vec::new(),
            hangs_up,
        };
        let Self::Web(site, request) = self else {
            return silent(true);
        };
        request.extend_from_slice(data);
        let end = request.windows(4).position(|four| four == b"\r\n\r\n");
        let Some(end) = end else {
            return silent(request.len() > REQUEST);
        };
        let head = String::from_utf8_lossy(request.get(..end).unwrap_or_default()).into_owned();
        request.clear();
        site.answer(&head)
    }
}

impl Site {
    fn answer(&self, head: &str) -> Answer {
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (method, path) = (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        );
        let old = words.next() == Some("HTTP/1.0");
        let hangs_up = old
            || lines.any(|line| line.to_ascii_lowercase().replace(' ', "") == "connection:close");
        let path = path.split('?').next().unwrap_or_default();
        let (status, page) = if matches!(path, "/" | "/index.html") {
            ("200 OK", self.page.to_owned())
        } else {
            let title = "404 Not Found";
            (
                title,
                format!(
                    "<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1></center>\r\n<hr><center>{}</center>\r\n</body>\r\n</html>\r\n",
                    self.server
                ),
            )
        };
        let mut text = format!(
            "HTTP/1.1 {status}\r\nServer: {}\r\nDate: {}\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: {}\r\n\r\n",
            self.server,
            jiff::Timestamp::now().strftime("%a, %d %b %Y %H:%M:%S GMT"),
            page.len(),
            if hangs_up { "close" } else { "keep-alive" },
        );
        if method != "HEAD" {
            text.push_str(&page);
        }
        Answer {
            bytes: text.into_bytes(),
            hangs_up,
        }
    }
}
