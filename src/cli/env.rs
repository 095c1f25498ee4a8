//! `ckslab env`: shell lines that point kubectl to the lab.

use super::output;
use super::target::TargetArgs;
use crate::exit::Exit;

/// Arguments of `ckslab env`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  eval \"$(ckslab env)\"
  ckslab env --shell fish | source
  ckslab env --shell powershell | Invoke-Expression")]
pub struct EnvArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Whose syntax to print
    #[arg(long, value_enum, default_value_t, value_name = "SHELL")]
    shell: Syntax,
}

/// The syntax of a family of shells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Syntax {
    /// bash, zsh, dash and other POSIX shells
    #[default]
    Posix,
    /// fish
    Fish,
    /// PowerShell
    Powershell,
}

/// Runs the command.
///
/// # Errors
/// When there is no lab.
pub fn run(args: &EnvArgs) -> anyhow::Result<Exit> {
    let lab = args.target.find()?;
    let node = lab.node()?;
    let access = node.access();
    let mut variables = vec![("KUBECONFIG", access.kubeconfig)];
    variables.extend(access.node_root.map(|root| ("CKSLAB_NODE_ROOT", root)));
    let mut out = String::new();
    for (name, value) in &variables {
        out.push_str(&line(args.shell, name, &value.display().to_string()));
    }
    output::print(&out)?;
    Ok(Exit::Ok)
}

fn line(shell: Syntax, name: &str, value: &str) -> String {
    match shell {
        Syntax::Posix => format!("export {name}='{}'\n", value.replace('\'', "'\\''")),
        Syntax::Fish => format!(
            "set -gx {name} '{}'\n",
            value.replace('\\', "\\\\").replace('\'', "\\'")
        ),
        Syntax::Powershell => format!("$env:{name} = '{}'\n", value.replace('\'', "''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_for_each_shell() {
        assert_eq!(
            [Syntax::Posix, Syntax::Fish, Syntax::Powershell].map(|s| line(s, "A", "it's \\ $x")),
            [
                "export A='it'\\''s \\ $x'\n",
                "set -gx A 'it\\'s \\\\ $x'\n",
                "$env:A = 'it''s \\ $x'\n",
            ]
        );
    }
}
