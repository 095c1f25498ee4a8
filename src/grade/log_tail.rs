//! What was added to a log on the node since a moment: by inode and offset, rotated files included.

use std::collections::BTreeMap;

use crate::node::{Node, NodeError, NodeFile};
use crate::scenario::log_files::{family, unpacked};

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
            let content = unpacked(&file, content);
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
