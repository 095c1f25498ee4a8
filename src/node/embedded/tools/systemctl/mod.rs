//! `systemctl`: the services of the node, kubelet and containerd.

mod enablement;
mod status;

use std::io;

use jiff::Timestamp;

use self::enablement::State;
use super::options::{Given, Known, Problem, Style, flag, value};
use super::process::{CONTAINERD, KUBELET_FLAGS};
use super::{Tool, journalctl};
use crate::node::embedded::kubelet::state::Request;
use crate::node::embedded::snapshot::NodeSnapshot;
use crate::node::embedded::version::SYSTEMD;

const KNOWN: &[Known] = &[
    flag(&["no-pager"]),
    flag(&["full", "l"]),
    flag(&["quiet", "q"]),
    flag(&["now"]),
    flag(&["all", "a"]),
    flag(&["no-legend"]),
    flag(&["plain"]),
    flag(&["system"]),
    flag(&["no-block"]),
    flag(&["value"]),
    flag(&["force", "f"]),
    flag(&["failed"]),
    flag(&["help", "h"]),
    flag(&["version"]),
    value(&["lines", "n"]),
    value(&["type", "t"]),
    value(&["state"]),
    value(&["property", "p"]),
    value(&["signal", "s"]),
    value(&["output", "o"]),
];

/// A service of the node.
struct Unit {
    name: &'static str,
    description: &'static str,
    documentation: &'static str,
    drop_in: Option<&'static str>,
    command: String,
    active: bool,
    enabled: State,
    pid: u32,
    /// Process id before it ended, and when that was started.
    last: Option<(u32, Timestamp)>,
    /// When it came to be as it is.
    since: Timestamp,
    memory: &'static str,
}

/// The service of a name, with or without `.service`.
fn unit(tool: &Tool<'_>, name: &str, snapshot: Option<&NodeSnapshot>) -> Option<Unit> {
    let name = name.strip_suffix(".service").unwrap_or(name);
    let enabled = enablement::of(&tool.node, name);
    let now = Timestamp::now();
    match name {
        "kubelet" => {
            let active = snapshot.is_some_and(|s| s.kubelet_active);
            Some(Unit {
                name: "kubelet",
                description: "kubelet: The Kubernetes Node Agent",
                documentation: "https://kubernetes.io/docs/",
                drop_in: Some("10-kubeadm.conf"),
                command: format!("/usr/bin/kubelet {KUBELET_FLAGS}"),
                active,
                pid: snapshot.filter(|_| active).map_or(0, |s| s.kubelet_pid),
                last: snapshot
                    .filter(|_| !active)
                    .map(|s| (s.kubelet_pid, s.kubelet_started)),
                since: match snapshot {
                    Some(snapshot) if active => snapshot.kubelet_started,
                    Some(snapshot) => journalctl::stopped(tool).unwrap_or(snapshot.time),
                    None => now,
                },
                enabled,
                memory: "41.2M (peak: 44.6M)",
            })
        }
        "containerd" => Some(Unit {
            name: "containerd",
            description: "containerd container runtime",
            documentation: "https://containerd.io",
            drop_in: None,
            command: "/usr/bin/containerd".to_owned(),
            active: snapshot.is_some(),
            pid: if snapshot.is_some() { CONTAINERD } else { 0 },
            last: None,
            since: snapshot.map_or(now, |s| s.booted),
            enabled,
            memory: "61.8M (peak: 98.3M)",
        }),
        _ => None,
    }
}

pub(super) fn run(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let given = match Given::parse(arguments, KNOWN, Style::Clusters, false) {
        Ok(given) => given,
        Err(Problem::Unknown(name)) if name.starts_with("--") => {
            writeln!(tool.err, "systemctl: unrecognized option '{name}'")?;
            return Ok(1);
        }
        Err(Problem::Unknown(name)) => {
            let letter = name.trim_start_matches('-');
            writeln!(tool.err, "systemctl: invalid option -- '{letter}'")?;
            return Ok(1);
        }
        Err(Problem::Lacks(name)) => {
            writeln!(tool.err, "systemctl: option '{name}' requires an argument")?;
            return Ok(1);
        }
    };
    if given.has("version") {
        writeln!(tool.out, "{SYSTEMD}")?;
        return Ok(0);
    }
    let verb = given.rest.first().map_or("list-units", String::as_str);
    let units = given.rest.get(1..).unwrap_or_default();
    let snapshot = tool.snapshot()?;
    match verb {
        "daemon-reload" | "reset-failed" | "daemon-reexec" => return Ok(0),
        "list-units" | "list-unit-files" => return list(tool, verb, &given, snapshot.as_ref()),
        "is-system-running" => {
            writeln!(tool.out, "running")?;
            return Ok(0);
        }
        "status" | "show" | "cat" | "is-active" | "is-enabled" | "is-failed" | "enable"
        | "disable" | "mask" | "unmask" | "restart" | "reload-or-restart" | "try-restart"
        | "reload" | "start" | "stop" | "kill" => {}
        other => {
            writeln!(tool.err, "Unknown command verb '{other}'.")?;
            return Ok(1);
        }
    }
    if units.is_empty() {
        if verb == "status" {
            let name = snapshot.as_ref().map_or("node", |s| s.node_name.as_str());
            writeln!(
                tool.out,
                "● {name}\n    State: running\n    Units: 2 loaded\n   Failed: 0 units"
            )?;
            return Ok(0);
        }
        writeln!(tool.err, "Too few arguments.")?;
        return Ok(1);
    }
    let mut worst = 0;
    for (index, name) in units.iter().enumerate() {
        let code = match unit(tool, name, snapshot.as_ref()) {
            Some(unit) => {
                if index > 0 && ["status", "show"].contains(&verb) {
                    writeln!(tool.out)?;
                }
                one(tool, verb, &unit, &given, snapshot.as_ref())?
            }
            None => missing(tool, verb, name, given.has("quiet"))?,
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

fn missing(tool: &mut Tool<'_>, verb: &str, name: &str, quiet: bool) -> io::Result<u8> {
    let full = if name.contains('.') {
        name.to_owned()
    } else {
        format!("{name}.service")
    };
    match verb {
        "status" => {
            writeln!(tool.err, "Unit {full} could not be found.")?;
            Ok(4)
        }
        "is-active" | "is-failed" => {
            if !quiet {
                writeln!(tool.out, "inactive")?;
            }
            Ok(4)
        }
        "is-enabled" => {
            if !quiet {
                writeln!(tool.out, "not-found")?;
            }
            Ok(4)
        }
        "cat" => {
            writeln!(tool.err, "No files found for {full}.")?;
            Ok(1)
        }
        "show" => {
            writeln!(
                tool.out,
                "Id={full}\nLoadState=not-found\nActiveState=inactive\nSubState=dead"
            )?;
            Ok(0)
        }
        "enable" | "disable" | "mask" | "unmask" => {
            writeln!(
                tool.err,
                "Failed to {verb} unit: Unit {full} does not exist"
            )?;
            Ok(1)
        }
        verb => {
            writeln!(tool.err, "Failed to {verb} {full}: Unit {full} not found.")?;
            Ok(5)
        }
    }
}

fn one(
    tool: &mut Tool<'_>,
    verb: &str,
    unit: &Unit,
    given: &Given,
    snapshot: Option<&NodeSnapshot>,
) -> io::Result<u8> {
    let quiet = given.has("quiet");
    match verb {
        "status" => status::show(tool, unit, given),
        "is-active" | "is-failed" => {
            if !quiet {
                let word = if unit.active { "active" } else { "inactive" };
                writeln!(tool.out, "{word}")?;
            }
            Ok(match (verb, unit.active) {
                ("is-active", true) => 0,
                ("is-active", false) => 3,
                _ => 1,
            })
        }
        "is-enabled" => {
            if !quiet {
                writeln!(tool.out, "{}", unit.enabled.word())?;
            }
            Ok(u8::from(unit.enabled != State::Enabled))
        }
        "enable" | "disable" | "mask" | "unmask" => {
            enablement::change(tool, verb, unit)?;
            match (verb, given.has("now")) {
                ("enable", true) => one(tool, "start", unit, given, snapshot),
                ("disable" | "mask", true) => one(tool, "stop", unit, given, snapshot),
                _ => Ok(0),
            }
        }
        "start" | "restart" | "reload-or-restart" | "try-restart"
            if unit.enabled == State::Masked && !unit.active =>
        {
            let job = if verb == "start" { "start" } else { "restart" };
            writeln!(
                tool.err,
                "Failed to {job} {0}.service: Unit {0}.service is masked.",
                unit.name
            )?;
            Ok(1)
        }
        "cat" => cat(tool, unit),
        "show" => show(tool, unit, given),
        "start" | "stop" | "restart" | "reload-or-restart" | "try-restart" | "kill"
            if unit.name == "kubelet" =>
        {
            change(tool, verb, unit, snapshot)
        }
        // Its containers live on, and the API of the runtime is back before anybody looks.
        "restart" | "reload-or-restart" | "try-restart" | "start" => Ok(0),
        "reload" => {
            writeln!(
                tool.err,
                "Failed to reload {0}.service: Job type reload is not applicable for unit {0}.service.",
                unit.name
            )?;
            Ok(1)
        }
        verb => {
            writeln!(
                tool.err,
                "`systemctl {verb} {}` is not simulated on this node",
                unit.name
            )?;
            Ok(1)
        }
    }
}

/// Starts, stops or restarts the kubelet.
fn change(
    tool: &mut Tool<'_>,
    verb: &str,
    unit: &Unit,
    snapshot: Option<&NodeSnapshot>,
) -> io::Result<u8> {
    let (request, wanted) = match verb {
        "stop" => (Request::StopKubelet, false),
        "start" => (Request::StartKubelet, true),
        _ => (Request::RestartKubelet, true),
    };
    if unit.active == wanted && ["start", "stop"].contains(&verb) {
        return Ok(0);
    }
    let before = snapshot.map_or(0, |s| s.kubelet_pid);
    let done = |s: &NodeSnapshot| {
        s.kubelet_active == wanted && (!wanted || !unit.active || s.kubelet_pid != before)
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

/// The unit's files as they are on the node.
fn cat(tool: &mut Tool<'_>, unit: &Unit) -> io::Result<u8> {
    let path = format!("/usr/lib/systemd/system/{}.service", unit.name);
    let mut paths = vec![path.clone()];
    if let Some(drop_in) = unit.drop_in {
        paths.push(format!("{path}.d/{drop_in}"));
    }
    for (index, path) in paths.iter().enumerate() {
        let text = match tool.node.read(path, 64 << 10) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            // Inside, the machine's own programs lie over the node's /usr.
            Err(_) => built_in(unit, index).to_owned(),
        };
        if index > 0 {
            writeln!(tool.out)?;
        }
        write!(tool.out, "# {path}\n{text}")?;
    }
    Ok(0)
}

/// The files as the packages bring them.
fn built_in(unit: &Unit, index: usize) -> &'static str {
    use crate::node::embedded::root::files::{CONTAINERD_UNIT, KUBEADM_DROP_IN, KUBELET_UNIT};
    match (unit.name, index) {
        ("kubelet", 0) => KUBELET_UNIT,
        ("kubelet", _) => KUBEADM_DROP_IN,
        _ => CONTAINERD_UNIT,
    }
}

fn show(tool: &mut Tool<'_>, unit: &Unit, given: &Given) -> io::Result<u8> {
    let (state, sub) = if unit.active {
        ("active", "running")
    } else {
        ("inactive", "dead")
    };
    let path = format!("/usr/lib/systemd/system/{}.service", unit.name);
    let drop_in = unit
        .drop_in
        .map_or_else(String::new, |file| format!("{path}.d/{file}"));
    let program = unit.command.split(' ').next().unwrap_or("");
    let properties: Vec<(&str, String)> = vec![
        ("Type", "simple".to_owned()),
        ("Restart", "always".to_owned()),
        ("MainPID", unit.pid.to_string()),
        ("NRestarts", "0".to_owned()),
        (
            "ExecStart",
            format!(
                "{{ path={program} ; argv[]={} ; ignore_errors=no }}",
                unit.command
            ),
        ),
        ("Id", format!("{}.service", unit.name)),
        ("Names", format!("{}.service", unit.name)),
        ("Description", unit.description.to_owned()),
        ("LoadState", "loaded".to_owned()),
        ("ActiveState", state.to_owned()),
        ("SubState", sub.to_owned()),
        ("FragmentPath", path),
        ("DropInPaths", drop_in),
        ("UnitFileState", unit.enabled.word().to_owned()),
        ("UnitFilePreset", "enabled".to_owned()),
        ("ActiveEnterTimestamp", status::date(unit.since)),
        ("NeedDaemonReload", "no".to_owned()),
    ];
    let wanted: Vec<&str> = given.all("property").flat_map(|p| p.split(',')).collect();
    for (name, value) in properties {
        if !wanted.is_empty() && !wanted.contains(&name) {
            continue;
        }
        if given.has("value") {
            writeln!(tool.out, "{value}")?;
        } else {
            writeln!(tool.out, "{name}={value}")?;
        }
    }
    Ok(0)
}

fn list(
    tool: &mut Tool<'_>,
    verb: &str,
    given: &Given,
    snapshot: Option<&NodeSnapshot>,
) -> io::Result<u8> {
    let patterns = given.rest.get(1..).unwrap_or_default();
    let wanted = |name: &str| {
        let full = format!("{name}.service");
        patterns.is_empty()
            || patterns.iter().any(|pattern| {
                let start = pattern.split('*').next().unwrap_or("");
                full == *pattern
                    || name == pattern
                    || (pattern.contains('*') && full.starts_with(start))
            })
    };
    let kind = given.get("type").is_none_or(|kind| kind == "service");
    let units: Vec<Unit> = ["containerd", "kubelet"]
        .iter()
        .filter_map(|name| unit(tool, name, snapshot))
        .filter(|unit| kind && wanted(unit.name))
        .filter(|unit| verb == "list-unit-files" || unit.active || given.has("all"))
        .filter(|_| !given.has("failed") && given.get("state") != Some("failed"))
        .collect();
    let legend = !given.has("no-legend");
    let lead = if given.has("plain") { "" } else { "  " };
    if verb == "list-unit-files" {
        if legend {
            writeln!(tool.out, "{:<18} {:<7} PRESET", "UNIT FILE", "STATE")?;
        }
        for unit in &units {
            let file = format!("{}.service", unit.name);
            writeln!(tool.out, "{file:<18} {:<7} enabled", unit.enabled.word())?;
        }
        if legend {
            writeln!(tool.out, "\n{} unit files listed.", units.len())?;
        }
        return Ok(0);
    }
    if legend {
        writeln!(
            tool.out,
            "{lead}{:<18} LOAD   ACTIVE SUB     DESCRIPTION",
            "UNIT"
        )?;
    }
    for unit in &units {
        let file = format!("{}.service", unit.name);
        let (state, sub) = if unit.active {
            ("active", "running")
        } else {
            ("inactive", "dead")
        };
        writeln!(
            tool.out,
            "{lead}{file:<18} loaded {state:<6} {sub:<7} {}",
            unit.description
        )?;
    }
    if legend {
        writeln!(
            tool.out,
            "\nLegend: LOAD   → Reflects whether the unit definition was properly loaded.\n        ACTIVE → The high-level unit activation state, i.e. generalization of SUB.\n        SUB    → The low-level unit activation state, values depend on unit type.\n\n{} loaded units listed.{}",
            units.len(),
            if given.has("all") {
                ""
            } else {
                " Pass --all to see loaded but inactive units, too."
            }
        )?;
    }
    Ok(0)
}
