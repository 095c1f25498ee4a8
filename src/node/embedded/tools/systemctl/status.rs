//! `systemctl status`.

use std::io;
use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

use super::super::options::Given;
use super::super::{Tool, table};
use super::{State, Unit};
use crate::node::embedded::confine::Confined;
use crate::node::embedded::snapshot::tail_of_file;

pub(super) fn show(tool: &mut Tool<'_>, unit: &Unit, given: &Given) -> io::Result<u8> {
    let dot = if unit.active { "●" } else { "○" };
    let (name, since) = (unit.name, unit.since);
    let mut text = format!("{dot} {name}.service - {}\n", unit.description);
    text.push_str(&format!(
        "     Loaded: {}\n",
        match unit.enabled {
            State::Masked => format!("masked (Reason: Unit {name}.service is masked.)"),
            state => format!(
                "loaded (/usr/lib/systemd/system/{name}.service; {}; preset: enabled)",
                state.word()
            ),
        }
    ));
    if let Some(drop_in) = unit.drop_in {
        text.push_str(&format!(
            "    Drop-In: /usr/lib/systemd/system/{name}.service.d\n             └─{drop_in}\n"
        ));
    }
    let state = if unit.active {
        "active (running)"
    } else {
        "inactive (dead)"
    };
    text.push_str(&format!(
        "     Active: {state} since {}; {} ago\n",
        date(since),
        age(since)
    ));
    if let Some((_, started)) = unit.last {
        let ran = since.duration_since(started).unsigned_abs();
        text.push_str(&format!("   Duration: {}\n", span(ran)));
    }
    text.push_str(&format!("       Docs: {}\n", unit.documentation));
    if let Some((pid, _)) = unit.last {
        let command = unit.command.split(' ').next().unwrap_or("");
        text.push_str(&format!(
            "    Process: {pid} ExecStart={command} $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS $KUBELET_EXTRA_ARGS (code=exited, status=0/SUCCESS)\n   Main PID: {pid} (code=exited, status=0/SUCCESS)\n        CPU: {}.{:03}s\n",
            age_seconds(since) / 40 + 1,
            pid % 1000
        ));
    }
    if unit.active {
        text.push_str(&format!(
            "   Main PID: {0} ({name})\n      Tasks: 12 (limit: 4915)\n     Memory: {1}\n        CPU: {2}.{3:03}s\n     CGroup: /system.slice/{name}.service\n             └─{0} {4}\n",
            unit.pid,
            unit.memory,
            age_seconds(since) / 40 + 1,
            unit.pid % 1000,
            unit.command
        ));
    }
    tool.out.write_all(text.as_bytes())?;
    let lines = match given.get("lines").map(str::parse::<usize>) {
        None => 10,
        Some(Ok(lines)) => lines,
        Some(Err(_)) => {
            writeln!(
                tool.err,
                "Failed to parse lines '{}'",
                given.get("lines").unwrap_or("")
            )?;
            return Ok(1);
        }
    };
    if unit.name == "kubelet" && lines > 0 {
        let files = Confined::new(tool.state_dir);
        let text = tail_of_file(&files, "/journal/kubelet.log", 256 << 10);
        let all: Vec<&str> = text.lines().collect();
        if !all.is_empty() {
            writeln!(tool.out)?;
        }
        for line in all.iter().skip(all.len().saturating_sub(lines)) {
            writeln!(tool.out, "{line}")?;
        }
    }
    Ok(if unit.active { 0 } else { 3 })
}

pub(super) fn date(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC)
        .strftime("%a %Y-%m-%d %H:%M:%S UTC")
        .to_string()
}

fn age_seconds(time: Timestamp) -> u64 {
    Timestamp::now()
        .duration_since(time)
        .unsigned_abs()
        .as_secs()
}

fn age(time: Timestamp) -> String {
    let seconds = age_seconds(time);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}min {}s", seconds / 60, seconds % 60),
        3600..172_800 => format!("{}h {}min", seconds / 3600, seconds / 60 % 60),
        _ => table::human(Duration::from_secs(seconds)),
    }
}

/// How long a service ran, as `Duration:` has it.
fn span(ran: Duration) -> String {
    let (seconds, millis) = (ran.as_secs(), ran.subsec_millis());
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s}.{millis:03}s"),
        (0, m, s) => format!("{m}min {s}.{millis:03}s"),
        (h, m, s) => format!("{h}h {m}min {s}.{millis:03}s"),
    }
}
