//! Reading the table.

use super::{Field, Named, Package, Shape, ShapeId, Special, Struct, StructId, Types};

/// The special form of a type of this package and name.
fn special(package: &str, name: &str) -> Option<Special> {
    Some(match (package, name) {
        ("meta/v1", "Time") => Special::Time,
        ("meta/v1", "MicroTime") => Special::MicroTime,
        ("meta/v1", "Duration") => Special::Duration,
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
const FOREIGN: [(&str, &str, bool); 9] = [
    ("meta/v1", "Time", false),
    ("meta/v1", "MicroTime", false),
    ("meta/v1", "Duration", false),
    ("meta/v1", "FieldsV1", false),
    ("resource", "Quantity", false),
    ("runtime", "RawExtension", false),
    ("intstr", "IntOrString", false),
    ("types", "UID", true),
    ("types", "NodeName", true),
];

impl Types {
    /// Reads the text of the table.
    pub(super) fn parse(text: &'static str) -> Self {
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
}
