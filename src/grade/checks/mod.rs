//! The kinds of checks. Each looks at facts gathered before and says what was expected and seen.

mod answers;
mod budget;
mod evidence;
pub mod files;
pub mod log;
pub mod manifest;
pub mod process;
pub mod sink;
pub mod unchanged;

use super::facts::Facts;
use super::policy::Comparison;
use super::probes::Volley;
use super::report::Outcome;
use crate::node::Node;
use crate::scenario::Baseline;
use crate::scenario::definition::{Check, Layer, Stages};

/// Everything a check may look at.
pub struct Context<'a> {
    /// The node.
    pub node: &'a dyn Node,
    /// The node as it is.
    pub facts: &'a Facts,
    /// The node as it was.
    pub baseline: &'a Baseline,
    /// The policy asked for, if any.
    pub comparison: Option<&'a Comparison<'a>>,
    /// How stages are compared.
    pub stages: Stages,
    /// What was sent.
    pub volley: &'a Volley,
    /// Lines added to each log since before the sending, by path.
    pub fresh: &'a [(String, Vec<String>)],
    /// Objects of the setup that are gone, in words.
    pub lost_objects: &'a [String],
}

impl Context<'_> {
    /// Lines added to a log.
    #[must_use]
    pub fn fresh_lines(&self, path: &str) -> &[String] {
        self.fresh
            .iter()
            .find(|(log, _)| log == path)
            .map_or(&[], |(_, lines)| lines.as_slice())
    }
}

/// Makes a check.
#[must_use]
pub fn run(context: &Context<'_>, check: &Check) -> Outcome {
    let down = if check.is_still() {
        None
    } else {
        context.facts.down()
    };
    if let Some(by) = down {
        return Outcome::blocked(expected(check), by, context.facts.where_to_look());
    }
    if let Some(flag) = &check.flag {
        return match check.layer {
            Layer::Manifest => manifest::flag(context, flag),
            _ => process::flag(context, flag),
        };
    }
    if check.readable.is_some() {
        return manifest::readable(context);
    }
    if let Some(mount) = &check.mount {
        return manifest::mount(context, mount);
    }
    if check.running.is_some() {
        return process::running(context);
    }
    if let Some(mount) = &check.sees {
        return files::sees(context, mount);
    }
    if let Some(policy) = &check.policy {
        return files::policy(context, policy);
    }
    if let Some(log) = &check.log {
        return log::log(context, log);
    }
    if let Some(probes) = &check.probes {
        return log::probes(context, probes);
    }
    if let Some(unchanged) = &check.unchanged {
        return unchanged::unchanged(context, unchanged);
    }
    if let Some(mode) = &check.mode {
        return evidence::mode(context, mode);
    }
    if let Some(kept) = &check.kept {
        return evidence::kept(context, &check.id, kept);
    }
    if let Some(never) = &check.never {
        return evidence::never(context, never);
    }
    if let Some(answer) = &check.answer {
        return answers::answer(context, &check.id, answer);
    }
    if let Some(budget) = &check.budget {
        return budget::budget(context, budget, check.layer);
    }
    Outcome::blocked(
        check.title.clone(),
        "the check asks for nothing",
        "ckslab scenario lint",
    )
}

/// What a check expects, said before it can be looked at.
fn expected(check: &Check) -> String {
    if let Some(mount) = &check.sees {
        return format!("the process sees `{}` of the node", mount.path);
    }
    if let Some(log) = &check.log {
        return format!("the API server's entries arrive in `{}`", log.path);
    }
    if check.probes.is_some() {
        return "the grader's requests are recorded as asked, and no others".to_owned();
    }
    check.title.clone()
}
