//! Mounting in the node root: directories made without following links, trees bound read-only.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::StatVfsMountFlags;
use rustix::mount::{MountFlags, mount_bind_recursive, mount_remount};

use super::namespace::{Failed, tried};

/// Makes one directory in one that is there. Where a link or a file is in the way it is an error: a link
/// would be followed on the host.
pub(super) fn directory(path: &Path) -> Result<(), Failed> {
    let failed = |error: io::Error| tried(format!("make {}", path.display()))(error);
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(failed(io::Error::from(io::ErrorKind::NotADirectory))),
        Err(_) => fs::DirBuilder::new()
            .mode(0o755)
            .create(path)
            .map_err(failed),
    }
}

/// Binds a file or tree, read-only throughout.
pub(super) fn bind_read_only(from: &Path, to: &Path) -> Result<(), Failed> {
    let shown = from.display().to_string();
    mount_bind_recursive(from, to).map_err(tried(format!("bind {shown}")))?;
    let to = to.canonicalize().map_err(tried(format!("bind {shown}")))?;
    for mount_point in mounts_below(&to).map_err(tried("read the mounts"))? {
        // Flags an outer namespace set are locked: they must be named again.
        let flags = rustix::fs::statvfs(&mount_point)
            .map(|stat| stat.f_flag)
            .unwrap_or(StatVfsMountFlags::empty());
        let mut set = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID;
        for (seen, flag) in [
            (StatVfsMountFlags::NODEV, MountFlags::NODEV),
            (StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
            (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
            (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
            (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
        ] {
            if flags.contains(seen) {
                set |= flag;
            }
        }
        mount_remount(&mount_point, set, "").map_err(tried(format!("make {shown} read-only")))?;
    }
    Ok(())
}

/// Mount points at and below a path, from `/proc/self/mountinfo`.
fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let text = fs::read_to_string("/proc/self/mountinfo")?;
    let mut found: Vec<PathBuf> = text
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .map(|field| PathBuf::from(unescape(field)))
        .filter(|mount_point| mount_point.starts_with(path))
        .collect();
    found.dedup();
    Ok(found)
}

/// Mount points are written with octal escapes for blanks.
fn unescape(field: &str) -> String {
    field
        .replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}
