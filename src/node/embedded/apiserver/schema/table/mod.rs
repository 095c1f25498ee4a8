//! The table of API types: JSON names, Go's field order, protobuf numbers, merge keys.
//!
//! `types.txt` has a line for every package, type and field:
//!
//! ```text
//! package NAME GO-PACKAGE GROUP
//! struct NAME [s=atomic]
//!  JSON-NAME PROTOBUF-NUMBER GO-TYPE [FLAGS]
//! alias NAME GO-TYPE [e=VALUE,VALUE...]
//! ```
//!
//! Flags of a field: `inline` (embedded, its fields appear in the parent), `o` (left out when empty), `z` (left out when
//! zero), `?` (optional though always there), `r` (repeated in protobuf), `p=` patch strategy, `k=` patch merge key, `l=` list type and `:keys`, `s=` struct or
//! map type, `d=` default as JSON. The name `.` belongs to an inline field, `-` to one without JSON.

mod parse;

use std::collections::HashMap;
use std::sync::OnceLock;

const TYPES: &str = include_str!("../types.txt");

/// Where a shape is in the table.
pub(super) type ShapeId = u16;
/// Where a struct is in the table.
pub(super) type StructId = u16;

/// Types with a JSON form of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Special {
    /// `metav1.Time`: RFC 3339, seconds.
    Time,
    /// `metav1.MicroTime`: RFC 3339, microseconds.
    MicroTime,
    /// `metav1.Duration`: a text such as `1m30s`.
    Duration,
    /// `resource.Quantity`.
    Quantity,
    /// `intstr.IntOrString`.
    IntOrString,
    /// JSON kept as it is: `metav1.FieldsV1`, `runtime.RawExtension`, `apiextensions.JSON`.
    Raw,
    /// A schema, or a list of schemas.
    SchemaOrArray,
    /// A schema, or a boolean.
    SchemaOrBool,
    /// A schema, or a list of property names.
    SchemaOrStrings,
}

/// A Go type as the decoder sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Shape {
    Bool,
    Int32,
    Int64,
    Float64,
    String,
    Bytes,
    Any,
    Pointer(ShapeId),
    List(ShapeId),
    Map(ShapeId, ShapeId),
    /// A named type that is no struct.
    Named(u16),
    Struct(StructId),
}

/// A named type that is no struct.
#[derive(Debug)]
pub(super) struct Named {
    pub name: &'static str,
    pub package: u16,
    pub underlying: ShapeId,
    /// The values of an enumeration, sorted, comma-separated.
    pub values: &'static str,
}

/// A struct.
#[derive(Debug)]
pub(super) struct Struct {
    pub name: &'static str,
    pub package: u16,
    pub atomic: bool,
    pub special: Option<Special>,
    pub fields: Vec<Field>,
    /// The fields as JSON has them: embedded structs dissolved. Struct and index of each.
    pub flat: Vec<(StructId, u16)>,
}

/// A field of a struct.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field {
    pub json: &'static str,
    /// Protobuf number; 0 for none.
    pub number: u16,
    pub shape: ShapeId,
    pub inline: bool,
    pub omit_empty: bool,
    pub omit_zero: bool,
    pub optional: bool,
    pub repeated: bool,
    pub patch_strategy: &'static str,
    pub merge_key: &'static str,
    pub list_type: &'static str,
    pub list_keys: &'static str,
    pub struct_type: &'static str,
    pub default: &'static str,
}

/// A package of types.
#[derive(Debug)]
pub(super) struct Package {
    pub name: &'static str,
    pub go_name: &'static str,
    pub group: &'static str,
}

/// The whole table.
#[derive(Debug, Default)]
pub(super) struct Types {
    pub packages: Vec<Package>,
    pub structs: Vec<Struct>,
    pub named: Vec<Named>,
    pub shapes: Vec<Shape>,
    shape_ids: HashMap<Shape, ShapeId>,
    names: HashMap<(&'static str, &'static str), Shape>,
    kinds: HashMap<(&'static str, &'static str, &'static str), StructId>,
    meta: HashMap<&'static str, StructId>,
}

/// The table, read at first use.
pub(super) fn types() -> &'static Types {
    static ONCE: OnceLock<Types> = OnceLock::new();
    ONCE.get_or_init(|| Types::parse(TYPES))
}

impl Types {
    /// The struct of a kind. Kinds of meta.k8s.io (`DeleteOptions`, `Status`...) belong to every group.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<StructId> {
        // `pods/eviction` still takes bodies of this version.
        let version = match (group, version, kind) {
            ("policy", "v1beta1", "Eviction") => "v1",
            _ => version,
        };
        self.kinds
            .get(&(group, version, kind))
            .or_else(|| self.meta.get(kind))
            .copied()
    }

    /// The struct of this Go name in a group and version, kind or not; `meta.k8s.io` for meta/v1.
    pub fn named_struct(&self, group: &str, version: &str, name: &str) -> Option<StructId> {
        let package = self.packages.iter().find(|p| {
            p.group == group && p.name.rsplit_once('/').is_some_and(|(_, v)| v == version)
        })?;
        match self.names.get(&(package.name, name)) {
            Some(Shape::Struct(id)) => Some(*id),
            _ => None,
        }
    }

    pub fn get(&self, id: StructId) -> Option<&Struct> {
        self.structs.get(usize::from(id))
    }

    pub fn shape(&self, id: ShapeId) -> Shape {
        self.shapes
            .get(usize::from(id))
            .copied()
            .unwrap_or(Shape::Any)
    }

    /// The shape without pointers and names.
    pub fn bare(&self, id: ShapeId) -> Shape {
        match self.shape(id) {
            Shape::Pointer(inner) => self.bare(inner),
            Shape::Named(name) => self.bare(self.underlying(name)),
            shape => shape,
        }
    }

    /// The shape's place without pointers.
    pub fn strip(&self, id: ShapeId) -> ShapeId {
        match self.shape(id) {
            Shape::Pointer(inner) => self.strip(inner),
            _ => id,
        }
    }

    pub fn underlying(&self, name: u16) -> ShapeId {
        self.named
            .get(usize::from(name))
            .map_or(0, |named| named.underlying)
    }

    /// The fields of a struct as JSON has them.
    pub fn json_fields(&self, known: &'static Struct) -> impl Iterator<Item = &Field> {
        known
            .flat
            .iter()
            .filter_map(|(owner, index)| self.get(*owner)?.fields.get(usize::from(*index)))
    }

    /// A type as Go prints it: `[]v1.Container`.
    pub fn go_name(&self, id: ShapeId) -> String {
        let qualified = |package: u16, name: &str| {
            let package = self.packages.get(usize::from(package));
            format!("{}.{name}", package.map_or("", |p| p.go_name))
        };
        match self.shape(id) {
            Shape::Bool => "bool".to_owned(),
            Shape::Int32 => "int32".to_owned(),
            Shape::Int64 => "int64".to_owned(),
            Shape::Float64 => "float64".to_owned(),
            Shape::String => "string".to_owned(),
            Shape::Bytes => "[]uint8".to_owned(),
            Shape::Any => "interface {}".to_owned(),
            Shape::Pointer(inner) => format!("*{}", self.go_name(inner)),
            Shape::List(inner) => format!("[]{}", self.go_name(inner)),
            Shape::Map(key, value) => format!("map[{}]{}", self.go_name(key), self.go_name(value)),
            Shape::Named(name) => self
                .named
                .get(usize::from(name))
                .map_or_else(String::new, |named| qualified(named.package, named.name)),
            Shape::Struct(id) => self
                .get(id)
                .map_or_else(String::new, |known| qualified(known.package, known.name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_is_understood() {
        let types = types();
        assert!(types.structs.len() > 600, "{}", types.structs.len());
        let any = |shape: ShapeId| types.bare(shape) == Shape::Any;
        let unknown: Vec<_> = types
            .structs
            .iter()
            .flat_map(|s| s.fields.iter().map(move |f| (s.name, f.json, f.shape)))
            .filter(|(_, json, shape)| any(*shape) && *json != "cells")
            .collect();
        assert_eq!(unknown, []);
    }

    #[test]
    fn every_built_in_kind_and_its_list_is_in_the_table() {
        for resource in crate::node::embedded::apiserver::catalog::built_in() {
            let (group, version) = (resource.group.as_str(), resource.version.as_str());
            assert!(
                types().kind(group, version, &resource.kind).is_some(),
                "{resource:?}"
            );
            if resource.verbs.iter().any(|verb| verb == "list") {
                let list = resource.list_kind();
                assert!(types().kind(group, version, &list).is_some(), "{list}");
            }
            for sub in &resource.subresources {
                let (group, version, kind) = resource.body_kind(&sub.name).unwrap();
                assert!(types().kind(group, version, kind).is_some(), "{kind}");
            }
        }
    }
}
