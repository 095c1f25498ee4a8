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

use std::collections::HashMap;
use std::sync::OnceLock;

const TYPES: &str = include_str!("types.txt");

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

/// The special form of a type of this package and name.
fn special(package: &str, name: &str) -> Option<Special> {
    Some(match (package, name) {
        ("meta/v1", "Time") => Special::Time,
        ("meta/v1", "MicroTime") => Special::MicroTime,
        ("meta/v1", "FieldsV1") | ("runtime", "RawExtension") | ("apiextensions/v1", "JSON") => {
            Special::Raw
        }
        ("resource", "Quantity") => Special::Quantity,
        ("intstr", "IntOrString") => Special::IntOrString,
        ("apiextensions/v1", "JSONSchemaPropsOrArray") => Special::SchemaOrArray,
        ("apiextensions/v1", "JSONSchemaPropsOrBool") => Special::SchemaOrBool,
        ("apiextensions/v1", "JSONSchemaPropsOrStringArray") => Special::SchemaOrStrings,
        _ => return None,
    })
}

/// Types of packages that the table does not list: package, name, whether a string (else a struct with a form of its own).
const FOREIGN: [(&str, &str, bool); 8] = [
    ("meta/v1", "Time", false),
    ("meta/v1", "MicroTime", false),
    ("meta/v1", "FieldsV1", false),
    ("resource", "Quantity", false),
    ("runtime", "RawExtension", false),
    ("intstr", "IntOrString", false),
    ("types", "UID", true),
    ("types", "NodeName", true),
];

impl Types {
    fn parse(text: &'static str) -> Self {
        let mut types = Self::default();
        types.declare(text);
        types.define(text);
        types.flatten();
        types.index_kinds();
        types
    }

    /// First pass: every name gets its place.
    fn declare(&mut self, text: &'static str) {
        let string = self.intern(Shape::String);
        for (package, name, is_string) in FOREIGN {
            let at = self.package(package);
            if is_string {
                self.add_named(at, package, name, string);
            } else {
                self.add_struct(at, package, name, false);
            }
        }
        let mut package = "";
        let mut at = 0;
        for line in text.lines() {
            let mut words = line.split(' ');
            match (words.next(), words.next()) {
                (Some("package"), Some(name)) => {
                    package = name;
                    at = self.package(name);
                    if let (Some(known), Some(go_name), Some(group)) = (
                        self.packages.get_mut(usize::from(at)),
                        words.next(),
                        words.next(),
                    ) {
                        known.go_name = go_name;
                        known.group = if group == "core" { "" } else { group };
                    }
                }
                (Some("struct"), Some(name)) => {
                    let atomic = words.next() == Some("s=atomic");
                    self.add_struct(at, package, name, atomic);
                }
                (Some("alias"), Some(name)) => self.add_named(at, package, name, 0),
                _ => {}
            }
        }
    }

    /// Second pass: fields and aliases, now that every name is known.
    fn define(&mut self, text: &'static str) {
        let mut package = "";
        let mut current: Option<StructId> = None;
        for line in text.lines() {
            if let Some(row) = line.strip_prefix(' ') {
                let field = self.field(package, row);
                if let (Some(field), Some(id)) = (field, current)
                    && let Some(known) = self.structs.get_mut(usize::from(id))
                {
                    known.fields.push(field);
                }
                continue;
            }
            let mut words = line.split(' ');
            match (words.next(), words.next()) {
                (Some("package"), Some(name)) => package = name,
                (Some("struct"), Some(name)) => {
                    current = match self.names.get(&(package, name)) {
                        Some(Shape::Struct(id)) => Some(*id),
                        _ => None,
                    };
                }
                (Some("alias"), Some(name)) => {
                    let underlying = self.shape_of(package, words.next().unwrap_or("string"));
                    if let Some(Shape::Named(id)) = self.names.get(&(package, name))
                        && let Some(known) = self.named.get_mut(usize::from(*id))
                    {
                        known.underlying = underlying;
                        known.values = line.split_once(" e=").map_or("", |(_, values)| values);
                    }
                }
                _ => {}
            }
        }
    }

    fn package(&mut self, name: &'static str) -> u16 {
        let at = self.packages.iter().position(|p| p.name == name);
        let at = at.unwrap_or_else(|| {
            self.packages.push(Package {
                name,
                go_name: if name == "meta/v1" { "v1" } else { name },
                group: "",
            });
            self.packages.len() - 1
        });
        u16::try_from(at).unwrap_or(0)
    }

    fn add_struct(
        &mut self,
        package: u16,
        package_name: &'static str,
        name: &'static str,
        atomic: bool,
    ) {
        let id = u16::try_from(self.structs.len()).unwrap_or(0);
        self.structs.push(Struct {
            name,
            package,
            atomic,
            special: special(package_name, name),
            fields: Vec::new(),
            flat: Vec::new(),
        });
        self.names.insert((package_name, name), Shape::Struct(id));
    }

    fn add_named(
        &mut self,
        package: u16,
        package_name: &'static str,
        name: &'static str,
        underlying: ShapeId,
    ) {
        let id = u16::try_from(self.named.len()).unwrap_or(0);
        self.named.push(Named {
            name,
            package,
            underlying,
            values: "",
        });
        self.names.insert((package_name, name), Shape::Named(id));
    }

    fn intern(&mut self, shape: Shape) -> ShapeId {
        if let Some(id) = self.shape_ids.get(&shape) {
            return *id;
        }
        let id = u16::try_from(self.shapes.len()).unwrap_or(0);
        self.shapes.push(shape);
        self.shape_ids.insert(shape, id);
        id
    }

    /// Reads a type in Go's syntax, seen from `package`.
    fn shape_of(&mut self, package: &'static str, text: &'static str) -> ShapeId {
        let shape = if let Some(inner) = text.strip_prefix('*') {
            Shape::Pointer(self.shape_of(package, inner))
        } else if text == "[]byte" {
            Shape::Bytes
        } else if let Some(inner) = text.strip_prefix("[]") {
            Shape::List(self.shape_of(package, inner))
        } else if let Some((key, value)) = text
            .strip_prefix("map[")
            .and_then(|rest| rest.split_once(']'))
        {
            Shape::Map(self.shape_of(package, key), self.shape_of(package, value))
        } else {
            match text {
                "string" => Shape::String,
                "bool" => Shape::Bool,
                "int32" => Shape::Int32,
                "int64" => Shape::Int64,
                "float64" => Shape::Float64,
                "interface{}" => Shape::Any,
                _ => {
                    let (from, name) = text.rsplit_once('.').unwrap_or((package, text));
                    self.names.get(&(from, name)).copied().unwrap_or(Shape::Any)
                }
            }
        };
        self.intern(shape)
    }

    fn field(&mut self, package: &'static str, row: &'static str) -> Option<Field> {
        let mut words = row.split(' ');
        let json = words.next()?;
        let number = words.next()?.parse().unwrap_or(0);
        let shape = self.shape_of(package, words.next()?);
        let mut field = Field {
            json,
            number,
            shape,
            inline: false,
            omit_empty: false,
            omit_zero: false,
            optional: false,
            repeated: false,
            patch_strategy: "",
            merge_key: "",
            list_type: "",
            list_keys: "",
            struct_type: "",
            default: "",
        };
        for flag in words {
            match flag.split_once('=') {
                Some(("p", value)) => field.patch_strategy = value,
                Some(("k", value)) => field.merge_key = value,
                Some(("l", value)) => {
                    (field.list_type, field.list_keys) =
                        value.split_once(':').unwrap_or((value, ""));
                }
                Some(("s", value)) => field.struct_type = value,
                Some(("d", value)) => field.default = value,
                _ => match flag {
                    "inline" => field.inline = true,
                    "o" => field.omit_empty = true,
                    "z" => field.omit_zero = true,
                    "?" => field.optional = true,
                    "r" => field.repeated = true,
                    _ => {}
                },
            }
        }
        // Only a named list can be a message of its own.
        field.repeated |= matches!(self.shape(shape), Shape::List(_));
        Some(field)
    }

    fn flatten(&mut self) {
        for id in 0..self.structs.len() {
            let mut flat = Vec::new();
            self.collect(u16::try_from(id).unwrap_or(0), &mut flat, 0);
            if let Some(known) = self.structs.get_mut(id) {
                known.flat = flat;
            }
        }
    }

    fn collect(&self, id: StructId, into: &mut Vec<(StructId, u16)>, depth: u8) {
        let Some(known) = self.structs.get(usize::from(id)) else {
            return;
        };
        for (index, field) in known.fields.iter().enumerate() {
            if field.inline && depth < 8 {
                if let Shape::Struct(inner) = self.shape(self.strip(field.shape)) {
                    self.collect(inner, into, depth + 1);
                }
            } else if field.json != "-" {
                into.push((id, u16::try_from(index).unwrap_or(0)));
            }
        }
    }

    /// Every struct with type metadata is a kind.
    fn index_kinds(&mut self) {
        let type_meta = self.names.get(&("meta/v1", "TypeMeta")).copied();
        for (id, known) in self.structs.iter().enumerate() {
            let Some(first) = known.fields.first() else {
                continue;
            };
            if !first.inline || Some(self.shape(first.shape)) != type_meta {
                continue;
            }
            let Some(package) = self.packages.get(usize::from(known.package)) else {
                continue;
            };
            let id = u16::try_from(id).unwrap_or(0);
            let version = package
                .name
                .rsplit_once('/')
                .map_or("", |(_, version)| version);
            self.kinds.insert((package.group, version, known.name), id);
            if package.name == "meta/v1" {
                self.meta.insert(known.name, id);
            }
        }
    }

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
