//! A document as JSON sees it, with the place of everything in it.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::token::Mark;

/// A place in a text, counted from one, in characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct Span {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl From<Mark> for Span {
    fn from(mark: Mark) -> Self {
        Self {
            line: mark.line + 1,
            column: mark.column + 1,
        }
    }
}

/// Index of a value in a [`Tree`].
pub type Id = usize;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Node {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as JSON writes it.
    Number(Arc<str>),
    /// A string.
    Text(Arc<str>),
    /// An array.
    Array(Vec<Id>),
    /// An object: sorted by key when it comes from YAML, as written when it comes from JSON.
    Object(Vec<Member>),
}

impl Node {
    /// How Go's JSON decoder calls this kind of value in an error.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Node::Null => "null",
            Node::Bool(_) => "bool",
            Node::Number(_) => "number",
            Node::Text(_) => "string",
            Node::Array(_) => "array",
            Node::Object(_) => "object",
        }
    }
}

/// A member of an object.
#[derive(Debug, Clone, PartialEq)]
pub struct Member {
    /// Name.
    pub key: Arc<str>,
    /// Where the name is written.
    pub key_span: Span,
    /// Value.
    pub value: Id,
}

/// A document. Values are kept side by side, so that no depth of nesting can exhaust a stack.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tree {
    nodes: Vec<(Node, Span)>,
    root: Id,
    too_deep: Option<char>,
}

impl Tree {
    /// Nesting that [`Tree::to_value`] still shows. No field of a Kubernetes object is that deep.
    pub const MAX_VALUE_DEPTH: usize = 500;

    /// Nesting that Go's JSON decoder still takes.
    pub const MAX_JSON_DEPTH: usize = 10_000;

    pub(super) fn new(nodes: Vec<(Node, Span)>, root: Id, too_deep: Option<char>) -> Self {
        Self {
            nodes,
            root,
            too_deep,
        }
    }

    /// The value of the whole document.
    #[must_use]
    pub fn root(&self) -> Id {
        self.root
    }

    /// The bracket at which Go's JSON decoder gives up because of the depth, if it does.
    #[must_use]
    pub fn too_deep(&self) -> Option<char> {
        self.too_deep
    }

    /// A value.
    #[must_use]
    pub fn node(&self, id: Id) -> &Node {
        self.nodes.get(id).map_or(&Node::Null, |(node, _)| node)
    }

    /// Where a value begins.
    #[must_use]
    pub fn place(&self, id: Id) -> Span {
        self.nodes
            .get(id)
            .map(|(_, span)| *span)
            .unwrap_or_default()
    }

    /// A member of an object; the last one of that name.
    #[must_use]
    pub fn member(&self, id: Id, key: &str) -> Option<&Member> {
        match self.node(id) {
            Node::Object(members) => members.iter().rev().find(|member| &*member.key == key),
            _ => None,
        }
    }

    /// An element of an array.
    #[must_use]
    pub fn element(&self, id: Id, at: usize) -> Option<Id> {
        match self.node(id) {
            Node::Array(elements) => elements.get(at).copied(),
            _ => None,
        }
    }

    /// The value at a path such as `rules[0].level`.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<Id> {
        let mut id = self.root;
        for part in path.split('.') {
            let (name, indexes) = match part.find('[') {
                Some(at) => (part.get(..at)?, part.get(at..)?),
                None => (part, ""),
            };
            if !name.is_empty() {
                id = self.member(id, name)?.value;
            }
            for index in indexes
                .split(']')
                .filter_map(|index| index.strip_prefix('['))
            {
                id = self.element(id, index.parse().ok()?)?;
            }
        }
        Some(id)
    }

    /// Where the value at a path begins.
    #[must_use]
    pub fn span(&self, path: &str) -> Option<Span> {
        self.at(path).map(|id| self.place(id))
    }

    /// The text of a string value.
    #[must_use]
    pub fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The document for `serde_json`. What lies deeper than [`Tree::MAX_VALUE_DEPTH`] becomes null; of
    /// members with the same name the last counts.
    #[must_use]
    pub fn to_value(&self) -> Value {
        self.value(self.root, 0)
    }

    fn value(&self, id: Id, depth: usize) -> Value {
        if depth > Self::MAX_VALUE_DEPTH {
            return Value::Null;
        }
        match self.node(id) {
            Node::Null => Value::Null,
            Node::Bool(value) => Value::Bool(*value),
            Node::Number(literal) => number(literal),
            Node::Text(text) => Value::String(text.as_ref().to_owned()),
            Node::Array(elements) => elements
                .iter()
                .map(|id| self.value(*id, depth + 1))
                .collect(),
            Node::Object(members) => {
                let members = members.iter().map(|member| {
                    (
                        member.key.as_ref().to_owned(),
                        self.value(member.value, depth + 1),
                    )
                });
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }
}

fn number(literal: &str) -> Value {
    if let Ok(n) = literal.parse::<i64>() {
        return n.into();
    }
    if let Ok(n) = literal.parse::<u64>() {
        return n.into();
    }
    literal.parse::<f64>().map_or(Value::Null, Value::from)
}
