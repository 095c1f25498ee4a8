//! Which scenarios cover which kinds of tasks and which mistakes, and which of them none covers.

use serde::Serialize;

use super::coverage::{MISTAKES, TASKS};
use super::load::Scenario;

/// Kinds of tasks that may still be without a scenario: investigations, the webhook, RBAC from a log.
const LATER_TASKS: [u8; 5] = [22, 23, 24, 25, 26];
/// Mistakes that may still be without one: those with the webhook.
const LATER_MISTAKES: [u8; 1] = [20];

/// Both lists, each row with its scenarios.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Matrix {
    /// Kinds of tasks, from 1.
    pub tasks: Vec<Row>,
    /// Mistakes, from 1.
    pub mistakes: Vec<Row>,
}

/// A kind of task or a mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Its number, from 1.
    pub number: u8,
    /// What it is.
    pub text: &'static str,
    /// Ids of the scenarios that cover it.
    pub scenarios: Vec<String>,
    /// Whether it may be empty: it belongs to a part that is yet to come.
    pub later: bool,
}

impl Row {
    /// Whether a scenario is missing.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        self.scenarios.is_empty() && !self.later
    }
}

impl Matrix {
    /// The matrix of these scenarios.
    #[must_use]
    pub fn of(scenarios: &[Scenario]) -> Self {
        let rows = |list: &[&'static str], later: &[u8], numbers: fn(&Scenario) -> &[u8]| {
            (1..=u8::MAX)
                .zip(list)
                .map(|(number, text)| Row {
                    number,
                    text,
                    scenarios: scenarios
                        .iter()
                        .filter(|scenario| numbers(scenario).contains(&number))
                        .map(|scenario| scenario.definition.id.clone())
                        .collect(),
                    later: later.contains(&number),
                })
                .collect()
        };
        Self {
            tasks: rows(&TASKS, &LATER_TASKS, |scenario| &scenario.definition.tasks),
            mistakes: rows(&MISTAKES, &LATER_MISTAKES, |scenario| {
                &scenario.definition.mistakes
            }),
        }
    }

    /// Rows that no scenario covers and that should have one, `task 3` and the like.
    #[must_use]
    pub fn gaps(&self) -> Vec<String> {
        let named = |name: &'static str, rows: &[Row]| -> Vec<String> {
            rows.iter()
                .filter(|row| row.is_gap())
                .map(|row| format!("{name} {}", row.number))
                .collect()
        };
        let mut gaps = named("task", &self.tasks);
        gaps.extend(named("mistake", &self.mistakes));
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_without_a_scenario_are_gaps_but_those_for_later() {
        let nothing = Matrix::of(&[]);
        assert_eq!(nothing.gaps().len(), 28 - 5 + 24 - 1);
        assert!(!nothing.gaps().contains(&"task 22".to_owned()));
        let one = Matrix::of(&[Scenario::find("audit-03", None).unwrap()]);
        assert_eq!(one.mistakes[0].scenarios, ["audit-03"]);
        assert!(!one.gaps().contains(&"mistake 1".to_owned()));
        assert!(one.gaps().contains(&"task 28".to_owned()));
    }
}
