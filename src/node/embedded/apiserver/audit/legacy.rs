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
    let own = if event.user.username.is_empty() || event.user.groups.is_empty() {
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
        time(
            &event.request_received_timestamp,
            event.received_nanoseconds
        ),
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

/// RFC 3339 with nanoseconds and without trailing zeros of the fraction, as Go's `RFC3339Nano`.
fn time(micro: &str, nanoseconds: u16) -> String {
    match micro.strip_suffix('Z').and_then(|t| t.split_once('.')) {
        Some((seconds, fraction)) => {
            let fraction = format!("{fraction}{nanoseconds:03}");
            let fraction = fraction.trim_end_matches('0');
            if fraction.is_empty() {
                format!("{seconds}Z")
            } else {
                format!("{seconds}.{fraction}Z")
            }
        }
        None => micro.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events and their lines, as a real one wrote them (times and ids are made up).
    #[test]
    fn lines_read_as_real_ones() {
        let event = |fields: serde_json::Value| -> Event {
            let mut event = serde_json::json!({
                "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "a-1",
                "stage": "ResponseComplete", "requestURI": "/version", "verb": "get", "user": {},
                "requestReceivedTimestamp": "2026-11-22T16:25:26.473961Z",
                "stageTimestamp": "2026-11-22T16:25:26.473961Z",
            });
            for (key, value) in fields.as_object().unwrap() {
                event[key] = value.clone();
            }
            serde_json::from_value(event).unwrap()
        };
        let mut first = event(serde_json::json!({
            "user": {"username": "jane", "groups": ["developers", "a \"b\""]},
            "impersonatedUser": {"username": "joe"},
            "sourceIPs": ["127.0.0.1", "10.0.0.1"], "userAgent": "curl/8",
            "objectRef": {"resource": "pods", "namespace": "shop"},
            "responseStatus": {"metadata": {}, "code": 403},
        }));
        first.received_nanoseconds = 115;
        assert_eq!(
            line(&first),
            r#"2026-11-22T16:25:26.473961115Z AUDIT: id="a-1" stage="ResponseComplete" ip="127.0.0.1" method="get" user="jane" groups="\"developers\",\"a \\\"b\\\"\"" as="joe" asgroups="<lookup>" user-agent="curl/8" namespace="shop" uri="/version" response="403""#
        );
        let second = event(serde_json::json!({
            "user": {"groups": ["system:authenticated"]},
            "requestReceivedTimestamp": "2026-11-22T16:25:26.470000Z",
        }));
        assert_eq!(
            line(&second),
            r#"2026-11-22T16:25:26.47Z AUDIT: id="a-1" stage="ResponseComplete" ip="<unknown>" method="get" user="<none>" groups="<none>" as="<self>" asgroups="<lookup>" user-agent="" namespace="<none>" uri="/version" response="<deferred>""#
        );
    }
}
