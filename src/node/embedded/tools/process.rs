//! `ps`, `pgrep` and `ss`: the processes the node simulates.

use std::io;

use jiff::{Timestamp, tz::TimeZone};

use super::Tool;
use super::table;
use crate::node::embedded::snapshot::{ContainerSnapshot, ContainerState, NodeSnapshot, base_name};

/// Process id of containerd.
pub(super) const CONTAINERD: u32 = 541;

/// The kubelet's command line as kubeadm sets it up.
pub(super) const KUBELET_FLAGS: &str = "--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf --kubeconfig=/etc/kubernetes/kubelet.conf --config=/var/lib/kubelet/config.yaml --container-runtime-endpoint=unix:///run/containerd/containerd.sock --pod-infra-container-image=registry.k8s.io/pause:3.10.1";

struct Process {
    pid: u32,
    parent: u32,
    started: Timestamp,
    command: String,
    memory: u64,
}

/// The processes of the node, by id.
fn processes(snapshot: &NodeSnapshot) -> Vec<Process> {
    let booted = snapshot.booted;
    let of = |pid, parent, started, command: String, memory| Process {
        pid,
        parent,
        started,
        command,
        memory,
    };
    let mut all = vec![
        of(1, 0, booted, "/sbin/init".into(), 12_104),
        of(CONTAINERD, 1, booted, "/usr/bin/containerd".into(), 61_228),
    ];
    if snapshot.kubelet_active {
        let command = format!("/usr/bin/kubelet {KUBELET_FLAGS}");
        all.push(of(
            snapshot.kubelet_pid,
            1,
            snapshot.kubelet_started,
            command,
            88_940,
        ));
    }
    for container in running(snapshot) {
        let started = container.started.unwrap_or(container.created);
        let shim = container.pid.saturating_sub(20);
        let command = format!(
            "/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -id {} -address /run/containerd/containerd.sock",
            container.sandbox_id
        );
        all.push(of(shim, 1, container.created, command, 13_660));
        let command = if container.argv.is_empty() {
            container.image.clone()
        } else {
            container.argv.join(" ")
        };
        let memory = match base_name(container.argv.first().map_or("", String::as_str)) {
            "kube-apiserver" => 268_412,
            "kube-controller-manager" => 118_204,
            "etcd" => 62_380,
            _ => 52_116,
        };
        all.push(of(container.pid, shim, started, command, memory));
    }
    all.sort_by_key(|p| p.pid);
    all
}

fn running(snapshot: &NodeSnapshot) -> impl Iterator<Item = &ContainerSnapshot> {
    snapshot
        .containers
        .iter()
        .filter(|c| c.state == ContainerState::Running)
}

fn clock(time: Timestamp) -> String {
    time.to_zoned(TimeZone::UTC).strftime("%H:%M").to_string()
}

pub(super) fn ps(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let Some(snapshot) = tool.snapshot()? else {
        return Ok(1);
    };
    let options: String = arguments.concat();
    let full = options.contains('f') && options.contains('e') && !options.contains('u');
    if full {
        let mut rows = vec![
            ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
                .map(str::to_owned)
                .to_vec(),
        ];
        for process in processes(&snapshot) {
            rows.push(vec![
                "root".into(),
                process.pid.to_string(),
                process.parent.to_string(),
                "0".into(),
                clock(process.started),
                "?".into(),
                "00:00:01".into(),
                process.command,
            ]);
        }
        for line in table::aligned(&rows, 8, 1) {
            writeln!(tool.out, "{line}")?;
        }
        return Ok(0);
    }
    writeln!(
        tool.out,
        "USER         PID %CPU %MEM    VSZ   RSS TTY      STAT START   TIME COMMAND"
    )?;
    for process in processes(&snapshot) {
        writeln!(
            tool.out,
            "root     {:>7}  0.5  1.0 {:>6} {:>5} ?        Ssl  {}   0:01 {}",
            process.pid,
            process.memory + 1_200_000,
            process.memory,
            clock(process.started),
            process.command
        )?;
    }
    Ok(0)
}

pub(super) fn pgrep(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let mut pattern = None;
    let (mut list, mut full, mut exact, mut names) = (false, false, false, false);
    for argument in arguments {
        match argument.strip_prefix('-') {
            Some(letters) => {
                for letter in letters.trim_start_matches('-').chars() {
                    match letter {
                        'a' => list = true,
                        'f' => full = true,
                        'x' => exact = true,
                        'l' => names = true,
                        _ => {}
                    }
                }
            }
            None => pattern = Some(argument.as_str()),
        }
    }
    let Some(pattern) = pattern else {
        writeln!(tool.err, "pgrep: no matching criteria specified")?;
        return Ok(2);
    };
    let Some(snapshot) = tool.snapshot()? else {
        return Ok(1);
    };
    let mut found = false;
    for process in processes(&snapshot) {
        let program = process.command.split(' ').next().unwrap_or("");
        // The kernel keeps 15 characters of a name.
        let name: String = base_name(program).chars().take(15).collect();
        let subject = if full {
            process.command.as_str()
        } else {
            name.as_str()
        };
        let hit = if exact {
            subject == pattern
        } else {
            subject.contains(pattern)
        };
        if !hit {
            continue;
        }
        found = true;
        if list {
            writeln!(tool.out, "{} {}", process.pid, process.command)?;
        } else if names {
            writeln!(tool.out, "{} {name}", process.pid)?;
        } else {
            writeln!(tool.out, "{}", process.pid)?;
        }
    }
    Ok(u8::from(!found))
}

/// Listening sockets: address, program name, process id.
fn sockets(snapshot: &NodeSnapshot) -> Vec<(String, String, u32)> {
    let mut all = vec![(
        "127.0.0.1:35021".to_owned(),
        "containerd".to_owned(),
        CONTAINERD,
    )];
    if snapshot.kubelet_active {
        all.push(("*:10250".into(), "kubelet".into(), snapshot.kubelet_pid));
        all.push((
            "127.0.0.1:10248".into(),
            "kubelet".into(),
            snapshot.kubelet_pid,
        ));
    }
    for container in running(snapshot) {
        let program = base_name(container.argv.first().map_or("", String::as_str)).to_owned();
        let flag = |name: &str| {
            container.argv.iter().rev().find_map(|arg| {
                let (flag, value) = arg.split_once('=')?;
                (flag == name).then(|| value.to_owned())
            })
        };
        let mut add = |address: String| all.push((address, program.clone(), container.pid));
        match program.as_str() {
            // It listens once it serves.
            "kube-apiserver" if container.ready => {
                add(format!(
                    "*:{}",
                    flag("--secure-port").unwrap_or_else(|| "6443".into())
                ));
            }
            "kube-controller-manager" => {
                add(format!(
                    "127.0.0.1:{}",
                    flag("--secure-port").unwrap_or_else(|| "10257".into())
                ));
            }
            "kube-scheduler" => {
                add(format!(
                    "127.0.0.1:{}",
                    flag("--secure-port").unwrap_or_else(|| "10259".into())
                ));
            }
            "etcd" => {
                for name in [
                    "--listen-client-urls",
                    "--listen-peer-urls",
                    "--listen-metrics-urls",
                ] {
                    for url in flag(name).unwrap_or_default().split(',') {
                        if let Some((_, address)) = url.split_once("://") {
                            add(address.to_owned());
                        }
                    }
                }
            }
            _ => {}
        }
    }
    all
}

pub(super) fn ss(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let Some(snapshot) = tool.snapshot()? else {
        return Ok(1);
    };
    let processes = arguments.concat().contains('p');
    let mut header: Vec<String> = [
        "State",
        "Recv-Q",
        "Send-Q",
        "Local Address:Port",
        "Peer Address:Port",
    ]
    .map(str::to_owned)
    .to_vec();
    if processes {
        header.push("Process".into());
    }
    let mut rows = vec![header];
    for (address, program, pid) in sockets(&snapshot) {
        let peer = if address.starts_with('*') {
            "*:*"
        } else {
            "0.0.0.0:*"
        };
        let mut row: Vec<String> = ["LISTEN", "0", "4096", address.as_str(), peer]
            .map(str::to_owned)
            .to_vec();
        if processes {
            row.push(format!("users:((\"{program}\",pid={pid},fd=3))"));
        }
        rows.push(row);
    }
    for line in table::aligned(&rows, 7, 2) {
        writeln!(tool.out, "{line}")?;
    }
    Ok(0)
}
