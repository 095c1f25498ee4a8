//! What a scenario's author should know before a learner does.

use std::collections::BTreeSet;

use super::attempt::AttemptKind;
use super::check_lint::check_problems;
use super::coverage::{self, Group};
use super::error::ScenarioError;
use super::load::Scenario;
use super::resolved::Resolved;
use super::step::Step;

/// A finding about a scenario.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line, where known.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

/// Seeds that are tried.
const SEEDS: u64 = 20;

/// Looks for mistakes that reading alone does not show, over a few seeds.
#[must_use]
pub fn lint(scenario: &Scenario) -> Vec<Finding> {
    let mut linter = Linter {
        scenario,
        findings: Vec::new(),
    };
    linter.texts();
    for seed in 0..SEEDS {
        match scenario.resolve(seed) {
            Ok(resolved) => linter.resolved(&resolved),
            Err(ScenarioError::Invalid { place, message, .. }) => {
                linter.findings.push(Finding {
                    file: place.file,
                    line: place.line,
                    message: format!("with seed {seed}: {message}"),
                });
            }
            Err(error) => linter.add("scenario.yaml", "", error.to_string()),
        }
        if !linter.findings.is_empty() {
            break;
        }
    }
    linter.findings
}

struct Linter<'a> {
    scenario: &'a Scenario,
    findings: Vec<Finding>,
}

impl Linter<'_> {
    fn add(&mut self, file: &str, needle: &str, message: impl Into<String>) {
        if let ScenarioError::Invalid { place, message, .. } =
            self.scenario.mistake(file, needle, message)
        {
            self.findings.push(Finding {
                file: place.file,
                line: place.line,
                message,
            });
        }
    }

    /// The files a complete scenario has.
    fn texts(&mut self) {
        let scenario = self.scenario;
        self.steps("scenario.yaml", "setup:", &scenario.definition.setup);
        for (name, attempt) in &scenario.attempts {
            let file = format!("attempts/{name}.yaml");
            self.steps(&file, "steps:", &attempt.steps);
        }
        let graded = !self.scenario.definition.checks.is_empty();
        if !graded {
            return;
        }
        self.coverage();
        if self.scenario.hints.trim().is_empty() {
            self.add("hints.md", "", "there are no hints");
        }
        if self.scenario.explanation.trim().is_empty() {
            self.add("explanation.md", "", "there is no explanation");
        }
        let kinds: Vec<AttemptKind> = self
            .scenario
            .attempts
            .values()
            .map(|attempt| attempt.kind)
            .collect();
        let count = |kind| kinds.iter().filter(|other| **other == kind).count();
        if count(AttemptKind::Reference) != 1 {
            self.add(
                "attempts",
                "",
                "exactly one attempt must be of kind `reference`",
            );
        }
        if count(AttemptKind::Correct) == 0 {
            self.add(
                "attempts",
                "",
                "there must be a second, different solution (kind `correct`)",
            );
        }
        if count(AttemptKind::Wrong) == 0 {
            self.add(
                "attempts",
                "",
                "there must be wrong attempts (kind `wrong`)",
            );
        }
        for (name, attempt) in &self.scenario.attempts {
            let file = format!("attempts/{name}.yaml");
            if (attempt.kind == AttemptKind::Wrong) != attempt.expect.is_some() {
                self.add(
                    &file,
                    "kind:",
                    "`expect` belongs to wrong attempts, and only to them",
                );
            }
        }
    }

    /// Where the scenario belongs.
    fn coverage(&mut self) {
        const FILE: &str = "scenario.yaml";
        let definition = &self.scenario.definition;
        if definition.group.is_none() {
            let names = Group::ALL.map(|group| format!("`{}`", group.name()));
            let message = format!("there is no `group`: one of {}", names.join(", "));
            self.add(FILE, "id:", message);
        }
        let lists = [
            ("tasks", &definition.tasks, coverage::TASKS.len()),
            ("mistakes", &definition.mistakes, coverage::MISTAKES.len()),
        ];
        for (field, numbers, most) in lists {
            for problem in coverage::problems(field, numbers, most) {
                self.add(FILE, &format!("{field}:"), problem);
            }
        }
    }

    fn steps(&mut self, file: &str, needle: &str, steps: &[Step]) {
        for step in steps {
            if step.actions().len() != 1 {
                let actions = match step.actions().as_slice() {
                    [] => "none".to_owned(),
                    several => format!("`{}`", several.join("`, `")),
                };
                self.add(
                    file,
                    needle,
                    format!("a step has exactly one action, not {actions}"),
                );
            }
        }
    }

    /// Paths are known once the variables are filled in.
    fn paths(&mut self, file: &str, steps: &[Step]) {
        for path in steps.iter().flat_map(Step::paths) {
            if !path.starts_with('/') {
                let message = format!("`{path}` is no path from the root of the node");
                self.add(file, path, message);
            }
        }
    }

    fn resolved(&mut self, resolved: &Resolved) {
        const FILE: &str = "scenario.yaml";
        let definition = &resolved.definition;
        self.paths(FILE, &definition.setup);
        for attempt in &resolved.attempts {
            let file = format!("attempts/{}.yaml", attempt.name);
            self.paths(&file, &attempt.file.steps);
        }
        let mut ids = BTreeSet::new();
        for check in &definition.checks {
            let needle = format!("id: {}", check.id);
            if !ids.insert(check.id.clone()) {
                self.add(
                    FILE,
                    &needle,
                    format!("the check `{}` is there twice", check.id),
                );
            }
            for problem in check_problems(check) {
                self.add(FILE, &needle, format!("check `{}`: {problem}", check.id));
            }
        }
        for check in &definition.checks {
            let needle = format!("id: {}", check.id);
            for other in check.requires.iter().filter(|other| !ids.contains(*other)) {
                self.add(
                    FILE,
                    &needle,
                    format!("check `{}` requires `{other}`, which is no check", check.id),
                );
            }
            let probes = check.probes.iter().flat_map(|probes| &probes.ids);
            for probe in probes {
                if definition.probes.iter().all(|other| other.id != *probe) {
                    self.add(
                        FILE,
                        &needle,
                        format!("check `{}` names `{probe}`, which is no probe", check.id),
                    );
                }
            }
            let reference = definition
                .policy
                .as_ref()
                .is_some_and(|goal| !goal.reference.is_empty());
            if let Some(policy) = &check.policy
                && !reference
                && policy.level.is_none()
                && !policy.is_about_details()
            {
                self.add(
                    FILE,
                    &needle,
                    format!(
                        "check `{}` needs a `level`, or a `policy` of the scenario with a `reference`",
                        check.id
                    ),
                );
            }
        }
        let sum: u32 = definition.checks.iter().map(|check| check.points).sum();
        if sum != definition.points {
            self.add(
                FILE,
                "points:",
                format!(
                    "`points` is {}, but the checks have {sum} together",
                    definition.points
                ),
            );
        }
        for misconception in &definition.misconceptions {
            let named = misconception
                .explains
                .iter()
                .chain(&misconception.failing)
                .chain(&misconception.passing);
            for id in named.filter(|id| !ids.contains(*id)) {
                self.add(
                    FILE,
                    &format!("id: {}", misconception.id),
                    format!(
                        "misconception `{}` names `{id}`, which is no check",
                        misconception.id
                    ),
                );
            }
        }
        for attempt in &resolved.attempts {
            let failing = attempt
                .file
                .expect
                .iter()
                .flat_map(|expect| &expect.failing);
            for id in failing.filter(|id| !ids.contains(*id)) {
                self.add(
                    &format!("attempts/{}.yaml", attempt.name),
                    "failing:",
                    format!("`{id}` is no check"),
                );
            }
        }
    }
}
