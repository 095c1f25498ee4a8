//! Why the kind engine cannot go on, and the next step.

use super::command::Failure;
use crate::node::NodeError;
use crate::node::engine::EngineError;

/// Something of this machine is missing or in the way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Trouble {
    /// What: lower case, no final period.
    pub reason: String,
    /// The next step.
    pub hint: String,
}

impl Trouble {
    /// With the next step.
    #[must_use]
    pub fn new(reason: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            hint: hint.into(),
        }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::new(failure.to_string(), "ckslab doctor")
    }
}

impl From<Trouble> for EngineError {
    fn from(trouble: Trouble) -> Self {
        EngineError::Missing {
            reason: trouble.reason,
            hint: trouble.hint,
        }
    }
}

impl From<Trouble> for NodeError {
    fn from(trouble: Trouble) -> Self {
        NodeError::Unreachable {
            reason: trouble.reason,
            hint: trouble.hint,
        }
    }
}
