//! Layer 3: files as the API server process sees them.

use super::Context;
use crate::grade::argv::clean;
use crate::grade::facts::PolicySeen;
use crate::grade::report::Outcome;
use crate::node::{Node, NodeFile};
use crate::scenario::definition::{MountCheck, PolicyCheck};

const INSPECT: &str = "crictl inspect CONTAINER-ID | grep -A3 -i hostPath";

/// The process sees a file of the node where a flag points.
pub fn sees(context: &Context<'_>, check: &MountCheck) -> Outcome {
    let expected = format!(
        "where --{} points, the API server sees the node's `{}`",
        check.flag, check.path
    );
    let Some(path) = context.facts.flags.text(&check.flag) else {
        return Outcome::fail(
            expected,
            format!("the running API server has no --{}", check.flag),
            "ps -ef | grep -o -- '--audit[^ ]*'",
        );
    };
    match same_file(context.node, path, &check.path) {
        Ok(()) => Outcome::pass(expected, format!("`{path}` is that file")),
        Err(seen) => Outcome::fail(expected, seen, INSPECT),
    }
}

/// Whether the process sees the node's file at a path of its own: the same file, by inode.
pub(super) fn same_file(node: &dyn Node, inside: &str, outside: &str) -> Result<(), String> {
    let seen = node
        .read_as_api_server(inside)
        .map_err(|error| error.to_string())?;
    let on_node = node
        .read_from(outside, u64::MAX)
        .map_err(|error| error.to_string())?;
    match (&seen, &on_node) {
        (NodeFile::File { inode: a, .. }, NodeFile::File { inode: b, .. }) if a == b => Ok(()),
        (NodeFile::File { content, .. }, NodeFile::File { .. }) => {
            let equal = matches!(
                node.read(outside),
                Ok(NodeFile::File { content: other, .. }) if other == *content
            );
            Err(if equal && clean(inside) == clean(outside) {
                format!(
                    "the API server has another file of the same content at `{inside}`: `{outside}` of the node is not mounted there"
                )
            } else if clean(inside) == clean(outside) {
                format!(
                    "the API server has another file at `{inside}`: either another one is mounted there, or the file was replaced (many editors do that) and the container keeps the old one until it is started again"
                )
            } else {
                format!("the API server has another file at `{inside}`")
            })
        }
        (NodeFile::Missing, _) => Err(format!("the API server sees no `{inside}`")),
        (NodeFile::Directory { .. }, _) => {
            Err(format!("`{inside}` is a directory for the API server"))
        }
        (NodeFile::Other(what), _) => Err(format!("`{inside}` is {what} for the API server")),
        (NodeFile::File { .. }, NodeFile::Missing) => Err(format!(
            "the API server has a file at `{inside}`, but the node has no `{outside}`: it is inside the container only"
        )),
        (NodeFile::File { .. }, _) => Err(format!("`{outside}` of the node is no file")),
    }
}

/// The policy the process sees does what is asked.
pub fn policy(context: &Context<'_>, check: &PolicyCheck) -> Outcome {
    let expected = "the policy the API server sees does what is asked";
    let Some(comparison) = context.comparison else {
        return Outcome::blocked(
            expected,
            "the scenario states no policy",
            "ckslab scenario lint",
        );
    };
    match &context.facts.policy {
        None => Outcome::blocked(
            expected,
            "blocked: the running API server has no --audit-policy-file",
            "ps -ef | grep -o -- '--audit[^ ]*'",
        ),
        Some(PolicySeen {
            path,
            loaded: Some(Ok(loaded)),
            ..
        }) => comparison.check(&loaded.policy, path, check),
        Some(PolicySeen {
            path,
            loaded: Some(Err(error)),
            ..
        }) => Outcome::fail(
            expected,
            format!("`{path}` cannot be loaded: {}", error.message),
            format!("ckslab policy lint node:{path}"),
        ),
        Some(PolicySeen { path, .. }) => Outcome::fail(
            expected,
            format!("the API server sees no file `{path}`"),
            INSPECT,
        ),
    }
}
