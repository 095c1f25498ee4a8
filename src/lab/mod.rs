//! Labs: a started scenario, its directory, its background process, its life.
//!
//! `HOME/labs/ID/{lab.json, node/, state/, records/}`: `node` is the node's `/`, `state` belongs to
//! the engine, `records` and `lab.json` to ckslab. Nothing is written outside of `HOME`.

use std::io;
use std::path::Path;

use crate::node::engine::EngineError;
use crate::node::go_error_text;
use crate::scenario::ScenarioError;

pub mod config;
pub mod gate;
pub mod home;
pub mod life;
pub mod live_rehearsal;
pub mod lock;
pub mod mutation;
pub mod progress;
pub mod record;
pub mod rehearsal;

pub use home::Home;
pub use life::{Lab, Plan, Started};
pub use record::Record;

/// Why a lab could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No lab was ever started, or the active one was removed.
    #[error("no lab is started")]
    NoLab,
    /// There is no lab of this scenario.
    #[error("no lab `{0}` is started")]
    Unknown(String),
    /// The lab was stopped by the user.
    #[error("lab `{0}` is stopped")]
    Stopped(String),
    /// The setup of the lab was interrupted, or is being played now.
    #[error("lab `{0}` is not set up yet")]
    Unfinished(String),
    /// Another command works on this lab for a long time.
    #[error("another ckslab command is working on lab `{0}`")]
    Busy(String),
    /// The lab exists with other options.
    #[error("lab `{lab}` is already started with {option} `{value}`")]
    Differs {
        /// Lab.
        lab: String,
        /// `seed`, `pace`, `engine`, or what engines know.
        option: &'static str,
        /// The value it has.
        value: String,
    },
    /// `lab.json` cannot be understood.
    #[error("the record of lab `{lab}` is damaged: {reason}")]
    Damaged {
        /// Lab.
        lab: String,
        /// What is wrong.
        reason: String,
    },
    /// The lab was made by a newer ckslab.
    #[error("lab `{lab}` was made by a newer ckslab (format {format})")]
    Newer {
        /// Lab.
        lab: String,
        /// Its format.
        format: u32,
    },
    /// The system said no.
    #[error("cannot {what}: {}", go_error_text(source))]
    Io {
        /// What was tried.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// The background process did not come up.
    #[error("the node of lab `{lab}` did not start: {reason}")]
    NotStarted {
        /// Lab.
        lab: String,
        /// Its last words.
        reason: String,
    },
    /// Something of this machine that the engine needs is missing or does not answer.
    #[error("{reason}")]
    Missing {
        /// What.
        reason: String,
        /// The next step.
        hint: String,
    },
    /// What the user gave for the node is wrong.
    #[error("{reason}")]
    Invalid {
        /// What.
        reason: String,
        /// The next step.
        hint: String,
    },
    /// The scenario does not work on this engine.
    #[error("scenario `{scenario}` does not work on the engine {engine}: {reason}")]
    NotOn {
        /// Scenario.
        scenario: String,
        /// Engine.
        engine: &'static str,
        /// Why.
        reason: String,
    },
    /// The scenario could not be set up.
    #[error("cannot set up scenario `{scenario}`: {reason}")]
    Setup {
        /// Scenario.
        scenario: String,
        /// What went wrong.
        reason: String,
    },
    /// There is no such scenario, or it is wrong.
    #[error(transparent)]
    Scenario(#[from] ScenarioError),
    /// No directory for state is known.
    #[error("cannot tell where to keep labs: {0}")]
    NoHome(String),
}

impl Error {
    /// An input or output error, with what was tried.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Error::Io { what, source }
    }

    /// An error of the engine, with the lab it is about.
    pub(crate) fn engine(lab: &str) -> impl FnOnce(EngineError) -> Self {
        let lab = lab.to_owned();
        move |error| match error {
            EngineError::NotStarted(reason) => Error::NotStarted { lab, reason },
            EngineError::Busy => Error::Busy(lab),
            EngineError::Damaged(reason) => Error::Damaged { lab, reason },
            EngineError::Io { what, source } => Error::Io { what, source },
            EngineError::Missing { reason, hint } => Error::Missing { reason, hint },
            EngineError::Invalid { reason, hint } => Error::Invalid { reason, hint },
        }
    }

    /// The next command worth typing.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Error::NoLab => "ckslab list, then ckslab start audit-01".to_owned(),
            Error::Unknown(lab) if !home::is_id(lab) => "ckslab list".to_owned(),
            Error::Unknown(lab) | Error::Stopped(lab) | Error::Unfinished(lab) => {
                format!("ckslab start {lab}")
            }
            Error::Busy(_) => "wait a moment, then run the command again".to_owned(),
            Error::Differs { lab, .. } => {
                format!(
                    "ckslab stop {lab} first: your work in it is dropped at the next start with other options"
                )
            }
            Error::Damaged { lab, .. } | Error::NotStarted { lab, .. } => {
                format!("ckslab reset {lab}")
            }
            Error::Newer { .. } => "update ckslab, or use another CKSLAB_HOME".to_owned(),
            Error::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "free some space, then run the command again".to_owned()
                }
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                    "set CKSLAB_HOME to a directory you can write".to_owned()
                }
                _ => "ckslab doctor".to_owned(),
            },
            Error::NoHome(_) => "set CKSLAB_HOME to a directory you can write".to_owned(),
            Error::Missing { hint, .. } | Error::Invalid { hint, .. } => hint.clone(),
            Error::NotOn { scenario, .. } => format!("ckslab start {scenario} --engine embedded"),
            // The texts of scenario errors carry their own.
            Error::Setup { .. } | Error::Scenario(_) => return None,
        };
        Some(hint)
    }
}

/// Names a path in an error.
fn at(verb: &str, path: &Path) -> String {
    format!("{verb} `{}`", path.display())
}
