//! From nodes to values: aliases expanded, merges applied (`decode.go` of goyaml.v2, the decoder half).
//!
//! The real decoder recurses; this one keeps its own stack, so that depth costs memory and never the
//! stack of the thread.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::compose::{Node, NodeId, Nodes};
use super::number::Number;
use super::resolve::{Scalar, resolve};
use super::token::Mark;
use super::{Error, go};

/// Index of a value in [`Decoded::items`].
pub(super) type ItemId = usize;

/// More duplicate keys than anybody reads are not collected.
const MAX_DUPLICATES: usize = 10_000;

/// A value.
#[derive(Debug)]
pub(super) enum Item {
    Scalar(Scalar),
    Sequence(Vec<ItemId>),
    Mapping(Mapping),
}

/// A mapping, in the order its keys were first set.
#[derive(Debug, Default)]
pub(super) struct Mapping {
    pub entries: Vec<Entry>,
    index: HashMap<Identity, usize>,
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub key: Scalar,
    pub key_mark: Mark,
    pub value: ItemId,
}

/// What makes two keys the same key of a Go map.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Identity {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(u64),
    Text(Arc<str>),
}

impl From<&Scalar> for Identity {
    fn from(key: &Scalar) -> Self {
        match key {
            Scalar::Null => Identity::Null,
            Scalar::Bool(value) => Identity::Bool(*value),
            Scalar::Number(Number::Int(n)) => Identity::Int(*n),
            Scalar::Number(Number::Uint(n)) => Identity::Uint(*n),
            // Minus zero is zero.
            Scalar::Number(Number::Float(n)) => Identity::Float((n + 0.0).to_bits()),
            Scalar::Text(text) => Identity::Text(Arc::clone(text)),
        }
    }
}

/// A decoded document.
#[derive(Debug, Default)]
pub(super) struct Decoded {
    pub items: Vec<(Item, Mark)>,
    pub root: Option<ItemId>,
    pub duplicates: Vec<String>,
}

pub(super) fn decode(nodes: &Nodes) -> Result<Decoded, Error> {
    let mut decoder = Decoder {
        nodes,
        items: Vec::new(),
        frames: Vec::new(),
        open_aliases: HashSet::new(),
        decoded: 0,
        from_aliases: 0,
        duplicates: Vec::new(),
    };
    let root = match nodes.root {
        None => None,
        Some(root) => Some(decoder.run(root)?),
    };
    Ok(Decoded {
        items: decoder.items,
        root,
        duplicates: decoder.duplicates,
    })
}

/// Something that waits for the value of a node below it.
enum Frame {
    Alias(NodeId),
    Sequence {
        node: NodeId,
        next: usize,
        item: ItemId,
    },
    Mapping {
        node: NodeId,
        next: usize,
        item: ItemId,
        waits: Waits,
        /// Whether this frame made the mapping, or merges into that of another.
        owner: bool,
    },
    /// A `<<` with a sequence of mappings: the last first, so that earlier ones win.
    Merges {
        node: NodeId,
        left: usize,
        into: ItemId,
    },
}

enum Waits {
    Key,
    Value { key: Scalar, key_mark: Mark },
    Merge,
}

enum Step {
    /// Decode this node, into a mapping if it is merged.
    Visit(NodeId, Option<ItemId>),
    /// Go on with the innermost frame.
    Resume,
    /// Hand a value to the innermost frame.
    Complete(ItemId, NodeId),
}

struct Decoder<'a> {
    nodes: &'a Nodes,
    items: Vec<(Item, Mark)>,
    frames: Vec<Frame>,
    open_aliases: HashSet<NodeId>,
    decoded: u64,
    from_aliases: u64,
    duplicates: Vec<String>,
}

impl Decoder<'_> {
    fn run(&mut self, root: NodeId) -> Result<ItemId, Error> {
        // The document node counts as one decode operation.
        self.count()?;
        let mut step = Step::Visit(root, None);
        loop {
            step = match step {
                Step::Visit(node, into) => self.visit(node, into)?,
                Step::Resume => self.resume()?,
                Step::Complete(item, node) => {
                    if self.frames.is_empty() {
                        return Ok(item);
                    }
                    self.complete(item, node)?
                }
            };
        }
    }

    fn count(&mut self) -> Result<(), Error> {
        self.decoded += 1;
        if !self.open_aliases.is_empty() {
            self.from_aliases += 1;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let ratio = self.from_aliases as f64 / self.decoded as f64;
        if self.from_aliases > 100 && self.decoded > 1000 && ratio > allowed_ratio(self.decoded) {
            return Err(Error::new("yaml: document contains excessive aliasing"));
        }
        Ok(())
    }

    fn add(&mut self, item: Item, mark: Mark) -> ItemId {
        self.items.push((item, mark));
        self.items.len() - 1
    }

    fn visit(&mut self, id: NodeId, into: Option<ItemId>) -> Result<Step, Error> {
        self.count()?;
        let Some(placed) = self.nodes.get(id) else {
            return Err(Error::new("yaml: internal error: unknown node"));
        };
        match &placed.node {
            Node::Scalar {
                value,
                tag,
                implicit,
            } => {
                let scalar = resolve(value, tag.as_deref(), *implicit)?;
                let item = self.add(Item::Scalar(scalar), placed.mark);
                Ok(Step::Complete(item, id))
            }
            Node::Alias { name, target } => {
                if !self.open_aliases.insert(id) {
                    return Err(Error::new(format!(
                        "yaml: anchor '{name}' value contains itself"
                    )));
                }
                self.frames.push(Frame::Alias(id));
                Ok(Step::Visit(*target, into))
            }
            Node::Sequence(children) => {
                let item = self.add(
                    Item::Sequence(Vec::with_capacity(children.len())),
                    placed.mark,
                );
                self.frames.push(Frame::Sequence {
                    node: id,
                    next: 0,
                    item,
                });
                Ok(Step::Resume)
            }
            Node::Mapping(_) => {
                let item = match into {
                    Some(item) => item,
                    None => self.add(Item::Mapping(Mapping::default()), placed.mark),
                };
                self.frames.push(Frame::Mapping {
                    node: id,
                    next: 0,
                    item,
                    waits: Waits::Key,
                    owner: into.is_none(),
                });
                Ok(Step::Resume)
            }
        }
    }

    fn child(&self, node: NodeId, at: usize) -> Option<NodeId> {
        match &self.nodes.get(node)?.node {
            Node::Sequence(children) | Node::Mapping(children) => children.get(at).copied(),
            _ => None,
        }
    }

    fn resume(&mut self) -> Result<Step, Error> {
        let (node, next) = match self.frames.last() {
            Some(Frame::Sequence { node, next, .. } | Frame::Mapping { node, next, .. }) => {
                (*node, *next)
            }
            Some(Frame::Merges { node, left, .. }) => (*node, left.wrapping_sub(1)),
            _ => return Err(Error::new("yaml: internal error: nothing to resume")),
        };
        let child = self.child(node, next);
        let is_merge = child.is_some_and(|child| self.is_merge(child));
        let merged = child.and_then(|_| self.child(node, next + 1));
        match self.frames.last_mut() {
            Some(Frame::Sequence { next, item, .. }) => {
                if let Some(child) = child {
                    *next += 1;
                    return Ok(Step::Visit(child, None));
                }
                let item = *item;
                self.frames.pop();
                Ok(Step::Complete(item, node))
            }
            Some(Frame::Mapping {
                next,
                item,
                waits,
                owner,
                ..
            }) => {
                let item = *item;
                let Some(child) = child else {
                    if *owner && let Some((Item::Mapping(mapping), _)) = self.items.get_mut(item) {
                        mapping.index = HashMap::new();
                    }
                    self.frames.pop();
                    return Ok(Step::Complete(item, node));
                };
                if is_merge {
                    *next += 2;
                    *waits = Waits::Merge;
                    return self.merge(merged, item);
                }
                *next += 1;
                *waits = Waits::Key;
                Ok(Step::Visit(child, None))
            }
            Some(Frame::Merges { left, into, .. }) => {
                let into = *into;
                if *left == 0 {
                    self.frames.pop();
                    return Ok(Step::Complete(into, node));
                }
                *left -= 1;
                let child = child.filter(|child| self.is_mapping(*child));
                child
                    .map(|child| Step::Visit(child, Some(into)))
                    .ok_or_else(want_map)
            }
            _ => Err(want_map()),
        }
    }

    fn is_merge(&self, id: NodeId) -> bool {
        matches!(self.nodes.get(id).map(|placed| &placed.node),
            Some(Node::Scalar { value, tag, implicit })
                if &**value == "<<" && (*implicit || tag.as_deref() == Some("tag:yaml.org,2002:merge")))
    }

    /// Whether a node is a mapping or an alias of one.
    fn is_mapping(&self, id: NodeId) -> bool {
        let node = |id| self.nodes.get(id).map(|placed| &placed.node);
        match node(id) {
            Some(Node::Mapping(_)) => true,
            Some(Node::Alias { target, .. }) => matches!(node(*target), Some(Node::Mapping(_))),
            _ => false,
        }
    }

    fn merge(&mut self, value: Option<NodeId>, into: ItemId) -> Result<Step, Error> {
        let value = value.ok_or_else(want_map)?;
        if self.is_mapping(value) {
            return Ok(Step::Visit(value, Some(into)));
        }
        match self.nodes.get(value).map(|placed| &placed.node) {
            Some(Node::Sequence(children)) => {
                self.frames.push(Frame::Merges {
                    node: value,
                    left: children.len(),
                    into,
                });
                Ok(Step::Resume)
            }
            _ => Err(want_map()),
        }
    }

    fn complete(&mut self, done: ItemId, from: NodeId) -> Result<Step, Error> {
        match self.frames.last_mut() {
            Some(Frame::Alias(alias)) => {
                let alias = *alias;
                self.open_aliases.remove(&alias);
                self.frames.pop();
                return Ok(Step::Complete(done, alias));
            }
            Some(Frame::Sequence { item, .. }) => {
                if let Some((Item::Sequence(children), _)) = self.items.get_mut(*item) {
                    children.push(done);
                }
            }
            Some(Frame::Merges { .. }) | None => {}
            Some(Frame::Mapping {
                node,
                next,
                item,
                waits,
                ..
            }) => match std::mem::replace(waits, Waits::Key) {
                Waits::Merge => {}
                Waits::Key => {
                    let key_mark = self
                        .nodes
                        .get(from)
                        .map(|placed| placed.mark)
                        .unwrap_or_default();
                    let key = match self.items.get(done) {
                        Some((Item::Scalar(key), _)) => key.clone(),
                        _ => {
                            let key = go::item_syntax(&self.items, done);
                            return Err(Error::new(format!("yaml: invalid map key: {key}")));
                        }
                    };
                    *waits = Waits::Value { key, key_mark };
                    let (node, at) = (*node, *next);
                    *next += 1;
                    let value = self.child(node, at).ok_or_else(want_map)?;
                    return Ok(Step::Visit(value, None));
                }
                Waits::Value { key, key_mark } => {
                    let item = *item;
                    self.set(item, key, key_mark, done, from);
                }
            },
        }
        Ok(Step::Resume)
    }

    fn set(&mut self, item: ItemId, key: Scalar, key_mark: Mark, value: ItemId, from: NodeId) {
        let Some((Item::Mapping(mapping), _)) = self.items.get_mut(item) else {
            return;
        };
        let identity = Identity::from(&key);
        match mapping.index.get(&identity) {
            None => {
                mapping.index.insert(identity, mapping.entries.len());
                mapping.entries.push(Entry {
                    key,
                    key_mark,
                    value,
                });
            }
            Some(&at) => {
                if self.duplicates.len() < MAX_DUPLICATES {
                    // The line is that of the second value, not of its key.
                    let line = self.nodes.get(from).map_or(0, |placed| placed.mark.line) + 1;
                    let key = go::scalar_syntax(&key);
                    self.duplicates
                        .push(format!("line {line}: key {key} already set in map"));
                }
                if let Some(entry) = mapping.entries.get_mut(at) {
                    entry.key_mark = key_mark;
                    entry.value = value;
                }
            }
        }
    }
}

fn want_map() -> Error {
    Error::new("yaml: map merge requires map or sequence of maps as the value")
}

/// How much of the work may come from aliases: nearly all of it in a small document, a tenth in a huge one.
fn allowed_ratio(decoded: u64) -> f64 {
    const LOW: u64 = 400_000;
    const HIGH: u64 = 4_000_000;
    if decoded <= LOW {
        0.99
    } else if decoded >= HIGH {
        0.10
    } else {
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
        let part = (decoded - LOW) as f64 / (HIGH - LOW) as f64;
        0.99 - 0.89 * part
    }
}
