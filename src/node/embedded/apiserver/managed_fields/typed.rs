//! Comparing, merging and pruning of values by their type (`sigs.k8s.io/structured-merge-diff` typed).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::path::{Element, Set, show};
use super::shape::{Atom, Shape};

/// What differs between two values.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: Set,
    pub(super) modified: Set,
    pub(super) removed: Set,
}

impl Comparison {
    pub(super) fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// The same without ignored paths.
    pub(super) fn without(&self, ignored: &Set) -> Self {
        Self {
            added: self.added.recursive_difference(ignored),
            modified: self.modified.recursive_difference(ignored),
            removed: self.removed.recursive_difference(ignored),
        }
    }
}

/// Compares two objects of a shape.
pub(super) fn compare(shape: Shape<'_>, old: &Value, new: &Value) -> Comparison {
    let mut comparison = Comparison::default();
    compare_at(
        shape,
        Some(old),
        Some(new),
        &mut Vec::new(),
        &mut comparison,
    );
    comparison
}

fn is_nothing(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => false,
    }
}

fn leaf(old: Option<&Value>, new: Option<&Value>, path: &[Element], out: &mut Comparison) {
    match (old, new) {
        (None, Some(_)) => out.added.insert(path),
        (Some(_), None) => out.removed.insert(path),
        (Some(old), Some(new)) if old != new => out.modified.insert(path),
        _ => {}
    }
}

fn compare_at(
    shape: Shape<'_>,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Vec<Element>,
    out: &mut Comparison,
) {
    let atom = shape.atom(new.filter(|v| !v.is_null()).or(old));
    let whole = is_nothing(old) && is_nothing(new);
    match atom {
        Atom::Map if !whole && fits_map(old) && fits_map(new) => {
            let empty = Map::new();
            let old_map = old.and_then(Value::as_object).unwrap_or(&empty);
            let new_map = new.and_then(Value::as_object).unwrap_or(&empty);
            for key in old_map
                .keys()
                .chain(new_map.keys().filter(|key| !old_map.contains_key(*key)))
            {
                path.push(Element::Field(key.clone()));
                let below = shape.field(key).unwrap_or(Shape::Deduced);
                compare_at(below, old_map.get(key), new_map.get(key), path, out);
                path.pop();
            }
        }
        Atom::SetList | Atom::KeyedList(_) if !whole && fits_list(old) && fits_list(new) => {
            compare_lists(shape, &atom, old, new, path, out);
        }
        _ => {
            leaf(old, new, path, out);
            return;
        }
    }
    match (old, new) {
        (None, Some(_)) => out.added.insert(path),
        (Some(_), None) => out.removed.insert(path),
        _ => {}
    }
}

fn fits_map(value: Option<&Value>) -> bool {
    matches!(value, None | Some(Value::Null | Value::Object(_)))
}

fn fits_list(value: Option<&Value>) -> bool {
    matches!(value, None | Some(Value::Null | Value::Array(_)))
}

/// Items of a list by their path element, in order of appearance.
fn items<'v>(
    shape: Shape<'_>,
    atom: &Atom,
    value: Option<&'v Value>,
) -> (Vec<Element>, BTreeMap<Element, Vec<&'v Value>>) {
    let mut order = Vec::new();
    let mut by_element: BTreeMap<Element, Vec<&Value>> = BTreeMap::new();
    if let Some(Value::Array(list)) = value {
        for (index, item) in list.iter().enumerate() {
            let element = shape
                .item(atom, index, item)
                .unwrap_or(Element::Index(index));
            if !by_element.contains_key(&element) {
                order.push(element.clone());
            }
            by_element.entry(element).or_default().push(item);
        }
    }
    (order, by_element)
}

fn compare_lists(
    shape: Shape<'_>,
    atom: &Atom,
    old: Option<&Value>,
    new: Option<&Value>,
    path: &mut Vec<Element>,
    out: &mut Comparison,
) {
    let (mut order, old_items) = items(shape, atom, old);
    let (new_order, new_items) = items(shape, atom, new);
    order.extend(new_order.into_iter().filter(|e| !old_items.contains_key(e)));
    let element_shape = shape.element();
    let none = Vec::new();
    for element in order {
        let old = old_items.get(&element).unwrap_or(&none);
        let new = new_items.get(&element).unwrap_or(&none);
        path.push(element);
        match (old.as_slice(), new.as_slice()) {
            ([], [new]) => compare_at(element_shape, None, Some(new), path, out),
            ([old], []) => compare_at(element_shape, Some(old), None, path, out),
            ([old], [new]) => compare_at(element_shape, Some(old), Some(new), path, out),
            // Duplicates are compared as a whole.
            ([], _) => out.added.insert(path),
            (_, []) => out.removed.insert(path),
            (old, new) if old != new => out.modified.insert(path),
            _ => {}
        }
        path.pop();
    }
}

/// The paths an applied object sets (`ToFieldSet`).
pub(super) fn field_set(shape: Shape<'_>, object: &Value) -> Set {
    let mut set = Set::default();
    field_set_at(shape, object, &mut Vec::new(), &mut set);
    set
}

fn field_set_at(shape: Shape<'_>, value: &Value, path: &mut Vec<Element>, set: &mut Set) {
    let atom = shape.atom(Some(value));
    match (&atom, value) {
        (Atom::Map, Value::Object(map)) => {
            for (key, value) in map {
                path.push(Element::Field(key.clone()));
                let below = shape.field(key).unwrap_or(Shape::Deduced);
                field_set_at(below, value, path, set);
                let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                if empty || !shape.declares(key) {
                    set.insert(path);
                }
                path.pop();
            }
        }
        (Atom::SetList | Atom::KeyedList(_), Value::Array(list)) => {
            for (index, item) in list.iter().enumerate() {
                let element = shape
                    .item(&atom, index, item)
                    .unwrap_or(Element::Index(index));
                path.push(element);
                field_set_at(shape.element(), item, path, set);
                set.insert(path);
                path.pop();
            }
        }
        (Atom::Map | Atom::SetList | Atom::KeyedList(_), Value::Null) => {}
        _ => set.insert(path),
    }
}

/// What is wrong with an applied object, in the words of structured-merge-diff.
pub(super) fn validate(shape: Shape<'_>, object: &Value) -> Result<(), String> {
    let mut errors = Vec::new();
    validate_at(shape, object, &mut Vec::new(), &mut errors);
    match errors.as_slice() {
        [] => Ok(()),
        [one] => Err(one.clone()),
        many => {
            let lines: Vec<String> = many.iter().map(|e| format!("  {e}")).collect();
            Err(format!("errors:\n{}", lines.join("\n")))
        }
    }
}

fn validate_at(shape: Shape<'_>, value: &Value, path: &mut Vec<Element>, errors: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    let mut report =
        |path: &[Element], text: String| errors.push(format!("{}: {text}", show(path)));
    let atom = shape.atom(Some(value));
    match (&atom, value) {
        (Atom::Map | Atom::AtomicMap, Value::Object(map)) => {
            for (key, value) in map {
                path.push(Element::Field(key.clone()));
                match shape.field(key) {
                    Some(below) => validate_at(below, value, path, errors),
                    None => errors.push(format!("{}: field not declared in schema", show(path))),
                }
                path.pop();
            }
        }
        (Atom::AtomicList | Atom::SetList | Atom::KeyedList(_), Value::Array(list)) => {
            let mut seen: Vec<Element> = Vec::new();
            for (index, item) in list.iter().enumerate() {
                match shape.item(&atom, index, item) {
                    Err(error) => {
                        errors.push(format!("{}: element {index}: {error}", show(path)));
                        return;
                    }
                    Ok(element) => {
                        if seen.contains(&element) {
                            errors.push(format!(
                                "{}: duplicate entries for key {element}",
                                show(path)
                            ));
                        }
                        seen.push(element.clone());
                        path.push(element);
                        validate_at(shape.element(), item, path, errors);
                        path.pop();
                    }
                }
            }
        }
        (Atom::Map | Atom::AtomicMap, other) => {
            report(path, format!("expected map, got &{{{}}}", go(other)));
        }
        (Atom::AtomicList | Atom::SetList | Atom::KeyedList(_), other) => {
            report(path, format!("expected list, got &{{{}}}", go(other)));
        }
        (Atom::Leaf, _) => {
            if let Some(expected) = expected_scalar(shape, value) {
                report(path, format!("expected {expected}, got &{{{}}}", go(value)));
            }
        }
    }
}

/// The kind of scalar a value should have been.
fn expected_scalar(shape: Shape<'_>, value: &Value) -> Option<&'static str> {
    let Shape::Typed(ty, _) = shape else {
        return None;
    };
    let name = ty.go_name();
    let expected = match name.as_str() {
        "string" => "string",
        "bool" => "boolean",
        "int" | "int32" | "int64" | "uint8" => "numeric (int or float)",
        _ => {
            return value
                .is_object()
                .then_some("scalar")
                .or(value.is_array().then_some("scalar"));
        }
    };
    let fits = match expected {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        _ => value.is_number(),
    };
    (!fits).then_some(expected)
}

fn go(value: &Value) -> String {
    super::super::patch::go_value(value)
}

/// Merges an applied object into the live one.
pub(super) fn merge(shape: Shape<'_>, old: Option<&Value>, new: Option<&Value>) -> Option<Value> {
    let either = new.or(old)?;
    let atom = shape.atom(Some(either));
    let whole = is_nothing(old) && is_nothing(new);
    match atom {
        Atom::Map if !whole && fits_map(old) && fits_map(new) => {
            if new.is_some_and(Value::is_null) {
                return Some(Value::Null);
            }
            let empty = Map::new();
            let old_map = old.and_then(Value::as_object).unwrap_or(&empty);
            let new_map = new.and_then(Value::as_object).unwrap_or(&empty);
            let mut out = Map::new();
            for key in old_map
                .keys()
                .chain(new_map.keys().filter(|key| !old_map.contains_key(*key)))
            {
                let below = shape.field(key).unwrap_or(Shape::Deduced);
                if let Some(value) = merge(below, old_map.get(key), new_map.get(key)) {
                    out.insert(key.clone(), value);
                }
            }
            Some(Value::Object(out))
        }
        Atom::SetList | Atom::KeyedList(_) if !whole && fits_list(old) && fits_list(new) => {
            if new.is_some_and(Value::is_null) {
                return Some(Value::Null);
            }
            Some(Value::Array(merge_lists(shape, &atom, old, new)))
        }
        _ => Some(either.clone()),
    }
}

/// The applied order is kept; items only the live list has keep their place among what surrounds them.
fn merge_lists(
    shape: Shape<'_>,
    atom: &Atom,
    old: Option<&Value>,
    new: Option<&Value>,
) -> Vec<Value> {
    let (old_order, old_items) = items(shape, atom, old);
    let (new_order, new_items) = items(shape, atom, new);
    let element_shape = shape.element();
    let first = |items: &BTreeMap<Element, Vec<&Value>>, element: &Element| -> Option<Value> {
        items
            .get(element)
            .and_then(|list| list.first())
            .map(|value| (*value).clone())
    };
    let mut shared = new_order
        .iter()
        .filter(|e| old_items.contains_key(*e))
        .peekable();
    let mut merged: Vec<&Element> = Vec::new();
    let mut out = Vec::new();
    let (mut l, mut r) = (0, 0);
    loop {
        let (left, right) = (old_order.get(l), new_order.get(r));
        match (left, right) {
            (None, None) => break,
            (Some(a), Some(b)) if a == b => {
                out.extend(merge(
                    element_shape,
                    first(&old_items, a).as_ref(),
                    first(&new_items, b).as_ref(),
                ));
                merged.push(b);
                l += 1;
                r += 1;
                shared.next();
                continue;
            }
            (Some(a), Some(_))
                if new_items.contains_key(a) && shared.peek().is_some_and(|next| *next != a) =>
            {
                // A shared item, but not the one whose turn it is.
                l += 1;
                continue;
            }
            _ => {}
        }
        if let Some(a) = left {
            if !new_items.contains_key(a) {
                for value in old_items.get(a).into_iter().flatten() {
                    out.push((*value).clone());
                }
                l += 1;
                continue;
            } else if merged.contains(&a) {
                l += 1;
            }
        }
        if let Some(b) = right {
            out.extend(merge(
                element_shape,
                first(&old_items, b).as_ref(),
                first(&new_items, b).as_ref(),
            ));
            merged.push(b);
            r += 1;
            if shared.peek().is_some_and(|next| *next == b) {
                shared.next();
            }
        }
    }
    out
}

/// The value without these paths; what loses everything becomes null.
pub(super) fn remove(shape: Shape<'_>, value: &Value, paths: &Set) -> Value {
    let atom = shape.atom(Some(value));
    match (&atom, value) {
        (Atom::Map, Value::Object(map)) if !map.is_empty() => {
            let mut out = Map::new();
            for (key, value) in map {
                let element = Element::Field(key.clone());
                if paths.has_member(&element) {
                    continue;
                }
                let value = match paths.below(&element) {
                    Some(below) => {
                        let shape = shape.field(key).unwrap_or(Shape::Deduced);
                        remove(shape, value, below)
                    }
                    None => value.clone(),
                };
                out.insert(key.clone(), value);
            }
            if out.is_empty() {
                Value::Null
            } else {
                Value::Object(out)
            }
        }
        (Atom::SetList | Atom::KeyedList(_), Value::Array(list)) if !list.is_empty() => {
            let mut out = Vec::new();
            for (index, item) in list.iter().enumerate() {
                let element = shape
                    .item(&atom, index, item)
                    .unwrap_or(Element::Index(index));
                if paths.has_member(&element) {
                    continue;
                }
                out.push(match paths.below(&element) {
                    Some(below) => remove(shape.element(), item, below),
                    None => item.clone(),
                });
            }
            if out.is_empty() {
                Value::Null
            } else {
                Value::Array(out)
            }
        }
        _ => value.clone(),
    }
}
