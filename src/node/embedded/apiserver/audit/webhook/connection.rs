//! A connection to the webhook: plain or TLS, HTTP/1.1 or HTTP/2, direct or through a proxy.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::PoisonError;
use std::task::{Context, Poll};

use base64::Engine;
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::kubeconfig::WebhookConfig;
use super::network::Network;
use super::target::Target;
use super::tls::{self, FirstBytes, Session};
use crate::audit::options::number::quote;
use crate::node::embedded::process::go_error_text;

/// How many of the first bytes are kept.
const KEPT: usize = 256;
/// Largest answer of a proxy to CONNECT.
const PROXY_ANSWER: usize = 8192;

/// Why there is no answer.
pub(super) enum Failure {
    /// The connection was closed before anything was sent.
    Unsent,
    /// The text of `net/http`.
    Text(String),
    /// The answer could not be read: the text of client-go.
    Answer(String),
}

type Body = Full<Bytes>;

/// What drives a connection, until it ends.
type Driver = tokio::task::JoinHandle<hyper::Result<()>>;

enum Sender {
    One(http1::SendRequest<Body>),
    Two(http2::SendRequest<Body>),
}

/// A connection.
pub(super) struct Connection {
    sender: Sender,
    local: Option<SocketAddr>,
    peer: SocketAddr,
    shown_peer: String,
    first: FirstBytes,
    through_proxy: bool,
    driver: Option<Driver>,
    /// Why it took no request, where hyper told the request and not the driver.
    refusal: Option<String>,
}

/// Opens a connection.
///
/// # Errors
/// Go's text.
pub(super) async fn open(
    config: &WebhookConfig,
    network: &Network,
    read: &(dyn Fn(&str) -> Result<Vec<u8>, String> + Sync),
) -> Result<Connection, String> {
    let target = &config.target;
    let secure = target.scheme == "https";
    let first = FirstBytes::default();
    let (stream, at) = match &config.proxy {
        None => (
            network.dial(&target.host, target.port).await?,
            (target.host.clone(), target.port),
        ),
        Some(proxy) => {
            let stream = network
                .dial(&proxy.host, proxy.port)
                .await
                .map_err(|reason| format!("proxyconnect tcp: {reason}"))?;
            (stream, (proxy.host.clone(), proxy.port))
        }
    };
    let _ = stream.set_nodelay(true);
    let local = stream.local_addr().ok();
    let peer = stream
        .peer_addr()
        .unwrap_or_else(|_| SocketAddr::from(([127, 0, 0, 1], at.1)));
    let mut stream = stream;
    if let Some(proxy) = config.proxy.as_ref().filter(|_| secure) {
        tunnel(&mut stream, proxy, target).await?;
    }
    let watched = Watched {
        inner: stream,
        first: first.clone(),
    };
    // A node address is shown as the node's.
    let shown_peer = match at.0.parse() {
        Ok(ip) => SocketAddr::new(ip, at.1).to_string(),
        Err(_) => SocketAddr::new(peer.ip(), at.1).to_string(),
    };
    let connection = |(sender, driver)| Connection {
        sender,
        driver: Some(driver),
        refusal: None,
        local,
        peer,
        shown_peer: shown_peer.clone(),
        first: first.clone(),
        through_proxy: config.proxy.is_some() && !secure,
    };
    if !secure {
        return one(watched).await.map(connection);
    }
    let session = Session::new(&config.tls, &target.host, read)?;
    let connector = TlsConnector::from(session.config.clone());
    let tls = connector
        .connect(session.name.clone(), watched)
        .await
        .map_err(|error| {
            session
                .own_error()
                .or_else(|| tls::error_text(&error, &first))
                .unwrap_or_else(|| io_text(&error, local, &shown_peer))
        })?;
    if let Some(reason) = session.own_error() {
        return Err(reason);
    }
    if tls.get_ref().1.alpn_protocol() == Some(b"h2") {
        let (sender, driver) = http2::handshake(TokioExecutor::new(), TokioIo::new(tls))
            .await
            .map_err(|error| error.to_string())?;
        return Ok(connection((Sender::Two(sender), tokio::spawn(driver))));
    }
    one(tls).await.map(connection)
}

async fn one<S>(stream: S) -> Result<(Sender, Driver), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (sender, driver) = http1::Builder::new()
        .title_case_headers(true)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    Ok((Sender::One(sender), tokio::spawn(driver)))
}

/// Asks a proxy for a connection to the target.
async fn tunnel(stream: &mut TcpStream, proxy: &Target, target: &Target) -> Result<(), String> {
    let at = if target.host.contains(':') {
        format!("[{}]:{}", target.host, target.port)
    } else {
        format!("{}:{}", target.host, target.port)
    };
    if proxy.scheme == "socks5" {
        return Err(format!(
            "socks connect tcp {}:{}->{at}: EOF",
            proxy.host, proxy.port
        ));
    }
    let mut request =
        format!("CONNECT {at} HTTP/1.1\r\nHost: {at}\r\nUser-Agent: Go-http-client/1.1\r\n");
    if let Some((name, password)) = &proxy.user {
        let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
        request.push_str(&format!("Proxy-Authorization: Basic {pair}\r\n"));
    }
    request.push_str("\r\n");
    stream
        .write_all(request.as_bytes())
        .await
        .map_err(|error| go_error_text(&error))?;
    let mut answer = Vec::new();
    // Byte by byte: what follows belongs to TLS.
    while !answer.ends_with(b"\r\n\r\n") && answer.len() < PROXY_ANSWER {
        match stream.read_u8().await {
            Ok(byte) => answer.push(byte),
            Err(_) => return Err("unexpected EOF".to_owned()),
        }
    }
    let line = String::from_utf8_lossy(&answer);
    let status = line
        .lines()
        .next()
        .and_then(|line| line.split_once(' '))
        .map_or("", |(_, status)| status.trim());
    if status.starts_with("200") {
        Ok(())
    } else {
        let text = status
            .split_once(' ')
            .map_or("unknown status code", |(_, t)| t);
        Err(text.to_owned())
    }
}

impl Connection {
    /// Whether requests can still be sent.
    pub(super) fn is_open(&self) -> bool {
        match &self.sender {
            Sender::One(sender) => !sender.is_closed(),
            Sender::Two(sender) => !sender.is_closed(),
        }
    }

    /// Another handle of the same connection, where it carries many requests at once.
    pub(super) fn shared(&self) -> Option<Connection> {
        match &self.sender {
            Sender::One(_) => None,
            Sender::Two(sender) => Some(Connection {
                sender: Sender::Two(sender.clone()),
                local: self.local,
                peer: self.peer,
                shown_peer: self.shown_peer.clone(),
                first: self.first.clone(),
                through_proxy: self.through_proxy,
                driver: None,
                refusal: None,
            }),
        }
    }

    /// Whether this is the other handle.
    pub(super) fn is_copy(&self) -> bool {
        self.driver.is_none()
    }

    /// HTTP/2.
    pub(super) fn is_http2(&self) -> bool {
        matches!(self.sender, Sender::Two(_))
    }

    /// Whether a proxy reads the requests.
    pub(super) fn is_through_proxy(&self) -> bool {
        self.through_proxy
    }

    /// Sends a request; the answer's body is still to be read.
    pub(super) async fn send(
        &mut self,
        request: http::Request<Body>,
    ) -> Result<http::Response<Incoming>, Failure> {
        let sent = match &mut self.sender {
            Sender::One(sender) => {
                if sender.ready().await.is_err() {
                    return Err(Failure::Unsent);
                }
                sender.send_request(request).await
            }
            Sender::Two(sender) => {
                if sender.ready().await.is_err() {
                    return Err(Failure::Unsent);
                }
                sender.send_request(request).await
            }
        };
        sent.map_err(|error| {
            if error.is_canceled() || error.is_closed() {
                self.refusal = std::error::Error::source(&error)
                    .and_then(|cause| cause.downcast_ref::<hyper::Error>())
                    .map(|cause| self.error_text(cause));
                Failure::Unsent
            } else {
                Failure::Text(self.error_text(&error))
            }
        })
    }

    /// Why a connection that took nothing has ended.
    pub(super) async fn end(&mut self) -> String {
        if let Some(reason) = self.refusal.take() {
            return reason;
        }
        match self.driver.take() {
            Some(driver) => match driver.await {
                Ok(Err(error)) => self.error_text(&error),
                _ => "EOF".to_owned(),
            },
            None => "EOF".to_owned(),
        }
    }

    /// An error of this connection in Go's words.
    pub(super) fn error_text(&self, error: &hyper::Error) -> String {
        if error.is_incomplete_message() {
            return "EOF".to_owned();
        }
        if error.is_parse() {
            let first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
            let line = first
                .split(|byte| *byte == b'\n')
                .next()
                .unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            return format!(
                "net/http: HTTP/1.x transport connection broken: malformed HTTP response {}",
                quoted_bytes(line)
            );
        }
        let mut source = std::error::Error::source(error);
        while let Some(inner) = source {
            if let Some(io) = inner.downcast_ref::<io::Error>() {
                return tls::error_text(io, &self.first)
                    .unwrap_or_else(|| io_text(io, self.local, &self.shown_peer));
            }
            source = inner.source();
        }
        error.to_string()
    }
}

/// An error of a socket: `read tcp LOCAL->PEER: read: connection reset by peer`.
fn io_text(error: &io::Error, local: Option<SocketAddr>, peer: &str) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        io::ErrorKind::BrokenPipe => format!(
            "write tcp {}->{peer}: write: broken pipe",
            local.map_or_else(String::new, |local| local.to_string())
        ),
        _ => format!(
            "read tcp {}->{peer}: read: {}",
            local.map_or_else(String::new, |local| local.to_string()),
            go_error_text(error)
        ),
    }
}

/// Bytes as Go's `%q` shows them.
fn quoted_bytes(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        let valid = quote(chunk.valid());
        out.push_str(valid.get(1..valid.len() - 1).unwrap_or_default());
        for byte in chunk.invalid() {
            out.push_str(&format!("\\x{byte:02x}"));
        }
    }
    out.push('"');
    out
}

/// A stream whose first bytes are kept.
struct Watched {
    inner: TcpStream,
    first: FirstBytes,
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        let new = buffer.filled().get(before..).unwrap_or_default();
        let mut first = self.first.lock().unwrap_or_else(PoisonError::into_inner);
        let room = KEPT.saturating_sub(first.len());
        first.extend(new.iter().take(room));
        drop(first);
        polled
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
