//! `ckslab scenario`: tools for those who write scenarios.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::failure::Failure;
use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use super::start::KindArgs;
use crate::exit::Exit;
use crate::lab::config::Settings;
use crate::lab::home::is_id;
use crate::lab::live_rehearsal::LiveRehearsal;
use crate::lab::rehearsal::{
    Rehearsal, RehearsalError, Rehearse, complaints, untouched_complaints,
};
use crate::lab::{Error, Home};
use crate::node::engine::{Choice, Engine, EngineError};
use crate::scenario::{self, Resolved, Scenario, lint, starter};
use crate::style::Style;

/// Arguments of `ckslab scenario`.
#[derive(Debug, clap::Args)]
pub struct ScenarioArgs {
    /// What to do.
    #[command(subcommand)]
    command: ScenarioCommand,
}

/// What to do with scenarios.
#[derive(Debug, clap::Subcommand)]
enum ScenarioCommand {
    /// Print the JSON Schema of the format
    Schema(SchemaArgs),
    /// Make the files of a new scenario
    New(NewArgs),
    /// Look for mistakes in scenarios
    Lint(SelectArgs),
    /// Play every recorded attempt on a node of its own and compare the grades
    Test(TestArgs),
}

/// Arguments of `ckslab scenario schema`.
#[derive(Debug, clap::Args)]
struct SchemaArgs {
    /// The schema of the files in `attempts/` instead of that of `scenario.yaml`
    #[arg(long)]
    attempt: bool,
}

/// Arguments of `ckslab scenario new`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab scenario new my-scenarios/rbac-01
  ckslab scenario test rbac-01 --scenarios my-scenarios
  ckslab start rbac-01 --scenarios my-scenarios")]
struct NewArgs {
    /// Directory to make; its name is the scenario's id
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// Which scenarios.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab scenario lint
  ckslab scenario lint --scenarios my-scenarios -o json")]
struct SelectArgs {
    /// Scenarios; all of them if left out
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Directory of your own scenarios
    #[arg(long, value_name = "DIR", env = "CKSLAB_SCENARIOS")]
    scenarios: Option<PathBuf>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Arguments of `ckslab scenario test`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab scenario test audit-03
  ckslab scenario test my-01 --scenarios my-scenarios --seeds 5
  ckslab scenario test --engine kind audit-03
  ckslab scenario test --engine kind --all")]
struct TestArgs {
    #[command(flatten)]
    select: SelectArgs,
    /// Every scenario
    #[arg(long, conflicts_with = "ids")]
    all: bool,
    /// How many seeds to try, from 1 on [default: 3; kind: 1]
    #[arg(long, value_name = "N")]
    seeds: Option<u64>,
    /// What to play them on; kind: one cluster, put back before every attempt
    #[arg(long, value_enum, default_value_t = Choice::Embedded, value_name = "ENGINE")]
    engine: Choice,
    #[command(flatten)]
    kind: KindArgs,
}

/// Runs the command.
///
/// # Errors
/// When a scenario cannot be read, or a node to test on cannot be made.
pub fn run(args: &ScenarioArgs) -> anyhow::Result<Exit> {
    match &args.command {
        ScenarioCommand::Schema(args) => {
            output::print_json(&if args.attempt {
                scenario::attempt_schema()
            } else {
                scenario::schema()
            })?;
            Ok(Exit::Ok)
        }
        ScenarioCommand::New(args) => new(&args.directory),
        ScenarioCommand::Lint(args) => run_lint(args),
        ScenarioCommand::Test(args) => test(args),
    }
}

fn new(directory: &Path) -> anyhow::Result<Exit> {
    let id = directory
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    if !is_id(&id) {
        return Err(
            Failure::usage(format!("`{id}` cannot be the id of a scenario"))
                .hint("use lower-case letters, digits and dashes")
                .into(),
        );
    }
    if directory.exists() {
        return Err(
            Failure::usage(format!("`{}` is there already", directory.display()))
                .hint("choose another name")
                .into(),
        );
    }
    for (path, text) in starter::files(&id) {
        let path = directory.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, text)?;
        output::print(&format!("{}\n", path.display()))?;
    }
    let parent = match directory.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.display().to_string(),
        _ => ".".to_owned(),
    };
    output::note(&format!(
        "next: ckslab scenario test {id} --scenarios {parent}"
    ));
    Ok(Exit::Ok)
}

fn select(args: &SelectArgs) -> Result<Vec<Scenario>, Error> {
    let directory = args.scenarios.as_deref();
    if args.ids.is_empty() {
        return Ok(Scenario::all(directory)?);
    }
    args.ids
        .iter()
        .map(|id| Scenario::find(id, directory).map_err(Error::from))
        .collect()
}

#[derive(Serialize)]
struct LintReport {
    schema_version: u32,
    ok: bool,
    findings: Vec<lint::Finding>,
}

fn run_lint(args: &SelectArgs) -> anyhow::Result<Exit> {
    let scenarios = select(args)?;
    let findings: Vec<lint::Finding> = scenarios.iter().flat_map(lint::lint).collect();
    let ok = findings.is_empty();
    match args.output.output {
        Format::Json => output::print_json(&LintReport {
            schema_version: SCHEMA_VERSION,
            ok,
            findings,
        })?,
        Format::Text => {
            for finding in &findings {
                let place = match finding.line {
                    Some(line) => format!("{}:{line}", finding.file),
                    None => finding.file.clone(),
                };
                output::print(&format!("{place}: {}\n", finding.message))?;
            }
            if ok {
                output::print(&format!(
                    "{} scenarios, nothing to complain about\n",
                    scenarios.len()
                ))?;
            }
        }
    }
    Ok(if ok { Exit::Ok } else { Exit::InvalidInput })
}

#[derive(Serialize)]
struct TestReport {
    schema_version: u32,
    ok: bool,
    results: Vec<TestResult>,
}

#[derive(Serialize)]
struct TestResult {
    scenario: String,
    seed: u64,
    /// Name of the attempt; `untouched` for the lab as it starts.
    attempt: String,
    score: Option<u32>,
    ok: bool,
    complaints: Vec<String>,
}

fn test(args: &TestArgs) -> anyhow::Result<Exit> {
    let scenarios = select(&args.select)?;
    let style = Style::stdout();
    let text = args.select.output.output == Format::Text;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let home = Home::find()?;
    let settings = Settings::load(&home).map_err(Failure::usage)?;
    let engine = Engine::choose(args.engine).map_err(Error::engine(""))?;
    let wishes = args.kind.wishes(&settings)?;
    let seeds = args.seeds.unwrap_or(match engine {
        Engine::Embedded => 3,
        Engine::Kind => 1,
    });
    let mut results = Vec::new();
    for scenario in &scenarios {
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
            if !resolved.is_graded() {
                continue;
            }
            let stage: Box<dyn Rehearse> = match engine {
                Engine::Embedded => {
                    Box::new(Rehearsal::begin(&resolved, runtime.handle()).map_err(failed)?)
                }
                Engine::Kind => Box::new(
                    LiveRehearsal::begin(&resolved, engine, &wishes, &home).map_err(failed)?,
                ),
            };
            rehearse(&resolved, stage, &mut |result| {
                if text {
                    let verdict = if result.ok {
                        style.good("ok    ")
                    } else {
                        style.bad("FAILED")
                    };
                    let score = result
                        .score
                        .map(|score| format!("{score:>4} "))
                        .unwrap_or_default();
                    output::print(&format!(
                        "{verdict} {} seed {} {score}{}\n",
                        result.scenario, result.seed, result.attempt
                    ))?;
                    for complaint in &result.complaints {
                        output::print(&format!("         {complaint}\n"))?;
                    }
                }
                results.push(result);
                Ok(())
            })?;
        }
    }
    let ok = results.iter().all(|result| result.ok);
    if text {
        let failed = results.iter().filter(|result| !result.ok).count();
        output::print(&format!(
            "{} attempts, {failed} not as recorded\n",
            results.len()
        ))?;
    } else {
        output::print_json(&TestReport {
            schema_version: SCHEMA_VERSION,
            ok,
            results,
        })?;
    }
    Ok(if ok { Exit::Ok } else { Exit::NotPassed })
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

fn rehearse(
    resolved: &Resolved,
    mut rehearsal: Box<dyn Rehearse>,
    tell: &mut dyn FnMut(TestResult) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let result = |attempt: &str, score, complaints: Vec<String>| TestResult {
        scenario: resolved.definition.id.clone(),
        seed: resolved.seed,
        attempt: attempt.to_owned(),
        score,
        ok: complaints.is_empty(),
        complaints,
    };
    let untouched = rehearsal.grade().map_err(failed)?;
    let wrong = untouched_complaints(resolved, &untouched);
    tell(result("untouched", Some(untouched.score), wrong))?;
    for (index, attempt) in resolved.attempts.iter().enumerate() {
        if index > 0 {
            rehearsal.rewind().map_err(failed)?;
        }
        match rehearsal.play(attempt) {
            Ok(report) => tell(result(
                &attempt.name,
                Some(report.score),
                complaints(attempt, &report),
            ))?,
            Err(error) => tell(result(&attempt.name, None, vec![error.to_string()]))?,
        }
    }
    Ok(())
}
