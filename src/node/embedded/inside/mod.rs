//! Commands inside the node: in a private mount namespace where the system allows one, else only
//! what can be mapped to the node root.
//!
//! Architecture invariant: a path a learner gives to a command on the node never reaches the host's
//! own `/etc` or `/var`.

use std::fs;
use std::io;
use std::path::PathBuf;

use super::daemon::Config;
use crate::node::{ExecOutput, NodeError};

pub mod mapped;

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
    /// What this system allows.
    #[must_use]
    pub fn probe() -> Self {
        Way::Mapped {
            reason: "not on this system".to_owned(),
        }
    }

    /// Finds the way that works on this system.
    #[must_use]
    pub fn find(config: &Config) -> Self {
        let _ = config;
        Way::Mapped {
            reason: "not on this system".to_owned(),
        }
    }
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
        Way::Namespace | Way::Mapped { .. } => mapped::run(
            config,
            argv,
            &mut io::stdin(),
            &mut io::stdout(),
            &mut io::stderr(),
        ),
    }
}

/// Runs a command and keeps what it writes. Only commands that can be mapped.
///
/// # Errors
/// When it cannot be run.
pub fn capture(config: &Config, argv: &[String], stdin: &[u8]) -> Result<ExecOutput, NodeError> {
    let mut output = ExecOutput::default();
    let mut input = stdin;
    output.code = mapped::run(
        config,
        argv,
        &mut input,
        &mut output.stdout,
        &mut output.stderr,
    )?;
    Ok(output)
}

/// Opens a shell with this process's standard streams; gives its exit code.
///
/// # Errors
/// When no shell can be started.
pub fn shell(config: &Config, way: &Way) -> Result<u8, NodeError> {
    let _ = way;
    let shell = std::env::var_os("SHELL")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute() && path.is_file())
        .unwrap_or_else(|| PathBuf::from("/bin/sh"));
    let status = std::process::Command::new(&shell)
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
