//! Waiting for the kubelet: for a new container of the new manifest, ready or provably failing.

use std::time::{Duration, Instant};

use super::node::KindNode;
use super::progress::tell;
use crate::node::{ApiServerState, ContainerPhase, Node, NodeError};

/// How long the kubelet and the API server may take.
pub const LIMIT: Duration = Duration::from_secs(180);
/// How long a node may take from the start of its container to its first pods.
const BOOT: Duration = Duration::from_secs(60);
/// After this long it is said what is waited for, and again after as long.
const SILENCE: Duration = Duration::from_secs(5);

/// Waits until the node has settled, and gives how it is then: ready, failing, or still changing after
/// the limit.
///
/// # Errors
/// When the node cannot be asked.
pub fn settle(node: &KindNode) -> Result<ApiServerState, NodeError> {
    wait(node, |state, quiet| {
        let starting = state.state == ContainerPhase::Running && !state.ready;
        (state.ready && !state.converging) || (quiet && !starting)
    })
}

/// Waits until the kubelet of a node whose container was just started has begun with its pods; `since` is
/// when that was, in seconds since 1970. What does not come is left to [`settle`].
pub fn booted(node: &KindNode, since: f64) {
    let start = Instant::now();
    while start.elapsed() < BOOT {
        if let Ok((look, _)) = node.look() {
            let fresh = |created: f64| created >= since;
            let begun = look.process().is_some()
                || look.desired("node").is_empty()
                || look.sandboxes.iter().any(|sandbox| fresh(sandbox.created));
            if look.kubelet && begun {
                return;
            }
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Waits until the API server is ready.
///
/// # Errors
/// When it does not become so, or the node cannot be asked.
pub fn until_ready(node: &KindNode) -> Result<(), NodeError> {
    let state = wait(node, |state, _| state.ready && !state.converging)?;
    if state.ready {
        return Ok(());
    }
    Err(NodeError::Refused(format!(
        "the API server is not ready after {} s ({})",
        LIMIT.as_secs(),
        state
            .message
            .or(state.reason)
            .or_else(|| state.log_tail.last().cloned())
            .unwrap_or_else(|| "no reason is known".to_owned())
    )))
}

/// Looks until `done`, which also gets whether the kubelet had nothing to do twice in a row.
fn wait(
    node: &KindNode,
    done: impl Fn(&ApiServerState, bool) -> bool,
) -> Result<ApiServerState, NodeError> {
    let start = Instant::now();
    let mut told = start;
    let mut last_quiet = false;
    loop {
        let state = node.api_server()?;
        let quiet = !state.converging;
        if done(&state, quiet && last_quiet) || start.elapsed() > LIMIT {
            return Ok(state);
        }
        last_quiet = quiet;
        if told.elapsed() > SILENCE {
            told = Instant::now();
            tell(&format!(
                "waiting for the kubelet and the API server ({} s): {} …",
                start.elapsed().as_secs(),
                words(&state)
            ));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn words(state: &ApiServerState) -> String {
    match (state.state, state.ready) {
        (ContainerPhase::Running, true) => "the old one still runs".to_owned(),
        (ContainerPhase::Running, false) => "it runs and is not ready yet".to_owned(),
        (ContainerPhase::Absent, _) => "there is no container".to_owned(),
        _ => state
            .reason
            .clone()
            .unwrap_or_else(|| "no container runs".to_owned()),
    }
}
