//! HTTPS: TLS with optional client certificates, HTTP/1.1 and HTTP/2, bounded in every direction.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use super::audit::webhook::tls;
use super::body;
use super::malformed;
use super::pipeline::{self, Peer};
use super::response::ResponseBody;
use super::state::ApiState;

/// Connections at once, where so many files may be open; more wait in the backlog.
const CONNECTIONS: usize = 4096;
/// Fewest connections at once.
const FEW_CONNECTIONS: usize = 64;
/// Longest a handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest request headers may take to arrive (`ReadHeaderTimeout`).
const HEADERS: Duration = Duration::from_secs(32);
/// Largest request headers of HTTP/1 (`MaxHeaderBytes`, and what Go reads ahead).
const HEADER_BYTES: usize = (1 << 20) + 4096;
/// Most headers of HTTP/1.
const HEADER_LINES: usize = 512;
/// Largest request headers of HTTP/2: less than a real server takes, as one connection may send
/// many at once.
const HEADER_LIST_BYTES: u32 = 256 << 10;
/// Streams of one HTTP/2 connection, as a real server allows.
const STREAMS: u32 = 100;
/// Longest open connections may take to end at shutdown.
const GRACE: Duration = Duration::from_millis(500);

/// Takes every client certificate; authentication looks at it later, so that a bad one is a 401
/// and no TLS alert. The client must still own its key.
#[derive(Debug)]
struct AnyClient {
    provider: Arc<CryptoProvider>,
    subjects: Vec<DistinguishedName>,
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.subjects
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(
            message,
            cert,
            dss,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The TLS side of the server.
///
/// # Errors
/// When the key does not fit the certificate.
pub fn tls_config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    subjects: Vec<DistinguishedName>,
    http2: bool,
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Arc::new(AnyClient {
        provider: provider.clone(),
        subjects,
    });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = if http2 {
        vec![b"h2".to_vec(), b"http/1.1".to_vec()]
    } else {
        vec![b"http/1.1".to_vec()]
    };
    // Resumed sessions would save little on a loopback and cost memory.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}

/// Serves until `state.shutdown` is cancelled, then lets open connections end.
pub async fn serve(state: Arc<ApiState>, listener: TcpListener, tls: Arc<ServerConfig>) {
    let acceptor = TlsAcceptor::from(tls);
    let connections = connections();
    let places = Arc::new(Semaphore::new(connections));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            break;
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = state.shutdown.cancelled() => break,
        };
        match accepted {
            Ok((stream, address)) => {
                let (state, acceptor) = (state.clone(), acceptor.clone());
                tokio::spawn(async move {
                    connection(state, stream, address, acceptor).await;
                    drop(place);
                });
            }
            // Out of descriptors: give others time to close theirs.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
    drop(listener);
    let everyone = u32::try_from(connections).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(GRACE, places.acquire_many(everyone)).await;
}

/// Go writes headers in the order of their names.
fn in_order(mut response: http::Response<ResponseBody>) -> http::Response<ResponseBody> {
    let headers = std::mem::take(response.headers_mut());
    let mut names: Vec<http::HeaderName> = headers.keys().cloned().collect();
    names.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    for name in names {
        for value in headers.get_all(&name) {
            response.headers_mut().append(name.clone(), value.clone());
        }
    }
    response
}

/// An answer to HEAD: says how long its body would be, and has none.
fn headers_only(response: http::Response<ResponseBody>) -> http::Response<ResponseBody> {
    let (mut parts, body) = response.into_parts();
    if let Some(length) = hyper::body::Body::size_hint(&body).exact() {
        parts
            .headers
            .insert(http::header::CONTENT_LENGTH, length.into());
    }
    http::Response::from_parts(parts, ResponseBody::default())
}

/// How many connections may be open at once: half of the files that may be.
fn connections() -> usize {
    use rustix::process::{Resource, getrlimit};
    let files = getrlimit(Resource::Nofile).current;
    files.map_or(CONNECTIONS, |files| {
        usize::try_from(files / 2)
            .unwrap_or(CONNECTIONS)
            .clamp(FEW_CONNECTIONS, CONNECTIONS)
    })
}

/// Why a handshake failed, as Go says it.
fn reason(error: &std::io::Error) -> String {
    let inner = error.get_ref();
    match inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        Some(rustls::Error::AlertReceived(alert)) => {
            format!("remote error: tls: {}", tls::alert_text(*alert))
        }
        Some(rustls::Error::InvalidMessage(_)) => {
            "tls: first record does not look like a TLS handshake".to_owned()
        }
        Some(rustls::Error::PeerIncompatible(_)) => {
            "tls: client offered only unsupported versions".to_owned()
        }
        Some(other) => format!("tls: {other}"),
        None if error.kind() == std::io::ErrorKind::UnexpectedEof => "EOF".to_owned(),
        None => error.to_string(),
    }
}

async fn connection(
    state: Arc<ApiState>,
    mut stream: TcpStream,
    address: SocketAddr,
    acceptor: TlsAcceptor,
) {
    let _ = stream.set_nodelay(true);
    let handshake = async {
        match malformed::answer_plain(&mut stream).await {
            Some(reason) => Err(reason.to_owned()),
            None => acceptor
                .accept(stream)
                .await
                .map_err(|error| reason(&error)),
        }
    };
    let tls = match tokio::time::timeout(HANDSHAKE, handshake).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(reason)) => {
            // `tlsHandshakeErrorWriter` of `pkg/server/secure_serving.go`.
            state.klog.info(
                5,
                "secure_serving.go:303",
                &format!("http: TLS handshake error from {address}: {reason}"),
            );
            return;
        }
        Err(_) => return,
    };
    let certificates: Vec<Arc<[u8]>> = tls
        .get_ref()
        .1
        .peer_certificates()
        .unwrap_or_default()
        .iter()
        .map(|certificate| Arc::from(certificate.as_ref()))
        .collect();
    let peer = Peer::Tls {
        address,
        certificates,
    };
    let shutdown = state.shutdown.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (state, peer) = (state.clone(), peer.clone());
        async move {
            let (request, rest) = body::share(request);
            let head = request.method() == http::Method::HEAD;
            let response = match malformed::refuse(&request) {
                Some(refused) => refused,
                None => in_order(pipeline::handle(state, request, peer).await),
            };
            rest.take().await;
            Ok::<_, Infallible>(if head {
                headers_only(response)
            } else {
                response
            })
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(HEADER_BYTES)
        .title_case_headers(true)
        .max_headers(HEADER_LINES)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(15))
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_LIST_BYTES);
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(tls), service);
    tokio::pin!(serving);
    tokio::select! {
        _ = serving.as_mut() => {}
        () = shutdown.cancelled() => {
            serving.as_mut().graceful_shutdown();
            let _ = tokio::time::timeout(GRACE, serving).await;
        }
    }
}
