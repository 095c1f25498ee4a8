//! How fast the embedded node lives.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Exam pace, or everything that waits shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pace {
    /// As long as on a real node.
    Real,
    /// Shortened: an edit is live within a second.
    #[default]
    Fast,
}

impl Pace {
    /// How much shorter waits are in fast pace.
    pub const FAST_DIVISOR: u32 = 50;

    /// A wait of the real node, at this pace.
    #[must_use]
    pub fn scale(self, real: Duration) -> Duration {
        match self {
            Pace::Real => real,
            Pace::Fast => real / Self::FAST_DIVISOR,
        }
    }
}
