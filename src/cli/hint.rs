//! `ckslab hint`: a ladder of hints, each with its cost.

use serde::Serialize;

use super::markdown;
use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use super::target::TargetArgs;
use crate::exit::Exit;
use crate::scenario::Hint;
use crate::style::Style;

/// Arguments of `ckslab hint`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab hint            take the next hint
  ckslab hint --ladder   show what each rung costs, without taking one
  ckslab hint --taken    show the hints taken so far again")]
pub struct HintArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Show what each rung costs, without taking one
    #[arg(long, conflicts_with = "taken")]
    ladder: bool,
    /// Show the hints taken so far again
    #[arg(long)]
    taken: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report<'a> {
    schema_version: u32,
    lab: &'a str,
    taken: usize,
    rungs: usize,
    /// Percent of the score that the hints taken cost.
    cost: u32,
    hints: Vec<Rung<'a>>,
}

#[derive(Serialize)]
struct Rung<'a> {
    number: usize,
    title: &'a str,
    cost: u32,
    /// Only of rungs that were taken.
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
}

/// Runs the command.
///
/// # Errors
/// When there is no lab, or the rung cannot be recorded.
pub fn run(args: &HintArgs) -> anyhow::Result<Exit> {
    let mut lab = args.target.find()?;
    let hints = lab.scenario()?.hints;
    let before = lab.record().hints.min(hints.len());
    let takes = !args.ladder && !args.taken && before < hints.len();
    if takes {
        // Recorded before it is shown: who reads it has taken it.
        lab.update(|record| record.hints = before + 1)?;
    }
    let taken = lab.record().hints.min(hints.len());
    let shown: Vec<usize> = if args.ladder {
        (0..hints.len()).collect()
    } else if args.taken {
        (0..taken).collect()
    } else {
        (taken.saturating_sub(1)..taken).collect()
    };
    match args.output.output {
        Format::Json => output::print_json(&Report {
            schema_version: SCHEMA_VERSION,
            lab: lab.id(),
            taken,
            rungs: hints.len(),
            cost: cost(&hints, taken),
            hints: shown
                .iter()
                .filter_map(|index| Some((*index, hints.get(*index)?)))
                .map(|(index, hint)| Rung {
                    number: index + 1,
                    title: &hint.title,
                    cost: hint.cost,
                    text: (index < taken).then_some(hint.text.as_str()),
                })
                .collect(),
        })?,
        Format::Text => output::print(&text(&hints, &shown, taken, takes, args.ladder))?,
    }
    Ok(Exit::Ok)
}

fn cost(hints: &[Hint], taken: usize) -> u32 {
    hints.iter().take(taken).map(|hint| hint.cost).sum()
}

fn text(hints: &[Hint], shown: &[usize], taken: usize, takes: bool, ladder: bool) -> String {
    let style = Style::stdout();
    if hints.is_empty() {
        return "there are no hints for this scenario\n".to_owned();
    }
    let mut out = String::new();
    if !takes && !ladder && taken == hints.len() {
        out.push_str("you have taken every hint; the last one was:\n\n");
    }
    for index in shown {
        let Some(hint) = hints.get(*index) else {
            continue;
        };
        out.push_str(&format!(
            "{}: {} ({} % of the score)\n",
            style.strong(&format!("hint {} of {}", index + 1, hints.len())),
            hint.title,
            hint.cost
        ));
        if !ladder {
            out.push_str(&format!("\n{}\n", markdown::render(&hint.text, style)));
        }
    }
    if shown.is_empty() {
        out.push_str("no hint is taken yet\n");
    }
    out.push_str(&format!(
        "{}\n",
        style.faint(&format!(
            "taken: {taken} of {}, {} % of the score",
            hints.len(),
            cost(hints, taken)
        ))
    ));
    out
}
