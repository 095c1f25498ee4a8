//! The processes around a command of the node, and the signals between them.
//!
//! - The *outer* process leaves the host's namespaces. It stays on the host: whoever started `ckslab`
//!   signals it and waits for it.
//! - The *init* process is the first of the new process namespace: with it the kernel ends all the
//!   others. It makes the node's `/`, reaps orphans, and ends with the command's exit code.
//! - The command has a session of its own, so that its process group holds nothing of the host. Where
//!   the learner is at a terminal, that session has a terminal of its own, and init copies between
//!   the two: job control inside is the inner terminal's.

use std::convert::Infallible;
use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::task::Poll;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, WaitOptions};
use rustix::termios::{OptionalActions, Termios};
use tokio::signal::unix::SignalKind;

use super::super::daemon::Config;
use super::limits;
use super::namespace::{self, Failed, tried};
use super::standin::StandIns;

/// How long init copies what the ended command has written, where the terminal does not take it.
const DRAIN: Duration = Duration::from_secs(10);

/// How often init looks at what runs on the node.
const LOOK: Duration = Duration::from_millis(200);

/// Signals that reach the command through the outer process and init.
const FORWARDED: [Signal; 9] = [
    Signal::TERM,
    Signal::INT,
    Signal::HUP,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::WINCH,
    Signal::TSTP,
    Signal::CONT,
];

/// The signals of this process, as they come.
struct Signals(Vec<(Signal, tokio::signal::unix::Signal)>);

impl Signals {
    fn new() -> io::Result<Self> {
        FORWARDED
            .into_iter()
            .chain([Signal::CHILD])
            .map(|signal| {
                let stream = tokio::signal::unix::signal(SignalKind::from_raw(signal.as_raw()))?;
                Ok((signal, stream))
            })
            .collect::<io::Result<_>>()
            .map(Self)
    }

    async fn next(&mut self) -> Signal {
        std::future::poll_fn(|context| {
            for (signal, stream) in &mut self.0 {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// A runtime without threads: a process that has left its process namespace cannot have any.
fn block_on<T>(future: impl Future<Output = Result<T, Failed>>) -> Result<T, Failed> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(tried("wait for signals"))?
        .block_on(future)
}

/// The settings of the terminal the learner is at; `None` where a stream leads elsewhere, or the
/// terminal is another job's.
fn at_terminal() -> Option<Termios> {
    let stdin = io::stdin();
    let ours = io::stdout().is_terminal()
        && rustix::termios::tcgetpgrp(&stdin).ok()? == rustix::process::getpgrp();
    ours.then(|| rustix::termios::tcgetattr(&stdin).ok())?
}

/// The variable in which init is told what it is for. Its command line everybody inside can read; its
/// environment nobody: it has capabilities they have not.
const VARIABLE: &str = "CKSLAB_INIT";

/// What init is told by the outer process.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
struct Told {
    /// The outer process, as `/proc` numbers it.
    parent: std::path::PathBuf,
    /// Whether the learner is at a terminal.
    terminal: bool,
    lab_dir: std::path::PathBuf,
    /// Bytes of the words of the command.
    command: Vec<Vec<u8>>,
}

/// Runs this process as the first of a node's namespaces, if that is what it was started for; gives its
/// exit code.
pub fn called_as_init() -> Option<u8> {
    let text = std::env::var(VARIABLE).ok()?;
    let run = || -> Result<u8, Failed> {
        let told: Told = serde_json::from_str(&text)
            .map_err(io::Error::from)
            .map_err(tried("read what to do"))?;
        let config = Config::load(&told.lab_dir).map_err(tried("read the lab"))?;
        init(&config, &told)
    };
    Some(run().unwrap_or_else(|failed| {
        eprintln!("error: {failed}");
        super::CANNOT_ENTER
    }))
}

/// The outer process: starts init in namespaces of its own, passes signals on, gives the exit code.
///
/// # Errors
/// What the system does not allow.
pub fn outer(config: &Config, lab_dir: &Path, argv: &[OsString]) -> Result<u8, Failed> {
    let program = std::env::current_exe().map_err(tried("find this program"))?;
    let settings = at_terminal();
    let own_pid = fs::read_link("/proc/self").map_err(tried("read /proc/self"))?;
    namespace::leave(&config.spec.node_name)?;
    let told = Told {
        parent: own_pid,
        terminal: settings.is_some(),
        lab_dir: lab_dir.to_path_buf(),
        command: argv.iter().map(|word| word.as_bytes().to_vec()).collect(),
    };
    let told =
        serde_json::to_string(&told).map_err(|e| tried("say what to do")(io::Error::from(e)))?;
    let mut command = Command::new(program);
    command.arg0("/sbin/init").env(VARIABLE, told);
    let status = block_on(async {
        let mut signals = Signals::new().map_err(tried("wait for signals"))?;
        let mut init = command.spawn().map_err(tried("start a process"))?;
        let pid = Pid::from_child(&init);
        loop {
            let signal = signals.next().await;
            if signal != Signal::CHILD {
                forward(pid, signal);
            } else if let Some(status) = init.try_wait().map_err(tried("wait"))? {
                return Ok(status);
            }
            if signal == Signal::TSTP {
                // The shell this was started from goes on; SIGCONT comes when it is to go on itself.
                let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
            }
        }
    });
    if let Some(settings) = settings {
        let _ = rustix::termios::tcsetattr(io::stdin(), OptionalActions::Drain, &settings);
    }
    status.map(super::exit_code)
}

/// Passes a signal on to init. What init does not yet wait for would be lost: then nothing has begun,
/// and all of it ends.
fn forward(init: Pid, signal: Signal) {
    let ends = [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT].contains(&signal);
    let waited_for = fs::read_to_string(format!("/proc/{init}/status"))
        .ok()
        .and_then(|status| caught(&status))
        .is_none_or(|caught| caught & (1 << (signal.as_raw() - 1)) != 0);
    let sent = if ends && !waited_for {
        Signal::KILL
    } else {
        signal
    };
    let _ = rustix::process::kill_process(init, sent);
}

/// The signals a process has handlers for, from its `status` in `/proc`.
fn caught(status: &str) -> Option<u64> {
    let field = status.lines().find_map(|l| l.strip_prefix("SigCgt:"))?;
    u64::from_str_radix(field.trim(), 16).ok()
}

/// Init: makes the node's `/`, runs the command, gives its exit code.
///
/// # Errors
/// What the system does not allow.
fn init(config: &Config, told: &Told) -> Result<u8, Failed> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(tried("end with ckslab"))?;
    // It may have ended before. `/proc` is the host's still.
    let status = fs::read_to_string("/proc/self/status").map_err(tried("read /proc/self"))?;
    let parent = status.lines().find_map(|l| l.strip_prefix("PPid:"));
    if parent.map(str::trim) != told.parent.to_str() {
        return Err(tried("end with ckslab")(io::Error::other("it has ended")));
    }
    // The host's terminal sends no signals here, and does not stop who reads from it.
    rustix::process::setsid().map_err(tried("make a session"))?;
    block_on(async {
        let mut signals = Signals::new().map_err(tried("wait for signals"))?;
        let mut processes = StandIns::new(namespace::build(config)?);
        processes.update();
        let opened = told.terminal.then(Terminal::open).and_then(Result::ok);
        let argv: Vec<OsString> = told
            .command
            .iter()
            .cloned()
            .map(OsString::from_vec)
            .collect();
        let mut command = namespace::command(config, &argv, opened.is_some());
        let terminal = match opened {
            Some((terminal, far)) => {
                give(far, &mut command).map_err(tried("give a terminal"))?;
                Some(terminal)
            }
            None => None,
        };
        let child = command.spawn().map_err(tried("start the command"))?;
        // It holds the command's end of the terminal.
        drop(command);
        let child = Pid::from_child(&child);
        let copying = match &terminal {
            Some(terminal) => Some(terminal.copy().map_err(tried("use the terminal"))?),
            None => None,
        };
        loop {
            let Ok(signal) = tokio::time::timeout(LOOK, signals.next()).await else {
                processes.update();
                continue;
            };
            match signal {
                Signal::CHILD => {
                    if let Some(code) = reap(child, &mut processes) {
                        processes.settle();
                        // What the command leaves behind ends with it.
                        let _ = rustix::process::kill_process_group(Pid::INIT, Signal::KILL);
                        if let Some(copied) = &copying {
                            let _ = copied.recv_timeout(DRAIN);
                        }
                        return Ok(code);
                    }
                }
                Signal::WINCH if terminal.is_some() => {
                    if let Some(terminal) = &terminal {
                        terminal.resize();
                    }
                }
                // No shell of its session waits for it: only this signal stops it.
                Signal::TSTP => signal_command(child, Signal::STOP),
                signal => signal_command(child, signal),
            }
        }
    })
}

/// The command's process group, or itself before it leads one.
fn signal_command(child: Pid, signal: Signal) {
    if rustix::process::kill_process_group(child, signal).is_err() {
        let _ = rustix::process::kill_process(child, signal);
    }
}

/// Reaps all that ended; gives the exit code of the command when that is among them.
fn reap(child: Pid, processes: &mut StandIns) -> Option<u8> {
    let mut code = None;
    while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == child {
            let ended = status
                .exit_status()
                .or(status.terminating_signal().map(|signal| 128 + signal));
            code = ended.map(|ended| u8::try_from(ended).unwrap_or(255));
        } else {
            processes.ended(pid, status);
        }
    }
    code
}

/// The last stage, a process that becomes the command. Returns only when that fails.
///
/// # Errors
/// Why the command cannot be run.
pub fn become_command(terminal: bool, argv: &[OsString]) -> Result<Infallible, io::Error> {
    rustix::process::setsid()?;
    if terminal {
        rustix::process::ioctl_tiocsctty(io::stdin())?;
    }
    limits::become_plain();
    let [program, arguments @ ..] = argv else {
        return Err(io::ErrorKind::NotFound.into());
    };
    Err(Command::new(program).args(arguments).exec())
}

/// Makes the terminal's end the command's streams. Init keeps none: what is shown ends with its last
/// holder.
fn give(far: File, command: &mut Command) -> io::Result<()> {
    command.stdin(far.try_clone()?).stdout(far.try_clone()?);
    if io::stderr().is_terminal() {
        command.stderr(far);
    }
    Ok(())
}

/// The terminal of the command: one of the node.
struct Terminal {
    /// Our end: where what is typed is written, and what is shown is read.
    near: File,
}

impl Terminal {
    /// Gives the command's end, too.
    fn open() -> io::Result<(Self, File)> {
        let open = |path: &str| {
            OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(OFlags::NOCTTY.bits().cast_signed())
                .open(path)
        };
        let near = open("/dev/pts/ptmx")?;
        rustix::pty::unlockpt(&near)?;
        let name = rustix::pty::ptsname(&near, Vec::new())?;
        let far = open(&name.to_string_lossy())?;
        rustix::termios::tcsetattr(
            &far,
            OptionalActions::Now,
            &rustix::termios::tcgetattr(io::stdin())?,
        )?;
        let terminal = Self { near };
        terminal.resize();
        Ok((terminal, far))
    }

    /// As large as the one the learner is at.
    fn resize(&self) {
        if let Ok(size) = rustix::termios::tcgetwinsize(io::stdin()) {
            let _ = rustix::termios::tcsetwinsize(&self.near, size);
        }
    }

    /// Copies between this terminal and the learner's; says when nothing more is shown.
    fn copy(&self) -> io::Result<mpsc::Receiver<()>> {
        let mut settings = rustix::termios::tcgetattr(io::stdin())?;
        settings.make_raw();
        rustix::termios::tcsetattr(io::stdin(), OptionalActions::Drain, &settings)?;
        let mut typed = self.near.try_clone()?;
        let mut shown = self.near.try_clone()?;
        std::thread::spawn(move || copy_all(&mut io::stdin().lock(), &mut typed));
        let (ended, end) = mpsc::channel();
        std::thread::spawn(move || {
            copy_all(&mut shown, &mut io::stdout().lock());
            let _ = ended.send(());
        });
        Ok(end)
    }
}

fn copy_all(from: &mut dyn Read, to: &mut dyn Write) {
    let mut buffer = vec![0; 8192];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let read = buffer.get(..length).unwrap_or_default();
                if to.write_all(read).and_then(|()| to.flush()).is_err() {
                    return;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A terminal nobody has open any more.
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caught_signals_are_read_from_the_status() {
        assert_eq!(
            caught("PPid:\t1\nSigCgt:\t0000000000004002\n"),
            Some(0x4002)
        );
        assert_eq!(caught("PPid:\t1\n"), None);
    }
}
