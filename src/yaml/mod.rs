//! YAML the way Kubernetes reads it (`sigs.k8s.io/yaml`): YAML 1.1 through a libyaml port, then JSON.
//!
//! The stages are those of the real thing, because its error texts and line numbers depend on them:
//! [`source`] decodes bytes, [`scanner`] makes tokens, [`parser`] makes events, [`compose`] makes nodes,
//! [`decode`] resolves aliases, merges and scalars into Go's values, and [`jsonable`] turns those into JSON
//! with sorted keys. [`json`] reads JSON as Go's `encoding/json` does. Both end in a [`Tree`].
//!
//! Everything is bounded in time, memory and stack: nothing recurses over the input, aliases expand no
//! further than the real decoder lets them.

mod compose;
mod decode;
mod fault;
pub mod go;
pub mod json;
mod jsonable;
mod number;
mod parser;
mod resolve;
mod scalars;
mod scanner;
mod source;
mod tags;
mod token;
pub mod tree;

use serde_json::Value;

pub use tree::{Span, Tree};

/// Why a document was refused. `Display` is the text of the real decoder, such as
/// `yaml: line 3: mapping values are not allowed in this context`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Error {
    /// The text of the real decoder.
    pub text: String,
    /// Where the problem was seen, when the decoder stopped at one place (1-based; the text's own line
    /// number can be one less).
    pub at: Option<Span>,
}

/// Larger documents are not read: a real API server takes its time and memory for them, a lab must not.
const MAX_BYTES: usize = 64 << 20;

/// Nor are documents of more values.
const MAX_VALUES: usize = 1_000_000;

const TOO_MANY_VALUES: &str = "document has more than 1000000 values";

impl Error {
    fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            at: None,
        }
    }
}

/// A document that was read.
#[derive(Debug, Clone)]
pub struct Document {
    /// The document as JSON, keys sorted as Go sorts them. Levels below [`Tree::MAX_VALUE_DEPTH`] are cut.
    pub value: Value,
    /// Keys that are set twice in a mapping, in the words of the strict decoder:
    /// `line 3: key "kind" already set in map`.
    pub duplicate_keys: Vec<String>,
    /// The document with the place of every value and key.
    pub tree: Tree,
}

impl Document {
    /// The error the strict decoder gives, if any: `yaml: unmarshal errors:` and the duplicate keys.
    #[must_use]
    pub fn strict_error(&self) -> Option<String> {
        strict_error(&self.duplicate_keys)
    }

    /// Where the value at a path such as `rules[0].level` begins.
    #[must_use]
    pub fn span(&self, path: &str) -> Option<Span> {
        self.tree.span(path)
    }
}

/// Reads the first document as YAML, as `yaml.YAMLToJSON` does.
///
/// # Errors
/// The real decoder's text.
pub fn to_json(bytes: &[u8]) -> Result<Document, Error> {
    let (tree, duplicate_keys) = to_tree(bytes)?;
    Ok(Document {
        value: tree.to_value(),
        duplicate_keys,
        tree,
    })
}

/// Reads the first document as YAML into a tree; gives the duplicate keys too.
///
/// # Errors
/// The real decoder's text.
pub fn to_tree(bytes: &[u8]) -> Result<(Tree, Vec<String>), Error> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::new("document is larger than 64 MiB"));
    }
    let source = source::Source::new(bytes);
    let nodes = compose::compose(&source)?;
    drop(source);
    let decoded = decode::decode(&nodes)?;
    drop(nodes);
    let tree = jsonable::convert(decoded.items, decoded.root)?;
    Ok((tree, decoded.duplicates))
}

/// Whether Kubernetes takes this content for JSON: the first thing that is not white space is `{`.
#[must_use]
pub fn looks_like_json(bytes: &[u8]) -> bool {
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        if first.is_ascii() {
            if !(first == b' ' || (9..=13).contains(&first)) {
                return first == b'{';
            }
            rest = tail;
            continue;
        }
        let head = rest.get(..rest.len().min(4)).unwrap_or_default();
        let text = match std::str::from_utf8(head) {
            Ok(text) => text,
            Err(error) => std::str::from_utf8(head.get(..error.valid_up_to()).unwrap_or_default())
                .unwrap_or_default(),
        };
        match text.chars().next() {
            Some(c) if c.is_whitespace() => rest = rest.get(c.len_utf8()..).unwrap_or_default(),
            _ => return false,
        }
    }
    false
}

pub(crate) fn strict_error(duplicates: &[String]) -> Option<String> {
    if duplicates.is_empty() {
        return None;
    }
    Some(format!(
        "yaml: unmarshal errors:\n  {}",
        duplicates.join("\n  ")
    ))
}

#[cfg(test)]
mod tests;
