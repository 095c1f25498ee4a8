//! Checks of what lies on the node: permission bits, what must stay, what must be nowhere, and how much
//! room a log may take. Also what of the start they must remember.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::log_files;
use super::log_filter::LogFilter;
use super::quantity::Quantity;
use crate::audit::log::{Line, Record, parse_line};
use crate::node::{Node, NodeError, NodeFile};

/// Permission bits of a file or directory. Links are followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModeCheck {
    /// Path on the node; `/*` at the end stands for every file right in the directory, of which there must be one.
    pub path: String,
    /// Exactly these bits, octal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exactly: Option<String>,
    /// No bits but these, octal: `0600` allows 0600 and 0400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<String>,
    /// Whether it must belong to root.
    #[serde(default = "yes")]
    pub root: bool,
}

fn yes() -> bool {
    true
}

/// What was there at the start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct KeptCheck {
    /// The file; with `entries` a log, its rotated files included.
    pub path: String,
    /// Files that count as well, or instead; `/*` at the end stands for every file right in the directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
    /// Whether only the files in `also` count: it must have been copied or moved there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub moved: bool,
    /// Entries of a log, each byte for byte, wherever they are: those that pass the filter (`{}` is all).
    /// Without it, a file that begins with exactly the bytes the file had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<LogFilter>,
}

/// A text that must be in no file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NeverCheck {
    /// Directories, with everything below, and files. Compressed files are looked into.
    pub under: Vec<String>,
    /// The texts, such as the value of a Secret: as they are, or as a Secret's data has them (base64).
    pub texts: Vec<String>,
    /// Files that may have them; `/*` at the end stands for every file right in the directory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub but: Vec<String>,
    /// Those files have no permission bits but these, octal.
    #[serde(default = "private")]
    pub but_at_most: String,
}

fn private() -> String {
    "0600".to_owned()
}

/// How much room the log and its rotated files may take, and how long they are kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BudgetCheck {
    /// At most so many megabytes in the worst case: maxsize for each of maxbackup old files and the current one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub megabytes: Option<Quantity>,
    /// Kept for at least so many days: the limit on age is not shorter,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub days: Option<Quantity>,
    /// and at so many megabytes of entries a day the old files reach back so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub megabytes_per_day: Option<Quantity>,
}

/// What of a file or log must be remembered.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// Bytes of the file.
    pub size: u64,
    /// Digest of the file.
    pub digest: String,
    /// Entries of the log that must stay.
    pub entries: Vec<EntryMark>,
}

/// An entry by name and content.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntryMark {
    /// Audit-ID and stage.
    pub name: String,
    /// Digest of its line.
    pub digest: String,
    /// `create secrets in payments by jane`, for messages.
    pub words: String,
}

/// More entries than this are not remembered.
const MOST_ENTRIES: usize = 5_000;

impl Evidence {
    /// What is there now of what a check is about; nothing where nothing is.
    ///
    /// # Errors
    /// When the node cannot be asked.
    pub fn take(node: &dyn Node, check: &KeptCheck) -> Result<Option<Self>, NodeError> {
        let Some(filter) = &check.entries else {
            return Ok(match node.read(&check.path)? {
                NodeFile::File { content, size, .. } => Some(Self {
                    size,
                    digest: digest(&content),
                    entries: Vec::new(),
                }),
                _ => None,
            });
        };
        let mut evidence = Self::default();
        let filter = filter.filter().unwrap_or_default();
        for line in log_files::lines(node, &check.path)? {
            if let Some(mark) = mark(&line, |record| filter.passes(record, line.as_bytes()))
                && evidence.entries.len() < MOST_ENTRIES
            {
                evidence.entries.push(mark);
            }
        }
        Ok((!evidence.entries.is_empty()).then_some(evidence))
    }
}

/// The mark of a line, where it is an entry that is wanted.
pub fn mark(line: &str, wanted: impl Fn(&Record) -> bool) -> Option<EntryMark> {
    let Line::Events(records) = parse_line(line.as_bytes()) else {
        return None;
    };
    let record = records.iter().find(|record| wanted(record))?;
    let place = match record.namespace.as_str() {
        "" => String::new(),
        namespace => format!(" in `{namespace}`"),
    };
    let what = match record.resource_path() {
        what if what.is_empty() => record.uri.clone(),
        what => what,
    };
    Some(EntryMark {
        name: format!("{} {}", record.audit_id, record.stage),
        digest: digest(line.as_bytes()),
        words: format!("{} {what}{place} by `{}`", record.verb, record.user),
    })
}

/// A digest of bytes, as text.
#[must_use]
pub fn digest(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Permission bits as a scenario writes them.
///
/// # Errors
/// When they are none.
pub fn octal(text: &str) -> Result<u32, String> {
    u32::from_str_radix(text.trim(), 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| format!("`{text}` is no octal file mode"))
}
