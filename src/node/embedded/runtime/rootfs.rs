//! The file system a container sees: its mounts over a writable layer of its own.

use std::fs::File;
use std::io;
use std::path::PathBuf;

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::device::Device;
use crate::manifest::path::clean;
use crate::node::embedded::confine::Confined;

/// Links followed before a path counts as a loop, as in Linux.
const MAX_LINKS: usize = 40;
/// What new files in a container lack.
const UMASK: u32 = 0o022;

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
///
/// A file that is mounted itself is bound by its inode: a file that an editor later puts in its
/// place on the node is not seen, as with a real bind mount. The bound inode is kept alive by a
/// hard link beside the writable layer, so that another process can look through it too.
#[derive(Debug, Clone)]
pub struct Rootfs {
    node_root: PathBuf,
    writable_layer: PathBuf,
    mounts: Vec<Mount>,
    unprivileged: bool,
    read_only: bool,
}

/// What backs a path of the container.
struct Place {
    /// The directory on the host the path is in.
    files: Confined,
    /// The path within it.
    path: String,
    /// Number of the mount; `None` for the writable layer.
    mount: Option<usize>,
    /// Whether the path is the mount point itself.
    is_mount_point: bool,
    read_only: bool,
}

impl Rootfs {
    /// A file system of these mounts over a writable layer (a directory on the host).
    #[must_use]
    pub fn new(node_root: PathBuf, writable_layer: PathBuf, mounts: Vec<Mount>) -> Self {
        Self {
            node_root,
            writable_layer,
            mounts,
            unprivileged: false,
            read_only: false,
        }
    }

    /// The same with a writable layer that is none (`readOnlyRootFilesystem`).
    #[must_use]
    pub fn read_only(self, read_only: bool) -> Self {
        Self { read_only, ..self }
    }

    /// As a process of this user sees it.
    #[must_use]
    pub fn seen_by(self, user: u32) -> Self {
        if user == 0 { self } else { self.unprivileged() }
    }

    /// As a user other than root sees it: files are root's, so that the last three bits of their
    /// modes decide.
    #[must_use]
    pub fn unprivileged(self) -> Self {
        Self {
            unprivileged: true,
            ..self
        }
    }

    /// Fails where a user other than root may not do this: 4 is reading, 2 is writing.
    fn permit(&self, path: &str, bit: u32) -> io::Result<()> {
        use std::os::unix::fs::PermissionsExt;
        if self.unprivileged && self.metadata(path)?.permissions().mode() & bit == 0 {
            return Err(Errno::ACCESS.into());
        }
        Ok(())
    }

    /// Whether a file may be written: itself if it is there, else its directory.
    fn permit_writing(&self, path: &str) -> io::Result<()> {
        if !self.unprivileged {
            return Ok(());
        }
        match self.permit(path, 2) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.permit(path.rsplit_once('/').map_or("/", |(parent, _)| parent), 2)
            }
            permitted => permitted,
        }
    }

    /// The mounts.
    #[must_use]
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// The writable layer on the host.
    #[must_use]
    pub fn writable_layer(&self) -> &std::path::Path {
        &self.writable_layer
    }

    /// Makes the writable layer and the mount points, as the runtime does before it starts the
    /// process; binds files that are mounted themselves.
    ///
    /// # Errors
    /// As `mkdir` and `open` on the node, with the mount that could not be made.
    pub fn prepare(&self) -> Result<(), (Mount, io::Error)> {
        let layer = Confined::new(&self.writable_layer);
        let made = std::fs::create_dir_all(&self.writable_layer);
        let unnamed = |error| {
            let mount = Mount {
                name: String::new(),
                container_path: "/".into(),
                node_path: "/".into(),
                read_only: false,
            };
            (mount, error)
        };
        made.map_err(unnamed)?;
        for dir in [
            "/dev",
            "/etc",
            "/proc",
            "/root",
            "/sys",
            "/tmp",
            "/usr/local/bin",
            "/var",
        ] {
            layer.create_dir_all(dir, 0o755).map_err(unnamed)?;
        }
        let node = Confined::new(&self.node_root);
        // Parents first, so that a mount inside another one gets its mount point there.
        let mut order: Vec<(usize, &Mount)> = self.mounts.iter().enumerate().collect();
        order.sort_by_key(|(_, mount)| normal(&mount.container_path));
        for (index, mount) in order {
            let is_dir = node.metadata(&mount.node_path).map(|m| m.is_dir());
            let result = is_dir.and_then(|is_dir| {
                self.mount_point(mount, is_dir)?;
                if !is_dir {
                    self.bind(index, &node, mount);
                }
                Ok(())
            });
            result.map_err(|error| (mount.clone(), error))?;
        }
        Ok(())
    }

    fn mount_point(&self, mount: &Mount, is_dir: bool) -> io::Result<()> {
        let point = normal(&mount.container_path);
        let covered = self.without_own_mount(&point);
        if covered.metadata(&point).is_ok() {
            return Ok(());
        }
        if is_dir {
            return covered.create_dir_all(&point, 0o755);
        }
        if let Some((parent, _)) = point.rsplit_once('/') {
            covered.create_dir_all(parent, 0o755)?;
        }
        covered.append(&point, 0o755).map(drop)
    }

    /// This file system as it is before anything is mounted at `point` or below.
    fn without_own_mount(&self, point: &str) -> Self {
        let below = format!("{}/", point.trim_end_matches('/'));
        let mut other = self.clone();
        other.read_only = false;
        other.unprivileged = false;
        for mount in &mut other.mounts {
            let at = normal(&mount.container_path);
            if at == point || at.starts_with(&below) {
                // Matches no path. Removing it would shift the numbers of the binds.
                mount.container_path = "\0".into();
            }
        }
        other
    }

    /// Keeps the inode of a mounted file. Where that fails (another file system) the mount goes
    /// by path, which differs only for files replaced later.
    fn bind(&self, index: usize, node: &Confined, mount: &Mount) {
        let binds = self.binds();
        if std::fs::create_dir_all(&binds).is_err() {
            return;
        }
        let link = binds.join(index.to_string());
        let _ = std::fs::remove_file(&link);
        if let Ok(path) = node.canonical(&mount.node_path) {
            let source = self.node_root.join(path.trim_start_matches('/'));
            let _ = std::fs::hard_link(source, link);
        }
    }

    fn binds(&self) -> PathBuf {
        self.writable_layer.with_file_name("binds")
    }

    /// Reads a whole file of at most `limit` bytes.
    ///
    /// # Errors
    /// As `open` and `read` in the container; `EFBIG` past the limit.
    pub fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        self.permit(path, 4)?;
        let place = self.resolve(path, true)?;
        place.files.read(&place.path, limit)
    }

    /// Opens a file for reading; anything but a regular file is refused.
    ///
    /// # Errors
    /// As `open` in the container.
    pub fn open(&self, path: &str) -> io::Result<File> {
        self.permit(path, 4)?;
        let place = self.resolve(path, true)?;
        let file = place.files.open(&place.path)?;
        if file.metadata()?.is_file() {
            Ok(file)
        } else {
            Err(Errno::INVAL.into())
        }
    }

    /// Opens a file for appending, creating it with `mode`.
    ///
    /// # Errors
    /// As `open(O_WRONLY|O_APPEND|O_CREAT)` in the container.
    pub fn append(&self, path: &str, mode: u32) -> io::Result<File> {
        self.permit_writing(path)?;
        let place = self.resolve(path, true)?;
        if place.files.metadata(&place.path).is_ok_and(|m| m.is_dir()) {
            return Err(Errno::ISDIR.into());
        }
        place.writable()?;
        place.files.append(&place.path, mode)
    }

    /// Opens a file for writing from its beginning, emptied; one that is made gets `mode` less what
    /// the umask of a container (0022) takes away.
    ///
    /// # Errors
    /// As `open(O_WRONLY|O_CREAT|O_TRUNC)` in the container.
    pub fn create(&self, path: &str, mode: u32) -> io::Result<File> {
        self.permit_writing(path)?;
        let file = self.append(path, mode & !UMASK)?;
        file.set_len(0)?;
        let flags = rustix::fs::fcntl_getfl(&file)?;
        rustix::fs::fcntl_setfl(&file, flags - OFlags::APPEND)?;
        Ok(file)
    }

    /// Gives a file away, as root may. A node process that is not root may not: the file stays its own.
    ///
    /// # Errors
    /// As `chown` in the container.
    pub fn set_owner(&self, path: &str, uid: u32, gid: u32) -> io::Result<()> {
        let place = self.resolve(path, true)?;
        place.writable()?;
        let file = place.files.open(&place.path)?;
        match std::os::unix::fs::fchown(&file, Some(uid), Some(gid)) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
            other => other,
        }
    }

    /// The device a path leads to. A file that was put in its place hides it.
    #[must_use]
    pub fn device(&self, path: &str) -> Option<Device> {
        let plain = || {
            self.place(
                &reversed(&normal(path))
                    .into_iter()
                    .rev()
                    .collect::<Vec<_>>(),
            )
        };
        // Nothing of /proc is there to be walked through.
        let place = self.resolve(path, true).unwrap_or_else(|_| plain());
        if place.mount.is_some() || place.files.symlink_metadata(&place.path).is_ok() {
            return None;
        }
        Device::at(&place.path)
    }

    /// Writes a whole file.
    ///
    /// # Errors
    /// As `open(O_WRONLY|O_CREAT|O_TRUNC)` and `write` in the container.
    pub fn write(&self, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        use std::io::Write;
        let mut file = self.append(path, mode)?;
        file.set_len(0)?;
        file.write_all(bytes)
    }

    /// Makes a directory and its parents.
    ///
    /// # Errors
    /// As `mkdir` in the container.
    pub fn create_dir_all(&self, path: &str, mode: u32) -> io::Result<()> {
        let mut so_far = String::new();
        for component in path.split('/').filter(|c| !c.is_empty()) {
            so_far.push('/');
            so_far.push_str(component);
            let place = self.resolve(&so_far, true)?;
            match place.files.metadata(&place.path) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Err(Errno::NOTDIR.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    place.writable()?;
                    place.files.create_dir_all(&place.path, mode)?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Renames within a directory.
    ///
    /// # Errors
    /// As `rename` in the container (`EBUSY` for a mount point).
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let from = self.resolve(from, false)?;
        let to = self.resolve(to, false)?;
        from.writable()?;
        to.writable()?;
        if from.is_mount_point || to.is_mount_point {
            return Err(Errno::BUSY.into());
        }
        if from.mount != to.mount {
            return Err(Errno::XDEV.into());
        }
        from.files.rename(&from.path, &to.path)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// As `unlink` in the container.
    pub fn remove_file(&self, path: &str) -> io::Result<()> {
        let place = self.resolve(path, false)?;
        place.writable()?;
        if place.is_mount_point {
            return Err(Errno::BUSY.into());
        }
        place.files.remove_file(&place.path)
    }

    /// Names in a directory, sorted.
    ///
    /// # Errors
    /// As `readdir` in the container.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let place = self.resolve(path, true)?;
        place.files.list(&place.path)
    }

    /// Metadata of a file, links followed.
    ///
    /// # Errors
    /// As `stat` in the container.
    pub fn metadata(&self, path: &str) -> io::Result<std::fs::Metadata> {
        let place = self.resolve(path, true)?;
        place.files.metadata(&place.path)
    }

    /// Metadata of the last component itself, even when it is a link.
    ///
    /// # Errors
    /// As `lstat` in the container.
    pub fn symlink_metadata(&self, path: &str) -> io::Result<std::fs::Metadata> {
        let place = self.resolve(path, false)?;
        place.files.symlink_metadata(&place.path)
    }

    /// Resolves a path with the links of the container: an absolute link inside a mount leads to
    /// a path of the container, not of the node.
    fn resolve(&self, path: &str, follow_last: bool) -> io::Result<Place> {
        if path.is_empty() {
            return Err(Errno::NOENT.into());
        }
        let mut todo: Vec<String> = reversed(path);
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(component) = todo.pop() {
            if component == ".." {
                done.pop();
                continue;
            }
            done.push(component);
            let place = self.place(&done);
            let is_last = todo.is_empty();
            if place.is_mount_point {
                if !is_last && !place.files.metadata(&place.path)?.is_dir() {
                    return Err(Errno::NOTDIR.into());
                }
                continue;
            }
            match place.files.symlink_metadata(&place.path) {
                Ok(metadata) if metadata.file_type().is_symlink() => {
                    if is_last && !follow_last {
                        continue;
                    }
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = place.files.read_link(&place.path)?;
                    done.pop();
                    if target.starts_with('/') {
                        done.clear();
                    }
                    todo.extend(reversed(&target));
                }
                Ok(metadata) if !is_last && !metadata.is_dir() => {
                    return Err(Errno::NOTDIR.into());
                }
                Err(error) if !is_last => return Err(error),
                _ => {}
            }
        }
        Ok(self.place(&done))
    }

    /// What backs a path that contains no links. The last of the longest matching mounts wins.
    fn place(&self, components: &[String]) -> Place {
        let path = format!("/{}", components.join("/"));
        let mut best: Option<(usize, String, &Mount)> = None;
        for (index, mount) in self.mounts.iter().enumerate() {
            let at = normal(&mount.container_path);
            let inside = at == "/" || path == at || path.starts_with(&format!("{at}/"));
            if inside && best.as_ref().is_none_or(|(_, b, _)| at.len() >= b.len()) {
                best = Some((index, at, mount));
            }
        }
        let Some((index, at, mount)) = best else {
            return Place {
                files: Confined::new(&self.writable_layer),
                path,
                mount: None,
                is_mount_point: false,
                read_only: self.read_only,
            };
        };
        let rest = path.strip_prefix(at.trim_end_matches('/')).unwrap_or("");
        let bound = self.binds().join(index.to_string());
        let is_mount_point = rest.is_empty() || rest == "/";
        let (files, path) = if is_mount_point && bound.symlink_metadata().is_ok() {
            (Confined::new(&self.binds()), format!("/{index}"))
        } else {
            let node_path = format!("{}{rest}", mount.node_path.trim_end_matches('/'));
            (Confined::new(&self.node_root), node_path)
        };
        Place {
            files,
            path: if path.is_empty() { "/".into() } else { path },
            mount: Some(index),
            is_mount_point,
            read_only: mount.read_only,
        }
    }
}

impl Place {
    fn writable(&self) -> io::Result<()> {
        if self.read_only {
            return Err(Errno::ROFS.into());
        }
        Ok(())
    }
}

/// A mount path without repeated or trailing slashes; relative ones are taken from `/`.
fn normal(path: &str) -> String {
    clean(&format!("/{path}"))
}

fn reversed(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .map(str::to_owned)
        .collect();
    parts.reverse();
    parts
}

#[cfg(test)]
mod tests;
