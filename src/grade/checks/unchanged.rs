//! Nothing else broken: what must be as it was.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Context;
use crate::audit::compare::{Scope, try_differences};
use crate::audit::policy::{Policy, load};
use crate::grade::argv::{Flags, integer};
use crate::grade::pod::ApiServerPod;
use crate::grade::report::Outcome;
use crate::node::NodeFile;
use crate::scenario::definition::UnchangedCheck;
use crate::scenario::setup::{MANIFEST, MANIFESTS};

/// Everything the check names is as it was.
pub fn unchanged(context: &Context<'_>, check: &UnchangedCheck) -> Outcome {
    let expected = "everything else is as it was";
    let mut changes = Vec::new();
    if let Some(but) = &check.flags_but {
        if !context.facts.running() {
            return Outcome::blocked(
                expected,
                format!("blocked: the API server is {}", context.facts.phase()),
                context.facts.where_to_look(),
            );
        }
        changes.extend(flags(context, but));
    }
    if check.pod {
        changes.extend(pod(context));
    }
    if check.other_manifests {
        changes.extend(other_manifests(context));
    }
    for path in &check.files {
        changes.extend(file(context, path));
    }
    if let Some(path) = &check.policy {
        changes.extend(policy(context, path));
    }
    if check.objects {
        changes.extend(
            context
                .lost_objects
                .iter()
                .map(|object| format!("{object} is gone")),
        );
    }
    match changes.first() {
        None => Outcome::pass(expected, "it is"),
        Some(first) => {
            let more = match changes.len() {
                1 => String::new(),
                count => format!(" (and {} more changes)", count - 1),
            };
            Outcome::fail(
                expected,
                format!("{first}{more}"),
                format!("ckslab task, then look at {MANIFEST}"),
            )
        }
    }
}

/// A manifest of the start; which node it was on does not matter to what is compared.
fn read(manifest: &str) -> Result<ApiServerPod, String> {
    ApiServerPod::read(manifest.as_bytes(), "node")
}

fn flags(context: &Context<'_>, but: &[String]) -> Vec<String> {
    let mut but = but.to_vec();
    // Where the setup left a manifest that cannot be read, only the flags kubeadm wrote are known.
    let before = read(&context.baseline.started).or_else(|_| {
        but.push("audit-*".to_owned());
        read(&context.baseline.manifest)
    });
    let Ok(before) = before else {
        return Vec::new();
    };
    let free = |name: &str| {
        but.iter().any(|pattern| match pattern.strip_suffix('*') {
            Some(prefix) => name.starts_with(prefix),
            None => name == pattern,
        })
    };
    let kept = |flags: &Flags| -> BTreeSet<(String, String)> {
        flags
            .iter()
            .filter(|(name, _)| !free(name))
            .map(|(name, value)| {
                // `0x1e` is thirty.
                let number = integer(value).map(|number| number.to_string());
                (name.to_owned(), number.unwrap_or_else(|| value.to_owned()))
            })
            .collect()
    };
    let before = kept(&Flags::of(&before.argv));
    let now = kept(&context.facts.flags);
    let gone = before
        .difference(&now)
        .map(|(name, value)| format!("--{name}={value} is gone"));
    let new = now
        .difference(&before)
        .map(|(name, value)| format!("--{name}={value} is new"));
    gone.chain(new).collect()
}

/// The pod without what the work may touch: the command line, further volumes and mounts, annotations.
fn rest(value: &Value) -> Value {
    let mut value = value.clone();
    if let Some(fields) = value.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("annotations");
        metadata.remove("creationTimestamp");
        // What the kubelet makes up itself.
        metadata.remove("uid");
        metadata.remove("name");
    }
    if let Some(spec) = value.get_mut("spec").and_then(Value::as_object_mut) {
        spec.remove("nodeName");
        spec.remove("volumes");
        if let Some(containers) = spec.get_mut("containers").and_then(Value::as_array_mut) {
            for container in containers.iter_mut().filter_map(Value::as_object_mut) {
                for field in ["command", "args", "volumeMounts"] {
                    container.remove(field);
                }
            }
        }
    }
    value.sort_all_objects();
    value
}

fn pod(context: &Context<'_>) -> Vec<String> {
    let (Ok(before), Ok(now)) = (read(&context.baseline.manifest), &context.facts.manifest) else {
        return Vec::new();
    };
    let mut changes = Vec::new();
    if let Some(path) = first_difference(&rest(&before.value), &rest(&now.value), "") {
        changes.push(format!("`{path}` of the manifest was changed"));
    }
    for mount in &before.mounts {
        if !now.mounts.contains(mount) {
            changes.push(format!("the volume mount `{}` was changed", mount.name));
        }
    }
    for volume in &before.volumes {
        if !now.volumes.contains(volume) {
            changes.push(format!("the volume `{}` was changed", volume.name));
        }
    }
    changes
}

fn first_difference(a: &Value, b: &Value, path: &str) -> Option<String> {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            names.into_iter().find_map(|name| {
                first_difference(
                    a.get(name).unwrap_or(&Value::Null),
                    b.get(name).unwrap_or(&Value::Null),
                    &format!("{path}.{name}"),
                )
            })
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => a
            .iter()
            .zip(b)
            .enumerate()
            .find_map(|(index, (a, b))| first_difference(a, b, &format!("{path}[{index}]"))),
        (a, b) if a == b => None,
        _ => Some(path.trim_start_matches('.').to_owned()),
    }
}

fn other_manifests(context: &Context<'_>) -> Vec<String> {
    let mut changes = Vec::new();
    for (name, before) in &context.baseline.other_manifests {
        let path = format!("{MANIFESTS}/{name}");
        match context.node.read(&path) {
            Ok(NodeFile::File { content, .. }) if content == before.as_bytes() => {}
            Ok(NodeFile::Missing) => changes.push(format!("`{path}` is gone")),
            _ => changes.push(format!("`{path}` was changed")),
        }
    }
    for name in &context.facts.manifests {
        let path = format!("{MANIFESTS}/{name}");
        if path != MANIFEST
            && !name.starts_with('.')
            && !context.baseline.other_manifests.contains_key(name)
        {
            changes.push(format!("`{path}` is new, and the kubelet reads it too"));
        }
    }
    changes
}

fn file(context: &Context<'_>, path: &str) -> Option<String> {
    let before = context.baseline.files.get(path)?;
    match context.node.read(path) {
        Ok(NodeFile::File { content, .. }) if content == before.as_bytes() => None,
        Ok(NodeFile::Missing) => Some(format!("`{path}` is gone")),
        _ => Some(format!("`{path}` was changed")),
    }
}

/// The policy in a file still does the same.
/// Whether two policies decide every request alike, however they are written.
fn does_the_same(before: &Policy, now: &Policy) -> bool {
    before == now
        || try_differences(before, now, &Scope::default()).is_ok_and(|found| found.is_empty())
}

fn policy(context: &Context<'_>, path: &str) -> Option<String> {
    let before = load(context.baseline.files.get(path)?.as_bytes()).ok()?;
    match context.node.read(path) {
        Ok(NodeFile::File { content, .. }) => match load(&content) {
            Ok(now) if does_the_same(&before.policy, &now.policy) => None,
            Ok(_) => Some(format!("the policy in `{path}` was changed")),
            Err(error) => Some(format!(
                "the policy in `{path}` cannot be loaded: {}",
                error.message
            )),
        },
        Ok(NodeFile::Missing) => Some(format!("`{path}` is gone")),
        _ => Some(format!("`{path}` is no file")),
    }
}
