//! The hidden subcommand that is a lab's background process.

use std::path::PathBuf;

use crate::exit::Exit;
use crate::node::embedded::daemon;

/// Arguments of the node process.
#[derive(Debug, clap::Args)]
pub struct NodeProcessArgs {
    /// Directory of the lab
    dir: PathBuf,
}

/// Runs the node of a lab until it is told to end.
///
/// # Errors
/// When the node cannot be booted.
pub fn run(args: &NodeProcessArgs) -> anyhow::Result<Exit> {
    match daemon::run(&args.dir) {
        Ok(()) => Ok(Exit::Ok),
        // Another process was faster and runs it: that is what was wanted.
        Err(daemon::BootError::Running) => Ok(Exit::Environment),
        Err(error) => Err(error.into()),
    }
}
