//! Layer 1: the manifest on disk.

use super::Context;
use crate::audit::options::{table, versions};
use crate::grade::argv::{clean, integer, parent, same_value};
use crate::grade::pod::{ApiServerPod, Target};
use crate::grade::report::Outcome;
use crate::scenario::definition::{FlagCheck, MountCheck};
use crate::scenario::quantity::Quantity;
use crate::scenario::setup::MANIFEST;

const EDIT: &str = "sudo vim /etc/kubernetes/manifests/kube-apiserver.yaml";
const JOURNAL: &str = "journalctl -u kubelet --no-pager | grep kube-apiserver.yaml | tail -3";

/// The kubelet can read the manifest.
pub fn readable(context: &Context<'_>) -> Outcome {
    let expected = format!("`{MANIFEST}` is a pod the kubelet accepts");
    match &context.facts.manifest {
        Ok(_) => Outcome::pass(expected, "it is"),
        Err(problem) => Outcome::fail(expected, problem.clone(), JOURNAL),
    }
}

/// A flag in the manifest.
pub fn flag(context: &Context<'_>, check: &FlagCheck) -> Outcome {
    let expected = wanted(check, "in the manifest");
    if let Err(problem) = &context.facts.manifest {
        return Outcome::blocked(
            expected,
            format!("blocked: the manifest cannot be read: {problem}"),
            JOURNAL,
        );
    }
    compare(
        context,
        check,
        context.facts.manifest_flags.get(&check.name),
        expected,
        &format!("grep -n -- '--audit' {MANIFEST}"),
    )
}

/// `--name=value` in words.
pub(super) fn wanted(check: &FlagCheck, place: &str) -> String {
    if check.absent {
        return format!("no --{} {place}", check.name);
    }
    let mut conditions = Vec::new();
    if !check.one_of.is_empty() {
        conditions.push(format!("one of {}", check.one_of.join(", ")));
    }
    let number = |quantity: &Option<Quantity>| quantity.as_ref()?.number().ok();
    conditions.extend(number(&check.at_least).map(|least| format!("at least {least}")));
    conditions.extend(number(&check.at_most).map(|most| format!("at most {most}")));
    let value = check
        .equals
        .as_ref()
        .map(|value| format!("={value}"))
        .unwrap_or_default();
    let more = if conditions.is_empty() {
        String::new()
    } else {
        format!(" ({})", conditions.join(", "))
    };
    format!("--{}{value}{more} {place}", check.name)
}

/// Compares a flag's value.
pub(super) fn compare(
    context: &Context<'_>,
    check: &FlagCheck,
    got: Option<&str>,
    expected: String,
    next: &str,
) -> Outcome {
    if check.absent {
        return match got {
            None => Outcome::pass(expected, format!("--{} is not set", check.name)),
            Some(got) => Outcome::fail(expected, format!("--{}={got}", check.name), next),
        };
    }
    let default = || {
        let flag = table::find(&check.name).filter(|_| check.default_counts)?;
        let other = versions::other_default(&check.name, context.facts.minor);
        Some(other.map_or_else(|| flag.default_value().text(), str::to_owned))
    };
    let (got, seen) = match (got, default()) {
        (Some(got), _) => (got.to_owned(), format!("--{}={got}", check.name)),
        (None, Some(default)) => {
            let seen = format!("--{} is not set: its default is {default}", check.name);
            (default, seen)
        }
        (None, None) => {
            return Outcome::fail(expected, format!("--{} is not set", check.name), next);
        }
    };
    if fits(check, &got) {
        Outcome::pass(expected, seen)
    } else {
        Outcome::fail(expected, seen, next)
    }
}

fn fits(check: &FlagCheck, got: &str) -> bool {
    let number = || integer(got).and_then(|number| u64::try_from(number).ok());
    let bound = |quantity: &Option<Quantity>, holds: fn(u64, u64) -> bool| match quantity {
        None => true,
        Some(quantity) => match (number(), quantity.number()) {
            (Some(got), Ok(bound)) => holds(got, bound),
            _ => false,
        },
    };
    let equal = check
        .equals
        .as_ref()
        .is_none_or(|value| same_value(got, value));
    let one = check.one_of.is_empty() || check.one_of.iter().any(|value| same_value(got, value));
    // What must only be set must be set to something.
    let set = check.equals.is_some() || !got.is_empty();
    equal
        && one
        && set
        && bound(&check.at_least, |got, least| got >= least)
        && bound(&check.at_most, |got, most| got <= most)
}

/// A file of the node reaches the container where a flag points.
pub fn mount(context: &Context<'_>, check: &MountCheck) -> Outcome {
    let expected = if check.directory {
        format!(
            "a hostPath volume and its mount put the directory `{}` where --{} writes",
            parent(&check.path),
            check.flag
        )
    } else {
        format!(
            "a hostPath volume and its mount put `{}` where --{} points",
            check.path, check.flag
        )
    };
    let pod = match &context.facts.manifest {
        Ok(pod) => pod,
        Err(problem) => {
            return Outcome::blocked(
                expected,
                format!("blocked: the manifest cannot be read: {problem}"),
                JOURNAL,
            );
        }
    };
    let Some(flag) = context.facts.manifest_flags.text(&check.flag) else {
        return Outcome::fail(expected, format!("--{} is not set", check.flag), EDIT);
    };
    match leads(pod, flag, check) {
        Ok(seen) => Outcome::pass(expected, seen),
        Err(seen) => Outcome::fail(expected, seen, EDIT),
    }
}

fn leads(pod: &ApiServerPod, flag: &str, check: &MountCheck) -> Result<String, String> {
    match pod.target(flag) {
        Target::Container => Err(format!(
            "no volumeMount covers `{flag}`: the container has its own, empty file system there"
        )),
        Target::NotOnNode(mount) => Err(format!(
            "the volume `{}` mounted at `{}` is no hostPath",
            mount.name, mount.path
        )),
        Target::Node { path, .. } if path != clean(&check.path) => {
            Err(format!("`{flag}` leads to `{path}` on the node"))
        }
        Target::Node {
            mount,
            file_itself: true,
            ..
        } if check.directory => Err(format!(
            "the file itself is mounted (`{}`): rotation cannot rename it and old files stay in the container",
            mount.name
        )),
        Target::Node { mount, .. } if check.read_only == Some(false) && mount.read_only => {
            Err(format!(
                "the mount of `{}` at `{}` is read-only",
                mount.name, mount.path
            ))
        }
        Target::Node { path, mount, .. } if check.read_only == Some(true) => {
            match pod.writable(&path) {
                Some(other) => Err(format!(
                    "the container may write to `{path}`: the mount of `{}` at `{}` is not read-only",
                    other.name, other.path
                )),
                None => Ok(format!(
                    "`{flag}` leads to `{path}` (volume `{}`, read-only)",
                    mount.name
                )),
            }
        }
        Target::Node { path, mount, .. } => Ok(format!(
            "`{flag}` leads to `{path}` (volume `{}`)",
            mount.name
        )),
    }
}
