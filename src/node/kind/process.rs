//! How the API server is, from one look at the node.
//!
//! The kubelet notices edits itself (inotify, and a scan every 20 s, `pkg/kubelet/config/file_linux.go`),
//! ends the old pod within its 30 s of grace, then makes a new sandbox. It cannot be asked what it has in
//! mind while the API server is down, so this is told from what it has done: a sandbox that is younger than
//! the manifest, a container whose command line and mounts are those of the manifest, or its own words.

use std::collections::BTreeMap;

use super::look::{Desired, Detail, Look};
use crate::node::{ApiServerState, ContainerPhase};

/// How long the kubelet may take for a change that shows, from the edit on, in seconds: the end of the old
/// container and a new one.
const ACT: f64 = 90.0;
/// How long it may take for the removal of a manifest: a scan, and the end of the container.
const REMOVE: f64 = 60.0;
/// How long an edit that changes nothing is taken for one that may.
const NOTICE: f64 = 2.0;
/// How long a sandbox may be without a container.
const CREATE: f64 = 60.0;

/// How the API server is.
#[must_use]
pub fn assess(look: &Look, detail: &Detail, node: &str) -> ApiServerState {
    let desired = look.desired(node);
    let container = look.container();
    let changed = desired
        .iter()
        .map(|desired| desired.changed)
        .fold(0.0, f64::max);
    let age = look.now - if desired.is_empty() { look.directory } else { changed };
    let mut state = ApiServerState {
        state: ContainerPhase::Absent,
        ready: false,
        argv: Vec::new(),
        restarts: container.map_or(0, |container| container.restarts),
        reason: None,
        message: None,
        exit_code: detail.exit_code,
        log_tail: detail.log_tail.clone(),
        converging: false,
        instance: container.map_or_else(String::new, |container| container.id.clone()),
        notes: BTreeMap::new(),
    };
    if let Some(process) = look.process() {
        state.state = ContainerPhase::Running;
        state.ready = look.ready == 200;
        state.argv.clone_from(&process.argv);
        state.instance = format!("{}/{}", state.instance, process.started);
        state.exit_code = None;
        let as_asked = |desired: &Desired| desired.is(&process.argv, &detail.mounts);
        state.converging = look.kubelet
            && if desired.is_empty() {
                age < REMOVE
            } else if desired.iter().any(as_asked) {
                let older = container.is_some_and(|container| container.created < changed);
                older && age < NOTICE
            } else {
                age < ACT
            };
        return state;
    }
    if container.is_some_and(|container| container.running) {
        // Its process is just being made, or has just ended.
        state.state = ContainerPhase::Running;
        state.converging = look.kubelet;
        return state;
    }
    if desired.is_empty() {
        // One that ended is removed with its pod: nothing is left that anybody waits for.
        state.reason = None;
        state.exit_code = None;
        return state;
    }
    waiting(&mut state, look, detail, &desired, changed);
    state
}

/// The manifests ask for an API server, and none runs.
fn waiting(
    state: &mut ApiServerState,
    look: &Look,
    detail: &Detail,
    desired: &[Desired],
    changed: f64,
) {
    let age = look.now - changed;
    let sandbox = look.sandboxes.first();
    let acted = sandbox.is_some_and(|sandbox| sandbox.created >= changed);
    let newest = look.containers.first();
    let of_sandbox = newest.filter(|container| {
        sandbox.is_some_and(|sandbox| sandbox.id == container.sandbox)
    });
    let as_asked = detail.argv.is_empty()
        || desired
            .iter()
            .any(|desired| desired.is(&detail.argv, &detail.mounts));
    let words = last_words(look, changed);
    state.state = ContainerPhase::Waiting;
    if of_sandbox.is_some() && (acted || as_asked) && words.is_none() {
        // It ended: the kubelet starts it again, after ever longer waits.
        state.reason = Some("CrashLoopBackOff".to_owned());
        state.message = look
            .journal
            .iter()
            .rev()
            .find_map(|(_, line)| back_off(line));
        if state.message.is_none() && state.restarts == 0 {
            state.state = ContainerPhase::Exited;
            state.reason.clone_from(&detail.reason);
            state.message.clone_from(&detail.message);
        }
        return;
    }
    state.exit_code = state.exit_code.filter(|_| of_sandbox.is_some());
    state.log_tail = Vec::new();
    match words {
        Some((reason, message)) => {
            state.reason = Some(reason.to_owned());
            state.message = Some(message);
        }
        None => {
            state.reason = Some("ContainerCreating".to_owned());
            let bound = if acted { CREATE } else { ACT };
            state.converging = look.kubelet && age < bound;
        }
    }
}

/// `back-off 10s restarting failed container=kube-apiserver pod=...` of a line of the journal.
fn back_off(line: &str) -> Option<String> {
    let start = line.find("back-off ")?;
    let rest = line.get(start..)?;
    let end = rest.find(['"', '\\', '\n']).unwrap_or(rest.len());
    let text = rest.get(..end)?;
    text.contains("restarting failed container=kube-apiserver")
        .then(|| text.to_owned())
}

/// Why the kubelet makes no container, in its own words since a moment.
fn last_words(look: &Look, since: f64) -> Option<(&'static str, String)> {
    look.journal
        .iter()
        .rev()
        .filter(|(time, line)| *time >= since && line.contains("kube-apiserver"))
        .find_map(|(_, line)| {
            if let Some(start) = line.find("MountVolume.SetUp failed") {
                return Some(("ContainerCreating", quoted(line, start)));
            }
            for (mark, reason) in [
                ("ImagePullBackOff", "ImagePullBackOff"),
                ("ErrImagePull", "ErrImagePull"),
                ("ErrImageNeverPull", "ErrImageNeverPull"),
                ("InvalidImageName", "InvalidImageName"),
                ("CreateContainerConfigError", "CreateContainerConfigError"),
                ("CreateContainerError", "CreateContainerError"),
                ("RunContainerError", "RunContainerError"),
            ] {
                if let Some(start) = line.find(mark) {
                    return Some((reason, quoted(line, start)));
                }
            }
            None
        })
}

/// The rest of a line up to the quote that ends it, without the marks of nested quotes.
fn quoted(line: &str, start: usize) -> String {
    let rest = line.get(start..).unwrap_or_default();
    // ` pod="…"` and the like belong to the line, not to the message.
    let end = ["\" pod=\"", "\" logger=", "\" err=\""]
        .iter()
        .filter_map(|mark| rest.find(mark))
        .min()
        .unwrap_or(rest.len());
    rest.get(..end)
        .unwrap_or_default()
        .replace("\\\\\\\"", "\"")
        .replace("\\\"", "\"")
        .trim_end_matches('"')
        .to_owned()
}
