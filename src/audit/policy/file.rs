//! Loading a policy from a path (`LoadPolicyFromFile`), with Go's texts for what can go wrong.

use std::io;

use super::{LoadError, Loaded, load};
use crate::yaml::go::quote;

/// Loads the policy at a path, as `LoadPolicyFromFile` does; `read` gives the content of a file as the
/// API server sees it, with the error codes of the operating system.
///
/// # Errors
/// The real loader's whole text; kube-apiserver puts `loading audit policy file: ` in front of it.
pub fn load_file(
    path: &str,
    read: impl FnOnce(&str) -> io::Result<Vec<u8>>,
) -> Result<Loaded, LoadError> {
    let refused = |message: String| LoadError {
        message,
        warnings: Vec::new(),
        names_file: false,
    };
    if path.is_empty() {
        return Err(refused("file path not specified".to_owned()));
    }
    let bytes = read(path).map_err(|error| {
        let (operation, text) = go_os_error(&error);
        refused(format!(
            "failed to read file path {}: {operation} {path}: {text}",
            quote(path)
        ))
    })?;
    load(&bytes).map_err(|error| LoadError {
        message: format!("{}: from file {path}", error.message),
        warnings: error.warnings,
        names_file: false,
    })
}

/// The system call that fails with this error when Go reads a file, and Go's words for the error
/// (Linux, `zerrors_linux_amd64.go`).
fn go_os_error(error: &io::Error) -> (&'static str, String) {
    let Some(code) = error.raw_os_error() else {
        let (operation, text) = match error.kind() {
            io::ErrorKind::NotFound => ("open", "no such file or directory"),
            io::ErrorKind::PermissionDenied => ("open", "permission denied"),
            io::ErrorKind::NotADirectory => ("open", "not a directory"),
            io::ErrorKind::IsADirectory => ("read", "is a directory"),
            io::ErrorKind::InvalidInput => ("open", "invalid argument"),
            _ => return ("open", error.to_string()),
        };
        return (operation, text.to_owned());
    };
    let (operation, text) = match code {
        1 => ("open", "operation not permitted"),
        2 => ("open", "no such file or directory"),
        5 => ("read", "input/output error"),
        6 => ("open", "no such device or address"),
        12 => ("open", "cannot allocate memory"),
        13 => ("open", "permission denied"),
        16 => ("open", "device or resource busy"),
        19 => ("open", "no such device"),
        20 => ("open", "not a directory"),
        21 => ("read", "is a directory"),
        22 => ("open", "invalid argument"),
        23 => ("open", "too many open files in system"),
        24 => ("open", "too many open files"),
        26 => ("open", "text file busy"),
        36 => ("open", "file name too long"),
        40 => ("open", "too many levels of symbolic links"),
        116 => ("open", "stale file handle"),
        code => return ("open", format!("errno {code}")),
    };
    (operation, text.to_owned())
}
