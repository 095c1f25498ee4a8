//! Which events a question is about.

use super::record::{Record, Time};

/// A filter: an event passes when it satisfies every condition that is set; of the values of one
/// condition one is enough.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Users; `*` stands for any text. An impersonated user counts too.
    pub users: Vec<String>,
    /// Groups of the user.
    pub groups: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
    /// Resources: `pods`, `pods/exec`, `pods/*`, `deployments.apps`.
    pub resources: Vec<String>,
    /// Namespaces; empty is cluster scope.
    pub namespaces: Vec<String>,
    /// Object names.
    pub names: Vec<String>,
    /// Status codes.
    pub codes: Vec<Codes>,
    /// Levels.
    pub levels: Vec<String>,
    /// Stages.
    pub stages: Vec<String>,
    /// Audit-IDs.
    pub audit_ids: Vec<String>,
    /// Source addresses.
    pub source_ips: Vec<String>,
    /// Parts of the User-Agent.
    pub user_agents: Vec<String>,
    /// Request URIs.
    pub uris: Vec<String>,
    /// Authorisation decisions: `allow`, `forbid`.
    pub decisions: Vec<String>,
    /// Texts anywhere in the line.
    pub texts: Vec<String>,
    /// Not before.
    pub since: Option<Time>,
    /// Before.
    pub until: Option<Time>,
}

/// Some status codes: `404`, `4xx`, `>=400`, `400-499`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Codes {
    low: u16,
    high: u16,
}

impl std::str::FromStr for Codes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str| -> Result<u16, String> {
            let number = text.trim().parse::<u16>().ok().filter(|code| *code < 1000);
            number.ok_or_else(|| {
                format!("`{text}` is no status code; write 404, 4xx, 400-499 or >=400")
            })
        };
        if let Some(low) = text.strip_prefix(">=") {
            return Ok(Self {
                low: number(low)?,
                high: 999,
            });
        }
        if let Some(low) = text.strip_prefix('>') {
            return Ok(Self {
                low: number(low)? + 1,
                high: 999,
            });
        }
        if let Some(high) = text.strip_prefix("<=") {
            return Ok(Self {
                low: 0,
                high: number(high)?,
            });
        }
        if let Some(high) = text.strip_prefix('<') {
            return Ok(Self {
                low: 0,
                high: number(high)?.saturating_sub(1),
            });
        }
        if let Some((low, high)) = text.split_once('-') {
            return Ok(Self {
                low: number(low)?,
                high: number(high)?,
            });
        }
        if let Some(class) = text.to_ascii_lowercase().strip_suffix("xx") {
            let class = number(class)?;
            if (1..=9).contains(&class) {
                return Ok(Self {
                    low: class * 100,
                    high: class * 100 + 99,
                });
            }
        }
        let code = number(text)?;
        Ok(Self {
            low: code,
            high: code,
        })
    }
}

impl Codes {
    fn contain(self, code: Option<u16>) -> bool {
        code.is_some_and(|code| (self.low..=self.high).contains(&code))
    }
}

/// Whether a text matches a pattern in which `*` stands for any text.
#[must_use]
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

fn any(patterns: &[String], text: &str) -> bool {
    patterns.is_empty() || patterns.iter().any(|pattern| glob(pattern, text))
}

fn any_of(patterns: &[String], texts: &[String]) -> bool {
    patterns.is_empty() || texts.iter().any(|text| any(patterns, text))
}

fn any_word(words: &[String], text: &str) -> bool {
    words.is_empty() || words.iter().any(|word| word.eq_ignore_ascii_case(text))
}

fn contains(line: &[u8], text: &str) -> bool {
    text.is_empty() || line.windows(text.len()).any(|part| part == text.as_bytes())
}

impl Filter {
    /// Whether an event passes; `line` is the line it is on.
    #[must_use]
    pub fn passes(&self, record: &Record, line: &[u8]) -> bool {
        let user_ok = any(&self.users, &record.user)
            || record
                .impersonated
                .as_ref()
                .is_some_and(|user| any(&self.users, user));
        user_ok
            && any_of(&self.groups, &record.groups)
            && any_word(&self.verbs, &record.verb)
            && (self.resources.is_empty()
                || self.resources.iter().any(|spec| resource(spec, record)))
            && any(&self.namespaces, &record.namespace)
            && any(&self.names, &record.name)
            && (self.codes.is_empty() || self.codes.iter().any(|codes| codes.contain(record.code)))
            && any_word(&self.levels, &record.level)
            && any_word(&self.stages, &record.stage)
            && any(&self.audit_ids, &record.audit_id)
            && any_of(&self.source_ips, &record.source_ips)
            && (self.user_agents.is_empty()
                || self
                    .user_agents
                    .iter()
                    .any(|part| record.user_agent.contains(part)))
            && any(&self.uris, &record.uri)
            && any_word(&self.decisions, &record.decision)
            && self.texts.iter().all(|text| contains(line, text))
            && self
                .since
                .is_none_or(|since| record.time.is_some_and(|time| time >= since))
            && self
                .until
                .is_none_or(|until| record.time.is_some_and(|time| time < until))
    }
}

/// `pods` is pods without subresources, `pods/exec` one of them, `pods/*` everything of pods.
fn resource(spec: &str, record: &Record) -> bool {
    let (name, sub) = match spec.split_once('/') {
        Some((name, sub)) => (name, Some(sub)),
        None => (spec, None),
    };
    let (name, group) = match name.split_once('.') {
        Some((name, group)) => (name, Some(group)),
        None => (name, None),
    };
    let sub_ok = match sub {
        None => record.subresource.is_empty(),
        Some("*") => true,
        Some(sub) => glob(sub, &record.subresource),
    };
    !record.resource.is_empty()
        && glob(name, &record.resource)
        && sub_ok
        && group.is_none_or(|group| glob(group, &record.api_group))
}
