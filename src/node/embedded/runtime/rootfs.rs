//! The file system a container sees: its mounts over a writable layer of its own.

use std::io;
use std::path::PathBuf;

/// A mount of a container.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Mount {
    /// Name of the volume.
    pub name: String,
    /// Path in the container.
    pub container_path: String,
    /// Path on the node (within the node root), or within the pod's own directory for other volumes.
    pub node_path: String,
    /// Whether writes fail with `read-only file system`.
    pub read_only: bool,
}

/// The file system of a container. Every path is a path inside the container.
#[derive(Debug, Clone)]
pub struct Rootfs {
    node_root: PathBuf,
    writable_layer: PathBuf,
    mounts: Vec<Mount>,
}

impl Rootfs {
    /// A file system of these mounts over a writable layer (a directory on the host).
    #[must_use]
    pub fn new(node_root: PathBuf, writable_layer: PathBuf, mounts: Vec<Mount>) -> Self {
        Self {
            node_root,
            writable_layer,
            mounts,
        }
    }

    /// The mounts.
    #[must_use]
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// As `open` and `read` in the container; `FileTooLarge` past the limit.
    pub fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let _ = (path, limit, &self.node_root, &self.writable_layer);
        Err(io::ErrorKind::NotFound.into())
    }

    /// Opens a file for appending, creating it with `mode`.
    ///
    /// # Errors
    /// As `open(O_WRONLY|O_APPEND|O_CREAT)` in the container.
    pub fn append(&self, path: &str, mode: u32) -> io::Result<std::fs::File> {
        let _ = (path, mode);
        Err(io::ErrorKind::NotFound.into())
    }

    /// Makes a directory and its parents.
    ///
    /// # Errors
    /// As `mkdir` in the container.
    pub fn create_dir_all(&self, path: &str, mode: u32) -> io::Result<()> {
        let _ = (path, mode);
        Err(io::ErrorKind::NotFound.into())
    }

    /// Renames within a directory.
    ///
    /// # Errors
    /// As `rename` in the container (`EBUSY` for a mount point).
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let _ = (from, to);
        Err(io::ErrorKind::NotFound.into())
    }

    /// Removes a file.
    ///
    /// # Errors
    /// As `unlink` in the container.
    pub fn remove_file(&self, path: &str) -> io::Result<()> {
        let _ = path;
        Err(io::ErrorKind::NotFound.into())
    }

    /// Names in a directory, sorted.
    ///
    /// # Errors
    /// As `readdir` in the container.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let _ = path;
        Err(io::ErrorKind::NotFound.into())
    }

    /// Metadata of a file, links followed.
    ///
    /// # Errors
    /// As `stat` in the container.
    pub fn metadata(&self, path: &str) -> io::Result<std::fs::Metadata> {
        let _ = path;
        Err(io::ErrorKind::NotFound.into())
    }
}
