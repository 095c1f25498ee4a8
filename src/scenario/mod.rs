//! Scenarios: exercises as files, their variables, their setup and their recorded attempts.
//!
//! Architecture invariant: a scenario knows a node only through [`crate::node::Node`], so every
//! scenario works on every engine unless it says why not.

pub mod advice;
pub mod answer;
pub mod answer_sheet;
pub mod attempt;
pub mod check;
mod check_lint;
pub mod coverage;
pub mod definition;
pub mod error;
pub mod evidence;
pub mod lint;
pub mod load;
pub mod log_files;
pub mod log_filter;
pub mod manifest_edit;
pub mod manifest_text;
pub mod matrix;
pub mod play;
pub mod policy_check;
pub mod quantity;
pub mod request;
pub mod resolved;
pub mod setup;
pub mod starter;
pub mod step;
pub mod template;
pub mod variables;

pub use attempt::{Attempt, AttemptKind};
pub use definition::Definition;
pub use error::ScenarioError;
pub use load::Scenario;
pub use resolved::{Hint, Resolved};
pub use setup::Baseline;

/// The JSON Schema of `scenario.yaml`.
#[must_use]
pub fn schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Definition).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".into(), "ckslab scenario".into());
    }
    schema
}

/// The JSON Schema of a file in `attempts/`.
#[must_use]
pub fn attempt_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(attempt::AttemptFile).to_value();
    if let Some(object) = schema.as_object_mut() {
        object.insert("title".into(), "ckslab attempt".into());
    }
    schema
}

#[cfg(test)]
mod tests;
