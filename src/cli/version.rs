//! `ckslab version`.

use serde::Serialize;

use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use crate::exit::Exit;
use crate::node::engine::EMBEDDED_KUBERNETES;

/// Arguments of `ckslab version`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab version
  ckslab version -o json")]
pub struct VersionArgs {
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    version: &'static str,
    kubernetes: &'static str,
}

/// Runs the command.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &VersionArgs) -> anyhow::Result<Exit> {
    let report = Report {
        schema_version: SCHEMA_VERSION,
        version: env!("CARGO_PKG_VERSION"),
        kubernetes: EMBEDDED_KUBERNETES,
    };
    match args.output.output {
        Format::Json => output::print_json(&report)?,
        Format::Text => output::print(&format!(
            "ckslab {} (embedded node: Kubernetes {})\n",
            report.version, report.kubernetes
        ))?,
    }
    Ok(Exit::Ok)
}
