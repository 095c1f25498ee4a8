//! The HTTP client of the webhook: requests as Go's `net/http` and client-go make them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use bytes::Bytes;
use http::header::{self, HeaderName, HeaderValue};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;

use super::answer::Answer;
use super::connection::{self, Connection, Failure};
use super::kubeconfig::{Credential, WebhookConfig};
use super::network::Network;
use crate::audit::options::number::quote;
use crate::node::embedded::apiserver::audit::clock::StartClock;
use crate::node::embedded::apiserver::startup::{FILE_LIMIT, read};
use crate::node::embedded::runtime::rootfs::Rootfs;

/// Longest time for a request with all that is made of it, the answer included.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// How often an answer may ask for the request to be made again.
const AGAIN: u32 = 10;
/// How long a token file is good for.
const TOKEN_TIME: Duration = Duration::from_secs(50);
/// How long a connection is kept, and how many.
const IDLE_TIME: Duration = Duration::from_secs(90);
const IDLE: usize = 25;
/// Most that is read of an answer.
const BODY_LIMIT: usize = 1 << 20;

/// Posts to one server.
pub(super) struct Client {
    config: WebhookConfig,
    network: Network,
    rootfs: Arc<Rootfs>,
    clock: Arc<StartClock>,
    idle: Mutex<Vec<(Instant, Connection)>>,
    token: Mutex<Option<(Instant, String)>>,
}

impl Client {
    /// A client without connections.
    pub(super) fn new(
        config: WebhookConfig,
        network: Network,
        rootfs: Arc<Rootfs>,
        clock: Arc<StartClock>,
    ) -> Self {
        Self {
            config,
            network,
            rootfs,
            clock,
            idle: Mutex::default(),
            token: Mutex::default(),
        }
    }

    /// Posts a body.
    ///
    /// # Errors
    /// client-go's text.
    pub(super) async fn post(&self, body: Bytes) -> Result<(), String> {
        let failed = |reason: &str| {
            let url = quote(&self.config.target.shown());
            Err(format!("Post {url}: {reason}"))
        };
        let limit = self.clock.shortened(TIME_LIMIT);
        let late = || {
            self.clock.skip(TIME_LIMIT, limit);
            "context deadline exceeded"
        };
        let end = Instant::now() + limit;
        let mut again = 0;
        loop {
            let answer = match tokio::time::timeout_at(end, self.send(&body)).await {
                Ok(Ok(answer)) => answer,
                Ok(Err(Failure::Answer(reason))) => return Err(reason),
                Ok(Err(Failure::Text(reason))) => return failed(&reason),
                Ok(Err(Failure::Unsent)) => return failed("EOF"),
                Err(_) => return failed(late()),
            };
            match answer.wait() {
                Some(seconds) if again < AGAIN => {
                    again += 1;
                    let wait = Duration::from_secs(seconds);
                    let waited = tokio::time::timeout_at(end, self.clock.sleep(wait)).await;
                    if waited.is_err() {
                        return Err(late().to_owned());
                    }
                }
                _ => return answer.error().map_or(Ok(()), Err),
            }
        }
    }

    /// One request and its answer. A connection that was closed while it was idle is no failure.
    async fn send(&self, body: &Bytes) -> Result<Answer, Failure> {
        let target = &self.config.target;
        if target.scheme != "http" && target.scheme != "https" {
            return Err(Failure::Text(format!(
                "unsupported protocol scheme {}",
                quote(&target.scheme)
            )));
        }
        while let Some(connection) = self.kept() {
            let mut connection = connection;
            match self.exchange(&mut connection, body).await {
                Err(Failure::Unsent) => {}
                ended => return self.keep(connection, ended),
            }
        }
        let file = |path: &str| read(&self.rootfs, path);
        let mut fresh = connection::open(&self.config, &self.network, &file)
            .await
            .map_err(Failure::Text)?;
        match self.exchange(&mut fresh, body).await {
            Err(Failure::Unsent) => Err(Failure::Text(fresh.end().await)),
            ended => self.keep(fresh, ended),
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<(Instant, Connection)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection that was used before.
    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle();
        while let Some((since, connection)) = idle.pop() {
            if connection.is_open() && since.elapsed() < IDLE_TIME {
                // One that carries many requests at once stays.
                if let Some(shared) = connection.shared() {
                    idle.push((Instant::now(), shared));
                }
                return Some(connection);
            }
        }
        None
    }

    async fn exchange(&self, connection: &mut Connection, body: &Bytes) -> Result<Answer, Failure> {
        let request = self.request(connection, body).map_err(Failure::Text)?;
        let response = connection.send(request).await?;
        let (parts, incoming) = response.into_parts();
        let header = |name: HeaderName| {
            parts
                .headers
                .get(name)
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
        };
        let mut answer = Answer {
            status: parts.status.as_u16(),
            content_type: header(header::CONTENT_TYPE),
            retry_after: header(header::RETRY_AFTER),
            body: Vec::new(),
        };
        let packed = header(header::CONTENT_ENCODING).as_deref() == Some("gzip");
        let mut incoming = incoming;
        while let Some(frame) = incoming.frame().await {
            let frame = frame.map_err(|error| {
                let reason = connection.error_text(&error);
                Failure::Answer(format!(
                    "unexpected error when reading response body. Please retry. Original error: {reason}"
                ))
            })?;
            if let Some(data) = frame.data_ref() {
                answer.body.extend_from_slice(data);
            }
            if answer.body.len() > BODY_LIMIT {
                break;
            }
        }
        if packed && self.config.compression {
            answer.body = unpacked(&answer.body);
        }
        Ok(answer)
    }

    /// Keeps the connection for the next request, if it can carry one.
    fn keep(
        &self,
        connection: Connection,
        ended: Result<Answer, Failure>,
    ) -> Result<Answer, Failure> {
        let answer = ended?;
        let whole = answer.body.len() <= BODY_LIMIT;
        if whole && connection.is_open() && !connection.is_copy() {
            let mut idle = self.idle();
            if idle.len() < IDLE {
                idle.push((Instant::now(), connection));
            }
        }
        Ok(answer)
    }

    /// The request, its headers in Go's order.
    fn request(
        &self,
        connection: &Connection,
        body: &Bytes,
    ) -> Result<http::Request<Full<Bytes>>, String> {
        let target = &self.config.target;
        let mut headers: Vec<(HeaderName, String)> = Vec::new();
        let mut own = vec![(header::ACCEPT, "application/json, */*".to_owned())];
        if let Some(authorization) = self.authorization() {
            own.push((header::AUTHORIZATION, authorization));
        }
        own.push((header::CONTENT_TYPE, "application/json".to_owned()));
        for (name, value) in &self.config.impersonate {
            if let Ok(name) = HeaderName::try_from(*name) {
                own.push((name, value.clone()));
            }
        }
        let length = (header::CONTENT_LENGTH, body.len().to_string());
        let encoding = self
            .config
            .compression
            .then(|| (header::ACCEPT_ENCODING, "gzip".to_owned()));
        let uri;
        if connection.is_http2() {
            uri = format!("https://{}{}", target.authority, target.path_and_query());
            headers.extend(own);
            headers.push(length);
            headers.extend(encoding);
            headers.push((header::USER_AGENT, "Go-http-client/2.0".to_owned()));
        } else {
            uri = if connection.is_through_proxy() {
                format!("http://{}{}", target.authority, target.path_and_query())
            } else {
                target.path_and_query()
            };
            headers.push((header::HOST, target.authority.clone()));
            headers.push((header::USER_AGENT, "Go-http-client/1.1".to_owned()));
            headers.push(length);
            headers.extend(own);
            headers.extend(encoding);
        }
        let mut request = http::Request::post(uri)
            .body(Full::new(body.clone()))
            .map_err(|error| error.to_string())?;
        for (name, value) in headers {
            let Ok(value) = HeaderValue::try_from(&value) else {
                return Err(format!(
                    "net/http: invalid header field value for {}",
                    quote(&title(name.as_str()))
                ));
            };
            request.headers_mut().append(name, value);
        }
        Ok(request)
    }

    fn authorization(&self) -> Option<String> {
        let basic = |name: &str, password: &str| {
            let pair = format!("{name}:{password}");
            let encoded = base64::engine::general_purpose::STANDARD.encode(pair);
            Some(format!("Basic {encoded}"))
        };
        match &self.config.credential {
            Credential::None => {
                let (name, password) = self.config.target.user.as_ref()?;
                basic(name, password)
            }
            Credential::Basic(name, password) => basic(name, password),
            Credential::Token(token) => Some(format!("Bearer {token}")),
            Credential::TokenFile(path, initial) => {
                Some(format!("Bearer {}", self.token(path, initial)))
            }
        }
    }

    /// The token in a file, as of the last time it could be read.
    fn token(&self, path: &str, initial: &str) -> String {
        let mut kept = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((since, token)) = kept.as_ref()
            && since.elapsed() < TOKEN_TIME
        {
            return token.clone();
        }
        let bytes = self.rootfs.read(path, FILE_LIMIT).unwrap_or_default();
        let token = String::from_utf8_lossy(&bytes).trim().to_owned();
        if token.is_empty() {
            return kept
                .as_ref()
                .map_or_else(|| initial.to_owned(), |(_, token)| token.clone());
        }
        *kept = Some((Instant::now(), token.clone()));
        token
    }
}

/// `content-type` as `Content-Type`.
fn title(name: &str) -> String {
    name.split('-')
        .map(|part| {
            let (first, rest) = part.split_at(part.len().min(1));
            format!("{}{rest}", first.to_ascii_uppercase())
        })
        .collect::<Vec<_>>()
        .join("-")
}

fn unpacked(bytes: &[u8]) -> Vec<u8> {
    use std::io::Read;
    let mut out = Vec::new();
    let limit = BODY_LIMIT as u64;
    let _ = flate2::read::GzDecoder::new(bytes)
        .take(limit)
        .read_to_end(&mut out);
    out
}
