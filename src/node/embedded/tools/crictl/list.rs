//! `crictl ps` and `crictl pods`.

use serde_json::{Value, json};

use super::flags::Given;
use super::output::{self, ago, short};
use super::{Done, Failed, Runtime, fatal, images, objects};
use crate::node::embedded::runtime::image;
use crate::node::embedded::snapshot::{
    ContainerSnapshot, ContainerState, NodeSnapshot, PodSnapshot, Sandbox,
};

/// Labels asked for: `key=value` each.
pub(super) fn labels(given: &Given) -> Done<Vec<(String, String)>> {
    given
        .all("label")
        .map(
            |text| match text.split('=').collect::<Vec<_>>().as_slice() {
                [key, value] => Ok(((*key).to_owned(), (*value).to_owned())),
                _ => fatal(format!("incorrectly specified label: {text}")),
            },
        )
        .collect()
}

/// Whether a pattern occurs in a name; one that is no regular expression occurs nowhere.
fn matches(pattern: Option<&str>, name: &str) -> bool {
    pattern.is_none_or(|pattern| {
        regex::RegexBuilder::new(pattern)
            .size_limit(1 << 20)
            .build()
            .is_ok_and(|pattern| pattern.is_match(name))
    })
}

fn has_all(labels: &[(String, String)], wanted: &[(String, String)]) -> bool {
    wanted.iter().all(|label| labels.contains(label))
}

/// The containers asked for, newest first.
pub(super) fn find_containers(
    snapshot: &NodeSnapshot,
    given: &Given,
) -> Done<Vec<ContainerSnapshot>> {
    let wanted_labels = labels(given)?;
    let state = given.get("state").map(str::to_lowercase);
    let state = match state.as_deref() {
        None => None,
        Some("created") => Some(Some(ContainerState::Created)),
        Some("running") => Some(Some(ContainerState::Running)),
        Some("exited") => Some(Some(ContainerState::Exited)),
        Some("unknown") => Some(None),
        Some(_) => return fatal("--state should be one of created, running, exited or unknown"),
    };
    let last = given.number("last").filter(|n| *n > 0);
    let any_state = last.is_some() || given.has("latest");
    let mut found: Vec<ContainerSnapshot> = snapshot
        .containers
        .iter()
        .filter(|c| match state {
            _ if any_state => true,
            Some(state) => state == Some(c.state),
            None => given.has("all") || c.state == ContainerState::Running,
        })
        .filter(|c| matches(given.get("name"), &c.name))
        .filter(|c| matches(given.get("namespace"), &c.pod_namespace))
        .filter(|c| given.get("id").is_none_or(|id| c.id.starts_with(id)))
        .filter(|c| {
            given
                .get("image")
                .is_none_or(|wanted| images::is(wanted, &c.image))
        })
        .filter(|c| {
            given
                .get("pod")
                .is_none_or(|id| c.sandbox_id.starts_with(id))
        })
        .filter(|c| has_all(&objects::labels(c), &wanted_labels))
        .cloned()
        .collect();
    found.sort_by_key(|c| std::cmp::Reverse(c.created));
    let count = last.or_else(|| given.has("latest").then_some(1));
    found.truncate(
        count
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(usize::MAX),
    );
    Ok(found)
}

/// The pods asked for, newest first.
pub(super) fn find_pods(
    snapshot: &NodeSnapshot,
    given: &Given,
) -> Done<Vec<(PodSnapshot, Sandbox)>> {
    let wanted_labels = labels(given)?;
    let ready = match given.get("state").map(str::to_lowercase).as_deref() {
        None => None,
        Some("ready") => Some(true),
        Some("notready") => Some(false),
        Some(_) => return fatal("--state should be ready or notready"),
    };
    let mut found: Vec<(PodSnapshot, Sandbox)> = snapshot
        .pods
        .iter()
        .filter_map(|pod| pod.sandbox.clone().map(|sandbox| (pod.clone(), sandbox)))
        .filter(|(_, s)| given.get("id").is_none_or(|id| s.id.starts_with(id)))
        .filter(|(pod, _)| matches(given.get("name"), &pod.name))
        .filter(|(pod, _)| matches(given.get("namespace"), &pod.namespace))
        .filter(|(_, s)| ready.is_none_or(|ready| s.ready == ready))
        .filter(|(pod, _)| has_all(&objects::pod_labels(pod), &wanted_labels))
        .collect();
    found.sort_by_key(|(_, sandbox)| std::cmp::Reverse(sandbox.created));
    let last = given.number("last").filter(|n| *n > 0);
    let count = last.or_else(|| given.has("latest").then_some(1));
    found.truncate(
        count
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(usize::MAX),
    );
    Ok(found)
}

pub(super) fn state_name(state: ContainerState) -> &'static str {
    match state {
        ContainerState::Created => "Created",
        ContainerState::Running => "Running",
        ContainerState::Exited => "Exited",
    }
}

fn listing(name: &str, problem: Failed) -> Failed {
    match problem {
        Failed::Fatal(text) if !text.starts_with("--") && !text.starts_with("incorrectly") => {
            Failed::Fatal(format!("listing {name}: {text}"))
        }
        other => other,
    }
}

/// `ps`.
pub(super) fn containers(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    if !given.arguments.is_empty() {
        return Err(Failed::Help);
    }
    let snapshot = runtime.connect(true)?;
    let found = find_containers(&snapshot, given).map_err(|e| listing("containers", e))?;
    match given.get("output").unwrap_or("table") {
        "table" => {}
        format @ ("json" | "yaml") => {
            let list: Vec<Value> = found.iter().map(objects::listed).collect();
            return output::value(runtime, &json!({ "containers": list }), format, None);
        }
        other => {
            return fatal(format!(
                "listing containers: unsupported output format {other:?}"
            ));
        }
    }
    if given.has("quiet") {
        for container in found {
            writeln!(runtime.tool.out, "{}", container.id)?;
        }
        return Ok(());
    }
    if given.has("verbose") {
        for container in &found {
            verbose_container(runtime, container)?;
        }
        return Ok(());
    }
    let whole = given.has("no-trunc");
    let mut rows = vec![
        [
            "CONTAINER",
            "IMAGE",
            "CREATED",
            "STATE",
            "NAME",
            "ATTEMPT",
            "POD ID",
            "POD",
            "NAMESPACE",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for container in found {
        let image = if given.has("resolve-image-path") {
            container.image.clone()
        } else {
            short(&image::digest(&container.image), whole)
        };
        rows.push(vec![
            short(&container.id, whole),
            image,
            ago(container.created),
            state_name(container.state).to_owned(),
            container.name.clone(),
            container.attempt.to_string(),
            short(&container.sandbox_id, whole),
            container.pod_name.clone(),
            container.pod_namespace.clone(),
        ]);
    }
    output::table(runtime, &rows)
}

fn verbose_container(runtime: &mut Runtime<'_, '_>, container: &ContainerSnapshot) -> Done {
    let out = &mut runtime.tool.out;
    writeln!(out, "ID: {}", container.id)?;
    writeln!(out, "PodID: {}", container.sandbox_id)?;
    writeln!(out, "Namespace: {}", container.pod_namespace)?;
    writeln!(out, "Name: {}", container.name)?;
    writeln!(out, "Attempt: {}", container.attempt)?;
    writeln!(out, "State: {}", state_name(container.state))?;
    writeln!(out, "Image: {}", image::digest(&container.image))?;
    writeln!(out, "Created: {}", ago(container.created))?;
    let labels = objects::labels(container);
    let annotations = objects::annotations(container);
    pairs(runtime, "Labels", &labels)?;
    pairs(runtime, "Annotations", &annotations)?;
    writeln!(runtime.tool.out)?;
    Ok(())
}

/// Labels or annotations, one a line.
pub(super) fn pairs(
    runtime: &mut Runtime<'_, '_>,
    title: &str,
    pairs: &[(String, String)],
) -> Done {
    writeln!(runtime.tool.out, "{title}:")?;
    for (key, value) in pairs {
        writeln!(runtime.tool.out, "\t{key} -> {value}")?;
    }
    Ok(())
}

/// `pods`.
pub(super) fn pods(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    let snapshot = runtime.connect(false)?;
    let found = find_pods(&snapshot, given).map_err(|e| listing("pod sandboxes", e))?;
    match given.get("output").unwrap_or("table") {
        "table" => {}
        format @ ("json" | "yaml") => {
            let list: Vec<Value> = found
                .iter()
                .map(|(pod, s)| objects::listed_pod(pod, s))
                .collect();
            return output::value(runtime, &json!({ "items": list }), format, None);
        }
        other => {
            return fatal(format!(
                "listing pod sandboxes: unsupported output format {other:?}"
            ));
        }
    }
    if given.has("quiet") {
        for (_, sandbox) in found {
            writeln!(runtime.tool.out, "{}", sandbox.id)?;
        }
        return Ok(());
    }
    if given.has("verbose") {
        for (pod, sandbox) in &found {
            verbose_pod(runtime, pod, sandbox)?;
        }
        return Ok(());
    }
    let mut rows = vec![
        [
            "POD ID",
            "CREATED",
            "STATE",
            "NAME",
            "NAMESPACE",
            "ATTEMPT",
            "RUNTIME",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for (pod, sandbox) in found {
        rows.push(vec![
            short(&sandbox.id, given.has("no-trunc")),
            ago(sandbox.created),
            pod_state(&sandbox).to_owned(),
            pod.name.clone(),
            pod.namespace.clone(),
            sandbox.attempt.to_string(),
            "(default)".to_owned(),
        ]);
    }
    output::table(runtime, &rows)
}

fn pod_state(sandbox: &Sandbox) -> &'static str {
    if sandbox.ready { "Ready" } else { "NotReady" }
}

fn verbose_pod(runtime: &mut Runtime<'_, '_>, pod: &PodSnapshot, sandbox: &Sandbox) -> Done {
    let out = &mut runtime.tool.out;
    writeln!(out, "ID: {}", sandbox.id)?;
    writeln!(out, "Name: {}", pod.name)?;
    writeln!(out, "UID: {}", pod.uid)?;
    writeln!(out, "Namespace: {}", pod.namespace)?;
    if sandbox.attempt != 0 {
        writeln!(out, "Attempt: {}", sandbox.attempt)?;
    }
    writeln!(out, "Status: {}", pod_state(sandbox))?;
    writeln!(out, "Created: {}", objects::go_time(sandbox.created))?;
    pairs(runtime, "Labels", &objects::pod_labels(pod))?;
    pairs(runtime, "Annotations", &objects::pod_annotations(pod))?;
    writeln!(runtime.tool.out, "Runtime: (default)\n")?;
    Ok(())
}
