//! `ckslab scenario mutate`: whether the grader notices what it must, and nothing else.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde::Serialize;

use super::SelectArgs;
use crate::cli::output::{self, Format, SCHEMA_VERSION};
use crate::exit::Exit;
use crate::lab::Error;
use crate::lab::gate;
use crate::lab::mutation::{self, Effort, Outcome};
use crate::scenario::Resolved;
use crate::style::Style;

/// Arguments of `ckslab scenario mutate`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab scenario mutate audit-03
  ckslab scenario mutate --all -o json
  ckslab scenario mutate my-01 --scenarios my-scenarios --play-all

The reference solution is changed in one place, again and again: a rule dropped, a level changed, a mount taken
away, a number one off, a volume renamed, another style. What means something else must lose points, what means
the same must keep them.

Exit codes: 0 every mutant went as it should, 1 some did not.")]
pub(super) struct MutateArgs {
    #[command(flatten)]
    select: SelectArgs,
    /// Every scenario
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// Seed of the scenarios
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Play every mutant on a node, also those of policies that the comparison decides
    #[arg(long)]
    play_all: bool,
    /// How many scenarios to try side by side [default: six for each processor]
    #[arg(long, short = 'j', value_name = "N")]
    jobs: Option<usize>,
    /// Show every mutant
    #[arg(long, short)]
    verbose: bool,
}

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    ok: bool,
    elapsed_ms: u128,
    /// Why scenarios could not be tried.
    errors: Vec<String>,
    scenarios: Vec<Outcome>,
}

/// Runs the command.
///
/// # Errors
/// When a scenario cannot be read.
pub(super) fn run(args: &MutateArgs) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let effort = Effort {
        decided: if args.play_all { usize::MAX } else { 4 },
        others: usize::MAX,
    };
    let mut work: Vec<Resolved> = Vec::new();
    for scenario in super::select(&args.select)? {
        let resolved = scenario.resolve(args.seed).map_err(Error::from)?;
        if resolved.is_graded() {
            work.push(resolved);
        }
    }
    let next = AtomicUsize::new(0);
    let done = Mutex::new((Vec::new(), Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..args.jobs.unwrap_or_else(gate::side_by_side).max(1) {
            scope.spawn(|| {
                while let Some(resolved) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = mutation::check(resolved, runtime.handle(), effort);
                    let Ok(mut done) = done.lock() else {
                        return;
                    };
                    match outcome {
                        Ok(outcome) => done.0.push(outcome),
                        Err(error) => done.1.push(format!("{}: {error}", resolved.definition.id)),
                    }
                }
            });
        }
    });
    let (mut scenarios, mut errors) = done.into_inner().unwrap_or_default();
    scenarios.sort_by(|a, b| a.scenario.cmp(&b.scenario));
    errors.sort();
    let report = Report {
        schema_version: SCHEMA_VERSION,
        ok: errors.is_empty()
            && scenarios
                .iter()
                .all(|one| one.complaints().next().is_none()),
        elapsed_ms: start.elapsed().as_millis(),
        errors,
        scenarios,
    };
    match args.select.output.output {
        Format::Json => output::print_json(&report)?,
        Format::Text => output::print(&text(&report, args.verbose, Style::stdout()))?,
    }
    Ok(if report.ok { Exit::Ok } else { Exit::NotPassed })
}

fn text(report: &Report, verbose: bool, style: Style) -> String {
    let mut out = String::new();
    let mut total = 0;
    for one in &report.scenarios {
        total += one.fates.len();
        let count = |holds: &dyn Fn(&mutation::Fate) -> bool| {
            one.fates.iter().filter(|fate| holds(fate)).count()
        };
        let wrong = count(&|fate| fate.complaint.is_some());
        out.push_str(&format!(
            "{} {}  {} mutants: {} change the meaning, {} do not; {} played; {} survivors explained\n",
            if wrong == 0 {
                style.good("ok    ")
            } else {
                style.bad("FAILED")
            },
            one.scenario,
            one.fates.len(),
            count(&|fate| fate.changes),
            count(&|fate| !fate.changes),
            count(&|fate| fate.played),
            count(&|fate| fate.explained.is_some()),
        ));
        for fate in &one.fates {
            let words = match (&fate.complaint, &fate.explained) {
                (Some(complaint), _) => style.bad(complaint),
                (None, Some(reason)) => style.faint(&format!("explained: {reason}")),
                (None, None) if verbose => match fate.lost {
                    Some(true) => "loses points".to_owned(),
                    Some(false) => "keeps every point".to_owned(),
                    None => "not tried".to_owned(),
                },
                (None, None) => continue,
            };
            out.push_str(&format!("         {}: {words}\n", fate.mutant));
        }
    }
    for error in &report.errors {
        out.push_str(&format!("{} {error}\n", style.bad("FAILED")));
    }
    out.push_str(&format!(
        "{total} mutants of {} scenarios, {:.1} s\n",
        report.scenarios.len(),
        std::time::Duration::from_millis(u64::try_from(report.elapsed_ms).unwrap_or(0))
            .as_secs_f64()
    ));
    out
}
