//! Programs of the node of which there is only what can be said truthfully: `kubelet`, `containerd`,
//! `ctr`, `runc`.

use std::io;

use super::Tool;
use super::process::running;
use super::table;
use crate::node::embedded::runtime::image;
use crate::node::embedded::version::{CONTAINERD, KUBERNETES};

/// The commit is not known.
fn containerd(name: &str) -> String {
    let commit = "0".repeat(40);
    format!("{name} github.com/containerd/containerd/v2 v{CONTAINERD} {commit}")
}

pub(super) fn run(tool: &mut Tool<'_>, name: &str, arguments: &[String]) -> io::Result<u8> {
    let first = arguments.first().map_or("", String::as_str);
    let version = ["--version", "-v", "version"].contains(&first);
    match name {
        "kubelet" if first.starts_with("--version") => {
            writeln!(tool.out, "Kubernetes {KUBERNETES}")?;
        }
        "containerd" if version => writeln!(tool.out, "{}", containerd("containerd"))?,
        "runc" if version => writeln!(
            tool.out,
            "runc version 1.4.3\nspec: 1.3.0\ngo: go1.25.7\nlibseccomp: 2.6.0"
        )?,
        "ctr" if ["--version", "-v"].contains(&first) => {
            writeln!(tool.out, "{}", containerd("ctr"))?;
        }
        "ctr" => return ctr(tool, arguments),
        "kubelet" | "containerd" => {
            writeln!(
                tool.err,
                "{name}: it is simulated, and runs already (systemctl status {name}); only --version is known here"
            )?;
            return Ok(1);
        }
        _ => {
            writeln!(
                tool.err,
                "{name}: not simulated on this node (crictl shows its containers)"
            )?;
            return Ok(1);
        }
    }
    Ok(0)
}

/// `ctr -n k8s.io containers|tasks|images ls`.
fn ctr(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let mut namespace = "default".to_owned();
    let mut words = Vec::new();
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        match word.as_str() {
            "-n" | "--namespace" => namespace = rest.next().cloned().unwrap_or_default(),
            word if word.starts_with("--namespace=") || word.starts_with("-n=") => {
                namespace = word.split_once('=').map_or("", |(_, v)| v).to_owned();
            }
            word => words.push(word.to_owned()),
        }
    }
    let quiet = words.iter().any(|word| word == "-q" || word == "--quiet");
    words.retain(|word| !word.starts_with('-'));
    let known = words.iter().map(String::as_str).collect::<Vec<_>>();
    let Some(mut snapshot) = tool.snapshot()? else {
        return Ok(1);
    };
    if namespace != "k8s.io" {
        snapshot.containers.clear();
    }
    let row = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
    let mut rows = Vec::new();
    match known.as_slice() {
        ["containers" | "container" | "c", "ls" | "list"] => {
            rows.push(row(&["CONTAINER", "IMAGE", "RUNTIME"]));
            for c in &snapshot.containers {
                rows.push(row(&[&c.id, &c.image, "io.containerd.runc.v2"]));
            }
        }
        ["tasks" | "task" | "t", "ls" | "list"] => {
            rows.push(row(&["TASK", "PID", "STATUS"]));
            for c in running(&snapshot) {
                rows.push(row(&[&c.id, &c.pid.to_string(), "RUNNING"]));
            }
        }
        ["images" | "image" | "i", "ls" | "list"] => {
            rows.push(row(&["REF", "TYPE", "DIGEST"]));
            let mut names: Vec<&str> = snapshot
                .containers
                .iter()
                .map(|c| c.image.as_str())
                .collect();
            names.sort_unstable();
            names.dedup();
            for name in names {
                let kind = "application/vnd.oci.image.index.v1+json";
                rows.push(row(&[name, kind, &image::digest(name)]));
            }
        }
        ["namespaces" | "namespace" | "ns", "ls" | "list"] => {
            rows.push(row(&["NAME", "LABELS"]));
            rows.push(row(&["k8s.io", ""]));
        }
        _ => {
            writeln!(
                tool.err,
                "ctr: `{}` is not simulated on this node (crictl shows its containers)",
                known.join(" ")
            )?;
            return Ok(1);
        }
    }
    if quiet {
        for first in rows.iter().skip(1).filter_map(|row| row.first()) {
            writeln!(tool.out, "{first}")?;
        }
        return Ok(0);
    }
    for line in table::aligned(&rows, 4, 4) {
        writeln!(tool.out, "{line}")?;
    }
    Ok(0)
}
