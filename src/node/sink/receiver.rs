//! The server of a sink: HTTPS, one path, `EventList`s of `audit.k8s.io/v1`.

use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::Settings;

/// Largest post. A batch of audit events is 10 MiB at most where the API server truncates.
const LARGEST: usize = 16 << 20;
/// Posts that are read at the same time.
const READERS: usize = 4;
/// Connections at the same time.
const CONNECTIONS: usize = 64;
/// How long a handshake or a post may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Adds whole lines to the file of a sink.
pub type Append = dyn Fn(&[u8]) -> io::Result<()> + Send + Sync;

struct Receiver {
    url_path: String,
    append: Box<Append>,
    /// One post at a time is written.
    writing: Mutex<()>,
    readers: Semaphore,
}

/// Serves until it is told to stop.
///
/// # Errors
/// When certificate and key are of no use.
pub async fn serve(
    listener: TcpListener,
    settings: &Settings,
    append: Box<Append>,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let acceptor = TlsAcceptor::from(tls(settings)?);
    let receiver = Arc::new(Receiver {
        url_path: settings.url_path.clone(),
        append,
        writing: Mutex::new(()),
        readers: Semaphore::new(READERS),
    });
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else {
            return Ok(());
        };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = shutdown.cancelled() => return Ok(()),
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors: others get time to close theirs.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let (receiver, acceptor) = (receiver.clone(), acceptor.clone());
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = connection(&receiver, stream, acceptor) => {}
                () = shutdown.cancelled() => {}
            }
            drop(place);
        });
    }
}

fn tls(settings: &Settings) -> io::Result<Arc<rustls::ServerConfig>> {
    let chain: Vec<CertificateDer<'static>> =
        CertificateDer::pem_slice_iter(settings.certificate.as_bytes())
            .filter_map(Result::ok)
            .collect();
    let key = PrivateKeyDer::from_pem_slice(settings.key.as_bytes()).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

async fn connection(receiver: &Arc<Receiver>, stream: TcpStream, acceptor: TlsAcceptor) {
    let Ok(Ok(stream)) = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await else {
        return;
    };
    let service = service_fn(|request| {
        let receiver = receiver.clone();
        async move { Ok::<_, Infallible>(receiver.answer(request).await) }
    });
    // A client that hangs up is no event.
    let _ = auto::Builder::new(TokioExecutor::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

fn say(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(format!("{text}\n"))));
    *response.status_mut() = status;
    response
}

impl Receiver {
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        if request.uri().path() != self.url_path {
            return say(
                StatusCode::NOT_FOUND,
                &format!("this receiver is at {}", self.url_path),
            );
        }
        if request.method() != Method::POST {
            return say(
                StatusCode::METHOD_NOT_ALLOWED,
                "post an EventList of audit.k8s.io/v1 here",
            );
        }
        let Ok(_reader) = self.readers.acquire().await else {
            return say(StatusCode::SERVICE_UNAVAILABLE, "it ends");
        };
        let body = Limited::new(request.into_body(), LARGEST).collect();
        let body = match tokio::time::timeout(PATIENCE, body).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return say(StatusCode::PAYLOAD_TOO_LARGE, "at most 16 MiB are taken");
            }
            _ => return say(StatusCode::BAD_REQUEST, "the body did not come"),
        };
        let lines = match lines(&body) {
            Ok(lines) => lines,
            Err(reason) => return say(StatusCode::BAD_REQUEST, &reason),
        };
        let this = self.clone();
        let written = tokio::task::spawn_blocking(move || {
            let _one = this.writing.lock().unwrap_or_else(PoisonError::into_inner);
            (this.append)(&lines)
        })
        .await;
        match written {
            Ok(Ok(())) => say(StatusCode::OK, "taken"),
            Ok(Err(error)) => say(StatusCode::INSUFFICIENT_STORAGE, &error.to_string()),
            Err(_) => say(StatusCode::INTERNAL_SERVER_ERROR, "it could not be written"),
        }
    }
}

/// The events of a post, one a line, as a log backend writes them: each with its kind and version, which
/// are those of the list where it is posted.
///
/// # Errors
/// What is wrong with the post.
fn lines(body: &[u8]) -> Result<Vec<u8>, String> {
    let list: Value = serde_json::from_slice(body).map_err(|error| format!("no JSON: {error}"))?;
    let text = |field: &str| list.get(field).and_then(Value::as_str).unwrap_or_default();
    let (kind, version) = (text("kind"), text("apiVersion"));
    if kind != "EventList" || version != "audit.k8s.io/v1" {
        return Err(format!(
            "`{kind}` of `{version}` is no EventList of audit.k8s.io/v1"
        ));
    }
    let items = list.get("items").and_then(Value::as_array);
    let mut out = Vec::with_capacity(body.len() + 1);
    for item in items.into_iter().flatten() {
        let Some(fields) = item.as_object() else {
            return Err("an item is no event".to_owned());
        };
        let mut event = serde_json::Map::new();
        event.insert("kind".to_owned(), "Event".into());
        event.insert("apiVersion".to_owned(), version.into());
        event.extend(
            fields
                .iter()
                .map(|(name, value)| (name.clone(), value.clone())),
        );
        serde_json::to_writer(&mut out, &event).map_err(|error| error.to_string())?;
        out.push(b'\n');
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_a_list_become_lines_of_a_log() {
        let body = br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":[{"level":"Metadata","auditID":"a"},{"auditID":"b"}]}"#;
        assert_eq!(
            String::from_utf8(lines(body).unwrap()).unwrap(),
            "{\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"level\":\"Metadata\",\"auditID\":\"a\"}\n\
             {\"kind\":\"Event\",\"apiVersion\":\"audit.k8s.io/v1\",\"auditID\":\"b\"}\n"
        );
        for (body, reason) in [
            ("x", "no JSON: expected value at line 1 column 1"),
            (
                r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1"}"#,
                "`Event` of `audit.k8s.io/v1` is no EventList of audit.k8s.io/v1",
            ),
            (
                r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","items":[1]}"#,
                "an item is no event",
            ),
        ] {
            assert_eq!(lines(body.as_bytes()).unwrap_err(), reason);
        }
    }
}
