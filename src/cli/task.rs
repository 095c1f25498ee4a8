//! `ckslab task`: what is asked.

use serde::Serialize;

use super::markdown;
use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use super::target::TargetArgs;
use crate::exit::Exit;
use crate::style::Style;

/// Arguments of `ckslab task`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab task
  ckslab task audit-03 | less
  ckslab task -o json

Naming a lab makes it the active one.")]
pub struct TaskArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    lab: String,
    scenario: String,
    seed: u64,
    title: String,
    minutes: u32,
    points: u32,
    skills: Vec<String>,
    task: String,
}

/// Runs the command.
///
/// # Errors
/// When there is no lab.
pub fn run(args: &TaskArgs) -> anyhow::Result<Exit> {
    let lab = args.target.choose()?;
    let resolved = lab.scenario()?;
    match args.output.output {
        Format::Json => output::print_json(&Report {
            schema_version: SCHEMA_VERSION,
            lab: lab.id().to_owned(),
            scenario: lab.record().scenario.clone(),
            seed: resolved.seed,
            title: resolved.definition.title,
            minutes: resolved.definition.minutes,
            points: resolved.definition.points,
            skills: resolved.definition.skills,
            task: resolved.task,
        })?,
        Format::Text => output::print(&markdown::render(&resolved.task, Style::stdout()))?,
    }
    Ok(Exit::Ok)
}
