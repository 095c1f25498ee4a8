//! A problem found on the way from bytes to nodes, and how the real decoder words it.

use std::borrow::Cow;

use super::Error;
use super::token::Mark;
use super::tree::Span;

/// Which stage found the problem: it decides how lines are counted in the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Reader,
    Scanner,
    Parser,
}

/// A problem with the marks the real parser keeps.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    pub stage: Stage,
    pub problem: Cow<'static, str>,
    pub problem_mark: Mark,
    pub context_mark: Mark,
}

impl Fault {
    pub fn reader(problem: &'static str) -> Self {
        Self {
            stage: Stage::Reader,
            problem: Cow::Borrowed(problem),
            problem_mark: Mark::default(),
            context_mark: Mark::default(),
        }
    }

    pub fn scanner(problem: impl Into<Cow<'static, str>>, at: Mark, context: Mark) -> Self {
        Self {
            stage: Stage::Scanner,
            problem: problem.into(),
            problem_mark: at,
            context_mark: context,
        }
    }

    pub fn parser(problem: &'static str, at: Mark, context: Option<Mark>) -> Self {
        Self {
            stage: Stage::Parser,
            problem: Cow::Borrowed(problem),
            problem_mark: at,
            context_mark: context.unwrap_or_default(),
        }
    }
}

impl From<Fault> for Error {
    /// `parser.fail` of goyaml.v2: scanner errors count lines from one, parser errors from zero, and
    /// line zero is not named at all.
    fn from(fault: Fault) -> Self {
        let line = if fault.problem_mark.line != 0 {
            fault.problem_mark.line + usize::from(fault.stage == Stage::Scanner)
        } else {
            fault.context_mark.line
        };
        let text = if line == 0 {
            format!("yaml: {}", fault.problem)
        } else {
            format!("yaml: line {line}: {}", fault.problem)
        };
        let at = (fault.stage != Stage::Reader).then(|| Span::from(fault.problem_mark));
        Error { text, at }
    }
}
