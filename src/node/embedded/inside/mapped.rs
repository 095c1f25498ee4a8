//! Commands without a namespace: the node's tools, and simple file commands whose paths ckslab maps
//! to the node root itself. Everything else is refused, with the reason.

use std::io::{Read, Write};

use super::super::confine::Confined;
use super::super::daemon::Config;
use crate::node::NodeError;

/// Runs a command; gives its exit code.
///
/// # Errors
/// When the command is none that can be mapped, with the reason.
pub fn run(
    config: &Config,
    argv: &[String],
    stdin: &mut dyn Read,
    stdout: &mut dyn Write,
    stderr: &mut dyn Write,
) -> Result<u8, NodeError> {
    let _ = (Confined::new(&config.node_root), stdin, stdout, stderr);
    let name = argv.first().map(String::as_str).unwrap_or_default();
    Err(NodeError::Refused(format!(
        "`{name}` cannot be confined to the node on this machine"
    )))
}
