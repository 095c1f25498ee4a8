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
const REMOVE: f64 = 90.0;
/// How long an edit that changes nothing is taken for one that may.
const NOTICE: f64 = 2.0;
/// How long the kubelet may take to start a container again, or a new pod after it ended the old one.
const AGAIN: f64 = 15.0;
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
    // A manifest that nobody can read, or that is gone: any file may have been it.
    let any = look.manifests.iter().map(|manifest| manifest.changed);
    let age = look.now
        - if desired.is_empty() {
            any.fold(look.directory, f64::max)
        } else {
            changed
        };
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
    if container.is_some_and(|container| container.runs()) {
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
    let of_sandbox =
        newest.filter(|container| sandbox.is_some_and(|sandbox| sandbox.id == container.sandbox));
    let as_asked = detail.argv.is_empty()
        || desired
            .iter()
            .any(|desired| desired.is(&detail.argv, &detail.mounts));
    let words = last_words(look, changed);
    state.state = ContainerPhase::Waiting;
    if of_sandbox.is_some() && (acted || as_asked) && words.is_none() {
        // It ended: the kubelet starts it again, at once and then after ever longer waits. One whose
        // sandbox was stopped, too, makes room for another pod.
        let over = sandbox.is_some_and(|sandbox| !sandbox.ready);
        state.converging =
            look.kubelet && (over || state.restarts == 0) && look.now - detail.finished < AGAIN;
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
                return Some(("ContainerCreating", without_ids(&quoted(line, start))));
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

/// The text of the event: without `(UniqueName: "…") pod "…" (UID: "…")`.
fn without_ids(text: &str) -> String {
    let cut = text.split_once(" (UniqueName:").and_then(|(head, rest)| {
        let (_, tail) = rest.split_once("\") : ")?;
        Some(format!("{head} : {tail}"))
    });
    cut.unwrap_or_else(|| text.to_owned())
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

#[cfg(test)]
mod tests {
    use super::super::look::{CriContainer, Manifest, Process, Sandbox};
    use super::*;

    const POD: &str = "apiVersion: v1
kind: Pod
metadata: {name: kube-apiserver, namespace: kube-system}
spec:
  containers:
  - name: kube-apiserver
    image: registry.k8s.io/kube-apiserver:v1.36.1
    command: [kube-apiserver, --a=1]
    volumeMounts: [{name: pki, mountPath: /etc/kubernetes/pki}]
  volumes: [{name: pki, hostPath: {path: /etc/kubernetes/pki/}}]
";

    /// A node whose API server runs as its manifest, written at 100, asks for; it is 200 now.
    fn healthy() -> (Look, Detail) {
        let look = Look {
            now: 200.0,
            kubelet: true,
            directory: 100.0,
            processes: vec![Process {
                pid: 7,
                started: 1,
                argv: vec!["kube-apiserver".into(), "--a=1".into()],
                cgroup: "0::/kubelet/kubepods/abc".into(),
            }],
            manifests: vec![Manifest {
                name: "kube-apiserver.yaml".into(),
                changed: 100.0,
                content: POD.into(),
            }],
            sandboxes: vec![Sandbox {
                id: "s".into(),
                created: 101.0,
                uid: "u".into(),
                ready: true,
            }],
            containers: vec![CriContainer {
                id: "abc".into(),
                sandbox: "s".into(),
                created: 102.0,
                state: "CONTAINER_RUNNING".to_owned(),
                restarts: 0,
            }],
            journal: Vec::new(),
            ready: 200,
        };
        let detail = Detail {
            mounts: vec![
                ("/etc/kubernetes/pki".into(), "/etc/kubernetes/pki".into()),
                (
                    "/etc/hosts".into(),
                    "/var/lib/kubelet/pods/u/etc-hosts".into(),
                ),
            ],
            ..Detail::default()
        };
        (look, detail)
    }

    fn shown(look: &Look, detail: &Detail) -> (ContainerPhase, bool, bool, Option<String>) {
        let state = assess(look, detail, "node");
        (state.state, state.ready, state.converging, state.reason)
    }

    #[test]
    fn a_healthy_api_server_is_ready_and_settled() {
        let (look, detail) = healthy();
        assert_eq!(
            shown(&look, &detail),
            (ContainerPhase::Running, true, false, None)
        );
        let state = assess(&look, &detail, "node");
        assert_eq!(state.instance, "abc/1");
        assert_eq!(state.argv, ["kube-apiserver", "--a=1"]);
    }

    #[test]
    fn an_edit_is_waited_for_until_a_container_of_it_runs_or_long_enough() {
        let (mut look, detail) = healthy();
        look.manifests[0].content = POD.replace("--a=1", "--a=2").into();
        look.manifests[0].changed = 199.0;
        assert!(assess(&look, &detail, "node").converging);
        look.kubelet = false;
        assert!(
            !assess(&look, &detail, "node").converging,
            "nobody will act on it"
        );
        look.kubelet = true;
        look.now = 199.0 + ACT + 1.0;
        assert!(!assess(&look, &detail, "node").converging);
        // An edit that changes nothing the runtime shows, a moment ago and a while ago.
        let (mut look, detail) = healthy();
        look.manifests[0].content = format!("{POD}# more\n").into();
        look.manifests[0].changed = 199.0;
        assert!(assess(&look, &detail, "node").converging);
        look.now = 202.0;
        assert!(!assess(&look, &detail, "node").converging);
        // Another mount.
        let (mut look, detail) = healthy();
        look.manifests[0].content = POD.replace("path: /etc/kubernetes/pki/", "path: /x").into();
        look.manifests[0].changed = 190.0;
        assert!(assess(&look, &detail, "node").converging);
    }

    #[test]
    fn a_manifest_that_cannot_be_read_ends_the_pod_in_the_end() {
        let (mut look, detail) = healthy();
        // Written into the file, so that the directory shows no change.
        look.manifests[0].content = b"kind: [".to_vec();
        look.manifests[0].changed = 1000.0;
        look.now = 1001.0;
        assert_eq!(
            shown(&look, &detail),
            (ContainerPhase::Running, true, true, None)
        );
        look.processes.clear();
        look.containers.clear();
        look.sandboxes.clear();
        look.ready = 0;
        assert_eq!(
            shown(&look, &Detail::default()),
            (ContainerPhase::Absent, false, false, None)
        );
    }

    #[test]
    fn a_crash_loop_is_settled_and_told_in_the_kubelets_words() {
        let (mut look, mut detail) = healthy();
        look.processes.clear();
        look.ready = 0;
        look.containers[0].state = "CONTAINER_EXITED".to_owned();
        look.containers[0].restarts = 2;
        detail.exit_code = Some(1);
        look.journal = vec![(
            150.0,
            "node kubelet[1]: E1 pod_workers.go:1324] \"Error syncing pod, skipping\" err=\"failed to \\\"StartContainer\\\" for \\\"kube-apiserver\\\" with CrashLoopBackOff: \\\"back-off 20s restarting failed container=kube-apiserver pod=kube-apiserver-node_kube-system(u)\\\"\" pod=\"kube-system/kube-apiserver-node\"".into(),
        )];
        let state = assess(&look, &detail, "node");
        assert_eq!(state.state, ContainerPhase::Waiting);
        assert_eq!(state.reason.as_deref(), Some("CrashLoopBackOff"));
        assert_eq!(
            state.message.as_deref(),
            Some(
                "back-off 20s restarting failed container=kube-apiserver pod=kube-apiserver-node_kube-system(u)"
            )
        );
        assert_eq!((state.exit_code, state.restarts), (Some(1), 2));
        assert!(!state.converging);
    }

    #[test]
    fn between_an_old_pod_and_the_new_one_there_is_something_to_wait_for() {
        let (mut look, mut detail) = healthy();
        look.processes.clear();
        look.ready = 0;
        look.containers[0].state = "CONTAINER_EXITED".to_owned();
        look.sandboxes[0].ready = false;
        detail.argv = vec!["kube-apiserver".into(), "--a=1".into()];
        detail.finished = 199.0;
        assert!(assess(&look, &detail, "node").converging);
        detail.finished = 150.0;
        assert!(!assess(&look, &detail, "node").converging);
        // The first restart comes at once.
        look.sandboxes[0].ready = true;
        detail.finished = 199.0;
        assert!(assess(&look, &detail, "node").converging);
        look.containers[0].restarts = 1;
        assert!(!assess(&look, &detail, "node").converging);
    }

    #[test]
    fn a_volume_that_cannot_be_mounted_is_settled_too() {
        let (mut look, _) = healthy();
        look.processes.clear();
        look.containers.clear();
        look.sandboxes.clear();
        look.ready = 0;
        assert!(
            !assess(&look, &Detail::default(), "node").converging,
            "long after the edit nothing is expected"
        );
        look.manifests[0].changed = 198.0;
        assert_eq!(
            shown(&look, &Detail::default()),
            (
                ContainerPhase::Waiting,
                false,
                true,
                Some("ContainerCreating".to_owned())
            )
        );
        look.journal = vec![(
            199.0,
            "node kubelet[1]: E1 nestedpendingoperations.go:348] Operation for \"x\" failed. Error: MountVolume.SetUp failed for volume \"audit\" (UniqueName: \"kubernetes.io/host-path/u-audit\") pod \"kube-apiserver-node\" (UID: \"u\") : hostPath type check failed: /x is not a file".into(),
        )];
        let state = assess(&look, &Detail::default(), "node");
        assert!(!state.converging);
        assert_eq!(state.reason.as_deref(), Some("ContainerCreating"));
        assert_eq!(
            state.message.as_deref(),
            Some(
                "MountVolume.SetUp failed for volume \"audit\" : hostPath type check failed: /x is not a file"
            )
        );
    }
}
