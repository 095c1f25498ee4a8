//! `ss` and `netstat`: the sockets the node's processes listen on.

use std::io;

use super::Tool;
use super::process::{CONTAINERD, running};
use super::table;
use crate::node::embedded::snapshot::{NodeSnapshot, base_name};
use crate::node::embedded::sockets::of_command_line;

/// Listening sockets: address, program name, process id.
fn sockets(snapshot: &NodeSnapshot) -> Vec<(String, String, u32)> {
    let containerd = "127.0.0.1:35021".to_owned();
    let mut all = vec![(containerd, "containerd".to_owned(), CONTAINERD)];
    if snapshot.kubelet_active {
        for address in ["*:10250", "127.0.0.1:10248"] {
            all.push((address.into(), "kubelet".into(), snapshot.kubelet_pid));
        }
    }
    for container in running(snapshot).filter(|container| !container.own_network) {
        let program = base_name(container.argv.first().map_or("", String::as_str));
        // The API server takes a while to come up and to end, and says itself whether it listens.
        let open = if program == "kube-apiserver" {
            let own = snapshot.sockets.iter().filter(|s| s.pid == container.pid);
            own.map(|s| (s.address.clone(), s.port)).collect()
        } else {
            of_command_line(&container.argv)
        };
        for (address, port) in open {
            all.push((
                format!("{address}:{port}"),
                program.to_owned(),
                container.pid,
            ));
        }
    }
    all
}

/// What of the sockets is asked for.
struct Asked {
    tcp: bool,
    listening: bool,
    processes: bool,
    header: bool,
    /// Only those of this port.
    port: Option<String>,
}

impl Asked {
    fn parse(arguments: &[String]) -> Self {
        let short: String = arguments
            .iter()
            .filter(|a| a.starts_with('-') && !a.starts_with("--"))
            .map(|a| a.trim_start_matches('-'))
            .collect();
        let has = |letter: char, long: &str| {
            short.contains(letter) || arguments.iter().any(|a| a == long)
        };
        // `sport = :6443`, in one word or several.
        let filter = arguments.join(" ");
        let port = filter.split_once("sport").map(|(_, rest)| {
            let digits = rest.chars().skip_while(|c| !c.is_ascii_digit());
            digits.take_while(char::is_ascii_digit).collect()
        });
        let other = ['u', 'x', 'w'].iter().any(|letter| short.contains(*letter));
        Self {
            tcp: has('t', "--tcp") || !other,
            listening: has('l', "--listening") || has('a', "--all"),
            processes: has('p', "--processes"),
            header: !has('H', "--no-header"),
            port,
        }
    }

    fn sockets(&self, snapshot: &NodeSnapshot) -> Vec<(String, String, u32)> {
        let mut all = sockets(snapshot);
        let wanted = |address: &str| {
            let port = address.rsplit(':').next();
            self.port
                .as_deref()
                .is_none_or(|wanted| port == Some(wanted))
        };
        all.retain(|(address, _, _)| self.tcp && self.listening && wanted(address));
        all
    }
}

pub(super) fn ss(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let Some(snapshot) = tool.snapshot()? else {
        return Ok(1);
    };
    let asked = Asked::parse(arguments);
    let mut rows = Vec::new();
    if asked.header {
        let mut header = [
            "State",
            "Recv-Q",
            "Send-Q",
            "Local Address:Port",
            "Peer Address:Port",
        ]
        .map(str::to_owned)
        .to_vec();
        header.push(if asked.processes { "Process" } else { "" }.to_owned());
        rows.push(header);
    }
    for (address, program, pid) in asked.sockets(&snapshot) {
        let peer = if address.starts_with('*') {
            "*:*"
        } else {
            "0.0.0.0:*"
        };
        let mut row: Vec<String> = ["LISTEN", "0", "4096", address.as_str(), peer]
            .map(str::to_owned)
            .to_vec();
        if asked.processes {
            row.push(format!("users:((\"{}\",pid={pid},fd=3))", short(&program)));
        }
        rows.push(row);
    }
    for line in table::aligned(&rows, 7, 1) {
        writeln!(tool.out, "{line}")?;
    }
    Ok(0)
}

pub(super) fn netstat(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let Some(snapshot) = tool.snapshot()? else {
        return Ok(1);
    };
    let asked = Asked::parse(arguments);
    let kind = if asked.listening {
        "(only servers)"
    } else {
        "(w/o servers)"
    };
    writeln!(tool.out, "Active Internet connections {kind}")?;
    let program = if asked.processes {
        "PID/Program name    "
    } else {
        ""
    };
    writeln!(
        tool.out,
        "Proto Recv-Q Send-Q Local Address           Foreign Address         State       {program}"
    )?;
    for (address, program, pid) in asked.sockets(&snapshot) {
        let (proto, local, peer) = match address.strip_prefix('*') {
            Some(port) => ("tcp6", format!("::{port}"), ":::*"),
            None => ("tcp", address, "0.0.0.0:*"),
        };
        let process = if asked.processes {
            format!("{:<20}", format!("{pid}/{}", short(&program)))
        } else {
            String::new()
        };
        writeln!(
            tool.out,
            "{proto:<5} {:>6} {:>6} {local:<23} {peer:<23} {:<11} {process}",
            0, 0, "LISTEN"
        )?;
    }
    Ok(0)
}

/// The kernel keeps 15 characters of a name.
fn short(name: &str) -> String {
    name.chars().take(15).collect()
}
