//! `crictl stats` and `statsp`: as plausible as the processes `ps` shows.

use serde_json::{Value, json};

use super::super::process::{Owner, processes};
use super::flags::Given;
use super::output::{self, short, size};
use super::{Done, Failed, Runtime, list, objects};
use crate::node::embedded::snapshot::{ContainerSnapshot, NodeSnapshot};

/// Bytes of memory of a container's process.
fn memory(snapshot: &NodeSnapshot, id: &str) -> u64 {
    processes(snapshot)
        .iter()
        .find(|process| process.owner == Owner::Container(id.to_owned()))
        .map_or(0, |process| process.memory * 1024)
}

/// Share of a core, in percent.
fn cpu(container: &ContainerSnapshot) -> f64 {
    match container.name.as_str() {
        "kube-apiserver" => 2.41,
        "etcd" => 1.12,
        "kube-controller-manager" => 0.94,
        _ => 0.31,
    }
}

/// Clears the screen, as crictl does before each table of these.
const CLEAR: &str = "\u{1b}[2J\u{1b}[H";

/// `stats`.
pub(super) fn containers(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    if given.arguments.len() > 1 {
        return Err(Failed::Help);
    }
    let snapshot = runtime.connect(false)?;
    let mut found = list::find_containers(&snapshot, given)?;
    if let Some(id) = given.arguments.first() {
        found.retain(|c| c.id.starts_with(id));
    }
    found.sort_by(|a, b| a.id.cmp(&b.id));
    if let Some(format @ ("json" | "yaml")) = given.get("output") {
        let stats: Vec<Value> = found
            .iter()
            .map(|c| {
                let stamp = jiff::Timestamp::now().as_nanosecond().to_string();
                let value = |n: u64| json!({"value": n.to_string()});
                json!({
                    "attributes": objects::attributes(c),
                    "cpu": {"timestamp": stamp, "usageCoreNanoSeconds": value(81_204_000_000), "usageNanoCores": value((cpu(c) * 1e7) as u64)},
                    "memory": {"timestamp": stamp, "workingSetBytes": value(memory(&snapshot, &c.id))},
                    "writableLayer": {"timestamp": stamp, "usedBytes": value(24_576), "inodesUsed": value(7)},
                })
            })
            .collect();
        return output::value(runtime, &json!({ "stats": stats }), format, None);
    }
    let mut rows = vec![
        [
            "CONTAINER",
            "NAME",
            "CPU %",
            "MEM",
            "DISK",
            "INODES",
            "SWAP",
        ]
        .map(str::to_owned)
        .to_vec(),
    ];
    for container in &found {
        rows.push(vec![
            short(&container.id, false),
            container.name.clone(),
            format!("{:.2}", cpu(container)),
            size(memory(&snapshot, &container.id) as f64, 4),
            "24.58kB".to_owned(),
            "7".to_owned(),
            "0B".to_owned(),
        ]);
    }
    write!(runtime.tool.out, "{CLEAR}")?;
    output::table(runtime, &rows)
}

/// `statsp`.
pub(super) fn pods(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    let snapshot = runtime.connect(false)?;
    let found = list::find_pods(&snapshot, given)?;
    let sum = |sandbox: &str| {
        let inside = snapshot
            .containers
            .iter()
            .filter(|c| c.sandbox_id == sandbox);
        inside.fold((0.0, 0), |(share, bytes), c| {
            match memory(&snapshot, &c.id) {
                0 => (share, bytes),
                more => (share + cpu(c), bytes + more),
            }
        })
    };
    if let Some(format @ ("json" | "yaml")) = given.get("output") {
        let stats: Vec<Value> = found
            .iter()
            .map(|(pod, sandbox)| {
                let (_, bytes) = sum(&sandbox.id);
                json!({
                    "attributes": objects::pod_attributes(pod, sandbox),
                    "linux": {"memory": {"workingSetBytes": {"value": bytes.to_string()}}},
                })
            })
            .collect();
        return output::value(runtime, &json!({ "stats": stats }), format, None);
    }
    let mut rows = vec![
        ["POD", "POD ID", "CPU %", "MEM"]
            .map(str::to_owned)
            .to_vec(),
    ];
    for (pod, sandbox) in &found {
        let (share, bytes) = sum(&sandbox.id);
        rows.push(vec![
            pod.name.clone(),
            short(&sandbox.id, false),
            format!("{share:.2}"),
            size(bytes as f64, 4),
        ]);
    }
    write!(runtime.tool.out, "{CLEAR}")?;
    output::table(runtime, &rows)
}
