//! Files of a node that belong together: a log with its rotated files, a pattern, a directory with all
//! below. What a learner may have put there is bounded before it is read.

use std::io::Read;

use crate::manifest::path::clean;
use crate::node::{Node, NodeError, NodeFile};

/// Compressed files are looked into up to this size.
const LARGEST: u64 = 256 << 20;
/// More files than this are not looked through.
pub const MOST_FILES: usize = 2_000;
/// More bytes than this are not looked through.
pub const MOST_BYTES: u64 = 512 << 20;
/// Directories deeper than this are not looked into.
const DEEPEST: usize = 12;

/// The log and its rotated files: `audit.log`, `audit-2026-11-24T07-00-00.000.log`, the same with `.gz`;
/// the live file last.
#[must_use]
pub fn family(node: &dyn Node, path: &str) -> Vec<String> {
    let path = clean(path);
    let (directory, name) = path.rsplit_once('/').unwrap_or(("", &path));
    let (stem, ending) = match name.rfind('.') {
        Some(cut) if cut > 0 => name.split_at(cut),
        _ => (name, ""),
    };
    let prefix = format!("{stem}-");
    let here = if directory.is_empty() { "/" } else { directory };
    let mut files: Vec<String> = node
        .list(here)
        .unwrap_or_default()
        .into_iter()
        .filter(|file| {
            file.starts_with(&prefix)
                && (file.ends_with(ending) || file.ends_with(&format!("{ending}.gz")))
        })
        .map(|file| format!("{directory}/{file}"))
        .collect();
    files.sort();
    files.push(path);
    files
}

/// The bytes of a file; those of a compressed one unpacked, as far as it can be read.
#[must_use]
pub fn unpacked(name: &str, content: Vec<u8>) -> Vec<u8> {
    if !(name.ends_with(".gz") && content.starts_with(&[0x1f, 0x8b])) {
        return content;
    }
    let mut plain = Vec::new();
    let decoder = flate2::read::MultiGzDecoder::new(content.as_slice());
    // A torn compressed file is being written; what is readable of it is used.
    let _ = decoder.take(LARGEST).read_to_end(&mut plain);
    plain
}

/// The lines of these files.
///
/// # Errors
/// When the node cannot be asked.
pub fn lines_of(node: &dyn Node, files: &[String]) -> Result<Vec<String>, NodeError> {
    let mut lines = Vec::new();
    let mut bytes = 0;
    for file in files {
        if bytes > MOST_BYTES {
            break;
        }
        if let NodeFile::File { content, .. } = node.read(file)? {
            let content = unpacked(file, content);
            bytes += content.len() as u64;
            let text = String::from_utf8_lossy(&content);
            lines.extend(text.lines().map(str::to_owned));
        }
    }
    Ok(lines)
}

/// The lines of a log, oldest file first.
///
/// # Errors
/// When the node cannot be asked.
pub fn lines(node: &dyn Node, path: &str) -> Result<Vec<String>, NodeError> {
    lines_of(node, &family(node, path))
}

/// The paths that a pattern stands for: itself, or for `DIR/*` every file right in the directory.
#[must_use]
pub fn expand(node: &dyn Node, pattern: &str) -> Vec<String> {
    let Some(directory) = pattern.strip_suffix("/*") else {
        return vec![clean(pattern)];
    };
    let directory = clean(&format!("{directory}/"));
    let names = node.list(&directory).unwrap_or_default();
    names
        .into_iter()
        .take(MOST_FILES)
        .map(|name| clean(&format!("{directory}/{name}")))
        .filter(|path| matches!(node.read_from(path, u64::MAX), Ok(NodeFile::File { .. })))
        .collect()
}

/// Every regular file at or below a path, with its size.
///
/// # Errors
/// In words, when there is too much to look through, or a file cannot be read whole.
pub fn below(node: &dyn Node, path: &str) -> Result<Vec<String>, String> {
    let mut files = Vec::new();
    let mut seen = 0usize;
    let mut bytes = 0u64;
    let mut rest = vec![(clean(path), 0usize)];
    while let Some((path, depth)) = rest.pop() {
        seen += 1;
        if seen > MOST_FILES || bytes > MOST_BYTES {
            return Err(format!("there is too much below `{path}` to look through"));
        }
        match node.read_from(&path, u64::MAX) {
            Ok(NodeFile::File { size, .. }) if size > NodeFile::LIMIT => {
                return Err(format!("`{path}` is too large to look through"));
            }
            Ok(NodeFile::File { size, .. }) => {
                bytes = bytes.saturating_add(size);
                files.push(path);
            }
            Ok(NodeFile::Directory { .. }) if depth < DEEPEST => {
                let names = node.list(&path).map_err(|error| error.to_string())?;
                for name in names.into_iter().rev() {
                    rest.push((clean(&format!("{path}/{name}")), depth + 1));
                }
            }
            // Deeper is where links lead in circles.
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(files)
}
