//! Clients of a started lab: its API server over TLS, as whoever the kubeconfig says or a token.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::{DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take before a test gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// Where a lab serves, and the administrator's certificate.
#[derive(Clone)]
pub struct Door {
    pub port: u16,
    chain: Arc<Vec<CertificateDer<'static>>>,
    key: Arc<PrivateKeyDer<'static>>,
}

/// An answer.
pub struct Answer {
    pub code: u16,
    pub body: Bytes,
}

impl Answer {
    /// The message of a Status, or the body.
    pub fn message(&self) -> String {
        let text = || String::from_utf8_lossy(&self.body).into_owned();
        let status: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        status["message"].as_str().map_or_else(text, str::to_owned)
    }
}

impl Door {
    /// The door of a lab by its admin.conf.
    pub fn of(kubeconfig: &Path) -> Self {
        let text = std::fs::read_to_string(kubeconfig).unwrap();
        let config: Value = serde_yaml::from_str(&text).unwrap();
        let user = &config["users"][0]["user"];
        let pem = |name: &str| STANDARD.decode(user[name].as_str().unwrap()).unwrap();
        let server = config["clusters"][0]["cluster"]["server"].as_str().unwrap();
        let chain = CertificateDer::pem_slice_iter(&pem("client-certificate-data"))
            .map(Result::unwrap)
            .collect();
        Self {
            port: server.rsplit_once(':').unwrap().1.parse().unwrap(),
            chain: Arc::new(chain),
            key: Arc::new(PrivateKeyDer::from_pem_slice(&pem("client-key-data")).unwrap()),
        }
    }

    /// A TLS connection, with the administrator's certificate or none.
    pub async fn connect(
        &self,
        admin: bool,
        protocol: &[u8],
    ) -> std::io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anyone(provider)));
        let mut config = if admin {
            builder
                .with_client_auth_cert(self.chain.to_vec(), self.key.clone_key())
                .unwrap()
        } else {
            builder.with_no_client_auth()
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        tokio_rustls::TlsConnector::from(Arc::new(config))
            .connect(ServerName::try_from("localhost").unwrap(), stream)
            .await
    }

    /// What the server answers to these bytes on a connection of their own, until it closes it.
    pub async fn raw(&self, bytes: &[u8]) -> String {
        let exchange = async {
            let mut stream = self.connect(true, b"http/1.1").await.unwrap();
            // The server may answer and close before it has read everything.
            let _ = stream.write_all(bytes).await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            String::from_utf8_lossy(&answer).into_owned()
        };
        tokio::time::timeout(PATIENCE, exchange)
            .await
            .unwrap_or_else(|_| {
                panic!(
                    "no end: {}",
                    String::from_utf8_lossy(&bytes[..bytes.len().min(200)])
                )
            })
    }
}

/// A client with one connection, made again when it is gone.
pub struct Client {
    door: Door,
    http2: bool,
    token: Option<String>,
    sender: Option<Sender>,
}

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

impl Client {
    /// The administrator, or the owner of a token.
    pub fn new(door: &Door, http2: bool, token: Option<String>) -> Self {
        Self {
            door: door.clone(),
            http2,
            token,
            sender: None,
        }
    }

    async fn sender(&mut self) -> Option<&mut Sender> {
        let closed = match &self.sender {
            None => true,
            Some(Sender::Http1(sender)) => sender.is_closed(),
            Some(Sender::Http2(sender)) => sender.is_closed(),
        };
        if closed {
            let protocol: &[u8] = if self.http2 { b"h2" } else { b"http/1.1" };
            let stream = self
                .door
                .connect(self.token.is_none(), protocol)
                .await
                .ok()?;
            let stream = TokioIo::new(stream);
            self.sender = Some(if self.http2 {
                let (sender, connection) =
                    http2::handshake(TokioExecutor::new(), stream).await.ok()?;
                tokio::spawn(connection);
                Sender::Http2(sender)
            } else {
                let (sender, connection) = http1::handshake(stream).await.ok()?;
                tokio::spawn(connection);
                Sender::Http1(sender)
            });
        }
        self.sender.as_mut()
    }

    /// The answer to a request as it begins; `None` when the connection ended instead.
    pub async fn open(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Option<http::Response<Incoming>> {
        let authority = format!("127.0.0.1:{}", self.door.port);
        let uri = if self.http2 {
            format!("https://{authority}{path}")
        } else {
            path.to_owned()
        };
        let mut request = http::Request::builder().method(method).uri(uri);
        if !self.http2 {
            request = request.header("host", &authority);
        }
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).unwrap();
        let sent = async {
            match self.sender().await? {
                Sender::Http1(sender) => {
                    sender.ready().await.ok()?;
                    sender.send_request(request).await.ok()
                }
                Sender::Http2(sender) => {
                    sender.ready().await.ok()?;
                    sender.send_request(request).await.ok()
                }
            }
        };
        let answer = tokio::time::timeout(PATIENCE, sent)
            .await
            .unwrap_or_else(|_| panic!("no answer: {method} {path}"));
        if answer.is_none() {
            self.sender = None;
        }
        answer
    }

    /// The whole answer to a request; `None` when the connection ended instead.
    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Option<Answer> {
        let (parts, body) = self.open(method, path, headers, body).await?.into_parts();
        let body = tokio::time::timeout(PATIENCE, body.collect())
            .await
            .unwrap_or_else(|_| panic!("no end of the answer: {method} {path}"));
        Some(Answer {
            code: parts.status.as_u16(),
            body: body.ok()?.to_bytes(),
        })
    }
}

/// Believes every server: which one it is, is not what these tests look at.
#[derive(Debug)]
struct Anyone(Arc<rustls::crypto::CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
