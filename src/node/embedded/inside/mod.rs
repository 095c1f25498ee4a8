//! Commands inside the node: in a private mount namespace where the system allows one, else only
//! what can be mapped to the node root.
//!
//! Architecture invariant: a path a learner gives to a command on the node never reaches the host's
//! own `/etc` or `/var`.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::daemon::Config;
use crate::node::{ExecOutput, NodeError};

pub mod files;
#[cfg(target_os = "linux")]
pub mod init;
mod kubectl;
#[cfg(target_os = "linux")]
mod limits;
pub mod mapped;
#[cfg(target_os = "linux")]
mod mounts;
#[cfg(target_os = "linux")]
pub mod namespace;
#[cfg(target_os = "linux")]
mod proc;
#[cfg(target_os = "linux")]
pub mod standin;

/// Name of the hidden subcommand that enters the node.
pub const SUBCOMMAND: &str = "node-enter";

/// The node's tools: this program under these names.
pub use super::tools::NAMES as TOOLS;

/// Exit code of the entering process where the node cannot be entered.
const CANNOT_ENTER: u8 = 125;

/// How commands get inside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// A private mount namespace whose `/` is the node's.
    Namespace,
    /// Only what ckslab maps itself.
    Mapped {
        /// Why there is no namespace.
        reason: String,
    },
}

impl Way {
    /// Finds the way this system allows, by trying it in a process of its own.
    #[must_use]
    pub fn find() -> Self {
        if std::env::var_os("CKSLAB_NO_NAMESPACES").is_some() {
            return Way::Mapped {
                reason: "CKSLAB_NO_NAMESPACES is set".to_owned(),
            };
        }
        if !cfg!(target_os = "linux") {
            return Way::Mapped {
                reason: "namespaces exist on Linux only".to_owned(),
            };
        }
        let tried = entering_process()
            .arg("--probe")
            .stdin(Stdio::null())
            .output();
        match tried {
            Ok(output) if output.status.success() => Way::Namespace,
            Ok(output) => {
                let text = String::from_utf8_lossy(&output.stderr);
                let reason = text.lines().next().unwrap_or("it was refused");
                Way::Mapped {
                    reason: reason.trim_start_matches("error: ").to_owned(),
                }
            }
            Err(error) => Way::Mapped {
                reason: error.to_string(),
            },
        }
    }
}

/// This program, about to enter a node.
fn entering_process() -> Command {
    let program = match std::env::current_exe() {
        Ok(path) if path.is_file() => path,
        _ => PathBuf::from("/proc/self/exe"),
    };
    let mut command = Command::new(program);
    command.arg(SUBCOMMAND);
    command
}

/// What an entering process is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Stage {
    /// Leave the host's namespaces, and wait for the command.
    Outer,
    /// Become the command.
    Command,
}

/// What the entering process does: tries whether it could, or runs the command (a shell where there
/// is none) and does not return.
///
/// # Errors
/// When the system does not allow it.
#[cfg(target_os = "linux")]
pub fn entering(
    probe: bool,
    stage: Stage,
    terminal: bool,
    lab_dir: Option<&Path>,
    command: &[OsString],
) -> Result<(), NodeError> {
    let refused = |error: &dyn std::fmt::Display| NodeError::Refused(error.to_string());
    if probe {
        return namespace::probe().map_err(|error| refused(&error));
    }
    if stage == Stage::Command {
        let Err(error) = init::become_command(terminal, command);
        let name = command.first().map(|name| name.to_string_lossy());
        let name = name.unwrap_or_default();
        // As a shell says it.
        let (text, code) = match error.kind() {
            io::ErrorKind::NotFound => ("command not found".to_owned(), 127),
            _ => (super::process::go_error_text(&error), 126),
        };
        eprintln!("ckslab: {name}: {text}");
        std::process::exit(code);
    }
    let lab_dir = lab_dir.ok_or_else(|| refused(&"no lab"))?;
    let config = Config::load(lab_dir).map_err(|error| refused(&error))?;
    let code = init::outer(&config, lab_dir, command).unwrap_or_else(|failed| {
        eprintln!("error: {failed}");
        CANNOT_ENTER
    });
    std::process::exit(i32::from(code))
}

/// Without namespaces nothing is entered.
///
/// # Errors
/// Always.
#[cfg(not(target_os = "linux"))]
pub fn entering(
    probe: bool,
    lab_dir: Option<&Path>,
    command: &[OsString],
) -> Result<(), NodeError> {
    let _ = (probe, lab_dir, command, CANNOT_ENTER);
    Err(NodeError::Refused(
        "namespaces exist on Linux only".to_owned(),
    ))
}

/// Whether the learner was told that this system has no namespaces.
#[must_use]
pub fn was_told(config: &Config) -> bool {
    config.state_dir.join("told-mapped").exists()
}

/// Remembers that the learner was told.
pub fn remember_told(config: &Config) {
    let _ = fs::write(config.state_dir.join("told-mapped"), "");
}

/// Runs a command with this process's standard streams; gives its exit code.
///
/// # Errors
/// When it cannot be run.
pub fn run(config: &Config, way: &Way, argv: &[String]) -> Result<u8, NodeError> {
    match way {
        Way::Namespace => enter(config, argv),
        Way::Mapped { .. } => mapped::run(config, argv),
    }
}

/// Runs a command and keeps what it writes. Only commands that can be mapped: the caller may be any
/// program that uses this library, and only `ckslab` itself can enter namespaces.
///
/// # Errors
/// When it cannot be run.
pub fn capture(config: &Config, argv: &[String], stdin: &[u8]) -> Result<ExecOutput, NodeError> {
    mapped::capture(config, argv, stdin)
}

/// Runs one of the node's tools; `None` where `name` is none.
fn tool(
    config: &Config,
    name: &str,
    arguments: &[String],
    streams: &mut mapped::Streams<'_>,
) -> Option<u8> {
    if !TOOLS.contains(&name) {
        return None;
    }
    let mut argv = vec![name.to_owned()];
    argv.extend_from_slice(arguments);
    Some(super::tools::run(
        &config.node_root,
        &config.state_dir,
        &argv,
        false,
        streams.stdout,
        streams.stderr,
    ))
}

/// Runs this process as the tool whose name it was called by; `None` where that is none.
///
/// The node it is about is the one it is inside of, or the one `CKSLAB_NODE_ROOT` names.
#[must_use]
pub fn called_as_tool() -> Option<u8> {
    let mut argv = std::env::args_os().map(|word| word.to_string_lossy().into_owned());
    let name = argv.next()?;
    let name = name.rsplit('/').next().unwrap_or(&name);
    if name == SUDO && std::env::var_os("CKSLAB_NODE_SHELL").is_some() {
        return Some(sudo(argv.collect()));
    }
    if !TOOLS.contains(&name) {
        return None;
    }
    let mut words = vec![name.to_owned()];
    words.extend(argv);
    let inside = Path::new("/run/ckslab/state");
    let (node_root, state_dir) = if inside.is_dir() {
        (PathBuf::from("/"), inside.to_path_buf())
    } else {
        let Some(node_root) = std::env::var_os("CKSLAB_NODE_ROOT").map(PathBuf::from) else {
            eprintln!("{name}: CKSLAB_NODE_ROOT is not set (ckslab env prints it)");
            return Some(1);
        };
        let state_dir = node_root.with_file_name("state");
        (node_root, state_dir)
    };
    Some(super::tools::run(
        &node_root,
        &state_dir,
        &words,
        io::stderr().is_terminal(),
        &mut io::stdout().lock(),
        &mut io::stderr().lock(),
    ))
}

/// Whether this process is one inside a node, where `ckslab` itself has no place: it would know the
/// machine's home no more than the node's.
#[must_use]
pub fn is_inside() -> bool {
    Path::new("/run/ckslab/state").is_dir() && Path::new("/run/ckslab/ckslab").is_file()
}

/// `sudo` inside: whoever is there is root already, and the host's own `sudo` does not know the node.
pub(crate) const SUDO: &str = "sudo";

/// Options of `sudo` that take a value.
const SUDO_VALUES: [&str; 4] = ["-u", "-g", "-h", "-p"];

/// The command line without `sudo`'s own options and variables.
pub(crate) fn without_sudo(arguments: &[String]) -> &[String] {
    let mut rest = arguments;
    while let Some((first, others)) = rest.split_first() {
        if first == "--" {
            return others;
        }
        if SUDO_VALUES.contains(&first.as_str()) {
            rest = others.get(1..).unwrap_or_default();
        } else if first.starts_with('-') || first.contains('=') {
            rest = others;
        } else {
            break;
        }
    }
    rest
}

fn sudo(arguments: Vec<String>) -> u8 {
    use std::os::unix::process::CommandExt;
    let argv = without_sudo(&arguments);
    let (program, rest) = match argv.split_first() {
        Some((program, rest)) => (program.as_str(), rest),
        None => ("/bin/bash", argv),
    };
    let error = Command::new(program).args(rest).exec();
    eprintln!(
        "sudo: {program}: {}",
        match error.kind() {
            io::ErrorKind::NotFound => "command not found".to_owned(),
            _ => super::process::go_error_text(&error),
        }
    );
    1
}

/// A directory with the node's tools under their names, for a shell that is not inside.
fn tools_directory(config: &Config) -> io::Result<PathBuf> {
    let dir = config.state_dir.join("bin");
    fs::create_dir_all(&dir)?;
    let program = std::env::current_exe()?;
    for name in TOOLS {
        let link = dir.join(name);
        // The program may have moved since the last shell.
        let _ = fs::remove_file(&link);
        std::os::unix::fs::symlink(&program, &link)?;
    }
    Ok(dir)
}

/// Opens a shell with this process's standard streams; gives its exit code.
///
/// # Errors
/// When no shell can be started.
pub fn shell(config: &Config, way: &Way) -> Result<u8, NodeError> {
    if *way == Way::Namespace {
        return enter(config, &[]);
    }
    let shell = std::env::var_os("SHELL")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() && path.is_file())
        .unwrap_or_else(|| PathBuf::from("/bin/sh"));
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    if let Ok(dir) = tools_directory(config) {
        let mut front = dir.into_os_string();
        front.push(":");
        front.push(&path);
        path = front;
    }
    let status = std::process::Command::new(&shell)
        .env("PATH", path)
        .env(
            "KUBECONFIG",
            config.node_root.join("etc/kubernetes/admin.conf"),
        )
        .env("CKSLAB_NODE_ROOT", &config.node_root)
        .env("CKSLAB_NODE_SHELL", "mapped")
        .current_dir(&config.node_root)
        .status()
        .map_err(|source| NodeError::Io {
            path: shell.display().to_string(),
            source,
        })?;
    Ok(exit_code(status))
}

/// Enters the node with this process's standard streams: this process becomes the one that waits for
/// the command, and signals to it are for the command. Returns only when that fails.
fn enter(config: &Config, argv: &[String]) -> Result<u8, NodeError> {
    use std::os::unix::process::CommandExt;
    let lab_dir = config.state_dir.parent().unwrap_or(&config.state_dir);
    let source = entering_process().arg("--").arg(lab_dir).args(argv).exec();
    Err(NodeError::Io {
        path: "ckslab".to_owned(),
        source,
    })
}

/// The exit code a shell gives for how a process ended.
#[must_use]
pub fn exit_code(status: std::process::ExitStatus) -> u8 {
    use std::os::unix::process::ExitStatusExt;
    let code = status
        .code()
        .or(status.signal().map(|signal| 128 + signal))
        .unwrap_or(255);
    u8::try_from(code).unwrap_or(255)
}
