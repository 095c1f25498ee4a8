//! Whether what the log says of a request is what the API server itself writes at the level asked.
//!
//! Why a line cannot be made up: the Audit-ID is chosen at random for this grading and travels only
//! over TLS, so nobody but the API server knows it before the API server writes it. A process that
//! copies or rewrites lines as they appear can only add to what is there; a second line for the same
//! stage, a line whose fields contradict the request as it was sent and answered, and a line for a
//! request that must not be recorded all fail, and the file looked at is the very one (by inode)
//! that the running API server has under its `--audit-log-path`.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use super::probes::Sent;
use crate::audit::event::Event;
use crate::audit::level::{Level, Stage};
use crate::scenario::definition::Stages;

/// Clocks of the grader and the node may differ by this much.
const SKEW: SignedDuration = SignedDuration::from_secs(60);

/// What is wrong with the entries of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It could not be sent.
    NotSent(String),
    /// Nothing, or not every stage, was recorded.
    Missing(Vec<Stage>),
    /// Something was recorded that must not be.
    Unwanted(Level),
    /// Recorded at another level.
    Level(Level),
    /// A stage was recorded that must be left out.
    UnwantedStage(Stage),
    /// The entry is not what the API server writes for this request.
    Implausible(String),
}

impl Problem {
    /// In words.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Problem::NotSent(error) => format!("could not be sent: {error}"),
            Problem::Missing(stages) if stages.is_empty() => "not recorded".to_owned(),
            Problem::Missing(stages) => format!("no entry of stage {}", names(stages)),
            Problem::Unwanted(level) => format!("recorded at level {}", level.name()),
            Problem::Level(level) => format!("recorded at level {}", level.name()),
            Problem::UnwantedStage(stage) => format!("has an entry of stage {}", stage.name()),
            Problem::Implausible(what) => {
                format!("has an entry that the API server did not write: {what}")
            }
        }
    }
}

fn names(stages: &[Stage]) -> String {
    stages
        .iter()
        .map(|stage| stage.name())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The stages a request must have, and those it may have.
#[must_use]
pub fn stages(sent: &Sent, how: Stages) -> (Vec<Stage>, Vec<Stage>) {
    if sent.wanted.level == Level::None {
        return (Vec::new(), Vec::new());
    }
    let long = sent.attributes.verb == "watch"
        || ["exec", "attach", "portforward", "proxy", "log"]
            .contains(&sent.attributes.subresource.as_str());
    let kept = |stage: &Stage| !sent.wanted.omit_stages.contains(stage);
    // A watch the grader has left may still be open: its end is not waited for.
    let end = if sent.attributes.verb == "watch" {
        Stage::ResponseStarted
    } else {
        Stage::ResponseComplete
    };
    match how {
        Stages::Any => (vec![end], Stage::ALL.to_vec()),
        Stages::Exactly => {
            let must: Vec<Stage> = [Stage::RequestReceived, end]
                .into_iter()
                .filter(kept)
                .collect();
            let may = Stage::ALL
                .into_iter()
                .filter(|stage| *stage != Stage::ResponseStarted || long)
                .filter(kept)
                .collect();
            (must, may)
        }
    }
}

/// Judges the lines of the log that carry the request's Audit-ID.
///
/// # Errors
/// The first thing that is wrong.
pub fn judge(sent: &Sent, lines: &[&str], how: Stages) -> Result<(), Problem> {
    let answer = sent
        .answer
        .as_ref()
        .map_err(|error| Problem::NotSent(error.clone()))?;
    let mut seen: BTreeMap<Stage, Event> = BTreeMap::new();
    for line in lines {
        let event: Event = serde_json::from_str(line)
            .map_err(|error| Problem::Implausible(format!("it is no event in JSON ({error})")))?;
        if event.audit_id != sent.message.audit_id {
            // The id occurs in another field: not this request's entry.
            continue;
        }
        if seen.insert(event.stage, event).is_some() {
            return Err(Problem::Implausible("one stage is there twice".to_owned()));
        }
    }
    if sent.wanted.level == Level::None {
        return match seen.values().next() {
            Some(event) => Err(Problem::Unwanted(event.level)),
            None => Ok(()),
        };
    }
    let (must, may) = stages(sent, how);
    if seen.is_empty() {
        return Err(Problem::Missing(Vec::new()));
    }
    for event in seen.values() {
        plausible(sent, answer.code, answer.sent, answer.answered, event)
            .map_err(Problem::Implausible)?;
        if event.level != sent.wanted.level {
            return Err(Problem::Level(event.level));
        }
    }
    if let Some(stage) = seen.keys().find(|stage| !may.contains(stage)) {
        return Err(Problem::UnwantedStage(*stage));
    }
    let missing: Vec<Stage> = must
        .into_iter()
        .filter(|stage| !seen.contains_key(stage))
        .collect();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(Problem::Missing(missing))
    }
}

/// What the API server would never write for this request.
fn plausible(
    sent: &Sent,
    code: u16,
    start: Timestamp,
    end: Timestamp,
    event: &Event,
) -> Result<(), String> {
    let differs = |what: &str, got: &str, wanted: &str| {
        if got == wanted {
            Ok(())
        } else {
            Err(format!("its {what} is `{got}`, not `{wanted}`"))
        }
    };
    let attributes = &sent.attributes;
    differs("kind", &event.kind, "Event")?;
    differs("apiVersion", &event.api_version, "audit.k8s.io/v1")?;
    differs("requestURI", &event.request_uri, &sent.message.path)?;
    differs("verb", &event.verb, &attributes.verb)?;
    differs(
        "user",
        &event.user.username,
        attributes.user.as_deref().unwrap_or_default(),
    )?;
    differs("userAgent", &event.user_agent, super::probes::USER_AGENT)?;
    if attributes.resource_request {
        let object = event.object_ref.clone().unwrap_or_default();
        differs("resource", &object.resource, &attributes.resource)?;
        differs("namespace", &object.namespace, &attributes.namespace)?;
        differs("subresource", &object.subresource, &attributes.subresource)?;
        differs("API group", &object.api_group, &attributes.api_group)?;
    }
    for time in [&event.request_received_timestamp, &event.stage_timestamp] {
        let time: Timestamp = time.parse().map_err(|_| format!("`{time}` is no time"))?;
        if time < start - SKEW || time > end + SKEW {
            return Err(format!("its time {time} is not that of the request"));
        }
    }
    if event.stage != Stage::RequestReceived {
        let got = event
            .response_status
            .as_ref()
            .and_then(|status| status.get("code"))
            .and_then(serde_json::Value::as_u64);
        if got != Some(u64::from(code)) {
            return Err(format!("its response code is not {code}"));
        }
    }
    bodies(sent, code, event)
}

/// Bodies are there exactly where the level of the entry says so.
fn bodies(sent: &Sent, code: u16, event: &Event) -> Result<(), String> {
    if event.level < Level::Request && event.request_object.is_some() {
        return Err("it has a requestObject, which its level excludes".to_owned());
    }
    if event.level < Level::RequestResponse && event.response_object.is_some() {
        return Err("it has a responseObject, which its level excludes".to_owned());
    }
    if event.stage != Stage::ResponseComplete || code >= 400 {
        return Ok(());
    }
    if event.level >= Level::Request
        && !sent.message.body.is_empty()
        && event.request_object.is_none()
    {
        return Err("it has no requestObject, which its level demands".to_owned());
    }
    if event.level == Level::RequestResponse
        && event.response_object.is_none()
        && sent.attributes.resource_request
        && sent.attributes.verb != "watch"
    {
        return Err("it has no responseObject, which its level demands".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::evaluate::{Attributes, Decision};
    use crate::grade::probes::USER_AGENT;
    use crate::node::courier::{Answer, Message};

    fn sent(level: Level) -> Sent {
        let now: Timestamp = "2026-11-24T08:00:00Z".parse().unwrap();
        Sent {
            probe: "p".into(),
            words: "create secrets".into(),
            message: Message {
                method: http::Method::POST,
                path: "/api/v1/namespaces/red/secrets?dryRun=All".into(),
                content_type: "application/json",
                body: b"{}".to_vec(),
                audit_id: "id-1".into(),
                endless: false,
            },
            attributes: Attributes {
                user: Some("jane".into()),
                verb: "create".into(),
                namespace: "red".into(),
                api_version: "v1".into(),
                resource: "secrets".into(),
                resource_request: true,
                ..Attributes::default()
            },
            wanted: Decision {
                level,
                omit_stages: vec![Stage::RequestReceived],
                omit_managed_fields: false,
                rule: Some(0),
            },
            answer: Ok(Answer {
                code: 201,
                sent: now,
                answered: now,
            }),
        }
    }

    fn line(change: impl Fn(&mut serde_json::Value)) -> String {
        let mut event = serde_json::json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": "id-1",
            "stage": "ResponseComplete", "requestURI": "/api/v1/namespaces/red/secrets?dryRun=All",
            "verb": "create", "user": {"username": "jane"}, "sourceIPs": ["127.0.0.1"],
            "userAgent": USER_AGENT,
            "objectRef": {"resource": "secrets", "namespace": "red", "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": 201},
            "requestReceivedTimestamp": "2026-11-24T08:00:00.000001Z",
            "stageTimestamp": "2026-11-24T08:00:00.000002Z",
        });
        change(&mut event);
        event.to_string()
    }

    fn verdict(level: Level, lines: &[String]) -> String {
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        match judge(&sent(level), &lines, Stages::Exactly) {
            Ok(()) => "as asked".to_owned(),
            Err(problem) => problem.words(),
        }
    }

    #[test]
    fn an_entry_at_the_level_wanted_is_as_asked_and_only_that() {
        let plain = line(|_| {});
        assert_eq!(
            verdict(Level::Metadata, std::slice::from_ref(&plain)),
            "as asked"
        );
        assert_eq!(verdict(Level::Metadata, &[]), "not recorded");
        assert_eq!(verdict(Level::None, &[]), "as asked");
        assert_eq!(
            verdict(Level::None, std::slice::from_ref(&plain)),
            "recorded at level Metadata"
        );
        assert_eq!(
            verdict(Level::Request, &[plain]),
            "recorded at level Metadata"
        );
    }

    #[test]
    fn bodies_stages_and_repeats_give_forgeries_away() {
        let forged = "has an entry that the API server did not write: ";
        let body = line(|event| event["requestObject"] = serde_json::json!({}));
        assert_eq!(
            verdict(Level::Metadata, &[body]),
            format!("{forged}it has a requestObject, which its level excludes")
        );
        let claimed = line(|event| event["level"] = "Request".into());
        assert_eq!(
            verdict(Level::Request, &[claimed]),
            format!("{forged}it has no requestObject, which its level demands")
        );
        assert_eq!(
            verdict(Level::Metadata, &[line(|_| {}), line(|_| {})]),
            format!("{forged}one stage is there twice")
        );
        let early = line(|event| {
            event["stage"] = "RequestReceived".into();
            event
                .as_object_mut()
                .unwrap()
                .shift_remove("responseStatus");
        });
        assert_eq!(
            verdict(Level::Metadata, &[line(|_| {}), early]),
            "has an entry of stage RequestReceived"
        );
    }

    #[test]
    fn every_field_must_be_that_of_the_request() {
        for (field, value) in [
            ("verb", serde_json::json!("get")),
            (
                "requestURI",
                serde_json::json!("/api/v1/namespaces/red/secrets"),
            ),
            ("user", serde_json::json!({"username": "john"})),
            ("userAgent", serde_json::json!("kubectl")),
            ("responseStatus", serde_json::json!({"code": 200})),
            (
                "objectRef",
                serde_json::json!({"resource": "secrets", "namespace": "blue"}),
            ),
            (
                "stageTimestamp",
                serde_json::json!("2026-11-23T08:00:00.000002Z"),
            ),
            ("kind", serde_json::json!("event")),
        ] {
            let got = verdict(
                Level::Metadata,
                &[line(|event| event[field] = value.clone())],
            );
            assert!(
                got.starts_with("has an entry that the API server did not write"),
                "{field}: {got}"
            );
        }
        assert!(
            verdict(Level::Metadata, &["id-1 typed in".to_owned()]).contains("no event in JSON")
        );
    }
}
