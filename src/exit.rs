//! The exit codes of the command line: a stable contract.

use std::process::{ExitCode, Termination};

/// How a `ckslab` command ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or graded and passed.
    Ok,
    /// Graded and not passed; or a negative answer.
    NotPassed,
    /// The command line itself is wrong.
    Usage,
    /// A scenario, policy or manifest given as input is invalid.
    InvalidInput,
    /// Something the command needs is missing or in the way: no lab, no Docker, a port taken.
    Environment,
    /// A defect of ckslab.
    Internal,
    /// A command run inside the node ended with this code (`ckslab exec`).
    Passed(u8),
}

impl Exit {
    /// The number the process ends with.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Exit::Ok => 0,
            Exit::NotPassed => 1,
            Exit::Usage => 2,
            Exit::InvalidInput => 3,
            Exit::Environment => 4,
            Exit::Internal => 70,
            Exit::Passed(code) => code,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
