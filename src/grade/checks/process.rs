//! Layer 2: the API server process that runs.

use super::{Context, manifest};
use crate::grade::report::Outcome;
use crate::scenario::definition::FlagCheck;

/// It runs and is ready.
pub fn running(context: &Context<'_>) -> Outcome {
    let facts = context.facts;
    let expected = "the API server runs and answers /readyz with ok";
    if facts.down().is_none() {
        return Outcome::pass(expected, "running and ready");
    }
    Outcome::fail(expected, facts.describe_state(), facts.where_to_look())
}

/// A flag of the running process.
pub fn flag(context: &Context<'_>, check: &FlagCheck) -> Outcome {
    let expected = manifest::wanted(check, "on the command line of the running API server");
    if !context.facts.running() {
        return Outcome::blocked(
            expected,
            format!("blocked: the API server is {}", context.facts.phase()),
            context.facts.where_to_look(),
        );
    }
    manifest::compare(
        context,
        check,
        context.facts.flags.get(&check.name),
        expected,
        "ps -ef | grep -o -- '--audit[^ ]*'",
    )
}
