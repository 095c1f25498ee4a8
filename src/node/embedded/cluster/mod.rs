//! The rest of the cluster: bootstrap objects, controllers, scheduler, node agents.

pub mod bootstrap;
