//! ckslab: a practice lab for Kubernetes audit logging.
//!
//! Modules import downward only, in the order of this list (the last imports none of ours):
//! `cli` → `lab` → `grade` → `scenario` → `node` → `manifest` → `audit` → `yaml`.
//! `exit` and `style` belong to the edge (`cli`) alone.

pub mod audit;
pub mod cli;
pub mod exit;
pub mod grade;
pub mod lab;
pub mod manifest;
pub mod node;
pub mod scenario;
pub mod style;
pub mod yaml;
