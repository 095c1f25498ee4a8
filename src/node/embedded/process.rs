//! What the container runtime and the programs it runs know of each other.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::runtime::rootfs::Rootfs;

/// A program an image contains: the API server, etcd, the controller manager, the scheduler.
pub trait Program: Send + Sync {
    /// Runs the program until it ends; gives its exit code.
    fn run(&self, process: Process) -> Pin<Box<dyn Future<Output = i32> + Send>>;
}

/// A process inside a container.
pub struct Process {
    /// Command line, program name first.
    pub argv: Vec<String>,
    /// The file system it sees.
    pub rootfs: Arc<Rootfs>,
    /// Where its standard output and error go.
    pub output: Arc<dyn Output>,
    /// Set when it is asked to end (SIGTERM).
    pub terminate: CancellationToken,
    /// Its process id on the node (simulated).
    pub pid: u32,
}

/// Standard output and error of a process: whole lines, without the line break.
pub trait Output: Send + Sync {
    /// Writes a line to standard output.
    fn stdout(&self, line: &str);
    /// Writes a line to standard error.
    fn stderr(&self, line: &str);
}
