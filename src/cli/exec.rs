//! `ckslab exec`: a command on the node.

use super::output;
use super::target;
use crate::exit::Exit;
use crate::node::embedded::inside;

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
    let way = inside::Way::find();
    if let inside::Way::Mapped { reason } = &way
        && !inside::was_told(node.config())
    {
        output::note(&format!(
            "this machine does not let ckslab confine a shell ({reason}); exec runs the node's own tools and simple file commands only"
        ));
        inside::remember_told(node.config());
    }
    Ok(Exit::Passed(inside::run(node.config(), &way, argv)?))
}
