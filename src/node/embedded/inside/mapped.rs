//! Commands without a namespace: the node's tools, kubectl, and simple file commands whose paths
//! ckslab maps to the node root itself. Everything else is refused, with the reason.

use std::io::{self, Read, Write};
use std::process::Stdio;

use super::super::confine::Confined;
use super::super::daemon::Config;
use super::files;
use super::kubectl;
use crate::node::{ExecOutput, NodeError};

/// The standard streams of a command.
pub struct Streams<'a> {
    /// Standard input.
    pub stdin: &'a mut dyn Read,
    /// Standard output.
    pub stdout: &'a mut dyn Write,
    /// Standard error.
    pub stderr: &'a mut dyn Write,
}

/// Runs a command with the standard streams of this process; gives its exit code.
///
/// # Errors
/// When the command is none that can be mapped, with the reason.
pub fn run(config: &Config, argv: &[String]) -> Result<u8, NodeError> {
    let (program, arguments) = split(argv)?;
    if program == "kubectl" {
        let status = kubectl::command(config, arguments)?
            .status()
            .map_err(no_kubectl)?;
        return Ok(super::exit_code(status));
    }
    let mut streams = Streams {
        stdin: &mut io::stdin().lock(),
        stdout: &mut io::stdout().lock(),
        stderr: &mut io::stderr().lock(),
    };
    own(config, program, arguments, &mut streams)
}

/// Runs a command and keeps what it writes.
///
/// # Errors
/// When the command is none that can be mapped, with the reason.
pub fn capture(
    config: &Config,
    argv: &[String],
    mut stdin: &[u8],
) -> Result<ExecOutput, NodeError> {
    let (program, arguments) = split(argv)?;
    if program == "kubectl" {
        return capture_kubectl(config, arguments, stdin);
    }
    let mut output = ExecOutput::default();
    let mut streams = Streams {
        stdin: &mut stdin,
        stdout: &mut output.stdout,
        stderr: &mut output.stderr,
    };
    output.code = own(config, program, arguments, &mut streams)?;
    Ok(output)
}

fn split(argv: &[String]) -> Result<(&str, &[String]), NodeError> {
    // Whoever is on the node is root.
    let argv = match argv.split_first() {
        Some((first, rest)) if first == super::SUDO => super::without_sudo(rest),
        _ => argv,
    };
    match argv.split_first() {
        // `/usr/bin/cat` is `cat` to whoever types it.
        Some((program, arguments)) => {
            Ok((program.rsplit('/').next().unwrap_or(program), arguments))
        }
        None => Err(NodeError::Refused("no command".to_owned())),
    }
}

/// The node's tools and the file commands.
fn own(
    config: &Config,
    program: &str,
    arguments: &[String],
    streams: &mut Streams<'_>,
) -> Result<u8, NodeError> {
    if let Some(code) = super::tool(config, program, arguments, streams) {
        return Ok(code);
    }
    let node = Confined::new(&config.node_root);
    match files::run(&node, program, arguments, streams) {
        Some(code) => Ok(code),
        None => Err(NodeError::Refused(format!(
            "`{program}` cannot be confined to the node here: without private namespaces only {}, \
             kubectl and the node's tools ({}) can be run",
            files::NAMES.join(", "),
            super::TOOLS.join(", ")
        ))),
    }
}

fn no_kubectl(error: io::Error) -> NodeError {
    NodeError::Refused(match error.kind() {
        io::ErrorKind::NotFound => "kubectl is not installed on this machine".to_owned(),
        _ => format!("kubectl: {error}"),
    })
}

fn capture_kubectl(
    config: &Config,
    arguments: &[String],
    stdin: &[u8],
) -> Result<ExecOutput, NodeError> {
    let mut child = kubectl::command(config, arguments)?
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(no_kubectl)?;
    let input = child.stdin.take();
    std::thread::scope(|scope| {
        // Written beside the reading, or both sides could wait for each other.
        scope.spawn(move || {
            if let Some(mut input) = input {
                let _ = input.write_all(stdin);
            }
        });
        let output = child.wait_with_output().map_err(no_kubectl)?;
        Ok(ExecOutput {
            code: super::exit_code(output.status),
            stdout: output.stdout,
            stderr: output.stderr,
        })
    })
}
