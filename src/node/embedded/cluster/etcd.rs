//! etcd as a program: it makes the store usable, and logs like etcd 3.6.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::node::embedded::machine::Machine;
use crate::node::embedded::process::{Process, Program};

/// The etcd of the control-plane node.
pub struct Etcd {
    machine: Arc<Machine>,
}

impl Etcd {
    /// The program, on this machine.
    #[must_use]
    pub fn new(machine: Arc<Machine>) -> Self {
        Self { machine }
    }
}

impl Program for Etcd {
    fn run(&self, process: Process) -> Pin<Box<dyn Future<Output = i32> + Send>> {
        Box::pin(run(self.machine.clone(), process))
    }
}

fn line(caller: &str, message: &str, more: &str) -> String {
    let time = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
    let comma = if more.is_empty() { "" } else { "," };
    format!(
        "{{\"level\":\"info\",\"ts\":\"{time}\",\"caller\":\"{caller}\",\"msg\":\"{message}\"{comma}{more}}}"
    )
}

async fn run(machine: Arc<Machine>, process: Process) -> i32 {
    let output = &process.output;
    let name = &machine.node_name;
    let ip = &machine.node_ip;
    if let Some(unknown) = process
        .argv
        .iter()
        .skip(1)
        .filter_map(|word| word.strip_prefix("--"))
        .map(|word| word.split('=').next().unwrap_or(word))
        .find(|flag| !FLAGS.contains(flag))
    {
        output.stderr(&format!("Error: unknown flag: --{unknown}"));
        return 2;
    }
    let argv: Vec<String> = process
        .argv
        .iter()
        .map(|word| format!("\"{word}\""))
        .collect();
    output.stderr(&line(
        "etcdmain/etcd.go:64",
        "Running: ",
        &format!("\"args\":[{}]", argv.join(",")),
    ));
    output.stderr(&line(
        "embed/etcd.go:138",
        "configuring peer listeners",
        &format!("\"listen-peer-urls\":[\"https://{ip}:2380\"]"),
    ));
    output.stderr(&line(
        "embed/etcd.go:146",
        "configuring client listeners",
        &format!("\"listen-client-urls\":[\"https://127.0.0.1:2379\",\"https://{ip}:2379\"]"),
    ));
    output.stderr(&line(
        "etcdserver/server.go:496",
        "started as single-node; fast-forwarding election ticks",
        "\"local-member-id\":\"6f1d4c7a3e2b9058\",\"forward-ticks\":9,\"election-ticks\":10",
    ));
    output.stderr(&line(
        "etcdserver/server.go:1804",
        "published local member to cluster through raft",
        &format!("\"local-member-id\":\"6f1d4c7a3e2b9058\",\"local-member-attributes\":\"{{Name:{name} ClientURLs:[https://{ip}:2379]}}\""),
    ));
    output.stderr(&line(
        "embed/serve.go:283",
        "serving client traffic securely",
        "\"traffic\":\"grpc+http\",\"address\":\"127.0.0.1:2379\"",
    ));
    machine.etcd_up.send_replace(true);
    process.terminate.cancelled().await;
    machine.etcd_up.send_replace(false);
    output.stderr(&line(
        "osutil/interrupt_unix.go:65",
        "received signal; shutting down",
        "\"signal\":\"terminated\"",
    ));
    output.stderr(&line(
        "embed/etcd.go:432",
        "closed etcd server",
        &format!("\"name\":\"{name}\""),
    ));
    0
}

/// Flags of etcd that manifests use.
const FLAGS: [&str; 43] = [
    "advertise-client-urls",
    "auto-compaction-mode",
    "auto-compaction-retention",
    "auto-tls",
    "cert-file",
    "cipher-suites",
    "client-cert-auth",
    "data-dir",
    "discovery",
    "election-timeout",
    "enable-pprof",
    "experimental-initial-corrupt-check",
    "experimental-watch-progress-notify-interval",
    "feature-gates",
    "force-new-cluster",
    "heartbeat-interval",
    "initial-advertise-peer-urls",
    "initial-cluster",
    "initial-cluster-state",
    "initial-cluster-token",
    "key-file",
    "listen-client-http-urls",
    "listen-client-urls",
    "listen-metrics-urls",
    "listen-peer-urls",
    "log-level",
    "log-outputs",
    "logger",
    "max-request-bytes",
    "max-snapshots",
    "max-txn-ops",
    "max-wals",
    "metrics",
    "name",
    "peer-auto-tls",
    "peer-cert-file",
    "peer-client-cert-auth",
    "peer-key-file",
    "peer-trusted-ca-file",
    "quota-backend-bytes",
    "snapshot-count",
    "trusted-ca-file",
    "watch-progress-notify-interval",
];
