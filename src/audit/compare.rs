//! Policies compared by meaning: over every class of requests that they can tell apart.
//!
//! A policy looks at a request through finitely many questions: is the user one of these, is the verb
//! one of those... Requests that give the same answers to the questions of all rules are one class and
//! are decided alike, so one concrete request per class is enough. Classes are built from the constants of the
//! policies plus a fresh value for each dimension, real-looking ones first.

mod decisions;
mod identities;
mod operations;
mod signature;

use std::collections::{BTreeSet, HashMap};

use super::catalog::Resource;
use super::evaluate::{Attributes, Decision, evaluate};
use super::level::{Level, Stage};
use super::policy::{Policy, PolicyRule};
pub use decisions::{Decided, try_decided};
pub use identities::implied_groups;
use signature::Signature;

/// Which requests are looked at, and what of a decision counts.
#[derive(Debug, Clone)]
pub struct Scope {
    /// Only requests that match one of these rules (their level means nothing); empty means every request.
    pub within: Vec<PolicyRule>,
    /// No request that matches one of these rules.
    pub without: Vec<PolicyRule>,
    /// Identities that requests are shown with first.
    pub identities: Vec<Identity>,
    /// Namespaces that exist, shown first.
    pub namespaces: Vec<String>,
    /// Object names, shown first.
    pub names: Vec<String>,
    /// Resources besides the built-in ones.
    pub resources: Vec<Resource>,
    /// Whether only requests that can occur count, or anything a policy could be asked.
    pub space: Space,
    /// The stages that count.
    pub stages: Vec<Stage>,
    /// Whether `omitManagedFields` counts, where bodies are recorded.
    pub managed_fields: bool,
    /// More combinations of classes than this are too many.
    pub limit: usize,
}

impl Default for Scope {
    fn default() -> Self {
        Self {
            within: Vec::new(),
            without: Vec::new(),
            identities: Vec::new(),
            namespaces: Vec::new(),
            names: Vec::new(),
            resources: Vec::new(),
            space: Space::Possible,
            stages: Stage::ALL.to_vec(),
            managed_fields: true,
            limit: MAX_COMBINATIONS,
        }
    }
}

/// How wide the space of requests is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Space {
    /// Requests that can reach an API server: real verbs of real resources (or of custom resources),
    /// cluster scope only where it exists, every user in `system:authenticated` or `system:unauthenticated`.
    Possible,
    /// Those, then every combination of values, possible or not.
    Any,
}

/// Who sends a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// User name.
    pub user: String,
    /// Groups.
    pub groups: Vec<String>,
}

/// A request on which two policies differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The request.
    pub request: Attributes,
    /// What the first policy decides.
    pub a: Decision,
    /// What the second policy decides.
    pub b: Decision,
}

/// The space of requests that the policies can tell apart is too large to walk through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the policies distinguish too many classes of requests to compare them ({classes})")]
pub struct TooLarge {
    /// How many combinations there would be.
    pub classes: usize,
}

/// More combinations than this are not walked through.
const MAX_COMBINATIONS: usize = 40_000_000;

/// More rules than this are not compared.
const MAX_RULES: usize = 4_000;

/// The differences between two policies, the most readable first: one for each pair of rules that decide
/// a class of requests differently.
///
/// # Errors
/// When the policies are absurdly large.
pub fn try_differences(a: &Policy, b: &Policy, scope: &Scope) -> Result<Vec<Difference>, TooLarge> {
    let classes = Classes::new(&[a, b], scope)?;
    let (a_rules, b_rules) = (a.rules.len(), b.rules.len());
    let mut found: HashMap<(Option<usize>, Option<usize>), (u32, Attributes)> = HashMap::new();
    // Whether a pair of rules decides alike depends on the rules only.
    let mut alike: HashMap<(Option<usize>, Option<usize>), bool> = HashMap::new();
    classes.walk(|signature, cost, request| {
        let first = signature.first(0, a_rules);
        let second = signature.first(a_rules, b_rules);
        let pair = (first, second);
        let same = *alike.entry(pair).or_insert_with(|| {
            let (a, b) = (effect(a, first, scope), effect(b, second, scope));
            a == b
        });
        if same {
            return;
        }
        match found.get_mut(&pair) {
            Some((known, _)) if *known <= cost => {}
            Some(slot) => *slot = (cost, request()),
            None => {
                found.insert(pair, (cost, request()));
            }
        }
    });
    let mut differences: Vec<(u32, Difference)> = found
        .into_values()
        .map(|(cost, request)| {
            let difference = Difference {
                a: evaluate(a, &request),
                b: evaluate(b, &request),
                request,
            };
            (cost, difference)
        })
        .collect();
    differences.sort_by(|(x, a), (y, b)| {
        x.cmp(y)
            .then_with(|| (a.a.rule, a.b.rule).cmp(&(b.a.rule, b.b.rule)))
    });
    Ok(differences
        .into_iter()
        .map(|(_, difference)| difference)
        .collect())
}

/// As [`try_differences`]; nothing for absurdly large policies.
#[must_use]
pub fn differences(a: &Policy, b: &Policy, scope: &Scope) -> Vec<Difference> {
    try_differences(a, b, scope).unwrap_or_default()
}

/// One concrete request for each class of requests that these policies (together) can tell apart, the
/// most readable first.
///
/// # Errors
/// When the policies are absurdly large.
pub fn try_representatives(
    policies: &[&Policy],
    scope: &Scope,
) -> Result<Vec<Attributes>, TooLarge> {
    let classes = Classes::new(policies, scope)?;
    let mut found: HashMap<Signature, (u32, Attributes)> = HashMap::new();
    classes.walk(|signature, cost, request| match found.get_mut(signature) {
        Some((known, _)) if *known <= cost => {}
        Some(slot) => *slot = (cost, request()),
        None => {
            found.insert(signature.clone(), (cost, request()));
        }
    });
    let mut all: Vec<(u32, Attributes)> = found.into_values().collect();
    all.sort_by(|(x, a), (y, b)| x.cmp(y).then_with(|| order_key(a).cmp(&order_key(b))));
    Ok(all.into_iter().map(|(_, request)| request).collect())
}

/// As [`try_representatives`]; nothing for absurdly large policies.
#[must_use]
pub fn representatives(policies: &[&Policy], scope: &Scope) -> Vec<Attributes> {
    try_representatives(policies, scope).unwrap_or_default()
}

/// A total order, so that equal policies give the same list every time.
/// What becomes of the requests that a rule matches.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Whether the rule matches any request.
    pub matches: bool,
    /// Whether it is the first to match any.
    pub decides: bool,
    /// The earlier rules that decide requests which this one matches.
    pub hidden_by: BTreeSet<usize>,
    /// The most readable of the requests that it matches and does not decide.
    pub example: Option<Attributes>,
}

/// For each rule of a policy, what becomes of the requests that it matches.
///
/// # Errors
/// When the policy is absurdly large.
pub fn coverage(policy: &Policy, scope: &Scope) -> Result<Vec<Coverage>, TooLarge> {
    let classes = Classes::new(&[policy], scope)?;
    let rules = policy.rules.len();
    let mut all = vec![(u32::MAX, Coverage::default()); rules];
    classes.walk(|signature, cost, request| {
        let mut first = None;
        for at in signature.iter().take_while(|at| *at < rules) {
            let Some((known, coverage)) = all.get_mut(at) else {
                return;
            };
            coverage.matches = true;
            match first {
                None => {
                    first = Some(at);
                    coverage.decides = true;
                }
                Some(first) => {
                    coverage.hidden_by.insert(first);
                    if cost < *known {
                        *known = cost;
                        coverage.example = Some(request());
                    }
                }
            }
        }
    });
    Ok(all.into_iter().map(|(_, coverage)| coverage).collect())
}

fn order_key(request: &Attributes) -> (&str, &str, &str, &[String], &str, [&str; 4]) {
    (
        &request.path,
        &request.verb,
        request.user.as_deref().unwrap_or_default(),
        &request.groups,
        &request.name,
        [
            &request.api_group,
            &request.resource,
            &request.subresource,
            &request.namespace,
        ],
    )
}

/// What a decision means for the log: level, the stages that are written, managed fields in bodies.
/// Where nothing is written, nothing else counts.
fn effect(policy: &Policy, rule: Option<usize>, scope: &Scope) -> (Level, Vec<Stage>, bool) {
    let rule = rule.and_then(|at| policy.rules.get(at));
    let level = rule.map_or(Level::None, |rule| rule.level);
    let omits = |stage: &Stage| {
        policy.omit_stages.contains(stage)
            || rule.is_some_and(|rule| rule.omit_stages.contains(stage))
    };
    let written: Vec<Stage> = Stage::ALL
        .into_iter()
        .filter(|stage| scope.stages.contains(stage) && !omits(stage))
        .collect();
    if level == Level::None || written.is_empty() {
        return (Level::None, Vec::new(), false);
    }
    let managed = scope.managed_fields && level >= Level::Request;
    let omit = rule
        .and_then(|rule| rule.omit_managed_fields)
        .unwrap_or(policy.omit_managed_fields);
    (level, written, managed && omit)
}

/// Whether two decisions mean the same for the log.
#[must_use]
pub fn same_effect(a: (&Policy, &Decision), b: (&Policy, &Decision), scope: &Scope) -> bool {
    effect(a.0, a.1.rule, scope) == effect(b.0, b.1.rule, scope)
}

/// The classes of requests: identities and operations, each with the rules they satisfy.
struct Classes {
    identities: Vec<(Signature, u32, Identity)>,
    operations: Vec<(Signature, u32, Attributes)>,
    within: (usize, usize),
    without: (usize, usize),
}

impl Classes {
    fn new(policies: &[&Policy], scope: &Scope) -> Result<Self, TooLarge> {
        let mut rules: Vec<&PolicyRule> =
            policies.iter().flat_map(|policy| &policy.rules).collect();
        let within = (rules.len(), scope.within.len());
        rules.extend(&scope.within);
        let without = (rules.len(), scope.without.len());
        rules.extend(&scope.without);
        if rules.len() > MAX_RULES {
            return Err(TooLarge {
                classes: rules.len(),
            });
        }
        let identities = identities::classes(&rules, scope)?;
        let operations = operations::classes(&rules, scope)?;
        let combinations = identities.len().saturating_mul(operations.len());
        if combinations > scope.limit {
            return Err(TooLarge {
                classes: combinations,
            });
        }
        Ok(Self {
            identities,
            operations,
            within,
            without,
        })
    }

    /// Whether requests of these classes of identities and operations are in scope.
    fn in_scope(&self, who: &Signature, what: &Signature) -> bool {
        let (within, without) = (self.within, self.without);
        (within.1 == 0 || who.first_with(what, within.0, within.1).is_some())
            && (without.1 == 0 || who.first_with(what, without.0, without.1).is_none())
    }

    /// The request of an identity and an operation, by their numbers.
    fn request(&self, who: usize, what: usize) -> Option<Attributes> {
        let (_, _, identity) = self.identities.get(who)?;
        let (_, _, operation) = self.operations.get(what)?;
        Some(Attributes {
            user: Some(identity.user.clone()),
            groups: identity.groups.clone(),
            ..operation.clone()
        })
    }

    /// Calls back for every class in scope.
    fn walk(&self, mut visit: impl FnMut(&Signature, u32, &dyn Fn() -> Attributes)) {
        for (who, who_cost, identity) in &self.identities {
            for (what, what_cost, operation) in &self.operations {
                if !self.in_scope(who, what) {
                    continue;
                }
                let both = who.and(what);
                visit(&both, who_cost + what_cost, &|| Attributes {
                    user: Some(identity.user.clone()),
                    groups: identity.groups.clone(),
                    ..operation.clone()
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
