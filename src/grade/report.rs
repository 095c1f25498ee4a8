//! What grading finds: the JSON of `ckslab grade -o json`.

use serde::Serialize;

/// Version of the JSON of a report.
pub const SCHEMA_VERSION: u32 = 1;

/// A graded lab.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Version of this JSON.
    pub schema_version: u32,
    /// The scenario.
    pub scenario: String,
    /// Its title.
    pub title: String,
    /// The seed.
    pub seed: u64,
    /// The engine.
    pub engine: String,
    /// Points earned.
    pub score: u32,
    /// Points there are.
    pub max: u32,
    /// `score` of `max` in percent, rounded down.
    pub percent: u32,
    /// Whether the scenario's pass mark is reached and every check that is not optional passed.
    pub passed: bool,
    /// The graded statements, in the scenario's order.
    pub checks: Vec<CheckReport>,
    /// What the reader should know besides: the grader gave up waiting, and the like.
    pub notes: Vec<String>,
}

/// A graded statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Identifier within the scenario.
    pub id: String,
    /// What must be true.
    pub title: String,
    /// Layer, 1 to 5.
    pub layer: u8,
    /// Name of the layer.
    pub layer_name: &'static str,
    /// Points earned.
    pub points: u32,
    /// Points there are.
    pub max: u32,
    /// Whether it is true.
    pub status: CheckStatus,
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// The next command worth running; nothing for a check that passed.
    pub next: Option<String>,
    /// What the learner seems to believe, where the grader can tell.
    pub misconception: Option<String>,
    /// Its identifier.
    pub misconception_id: Option<String>,
}

/// Whether a graded statement is true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckStatus {
    /// It is.
    Pass,
    /// It is not.
    Fail,
    /// It cannot be told, or counts only once others are true.
    Blocked,
}

impl CheckStatus {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CheckStatus::Pass => "pass",
            CheckStatus::Fail => "fail",
            CheckStatus::Blocked => "blocked",
        }
    }
}

/// How a check ended, before points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Whether it is true.
    pub status: CheckStatus,
    /// What was expected.
    pub expected: String,
    /// What was seen.
    pub seen: String,
    /// The next command worth running.
    pub next: String,
}

impl Outcome {
    /// True.
    #[must_use]
    pub fn pass(expected: impl Into<String>, seen: impl Into<String>) -> Self {
        Self {
            status: CheckStatus::Pass,
            expected: expected.into(),
            seen: seen.into(),
            next: String::new(),
        }
    }

    /// Not true.
    #[must_use]
    pub fn fail(
        expected: impl Into<String>,
        seen: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            status: CheckStatus::Fail,
            expected: expected.into(),
            seen: seen.into(),
            next: next.into(),
        }
    }

    /// Cannot be told.
    #[must_use]
    pub fn blocked(
        expected: impl Into<String>,
        by: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            status: CheckStatus::Blocked,
            expected: expected.into(),
            seen: by.into(),
            next: next.into(),
        }
    }
}
