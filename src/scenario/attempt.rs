//! Recorded attempts: ways of solving or failing a scenario, which test the scenario.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::Check;
use super::step::Step;

/// A file in `attempts/`, as its author writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AttemptFile {
    /// One line.
    pub title: String,
    /// Whether it solves the scenario.
    pub kind: AttemptKind,
    /// Whether it makes sense for this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// What the learner does.
    pub steps: Vec<Step>,
    /// What the grader must say to a wrong one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
}

/// Whether an attempt solves its scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AttemptKind {
    /// The solution shown to the learner.
    Reference,
    /// Another right one.
    Correct,
    /// A wrong or incomplete one.
    Wrong,
}

/// What the grader must say to a wrong attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// Points.
    pub score: u32,
    /// Checks that must fail, exactly these.
    #[serde(default)]
    pub failing: Vec<String>,
    /// Misconceptions that must be named (more may be).
    #[serde(default)]
    pub misconceptions: Vec<String>,
}

impl Attempt {
    /// Tells the steps that write answers what the questions are.
    pub(super) fn ask(&mut self, checks: &[Check]) {
        let answers = self
            .file
            .steps
            .iter_mut()
            .filter_map(|step| step.answers.as_mut());
        for step in answers {
            step.questions = checks
                .iter()
                .filter_map(|check| check.answer.clone())
                .collect();
        }
    }
}

/// An attempt for a seed: variables filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Attempt {
    /// Name of the file, without `.yaml`.
    pub name: String,
    /// Its content.
    pub file: AttemptFile,
}
