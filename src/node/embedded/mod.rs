//! The embedded engine: a control-plane node that ckslab simulates itself.
//!
//! Layers, as on a real node: node root (files, PKI), kubelet, container runtime, API server,
//! the rest of the cluster (store, controllers, agents), node tools.

pub mod apiserver;
pub mod background;
pub mod cluster;
pub mod confine;
pub mod containers;
pub mod daemon;
pub mod engine;
pub mod inside;
pub mod kubelet;
pub mod machine;
pub mod objects;
pub mod pace;
pub mod port;
pub mod ports;
pub mod process;
pub mod root;
pub mod runtime;
pub mod sinks;
pub mod snapshot;
pub mod sockets;
pub mod store;
pub mod tools;
pub mod version;
pub mod witness;
pub mod workload;
