//! `ckslab next`: which scenario to take now, and why.

use std::path::PathBuf;
use std::time::Instant;

use serde::Serialize;

use super::catalogue::{self, Entry, GroupArgs};
use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use super::start;
use crate::exit::Exit;
use crate::lab::Home;
use crate::lab::progress::Stage;
use crate::scenario::definition::Difficulty;
use crate::style::Style;

/// Arguments of `ckslab next`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab next
  ckslab next --group troubleshoot --start
  ckslab next -o json

What was failed comes first, then what was begun, then what was never seen (easy ones first), then what was
passed the longest time ago.")]
pub struct NextArgs {
    #[command(flatten)]
    group: GroupArgs,
    /// Start it as well
    #[arg(long)]
    start: bool,
    /// Directory of your own scenarios, beside the embedded ones
    #[arg(long, value_name = "DIR", env = "CKSLAB_SCENARIOS")]
    scenarios: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    id: &'a str,
    title: &'a str,
    group: Option<&'static str>,
    difficulty: &'static str,
    minutes: u32,
    /// `new`, `started`, `failed` or `passed`.
    progress: Stage,
    best_percent: Option<f64>,
    /// Why this one, in words.
    reason: String,
}

/// Runs the command.
///
/// # Errors
/// When there is no scenario to choose, or it cannot be started.
pub fn run(args: &NextArgs, began: Instant) -> anyhow::Result<Exit> {
    let home = Home::find()?;
    let entries = catalogue::graded(&home, args.scenarios.as_deref(), args.group)?;
    let Some(entry) = choose(&entries) else {
        return Ok(Exit::NotPassed);
    };
    let definition = &entry.scenario.definition;
    let report = Report {
        schema_version: SCHEMA_VERSION,
        id: &definition.id,
        title: &definition.title,
        group: definition.group.map(|group| group.name()),
        difficulty: definition.difficulty.name(),
        minutes: definition.minutes,
        progress: entry.progress.stage(),
        best_percent: entry.progress.best_percent,
        reason: reason(entry),
    };
    if args.start {
        output::note(&format!("{}: {}", report.id, report.reason));
        return start::begin(
            &definition.id,
            args.scenarios.as_deref(),
            args.output,
            began,
        );
    }
    match args.output.output {
        Format::Json => output::print_json(&report)?,
        Format::Text => {
            let style = Style::stdout();
            output::print(&format!(
                "{}  {} ({}, {} min)\n  {}\n\n{} ckslab start {}\n",
                style.code(report.id),
                report.title,
                report.difficulty,
                report.minutes,
                report.reason,
                style.strong("next:"),
                report.id
            ))?;
        }
    }
    Ok(Exit::Ok)
}

/// The one to take: see the help of the command.
fn choose(entries: &[Entry]) -> Option<&Entry> {
    entries.iter().min_by_key(|entry| {
        let stage = entry.progress.stage();
        let turn = match stage {
            Stage::Failed => 0,
            Stage::Started => 1,
            Stage::New => 2,
            Stage::Passed => 3,
        };
        let hardness = match (stage, entry.scenario.definition.difficulty) {
            (Stage::New, Difficulty::Easy) => 1,
            (Stage::New, Difficulty::Medium) => 2,
            (Stage::New, Difficulty::Hard) => 3,
            _ => 0,
        };
        (turn, hardness, entry.progress.last, entry.id().to_owned())
    })
}

fn reason(entry: &Entry) -> String {
    let best = entry
        .progress
        .best_percent
        .map(|best| format!(", best {best} %"))
        .unwrap_or_default();
    let times = match entry.progress.grades {
        1 => "once".to_owned(),
        number => format!("{number} times"),
    };
    match entry.progress.stage() {
        Stage::Failed => format!("you graded it {times} and never passed{best}"),
        Stage::Started => "you began it and never graded it".to_owned(),
        Stage::New => "you have not seen it yet".to_owned(),
        Stage::Passed => "you passed everything; this one the longest time ago".to_owned(),
    }
}
