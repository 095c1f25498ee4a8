//! Layer 1: the manifest on disk.

use super::Context;
use crate::grade::argv::{clean, parent, same_value};
use crate::grade::pod::{ApiServerPod, Target};
use crate::grade::report::Outcome;
use crate::scenario::definition::{FlagCheck, MountCheck};
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
        check,
        context.facts.manifest_flags.get(&check.name),
        expected,
        &format!("grep -n -- '--audit' {MANIFEST}"),
    )
}

/// `--name=value` in words.
pub(super) fn wanted(check: &FlagCheck, place: &str) -> String {
    match &check.equals {
        Some(value) => format!("--{}={value} {place}", check.name),
        None => format!("--{} {place}", check.name),
    }
}

/// Compares a flag's value.
pub(super) fn compare(
    check: &FlagCheck,
    got: Option<&str>,
    expected: String,
    next: &str,
) -> Outcome {
    let Some(got) = got else {
        return Outcome::fail(expected, format!("--{} is not set", check.name), next);
    };
    let seen = format!("--{}={got}", check.name);
    let fits = match &check.equals {
        Some(value) => same_value(got, value),
        None => !got.is_empty(),
    };
    if fits {
        Outcome::pass(expected, seen)
    } else {
        Outcome::fail(expected, seen, next)
    }
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
        Target::Node { path, mount, .. } => Ok(format!(
            "`{flag}` leads to `{path}` (volume `{}`)",
            mount.name
        )),
    }
}
