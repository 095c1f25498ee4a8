//! `ckslab exec`: a command on the node.

use super::output;
use super::target;
use crate::exit::Exit;
use crate::node::engine::{Entrance, Errand};

/// Arguments of `ckslab exec`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The exit code is the command's. The command runs in the active lab: the one started, graded or
named last.

Examples:
  ckslab exec -- crictl ps -a
  ckslab exec cat /etc/kubernetes/manifests/kube-apiserver.yaml
  ckslab exec -- journalctl -u kubelet -n 20"
)]
pub struct ExecArgs {
    /// Command and its arguments
    #[arg(
        value_name = "CMD",
        required = true,
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    command: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When there is no lab, or the command cannot be run on the node.
pub fn run(args: &ExecArgs) -> anyhow::Result<Exit> {
    let lab = target::running(None)?;
    target::tell(&lab);
    let node = lab.node()?;
    let argv: &[String] = match args.command.as_slice() {
        [first, rest @ ..] if first == "--" => rest,
        all => all,
    };
    if let Entrance::Mapped {
        reason,
        told: false,
    } = node.entrance()
    {
        output::note(&format!(
            "this machine does not let ckslab confine a shell ({reason}); exec runs the node's own tools and simple file commands only"
        ));
    }
    Ok(Exit::Passed(node.enter(Errand::Command(argv))?))
}
