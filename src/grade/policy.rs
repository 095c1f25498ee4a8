//! The policy by meaning: the one the API server sees against the scenario's reference, over every
//! class of requests that either of them tells apart.

use super::probes::describe;
use super::report::Outcome;
use super::requirement::{Miss, Wanted};
use crate::audit::compare::{Identity, Scope, implied_groups, try_decided};
use crate::audit::evaluate::{Attributes, Decision, decide, evaluate};
use crate::audit::outcome::kind;
use crate::audit::policy::{Policy, load};
use crate::scenario::definition::{PolicyCheck, PolicyGoal};
use crate::scenario::policy_check::rules;

/// A request on which the policy does not do what is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Counterexample {
    /// The request.
    pub request: Attributes,
    /// What the reference policy does.
    pub wanted: Decision,
    /// What the policy does.
    pub got: Decision,
    /// What is not as asked.
    pub miss: Miss,
}

/// A comparison: a goal and the requests over which policies are compared.
#[derive(Debug, Clone)]
pub struct Comparison<'a> {
    goal: &'a PolicyGoal,
    /// The reference policy; one without rules where the goal has none.
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

    /// The requests of a check with which `policy` does not do what is asked, the most telling first: one
    /// for each pair of rules, of the reference and of the policy, and each kind of request.
    ///
    /// # Errors
    /// When the check's own match rules cannot be loaded, or it asks for nothing.
    pub fn counterexamples(
        &self,
        policy: &Policy,
        check: &PolicyCheck,
    ) -> Result<Vec<Counterexample>, String> {
        if check.level.is_none() && self.goal.reference.is_empty() && !check.is_about_details() {
            return Err(
                "the scenario has no reference policy, and the check no `level`".to_owned(),
            );
        }
        let (within, mut without) = check.scope()?;
        without.extend(rules(&self.goal.free)?);
        let scope = Scope {
            within,
            without,
            identities: self
                .goal
                .users
                .iter()
                .map(|user| Identity {
                    user: user.clone(),
                    groups: implied_groups(user),
                })
                .collect(),
            namespaces: self.goal.namespaces.clone(),
            ..Scope::default()
        };
        Ok(try_decided(&self.reference, policy, &scope, kind)
            .map_err(|error| error.to_string())?
            .into_iter()
            .filter_map(|decided| {
                let wanted = decide(&self.reference, decided.a);
                let got = decide(policy, decided.b);
                let miss = Wanted::of(check, self.goal, &decided.request, &wanted)
                    .miss(&decided.request, &got)?;
                Some(Counterexample {
                    request: decided.request,
                    wanted,
                    got,
                    miss,
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
        let got = first.miss.got(&first.request, &first.got);
        let rule = match first.got.rule {
            Some(rule) => format!(
                "rule {} of {} is the first that matches",
                rule + 1,
                policy.rules.len()
            ),
            None => format!("no rule of {} matches", policy.rules.len()),
        };
        Outcome::fail(
            format!("{}: {}", words(&first.request), first.miss.wanted()),
            format!("{got}: {rule}{more}"),
            explain_command(path, &first.request),
        )
    }
}

/// Loads the reference policy of a goal.
///
/// # Errors
/// The loader's text.
pub fn reference(goal: &PolicyGoal) -> Result<Policy, String> {
    if goal.reference.is_empty() {
        return Ok(Policy::default());
    }
    let loaded = load(goal.reference.as_bytes()).map_err(|error| error.message)?;
    match loaded.warnings.first() {
        Some(warning) => Err(warning.clone()),
        None => Ok(loaded.policy),
    }
}

/// A request in words, with the groups of its user that do not come with the name.
fn words(request: &Attributes) -> String {
    let Some(user) = &request.user else {
        return describe(request);
    };
    let usual = implied_groups(user);
    let groups: Vec<String> = request
        .groups
        .iter()
        .filter(|group| !usual.contains(group))
        .map(|group| format!("`{group}`"))
        .collect();
    let member = match groups.as_slice() {
        [] => String::new(),
        [one] => format!(" of group {one}"),
        several => format!(" of groups {}", several.join(", ")),
    };
    format!("{} as {user}{member}", describe(request))
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
