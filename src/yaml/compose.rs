//! From events to nodes: one document, with anchors and aliases (`decode.go` of goyaml.v2, the parser half).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::parser::{Event, Parser, What};
use super::source::Source;
use super::token::Mark;
use super::{Error, MAX_VALUES, TOO_MANY_VALUES};

/// Index of a node in [`Nodes`].
pub(super) type NodeId = usize;

/// What a node is.
#[derive(Debug)]
pub(super) enum Node {
    Scalar {
        value: Arc<str>,
        tag: Option<Arc<str>>,
        implicit: bool,
    },
    Sequence(Vec<NodeId>),
    /// Keys and values, alternating.
    Mapping(Vec<NodeId>),
    Alias {
        name: Arc<str>,
        target: NodeId,
    },
}

/// A node and its place.
#[derive(Debug)]
pub(super) struct Placed {
    pub node: Node,
    pub mark: Mark,
}

/// The nodes of a document.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    pub all: Vec<Placed>,
    /// The root; nothing when the stream has no document.
    pub root: Option<NodeId>,
}

impl Nodes {
    pub fn get(&self, id: NodeId) -> Option<&Placed> {
        self.all.get(id)
    }
}

/// Reads the first document.
pub(super) fn compose(source: &Source<'_>) -> Result<Nodes, Error> {
    let mut parser = Parser::new(source);
    let mut composer = Composer::default();
    match parser.next()?.what {
        What::DocumentStart => {}
        _ => return Ok(Nodes::default()),
    }
    while composer.nodes.root.is_none() || !composer.open.is_empty() {
        composer.take(parser.next()?)?;
    }
    // The end of the document is part of it: what stands behind its last node is still checked.
    parser.next()?;
    Ok(composer.nodes)
}

#[derive(Default)]
struct Composer {
    nodes: Nodes,
    open: Vec<NodeId>,
    anchors: HashMap<String, NodeId>,
    texts: HashSet<Arc<str>>,
}

impl Composer {
    /// Short texts that come again and again are kept once.
    fn shared(&mut self, text: String) -> Arc<str> {
        if text.len() > 40 {
            return text.into();
        }
        if let Some(known) = self.texts.get(text.as_str()) {
            return Arc::clone(known);
        }
        let shared: Arc<str> = text.into();
        if self.texts.len() < 10_000 {
            self.texts.insert(Arc::clone(&shared));
        }
        shared
    }

    fn take(&mut self, event: Event) -> Result<(), Error> {
        let node = match event.what {
            What::SequenceEnd | What::MappingEnd => {
                self.open.pop();
                return Ok(());
            }
            What::StreamEnd => {
                return Err(Error::new(
                    "yaml: attempted to go past the end of stream; corrupted value?",
                ));
            }
            What::DocumentStart | What::DocumentEnd => {
                return Err(Error::new("yaml: attempted to parse unknown event"));
            }
            What::Alias(name) => {
                let Some(&target) = self.anchors.get(&name) else {
                    return Err(Error::new(format!(
                        "yaml: unknown anchor '{name}' referenced"
                    )));
                };
                Node::Alias {
                    name: name.into(),
                    target,
                }
            }
            What::Scalar {
                value,
                tag,
                implicit,
            } => Node::Scalar {
                value: self.shared(value),
                // The unspecific tag `!` asks for nothing.
                tag: tag.map(Arc::from),
                implicit,
            },
            What::SequenceStart => Node::Sequence(Vec::new()),
            What::MappingStart => Node::Mapping(Vec::new()),
        };
        if self.nodes.all.len() >= MAX_VALUES {
            return Err(Error::new(TOO_MANY_VALUES));
        }
        let container = matches!(node, Node::Sequence(_) | Node::Mapping(_));
        let id = self.nodes.all.len();
        self.nodes.all.push(Placed {
            node,
            mark: event.start,
        });
        if let Some(anchor) = event.anchor {
            self.anchors.insert(anchor, id);
        }
        match self.open.last() {
            None => self.nodes.root = Some(id),
            Some(&parent) => {
                if let Some(Placed {
                    node: Node::Sequence(children) | Node::Mapping(children),
                    ..
                }) = self.nodes.all.get_mut(parent)
                {
                    children.push(id);
                }
            }
        }
        if container {
            self.open.push(id);
        }
        Ok(())
    }
}
