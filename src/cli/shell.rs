//! `ckslab shell`: a shell on the node.

use super::failure::Failure;
use super::output;
use super::target::{self, TargetArgs};
use crate::exit::Exit;
use crate::node::engine::{Engine, Entrance, Errand};

/// Arguments of `ckslab shell`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Leave it with `exit`.

Examples:
  ckslab shell
  ckslab shell audit-03")]
pub struct ShellArgs {
    #[command(flatten)]
    target: TargetArgs,
}

/// Runs the command.
///
/// # Errors
/// When there is no lab, or no shell can be started.
pub fn run(args: &ShellArgs) -> anyhow::Result<Exit> {
    if std::env::var_os("CKSLAB_NODE_SHELL").is_some() {
        return Err(Failure::usage("you are in a shell of the node already")
            .hint("leave it with `exit`")
            .into());
    }
    let lab = target::running(args.target.id.as_deref())?;
    let node = lab.node()?;
    match node.entrance() {
        Entrance::Whole => {
            output::note(&format!(
                "lab {}: you are root on {}; `exit` leaves the node",
                lab.id(),
                node.access().name
            ));
            // Node images of kind have no editor.
            let look = [
                "sh",
                "-c",
                "command -v vim || command -v vi || command -v nano",
            ];
            if lab.record().engine == Engine::Kind
                && node.exec(&look.map(str::to_owned), &[])?.code != 0
            {
                output::note(
                    "there is no editor on this node: `ckslab edit PATH`, in another terminal, opens its files in yours\n\
                     (or, with a network: apt-get update && apt-get install -y vim)",
                );
            }
        }
        Entrance::Mapped { reason, .. } => output::note(&format!(
            "lab {}: this machine does not let ckslab confine a shell ({reason}).\n\
             This is a shell of your own machine: the node's files are below $CKSLAB_NODE_ROOT, kubectl and\n\
             the node's tools (crictl, journalctl, systemctl...) work; `exit` leaves it",
            lab.id()
        )),
    }
    Ok(Exit::Passed(node.enter(Errand::Shell)?))
}
