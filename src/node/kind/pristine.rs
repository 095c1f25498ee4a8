//! The pristine state of a cluster: kept when it was made, put back between labs.
//!
//! Files are kept on the node (`/kind/ckslab`), so that putting them back costs one request and a cluster
//! can be taken over by another `CKSLAB_HOME`; objects and the CA are kept on both sides.

use std::fs;
use std::time::{Duration, Instant};

use super::files;
use super::node::KindNode;
use super::objects;
use super::progress::tell;
use super::record::{ClusterRecord, write_private};
use super::settle;
use crate::node::{FileChange, Identity, Node, NodeError, NodeFile};

/// Where objects are kept on the node.
const OBJECTS: &str = "/kind/ckslab/objects.json";
/// What says on the node that the cluster is one of ckslab's.
const MARK: &str = "/kind/ckslab/mark";
/// The manifest of the API server.
const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";
/// How long the files of a node may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// Keeps a cluster as it is now.
///
/// # Errors
/// When the node or its API cannot be asked.
pub fn snapshot(node: &KindNode, made: &ClusterRecord) -> Result<(), NodeError> {
    run(node, "n_snapshot")?;
    keep_authority(node)?;
    let objects = objects::all(node.client_config(&Identity::SuperAdmin)?)?;
    let text = serde_json::to_vec(&objects).map_err(|error| refused(&error))?;
    keep(node, "objects.json", &text)?;
    let write = |path, content: &[u8]| {
        let mode = 0o600;
        files::change(node.session(), path, FileChange::Write { content, mode })
    };
    write(OBJECTS, &text)?;
    let mark = serde_json::to_vec(made).map_err(|error| refused(&error))?;
    write(MARK, &mark)
}

/// Takes over what is kept on a node that another home made; gives what it was made with, if it is one
/// of ckslab's.
///
/// # Errors
/// When the node cannot be asked.
pub fn adopt(node: &KindNode) -> Result<Option<ClusterRecord>, NodeError> {
    let (NodeFile::File { content: mark, .. }, NodeFile::File { content, .. }) =
        (node.read(MARK)?, node.read(OBJECTS)?)
    else {
        return Ok(None);
    };
    let Ok(made) = serde_json::from_slice(&mark) else {
        return Ok(None);
    };
    keep(node, "objects.json", &content)?;
    keep_authority(node)?;
    Ok(Some(made))
}

fn keep_authority(node: &KindNode) -> Result<(), NodeError> {
    for name in ["ca.crt", "ca.key"] {
        let path = format!("/etc/kubernetes/pki/{name}");
        match node.read(&path)? {
            NodeFile::File { content, .. } => keep(node, name, &content)?,
            _ => {
                return Err(NodeError::Refused(format!(
                    "the node has no `{path}`: ckslab needs the cluster's own CA"
                )));
            }
        }
    }
    Ok(())
}

fn keep(node: &KindNode, name: &str, content: &[u8]) -> Result<(), NodeError> {
    let path = node.place().file(name);
    write_private(&path, content).map_err(|source| NodeError::Io {
        path: path.display().to_string(),
        source,
    })
}

/// Puts files and objects back.
///
/// # Errors
/// When something cannot be put back: the cluster is to be made anew.
pub fn restore(node: &KindNode) -> Result<(), NodeError> {
    let before = node.api_server()?.instance;
    let said = run(node, "n_restore")?;
    let state = node.api_server()?;
    if said.contains("changed") || !state.ready || state.converging {
        tell("putting the node back to its start: waiting for its API server …");
        settle::until_ready(node)?;
    }
    // What a process has read of keys stays in it.
    if said.contains("keys") && node.api_server()?.instance == before {
        renew(node)?;
    }
    let text = fs::read(node.place().file("objects.json")).map_err(|error| refused(&error))?;
    let before = serde_json::from_slice(&text).map_err(|error| refused(&error))?;
    objects::restore(node.client_config(&Identity::SuperAdmin)?, before)?;
    run(node, "n_sweep")?;
    Ok(())
}

/// Starts the API server anew: its manifest goes away and comes back.
fn renew(node: &KindNode) -> Result<(), NodeError> {
    let NodeFile::File { content, mode, .. } = node.read(MANIFEST)? else {
        return Ok(());
    };
    node.remove(MANIFEST)?;
    let start = Instant::now();
    while node.api_server()?.state == crate::node::ContainerPhase::Running
        && start.elapsed() < settle::LIMIT
    {
        std::thread::sleep(Duration::from_millis(200));
    }
    node.write(MANIFEST, &content, mode)?;
    settle::until_ready(node)
}

fn run(node: &KindNode, word: &str) -> Result<String, NodeError> {
    let output = node.session().ask_within(&[word], &[], PATIENCE)?;
    if output.code == 0 {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(NodeError::Refused(format!(
        "the node cannot be kept or put back: {}",
        said.lines().last().unwrap_or("it did not say why")
    )))
}

fn refused(error: &dyn std::fmt::Display) -> NodeError {
    NodeError::Refused(error.to_string())
}
