//! What may be better in a scenario that is right: advice for its author, not mistakes.

use std::collections::BTreeMap;

use super::attempt::AttemptKind;
use super::lint::Finding;
use super::load::Scenario;

/// Advice on a scenario.
#[must_use]
pub fn advice(scenario: &Scenario) -> Vec<Finding> {
    let mut all = Vec::new();
    if scenario.definition.checks.is_empty() {
        return all;
    }
    let mut add = |file: &str, message: String| {
        all.push(Finding {
            file: format!("{}/{file}", scenario.origin),
            line: None,
            message,
        });
    };
    let wrong = || {
        scenario
            .attempts
            .iter()
            .filter(|(_, attempt)| attempt.kind == AttemptKind::Wrong)
    };
    for check in &scenario.definition.checks {
        let fails = |failing: &Vec<String>| failing.contains(&check.id);
        let tried = wrong().any(|(_, attempt)| {
            let expect = attempt.expect.as_ref();
            expect.is_some_and(|expect| fails(&expect.failing))
        });
        if !tried {
            add(
                "scenario.yaml",
                format!(
                    "no wrong attempt fails check `{}`: nothing shows what it is good for",
                    check.id
                ),
            );
        }
    }
    let mut seen: BTreeMap<String, &String> = BTreeMap::new();
    for (name, attempt) in wrong() {
        let Some(expect) = &attempt.expect else {
            continue;
        };
        let grade = format!(
            "{:?}",
            (expect.score, &expect.failing, &expect.misconceptions)
        );
        match seen.get(&grade) {
            Some(other) => add(
                &format!("attempts/{name}.yaml"),
                format!("no check and no misconception tells it from `{other}`"),
            ),
            None => {
                seen.insert(grade, name);
            }
        }
    }
    let first_hint = scenario.hints.split("\n## ").nth(1).unwrap_or_default();
    for (file, text) in [
        ("task.md", scenario.task.as_str()),
        ("hints.md", first_hint),
    ] {
        for fault in &scenario.definition.faults {
            let words = fault.text.trim().to_lowercase();
            if words.len() >= 12 && text.to_lowercase().contains(&words) {
                add(file, format!("it gives the fault `{}` away", fault.id));
            }
        }
        if let Some(goal) = &scenario.definition.policy
            && text.contains(goal.reference.trim())
        {
            add(file, "it gives the reference policy away".to_owned());
        }
    }
    all
}
