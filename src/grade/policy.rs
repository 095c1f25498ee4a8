//! The policy by meaning: the one the API server sees against the scenario's reference, over every
//! class of requests that either of them tells apart.

use serde_json::{Value, json};

use super::probes::describe;
use super::report::Outcome;
use crate::audit::compare::{Identity, Scope, try_representatives};
use crate::audit::evaluate::{Attributes, Decision, evaluate};
use crate::audit::level::{Level, Stage};
use crate::audit::policy::{Policy, PolicyRule, load};
use crate::scenario::definition::{Compare, PolicyCheck, PolicyGoal, Stages};

/// A request on which the policy does not do what is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Counterexample {
    /// The request.
    pub request: Attributes,
    /// What is asked.
    pub wanted: Decision,
    /// What the policy does.
    pub got: Decision,
}

/// A comparison: a goal and the requests over which policies are compared.
#[derive(Debug, Clone)]
pub struct Comparison<'a> {
    goal: &'a PolicyGoal,
    /// The reference policy.
    pub reference: Policy,
}

impl<'a> Comparison<'a> {
    /// Prepares a goal.
    ///
    /// # Errors
    /// When the reference cannot be loaded: a mistake of the scenario.
    pub fn new(goal: &'a PolicyGoal) -> Result<Self, String> {
        Ok(Self {
            goal,
            reference: reference(goal)?,
        })
    }

    /// The requests of a check on which `policy` does not do what is asked.
    ///
    /// # Errors
    /// When the check's own match rules cannot be loaded.
    pub fn counterexamples(
        &self,
        policy: &Policy,
        check: &PolicyCheck,
    ) -> Result<Vec<Counterexample>, String> {
        let scope = Scope {
            within: matches(&check.only)?,
            without: matches(&check.except)?,
            identities: self
                .goal
                .users
                .iter()
                .map(|user| Identity {
                    user: user.clone(),
                    groups: vec!["system:authenticated".to_owned()],
                })
                .collect(),
            namespaces: self.goal.namespaces.clone(),
            ..Scope::default()
        };
        Ok(try_representatives(&[&self.reference, policy], &scope)
            .map_err(|error| error.to_string())?
            .into_iter()
            .filter_map(|request| {
                let wanted = evaluate(&self.reference, &request);
                let got = evaluate(policy, &request);
                let fine = (check.stages_only || level_fits(check.compare, &wanted, &got))
                    && (check.compare != Compare::Exactly
                        || stages_fit(self.goal.stages, &request, &wanted, &got));
                (!fine).then_some(Counterexample {
                    request,
                    wanted,
                    got,
                })
            })
            .collect())
    }

    /// Checks a policy.
    #[must_use]
    pub fn check(&self, policy: &Policy, path: &str, check: &PolicyCheck) -> Outcome {
        let found = match self.counterexamples(policy, check) {
            Ok(found) => found,
            Err(error) => {
                return Outcome::blocked(
                    "every request of this kind is treated as asked",
                    format!("blocked: {error}"),
                    "ckslab scenario lint",
                );
            }
        };
        let Some(first) = found.first() else {
            return Outcome::pass(
                "every request of this kind is treated as asked",
                "it is, in every case the policies tell apart",
            );
        };
        let more = match found.len() {
            1 => String::new(),
            count => format!(" (and {} more kinds of request)", count - 1),
        };
        Outcome::fail(
            format!(
                "{}: {}",
                words(&first.request),
                decision(&first.wanted, &first.got)
            ),
            format!("{}{more}", got_words(&first.got, &first.wanted, policy)),
            explain_command(path, &first.request),
        )
    }
}

/// Loads the reference policy of a goal.
///
/// # Errors
/// The loader's text.
pub fn reference(goal: &PolicyGoal) -> Result<Policy, String> {
    let loaded = load(goal.reference.as_bytes()).map_err(|error| error.message)?;
    match loaded.warnings.first() {
        Some(warning) => Err(warning.clone()),
        None => Ok(loaded.policy),
    }
}

/// The match parts of rules, as rules.
fn matches(parts: &[Value]) -> Result<Vec<PolicyRule>, String> {
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let rules: Vec<Value> = parts
        .iter()
        .map(|rule| {
            let mut rule = rule.clone();
            if let Some(fields) = rule.as_object_mut() {
                fields.insert("level".into(), "Metadata".into());
            }
            rule
        })
        .collect();
    let text =
        json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}).to_string();
    let loaded = load(text.as_bytes()).map_err(|error| error.message)?;
    match loaded.warnings.first() {
        Some(warning) => Err(warning.clone()),
        None => Ok(loaded.policy.rules),
    }
}

fn level_fits(compare: Compare, wanted: &Decision, got: &Decision) -> bool {
    match compare {
        Compare::Exactly => got.level == wanted.level,
        Compare::AtLeast => got.level >= wanted.level,
        Compare::AtMost => got.level <= wanted.level,
    }
}

/// Stages matter only where something is recorded, and a stage only where the request has it.
fn stages_fit(how: Stages, request: &Attributes, wanted: &Decision, got: &Decision) -> bool {
    if wanted.level == Level::None || got.level == Level::None {
        return true;
    }
    match how {
        Stages::Any => !got.omit_stages.contains(&Stage::ResponseComplete),
        Stages::Exactly => Stage::ALL
            .into_iter()
            .filter(|stage| match stage {
                Stage::Panic => false,
                Stage::ResponseStarted => is_long(request),
                _ => true,
            })
            .all(|stage| got.omit_stages.contains(&stage) == wanted.omit_stages.contains(&stage)),
    }
}

fn is_long(request: &Attributes) -> bool {
    request.verb == "watch"
        || ["exec", "attach", "portforward", "proxy", "log"].contains(&request.subresource.as_str())
}

fn words(request: &Attributes) -> String {
    match &request.user {
        Some(user) => format!("{} as {user}", describe(request)),
        None => describe(request),
    }
}

fn decision(wanted: &Decision, got: &Decision) -> String {
    if wanted.level == got.level {
        return match stage_names(&wanted.omit_stages) {
            names if names.is_empty() => format!("{}, no stage left out", wanted.level.name()),
            names => format!("{}, without stage {names}", wanted.level.name()),
        };
    }
    match wanted.level {
        Level::None => "not recorded".to_owned(),
        level => format!("level {}", level.name()),
    }
}

fn got_words(got: &Decision, wanted: &Decision, policy: &Policy) -> String {
    let what = if got.level == wanted.level {
        match stage_names(&got.omit_stages) {
            names if names.is_empty() => format!("{}, no stage left out", got.level.name()),
            names => format!("{}, without stage {names}", got.level.name()),
        }
    } else if got.level == Level::None {
        "not recorded".to_owned()
    } else {
        format!("level {}", got.level.name())
    };
    match got.rule {
        Some(rule) => format!(
            "{what}: rule {} of {} is the first that matches",
            rule + 1,
            policy.rules.len()
        ),
        None => format!("{what}: no rule of {} matches", policy.rules.len()),
    }
}

fn stage_names(stages: &[Stage]) -> String {
    stages
        .iter()
        .map(|stage| stage.name())
        .collect::<Vec<_>>()
        .join(", ")
}

/// The command that shows which rule decides.
fn explain_command(path: &str, request: &Attributes) -> String {
    let mut command = format!("ckslab policy explain node:{path} --verb {}", request.verb);
    let mut option = |name: &str, value: &str| {
        if !value.is_empty() {
            command.push_str(&format!(" --{name} {value}"));
        }
    };
    if request.resource_request {
        option("api-group", &request.api_group);
        option("resource", &request.resource);
        option("subresource", &request.subresource);
        option("namespace", &request.namespace);
        option("name", &request.name);
    } else {
        option("path", &request.path);
    }
    option("user", request.user.as_deref().unwrap_or_default());
    for group in &request.groups {
        option("group", group);
    }
    command
}

/// What would decide if the rule that matched were not there: the rule it shadows.
#[must_use]
pub fn shadowed(policy: &Policy, example: &Counterexample) -> Option<(usize, usize)> {
    let first = example.got.rule?;
    let mut rest = policy.clone();
    rest.rules = policy.rules.iter().skip(first + 1).cloned().collect();
    let later = evaluate(&rest, &example.request);
    let rule = later.rule?;
    (later.level == example.wanted.level).then_some((first + 1, first + 1 + rule + 1))
}
