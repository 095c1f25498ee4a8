//! `ckslab completions`: a script that lets a shell complete commands, options and scenario names.

use clap_complete::env::Shells;

use super::failure::Failure;
use super::output;
use crate::exit::Exit;

/// Arguments of `ckslab completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  source <(ckslab completions bash)
  ckslab completions fish > ~/.config/fish/completions/ckslab.fish
  ckslab completions zsh > \"${fpath[1]}/_ckslab\"")]
pub struct CompletionsArgs {
    /// bash, zsh, fish, elvish or powershell
    #[arg(value_name = "SHELL", value_parser = ["bash", "zsh", "fish", "elvish", "powershell"])]
    shell: String,
}

/// Runs the command.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &CompletionsArgs) -> anyhow::Result<Exit> {
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(&args.shell) else {
        return Err(Failure::usage(format!("no completions for `{}`", args.shell)).into());
    };
    let mut script = Vec::new();
    shell.write_registration("COMPLETE", "ckslab", "ckslab", "ckslab", &mut script)?;
    output::print(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Ok)
}
