//! The rest of the cluster: bootstrap objects, controllers, scheduler, node agents.
//!
//! Controllers read the store as real ones read their caches, and write through the API server, under
//! their own names, so that the audit log shows what a real cluster's shows.

pub mod actor;
pub mod agent;
pub mod api_server;
pub mod bootstrap;
pub mod controllers;
pub mod etcd;
pub mod informers;
pub mod lease;
pub mod mirror;
pub mod object;
pub mod scheduler;
pub mod workload;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::machine::Machine;

pub use controllers::KubeControllerManager;
pub use etcd::Etcd;
pub use scheduler::KubeScheduler;

/// Name of the worker.
pub const WORKER: &str = "node01";

/// Everything that runs outside the control plane's containers, until `shutdown`: the kubelets' dealings
/// with the API server, and the API server's dealings with itself.
pub async fn run(machine: Arc<Machine>, shutdown: CancellationToken) {
    let first = agent::run(machine.clone(), machine.node_name.clone(), 0);
    let second = agent::run(machine.clone(), WORKER.to_owned(), 1);
    let mirrors = mirror::run(machine.clone());
    let own = api_server::run(machine.clone());
    let workload = workload::run(machine.clone());
    tokio::select! {
        () = shutdown.cancelled() => {}
        _ = async { tokio::join!(first, second, mirrors, own, workload) } => {}
    }
}
