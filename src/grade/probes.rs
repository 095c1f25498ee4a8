//! The grader's requests, from the scenario's words to HTTP.

use serde_json::Value;

use crate::audit::evaluate::{Attributes, Decision, evaluate};
use crate::audit::policy::Policy;
use crate::node::courier::{Answer, Courier, Message};
use crate::scenario::definition::Probe;
use crate::scenario::request::{ProbeRequest, ProbeUser};

/// The grader's `User-Agent`.
pub const USER_AGENT: &str = concat!("ckslab-grade/", env!("CARGO_PKG_VERSION"));

/// A request that was sent.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The probe it belongs to.
    pub probe: String,
    /// In words: `create secrets in payments as kubernetes-admin`.
    pub words: String,
    /// What went out.
    pub message: Message,
    /// What a policy sees of it.
    pub attributes: Attributes,
    /// What must be recorded.
    pub wanted: Decision,
    /// What came back.
    pub answer: Result<Answer, String>,
}

/// Everything sent in one grading.
#[derive(Debug, Clone, Default)]
pub struct Volley {
    /// The requests, in the scenario's order.
    pub sent: Vec<Sent>,
    /// Part of every name and text the grader made up for this grading.
    pub nonce: String,
}

/// Sends the probes. `reference` says what must be recorded.
#[must_use]
pub fn send(probes: &[Probe], reference: &Policy, courier: &dyn Courier) -> Volley {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let nonce = format!("ckslab-{}", id.get(..12).unwrap_or(&id));
    let mut sent = Vec::new();
    let mut sequences = Vec::new();
    for probe in probes {
        let (user, mut groups) = match &probe.user {
            Some(user) => (user.name.clone(), user.groups.clone()),
            None => (
                "kubernetes-admin".to_owned(),
                vec!["kubeadm:cluster-admins".to_owned()],
            ),
        };
        groups.push("system:authenticated".to_owned());
        let mut messages = Vec::new();
        for request in &probe.requests {
            let message = message(request, &nonce);
            let attributes = attributes(request, &nonce, &user, &groups);
            let mut wanted = evaluate(reference, &attributes);
            if let Some(level) = request.level {
                wanted.level = level;
            }
            messages.push(message.clone());
            sent.push(Sent {
                probe: probe.id.clone(),
                words: format!("{} as {user}", describe(&attributes))
                    .replace(&nonce, "ckslab-probe"),
                message,
                attributes,
                wanted,
                answer: Err("not sent".to_owned()),
            });
        }
        sequences.push((ProbeUser::identity(probe.user.as_ref()), messages));
    }
    let answers = courier.send(&sequences);
    for (sent, answer) in sent.iter_mut().zip(answers.into_iter().flatten()) {
        sent.answer = answer;
    }
    Volley { sent, nonce }
}

/// A request in words: `create pods/exec "x" in payments`.
#[must_use]
pub fn describe(attributes: &Attributes) -> String {
    if !attributes.resource_request {
        return format!("{} {}", attributes.verb, attributes.path);
    }
    let mut text = format!("{} {}", attributes.verb, attributes.resource);
    if !attributes.subresource.is_empty() {
        text.push_str(&format!("/{}", attributes.subresource));
    }
    if !attributes.api_group.is_empty() {
        text.push_str(&format!(" ({})", attributes.api_group));
    }
    if !attributes.name.is_empty() {
        text.push_str(&format!(" `{}`", attributes.name));
    }
    if attributes.namespace.is_empty() {
        text.push_str(" at cluster scope");
    } else {
        text.push_str(&format!(" in namespace `{}`", attributes.namespace));
    }
    text
}

/// Subresources that are streams or proxies: nothing can be tried dry there.
const CONNECT: [&str; 5] = ["exec", "attach", "portforward", "proxy", "log"];

fn message(request: &ProbeRequest, nonce: &str) -> Message {
    let mut path = request.url_path().replace("NONCE", nonce);
    let (method, content_type) = request.method();
    let connect = CONNECT.contains(&request.subresource.as_str());
    if let Some(query) = request.query() {
        path.push_str(&format!("?{query}"));
    } else if method != http::Method::GET && !request.resource.is_empty() && !connect {
        // The request goes the whole way and is recorded like any other, but nothing is kept.
        path.push_str("?dryRun=All");
    }
    Message {
        method,
        path,
        content_type,
        body: match &request.body {
            Some(body) => replace_nonce(body, nonce).to_string().into_bytes(),
            None => Vec::new(),
        },
        audit_id: uuid::Uuid::new_v4().to_string(),
        endless: request.verb == "watch",
    }
}

fn attributes(request: &ProbeRequest, nonce: &str, user: &str, groups: &[String]) -> Attributes {
    let mut seen = request.attributes(user.to_owned(), groups.to_vec());
    for text in [&mut seen.namespace, &mut seen.name, &mut seen.path] {
        *text = text.replace("NONCE", nonce);
    }
    seen
}

fn replace_nonce(value: &Value, nonce: &str) -> Value {
    match value {
        Value::String(text) => text.replace("NONCE", nonce).into(),
        Value::Array(items) => items
            .iter()
            .map(|item| replace_nonce(item, nonce))
            .collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(key, field)| (key.replace("NONCE", nonce), replace_nonce(field, nonce)))
            .collect(),
        other => other.clone(),
    }
}
