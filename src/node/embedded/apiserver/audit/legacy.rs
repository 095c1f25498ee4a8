//! The one-line text of an event (`k8s.io/apiserver/pkg/audit/format.go`).

use serde_json::Value;

use crate::audit::event::Event;
use crate::audit::options::number::quote;

/// The line of an event.
#[must_use]
pub fn line(event: &Event) -> String {
    let or = |text: &str, otherwise: &str| {
        if text.is_empty() {
            otherwise.to_owned()
        } else {
            text.to_owned()
        }
    };
    let groups = |groups: &[String]| {
        groups
            .iter()
            .map(|group| quote(group))
            .collect::<Vec<_>>()
            .join(",")
    };
    let own = if event.user.groups.is_empty() {
        "<none>".to_owned()
    } else {
        groups(&event.user.groups)
    };
    let (other, other_groups) = match &event.impersonated_user {
        Some(user) if user.groups.is_empty() => (user.username.clone(), "<lookup>".to_owned()),
        Some(user) => (user.username.clone(), groups(&user.groups)),
        None => ("<self>".to_owned(), "<lookup>".to_owned()),
    };
    let namespace = event
        .object_ref
        .as_ref()
        .map_or("", |reference| reference.namespace.as_str());
    let response = event
        .response_status
        .as_ref()
        .and_then(|status| status.get("code").and_then(Value::as_i64))
        .map_or_else(|| "<deferred>".to_owned(), |code| code.to_string());
    let ip = event.source_ips.first().map_or("<unknown>", String::as_str);
    format!(
        "{} AUDIT: id={} stage={} ip={} method={} user={} groups={} as={} asgroups={} user-agent={} namespace={} uri={} response={}",
        nanoseconds(&event.request_received_timestamp),
        quote(&event.audit_id),
        quote(event.stage.name()),
        quote(ip),
        quote(&event.verb),
        quote(&or(&event.user.username, "<none>")),
        quote(&own),
        quote(&other),
        quote(&other_groups),
        quote(&event.user_agent),
        quote(&or(namespace, "<none>")),
        quote(&event.request_uri),
        quote(&response)
    )
}

/// RFC 3339 without trailing zeros of the fraction, as Go's `RFC3339Nano`.
fn nanoseconds(timestamp: &str) -> String {
    match timestamp.strip_suffix('Z').and_then(|t| t.split_once('.')) {
        Some((seconds, fraction)) => {
            let fraction = fraction.trim_end_matches('0');
            if fraction.is_empty() {
                format!("{seconds}Z")
            } else {
                format!("{seconds}.{fraction}Z")
            }
        }
        None => timestamp.to_owned(),
    }
}
