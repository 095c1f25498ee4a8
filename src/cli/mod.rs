//! The command line.

use crate::exit::Exit;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> Exit {
    Exit::Ok
}
