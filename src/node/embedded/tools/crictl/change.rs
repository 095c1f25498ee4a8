//! `crictl stop`, `rm`, `stopp`, `rmp`: what they ask the runtime for, and what the kubelet makes of it.

use super::flags::Given;
use super::{Done, Failed, Level, Runtime, by_id, fatal, log, pod_by_id};
use crate::node::embedded::kubelet::state::Request;
use crate::node::embedded::snapshot::{ContainerState, NodeSnapshot};
use crate::yaml::go::quote;

const DEADLINE: &str = "rpc error: code = DeadlineExceeded desc = context deadline exceeded";

/// Runs each and joins what failed, as `AggregateGoroutines` does.
fn each(ids: Vec<String>, mut run: impl FnMut(&str) -> Done) -> Done {
    let mut problems = Vec::new();
    for id in ids {
        match run(&id) {
            Err(Failed::Fatal(text)) => problems.push(text),
            other => other?,
        }
    }
    match problems.as_slice() {
        [] => Ok(()),
        [one] => fatal(one.clone()),
        many => fatal(format!("[{}]", many.join(", "))),
    }
}

/// Whether an error of the runtime says that there is no such thing: to stop it is done then.
fn is_gone(error: &str) -> bool {
    error.starts_with("rpc error: code = NotFound")
}

/// Stops a container; one that is not there is stopped already, to the runtime.
fn stop_one(runtime: &mut Runtime<'_, '_>, id: &str, seconds: u64) -> Done {
    let Some(snapshot) = runtime.refresh()? else {
        return fatal(format!("stopping the container {}: {DEADLINE}", quote(id)));
    };
    let found = by_id(&snapshot.containers, |container| &container.id, id);
    let found = found.map_err(|problem| problem.of(&format!("container {}", quote(id))));
    let running = match found {
        Ok(container) if container.state == ContainerState::Running => Some(container.id.clone()),
        Err(error) if !is_gone(&error) => {
            return fatal(format!("stopping the container {}: {error}", quote(id)));
        }
        _ => None,
    };
    if let Some(whole) = running {
        let done = |s: &NodeSnapshot| {
            let mut all = s.containers.iter();
            all.all(|c| c.id != whole || c.state == ContainerState::Exited)
        };
        let request = Request::StopContainer(whole.clone(), seconds);
        if !runtime.tool.request(&request, done)? {
            return fatal(format!("stopping the container {}: {DEADLINE}", quote(id)));
        }
    }
    writeln!(runtime.tool.out, "{id}")?;
    Ok(())
}

/// `stop`.
pub(super) fn stop(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    let snapshot = runtime.connect(false)?;
    let all = given.has("all");
    let mut ids = given.arguments.clone();
    if all && !ids.is_empty() {
        return fatal("cannot specify CONTAINER-ID(s) when using --all");
    }
    if all {
        let running = snapshot
            .containers
            .iter()
            .filter(|c| c.state == ContainerState::Running);
        ids = running.map(|c| c.id.clone()).collect();
        if ids.is_empty() {
            writeln!(runtime.tool.out, "No running containers found.")?;
        }
    } else if ids.is_empty() {
        return fatal("you must specify at least one CONTAINER-ID or use --all");
    }
    let seconds = given.number("timeout").and_then(|n| u64::try_from(n).ok());
    for id in ids {
        stop_one(runtime, &id, seconds.unwrap_or(0))?;
    }
    Ok(())
}

/// `rm`.
pub(super) fn remove(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    let snapshot = runtime.connect(false)?;
    let mut ids = given.arguments.clone();
    if given.has("all") {
        ids = snapshot.containers.iter().map(|c| c.id.clone()).collect();
    }
    if ids.is_empty() {
        return nothing(runtime, given, "No containers to remove");
    }
    each(ids, |id| {
        let Some(snapshot) = runtime.refresh()? else {
            return fatal(DEADLINE);
        };
        let container = runtime
            .container(&snapshot, id)
            .map_err(|e| Failed::Fatal(format!("getting container status {}: {e}", quote(id))))?;
        if container.state == ContainerState::Running {
            if !given.has("force") {
                return fatal(format!(
                    "container {} is running, please stop it first",
                    quote(id)
                ));
            }
            stop_one(runtime, id, 0)?;
        }
        let done = |s: &NodeSnapshot| s.containers.iter().all(|c| c.id != container.id);
        if !runtime
            .tool
            .request(&Request::RemoveContainer(container.id.clone()), done)?
        {
            return fatal(format!("removing container {}: {DEADLINE}", quote(id)));
        }
        writeln!(runtime.tool.out, "{id}")?;
        if !given.has("keep-logs") {
            // Gone already where the kubelet itself was quicker.
            let _ = runtime.tool.node.remove_file(&container.log_path);
        }
        Ok(())
    })
}

fn nothing(runtime: &mut Runtime<'_, '_>, given: &Given, text: &str) -> Done {
    if !given.has("all") {
        return Err(Failed::Help);
    }
    log(runtime.tool, Level::Info, text)?;
    Ok(())
}

fn stop_pod(runtime: &mut Runtime<'_, '_>, id: &str) -> Done {
    let Some(snapshot) = runtime.refresh()? else {
        return fatal(format!(
            "stopping the pod sandbox {}: {DEADLINE}",
            quote(id)
        ));
    };
    let ready = match pod_by_id(&snapshot, id) {
        Ok((_, sandbox)) if sandbox.ready => Some(sandbox.id.clone()),
        Err(error) if !is_gone(&error) => {
            return fatal(format!("stopping the pod sandbox {}: {error}", quote(id)));
        }
        _ => None,
    };
    if let Some(whole) = ready {
        let request = Request::StopSandbox(whole.clone());
        if !runtime.tool.request(&request, |s| stopped(s, &whole))? {
            return fatal(format!(
                "stopping the pod sandbox {}: {DEADLINE}",
                quote(id)
            ));
        }
    }
    writeln!(runtime.tool.out, "Stopped sandbox {id}")?;
    Ok(())
}

/// Whether a sandbox and all in it have ended.
fn stopped(snapshot: &NodeSnapshot, id: &str) -> bool {
    let sandboxes = snapshot.pods.iter().filter_map(|p| p.sandbox.as_ref());
    let up = sandboxes.filter(|s| s.id == id).any(|s| s.ready);
    let mut inside = snapshot.containers.iter().filter(|c| c.sandbox_id == id);
    !up && inside.all(|c| c.state != ContainerState::Running)
}

/// `stopp`.
pub(super) fn stop_pods(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    if given.arguments.is_empty() {
        return Err(Failed::Help);
    }
    runtime.connect(false)?;
    for id in given.arguments.clone() {
        stop_pod(runtime, &id)?;
    }
    Ok(())
}

/// `rmp`.
pub(super) fn remove_pods(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    let snapshot = runtime.connect(false)?;
    let mut ids = given.arguments.clone();
    if given.has("all") {
        let sandboxes = snapshot.pods.iter().filter_map(|p| p.sandbox.as_ref());
        ids = sandboxes.map(|s| s.id.clone()).collect();
    }
    if ids.is_empty() {
        return nothing(runtime, given, "No pods to remove");
    }
    each(ids, |id| {
        let Some(snapshot) = runtime.refresh()? else {
            return fatal(DEADLINE);
        };
        let found = pod_by_id(&snapshot, id).map_err(|e| {
            Failed::Fatal(format!("getting sandbox status of pod {}: {e}", quote(id)))
        })?;
        let (whole, ready) = (found.1.id.clone(), found.1.ready);
        if ready {
            if !given.has("force") {
                return fatal(format!(
                    "pod sandbox {} is running, please stop it first",
                    quote(id)
                ));
            }
            stop_pod(runtime, id)?;
        }
        let request = Request::RemoveSandbox(whole.clone());
        if !runtime.tool.request(&request, |s| stopped(s, &whole))? {
            return fatal(format!(
                "removing the pod sandbox {}: {DEADLINE}",
                quote(id)
            ));
        }
        writeln!(runtime.tool.out, "Removed sandbox {id}")?;
        Ok(())
    })
}
