//! Questions whose answers are computed: from a policy and a request, from flags, or from the entries of
//! a log. The scenario holds no table of right answers, so it cannot be wrong about them, nor be outdated.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::log_files;
use super::log_filter::LogFilter;
use super::request::{ProbeRequest, ProbeUser};
use crate::audit::compare::implied_groups;
use crate::audit::evaluate::Attributes;
use crate::audit::log::{Line, Record, parse_line};
use crate::audit::options::AuditOptions;
use crate::audit::outcome::outcome;
use crate::audit::policy::load;
use crate::node::{Node, NodeError};

/// An answer in a file that the learner writes, `KEY: VALUE` on a line: exactly one of `evaluate`,
/// `flags` and `query` says what is right.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AnswerCheck {
    /// The name of the answer.
    pub key: String,
    /// The file on the node.
    #[serde(default = "answers_file")]
    pub path: String,
    /// What a policy does with a request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evaluate: Option<Evaluate>,
    /// What flags of the API server mean.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<FlagsQuestion>,
    /// What a log of the node says, as it is when the setup is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<Query>,
}

/// Where answers are written.
#[must_use]
pub fn answers_file() -> String {
    "/root/answers.yaml".to_owned()
}

/// A policy and a request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evaluate {
    /// The text of the policy.
    pub policy: String,
    /// Who asks; without it the cluster's administrator. Groups that come with the name are added.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub user: Option<ProbeUser>,
    /// The request.
    pub request: ProbeRequest,
    /// What is asked.
    pub ask: PolicyAsk,
}

/// What is asked of a policy and a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyAsk {
    /// The level: `None`, `Metadata`, `Request`, `RequestResponse`.
    Level,
    /// The stages of which there are entries, all of them; `none`.
    Stages,
    /// How many entries there are.
    Entries,
    /// The number of the rule that decides, from 1; `none`.
    Rule,
    /// Whether the last entry has a requestObject. Not for deletions, where it depends on the client.
    RequestBody,
    /// Whether the last entry has a responseObject.
    ResponseBody,
    /// Whether an API server starts with the policy. The request means nothing.
    Starts,
}

/// Flags of an API server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlagsQuestion {
    /// The audit flags, `--name=value`.
    pub flags: Vec<String>,
    /// What is asked.
    pub ask: FlagsAsk,
}

/// What is asked of flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlagsAsk {
    /// Megabytes that the log and its old files may take; `unlimited`.
    Megabytes,
    /// Days after which old files go; `unlimited`.
    Days,
    /// How many files there are at most, the current one included; `unlimited`.
    Files,
    /// The mode of the log backend.
    Mode,
    /// Whether anything is recorded (there are a policy and a backend).
    Records,
    /// Whether an API server accepts the flags.
    Starts,
}

/// A question to a log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// The log on the node; its rotated files are read, too.
    pub log: String,
    /// The entries it is about.
    #[serde(default)]
    pub filter: LogFilter,
    /// What is asked.
    pub ask: LogAsk,
    /// Of several entries, which.
    #[serde(default)]
    pub of: Which,
}

/// What is asked of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LogAsk {
    /// Who asked.
    User,
    /// The verb.
    Verb,
    /// The resource, with its subresource.
    Resource,
    /// The namespace.
    Namespace,
    /// The name of the object.
    Name,
    /// The status code.
    Code,
    /// The program: the User-Agent, its first word, or the part before the slash.
    Agent,
    /// The source address.
    Address,
    /// The level.
    Level,
    /// The Audit-ID.
    AuditId,
    /// `allow` or `forbid`.
    Decision,
    /// The request URI.
    Uri,
    /// How many requests there are.
    Count,
    /// How many entries there are.
    Entries,
}

/// Which of several values is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Which {
    /// All of them, in any order.
    #[default]
    All,
    /// That of the first entry.
    First,
    /// That of the last entry.
    Last,
    /// The one of most requests.
    Most,
}

/// Right answers, one value each; a question with several wants all of them.
pub type Solution = Vec<String>;

impl AnswerCheck {
    /// The solution, where no log is needed for it.
    ///
    /// # Errors
    /// Why the question has none: a mistake of the scenario.
    pub fn computed(&self) -> Option<Result<Solution, String>> {
        match (&self.evaluate, &self.flags, &self.query) {
            (Some(question), None, None) => Some(question.solution()),
            (None, Some(question), None) => Some(question.solution()),
            (None, None, Some(_)) => None,
            _ => Some(Err(
                "an answer needs exactly one of `evaluate`, `flags` and `query`".to_owned(),
            )),
        }
    }

    /// The solution; a log is read on the node.
    ///
    /// # Errors
    /// When the node cannot be asked. The inner error says why the question has no answer.
    pub fn solution(&self, node: &dyn Node) -> Result<Result<Solution, String>, NodeError> {
        if let Some(computed) = self.computed() {
            return Ok(computed);
        }
        let Some(query) = &self.query else {
            return Ok(Err("there is no question".to_owned()));
        };
        Ok(query.solution(&log_files::lines(node, &query.log)?))
    }
}

fn yes_or_no(yes: bool) -> Solution {
    vec![if yes { "yes" } else { "no" }.to_owned()]
}

impl Evaluate {
    fn solution(&self) -> Result<Solution, String> {
        let loaded = load(self.policy.as_bytes());
        if self.ask == PolicyAsk::Starts {
            return Ok(yes_or_no(loaded.is_ok()));
        }
        let policy = loaded.map_err(|error| error.message)?.policy;
        let found = outcome(&policy, &self.attributes());
        Ok(match self.ask {
            PolicyAsk::Level => vec![found.level.name().to_owned()],
            PolicyAsk::Stages if found.stages.is_empty() => vec!["none".to_owned()],
            PolicyAsk::Stages => {
                let names = found.stages.iter().map(|stage| stage.name().to_owned());
                names.collect()
            }
            PolicyAsk::Entries => vec![found.stages.len().to_string()],
            PolicyAsk::Rule => vec![match found.rule {
                Some(rule) => (rule + 1).to_string(),
                None => "none".to_owned(),
            }],
            PolicyAsk::RequestBody => yes_or_no(found.request_body.ok_or(
                "whether a deletion has a request body depends on the client: ask of another verb",
            )?),
            PolicyAsk::ResponseBody => yes_or_no(found.response_body),
            PolicyAsk::Starts => Vec::new(),
        })
    }

    fn attributes(&self) -> Attributes {
        let request = &self.request;
        let (name, mut groups) = match &self.user {
            Some(user) => (user.name.clone(), user.groups.clone()),
            None => ("kubernetes-admin".to_owned(), Vec::new()),
        };
        groups.extend(implied_groups(&name));
        request.attributes(name, groups)
    }
}

impl FlagsQuestion {
    fn solution(&self) -> Result<Solution, String> {
        let argv: Vec<String> = std::iter::once("kube-apiserver".to_owned())
            .chain(self.flags.iter().cloned())
            .collect();
        let options = AuditOptions::from_argv(&argv);
        if self.ask == FlagsAsk::Starts {
            let fine = options.is_ok_and(|options| options.validate().is_empty());
            return Ok(yes_or_no(fine));
        }
        let options = options.map_err(|error| error.to_string())?;
        let log = &options.log;
        let number = |value: Option<u64>| match value {
            Some(value) => vec![value.to_string()],
            None => vec!["unlimited".to_owned()],
        };
        Ok(match self.ask {
            FlagsAsk::Megabytes => number(log.worst_megabytes()),
            FlagsAsk::Days => number(log.days()),
            FlagsAsk::Files if log.max_size == 0 => number(Some(1)),
            FlagsAsk::Files => number(
                u64::try_from(log.max_backup)
                    .ok()
                    .filter(|old| *old > 0)
                    .map(|old| old.saturating_add(1)),
            ),
            FlagsAsk::Mode => vec![log.batch.mode.clone()],
            FlagsAsk::Records => {
                let backend = !log.path.is_empty() || !options.webhook.config_file.is_empty();
                yes_or_no(backend && !options.policy_file.is_empty())
            }
            FlagsAsk::Starts => Vec::new(),
        })
    }
}

impl Query {
    /// The solution, from the lines of the log.
    ///
    /// # Errors
    /// When no entry is meant, or the filter is wrong.
    pub fn solution(&self, lines: &[String]) -> Result<Solution, String> {
        let filter = self.filter.filter()?;
        let mut records: Vec<Record> = Vec::new();
        for line in lines {
            if let Line::Events(events) = parse_line(line.as_bytes()) {
                let wanted = |record: &Record| filter.passes(record, line.as_bytes());
                records.extend(events.into_iter().filter(wanted));
            }
        }
        if records.is_empty() {
            return Err("no entry of the log is meant".to_owned());
        }
        records.sort_by_key(|record| record.time);
        let requests: BTreeSet<&str> = records
            .iter()
            .map(|record| record.audit_id.as_str())
            .collect();
        match self.ask {
            LogAsk::Count => return Ok(vec![requests.len().to_string()]),
            LogAsk::Entries => return Ok(vec![records.len().to_string()]),
            _ => {}
        }
        let mut values: Vec<(String, &str)> = records
            .iter()
            .flat_map(|record| {
                let id = record.audit_id.as_str();
                self.ask
                    .values(record)
                    .into_iter()
                    .map(move |value| (value, id))
            })
            .filter(|(value, _)| !value.is_empty())
            .collect();
        let one = |value: Option<&(String, &str)>| {
            let value = value.ok_or("no entry of the log says it")?;
            Ok(vec![value.0.clone()])
        };
        match self.of {
            Which::First => one(values.first()),
            Which::Last => one(values.last()),
            Which::All | Which::Most => {
                values.sort();
                values.dedup();
                let mut counts: BTreeMap<String, usize> = BTreeMap::new();
                for (value, _) in values {
                    *counts.entry(value).or_default() += 1;
                }
                if counts.is_empty() {
                    return Err("no entry of the log says it".to_owned());
                }
                if self.of == Which::All {
                    return Ok(counts.into_keys().collect());
                }
                let most = counts.values().max().copied().unwrap_or(0);
                let top: Vec<String> = counts
                    .into_iter()
                    .filter(|(_, count)| *count == most)
                    .map(|(value, _)| value)
                    .collect();
                match top.len() {
                    1 => Ok(top),
                    several => Err(format!("{several} values are equally frequent")),
                }
            }
        }
    }
}

impl LogAsk {
    fn values(self, record: &Record) -> Vec<String> {
        vec![match self {
            LogAsk::User => record.user.clone(),
            LogAsk::Verb => record.verb.clone(),
            LogAsk::Resource => record.resource_path(),
            LogAsk::Namespace => record.namespace.clone(),
            LogAsk::Name => record.name.clone(),
            LogAsk::Code => record.code.map(|code| code.to_string()).unwrap_or_default(),
            LogAsk::Agent => record.user_agent.clone(),
            LogAsk::Address => return record.source_ips.clone(),
            LogAsk::Level => record.level.clone(),
            LogAsk::AuditId => record.audit_id.clone(),
            LogAsk::Decision => record.decision.clone(),
            LogAsk::Uri => record.uri.clone(),
            LogAsk::Count | LogAsk::Entries => String::new(),
        }]
    }
}

/// Writes answers, right ones but for those that are given: for attempts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WriteAnswers {
    /// Answers that are written as they stand here, by key; an empty text leaves the answer out.
    pub instead: BTreeMap<String, String>,
    /// The questions of the scenario.
    #[serde(skip)]
    pub questions: Vec<AnswerCheck>,
}

impl WriteAnswers {
    /// The files to write, by path.
    ///
    /// # Errors
    /// When the node cannot be asked; the inner error names a question without an answer.
    pub fn files(
        &self,
        node: &dyn Node,
    ) -> Result<Result<BTreeMap<String, String>, String>, NodeError> {
        let mut files: BTreeMap<String, String> = BTreeMap::new();
        let mut done = BTreeSet::new();
        for question in &self.questions {
            if !done.insert((&question.path, &question.key)) {
                continue;
            }
            let value = match self.instead.get(&question.key) {
                Some(value) => value.clone(),
                None => match question.solution(node)? {
                    Ok(values) => written(&values),
                    Err(message) => return Ok(Err(format!("`{}`: {message}", question.key))),
                },
            };
            let file = files.entry(question.path.clone()).or_default();
            if !value.is_empty() {
                file.push_str(&format!("{}: {value}\n", question.key));
            }
        }
        Ok(Ok(files))
    }
}

/// Values as a learner would write them.
#[must_use]
pub fn written(values: &[String]) -> String {
    match values {
        [one] => one.clone(),
        several => format!("[{}]", several.join(", ")),
    }
}
