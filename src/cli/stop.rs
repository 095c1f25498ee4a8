//! `ckslab stop`: ends the background process of a lab.

use serde::Serialize;

use super::failure::Failure;
use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use super::target::TargetArgs;
use crate::exit::Exit;
use crate::lab::{Home, Lab};

/// Arguments of `ckslab stop`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab stop
  ckslab stop --all
  ckslab stop audit-03 --remove     remove the lab and everything in it
  ckslab stop audit-03 --delete     delete its kind cluster, which stays otherwise")]
pub struct StopArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Every lab
    #[arg(long)]
    all: bool,
    /// Remove the lab with everything in it
    #[arg(long)]
    remove: bool,
    /// Kind engine: delete the cluster of the lab, too
    #[arg(long)]
    delete: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    stopped: Vec<String>,
    removed: bool,
    /// Clusters that were deleted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    deleted: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When there is no lab, or its process does not end.
pub fn run(args: &StopArgs) -> anyhow::Result<Exit> {
    if args.all && args.target.id.is_some() {
        return Err(Failure::usage("`--all` and a lab's id exclude each other").into());
    }
    let labs = if args.all {
        let home = Home::find()?;
        home.ids()
            .iter()
            .map(|id| Lab::find(&home, Some(id)))
            .collect::<Result<Vec<_>, _>>()?
    } else {
        vec![args.target.find()?]
    };
    let mut stopped = Vec::new();
    let mut deleted = Vec::new();
    let mut lines = String::new();
    for mut lab in labs {
        let id = lab.id().to_owned();
        if args.delete {
            let cluster = lab.delete_node()?;
            lines.push_str(&format!("the cluster {cluster} of lab {id} is deleted\n"));
            deleted.push(cluster);
        }
        if args.remove {
            lab.remove()?;
            lines.push_str(&format!("lab {id} is removed\n"));
        } else if args.delete {
            // It is stopped with its cluster.
        } else if lab.stop()? {
            lines.push_str(&format!(
                "lab {id} is stopped (ckslab start {id} goes on with it)\n"
            ));
        } else {
            lines.push_str(&format!("lab {id} was not running\n"));
        }
        stopped.push(id);
    }
    match args.output.output {
        Format::Json => output::print_json(&Report {
            schema_version: SCHEMA_VERSION,
            stopped,
            removed: args.remove,
            deleted,
        })?,
        Format::Text if lines.is_empty() => output::print("no lab is started\n")?,
        Format::Text => output::print(&lines)?,
    }
    Ok(Exit::Ok)
}
