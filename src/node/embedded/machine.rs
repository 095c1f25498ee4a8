//! What the programs of one embedded node share: its identity, network, etcd, the running API server.

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::apiserver::api::ApiResponse;
use super::apiserver::request::UserInfo;
use super::containers::Containers;
use super::pace::Pace;
use super::sockets::Sockets;
use super::store::Store;

/// The simulated machine of a lab.
pub struct Machine {
    /// Pace of everything that waits.
    pub pace: Pace,
    /// Name of the node: `controlplane`.
    pub node_name: String,
    /// Address of the node as manifests and objects show it.
    pub node_ip: String,
    /// The loopback port of the host that leads to port 6443 of the node.
    pub api_port: u16,
    /// Host directory that is the node's `/`.
    pub node_root: PathBuf,
    /// Host directory for state of the simulation (store, writable layers, snapshot, journal).
    pub state_dir: PathBuf,
    /// The data of etcd; usable by the API server only while `etcd_up`.
    pub store: Store,
    /// Whether the etcd container runs.
    pub etcd_up: watch::Sender<bool>,
    /// Counts the snapshots the kubelet wrote, for who follows them within this process.
    pub snapshots: watch::Sender<u64>,
    /// The API server that serves now, for controllers and agents inside the node process.
    pub api: watch::Sender<Option<Arc<dyn LocalApi>>>,
    /// Containers of pods that are not static.
    pub containers: Containers,
    /// Sockets of programs that say when they listen.
    pub sockets: Sockets,
}

/// In-process access to the running API server: same pipeline (authorisation, audit) as over TLS.
pub trait LocalApi: Send + Sync {
    /// Makes a request as this user.
    fn call(&self, request: LocalRequest)
    -> Pin<Box<dyn Future<Output = ApiResponse> + Send + '_>>;
}

/// A request from inside the node process.
#[derive(Debug, Clone)]
pub struct LocalRequest {
    /// The authenticated user (groups include `system:authenticated`).
    pub user: UserInfo,
    /// `User-Agent`.
    pub user_agent: String,
    /// Address the request comes from.
    pub source_ip: String,
    /// HTTP method.
    pub method: http::Method,
    /// Path and query.
    pub path_and_query: String,
    /// `Content-Type` of the body (`application/json`, a patch type...).
    pub content_type: String,
    /// Body.
    pub body: Option<Value>,
}
