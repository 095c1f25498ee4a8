//! `ckslab scenario`: tools for those who write scenarios.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::failure::Failure;
use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use crate::exit::Exit;
use crate::lab::Error;
use crate::lab::home::is_id;
use crate::scenario::{self, Scenario, lint, starter};

mod matrix;
mod mutate;
mod test;

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
    #[command(after_help = "Examples:
  ckslab scenario lint
  ckslab scenario lint --scenarios my-scenarios -o json")]
    Lint(SelectArgs),
    /// Print which scenarios cover which kinds of tasks and which mistakes; fails where a row is empty
    #[command(after_help = "Examples:
  ckslab scenario matrix
  ckslab scenario matrix audit-03 -o json

Exit codes: 0 no row is empty, 1 some are.")]
    Matrix(SelectArgs),
    /// Change the reference solution in one place, many times: what means something else must lose points
    Mutate(mutate::MutateArgs),
    /// Play every recorded attempt on a node of its own and compare the grades
    Test(test::TestArgs),
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
        ScenarioCommand::Matrix(args) => matrix::run(args),
        ScenarioCommand::Mutate(args) => mutate::run(args),
        ScenarioCommand::Test(args) => test::run(args),
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
    /// What may be better; no mistakes.
    advice: Vec<lint::Finding>,
}

fn run_lint(args: &SelectArgs) -> anyhow::Result<Exit> {
    let scenarios = select(args)?;
    let findings: Vec<lint::Finding> = scenarios.iter().flat_map(lint::lint).collect();
    let advice: Vec<lint::Finding> = scenarios
        .iter()
        .flat_map(scenario::advice::advice)
        .collect();
    let ok = findings.is_empty();
    match args.output.output {
        Format::Json => output::print_json(&LintReport {
            schema_version: SCHEMA_VERSION,
            ok,
            findings,
            advice,
        })?,
        Format::Text => {
            for finding in &findings {
                let place = match finding.line {
                    Some(line) => format!("{}:{line}", finding.file),
                    None => finding.file.clone(),
                };
                output::print(&format!("{place}: {}\n", finding.message))?;
            }
            for finding in &advice {
                output::print(&format!("{}: advice: {}\n", finding.file, finding.message))?;
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
