//! What the container runtime and the programs it runs know of each other.

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
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
    /// Whether it has a network of its own instead of the node's.
    pub own_network: bool,
}

/// Standard output and error of a process: whole lines, without the line break.
pub trait Output: Send + Sync {
    /// Writes a line to standard output.
    fn stdout(&self, line: &str);
    /// Writes a line to standard error.
    fn stderr(&self, line: &str);
}

/// The programs the images of the control plane contain, by the name of the executable.
#[derive(Clone, Default)]
pub struct Programs {
    by_name: BTreeMap<String, Arc<dyn Program>>,
}

impl Programs {
    /// No programs.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a program under the name of its executable, such as `kube-apiserver`.
    #[must_use]
    pub fn with(mut self, name: &str, program: Arc<dyn Program>) -> Self {
        self.by_name.insert(name.to_owned(), program);
        self
    }

    /// The program of this name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Arc<dyn Program>> {
        self.by_name.get(name).cloned()
    }

    /// The names of all programs, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }
}

/// An operating-system error in the words of Go's `syscall.Errno` (which are Linux's, in lower
/// case): `no such file or directory`. Other errors keep their own text.
#[must_use]
pub fn go_error_text(error: &io::Error) -> String {
    use rustix::io::Errno;
    let Some(errno) = Errno::from_io_error(error) else {
        return error.to_string();
    };
    let text = match errno {
        Errno::PERM => "operation not permitted",
        Errno::NOENT => "no such file or directory",
        Errno::IO => "input/output error",
        Errno::NXIO => "no such device or address",
        Errno::BADF => "bad file descriptor",
        Errno::AGAIN => "resource temporarily unavailable",
        Errno::NOMEM => "cannot allocate memory",
        Errno::ACCESS => "permission denied",
        Errno::BUSY => "device or resource busy",
        Errno::EXIST => "file exists",
        Errno::XDEV => "invalid cross-device link",
        Errno::NODEV => "no such device",
        Errno::NOTDIR => "not a directory",
        Errno::ISDIR => "is a directory",
        Errno::INVAL => "invalid argument",
        Errno::NFILE => "too many open files in system",
        Errno::MFILE => "too many open files",
        Errno::FBIG => "file too large",
        Errno::NOSPC => "no space left on device",
        Errno::SPIPE => "illegal seek",
        Errno::ROFS => "read-only file system",
        Errno::PIPE => "broken pipe",
        Errno::NAMETOOLONG => "file name too long",
        Errno::NOTEMPTY => "directory not empty",
        Errno::LOOP => "too many levels of symbolic links",
        Errno::DQUOT => "disk quota exceeded",
        Errno::ADDRINUSE => "address already in use",
        Errno::CONNREFUSED => "connection refused",
        _ => {
            let text = error.to_string();
            let end = text.find(" (os error").unwrap_or(text.len());
            return text.get(..end).unwrap_or(&text).to_lowercase();
        }
    };
    text.to_owned()
}
