//! `ckslab start`: starts a scenario.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap_complete::engine::ArgValueCandidates;
use serde::Serialize;

use super::catalogue::{self, GroupArgs};
use super::failure::Failure;
use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use super::status;
use crate::exit::Exit;
use crate::lab::config::Settings;
use crate::lab::progress::Stage;
use crate::lab::{Error, Home, Lab, Plan, Started};
use crate::node::engine::{Choice, Engine, Pace, Wishes};
use crate::scenario::Scenario;
use crate::scenario::coverage::Group;
use crate::style::Style;

/// Arguments of `ckslab start`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab start audit-03
  ckslab start audit-01 --seed 7 --pace real
  ckslab start --random --group troubleshoot
  ckslab start sandbox -o json")]
pub struct StartArgs {
    /// Scenario, as `ckslab list` shows it
    #[arg(value_name = "ID", required_unless_present = "random",
        add = ArgValueCandidates::new(super::target::scenario_names))]
    id: Option<String>,
    /// Start any of those you have not passed yet; of all, where you passed every one
    #[arg(long, conflicts_with = "id")]
    random: bool,
    /// With --random: one of this kind of work
    #[arg(
        long,
        value_enum,
        value_name = "GROUP",
        requires = "random",
        conflicts_with = "id"
    )]
    group: Option<Group>,
    /// What provides the node [default: auto]
    #[arg(long, value_enum, env = "CKSLAB_ENGINE", value_name = "ENGINE")]
    engine: Option<Choice>,
    /// Seed of the scenario's variables: the same seed gives the same exercise
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// How fast the node lives: as in the exam, or with waits shortened [default: fast]
    #[arg(long, value_enum, value_name = "PACE")]
    pace: Option<PaceArg>,
    /// Directory of your own scenarios
    #[arg(long, value_name = "DIR", env = "CKSLAB_SCENARIOS")]
    scenarios: Option<PathBuf>,
    #[command(flatten)]
    kind: KindArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What is chosen about a kind cluster.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct KindArgs {
    /// Kind engine: put the lab on a cluster of its own, `ckslab-NAME`, beside other labs
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Kind engine: node image of the cluster [default: a kindest/node of Kubernetes 1.36]
    #[arg(long, value_name = "IMAGE", env = "CKSLAB_KIND_IMAGE")]
    image: Option<String>,
    /// Kind engine: a kind configuration, merged with ours (patches, mounts, ports, workers)
    #[arg(long, value_name = "FILE")]
    kind_config: Option<PathBuf>,
}

impl KindArgs {
    /// What is wished for, with what the configuration file says.
    ///
    /// # Errors
    /// When the current directory is gone.
    pub fn wishes(&self, settings: &Settings) -> std::io::Result<Wishes> {
        let file = self.kind_config.as_ref().or(settings.kind_config.as_ref());
        let image = self.image.as_ref().or(settings.kind_image.as_ref());
        Ok(Wishes {
            cluster: self.cluster.clone(),
            image: image.filter(|image| !image.is_empty()).cloned(),
            // A later reset may be typed elsewhere.
            kind_config: file.map(std::path::absolute).transpose()?,
        })
    }
}

/// `--pace`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum PaceArg {
    /// As long as a real node takes
    Real,
    /// Everything that waits is shortened
    Fast,
}

impl From<PaceArg> for Pace {
    fn from(pace: PaceArg) -> Self {
        match pace {
            PaceArg::Real => Pace::Real,
            PaceArg::Fast => Pace::Fast,
        }
    }
}

/// What `start -o json` (and `reset -o json`) prints.
#[derive(Serialize)]
pub struct Report {
    schema_version: u32,
    lab: String,
    scenario: String,
    engine: String,
    seed: u64,
    node_root: Option<String>,
    kubeconfig: String,
    server: String,
    ready_ms: u64,
}

impl Report {
    /// What to say about a lab that was just started; `began` is when this process did.
    ///
    /// # Errors
    /// When the lab's configuration cannot be read.
    pub fn of(lab: &Lab, began: Instant) -> Result<Self, Error> {
        let access = lab.node()?.access();
        let record = lab.record();
        Ok(Self {
            schema_version: SCHEMA_VERSION,
            lab: record.lab.clone(),
            scenario: record.scenario.clone(),
            engine: record.engine.name().to_owned(),
            seed: record.seed,
            node_root: access.node_root.map(|root| root.display().to_string()),
            kubeconfig: access.kubeconfig.display().to_string(),
            server: access.server,
            ready_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }
}

/// Runs the command.
///
/// # Errors
/// When there is no such scenario, or its lab cannot be started.
pub fn run(args: &StartArgs, began: Instant) -> anyhow::Result<Exit> {
    let home = Home::find()?;
    let id = match &args.id {
        Some(id) => id.clone(),
        None => any(args, &home)?,
    };
    start(args, &id, &home, began)
}

/// Starts a scenario as `ckslab start ID` does.
///
/// # Errors
/// As [`run`].
pub(super) fn begin(
    id: &str,
    scenarios: Option<&Path>,
    output: OutputArgs,
    began: Instant,
) -> anyhow::Result<Exit> {
    use clap::Parser;
    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        start: StartArgs,
    }
    // Parsed, so that what the environment says counts here too.
    let mut args = Line::try_parse_from(["start", id])?.start;
    args.scenarios = scenarios.map(Path::to_path_buf);
    args.output = output;
    start(&args, id, &Home::find()?, began)
}

/// Any scenario that was not passed yet.
fn any(args: &StartArgs, home: &Home) -> anyhow::Result<String> {
    let group = GroupArgs { group: args.group };
    let entries = catalogue::graded(home, args.scenarios.as_deref(), group)?;
    let open: Vec<_> = entries
        .iter()
        .filter(|entry| entry.progress.stage() != Stage::Passed)
        .collect();
    let among = if open.is_empty() {
        entries.iter().collect()
    } else {
        open
    };
    let chosen = rand::random_range(0..among.len().max(1));
    let id = among
        .get(chosen)
        .map(|entry| entry.id())
        .unwrap_or_default();
    output::note(&format!("chosen of {}: {id}", among.len()));
    Ok(id.to_owned())
}

fn start(args: &StartArgs, id: &str, home: &Home, began: Instant) -> anyhow::Result<Exit> {
    let settings = Settings::load(home).map_err(Failure::usage)?;
    let scenario = Scenario::find(id, args.scenarios.as_deref()).map_err(Error::from)?;
    let engine = choose_engine(args, id, &settings, home)?;
    let plan = Plan {
        scenario: &scenario,
        scenarios: args.scenarios.as_deref(),
        seed: args.seed,
        engine: args
            .engine
            .filter(|choice| *choice != Choice::Auto)
            .map(|_| engine),
        default_engine: engine,
        pace: args.pace.map(Pace::from),
        default_pace: settings.pace.unwrap_or_default(),
        wishes: args.kind.wishes(&settings)?,
    };
    let (lab, started) = Lab::start(home, &plan)?;
    let report = Report::of(&lab, began)?;
    match args.output.output {
        Format::Json => output::print_json(&report)?,
        Format::Text => output::print(&text(&lab, &report, started)?)?,
    }
    Ok(Exit::Ok)
}

/// Decides the engine: flag and environment first, then the configuration file, then `auto`.
fn choose_engine(
    args: &StartArgs,
    id: &str,
    settings: &Settings,
    home: &Home,
) -> anyhow::Result<Engine> {
    let choice = match (args.engine, settings.engine.as_deref()) {
        (Some(choice), _) => choice,
        (None, Some(name)) => clap::ValueEnum::from_str(name, false).map_err(|_| {
            Failure::usage(format!(
                "`{name}` in `{}` is no engine",
                home.config_file().display()
            ))
            .hint("write engine = \"embedded\", \"kind\" or \"auto\"")
        })?,
        (None, None) => Choice::Auto,
    };
    let engine = Engine::choose(choice).map_err(Error::engine(id))?;
    if choice == Choice::Auto {
        output::note(&format!(
            "engine: {}, chosen by auto (to change it: --engine, CKSLAB_ENGINE, or engine = ... in {})",
            engine.name(),
            home.config_file().display()
        ));
    }
    Ok(engine)
}

fn text(lab: &Lab, report: &Report, started: Started) -> anyhow::Result<String> {
    let style = Style::stdout();
    let title = lab.scenario()?.definition.title;
    let verb = match started {
        Started::New => "is started",
        Started::Resumed => "goes on",
        Started::Running => "was running already",
    };
    let server = match lab.node()?.api_server() {
        Ok(state) => status::headline(&state),
        Err(error) => error.to_string(),
    };
    let node_root = match &report.node_root {
        Some(root) => root.clone(),
        None => format!(
            "in the container {}: ckslab shell, ckslab cp",
            lab.node()?.access().name
        ),
    };
    Ok(format!(
        "{} {verb}: {title}
  engine      {}, seed {}, {} ms
  API server  {server}
  node files  {node_root}

next:
  {}       read what is asked
  {}      open a shell on the node
  {}     see how the node is
",
        style.strong(&format!("lab {}", report.lab)),
        report.engine,
        report.seed,
        report.ready_ms,
        style.code("ckslab task"),
        style.code("ckslab shell"),
        style.code("ckslab status"),
    ))
}
