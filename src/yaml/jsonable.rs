//! From Go's values to JSON (`convertToJSONableObject` of `sigs.k8s.io/yaml`, then `json.Marshal`):
//! keys become strings, objects are sorted.

use std::sync::Arc;

use super::decode::{Entry, Item, ItemId};
use super::number::{Number, float_key};
use super::resolve::Scalar;
use super::token::Mark;
use super::tree::{Member, Node, Span, Tree};
use super::{Error, go};

/// More than this is not written: a real API server would run out of memory, we say so.
const MAX_BYTES: usize = 256 << 20;

pub(super) fn convert(items: Vec<(Item, Mark)>, root: Option<ItemId>) -> Result<Tree, Error> {
    let Some(root) = root else {
        return Ok(Tree::new(vec![(Node::Null, Span::default())], 0, None));
    };
    check_keys(&items, root)?;
    let mut nodes = Vec::with_capacity(items.len());
    for (item, mark) in &items {
        nodes.push((convert_item(item), Span::from(*mark)));
    }
    drop(items);
    let too_deep = check_output(&nodes, root)?;
    Ok(Tree::new(nodes, root, too_deep))
}

/// Fails on keys that JSON cannot have. Only what the root reaches counts: the value of a key that is
/// set again later is gone.
fn check_keys(items: &[(Item, Mark)], root: ItemId) -> Result<(), Error> {
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        match items.get(id) {
            Some((Item::Sequence(children), _)) => open.extend(children.iter().rev()),
            Some((Item::Mapping(mapping), _)) => {
                for Entry { key, value, .. } in &mapping.entries {
                    let kind = match key {
                        Scalar::Null => "%!s(<nil>)",
                        Scalar::Number(Number::Uint(_)) => "uint64",
                        _ => continue,
                    };
                    let key = match key {
                        // `%+#v` of a nil interface has no type to show.
                        Scalar::Null => "<nil>".to_owned(),
                        key => go::scalar_syntax(key),
                    };
                    let value = match items.get(*value) {
                        Some((Item::Scalar(Scalar::Null), _)) => "<nil>".to_owned(),
                        _ => go::item_syntax(items, *value),
                    };
                    return Err(Error::new(format!(
                        "unsupported map key of type: {kind}, key: {key}, value: {value}"
                    )));
                }
                open.extend(mapping.entries.iter().rev().map(|entry| entry.value));
            }
            _ => {}
        }
    }
    Ok(())
}

fn convert_item(item: &Item) -> Node {
    match item {
        Item::Scalar(Scalar::Null) => Node::Null,
        Item::Scalar(Scalar::Bool(value)) => Node::Bool(*value),
        Item::Scalar(Scalar::Number(number)) => match number.json() {
            Some(literal) => Node::Number(literal.into()),
            // Not a number in JSON; `check_output` refuses it by this text.
            None => Node::Number(number.go().into()),
        },
        Item::Scalar(Scalar::Text(text)) => Node::Text(Arc::clone(text)),
        Item::Sequence(children) => Node::Array(children.clone()),
        Item::Mapping(mapping) => {
            let mut members: Vec<Member> = mapping
                .entries
                .iter()
                .map(|entry| Member {
                    key: key_text(&entry.key),
                    key_span: Span::from(entry.key_mark),
                    value: entry.value,
                })
                .collect();
            // A number and a string can become the same key; the later one stays.
            members.sort_by(|a, b| a.key.cmp(&b.key));
            members.reverse();
            members.dedup_by(|later, earlier| later.key == earlier.key);
            members.reverse();
            Node::Object(members)
        }
    }
}

fn key_text(key: &Scalar) -> Arc<str> {
    match key {
        Scalar::Null => Arc::from("null"),
        Scalar::Bool(value) => Arc::from(if *value { "true" } else { "false" }),
        Scalar::Number(Number::Float(n)) => float_key(*n).into(),
        Scalar::Number(number) => number.go().into(),
        Scalar::Text(text) => Arc::clone(text),
    }
}

/// Walks the document as `json.Marshal` writes it: refuses what JSON cannot say, and notes the first
/// bracket that is too deep for Go's JSON decoder.
fn check_output(nodes: &[(Node, Span)], root: ItemId) -> Result<Option<char>, Error> {
    let mut open = vec![(root, 1usize)];
    let mut too_deep = None;
    let mut bytes = 0usize;
    while let Some((id, depth)) = open.pop() {
        bytes = bytes.saturating_add(4);
        let deep = depth > Tree::MAX_JSON_DEPTH;
        match nodes.get(id).map(|(node, _)| node) {
            Some(Node::Array(children)) => {
                if deep {
                    too_deep.get_or_insert('[');
                }
                open.extend(children.iter().rev().map(|id| (*id, depth + 1)));
            }
            Some(Node::Object(members)) => {
                if deep {
                    too_deep.get_or_insert('{');
                }
                for member in members.iter().rev() {
                    bytes = bytes.saturating_add(member.key.len());
                    open.push((member.value, depth + 1));
                }
            }
            Some(Node::Text(text)) => bytes = bytes.saturating_add(text.len()),
            Some(Node::Number(literal)) if matches!(&**literal, "NaN" | "+Inf" | "-Inf") => {
                return Err(Error::new(format!("json: unsupported value: {literal}")));
            }
            _ => {}
        }
        if bytes > MAX_BYTES {
            return Err(Error::new("document expands to more than 256 MiB"));
        }
    }
    Ok(too_deep)
}
