//! Errors at the edge: a message, the exit code that goes with it, and the next command worth typing.

use std::fmt;

use crate::exit::Exit;
use crate::lab;
use crate::scenario::ScenarioError;

/// A command that could not do what it was asked, for a reason the user can act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What is wrong: lower case, no final period, user input in back-ticks.
    pub message: String,
    /// What to do next, as one line.
    pub hint: Option<String>,
}

impl Failure {
    /// The command line itself is wrong.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A scenario, policy or manifest given as input is invalid.
    #[must_use]
    pub fn input(message: impl Into<String>) -> Self {
        Self::new(Exit::InvalidInput, message)
    }

    /// Something the command needs is missing or in the way.
    #[must_use]
    pub fn environment(message: impl Into<String>) -> Self {
        Self::new(Exit::Environment, message)
    }

    /// A failure with this exit code.
    #[must_use]
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
            hint: None,
        }
    }

    /// Adds the next step.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The exit code that goes with an error of a lab.
fn exit_of_lab(error: &lab::Error) -> Exit {
    match error {
        lab::Error::Differs { .. } => Exit::Usage,
        lab::Error::NotOn { .. } => Exit::Usage,
        lab::Error::Setup { .. } | lab::Error::Invalid { .. } => Exit::InvalidInput,
        lab::Error::Scenario(ScenarioError::Unknown { .. }) => Exit::Usage,
        lab::Error::Scenario(_) => Exit::InvalidInput,
        _ => Exit::Environment,
    }
}

/// What an error means for the process: its exit code and the hint that goes with it.
#[must_use]
pub fn verdict(error: &anyhow::Error) -> (Exit, Option<String>) {
    for cause in error.chain() {
        if let Some(failure) = cause.downcast_ref::<Failure>() {
            return (failure.exit, failure.hint.clone());
        }
        if let Some(error) = cause.downcast_ref::<lab::Error>() {
            return (exit_of_lab(error), error.hint());
        }
        if let Some(error) = cause.downcast_ref::<crate::node::NodeError>() {
            return match error {
                crate::node::NodeError::NotRunning(_) => {
                    (Exit::Environment, Some("ckslab status".to_owned()))
                }
                crate::node::NodeError::Unreachable { hint, .. } => {
                    (Exit::Environment, Some(hint.clone()))
                }
                _ => (Exit::Environment, None),
            };
        }
        if let Some(error) = cause.downcast_ref::<std::io::Error>() {
            return match error.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => (
                    Exit::Environment,
                    Some("free some space, then run the command again".to_owned()),
                ),
                std::io::ErrorKind::NotFound
                | std::io::ErrorKind::PermissionDenied
                | std::io::ErrorKind::ReadOnlyFilesystem
                | std::io::ErrorKind::IsADirectory
                | std::io::ErrorKind::NotADirectory => (Exit::Environment, None),
                _ => (Exit::Internal, None),
            };
        }
    }
    (Exit::Internal, None)
}

/// Whether an error only says that the reader of our output went away.
#[must_use]
pub fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    })
}
