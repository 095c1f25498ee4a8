//! Files given on the command line, of this machine or, with `node:` in front, of the active lab's node.

use std::io;

use super::failure::Failure;
use super::target;
use crate::lab::{Home, Lab};
use crate::node::engine::{LabNode, Stat};
use crate::style::printable;

/// The path on the node, where a name is one of a file there.
pub(super) fn on_node(name: &str) -> Option<&str> {
    name.strip_prefix("node:")
}

/// The node of the active lab; says which lab that is where it could be another.
///
/// # Errors
/// When there is no lab, or its node cannot be reached.
pub(super) fn node() -> anyhow::Result<Box<dyn LabNode>> {
    let lab = Lab::find(&Home::find()?, None)?;
    target::tell(&lab);
    Ok(lab.node()?)
}

/// Opens a regular file of a node; `name` is what the messages call it.
///
/// # Errors
/// When it is not there or is no regular file: anything else may block or never end.
pub(super) fn open(
    node: &dyn LabNode,
    path: &str,
    name: &str,
) -> anyhow::Result<Box<dyn io::Read>> {
    let stat = node
        .stat(path, true)
        .map_err(|error| unreadable(name, &error))?;
    regular(
        name,
        matches!(stat, Stat::File(_)),
        matches!(stat, Stat::Directory(_)),
    )?;
    node.open(path).map_err(|error| unreadable(name, &error))
}

/// Refuses what is no regular file.
///
/// # Errors
/// When it is none.
pub(super) fn regular(name: &str, is_file: bool, is_directory: bool) -> anyhow::Result<()> {
    if is_file {
        return Ok(());
    }
    let name = printable(name);
    if is_directory {
        return Err(Failure::input(format!("cannot read `{name}`: it is a directory")).into());
    }
    let failure = Failure::input(format!("cannot read `{name}`: it is not a regular file"));
    Err(failure
        .hint("give it on standard input, with `-` as the name")
        .into())
}

/// Why a file cannot be read, in the words of every command.
pub(super) fn unreadable(name: &str, error: &io::Error) -> anyhow::Error {
    let text = match error.kind() {
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "it is a directory".to_owned(),
        _ => error.to_string(),
    };
    Failure::input(format!("cannot read `{}`: {text}", printable(name))).into()
}
