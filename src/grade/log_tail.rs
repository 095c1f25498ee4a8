//! What was added to a log on the node since a moment: by inode and offset, rotated files included.

use std::collections::BTreeMap;
use std::io::Read;

use super::argv::{base, parent};
use crate::node::{Node, NodeError, NodeFile};

/// Compressed rotated files are read up to this size.
const LARGEST: u64 = 256 << 20;

/// The files of a log as they were at a moment.
#[derive(Debug, Clone)]
pub struct LogTail {
    path: String,
    /// Size by inode.
    known: BTreeMap<u64, u64>,
}

impl LogTail {
    /// Remembers the log's files as they are now.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub fn begin(node: &dyn Node, path: &str) -> Result<Self, NodeError> {
        let mut known = BTreeMap::new();
        for file in family(node, path) {
            if let NodeFile::File { size, inode, .. } = node.read_from(&file, u64::MAX)? {
                known.insert(inode, size);
            }
        }
        Ok(Self {
            path: path.to_owned(),
            known,
        })
    }

    /// The path of the log.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Every whole line added since, oldest file first. A file that shrank was emptied meanwhile: all
    /// of it is new.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub fn fresh(&self, node: &dyn Node) -> Result<Vec<String>, NodeError> {
        let mut lines = Vec::new();
        for file in family(node, &self.path) {
            let NodeFile::File { size, inode, .. } = node.read_from(&file, u64::MAX)? else {
                continue;
            };
            let old = self.known.get(&inode).copied().filter(|old| *old <= size);
            if old == Some(size) {
                continue;
            }
            let offset = old.unwrap_or(0);
            let NodeFile::File { content, .. } = node.read_from(&file, offset)? else {
                continue;
            };
            let content = if file.ends_with(".gz") {
                let mut plain = Vec::new();
                let decoder = flate2::read::GzDecoder::new(content.as_slice());
                // A torn compressed file is being written; what is readable of it is used.
                let _ = decoder.take(LARGEST).read_to_end(&mut plain);
                plain
            } else {
                content
            };
            let whole = content
                .iter()
                .rposition(|byte| *byte == b'\n')
                .map_or(0, |end| end + 1);
            let text = String::from_utf8_lossy(content.get(..whole).unwrap_or_default());
            lines.extend(text.lines().map(str::to_owned));
        }
        Ok(lines)
    }
}

/// The log and its rotated files: `audit.log`, `audit-2026-11-24T07-00-00.000.log`, the same with `.gz`;
/// the live file last.
fn family(node: &dyn Node, path: &str) -> Vec<String> {
    let directory = parent(path);
    let name = base(path);
    let (stem, ending) = match name.rfind('.') {
        Some(cut) if cut > 0 => name.split_at(cut),
        _ => (name.as_str(), ""),
    };
    let prefix = format!("{stem}-");
    let mut files: Vec<String> = node
        .list(&directory)
        .unwrap_or_default()
        .into_iter()
        .filter(|file| {
            file.starts_with(&prefix)
                && (file.ends_with(ending) || file.ends_with(&format!("{ending}.gz")))
        })
        .map(|file| format!("{directory}/{file}"))
        .collect();
    files.sort();
    files.push(path.to_owned());
    files
}
