//! Kubernetes audit: the policy and its loader, rule evaluation, options, events and logs.
//!
//! Pure: no I/O but readers given by the caller, no async, no engine.

pub mod catalog;
pub mod compare;
pub mod evaluate;
pub mod event;
pub mod explain;
pub mod level;
pub mod lint;
pub mod log;
pub mod options;
pub mod outcome;
pub mod policy;
