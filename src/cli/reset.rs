//! `ckslab reset`: puts a lab back to its start.

use std::time::Instant;

use super::output::{self, Format, OutputArgs};
use super::start::Report;
use super::target::TargetArgs;
use crate::exit::Exit;
use crate::lab::{Error, Home, Lab, Plan, Record};
use crate::node::engine::{Engine, Pace, Wishes};
use crate::scenario::Scenario;
use crate::style::Style;

/// Arguments of `ckslab reset`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Your work on the node is thrown away; grades and hints taken stay on record.

Examples:
  ckslab reset
  ckslab reset audit-03
  ckslab reset --seed 8     the same exercise with other values"
)]
pub struct ResetArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Another seed of the scenario's variables
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    #[command(flatten)]
    output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// When there is no lab, or it cannot be made again.
pub fn run(args: &ResetArgs, began: Instant) -> anyhow::Result<Exit> {
    let home = Home::find()?;
    let mut damaged = None;
    let (id, directory) = match args.target.find() {
        Ok(lab) => {
            let record: &Record = lab.record();
            (record.scenario.clone(), record.scenarios.clone())
        }
        // A damaged record is what a reset is for.
        Err(Error::Damaged { lab, .. }) => {
            let copy = Record::rescue(&home.lab(&lab));
            damaged = Some(copy.is_some());
            (lab, copy.and_then(|copy| copy.scenarios))
        }
        Err(error) => return Err(error.into()),
    };
    let scenario = Scenario::find(&id, directory.as_deref()).map_err(Error::from)?;
    let lab = Lab::reset(
        &home,
        &Plan {
            scenario: &scenario,
            scenarios: directory.as_deref(),
            seed: args.seed,
            pace: None,
            engine: None,
            default_engine: Engine::Embedded,
            default_pace: Pace::default(),
            wishes: Wishes::default(),
        },
    )?;
    match damaged {
        Some(true) => output::note(
            "the record of the lab was damaged; what it was comes from its copy in `records/lab.json`",
        ),
        Some(false) => output::warn(&format!(
            "the record of the lab was damaged and had no copy: grades are lost{}",
            if args.seed.is_some() {
                String::new()
            } else {
                format!(
                    ", and the seed is a new one, so the exercise has other values. Read it again: ckslab task {}",
                    lab.id()
                )
            }
        )),
        None => {}
    }
    let report = Report::of(&lab, began)?;
    match args.output.output {
        Format::Json => output::print_json(&report)?,
        Format::Text => output::print(&format!(
            "{} is back at its start (seed {})\n",
            Style::stdout().strong(&format!("lab {}", lab.id())),
            lab.record().seed
        ))?,
    }
    Ok(Exit::Ok)
}
