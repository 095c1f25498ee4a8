//! `ckslab scenario test`: the release gate, several scenarios at a time, with a report.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::SelectArgs;
use crate::cli::failure::Failure;
use crate::cli::output::{self, Format, SCHEMA_VERSION};
use crate::cli::start::KindArgs;
use crate::exit::Exit;
use crate::lab::config::Settings;
use crate::lab::gate::{self, Played, Round};
use crate::lab::live_rehearsal::LiveRehearsal;
use crate::lab::rehearsal::{Rehearsal, RehearsalError, Rehearse};
use crate::lab::{Error, Home};
use crate::node::engine::{Choice, Engine, EngineError};
use crate::scenario::Resolved;
use crate::style::Style;

/// Arguments of `ckslab scenario test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab scenario test audit-03
  ckslab scenario test my-01 --scenarios my-scenarios --seeds 5
  ckslab scenario test --all --seeds 5 -o json
  ckslab scenario test --engine kind audit-03

Exit codes: 0 everything went as recorded, 1 something did not.")]
pub(super) struct TestArgs {
    #[command(flatten)]
    select: SelectArgs,
    /// Every scenario
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// How many seeds to try, from 1 on [default: 3; kind: 1]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// How many scenarios to play side by side [default: six for each processor; kind: 1]
    #[arg(long, short = 'j', value_name = "N")]
    jobs: Option<usize>,
    /// Show every attempt, not only those that went wrong (always shown for a single scenario)
    #[arg(long, short)]
    verbose: bool,
    /// What to play them on; kind: one cluster, put back before every attempt
    #[arg(long, value_enum, default_value_t = Choice::Embedded, value_name = "ENGINE")]
    engine: Choice,
    #[command(flatten)]
    kind: KindArgs,
}

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    ok: bool,
    /// Attempts played, the untouched lab and the one put back included.
    attempts: usize,
    /// How many of them did not go as recorded.
    failed: usize,
    elapsed_ms: u128,
    scenarios: Vec<Row>,
    results: Vec<Attempt>,
}

/// One scenario, all its seeds.
#[derive(Debug, Default, Serialize)]
struct Row {
    scenario: String,
    seeds: usize,
    attempts: usize,
    failed: usize,
    /// Wall clock of its seeds together; they may have run side by side.
    elapsed_ms: u128,
}

#[derive(Serialize)]
struct Attempt {
    scenario: String,
    seed: u64,
    /// Name of the attempt; `untouched` for the lab as it starts, `put-back` for the one put back in the end.
    attempt: String,
    score: Option<u32>,
    ok: bool,
    complaints: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When a scenario cannot be read, or a node to test on cannot be made.
pub(super) fn run(args: &TestArgs) -> anyhow::Result<Exit> {
    let start = Instant::now();
    let text = args.select.output.output == Format::Text;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let home = Home::find()?;
    let settings = Settings::load(&home).map_err(Failure::usage)?;
    let engine = Engine::choose(args.engine).map_err(Error::engine(""))?;
    let wishes = args.kind.wishes(&settings)?;
    let work = work(args, engine)?;
    let (all_at_once, stage): (usize, Box<gate::Stage<'_>>) = match engine {
        Engine::Embedded => (
            gate::side_by_side(),
            Box::new(|resolved: &Resolved| {
                let rehearsal = Rehearsal::begin(resolved, runtime.handle())?;
                Ok(Box::new(rehearsal) as Box<dyn Rehearse>)
            }),
        ),
        Engine::Kind => (
            1,
            Box::new(|resolved: &Resolved| {
                let rehearsal = LiveRehearsal::begin(resolved, engine, &wishes, &home)?;
                Ok(Box::new(rehearsal) as Box<dyn Rehearse>)
            }),
        ),
    };
    let jobs = match engine {
        Engine::Embedded => args.jobs.unwrap_or(all_at_once),
        Engine::Kind => 1,
    };
    let single = work.iter().all(|resolved| {
        work.first()
            .is_some_and(|first| first.definition.id == resolved.definition.id)
    });
    let style = Style::stdout();
    let mut rounds: Vec<Round> = Vec::new();
    gate::hold(&work, jobs, &*stage, &mut |round| {
        if text {
            for played in &round.played {
                if args.verbose || single || !played.ok() {
                    output::print(&line(&round, played, style)).map_err(anyhow::Error::from)?;
                }
            }
        }
        rounds.push(round);
        Ok::<(), Stop>(())
    })
    .map_err(|Stop(error)| error)?;
    rounds.sort_by(|a, b| (&a.scenario, a.seed).cmp(&(&b.scenario, b.seed)));
    let report = report(rounds, start.elapsed());
    match args.select.output.output {
        Format::Json => output::print_json(&report)?,
        Format::Text => output::print(&summary(&report, style))?,
    }
    Ok(if report.ok { Exit::Ok } else { Exit::NotPassed })
}

/// What ends the whole gate.
struct Stop(anyhow::Error);

impl From<RehearsalError> for Stop {
    fn from(error: RehearsalError) -> Self {
        Stop(failed(error).into())
    }
}

impl From<anyhow::Error> for Stop {
    fn from(error: anyhow::Error) -> Self {
        Stop(error)
    }
}

fn failed(error: RehearsalError) -> Failure {
    match error {
        RehearsalError::Make(EngineError::Missing { reason, hint }) => {
            Failure::environment(reason).hint(hint)
        }
        RehearsalError::Make(EngineError::Invalid { reason, hint }) => {
            Failure::input(reason).hint(hint)
        }
        other => Failure::environment(other.to_string()),
    }
}

/// Every scenario with every seed, but those that do not work on the engine or have nothing to grade.
fn work(args: &TestArgs, engine: Engine) -> anyhow::Result<Vec<Resolved>> {
    let seeds = args.seeds.unwrap_or(match engine {
        Engine::Embedded => 3,
        Engine::Kind => 1,
    });
    let mut work = Vec::new();
    for scenario in super::select(&args.select)? {
        if let Some(reason) = scenario.definition.not_on.get(engine.name()) {
            output::note(&format!(
                "{} is not tested on {}: {reason}",
                scenario.definition.id,
                engine.name()
            ));
            continue;
        }
        for seed in 1..=seeds.max(1) {
            let resolved = scenario.resolve(seed).map_err(Error::from)?;
            if resolved.is_graded() {
                work.push(resolved);
            }
        }
    }
    Ok(work)
}

fn line(round: &Round, played: &Played, style: Style) -> String {
    let verdict = if played.ok() {
        style.good("ok    ")
    } else {
        style.bad("FAILED")
    };
    let score = played
        .score
        .map(|score| format!("{score:>4} "))
        .unwrap_or_default();
    let mut text = format!(
        "{verdict} {} seed {} {score}{}\n",
        round.scenario, round.seed, played.attempt
    );
    for complaint in &played.complaints {
        text.push_str(&format!("         {complaint}\n"));
    }
    text
}

fn report(rounds: Vec<Round>, took: Duration) -> Report {
    let mut rows: BTreeMap<String, Row> = BTreeMap::new();
    let mut results = Vec::new();
    for round in rounds {
        let row = rows.entry(round.scenario.clone()).or_insert_with(|| Row {
            scenario: round.scenario.clone(),
            ..Row::default()
        });
        row.seeds += 1;
        row.elapsed_ms += round.took.as_millis();
        for played in round.played {
            row.attempts += 1;
            row.failed += usize::from(!played.ok());
            results.push(Attempt {
                scenario: round.scenario.clone(),
                seed: round.seed,
                ok: played.ok(),
                attempt: played.attempt,
                score: played.score,
                complaints: played.complaints,
            });
        }
    }
    let failed = results.iter().filter(|result| !result.ok).count();
    Report {
        schema_version: SCHEMA_VERSION,
        ok: failed == 0,
        attempts: results.len(),
        failed,
        elapsed_ms: took.as_millis(),
        scenarios: rows.into_values().collect(),
        results,
    }
}

fn summary(report: &Report, style: Style) -> String {
    let width = report
        .scenarios
        .iter()
        .map(|row| row.scenario.len())
        .max()
        .unwrap_or(0);
    let mut text = String::new();
    for row in &report.scenarios {
        let verdict = if row.failed == 0 {
            style.good("ok    ")
        } else {
            style.bad("FAILED")
        };
        let wrong = match row.failed {
            0 => String::new(),
            failed => format!(", {failed} not as recorded"),
        };
        text.push_str(&format!(
            "{verdict} {:<width$}  {} attempts over {} seeds{wrong}\n",
            row.scenario, row.attempts, row.seeds
        ));
    }
    let seconds = report.elapsed_ms / 100;
    text.push_str(&format!(
        "{} attempts, {} not as recorded, {}.{} s\n",
        report.attempts,
        report.failed,
        seconds / 10,
        seconds % 10
    ));
    text
}
