//! The command line.

use crate::exit::Exit;

pub mod failure;
pub mod output;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> Exit {
    Exit::Ok
}
