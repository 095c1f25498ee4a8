//! The simulated processes of the node as processes of the namespace: one that sleeps for each, under
//! its process id, name and command line, so that `ps`, `pgrep`, `kill` and `/proc/PID/cmdline` are the
//! kernel's own answers.
//!
//! One that a learner ends is a signal to the process it stands for: the node is told, and does what a
//! node does.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::SystemTime;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitStatus};

use super::super::kubelet::{REQUESTS, state::Request};
use super::super::snapshot::{NodeSnapshot, base_name};
use super::super::tools::process::{self, Owner, Process};
use super::super::workload::Workload;
use super::namespace::RUN;
use super::proc::Processes;

/// Set for a process that stands in.
const VARIABLE: &str = "CKSLAB_STAND_IN";

/// Where the state of the simulation is, inside.
const STATE: &str = "/run/ckslab/state";

/// How long a process that stands in has for taking its name.
const NAMED: Timespec = Timespec {
    tv_sec: 5,
    tv_nsec: 0,
};

/// Sleeps for ever, if this process stands in for one of the node's. Says on its standard output that
/// it has the name.
pub fn called_as_stand_in() {
    if std::env::var_os(VARIABLE).is_none() {
        return;
    }
    let program = std::env::args_os().next().unwrap_or_default();
    let name = base_name(&program.to_string_lossy()).to_owned();
    // The kernel keeps 15 bytes.
    if let Ok(name) = std::ffi::CString::new(name) {
        let _ = rustix::thread::set_name(&name);
    }
    let _ = std::io::stdout().write_all(b"\n");
    loop {
        std::thread::park();
    }
}

/// The processes shown.
#[derive(Debug)]
pub(super) struct StandIns {
    way: Processes,
    /// By simulated process id.
    shown: BTreeMap<u32, Shown>,
    /// When what is shown was written.
    seen: [Option<SystemTime>; 2],
}

#[derive(Debug)]
struct Shown {
    process: Process,
    /// The process that stands in.
    real: Option<Pid>,
}

impl StandIns {
    /// None yet.
    pub fn new(way: Processes) -> Self {
        Self {
            way,
            shown: BTreeMap::new(),
            seen: [None; 2],
        }
    }

    /// Shows what runs on the node now, if that changed.
    pub fn update(&mut self) {
        let state = Path::new(STATE);
        let time = |path| fs::metadata(path).and_then(|meta| meta.modified()).ok();
        let written = [NodeSnapshot::path(state), Workload::path(state)].map(time);
        if written.iter().any(Option::is_some) && written == self.seen {
            return;
        }
        self.seen = written;
        let Ok(Some(mut snapshot)) = NodeSnapshot::load(state) else {
            return;
        };
        Workload::load(state).join(&mut snapshot);
        let mut wanted: BTreeMap<u32, Process> = process::processes(&snapshot)
            .into_iter()
            // The first process is there already.
            .filter(|process| process.pid > 1)
            .map(|process| (process.pid, process))
            .collect();
        let gone: Vec<u32> = self
            .shown
            .iter()
            .filter(|(pid, shown)| wanted.get(pid).is_none_or(|new| *new != shown.process))
            .map(|(pid, _)| *pid)
            .collect();
        for pid in gone {
            if let Some(shown) = self.shown.remove(&pid) {
                self.hide(&shown);
            }
        }
        wanted.retain(|pid, _| !self.shown.contains_key(pid));
        let mut unnamed = Vec::new();
        for (pid, process) in wanted {
            let child = self.show(&process);
            let real = child.as_ref().map(Pid::from_child);
            self.shown.insert(pid, Shown { process, real });
            unnamed.extend(child.and_then(|child| child.stdout));
        }
        // Until then the kernel calls it by the name of this program.
        for output in unnamed {
            let mut fds = [PollFd::new(&output, PollFlags::IN)];
            let _ = rustix::event::poll(&mut fds, Some(&NAMED));
        }
    }

    fn show(&mut self, process: &Process) -> Option<Child> {
        match &mut self.way {
            Processes::Kernel { next } => {
                if let Some(next) = next {
                    let before = process.pid.saturating_sub(1).to_string();
                    let _ = next
                        .rewind()
                        .and_then(|()| next.write_all(before.as_bytes()));
                }
                let (program, arguments) = process.argv.split_first()?;
                Command::new(format!("{RUN}/ckslab"))
                    .arg0(program)
                    .args(arguments)
                    .env_clear()
                    .env(VARIABLE, "1")
                    .current_dir("/")
                    .stdin(Stdio::null())
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null())
                    .spawn()
                    .ok()
            }
            Processes::Files => {
                let dir = format!("/proc/{}", process.pid);
                let mut cmdline = process.argv.join("\0");
                cmdline.push('\0');
                let name: String = process.name();
                let status = format!(
                    "Name:\t{name}\nState:\tS (sleeping)\nTgid:\t{0}\nPid:\t{0}\nPPid:\t{1}\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n",
                    process.pid, process.parent
                );
                let made = fs::DirBuilder::new().mode(0o555).create(&dir);
                for (file, text) in [
                    ("cmdline", cmdline),
                    ("comm", format!("{name}\n")),
                    ("status", status),
                ] {
                    if made.is_ok() {
                        let _ = fs::write(format!("{dir}/{file}"), text);
                    }
                }
                None
            }
        }
    }

    /// Tells the node of those that were signalled and have not ended yet: a command may be over before
    /// the signal it sent has taken effect.
    pub fn settle(&mut self) {
        let signalled: Vec<Pid> = self
            .shown
            .values()
            .filter_map(|shown| shown.real)
            .filter(|pid| {
                let status = fs::read_to_string(format!("/proc/{pid}/status"));
                status.is_ok_and(|status| is_ending(&status))
            })
            .collect();
        for pid in signalled {
            if let Ok(Some((pid, status))) =
                rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty())
            {
                self.ended(pid, status);
            }
        }
    }

    fn hide(&self, shown: &Shown) {
        if let Some(real) = shown.real {
            let _ = rustix::process::kill_process(real, Signal::KILL);
        } else if matches!(self.way, Processes::Files) {
            let _ = fs::remove_dir_all(format!("/proc/{}", shown.process.pid));
        }
    }

    /// Tells the node of a process that ended here; one that [`StandIns::hide`] ended is none of these.
    pub fn ended(&mut self, pid: Pid, status: WaitStatus) {
        let found = self
            .shown
            .iter()
            .find(|(_, shown)| shown.real == Some(pid))
            .map(|(pid, _)| *pid);
        let Some(shown) = found.and_then(|pid| self.shown.remove(&pid)) else {
            return;
        };
        // Shown again as soon as the node is looked at: with another process id, if it did end.
        let signal = status.terminating_signal().unwrap_or(Signal::TERM.as_raw());
        let request = match shown.process.owner {
            Owner::Container(id) => Request::Signal(id, signal),
            Owner::Kubelet => Request::RestartKubelet,
            Owner::System => {
                self.seen = [None; 2];
                return;
            }
        };
        let name = format!("{STATE}/{REQUESTS}/signal-{}", pid.as_raw_nonzero());
        if let Ok(bytes) = serde_json::to_vec(&request)
            && fs::write(&name, bytes).is_ok()
        {
            let _ = fs::rename(&name, format!("{name}.json"));
        }
    }
}

/// Whether a process has ended, or has a signal before it that ends it.
fn is_ending(status: &str) -> bool {
    let field = |name: &str| {
        let value = status.lines().find_map(|line| line.strip_prefix(name));
        value.unwrap_or("").trim().to_owned()
    };
    let pending = |name: &str| u64::from_str_radix(&field(name), 16).unwrap_or(0);
    // SIGHUP, SIGINT, SIGQUIT, SIGABRT, SIGKILL, SIGTERM.
    let ends = 0b100_0001_0010_0111;
    field("State:").starts_with(['Z', 'X']) || (pending("SigPnd:") | pending("ShdPnd:")) & ends != 0
}

#[cfg(test)]
mod tests {
    use super::is_ending;

    #[test]
    fn a_signal_on_its_way_counts() {
        let status = |state: &str, shared: &str| {
            format!("Name:\tx\nState:\t{state}\nSigPnd:\t0000000000000000\nShdPnd:\t{shared}\n")
        };
        assert!(!is_ending(&status("S (sleeping)", "0000000000000000")));
        assert!(is_ending(&status("S (sleeping)", "0000000000000100")));
        assert!(is_ending(&status("S (sleeping)", "0000000000004000")));
        assert!(!is_ending(&status("S (sleeping)", "0000000000010000")));
        assert!(is_ending(&status("Z (zombie)", "0000000000000000")));
    }
}
