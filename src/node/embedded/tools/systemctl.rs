//! `systemctl`: the services of the node, kubelet and containerd.

use std::io;
use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use super::options::{Given, Known, Style, flag, value};
use super::{Tool, table};
use crate::node::embedded::confine::Confined;
use crate::node::embedded::kubelet::state::Request;
use crate::node::embedded::snapshot::{NodeSnapshot, tail_of_file};

const KNOWN: &[Known] = &[
    flag(&["no-pager"]),
    flag(&["full", "l"]),
    flag(&["quiet", "q"]),
    flag(&["now"]),
    flag(&["all", "a"]),
    flag(&["no-legend"]),
    flag(&["system"]),
    flag(&["no-block"]),
    value(&["lines", "n"]),
    value(&["type", "t"]),
    value(&["property", "p"]),
    value(&["output", "o"]),
];

pub(super) fn run(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let Ok(given) = Given::parse(arguments, KNOWN, Style::Clusters, false) else {
        writeln!(tool.err, "systemctl: invalid option")?;
        return Ok(1);
    };
    let Some((verb, units)) = given.rest.split_first() else {
        writeln!(
            tool.err,
            "systemctl: name a verb: status, is-active, restart, stop, start"
        )?;
        return Ok(1);
    };
    if verb == "daemon-reload" || verb == "reset-failed" {
        return Ok(0);
    }
    if units.is_empty() {
        writeln!(tool.err, "Too few arguments.")?;
        return Ok(1);
    }
    let mut worst = 0;
    for unit in units {
        let name = unit.strip_suffix(".service").unwrap_or(unit);
        let code = match name {
            "kubelet" => kubelet(tool, verb, given.has("quiet"))?,
            "containerd" => containerd(tool, verb)?,
            other => missing(tool, verb, other)?,
        };
        worst = worst.max(code);
    }
    Ok(worst)
}

/// `service NAME VERB`.
pub(super) fn service(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    match arguments {
        [unit, verb, ..] => run(tool, &[verb.clone(), unit.clone()]),
        _ => {
            writeln!(
                tool.err,
                "Usage: service < option > | --status-all | [ service_name [ command | --full-restart ] ]"
            )?;
            Ok(1)
        }
    }
}

fn missing(tool: &mut Tool<'_>, verb: &str, name: &str) -> io::Result<u8> {
    match verb {
        "status" => {
            writeln!(tool.err, "Unit {name}.service could not be found.")?;
            Ok(4)
        }
        "is-active" => {
            writeln!(tool.out, "inactive")?;
            Ok(4)
        }
        "is-enabled" => {
            let text = "Failed to get unit file state for";
            writeln!(tool.err, "{text} {name}.service: No such file or directory")?;
            Ok(1)
        }
        verb => {
            writeln!(
                tool.err,
                "Failed to {verb} {name}.service: Unit {name}.service not found."
            )?;
            Ok(5)
        }
    }
}

fn kubelet(tool: &mut Tool<'_>, verb: &str, quiet: bool) -> io::Result<u8> {
    let snapshot = tool.snapshot()?;
    let active = snapshot.as_ref().is_some_and(|s| s.kubelet_active);
    match verb {
        "status" => status(tool, snapshot.as_ref()),
        "is-active" => {
            if !quiet {
                writeln!(tool.out, "{}", if active { "active" } else { "inactive" })?;
            }
            Ok(if active { 0 } else { 3 })
        }
        "is-enabled" => {
            writeln!(tool.out, "enabled")?;
            Ok(0)
        }
        "is-failed" => {
            writeln!(tool.out, "{}", if active { "active" } else { "inactive" })?;
            Ok(1)
        }
        "enable" | "disable" | "unmask" => Ok(0),
        "restart" | "reload-or-restart" | "try-restart" | "start" | "stop" => {
            let before = snapshot.as_ref().map_or(0, |s| s.kubelet_pid);
            let (request, wanted) = match verb {
                "stop" => (Request::StopKubelet, false),
                "start" => (Request::StartKubelet, true),
                _ => (Request::RestartKubelet, true),
            };
            if active == wanted && ["start", "stop"].contains(&verb) {
                return Ok(0);
            }
            let done = |s: &NodeSnapshot| {
                s.kubelet_active == wanted && (!wanted || s.kubelet_pid != before)
            };
            if tool.request(&request, done)? {
                return Ok(0);
            }
            writeln!(
                tool.err,
                "Job for kubelet.service failed: the node does not react."
            )?;
            Ok(1)
        }
        "cat" => {
            writeln!(
                tool.out,
                "# /usr/lib/systemd/system/kubelet.service\n[Unit]\nDescription=kubelet: The Kubernetes Node Agent\nDocumentation=https://kubernetes.io/docs/\nWants=network-online.target\nAfter=network-online.target\n\n[Service]\nExecStart=/usr/bin/kubelet\nRestart=always\nStartLimitInterval=0\nRestartSec=10\n\n[Install]\nWantedBy=multi-user.target"
            )?;
            Ok(0)
        }
        "show" => {
            let state = if active { "active" } else { "inactive" };
            let sub = if active { "running" } else { "dead" };
            let pid = snapshot
                .as_ref()
                .filter(|s| s.kubelet_active)
                .map_or(0, |s| s.kubelet_pid);
            writeln!(
                tool.out,
                "Id=kubelet.service\nActiveState={state}\nSubState={sub}\nMainPID={pid}\nLoadState=loaded\nUnitFileState=enabled"
            )?;
            Ok(0)
        }
        other => {
            writeln!(tool.err, "Unknown command verb {other}.")?;
            Ok(1)
        }
    }
}

fn status(tool: &mut Tool<'_>, snapshot: Option<&NodeSnapshot>) -> io::Result<u8> {
    let dot = if snapshot.is_some_and(|s| s.kubelet_active) {
        "●"
    } else {
        "○"
    };
    writeln!(
        tool.out,
        "{dot} kubelet.service - kubelet: The Kubernetes Node Agent"
    )?;
    writeln!(
        tool.out,
        "     Loaded: loaded (/usr/lib/systemd/system/kubelet.service; enabled; preset: enabled)"
    )?;
    writeln!(
        tool.out,
        "    Drop-In: /usr/lib/systemd/system/kubelet.service.d\n             └─10-kubeadm.conf"
    )?;
    let code = match snapshot.filter(|s| s.kubelet_active) {
        Some(snapshot) => {
            let started = snapshot.kubelet_started;
            writeln!(
                tool.out,
                "     Active: active (running) since {}; {} ago",
                date(started),
                age(started)
            )?;
            writeln!(tool.out, "       Docs: https://kubernetes.io/docs/")?;
            writeln!(tool.out, "   Main PID: {} (kubelet)", snapshot.kubelet_pid)?;
            writeln!(
                tool.out,
                "      Tasks: 12 (limit: 4915)\n     Memory: 41.2M\n     CGroup: /system.slice/kubelet.service"
            )?;
            writeln!(
                tool.out,
                "             └─{} /usr/bin/kubelet {}",
                snapshot.kubelet_pid,
                super::process::KUBELET_FLAGS
            )?;
            0
        }
        None => {
            let time = snapshot.map_or_else(Timestamp::now, |s| s.time);
            writeln!(
                tool.out,
                "     Active: inactive (dead) since {}; {} ago",
                date(time),
                age(time)
            )?;
            writeln!(tool.out, "       Docs: https://kubernetes.io/docs/")?;
            3
        }
    };
    writeln!(tool.out)?;
    let files = Confined::new(tool.state_dir);
    let text = tail_of_file(&files, "/journal/kubelet.log", 64 << 10);
    let lines: Vec<&str> = text.lines().collect();
    for line in lines.iter().skip(lines.len().saturating_sub(10)) {
        writeln!(tool.out, "{line}")?;
    }
    Ok(code)
}

fn containerd(tool: &mut Tool<'_>, verb: &str) -> io::Result<u8> {
    match verb {
        "status" => {
            let booted = tool.snapshot()?.map_or_else(Timestamp::now, |s| s.booted);
            writeln!(
                tool.out,
                "● containerd.service - containerd container runtime"
            )?;
            writeln!(
                tool.out,
                "     Loaded: loaded (/usr/lib/systemd/system/containerd.service; enabled; preset: enabled)"
            )?;
            writeln!(
                tool.out,
                "     Active: active (running) since {}; {} ago",
                date(booted),
                age(booted)
            )?;
            writeln!(tool.out, "       Docs: https://containerd.io")?;
            writeln!(
                tool.out,
                "   Main PID: {} (containerd)",
                super::process::CONTAINERD
            )?;
            Ok(0)
        }
        "is-active" => {
            writeln!(tool.out, "active")?;
            Ok(0)
        }
        "is-enabled" => {
            writeln!(tool.out, "enabled")?;
            Ok(0)
        }
        verb => {
            writeln!(
                tool.err,
                "`systemctl {verb} containerd` is not available on the embedded node: its runtime is part of the simulation"
            )?;
            Ok(1)
        }
    }
}

fn date(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC)
        .strftime("%a %Y-%m-%d %H:%M:%S UTC")
        .to_string()
}

fn age(time: Timestamp) -> String {
    let age: Duration = Timestamp::now().duration_since(time).unsigned_abs();
    let seconds = age.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}min {}s", seconds / 60, seconds % 60),
        3600..172_800 => format!("{}h {}min", seconds / 3600, seconds / 60 % 60),
        _ => table::human(age),
    }
}
