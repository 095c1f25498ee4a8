//! What server-side apply must know of a type: which lists merge, by which keys, and what is atomic.

use serde_json::Value;

use super::super::schema::{self, FieldInfo, TypeKind, TypeRef};
use super::path::Element;

/// The type of a value: of a built-in kind, of a custom resource, or found out from the value itself.
#[derive(Debug, Clone, Copy)]
pub(super) enum Shape<'a> {
    /// A Go type; `info` is what the field says beyond it.
    Typed(TypeRef, Option<FieldInfo>),
    /// A structural schema; `true` at the root of an object.
    Custom(&'a Value, bool),
    /// Nothing is known: maps merge, lists are atomic.
    Deduced,
    /// A scalar.
    Scalar,
}

/// How a value is owned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Atom {
    /// As a whole.
    Leaf,
    /// Field by field.
    Map,
    /// A map owned as a whole.
    AtomicMap,
    /// A list owned as a whole.
    AtomicList,
    /// Item by item, by value.
    SetList,
    /// Item by item, by these keys.
    KeyedList(Vec<String>),
}

impl<'a> Shape<'a> {
    /// The root of a built-in kind.
    pub(super) fn built_in(group: &str, version: &str, kind: &str) -> Self {
        schema::root(group, version, kind).map_or(Shape::Deduced, |ty| Shape::Typed(ty, None))
    }

    /// How a value of this shape is owned.
    pub(super) fn atom(&self, value: Option<&Value>) -> Atom {
        match self {
            Shape::Scalar => Atom::Leaf,
            Shape::Deduced => match value {
                Some(Value::Object(_)) => Atom::Map,
                Some(Value::Array(_)) => Atom::AtomicList,
                _ => Atom::Leaf,
            },
            Shape::Typed(ty, info) => match ty.kind() {
                TypeKind::Scalar => Atom::Leaf,
                // Raw extensions are owned as a whole.
                TypeKind::Raw => match value {
                    Some(Value::Object(_)) => Atom::AtomicMap,
                    Some(Value::Array(_)) => Atom::AtomicList,
                    _ => Atom::Leaf,
                },
                TypeKind::Struct | TypeKind::Map => {
                    if info.map_or_else(|| ty.is_atomic(), |info| info.atomic) {
                        Atom::AtomicMap
                    } else {
                        Atom::Map
                    }
                }
                TypeKind::List => list_atom(info.as_ref()),
            },
            Shape::Custom(schema, root) => custom_atom(schema, *root, value),
        }
    }

    /// The shape of a field of a struct, or of a value of a map. `None`: not declared.
    pub(super) fn field(&self, name: &str) -> Option<Shape<'a>> {
        match self {
            Shape::Scalar => None,
            Shape::Deduced => Some(Shape::Deduced),
            Shape::Typed(ty, _) => match ty.kind() {
                TypeKind::Struct => ty.field(name).map(|info| Shape::Typed(info.ty, Some(info))),
                TypeKind::Map => ty.element().map(|ty| Shape::Typed(ty, None)),
                TypeKind::Raw => Some(Shape::Deduced),
                _ => None,
            },
            Shape::Custom(schema, root) => custom_field(schema, *root, name),
        }
    }

    /// Whether the type declares a field of this name (keys of maps are not declared).
    pub(super) fn declares(&self, name: &str) -> bool {
        match self {
            Shape::Typed(ty, _) => ty.kind() == TypeKind::Struct && ty.field(name).is_some(),
            Shape::Custom(schema, root) => {
                (*root && matches!(name, "kind" | "apiVersion" | "metadata"))
                    || schema
                        .get("properties")
                        .is_some_and(|properties| properties.get(name).is_some())
            }
            Shape::Deduced | Shape::Scalar => false,
        }
    }

    /// The shape of a list's items.
    pub(super) fn element(&self) -> Shape<'a> {
        match self {
            Shape::Typed(ty, _) => ty
                .element()
                .map_or(Shape::Deduced, |ty| Shape::Typed(ty, None)),
            Shape::Custom(schema, _) => schema
                .get("items")
                .map_or(Shape::Deduced, |items| Shape::Custom(items, false)),
            Shape::Deduced | Shape::Scalar => Shape::Deduced,
        }
    }

    /// The shape at a step of a path.
    pub(super) fn at(&self, element: &Element) -> Option<Shape<'a>> {
        match element {
            Element::Field(name) => self.field(name),
            _ => Some(self.element()),
        }
    }

    /// The default of a key field of a list's items.
    fn key_default(&self, key: &str) -> Option<Value> {
        match self.element() {
            Shape::Typed(ty, _) => {
                let field = ty.field(key)?;
                match (field.default, field.ty.go_name().as_str()) {
                    (Some(default), _) => serde_json::from_str(default).ok(),
                    // OpenAPI gives fields that are always written their zero value as default.
                    (None, "string") => Some(Value::String(String::new())),
                    (None, "int32" | "int64") => Some(Value::from(0)),
                    (None, _) => None,
                }
            }
            Shape::Custom(schema, _) => schema.get("properties")?.get(key)?.get("default").cloned(),
            _ => None,
        }
    }

    /// The path element of a list item. The error is that of structured-merge-diff.
    pub(super) fn item(&self, atom: &Atom, index: usize, item: &Value) -> Result<Element, String> {
        match atom {
            Atom::SetList => match item {
                Value::Object(_) | Value::Array(_) => Err(
                    "associative list without keys may not contain non-scalar values".to_owned(),
                ),
                Value::Null => {
                    Err("associative list without keys may not contain null values".to_owned())
                }
                scalar => Ok(Element::Item(scalar.clone())),
            },
            Atom::KeyedList(keys) => {
                let Some(map) = item.as_object() else {
                    return Err(if item.is_null() {
                        "associative list with keys may not have a null element".to_owned()
                    } else {
                        "associative list with keys may not have non-map elements".to_owned()
                    });
                };
                let mut fields = Vec::new();
                for key in keys {
                    if let Some(value) = map.get(key) {
                        fields.push((key.clone(), value.clone()));
                    } else if let Some(default) = self.key_default(key) {
                        fields.push((key.clone(), default));
                    }
                }
                if fields.is_empty() {
                    let quoted: Vec<String> = keys.iter().map(|k| format!("{k:?}")).collect();
                    return Err(format!(
                        "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values for any key fields)",
                        quoted.join(" ")
                    ));
                }
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                Ok(Element::Key(fields))
            }
            _ => Ok(Element::Index(index)),
        }
    }
}

fn list_atom(info: Option<&FieldInfo>) -> Atom {
    let Some(info) = info else {
        return Atom::AtomicList;
    };
    match info.list_type {
        Some("map") => Atom::KeyedList(info.keys().map(str::to_owned).collect()),
        Some("set") => Atom::SetList,
        Some(_) => Atom::AtomicList,
        None if info.merges() => match info.merge_key {
            Some(key) => Atom::KeyedList(vec![key.to_owned()]),
            None => Atom::SetList,
        },
        None => Atom::AtomicList,
    }
}

fn custom_atom(schema: &Value, root: bool, value: Option<&Value>) -> Atom {
    let text = |field: &str| schema.get(field).and_then(Value::as_str).unwrap_or("");
    match text("type") {
        "object" => {
            if text("x-kubernetes-map-type") == "atomic" {
                Atom::AtomicMap
            } else {
                Atom::Map
            }
        }
        "array" => match text("x-kubernetes-list-type") {
            "set" => Atom::SetList,
            "map" => Atom::KeyedList(
                schema
                    .get("x-kubernetes-list-map-keys")
                    .and_then(Value::as_array)
                    .map(|keys| {
                        keys.iter()
                            .filter_map(|k| k.as_str().map(str::to_owned))
                            .collect()
                    })
                    .unwrap_or_default(),
            ),
            _ => Atom::AtomicList,
        },
        "" if root => Atom::Map,
        "" => Shape::Deduced.atom(value),
        _ => Atom::Leaf,
    }
}

fn custom_field<'a>(schema: &'a Value, root: bool, name: &str) -> Option<Shape<'a>> {
    if root {
        match name {
            "kind" | "apiVersion" => return Some(Shape::Scalar),
            "metadata" => {
                let info =
                    schema::field("meta.k8s.io", "v1", "PartialObjectMetadata", &["metadata"]);
                return Some(info.map_or(Shape::Deduced, |info| Shape::Typed(info.ty, Some(info))));
            }
            _ => {}
        }
    }
    if let Some(property) = schema.get("properties").and_then(|p| p.get(name)) {
        return Some(Shape::Custom(property, false));
    }
    match schema.get("additionalProperties") {
        Some(values @ Value::Object(_)) => return Some(Shape::Custom(values, false)),
        Some(Value::Bool(true)) => return Some(Shape::Deduced),
        _ => {}
    }
    let preserves = schema
        .get("x-kubernetes-preserve-unknown-fields")
        .and_then(Value::as_bool)
        .unwrap_or(false);
    let unknown = schema.get("type").is_none();
    (preserves || unknown).then_some(Shape::Deduced)
}
