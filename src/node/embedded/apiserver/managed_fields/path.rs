//! Paths of fields and sets of them (`sigs.k8s.io/structured-merge-diff` fieldpath), and their FieldsV1 form.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value};

/// One step of a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Element {
    /// A field of a struct or key of a map.
    Field(String),
    /// An item of a list, by its key fields, sorted.
    Key(Vec<(String, Value)>),
    /// An item of a set.
    Item(Value),
    /// An item of a list, by position.
    Index(usize),
}

impl Eq for Element {}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Element::Field(a), Element::Field(b)) => a.cmp(b),
            (Element::Key(a), Element::Key(b)) => {
                for ((name_a, value_a), (name_b, value_b)) in a.iter().zip(b) {
                    let order = name_a.cmp(name_b).then_with(|| compare(value_a, value_b));
                    if order != Ordering::Equal {
                        return order;
                    }
                }
                a.len().cmp(&b.len())
            }
            (Element::Item(a), Element::Item(b)) => compare(a, b),
            (Element::Index(a), Element::Index(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => x
            .as_f64()
            .unwrap_or(0.0)
            .total_cmp(&y.as_f64().unwrap_or(0.0)),
        (Value::String(x), Value::String(y)) => x.cmp(y),
        _ => a.to_string().cmp(&b.to_string()),
    }
}

impl Element {
    fn rank(&self) -> u8 {
        match self {
            Element::Field(_) => 0,
            Element::Key(_) => 1,
            Element::Item(_) => 2,
            Element::Index(_) => 3,
        }
    }

    /// As in FieldsV1: `f:name`, `k:{"name":"x"}`, `v:"x"`, `i:0`.
    fn encoded(&self) -> String {
        match self {
            Element::Field(name) => format!("f:{name}"),
            Element::Key(fields) => {
                let map: Map<String, Value> = fields.iter().cloned().collect();
                format!("k:{}", Value::Object(map))
            }
            Element::Item(value) => format!("v:{value}"),
            Element::Index(index) => format!("i:{index}"),
        }
    }

    fn decoded(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Element::Field(rest.to_owned())),
            "v" => Some(Element::Item(serde_json::from_str(rest).ok()?)),
            "i" => Some(Element::Index(rest.parse().ok()?)),
            "k" => {
                let map: Map<String, Value> = serde_json::from_str(rest).ok()?;
                let mut fields: Vec<(String, Value)> = map.into_iter().collect();
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                Some(Element::Key(fields))
            }
            _ => None,
        }
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Element::Field(name) => write!(f, ".{name}"),
            Element::Key(fields) => {
                let parts: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("{name}={value}"))
                    .collect();
                write!(f, "[{}]", parts.join(","))
            }
            Element::Item(value) => write!(f, "[={value}]"),
            Element::Index(index) => write!(f, "[{index}]"),
        }
    }
}

/// A path as messages show it: `.spec.containers[name="main"].image`.
pub(super) fn show(path: &[Element]) -> String {
    path.iter().map(ToString::to_string).collect()
}

/// A set of paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set {
    members: BTreeSet<Element>,
    children: BTreeMap<Element, Set>,
}

impl Set {
    /// A set of these paths of field names.
    pub(super) fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            let path: Vec<Element> = path
                .iter()
                .map(|name| Element::Field((*name).to_owned()))
                .collect();
            set.insert(&path);
        }
        set
    }

    /// Adds a path; the empty path is in no set.
    pub(super) fn insert(&mut self, path: &[Element]) {
        match path {
            [] => {}
            [last] => {
                self.members.insert(last.clone());
            }
            [first, rest @ ..] => self.children.entry(first.clone()).or_default().insert(rest),
        }
    }

    pub(super) fn has(&self, path: &[Element]) -> bool {
        match path {
            [] => false,
            [last] => self.members.contains(last),
            [first, rest @ ..] => self.children.get(first).is_some_and(|c| c.has(rest)),
        }
    }

    pub(super) fn has_member(&self, element: &Element) -> bool {
        self.members.contains(element)
    }

    /// The paths below an element.
    pub(super) fn below(&self, element: &Element) -> Option<&Set> {
        self.children.get(element).filter(|set| !set.is_empty())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty() && self.children.values().all(Set::is_empty)
    }

    pub(super) fn union(&self, other: &Set) -> Set {
        let mut out = self.clone();
        out.members.extend(other.members.iter().cloned());
        for (element, theirs) in &other.children {
            let merged = match out.children.get(element) {
                Some(ours) => ours.union(theirs),
                None => theirs.clone(),
            };
            out.children.insert(element.clone(), merged);
        }
        out
    }

    pub(super) fn intersection(&self, other: &Set) -> Set {
        let mut out = Set {
            members: self.members.intersection(&other.members).cloned().collect(),
            children: BTreeMap::new(),
        };
        for (element, ours) in &self.children {
            if let Some(theirs) = other.children.get(element) {
                let both = ours.intersection(theirs);
                if !both.is_empty() {
                    out.children.insert(element.clone(), both);
                }
            }
        }
        out
    }

    /// Our paths that are not in the other set.
    pub(super) fn difference(&self, other: &Set) -> Set {
        let mut out = Set {
            members: self.members.difference(&other.members).cloned().collect(),
            children: BTreeMap::new(),
        };
        for (element, ours) in &self.children {
            let left = match other.children.get(element) {
                Some(theirs) => ours.difference(theirs),
                None => ours.clone(),
            };
            if !left.is_empty() {
                out.children.insert(element.clone(), left);
            }
        }
        out
    }

    /// Our paths that are neither in the other set nor below one of its paths.
    pub(super) fn recursive_difference(&self, other: &Set) -> Set {
        let mut out = Set {
            members: self.members.difference(&other.members).cloned().collect(),
            children: BTreeMap::new(),
        };
        for (element, ours) in &self.children {
            if other.members.contains(element) {
                continue;
            }
            let left = match other.children.get(element) {
                Some(theirs) => ours.recursive_difference(theirs),
                None => ours.clone(),
            };
            if !left.is_empty() {
                out.children.insert(element.clone(), left);
            }
        }
        out
    }

    /// The set with every element that has something below it and that `named` accepts as a member.
    pub(super) fn with_members(&self, named: &dyn Fn(&[Element]) -> bool) -> Set {
        self.with_members_at(named, &mut Vec::new())
    }

    fn with_members_at(&self, named: &dyn Fn(&[Element]) -> bool, path: &mut Vec<Element>) -> Set {
        let mut out = Set {
            members: self.members.clone(),
            children: BTreeMap::new(),
        };
        for (element, set) in &self.children {
            path.push(element.clone());
            if named(path) {
                out.members.insert(element.clone());
            }
            out.children
                .insert(element.clone(), set.with_members_at(named, path));
            path.pop();
        }
        out
    }

    /// Every path, members before what is below.
    pub(super) fn paths(&self) -> Vec<Vec<Element>> {
        let mut all: Vec<Vec<Element>> = self.members.iter().map(|m| vec![m.clone()]).collect();
        for (element, set) in &self.children {
            for rest in set.paths() {
                let mut path = vec![element.clone()];
                path.extend(rest);
                all.push(path);
            }
        }
        all
    }

    /// FieldsV1.
    pub(super) fn encode(&self) -> Value {
        let mut out = Map::new();
        let elements: BTreeSet<&Element> = self
            .members
            .iter()
            .chain(
                self.children
                    .iter()
                    .filter(|(_, set)| !set.is_empty())
                    .map(|(element, _)| element),
            )
            .collect();
        for element in elements {
            let mut value = match self.children.get(element).map(Set::encode) {
                Some(Value::Object(map)) => map,
                _ => Map::new(),
            };
            if self.members.contains(element) && !value.is_empty() {
                value.shift_insert(0, ".".to_owned(), Value::Object(Map::new()));
            }
            out.insert(element.encoded(), Value::Object(value));
        }
        Value::Object(out)
    }

    /// A set from FieldsV1; `None` when that is malformed.
    pub(super) fn decode(value: &Value) -> Option<Self> {
        let mut set = Self::default();
        for (key, below) in value.as_object()? {
            if key == "." {
                continue;
            }
            let element = Element::decoded(key)?;
            let map = below.as_object()?;
            if map.is_empty() || map.contains_key(".") {
                set.members.insert(element.clone());
            }
            let children = Self::decode(below)?;
            if !children.is_empty() {
                set.children.insert(element, children);
            }
        }
        Some(set)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn paths() -> impl Strategy<Value = Vec<Vec<Element>>> {
        let element = prop_oneof![
            "[a-c]".prop_map(Element::Field),
            (0i64..3).prop_map(|n| Element::Key(vec![("k".to_owned(), json!(n))])),
            "[x-z]".prop_map(|s| Element::Item(json!(s))),
        ];
        prop::collection::vec(prop::collection::vec(element, 1..4), 0..8)
    }

    fn set(paths: &[Vec<Element>]) -> Set {
        let mut set = Set::default();
        for path in paths {
            set.insert(path);
        }
        set
    }

    proptest! {
        /// Sets of paths obey the laws of sets, and survive their FieldsV1 form.
        #[test]
        fn laws(a in paths(), b in paths()) {
            let (x, y) = (set(&a), set(&b));
            for path in a.iter().chain(&b) {
                let (ina, inb) = (a.contains(path), b.contains(path));
                prop_assert_eq!(x.union(&y).has(path), ina || inb);
                prop_assert_eq!(x.intersection(&y).has(path), ina && inb);
                prop_assert_eq!(x.difference(&y).has(path), ina && !inb);
            }
            prop_assert_eq!(Set::decode(&x.encode()).unwrap().paths(), x.paths());
        }
    }
}
