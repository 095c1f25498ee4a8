//! The kind engine: the control-plane node of a real cluster in Docker or Podman.
//!
//! Clusters are driven through the `kind` and `docker` (or `podman`) commands, so that a learner can type
//! what we do. Everything that is asked of a node goes through one `docker exec` ([`session`]).
//!
//! Architecture invariant: no cluster, container or kubeconfig but ckslab's own is touched; every call of
//! kind names the cluster and the kubeconfig.

pub mod cluster;
pub mod command;
pub mod config;
pub mod engine;
pub mod files;
pub mod identity;
pub mod image;
pub mod interrupt;
pub mod lock;
pub mod look;
pub mod node;
pub mod nodes;
pub mod objects;
pub mod pristine;
pub mod process;
pub mod progress;
pub mod provider;
pub mod record;
pub mod session;
pub mod settle;
pub mod sinks;
pub mod supply;
pub mod trouble;
pub mod tunnel;
