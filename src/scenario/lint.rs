//! What a scenario's author should know before a learner does.

use super::load::Scenario;

/// A finding about a scenario.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// What is wrong.
    pub message: String,
}

/// Looks for mistakes that reading alone does not show, over a few seeds.
#[must_use]
pub fn lint(scenario: &Scenario) -> Vec<Finding> {
    let mut findings = Vec::new();
    for seed in 0..20 {
        match scenario.resolve(seed) {
            Ok(_) => {}
            Err(error) => {
                findings.push(Finding {
                    file: scenario.origin.clone(),
                    message: format!("seed {seed}: {error}"),
                });
                break;
            }
        }
    }
    findings
}
