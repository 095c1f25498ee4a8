//! Entries of the journal.

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::super::process::CONTAINERD;
use crate::node::embedded::snapshot::NodeSnapshot;

/// An entry.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// `kubelet.service` or `containerd.service`.
    pub unit: &'static str,
    /// To the microsecond where the message says it, else to the second.
    pub time: Timestamp,
    /// Name of the node.
    pub host: String,
    /// `kubelet`, `containerd`, `systemd`.
    pub name: String,
    /// Process id.
    pub pid: String,
    /// The message.
    pub message: String,
}

impl Entry {
    /// A line of the kubelet's journal.
    pub fn parse(line: &str) -> Self {
        let stamp = line.get(..15).unwrap_or("");
        let after = line.get(16..).unwrap_or("");
        let (host, rest) = after.split_once(' ').unwrap_or(("", after));
        let (source, message) = rest.split_once(": ").unwrap_or(("", rest));
        let (name, pid) = source.split_once('[').unwrap_or((source, ""));
        let time = time_of(stamp).unwrap_or(Timestamp::UNIX_EPOCH);
        Self {
            unit: "kubelet.service",
            time: precise(time, message),
            host: host.to_owned(),
            name: name.to_owned(),
            pid: pid.trim_end_matches(']').to_owned(),
            message: message.to_owned(),
        }
    }
}

/// The short format has no year: the latest one that is not in the future.
fn time_of(stamp: &str) -> Option<Timestamp> {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    let tomorrow = now
        .timestamp()
        .checked_add(SignedDuration::from_hours(24))
        .ok()?;
    [now.year(), now.year() - 1].into_iter().find_map(|year| {
        let time = DateTime::strptime("%Y %b %d %H:%M:%S", format!("{year} {stamp}")).ok()?;
        let time = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
        (time <= tomorrow).then_some(time)
    })
}

/// The fraction of a second is in the header of the message: `I1124 07:00:00.123456 ...`.
fn precise(time: Timestamp, message: &str) -> Timestamp {
    let clock = message
        .get(6..21)
        .filter(|_| message.get(5..6) == Some(" "));
    let micros = clock
        .and_then(|clock| clock.split_once('.'))
        .and_then(|(_, fraction)| fraction.parse::<i64>().ok());
    let span = SignedDuration::from_micros(micros.unwrap_or(0));
    time.checked_add(span).unwrap_or(time)
}

/// What containerd and systemd have written of it, as far as the runtime remembers.
pub(super) fn of_containerd(snapshot: &NodeSnapshot) -> Vec<Entry> {
    let entry = |time: Timestamp, name: &str, pid: u32, message: String| Entry {
        unit: "containerd.service",
        time,
        host: snapshot.node_name.clone(),
        name: name.to_owned(),
        pid: pid.to_string(),
        message,
    };
    let info = |time: Timestamp, text: &str| {
        let stamp = time.strftime("%Y-%m-%dT%H:%M:%S.%9fZ");
        let message = format!("time=\"{stamp}\" level=info msg={text:?}");
        entry(time, "containerd", CONTAINERD, message)
    };
    let booted = snapshot.booted;
    let unit = "containerd.service - containerd container runtime";
    let mut entries = vec![
        entry(booted, "systemd", 1, format!("Starting {unit}...")),
        info(booted, "starting containerd"),
        info(booted, "containerd successfully booted in 0.031417s"),
        entry(booted, "systemd", 1, format!("Started {unit}.")),
    ];
    for container in &snapshot.containers {
        let metadata = format!(
            "&ContainerMetadata{{Name:{},Attempt:{},}}",
            container.name, container.attempt
        );
        let text = format!(
            "CreateContainer within sandbox {:?} for {metadata} returns container id {:?}",
            container.sandbox_id, container.id
        );
        entries.push(info(container.created, &text));
        if let Some(started) = container.started {
            let text = format!("StartContainer for {:?} returns successfully", container.id);
            entries.push(info(started, &text));
        }
        if let Some(finished) = container.finished {
            let text = format!("shim disconnected id={} namespace=k8s.io", container.id);
            entries.push(info(finished, &text));
        }
    }
    entries.sort_by_key(|entry| entry.time);
    entries
}
