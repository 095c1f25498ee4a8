//! Grading in five layers: the manifest on disk, the process that runs, the files as it sees them,
//! the log on the node, and fresh entries for requests the grader sends.
//!
//! Architecture invariant: grading knows a node only through [`crate::node::Node`], changes nothing
//! on it that outlives the grading, and computes everything before a renderer sees it.

pub mod argv;
pub mod checks;
pub mod detect;
pub mod entries;
pub mod facts;
pub mod log_tail;
pub mod pod;
pub mod policy;
pub mod probes;
pub mod render;
pub mod report;
mod requirement;
pub mod run;

pub use report::{CheckReport, CheckStatus, Report};
pub use run::{GradeError, Options, grade};
