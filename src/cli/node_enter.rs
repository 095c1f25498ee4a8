//! The hidden subcommand that runs a command of the node. A process of its own, since
//! leaving the host's namespaces is possible only for a process with one thread.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::exit::Exit;
use crate::node::embedded::inside;

/// Arguments of the entering process.
#[derive(Debug, clap::Args)]
pub struct NodeEnterArgs {
    /// Only try whether this system allows it
    #[arg(long)]
    probe: bool,
    /// What this process is for
    #[cfg(target_os = "linux")]
    #[arg(long, value_enum, default_value_t = inside::Stage::Outer)]
    stage: inside::Stage,
    /// Whether the learner is at a terminal
    #[cfg(target_os = "linux")]
    #[arg(long)]
    terminal: bool,
    /// Directory of the lab
    dir: Option<PathBuf>,
    /// Command and its arguments; none for a shell
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// Runs the command.
///
/// # Errors
/// When the namespaces cannot be made, or the command not be run in them.
pub fn run(args: &NodeEnterArgs) -> anyhow::Result<Exit> {
    inside::entering(
        args.probe,
        #[cfg(target_os = "linux")]
        args.stage,
        #[cfg(target_os = "linux")]
        args.terminal,
        args.dir.as_deref(),
        &args.command,
    )?;
    Ok(Exit::Ok)
}
