//! Node tools: what a learner runs on the node (crictl, journalctl, systemctl...), answered from
//! the snapshot, the journal and the logs. They work from any process, also while the node is down.

mod crictl;
mod journalctl;
mod kubeadm;
mod options;
pub(crate) mod process;
mod programs;
mod ps;
mod sockets;
mod systemctl;
mod table;

use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

use super::confine::Confined;
use super::kubelet::REQUESTS;
use super::kubelet::state::Request;
use super::snapshot::NodeSnapshot;
use super::workload::Workload;

/// The commands [`run`] knows.
pub const NAMES: [&str; 16] = [
    "crictl",
    "journalctl",
    "systemctl",
    "service",
    "ps",
    "pgrep",
    "pkill",
    "pidof",
    "kill",
    "ss",
    "netstat",
    "kubeadm",
    "kubelet",
    "containerd",
    "ctr",
    "runc",
];

/// Runs a node tool; `terminal`: whether `err` is one. Gives its exit code (127 for a command that is none of [`NAMES`]).
pub fn run(
    node_root: &Path,
    state_dir: &Path,
    argv: &[String],
    terminal: bool,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> u8 {
    let Some((name, arguments)) = argv.split_first() else {
        return 127;
    };
    let name = super::snapshot::base_name(name);
    let mut tool = Tool {
        node: Confined::new(node_root),
        state_dir,
        terminal,
        out,
        err,
    };
    let result = match name {
        "crictl" => crictl::run(&mut tool, arguments),
        "journalctl" => journalctl::run(&mut tool, arguments),
        "systemctl" => systemctl::run(&mut tool, arguments),
        "service" => systemctl::service(&mut tool, arguments),
        "ps" => ps::ps(&mut tool, arguments),
        "pgrep" | "pkill" => ps::pgrep(&mut tool, name, arguments),
        "pidof" => ps::pidof(&mut tool, arguments),
        "kill" => ps::kill(&mut tool, arguments),
        "kubeadm" => kubeadm::run(&mut tool, arguments),
        "kubelet" | "containerd" | "ctr" | "runc" => programs::run(&mut tool, name, arguments),
        "ss" => sockets::ss(&mut tool, arguments),
        "netstat" => sockets::netstat(&mut tool, arguments),
        _ => {
            let _ = writeln!(tool.err, "{name}: command not found");
            return 127;
        }
    };
    match result {
        Ok(code) => code,
        // Whoever reads (head, less) has read enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
        Err(error) => {
            let _ = writeln!(tool.err, "{name}: {error}");
            1
        }
    }
}

/// What a tool works with.
struct Tool<'a> {
    node: Confined,
    state_dir: &'a Path,
    /// Whether `err` is a terminal.
    terminal: bool,
    out: &'a mut dyn Write,
    err: &'a mut dyn Write,
}

impl Tool<'_> {
    /// The state of the node; `None` before it came up for the first time.
    fn snapshot(&self) -> io::Result<Option<NodeSnapshot>> {
        let mut snapshot = NodeSnapshot::load(self.state_dir)?;
        if let Some(snapshot) = &mut snapshot {
            Workload::load(self.state_dir).join(snapshot);
        }
        Ok(snapshot)
    }

    /// Leaves a request for the kubelet and waits until `done` says so of the state it leads to.
    /// False when the node does not react.
    fn request(&self, request: &Request, done: impl Fn(&NodeSnapshot) -> bool) -> io::Result<bool> {
        let bytes = serde_json::to_vec(request).map_err(io::Error::from)?;
        let name = format!("/{REQUESTS}/{}-{}.json", std::process::id(), unique());
        Confined::new(self.state_dir).write_atomic(&name, &bytes, 0o600)?;
        let end = Instant::now() + Duration::from_secs(15);
        while Instant::now() < end {
            if self.snapshot()?.is_some_and(|s| done(&s)) {
                return Ok(true);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        // Nobody took it: it must not take effect when the node comes up some day.
        Confined::new(self.state_dir).remove_all(&name)?;
        Ok(false)
    }
}

fn unique() -> u128 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos())
}

#[cfg(test)]
mod tests;
