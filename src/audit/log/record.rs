//! An audit event as a log has it: tolerant of fields that are missing or unknown.

use serde::Serialize;
use serde_json::Value;

/// A point in time.
pub type Time = jiff::Timestamp;

/// An audit event, as far as questions are asked about it. Empty strings stand for "not said".
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    /// When the request reached this stage.
    pub time: Option<Time>,
    /// When the request arrived.
    pub received: Option<Time>,
    /// Identifier of the request.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// Level.
    pub level: String,
    /// Stage.
    pub stage: String,
    /// Verb.
    pub verb: String,
    /// Request URI.
    #[serde(rename = "requestURI")]
    pub uri: String,
    /// Who asked.
    pub user: String,
    /// Groups of who asked.
    pub groups: Vec<String>,
    /// Whom they impersonated.
    pub impersonated: Option<String>,
    /// API group.
    pub api_group: String,
    /// Resource.
    pub resource: String,
    /// Subresource.
    pub subresource: String,
    /// Namespace.
    pub namespace: String,
    /// Object name.
    pub name: String,
    /// Status code of the answer.
    pub code: Option<u16>,
    /// Source addresses.
    #[serde(rename = "sourceIPs")]
    pub source_ips: Vec<String>,
    /// User-Agent.
    pub user_agent: String,
    /// `allow` or `forbid`.
    pub decision: String,
    /// The reason given for the decision.
    pub reason: String,
}

impl Record {
    /// `pods/exec`, or the resource alone.
    #[must_use]
    pub fn resource_path(&self) -> String {
        if self.subresource.is_empty() {
            self.resource.clone()
        } else {
            format!("{}/{}", self.resource, self.subresource)
        }
    }
}

/// The events in a JSON value: an event, or the items of an event list. Nothing when it is neither.
pub(super) fn from_json(value: &Value) -> Vec<Record> {
    match value.get("kind").and_then(Value::as_str) {
        Some("EventList") => match value.get("items") {
            Some(Value::Array(items)) => items.iter().filter_map(event).collect(),
            _ => Vec::new(),
        },
        Some("Event") | None => event(value).into_iter().collect(),
        Some(_) => Vec::new(),
    }
}

fn text(value: &Value, pointer: &str) -> String {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

fn texts(value: &Value, pointer: &str) -> Vec<String> {
    match value.pointer(pointer) {
        Some(Value::Array(list)) => list
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        _ => Vec::new(),
    }
}

fn time(value: &Value, pointer: &str) -> Option<Time> {
    value.pointer(pointer)?.as_str()?.parse().ok()
}

/// An audit event has an id, a stage and a verb; core events, which are of kind Event too, have not.
fn event(value: &Value) -> Option<Record> {
    let audit = value
        .get("apiVersion")
        .and_then(Value::as_str)
        .is_none_or(|version| version.starts_with("audit.k8s.io/"));
    if !audit || value.get("auditID").is_none() || value.get("stage").is_none() {
        return None;
    }
    let annotation = |name: &str| {
        let annotations = value.get("annotations")?;
        annotations.get(name)?.as_str().map(str::to_owned)
    };
    Some(Record {
        time: time(value, "/stageTimestamp"),
        received: time(value, "/requestReceivedTimestamp"),
        audit_id: text(value, "/auditID"),
        level: text(value, "/level"),
        stage: text(value, "/stage"),
        verb: text(value, "/verb"),
        uri: text(value, "/requestURI"),
        user: text(value, "/user/username"),
        groups: texts(value, "/user/groups"),
        impersonated: value
            .pointer("/impersonatedUser/username")
            .and_then(Value::as_str)
            .map(str::to_owned),
        api_group: text(value, "/objectRef/apiGroup"),
        resource: text(value, "/objectRef/resource"),
        subresource: text(value, "/objectRef/subresource"),
        namespace: text(value, "/objectRef/namespace"),
        name: text(value, "/objectRef/name"),
        code: value
            .pointer("/responseStatus/code")
            .and_then(Value::as_u64)
            .and_then(|code| u16::try_from(code).ok()),
        source_ips: texts(value, "/sourceIPs"),
        user_agent: text(value, "/userAgent"),
        decision: annotation("authorization.k8s.io/decision").unwrap_or_default(),
        reason: annotation("authorization.k8s.io/reason").unwrap_or_default(),
    })
}
