//! The format of `scenario.yaml`.
//!
//! Every text may use the scenario's variables as `{{ name }}`; an element of a list may have a
//! `when` expression that drops it. Where an object offers alternatives (a step, a check), exactly
//! one of the optional fields is set: this keeps messages about mistakes exact, which untagged
//! enumerations cannot.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use super::check::{
    Check, Compare, FlagCheck, Layer, LogCheck, MountCheck, Nothing, PolicyCheck, ProbesCheck,
    UnchangedCheck,
};
use super::coverage::Group;
use super::request::{ProbeRequest, ProbeUser};
use super::step::Step;

/// The newest format version this program knows.
pub const FORMAT: u32 = 1;

/// A scenario as its author writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Version of the format.
    pub format: u32,
    /// Identifier, the name of the scenario's directory.
    pub id: String,
    /// One line.
    pub title: String,
    /// Two or three lines for lists.
    #[serde(default)]
    pub summary: String,
    /// What kind of work it is. Only free play does without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// What it trains.
    #[serde(default)]
    pub skills: Vec<String>,
    /// The kinds of tasks it covers, by number ([`super::coverage::TASKS`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(range(min = 1, max = 28)))]
    pub tasks: Vec<u8>,
    /// The mistakes that its setup makes or its wrong attempts repeat, by number ([`super::coverage::MISTAKES`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(range(min = 1, max = 24)))]
    pub mistakes: Vec<u8>,
    /// How hard it is.
    pub difficulty: Difficulty,
    /// Minutes a prepared candidate needs.
    pub minutes: u32,
    /// Points of all checks together.
    pub points: u32,
    /// The share of the points that passes, in percent. Every check that is not `optional` must pass as well.
    #[serde(default = "all_of_it")]
    pub pass: u32,
    /// Kubernetes versions it is right for.
    #[serde(default)]
    pub kubernetes: Vec<String>,
    /// Engines it does not work on, each with the reason.
    #[serde(default)]
    pub not_on: BTreeMap<String, String>,
    /// What the seed decides.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// What is put on the node before the learner sees it, faults included.
    #[serde(default)]
    pub setup: Vec<Step>,
    /// What the setup breaks, one line each; never shown before the end.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// The audit policy asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyGoal>,
    /// Requests the grader sends.
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// The graded statements.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Mistakes the scenario can name.
    #[serde(default)]
    pub misconceptions: Vec<Misconception>,
    /// The misconceptions that the grader names before anything was done: exactly these. Tested with the
    /// attempts, where it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untouched: Option<Vec<Untouched>>,
}

/// A misconception named on the untouched node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Untouched {
    /// The check it explains.
    pub check: String,
    /// Its identifier.
    pub misconception: String,
    /// Whether it is expected for this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

fn all_of_it() -> u32 {
    100
}

/// How hard a scenario is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "lowercase")]
pub enum Difficulty {
    /// One thing to do.
    Easy,
    /// Several things that depend on each other.
    Medium,
    /// Several faults, or one that hides.
    Hard,
}

impl Difficulty {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Difficulty::Easy => "easy",
            Difficulty::Medium => "medium",
            Difficulty::Hard => "hard",
        }
    }
}

/// A value decided by the seed: exactly one of `pick`, `number` and `text`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Name, as used in `{{ name }}`.
    pub name: String,
    /// One of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pick: Option<Vec<String>>,
    /// A number of this range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<NumberRange>,
    /// A text made of variables declared before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Variables declared before whose values it must not repeat.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlike: Vec<String>,
}

/// A range of whole numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberRange {
    /// The smallest.
    pub from: u64,
    /// The largest.
    pub to: u64,
    /// Distance between values.
    #[serde(default = "one")]
    pub step: u64,
}

fn one() -> u64 {
    1
}

/// Something the setup breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Identifier.
    pub id: String,
    /// What is broken.
    pub text: String,
    /// Whether it is there for this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// The audit policy asked for, and the requests over which it is compared.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyGoal {
    /// A policy that does what is asked; any equivalent one passes. Without it, every `policy` check says
    /// itself what is asked, and every probe its level.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reference: String,
    /// Requests that no check looks at (written as the match part of policy rules).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub free: Vec<serde_json::Value>,
    /// Namespaces worth naming in counterexamples.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Users worth naming in counterexamples.
    #[serde(default)]
    pub users: Vec<String>,
    /// Whether the stages must be the reference's.
    #[serde(default)]
    pub stages: Stages,
    /// Whether recorded bodies must have managed fields where the reference keeps them, and only there.
    #[serde(default)]
    pub managed_fields: Strictness,
}

/// Whether something of the reference must be the policy's, too.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strictness {
    /// It is no matter.
    #[default]
    Any,
    /// It must.
    Exactly,
}

/// How stages are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stages {
    /// The same stages as the reference, for every request.
    #[default]
    Exactly,
    /// Any, as long as the stage that ends a request is kept.
    Any,
}

/// Requests the grader sends one after the other; different probes run at the same time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Identifier.
    pub id: String,
    /// Who asks; without it the cluster's administrator.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub user: Option<ProbeUser>,
    /// The requests. What a `create` makes, the grader removes in the end.
    pub requests: Vec<ProbeRequest>,
    /// Whether it is sent for this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// A mistake with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Misconception {
    /// Identifier. One of the grader's own detectors may be named to give it another text.
    pub id: String,
    /// What the learner seems to believe, and what is true.
    pub text: String,
    /// The checks it explains.
    pub explains: Vec<String>,
    /// It applies when all of these failed (blocked is not failed),
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<String>,
    /// and all of these passed,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passing: Vec<String>,
    /// and the grader's own detector of this name speaks up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<String>,
    /// Whether it is there for this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}
