//! `crictl exec`.

use super::flags::Given;
use super::{Done, Failed, Runtime, fatal, list};
use crate::node::embedded::snapshot::{ContainerState, base_name};
use crate::yaml::go::quote;

/// The images of the control plane contain the program and no shell; of programs of other images there
/// is nothing to run here.
pub(super) fn run(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    let filters = ["image", "label", "last", "latest", "name", "pod", "state"];
    let by_filter = filters.iter().any(|name| given.is_set(name));
    let snapshot = runtime.connect(true)?;
    let (ids, command): (Vec<String>, &[String]) = if by_filter {
        let found = list::find_containers(&snapshot, given)?;
        (found.into_iter().map(|c| c.id).collect(), &given.arguments)
    } else {
        match given.arguments.split_first() {
            Some((id, command)) if !command.is_empty() => (vec![id.clone()], command),
            _ => return Err(Failed::Help),
        }
    };
    let Some(program) = command.first() else {
        return Err(Failed::Help);
    };
    for id in ids {
        let container = runtime
            .container(&snapshot, &id)
            .map_err(|e| Failed::Fatal(format!("execing command in container: {e}")))?;
        if container.state != ContainerState::Running {
            let state = match container.state {
                ContainerState::Created => "CONTAINER_CREATED",
                _ => "CONTAINER_EXITED",
            };
            return fatal(format!(
                "execing command in container: rpc error: code = Unknown desc = container is in {state} state"
            ));
        }
        let own = container.argv.first().map_or("", String::as_str);
        if base_name(own) == base_name(program) && command.iter().any(|word| word == "--version") {
            writeln!(
                runtime.tool.out,
                "Kubernetes {}",
                crate::node::embedded::version::KUBERNETES
            )?;
            continue;
        }
        let problem = if program.starts_with('/') {
            format!(
                "exec: {}: stat {program}: no such file or directory",
                quote(program)
            )
        } else {
            format!(
                "exec: {}: executable file not found in $PATH",
                quote(program)
            )
        };
        return fatal(format!(
            "execing command in container: Internal error occurred: error executing command in container: failed to exec in container: failed to start exec {}: OCI runtime exec failed: exec failed: unable to start container process: {problem}",
            quote(&container.id)
        ));
    }
    Ok(())
}
