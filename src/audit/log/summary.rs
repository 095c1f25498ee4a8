//! Counts of requests by user, verb, resource and so on.

use std::collections::HashMap;

use super::record::{Record, Time};

/// What requests are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum By {
    /// User.
    User,
    /// Verb.
    Verb,
    /// Resource with subresource and group; the path of other requests.
    Resource,
    /// Namespace.
    Namespace,
    /// Object name with its resource.
    Name,
    /// Status code.
    Code,
    /// Level.
    Level,
    /// Stage (of events, not of requests).
    Stage,
    /// Source address.
    SourceIp,
    /// Program, the first word of the User-Agent.
    UserAgent,
    /// Authorisation decision.
    Decision,
}

impl By {
    /// Every one, the most useful first.
    pub const ALL: [By; 11] = [
        By::User,
        By::Verb,
        By::Resource,
        By::Namespace,
        By::Name,
        By::Code,
        By::Level,
        By::Stage,
        By::SourceIp,
        By::UserAgent,
        By::Decision,
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            By::User => "user",
            By::Verb => "verb",
            By::Resource => "resource",
            By::Namespace => "namespace",
            By::Name => "name",
            By::Code => "code",
            By::Level => "level",
            By::Stage => "stage",
            By::SourceIp => "source-ip",
            By::UserAgent => "user-agent",
            By::Decision => "decision",
        }
    }

    fn value(self, record: &Record) -> String {
        let text = |text: &str| {
            if text.is_empty() {
                "(none)".to_owned()
            } else {
                text.to_owned()
            }
        };
        match self {
            By::User => text(&record.user),
            By::Verb => text(&record.verb),
            By::Resource => resource(record),
            By::Namespace => text(&record.namespace),
            By::Name => {
                if record.name.is_empty() {
                    "(none)".to_owned()
                } else {
                    format!("{} {}", resource(record), record.name)
                }
            }
            By::Code => record
                .code
                .map_or_else(|| "(none)".to_owned(), |code| code.to_string()),
            By::Level => text(&record.level),
            By::Stage => text(&record.stage),
            By::SourceIp => record
                .source_ips
                .first()
                .map_or_else(|| "(none)".to_owned(), Clone::clone),
            By::UserAgent => text(
                record
                    .user_agent
                    .split_whitespace()
                    .next()
                    .unwrap_or_default(),
            ),
            By::Decision => text(&record.decision),
        }
    }
}

fn resource(record: &Record) -> String {
    if record.resource.is_empty() {
        let path = record.uri.split('?').next().unwrap_or_default();
        return if path.is_empty() {
            "(none)".to_owned()
        } else {
            path.to_owned()
        };
    }
    let path = record.resource_path();
    if record.api_group.is_empty() {
        path
    } else {
        match path.split_once('/') {
            Some((resource, sub)) => format!("{resource}.{}/{sub}", record.api_group),
            None => format!("{path}.{}", record.api_group),
        }
    }
}

/// Counts requests: several events with one Audit-ID are one request, seen at its last stage.
#[derive(Debug, Default)]
pub struct Summary {
    by: Vec<By>,
    counts: HashMap<By, HashMap<String, u64>>,
    /// Requests whose last stage has not been seen yet.
    pending: HashMap<String, Vec<String>>,
    /// Events.
    pub events: u64,
    /// Requests.
    pub requests: u64,
    /// Time of the first event.
    pub first: Option<Time>,
    /// Time of the last event.
    pub last: Option<Time>,
}

impl Summary {
    /// Counts by these.
    #[must_use]
    pub fn new(by: Vec<By>) -> Self {
        Self {
            by,
            ..Self::default()
        }
    }

    /// Takes an event.
    pub fn add(&mut self, record: &Record) {
        self.events += 1;
        if let Some(time) = record.time {
            self.first = Some(self.first.map_or(time, |first| first.min(time)));
            self.last = Some(self.last.map_or(time, |last| last.max(time)));
        }
        if self.by.contains(&By::Stage) {
            let stage = By::Stage.value(record);
            *self
                .counts
                .entry(By::Stage)
                .or_default()
                .entry(stage)
                .or_default() += 1;
        }
        let values: Vec<String> = self.by.iter().map(|by| by.value(record)).collect();
        let last = !matches!(record.stage.as_str(), "RequestReceived" | "ResponseStarted");
        if last || record.audit_id.is_empty() {
            self.pending.remove(&record.audit_id);
            self.count(&values);
        } else {
            self.pending.insert(record.audit_id.clone(), values);
        }
    }

    fn count(&mut self, values: &[String]) {
        self.requests += 1;
        for (by, value) in self.by.iter().zip(values) {
            if *by != By::Stage {
                *self
                    .counts
                    .entry(*by)
                    .or_default()
                    .entry(value.clone())
                    .or_default() += 1;
            }
        }
    }

    /// Ends counting: requests without a last stage are counted as they are.
    pub fn finish(&mut self) {
        for (_, values) in std::mem::take(&mut self.pending) {
            self.count(&values);
        }
    }

    /// The counts by one thing, the most frequent first.
    #[must_use]
    pub fn counts(&self, by: By) -> Vec<(String, u64)> {
        let mut counts: Vec<(String, u64)> = self
            .counts
            .get(&by)
            .map(|counts| {
                counts
                    .iter()
                    .map(|(value, count)| (value.clone(), *count))
                    .collect()
            })
            .unwrap_or_default();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        counts
    }

    /// What it counts by.
    #[must_use]
    pub fn by(&self) -> &[By] {
        &self.by
    }
}
