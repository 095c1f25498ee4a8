//! Files of the node, through a session.

use std::io::{self, Read as _};

use rustix::io::Errno;

use super::session::Session;
use crate::node::engine::Stat;
use crate::node::{ExecOutput, FileChange, NodeError, NodeFile};

/// What is at a path: of the node itself where `root` is empty, else below the root of a process.
///
/// # Errors
/// When the node cannot be asked or refuses.
pub fn read(session: &Session, root: &str, path: &str, offset: u64) -> Result<NodeFile, NodeError> {
    let offset = offset.min(i64::MAX as u64 - 1);
    let limit = NodeFile::LIMIT.saturating_sub(offset).to_string();
    let words = ["n_read", root, &offset.to_string(), &limit, path];
    let output = succeeded(path, session.ask(&words, &[])?)?;
    let bytes = output.stdout;
    let end = bytes.iter().position(|byte| *byte == b'\n');
    let (head, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
    let rest = rest.get(1..).unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    Ok(match head.as_ref() {
        "missing" | "" => NodeFile::Missing,
        "gone" => {
            return Err(NodeError::NotRunning(
                "no API server process runs".to_owned(),
            ));
        }
        "loop" => NodeFile::Other("a loop of symbolic links".to_owned()),
        "link" => NodeFile::Other(format!(
            "a link to `{}`, which does not exist",
            String::from_utf8_lossy(rest)
        )),
        _ => described(&head, rest.to_vec()),
    })
}

/// A file from the line of `stat` and its content.
fn described(head: &str, content: Vec<u8>) -> NodeFile {
    let fields: Vec<&str> = head.split('|').collect();
    let mode = fields
        .get(1)
        .and_then(|mode| u32::from_str_radix(mode, 8).ok())
        .unwrap_or(0);
    match fields.first().copied().unwrap_or_default() {
        "directory" => NodeFile::Directory { mode },
        "regular file" | "regular empty file" => NodeFile::File {
            content,
            size: fields
                .get(2)
                .and_then(|size| size.parse().ok())
                .unwrap_or(0),
            mode,
            inode: fields.get(3).map_or(0, |id| identity(id)),
        },
        _ => NodeFile::Other("a pipe, socket or device".to_owned()),
    }
}

/// One number for `DEVICE:INODE`.
fn identity(id: &str) -> u64 {
    let (device, inode) = id.split_once(':').unwrap_or(("0", id));
    let device: u64 = device.parse().unwrap_or(0);
    let inode: u64 = inode.parse().unwrap_or(0);
    inode ^ device.rotate_left(40)
}

/// Changes what is at a path.
///
/// # Errors
/// When the node refuses or cannot be reached.
pub fn change(session: &Session, path: &str, change: FileChange<'_>) -> Result<(), NodeError> {
    let octal = |mode: u32| format!("{:04o}", mode & 0o7777);
    let output = match change {
        FileChange::Write { content, mode } => {
            session.ask(&["n_write", &octal(mode), path], content)
        }
        FileChange::Append { content, mode } => {
            session.ask(&["n_append", &octal(mode), path], content)
        }
        FileChange::Directory { mode } => session.ask(&["n_mkdir", &octal(mode), path], &[]),
        FileChange::Remove => session.ask(&["n_remove", path], &[]),
        FileChange::Mode(mode) => session.ask(&["n_mode", &octal(mode), path], &[]),
        FileChange::Rename { to } => session.ask(&["n_rename", path, to], &[]),
        FileChange::Link { target } => session.ask(&["n_link", target, path], &[]),
    }?;
    succeeded(path, output).map(|_| ())
}

/// Names in a directory, sorted.
///
/// # Errors
/// When it is none, or the node cannot be asked.
pub fn list(session: &Session, path: &str) -> Result<Vec<String>, NodeError> {
    let output = succeeded(path, session.ask(&["n_list", path], &[])?)?;
    let mut names: Vec<String> = output
        .stdout
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(|name| String::from_utf8_lossy(name).into_owned())
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// What is at a path, without its content.
///
/// # Errors
/// As `stat(2)` on the node.
pub fn stat(session: &Session, path: &str, follow: bool) -> io::Result<Stat> {
    let follow = if follow { "1" } else { "0" };
    let output = succeeded(
        path,
        session.ask(&["n_stat", follow, path], &[]).map_err(plain)?,
    )
    .map_err(plain)?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (head, rest) = text.split_once('\n').unwrap_or((&text, ""));
    let (kind, mode) = head.split_once('|').unwrap_or((head, "0"));
    let mode = u32::from_str_radix(mode, 8).unwrap_or(0);
    Ok(match kind {
        "directory" => Stat::Directory(mode),
        "symbolic link" => Stat::Link(rest.to_owned()),
        "regular file" | "regular empty file" => Stat::File(mode),
        _ => Stat::Other,
    })
}

/// What of a file is held in memory while it is written.
const PIECE: u64 = 4 << 20;

/// Writes a file of any size whose directory must be there, a piece at a time.
///
/// # Errors
/// When the content cannot be read or the node refuses; nothing is left behind then.
pub fn put(session: &Session, path: &str, content: &mut dyn io::Read, mode: u32) -> io::Result<()> {
    let mode = format!("{:04o}", mode & 0o7777);
    let mut piece = Vec::new();
    let mut next = |piece: &mut Vec<u8>| {
        piece.clear();
        (&mut *content).take(PIECE).read_to_end(piece)
    };
    let ask = |words: &[&str], stdin: &[u8]| {
        let output = session.ask(words, stdin).map_err(plain)?;
        succeeded(path, output).map_err(plain)
    };
    if (next(&mut piece)? as u64) < PIECE {
        return ask(&["n_put", &mode, path], &piece).map(|_| ());
    }
    let begun = ask(&["n_put_begin", path], &[])?;
    let new = String::from_utf8_lossy(&begun.stdout)
        .trim_end_matches('\n')
        .to_owned();
    let mut write = || {
        while !piece.is_empty() {
            ask(&["n_put_piece", &new], &piece)?;
            next(&mut piece)?;
        }
        ask(&["n_put_end", &mode, &new, path], &[])
    };
    write()
        .inspect_err(|_| {
            let _ = session.ask(&["n_remove", &new], &[]);
        })
        .map(|_| ())
}

/// An error of the node as one of the system.
pub fn plain(error: NodeError) -> io::Error {
    match error {
        NodeError::Io { source, .. } => source,
        other => io::Error::other(other),
    }
}

/// The output of a command of the script that ended with 0, else the error that its words mean.
fn succeeded(path: &str, output: ExecOutput) -> Result<ExecOutput, NodeError> {
    if output.code == 0 {
        return Ok(output);
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    let source = match errno(&said) {
        Some(errno) => io::Error::from_raw_os_error(errno.raw_os_error()),
        None if said.is_empty() => io::Error::other(format!("it ended with {}", output.code)),
        None => io::Error::other(said),
    };
    Err(NodeError::Io {
        path: path.to_owned(),
        source,
    })
}

/// The error number that a message of the tools ends with.
fn errno(said: &str) -> Option<Errno> {
    [
        ("No such file or directory", Errno::NOENT),
        ("Not a directory", Errno::NOTDIR),
        ("Is a directory", Errno::ISDIR),
        ("File exists", Errno::EXIST),
        ("Permission denied", Errno::ACCESS),
        ("Operation not permitted", Errno::PERM),
        ("No space left on device", Errno::NOSPC),
        ("Disk quota exceeded", Errno::DQUOT),
        ("Read-only file system", Errno::ROFS),
        ("Device or resource busy", Errno::BUSY),
        ("Directory not empty", Errno::NOTEMPTY),
        ("Too many levels of symbolic links", Errno::LOOP),
        ("File name too long", Errno::NAMETOOLONG),
    ]
    .into_iter()
    .find(|(text, _)| said.contains(text))
    .map(|(_, errno)| errno)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_stat_become_files() {
        assert_eq!(
            described("regular file|640|3|1048576:99", b"abc".to_vec()),
            NodeFile::File {
                content: b"abc".to_vec(),
                size: 3,
                mode: 0o640,
                inode: identity("1048576:99"),
            }
        );
        assert_eq!(
            described("directory|1777|4096|1:2", Vec::new()),
            NodeFile::Directory { mode: 0o1777 }
        );
        assert_ne!(identity("1:2"), identity("2:1"));
        assert_ne!(identity("1:7"), identity("2:7"));
    }

    #[test]
    fn words_of_the_tools_become_errors_of_the_system() {
        let failed = |text: &str| {
            succeeded(
                "/x",
                ExecOutput {
                    code: 1,
                    stdout: Vec::new(),
                    stderr: text.as_bytes().to_vec(),
                },
            )
            .map_err(plain)
            .unwrap_err()
        };
        assert_eq!(
            failed("stat: cannot statx '/x': No such file or directory\n").kind(),
            io::ErrorKind::NotFound
        );
        assert_eq!(
            failed("mv: x: No space left on device").kind(),
            io::ErrorKind::StorageFull
        );
        assert_eq!(failed("odd").to_string(), "odd");
        assert_eq!(failed("").to_string(), "it ended with 1");
    }
}
