//! File access that cannot leave a directory: paths are resolved with that directory as `/`
//! (symbolic links too), the way a chroot does.
//!
//! On Linux the kernel itself resolves (`openat2` with `RESOLVE_IN_ROOT`). Where that call is
//! missing or forbidden (other systems, old kernels, strict seccomp profiles) the path is walked
//! component by component with `O_NOFOLLOW`, which cannot leave the directory either.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Metadata};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self as sys, AtFlags, Mode, OFlags};
use rustix::io::Errno;

/// Links followed before a path counts as a loop, as in Linux.
const MAX_LINKS: usize = 40;

/// The flag that opens a file only to name it, where the system has one.
#[cfg(any(target_os = "linux", target_os = "android"))]
const NAME_ONLY: OFlags = OFlags::PATH;
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const NAME_ONLY: OFlags = OFlags::RDONLY;

/// A directory that is the root of every path given to it.
///
/// Architecture invariant: the embedded node touches files named by the learner only through
/// this type; no path a learner can write leads out of the node root.
#[derive(Debug, Clone)]
pub struct Confined {
    root: PathBuf,
}

impl Confined {
    /// Confines paths to `root`.
    #[must_use]
    pub fn new(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
        }
    }

    /// The directory on the host.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Opens a file for reading; `path` is absolute within the root. Never blocks, not even on a
    /// pipe without a writer.
    ///
    /// # Errors
    /// As `open(2)` on a node whose `/` is the root, asked by root: permission bits do not matter
    /// as long as the file belongs to the user that runs the node.
    pub fn open(&self, path: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        match self.open_fd(path, flags, Mode::empty()) {
            Err(error) if error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) => {
                self.open_despite_mode(path, 0o400, flags).ok_or(error)
            }
            other => other.map(File::from),
        }
    }

    /// Reads a whole regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// As `open(2)` and `read(2)`; `EISDIR` for a directory, `EFBIG` past the limit, and
    /// `not a regular file` for pipes, sockets and devices (which are never read).
    pub fn read(&self, path: &str, limit: u64) -> io::Result<Vec<u8>> {
        let file = self.open(path)?;
        read_regular(file, limit)
    }

    /// Reads a regular file as text; bytes that are not UTF-8 are replaced.
    ///
    /// # Errors
    /// As [`Confined::read`].
    pub fn read_to_string(&self, path: &str, limit: u64) -> io::Result<String> {
        let bytes = self.read(path, limit)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Writes a whole file: a temporary file in the same directory, then a rename. Parent
    /// directories are made (mode 0755). A symbolic link at `path` is followed.
    ///
    /// # Errors
    /// As the system calls involved; nothing is left behind then.
    pub fn write_atomic(&self, path: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let path = self.follow_last(path)?;
        if let Some((parent, _)) = split_last(&path) {
            self.create_dir_all(&parent, 0o755)?;
        }
        let (parent, name) = self.parent(&path)?;
        if let Ok(there) = self.symlink_metadata(&path)
            && there.is_dir()
        {
            return Err(Errno::ISDIR.into());
        }
        let temporary = temporary_name(&name);
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let fd = sys::openat(&parent, &temporary, flags | OFlags::CLOEXEC, to_mode(0o600))?;
        let mut file = File::from(fd);
        let written = file
            .write_all(bytes)
            .and_then(|()| Ok(sys::fchmod(&file, to_mode(mode))?))
            .and_then(|()| Ok(sys::renameat(&parent, &temporary, &parent, &name)?));
        if written.is_err() {
            let _ = sys::unlinkat(&parent, &temporary, AtFlags::empty());
        }
        written
    }

    /// Opens a file for appending, creating it with exactly `mode`; parents must exist.
    ///
    /// # Errors
    /// As `open(O_WRONLY|O_APPEND|O_CREAT)` on the node, asked by root.
    pub fn append(&self, path: &str, mode: u32) -> io::Result<File> {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK;
        match self.open_fd(path, flags, Mode::empty()) {
            Ok(fd) => {
                let file = File::from(fd);
                let kind = file.metadata()?.file_type();
                if kind.is_file() {
                    Ok(file)
                } else {
                    Err(not_regular())
                }
            }
            Err(error) if error.raw_os_error() == Some(Errno::ACCESS.raw_os_error()) => {
                self.open_despite_mode(path, 0o200, flags).ok_or(error)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let fd = self.open_fd(path, flags | OFlags::CREATE, to_mode(mode))?;
                // The mode asked for, whatever the umask of the process.
                sys::fchmod(&fd, to_mode(mode))?;
                Ok(File::from(fd))
            }
            Err(error) => Err(error),
        }
    }

    /// Makes a directory and its parents; directories made get exactly `mode`.
    ///
    /// # Errors
    /// As `mkdir(2)`; `ENOTDIR` where a file is in the way.
    pub fn create_dir_all(&self, path: &str, mode: u32) -> io::Result<()> {
        let mut so_far = String::new();
        for component in path.split('/').filter(|c| !c.is_empty()) {
            so_far.push('/');
            so_far.push_str(component);
            match self.metadata(&so_far) {
                Ok(metadata) if metadata.is_dir() => {}
                Ok(_) => return Err(Errno::NOTDIR.into()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    let (parent, name) = self.parent(&so_far)?;
                    match sys::mkdirat(&parent, &name, to_mode(mode)) {
                        Ok(()) => {
                            let _ = sys::chmodat(&parent, &name, to_mode(mode), AtFlags::empty());
                        }
                        // Another process was faster, or a link that leads nowhere is there.
                        Err(Errno::EXIST) if self.metadata(&so_far).is_ok_and(|m| m.is_dir()) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Metadata, links followed.
    ///
    /// # Errors
    /// As `stat(2)`.
    pub fn metadata(&self, path: &str) -> io::Result<Metadata> {
        let fd = self.open_fd(path, NAME_ONLY, Mode::empty())?;
        File::from(fd).metadata()
    }

    /// Metadata of the last component itself, even when it is a link.
    ///
    /// # Errors
    /// As `lstat(2)`.
    pub fn symlink_metadata(&self, path: &str) -> io::Result<Metadata> {
        let fd = self.open_fd(path, NAME_ONLY | OFlags::NOFOLLOW, Mode::empty())?;
        File::from(fd).metadata()
    }

    /// Whether something is there, links followed.
    #[must_use]
    pub fn exists(&self, path: &str) -> bool {
        self.metadata(path).is_ok()
    }

    /// The target of a symbolic link, as written in it.
    ///
    /// # Errors
    /// As `readlink(2)`.
    pub fn read_link(&self, path: &str) -> io::Result<String> {
        let (parent, name) = self.parent(path)?;
        let target = sys::readlinkat(&parent, &name, Vec::new())?;
        Ok(String::from_utf8_lossy(target.as_bytes()).into_owned())
    }

    /// Makes a symbolic link with this target.
    ///
    /// # Errors
    /// As `symlink(2)`.
    pub fn symlink(&self, target: &str, path: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(sys::symlinkat(target, &parent, &name)?)
    }

    /// Names in a directory, sorted; names that are not UTF-8 are left out.
    ///
    /// # Errors
    /// As `open(2)` and `getdents(2)`.
    pub fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let fd = self.open_fd(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())?;
        let mut names = Vec::new();
        for entry in sys::Dir::read_from(&fd)? {
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    /// Renames; links in the last components are not followed.
    ///
    /// # Errors
    /// As `rename(2)`.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from_parent, from_name) = self.parent(from)?;
        let (to_parent, to_name) = self.parent(to)?;
        Ok(sys::renameat(
            &from_parent,
            &from_name,
            &to_parent,
            &to_name,
        )?)
    }

    /// Removes a file or link.
    ///
    /// # Errors
    /// As `unlink(2)`.
    pub fn remove_file(&self, path: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        Ok(sys::unlinkat(&parent, &name, AtFlags::empty())?)
    }

    /// Removes a file, link or whole directory; nothing there is no error. Links are removed, never
    /// followed.
    ///
    /// # Errors
    /// As `unlink(2)` and `rmdir(2)`.
    pub fn remove_all(&self, path: &str) -> io::Result<()> {
        let (parent, name) = match self.parent(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        remove_at(parent.as_fd(), &name, 0)
    }

    /// Sets permission bits, links followed.
    ///
    /// # Errors
    /// As `chmod(2)`.
    pub fn set_mode(&self, path: &str, mode: u32) -> io::Result<()> {
        let path = self.follow_last(path)?;
        let (parent, name) = self.parent(&path)?;
        Ok(sys::chmodat(
            &parent,
            &name,
            to_mode(mode),
            AtFlags::empty(),
        )?)
    }

    /// The path with every symbolic link resolved, still absolute within the root.
    ///
    /// # Errors
    /// As `realpath(3)`.
    pub fn canonical(&self, path: &str) -> io::Result<String> {
        let (_, names) = self.walk(path, true)?;
        let mut out = String::new();
        for name in &names {
            out.push('/');
            out.push_str(&name.to_string_lossy());
        }
        if out.is_empty() {
            out.push('/');
        }
        if self.symlink_metadata(&out).is_err() {
            return Err(Errno::NOENT.into());
        }
        Ok(out)
    }

    /// Opens with any flags.
    ///
    /// # Errors
    /// As `open(2)` on a node whose `/` is the root.
    pub fn open_with(&self, path: &str, flags: OFlags, mode: u32) -> io::Result<File> {
        Ok(File::from(self.open_fd(path, flags, to_mode(mode))?))
    }

    fn root_fd(&self) -> io::Result<OwnedFd> {
        let flags = NAME_ONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(sys::open(&self.root, flags, Mode::empty())?)
    }

    fn open_fd(&self, path: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC;
        #[cfg(any(target_os = "linux", target_os = "android"))]
        match self.open_in_root(path, flags, mode) {
            Err(Errno::NOSYS | Errno::PERM | Errno::AGAIN) => {}
            other => return Ok(other?),
        }
        self.open_walking(path, flags, mode)
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn open_in_root(&self, path: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let root_flags = NAME_ONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = sys::open(&self.root, root_flags, Mode::empty())?;
        if path.is_empty() {
            return Err(Errno::NOENT);
        }
        let mut last = Errno::AGAIN;
        // EAGAIN: something was renamed while a `..` was resolved.
        for _ in 0..8 {
            match sys::openat2(&root, path, flags, mode, sys::ResolveFlags::IN_ROOT) {
                Err(Errno::AGAIN) => last = Errno::AGAIN,
                other => return other,
            }
        }
        Err(last)
    }

    /// The same without `openat2`.
    fn open_walking(&self, path: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        if path.is_empty() {
            return Err(Errno::NOENT.into());
        }
        let follow = !flags.contains(OFlags::NOFOLLOW);
        let (stack, names) = self.walk(path, follow)?;
        let parent = match stack.last() {
            Some(fd) => fd.try_clone()?,
            None => self.root_fd()?,
        };
        match names.last() {
            // `walk` resolved the last component, so a link here was put there meanwhile.
            Some(name) => Ok(sys::openat(&parent, name, flags | OFlags::NOFOLLOW, mode)?),
            None => Ok(sys::openat(&parent, ".", flags, mode)?),
        }
    }

    /// Walks a path: open directories of all components but the last, and the names of all.
    fn walk(&self, path: &str, follow_last: bool) -> io::Result<(Vec<OwnedFd>, Vec<OsString>)> {
        let mut todo: Vec<OsString> = components(OsStr::new(path));
        let root = self.root_fd()?;
        let mut stack: Vec<OwnedFd> = Vec::new();
        let mut names: Vec<OsString> = Vec::new();
        let mut links = 0;
        let dir_flags = NAME_ONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        // `stack` holds one directory less than `names`: the last name is opened lazily.
        while let Some(component) = todo.pop() {
            if component == ".." {
                names.pop();
                stack.truncate(names.len().saturating_sub(1));
                continue;
            }
            if let Some(last) = names.last()
                && stack.len() < names.len()
            {
                let parent = stack.last().map_or(root.as_fd(), AsFd::as_fd);
                let fd = sys::openat(parent, last, dir_flags, Mode::empty())?;
                stack.push(fd);
            }
            let parent = stack.last().map_or(root.as_fd(), AsFd::as_fd);
            if follow_last || !todo.is_empty() {
                match sys::readlinkat(parent, &component, Vec::new()) {
                    Ok(target) => {
                        links += 1;
                        if links > MAX_LINKS {
                            return Err(Errno::LOOP.into());
                        }
                        let target = OsString::from_vec(target.into_bytes());
                        if target.as_bytes().first() == Some(&b'/') {
                            names.clear();
                            stack.clear();
                        }
                        todo.extend(components(&target));
                        continue;
                    }
                    // Not a link, or not there: the caller's system call tells.
                    Err(Errno::INVAL | Errno::NOENT) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            names.push(component);
        }
        stack.truncate(names.len().saturating_sub(1));
        Ok((stack, names))
    }

    /// The open parent directory of a path and the last name in it.
    fn parent(&self, path: &str) -> io::Result<(OwnedFd, OsString)> {
        let (parent, name) = split_last(path).ok_or(Errno::BUSY)?;
        if name == ".." || name == "." {
            return Err(Errno::INVAL.into());
        }
        let fd = self.open_fd(&parent, NAME_ONLY | OFlags::DIRECTORY, Mode::empty())?;
        Ok((fd, OsString::from(name)))
    }

    /// The path a link at the last component leads to (which may not exist).
    fn follow_last(&self, path: &str) -> io::Result<String> {
        let mut path = path.to_owned();
        for _ in 0..MAX_LINKS {
            match self.symlink_metadata(&path) {
                Ok(metadata) if metadata.file_type().is_symlink() => {
                    let target = self.read_link(&path)?;
                    path = match split_last(&path) {
                        Some((parent, _)) if !target.starts_with('/') => {
                            format!("{}/{target}", parent.trim_end_matches('/'))
                        }
                        _ => target,
                    };
                }
                _ => return Ok(path),
            }
        }
        Err(Errno::LOOP.into())
    }

    /// Programs of the node run as root, for whom permission bits do not count. The node process
    /// need not be root: where the file is its own, it lifts the bits for the moment of the open.
    fn open_despite_mode(&self, path: &str, need: u32, flags: OFlags) -> Option<File> {
        let metadata = self.metadata(path).ok()?;
        let mode = metadata.mode() & 0o7777;
        if !metadata.is_file() || mode & need == need {
            return None;
        }
        self.set_mode(path, mode | need).ok()?;
        let opened = self
            .open_fd(path, flags, Mode::empty())
            .ok()
            .map(File::from);
        if let Some(file) = &opened {
            let _ = file.set_permissions(std::fs::Permissions::from_mode(mode));
        } else {
            let _ = self.set_mode(path, mode);
        }
        opened
    }
}

/// Reads an open regular file of at most `limit` bytes.
///
/// # Errors
/// `EISDIR`, `EFBIG`, or `not a regular file`, besides those of `read(2)`.
pub fn read_regular(mut file: File, limit: u64) -> io::Result<Vec<u8>> {
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(Errno::ISDIR.into());
    }
    if !metadata.is_file() {
        return Err(not_regular());
    }
    if metadata.len() > limit {
        return Err(Errno::FBIG.into());
    }
    let mut bytes = Vec::new();
    // The file may grow while it is read.
    (&mut file)
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(Errno::FBIG.into());
    }
    Ok(bytes)
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}

fn to_mode(mode: u32) -> Mode {
    Mode::from_raw_mode(rustix::fs::RawMode::from(mode & 0o7777))
}

/// Components in reverse order (a stack), without empty ones and `.`.
fn components(path: &OsStr) -> Vec<OsString> {
    let mut parts: Vec<OsString> = path
        .as_bytes()
        .split(|b| *b == b'/')
        .filter(|part| !part.is_empty() && *part != b".")
        .map(|part| OsString::from_vec(part.to_vec()))
        .collect();
    parts.reverse();
    parts
}

/// Parent and last name of a path; `None` for the root itself.
fn split_last(path: &str) -> Option<(String, String)> {
    let trimmed = path.trim_end_matches('/');
    if trimmed.is_empty() {
        return None;
    }
    let (parent, name) = trimmed.rsplit_once('/').unwrap_or(("", trimmed));
    let parent = if parent.is_empty() { "/" } else { parent };
    Some((parent.to_owned(), name.to_owned()))
}

/// A name of its own for every write, hidden from the kubelet (leading dot).
fn temporary_name(name: &OsStr) -> OsString {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut out = OsString::from(".");
    out.push(name);
    // A name of the longest allowed length leaves no room: keep its beginning.
    let mut bytes = out.into_vec();
    bytes.truncate(200);
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    bytes.extend_from_slice(format!(".{}-{number}.tmp", std::process::id()).as_bytes());
    OsString::from_vec(bytes)
}

fn remove_at(parent: BorrowedFd<'_>, name: &OsStr, depth: usize) -> io::Result<()> {
    // Deep trees are refused rather than overflowing the stack.
    if depth > 256 {
        return Err(Errno::NAMETOOLONG.into());
    }
    match sys::unlinkat(parent, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match sys::openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            sys::chmodat(parent, name, to_mode(0o700), AtFlags::empty())?;
            sys::openat(parent, name, flags, Mode::empty())?
        }
        other => other?,
    };
    let mut names = Vec::new();
    for entry in sys::Dir::read_from(&dir)? {
        let entry = entry?;
        let bytes = entry.file_name().to_bytes();
        if bytes != b"." && bytes != b".." {
            names.push(OsString::from_vec(bytes.to_vec()));
        }
    }
    for child in names {
        remove_at(dir.as_fd(), &child, depth + 1)?;
    }
    match sys::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> (tempfile::TempDir, Confined) {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(dir.path().join("secret"), "outside").unwrap();
        let confined = Confined::new(&root);
        (dir, confined)
    }

    /// Opens in both ways; they must agree.
    fn read_both(confined: &Confined, path: &str) -> Result<Vec<u8>, Option<i32>> {
        let kernel = confined.read(path, 1 << 20).map_err(|e| e.raw_os_error());
        let walked = confined
            .open_walking(path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty())
            .and_then(|fd| read_regular(File::from(fd), 1 << 20))
            .map_err(|e| e.raw_os_error());
        assert_eq!(kernel, walked, "{path}");
        kernel
    }

    #[test]
    fn links_and_dots_stay_inside() {
        let (dir, c) = setup();
        c.write_atomic("/etc/a", b"inside", 0o644).unwrap();
        c.symlink("/etc/a", "/absolute").unwrap();
        c.symlink("../../../../etc/a", "/etc/relative").unwrap();
        c.symlink("../../../secret", "/etc/escape").unwrap();
        c.symlink(dir.path().join("secret").to_str().unwrap(), "/host")
            .unwrap();
        c.symlink("/loop", "/loop").unwrap();
        c.symlink("/etc", "/dirlink").unwrap();
        for path in [
            "/etc/a",
            "etc/a",
            "/../../etc/a",
            "/absolute",
            "/etc/relative",
            "/dirlink/a",
            "/dirlink/../etc/./a",
        ] {
            assert_eq!(read_both(&c, path), Ok(b"inside".to_vec()), "{path}");
        }
        assert_eq!(read_both(&c, "/etc/escape"), Err(Some(2)));
        assert_eq!(read_both(&c, "/host"), Err(Some(2)));
        assert_eq!(read_both(&c, "/loop"), Err(Some(40)));
        assert_eq!(read_both(&c, "/etc/a/b"), Err(Some(20)));
        assert_eq!(read_both(&c, "/etc"), Err(Some(21)));
        assert_eq!(read_both(&c, ""), Err(Some(2)));
        assert_eq!(c.canonical("/dirlink/relative").unwrap(), "/etc/a");
    }

    #[test]
    fn writing_follows_links_and_keeps_modes() {
        let (_dir, c) = setup();
        c.write_atomic("/a/b/c", b"1", 0o600).unwrap();
        c.symlink("b/c", "/a/link").unwrap();
        c.write_atomic("/a/link", b"2", 0o640).unwrap();
        assert_eq!(c.read("/a/b/c", 10).unwrap(), b"2");
        assert_eq!(c.metadata("/a/b/c").unwrap().mode() & 0o7777, 0o640);
        assert!(
            c.symlink_metadata("/a/link")
                .unwrap()
                .file_type()
                .is_symlink()
        );
        assert_eq!(c.list("/a/b").unwrap(), ["c"]);
        assert_eq!(
            c.write_atomic("/a/b", b"", 0o644)
                .unwrap_err()
                .raw_os_error(),
            Some(21)
        );
        assert_eq!(
            c.create_dir_all("/a/b/c/d", 0o755)
                .unwrap_err()
                .raw_os_error(),
            Some(20)
        );
    }

    #[test]
    fn bits_do_not_stop_root_and_pipes_do_not_block() {
        let (_dir, c) = setup();
        c.write_atomic("/f", b"x", 0o000).unwrap();
        assert_eq!(c.read("/f", 10).unwrap(), b"x");
        assert_eq!(c.metadata("/f").unwrap().mode() & 0o7777, 0);
        c.append("/f", 0o600).unwrap().write_all(b"y").unwrap();
        assert_eq!(c.read("/f", 10).unwrap(), b"xy");
        assert_eq!(c.read("/f", 1).unwrap_err().raw_os_error(), Some(27));
        sys::mknodat(
            sys::CWD,
            c.root().join("pipe"),
            sys::FileType::Fifo,
            to_mode(0o600),
            0,
        )
        .unwrap();
        assert_eq!(
            c.read("/pipe", 10).unwrap_err().to_string(),
            "not a regular file"
        );
        c.append("/pipe", 0o600).unwrap_err();
    }

    #[test]
    fn remove_all_takes_links_not_targets() {
        let (dir, c) = setup();
        c.write_atomic("/d/e/f", b"x", 0o644).unwrap();
        c.symlink("/keep", "/d/link").unwrap();
        c.write_atomic("/keep/file", b"x", 0o644).unwrap();
        c.remove_all("/d").unwrap();
        c.remove_all("/d").unwrap();
        c.remove_all("/no/such").unwrap();
        assert!(!c.exists("/d"));
        assert!(c.exists("/keep/file"));
        assert!(c.remove_all("/").is_err());
        assert!(dir.path().join("secret").exists());
    }
}
