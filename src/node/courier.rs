//! Sending requests to a node's API server: sequences at the same time, the requests of one in order.

use std::time::Duration;

use futures_util::future::join_all;
use http_body_util::BodyExt;
use jiff::Timestamp;
use kube::client::Body;

use super::{Identity, Node};

/// A request to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// HTTP method.
    pub method: http::Method,
    /// Path and query.
    pub path: String,
    /// `Content-Type` of the body.
    pub content_type: &'static str,
    /// The body; empty for none.
    pub body: Vec<u8>,
    /// The `Audit-ID` header.
    pub audit_id: String,
    /// Whether the answer never ends by itself: only its head is read.
    pub endless: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status code.
    pub code: u16,
    /// When the request was sent.
    pub sent: Timestamp,
    /// When the answer was read.
    pub answered: Timestamp,
}

/// Carries requests to the API server of a node.
pub trait Courier: Sync {
    /// Sends every sequence as its identity; one result per message.
    fn send(&self, sequences: &[(Identity, Vec<Message>)]) -> Vec<Vec<Result<Answer, String>>>;
}

/// How long one request may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The courier for real nodes: HTTPS with a client certificate.
pub struct KubeCourier<'a> {
    /// The node whose API server is meant.
    pub node: &'a dyn Node,
    /// The `User-Agent` header.
    pub user_agent: &'a str,
}

impl Courier for KubeCourier<'_> {
    fn send(&self, sequences: &[(Identity, Vec<Message>)]) -> Vec<Vec<Result<Answer, String>>> {
        let prepared: Vec<_> = sequences
            .iter()
            .map(|(identity, messages)| (self.node.client_config(identity), messages))
            .collect();
        // A thread of its own: the caller may be inside another runtime.
        std::thread::scope(|scope| {
            scope
                .spawn(|| {
                    let runtime = tokio::runtime::Builder::new_current_thread()
                        .enable_all()
                        .build();
                    match runtime {
                        Ok(runtime) => runtime.block_on(join_all(prepared.into_iter().map(
                            |(config, messages)| async move {
                                match config {
                                    Ok(config) => {
                                        send_sequence(config, messages, self.user_agent).await
                                    }
                                    Err(error) => all_failed(messages, &error.to_string()),
                                }
                            },
                        ))),
                        Err(error) => prepared
                            .iter()
                            .map(|(_, messages)| all_failed(messages, &error.to_string()))
                            .collect(),
                    }
                })
                .join()
                .unwrap_or_default()
        })
    }
}

fn all_failed(messages: &[Message], error: &str) -> Vec<Result<Answer, String>> {
    messages.iter().map(|_| Err(error.to_owned())).collect()
}

async fn send_sequence(
    config: kube::Config,
    messages: &[Message],
    user_agent: &str,
) -> Vec<Result<Answer, String>> {
    let client = match kube::Client::try_from(config) {
        Ok(client) => client,
        Err(error) => return all_failed(messages, &error.to_string()),
    };
    let mut answers = Vec::with_capacity(messages.len());
    for message in messages {
        let answer = tokio::time::timeout(LIMIT, send_one(&client, message, user_agent)).await;
        answers.push(
            answer.unwrap_or_else(|_| Err(format!("no answer within {} s", LIMIT.as_secs()))),
        );
    }
    answers
}

async fn send_one(
    client: &kube::Client,
    message: &Message,
    user_agent: &str,
) -> Result<Answer, String> {
    let mut request = http::Request::builder()
        .method(message.method.clone())
        .uri(&message.path)
        .header("Audit-ID", &message.audit_id)
        .header(http::header::USER_AGENT, user_agent)
        .header(http::header::ACCEPT, "application/json");
    if !message.body.is_empty() {
        request = request.header(http::header::CONTENT_TYPE, message.content_type);
    }
    let request = request
        .body(Body::from(message.body.clone()))
        .map_err(|error| error.to_string())?;
    let sent = Timestamp::now();
    let response = client
        .send(request)
        .await
        .map_err(|error| error.to_string())?;
    let code = response.status().as_u16();
    if !message.endless || code >= 400 {
        response
            .into_body()
            .collect()
            .await
            .map_err(|error| error.to_string())?;
    }
    Ok(Answer {
        code,
        sent,
        answered: Timestamp::now(),
    })
}
