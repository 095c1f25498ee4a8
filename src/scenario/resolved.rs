//! A scenario for one seed: every variable filled in.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::attempt::{Attempt, AttemptKind};
use super::definition::Definition;
use super::error::ScenarioError;
use super::load::Scenario;
use super::template::{Variables, holds, render, render_value};
use super::variables::draw;

/// A scenario for one seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Resolved {
    /// `scenario.yaml`, filled in, without what is not there for this seed.
    pub definition: Definition,
    /// The seed.
    pub seed: u64,
    /// The variables' values.
    pub variables: Variables,
    /// The task, Markdown.
    pub task: String,
    /// The ladder of hints.
    pub hints: Vec<Hint>,
    /// What was wrong and why the repair works, Markdown.
    pub explanation: String,
    /// The recorded attempts that make sense for this seed.
    pub attempts: Vec<Attempt>,
}

/// A rung of the ladder of hints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hint {
    /// Percent of the score it costs.
    pub cost: u32,
    /// What it is about.
    pub title: String,
    /// The hint, Markdown.
    pub text: String,
}

impl Scenario {
    /// Fills in the variables for a seed.
    ///
    /// # Errors
    /// When a text is no template, uses an unknown variable, or is not what it must be once filled in.
    pub fn resolve(&self, seed: u64) -> Result<Resolved, ScenarioError> {
        let definition = &self.definition;
        let variables =
            draw(&definition.id, seed, &definition.variables).map_err(|(name, message)| {
                self.mistake(
                    "scenario.yaml",
                    &format!("name: {name}"),
                    format!("variable `{name}`: {message}"),
                )
            })?;
        let mut attempts = Vec::new();
        for (name, file) in &self.attempts {
            let path = format!("attempts/{name}.yaml");
            if let Some(when) = &file.when
                && !holds(when, &variables).map_err(|message| self.mistake(&path, when, message))?
            {
                continue;
            }
            attempts.push(Attempt {
                name: name.clone(),
                file: self.fill(&path, file, &variables)?,
            });
        }
        let filled: Definition = self.fill("scenario.yaml", definition, &variables)?;
        for attempt in &mut attempts {
            attempt.ask(&filled.checks);
        }
        let text = |file: &str, text: &str| {
            render(text, &variables).map_err(|message| self.mistake(file, "", message))
        };
        let hints = text("hints.md", &self.hints)?;
        Ok(Resolved {
            definition: filled,
            seed,
            task: text("task.md", &self.task)?,
            hints: parse_hints(&hints)
                .map_err(|(line, message)| self.mistake("hints.md", &line, message))?,
            explanation: text("explanation.md", &self.explanation)?,
            attempts,
            variables,
        })
    }

    fn fill<T: Serialize + DeserializeOwned>(
        &self,
        file: &str,
        value: &T,
        variables: &Variables,
    ) -> Result<T, ScenarioError> {
        let plain = serde_json::to_value(value)
            .map_err(|error| self.mistake(file, "", error.to_string()))?;
        let filled = render_value(&plain, variables).map_err(|(text, message)| {
            let needle = text.lines().next().unwrap_or_default();
            self.mistake(file, needle, format!("in a text with variables: {message}"))
        })?;
        serde_json::from_value(filled).map_err(|error| self.mistake(file, "", error.to_string()))
    }
}

impl Resolved {
    /// The attempt shown as the solution.
    #[must_use]
    pub fn reference(&self) -> Option<&Attempt> {
        self.attempts
            .iter()
            .find(|attempt| attempt.file.kind == AttemptKind::Reference)
    }

    /// Whether there is anything to grade.
    #[must_use]
    pub fn is_graded(&self) -> bool {
        !self.definition.checks.is_empty()
    }
}

/// Reads `## COST: TITLE` sections.
fn parse_hints(text: &str) -> Result<Vec<Hint>, (String, String)> {
    let mut hints: Vec<Hint> = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let parsed = heading.split_once(':').and_then(|(cost, title)| {
                let cost = cost
                    .trim()
                    .parse::<u32>()
                    .ok()
                    .filter(|cost| *cost <= 100)?;
                Some((cost, title.trim().to_owned()))
            });
            let Some((cost, title)) = parsed else {
                return Err((
                    line.to_owned(),
                    "a hint starts with `## COST: TITLE`, the cost in percent of the score"
                        .to_owned(),
                ));
            };
            hints.push(Hint {
                cost,
                title,
                text: String::new(),
            });
        } else if let Some(hint) = hints.last_mut() {
            hint.text.push_str(line);
            hint.text.push('\n');
        }
    }
    for hint in &mut hints {
        // The blanks in front of the first line say that it is code.
        hint.text = format!("{}\n", hint.text.trim_start_matches('\n').trim_end());
    }
    Ok(hints)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_sections_with_a_cost() {
        let hints =
            parse_hints("# Hints\n\n## 5: Look\n\nText\nmore\n\n## 20: The end\nx\n").unwrap();
        assert_eq!(
            hints,
            [
                Hint {
                    cost: 5,
                    title: "Look".into(),
                    text: "Text\nmore\n".into()
                },
                Hint {
                    cost: 20,
                    title: "The end".into(),
                    text: "x\n".into()
                },
            ]
        );
        let code = parse_hints("## 5: Look\n\n    crictl ps -a\n    ls\n\n").unwrap();
        assert_eq!(code[0].text, "    crictl ps -a\n    ls\n");
        assert!(parse_hints("## Look\n").is_err());
    }
}
