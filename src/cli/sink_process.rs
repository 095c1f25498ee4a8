//! The hidden subcommand that is a webhook receiver on a node.

use std::path::PathBuf;

use anyhow::Context as _;

use crate::exit::Exit;
use crate::node::sink::process;

/// Arguments of the process.
#[derive(Debug, clap::Args)]
pub struct SinkProcessArgs {
    /// Directory of the receiver
    dir: PathBuf,
}

/// Receives until it is told to end.
///
/// # Errors
/// When the receiver cannot be started.
pub fn run(args: &SinkProcessArgs) -> anyhow::Result<Exit> {
    process::run(&args.dir).context("the receiver cannot run")?;
    Ok(Exit::Ok)
}
