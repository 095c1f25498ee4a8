//! What is worth saying about a policy besides what the loader says: rules that never decide anything,
//! names that do not exist, conditions that mean something else than they seem to.

mod bodies;
mod coverage;
mod document;
mod resources;
mod subjects;
mod urls;
mod verbs;

use serde::Serialize;

use super::policy::{self, Inspection, Policy};
use crate::yaml::{Span, Tree};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The policy does not do what it says.
    Error,
    /// The policy probably does not do what was meant.
    Warning,
    /// Good to know.
    Info,
}

impl Severity {
    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Info => "info",
        }
    }
}

/// Something worth saying about a policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Which kind of finding.
    pub id: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// What is the matter.
    pub message: String,
    /// Index of the rule it is about.
    pub rule: Option<usize>,
    /// Where it is.
    pub span: Option<Span>,
    /// What to do about it.
    pub hint: Option<String>,
}

/// What the loader and the linter say of a policy.
#[derive(Debug, Clone)]
pub struct Report {
    /// What the loader says.
    pub inspection: Inspection,
    /// The findings, in the order of the text.
    pub findings: Vec<Finding>,
}

/// Lints a policy as written in a file.
#[must_use]
pub fn lint(bytes: &[u8]) -> Report {
    let inspection = policy::inspect(bytes);
    let mut linter = Linter {
        tree: inspection.tree.as_ref(),
        findings: Vec::new(),
    };
    document::check(&mut linter, &inspection, bytes);
    if let Ok(loaded) = &inspection.result {
        lint_policy(&mut linter, &loaded.policy);
    }
    let mut findings = linter.findings;
    findings.sort_by_key(|finding| {
        (
            finding.span.unwrap_or_default(),
            finding.severity,
            finding.id,
        )
    });
    Report {
        inspection,
        findings,
    }
}

fn lint_policy(linter: &mut Linter<'_>, policy: &Policy) {
    resources::check(linter, policy);
    verbs::check(linter, policy);
    subjects::check(linter, policy);
    urls::check(linter, policy);
    bodies::check(linter, policy);
    coverage::check(linter, policy);
}

/// Nobody reads more.
const MAX_FINDINGS: usize = 500;

/// Collects findings and knows where things are.
struct Linter<'a> {
    tree: Option<&'a Tree>,
    findings: Vec<Finding>,
}

impl Linter<'_> {
    /// Adds a finding about the value at a path.
    fn add(
        &mut self,
        id: &'static str,
        severity: Severity,
        path: &str,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        // What is about the policy as a whole is shown at its beginning.
        let span = self.tree.and_then(|tree| {
            policy::nearest(tree, path)
                .or_else(|| tree.span("rules").map(|_| tree.place(tree.root())))
        });
        self.add_at(id, severity, path, span, message, hint);
    }

    /// Adds a finding at a place.
    fn add_at(
        &mut self,
        id: &'static str,
        severity: Severity,
        path: &str,
        span: Option<Span>,
        message: impl Into<String>,
        hint: impl Into<Option<String>>,
    ) {
        if self.findings.len() >= MAX_FINDINGS {
            return;
        }
        let index = path
            .strip_prefix("rules[")
            .and_then(|rest| rest.split(']').next());
        self.findings.push(Finding {
            id,
            severity,
            message: message.into(),
            rule: index.and_then(|index| index.parse().ok()),
            span,
            hint: hint.into(),
        });
    }

    fn has(&self, id: &str, rule: usize) -> bool {
        self.findings
            .iter()
            .any(|finding| finding.id == id && finding.rule == Some(rule))
    }
}

/// The nearest of some names, if it is near.
fn nearest_name<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_ascii_lowercase();
    known
        .into_iter()
        .map(|known| {
            (
                strsim::damerau_levenshtein(&lower, &known.to_ascii_lowercase()),
                known,
            )
        })
        .filter(|(distance, known)| *distance <= 1 + known.len() / 6)
        .min()
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests;
