//! The type table as OpenAPI wants it: definitions and their properties.

use std::collections::BTreeSet;

use serde_json::Value;

use super::cursor::FieldInfo;
use super::form::zero;
use super::table::{Field, Shape, ShapeId, Special, Struct, StructId, types};

/// What a definition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An object with properties.
    Struct,
    /// A time, as text.
    Time,
    /// A quantity.
    Quantity,
    /// An integer or a string.
    IntOrString,
    /// Any object.
    Object,
    /// Any JSON.
    Anything,
}

/// A type, as far as a schema says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Described {
    /// `type` and `format`.
    Scalar {
        /// `string`, `integer`, `number` or `boolean`.
        kind: &'static str,
        /// `int32`, `byte`...; may be empty.
        format: &'static str,
        /// The values of an enumeration, sorted; may be empty.
        values: Vec<&'static str>,
    },
    /// Any JSON.
    Anything,
    /// An array.
    List(Box<Described>),
    /// An object with any keys.
    Map(Box<Described>),
    /// Another definition.
    Reference(String),
}

impl Described {
    fn of(id: ShapeId) -> Self {
        let types = types();
        let values = match types.shape(types.strip(id)) {
            Shape::Named(name) => types
                .named
                .get(usize::from(name))
                .map_or("", |named| named.values),
            _ => "",
        };
        let scalar = |kind, format| Self::Scalar {
            kind,
            format,
            values: values.split(',').filter(|_| !values.is_empty()).collect(),
        };
        match types.bare(id) {
            Shape::Bool => scalar("boolean", ""),
            Shape::Int32 => scalar("integer", "int32"),
            Shape::Int64 => scalar("integer", "int64"),
            Shape::Float64 => scalar("number", "double"),
            Shape::String => scalar("string", ""),
            Shape::Bytes => scalar("string", "byte"),
            Shape::List(inner) => Self::List(Box::new(Self::of(inner))),
            Shape::Map(_, inner) => Self::Map(Box::new(Self::of(inner))),
            Shape::Struct(id) => match types.get(id) {
                Some(known) => Self::Reference(Definition { known }.name()),
                None => Self::Anything,
            },
            Shape::Any | Shape::Pointer(_) | Shape::Named(_) => Self::Anything,
        }
    }

    /// Whether it refers to a type that is written in a form of its own (time, quantity...).
    #[must_use]
    pub fn has_own_form(&self) -> bool {
        match self {
            Self::Reference(name) => {
                let last = name.rsplit('.').next().unwrap_or_default();
                types()
                    .structs
                    .iter()
                    .any(|known| known.special.is_some() && known.name == last)
            }
            _ => false,
        }
    }
}

/// A set of definitions.
pub struct Definitions(BTreeSet<StructId>);

impl Definitions {
    /// The types of these kinds (group, version, Go name), and all that they refer to.
    #[must_use]
    pub fn reachable(roots: &[(&str, &str, &str)]) -> Self {
        let mut found = BTreeSet::new();
        let mut open: Vec<StructId> = roots
            .iter()
            .filter_map(|(group, version, name)| types().named_struct(group, version, name))
            .collect();
        while let Some(id) = open.pop() {
            if !found.insert(id) {
                continue;
            }
            let Some(known) = types().get(id) else {
                continue;
            };
            if matches!(
                known.special,
                Some(Special::SchemaOrArray | Special::SchemaOrBool | Special::SchemaOrStrings)
            ) {
                continue;
            }
            for field in types().json_fields(known) {
                let mut shape = types().bare(field.shape);
                while let Shape::List(inner) | Shape::Map(_, inner) = shape {
                    shape = types().bare(inner);
                }
                if let Shape::Struct(id) = shape {
                    open.push(id);
                }
            }
        }
        Self(found)
    }

    /// The definitions.
    pub fn iter(&self) -> impl Iterator<Item = Definition> {
        self.0
            .iter()
            .filter_map(|id| types().get(*id))
            .map(|known| Definition { known })
    }
}

/// A struct of the table.
pub struct Definition {
    known: &'static Struct,
}

impl Definition {
    /// The definition of a type by its Go name.
    #[must_use]
    pub fn of(group: &str, version: &str, name: &str) -> Option<Self> {
        let id = types().named_struct(group, version, name)?;
        types().get(id).map(|known| Self { known })
    }

    fn package(&self) -> (&'static str, &'static str) {
        let package = types().packages.get(usize::from(self.known.package));
        package.map_or(("", ""), |package| (package.name, package.group))
    }

    /// The name in OpenAPI: `io.k8s.api.core.v1.Pod`.
    #[must_use]
    pub fn name(&self) -> String {
        let (package, _) = self.package();
        let name = self.known.name;
        match package.split_once('/') {
            Some(("meta", version)) => {
                format!("io.k8s.apimachinery.pkg.apis.meta.{version}.{name}")
            }
            Some(("apiextensions", version)) => {
                format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{version}.{name}")
            }
            Some(("apiregistration", version)) => {
                format!("io.k8s.kube-aggregator.pkg.apis.apiregistration.{version}.{name}")
            }
            Some((group, version)) => format!("io.k8s.api.{group}.{version}.{name}"),
            None if package == "resource" => format!("io.k8s.apimachinery.pkg.api.resource.{name}"),
            None if package == "intstr" => format!("io.k8s.apimachinery.pkg.util.intstr.{name}"),
            None => format!("io.k8s.apimachinery.pkg.{package}.{name}"),
        }
    }

    /// The name in Go: `Pod`.
    #[must_use]
    pub fn go_name(&self) -> &'static str {
        self.known.name
    }

    /// Whether the type belongs to meta/v1.
    #[must_use]
    pub fn is_meta(&self) -> bool {
        self.package().0 == "meta/v1"
    }

    /// Group, version and kind, if the type is a kind.
    #[must_use]
    pub fn gvk(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let (package, group) = self.package();
        let version = package.split_once('/')?.1;
        let own = types().kind(group, version, self.known.name)?;
        let same = types()
            .get(own)
            .is_some_and(|known| std::ptr::eq(known, self.known));
        (same && !self.is_meta()).then_some((group, version, self.known.name))
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.known.special {
            None => Kind::Struct,
            Some(Special::Time | Special::MicroTime) => Kind::Time,
            Some(Special::Quantity) => Kind::Quantity,
            Some(Special::IntOrString) => Kind::IntOrString,
            Some(Special::Raw) if self.known.name == "JSON" => Kind::Anything,
            Some(Special::Raw) => Kind::Object,
            Some(_) => Kind::Anything,
        }
    }

    /// Whether server-side apply treats it as one value.
    #[must_use]
    pub fn is_atomic(&self) -> bool {
        self.known.atomic
    }

    /// Its properties, in Go's order.
    pub fn properties(&self) -> impl Iterator<Item = Property> {
        types()
            .json_fields(self.known)
            .map(|field| Property { field })
    }
}

/// A property of a definition.
pub struct Property {
    field: &'static Field,
}

impl Property {
    /// JSON name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.field.json
    }

    /// Whether objects must have it.
    #[must_use]
    pub fn is_required(&self) -> bool {
        !self.field.omit_empty && !self.field.optional
    }

    /// Type.
    #[must_use]
    pub fn ty(&self) -> Described {
        Described::of(self.field.shape)
    }

    /// Keys and strategies.
    #[must_use]
    pub fn info(&self) -> FieldInfo {
        FieldInfo::new(self.field)
    }

    /// Whether the field itself (not its type) is declared one value.
    #[must_use]
    pub fn is_atomic_map(&self) -> bool {
        self.field.struct_type == "atomic"
    }

    /// The default that version 3 gives: the declared one, or the zero value of what is always there.
    #[must_use]
    pub fn default(&self) -> Option<Value> {
        if !self.field.default.is_empty() {
            return serde_json::from_str(self.field.default).ok();
        }
        match types().shape(self.field.shape) {
            Shape::Pointer(_) => None,
            _ => match types().bare(self.field.shape) {
                Shape::Struct(id) => {
                    let special = types().get(id).is_some_and(|known| known.special.is_some());
                    (!special).then(|| Value::Object(serde_json::Map::new()))
                }
                Shape::Bool | Shape::Int32 | Shape::Int64 | Shape::Float64 | Shape::String
                    if !self.field.omit_empty =>
                {
                    Some(zero(types(), self.field.shape))
                }
                _ => None,
            },
        }
    }
}
