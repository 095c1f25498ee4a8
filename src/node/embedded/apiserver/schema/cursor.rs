//! Walking the type table: what strategic merge, server-side apply and managed fields ask of a field.

use super::table::{Field, Shape, ShapeId, types};

/// What a JSON value of a type is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypeKind {
    /// A string, number, boolean, time, quantity...
    Scalar,
    /// An object with known fields.
    Struct,
    /// An object with any keys.
    Map,
    /// An array.
    List,
    /// Any JSON: raw extensions, managed fields, table cells.
    Raw,
}

/// A type of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TypeRef(pub(super) ShapeId);

/// A field of a struct type.
#[derive(Debug, Clone, Copy)]
pub struct FieldInfo {
    /// JSON name.
    pub name: &'static str,
    /// Its type.
    pub ty: TypeRef,
    /// Strategies of strategic merge patch, comma-separated: `merge`, `retainKeys`; empty for none.
    pub patch_strategy: &'static str,
    /// Merge key of strategic merge patch, if any.
    pub merge_key: Option<&'static str>,
    /// `atomic`, `set` or `map`, if declared; lists without it are atomic.
    pub list_type: Option<&'static str>,
    /// Keys of a `map` list, comma-separated.
    pub list_keys: &'static str,
    /// Whether server-side apply owns the struct or map as a whole.
    pub atomic: bool,
    /// Default, as JSON, if declared.
    pub default: Option<&'static str>,
}

impl FieldInfo {
    pub(super) fn new(field: &Field) -> Self {
        let ty = TypeRef(types().strip(field.shape));
        let given = |text: &'static str| (!text.is_empty()).then_some(text);
        Self {
            name: field.json,
            ty,
            patch_strategy: field.patch_strategy,
            merge_key: given(field.merge_key),
            list_type: given(field.list_type),
            list_keys: field.list_keys,
            atomic: field.struct_type == "atomic"
                || (field.struct_type.is_empty() && ty.is_atomic()),
            default: given(field.default),
        }
    }

    /// The keys of a `map` list.
    pub fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.list_keys.split(',').filter(|key| !key.is_empty())
    }

    /// Whether strategic merge patch merges this list or map instead of replacing it.
    #[must_use]
    pub fn merges(&self) -> bool {
        self.patch_strategy.split(',').any(|s| s == "merge")
    }

    /// Whether strategic merge patch drops the keys that `$retainKeys` does not name.
    #[must_use]
    pub fn retains_keys(&self) -> bool {
        self.patch_strategy.split(',').any(|s| s == "retainKeys")
    }
}

/// The type of a built-in kind's objects.
#[must_use]
pub fn root(group: &str, version: &str, kind: &str) -> Option<TypeRef> {
    let types = types();
    let id = types.kind(group, version, kind)?;
    let place = types
        .shapes
        .iter()
        .position(|shape| *shape == Shape::Struct(id));
    place.and_then(|at| u16::try_from(at).ok()).map(TypeRef)
}

/// The field at a path of JSON names; list items and map values on the way are entered without being named
/// (`spec containers ports`), map keys are not part of the path.
#[must_use]
pub fn field(group: &str, version: &str, kind: &str, path: &[&str]) -> Option<FieldInfo> {
    let mut ty = root(group, version, kind)?;
    let mut found = None;
    for name in path {
        while let Some(element) = ty.element() {
            ty = element;
        }
        let info = ty.field(name)?;
        ty = info.ty;
        found = Some(info);
    }
    found
}

impl TypeRef {
    /// What values of the type are made of.
    #[must_use]
    pub fn kind(self) -> TypeKind {
        use super::table::Special;
        match types().bare(self.0) {
            Shape::Any => TypeKind::Raw,
            Shape::List(_) => TypeKind::List,
            Shape::Map(..) => TypeKind::Map,
            Shape::Struct(id) => match types().get(id).and_then(|known| known.special) {
                None => TypeKind::Struct,
                Some(
                    Special::Raw
                    | Special::SchemaOrArray
                    | Special::SchemaOrBool
                    | Special::SchemaOrStrings,
                ) => TypeKind::Raw,
                Some(_) => TypeKind::Scalar,
            },
            _ => TypeKind::Scalar,
        }
    }

    /// A field of a struct.
    #[must_use]
    pub fn field(self, name: &str) -> Option<FieldInfo> {
        self.raw_fields()
            .find(|f| f.json == name)
            .map(FieldInfo::new)
    }

    /// The fields of a struct, in Go's order.
    pub fn fields(self) -> impl Iterator<Item = FieldInfo> {
        self.raw_fields().map(FieldInfo::new)
    }

    fn raw_fields(self) -> impl Iterator<Item = &'static Field> {
        let known = match types().bare(self.0) {
            Shape::Struct(id) => types().get(id),
            _ => None,
        };
        known
            .into_iter()
            .flat_map(|known| types().json_fields(known))
    }

    /// The type of a list's items or a map's values.
    #[must_use]
    pub fn element(self) -> Option<TypeRef> {
        match types().bare(self.0) {
            Shape::List(inner) | Shape::Map(_, inner) => Some(TypeRef(types().strip(inner))),
            _ => None,
        }
    }

    /// Whether server-side apply treats the struct as one value.
    #[must_use]
    pub fn is_atomic(self) -> bool {
        match types().bare(self.0) {
            Shape::Struct(id) => types().get(id).is_some_and(|known| known.atomic),
            _ => false,
        }
    }

    /// The type as Go prints it: `[]v1.Container`.
    #[must_use]
    pub fn go_name(self) -> String {
        types().go_name(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merge_keys_and_list_keys_are_those_of_the_go_types() {
        let containers = field(
            "apps",
            "v1",
            "Deployment",
            &["spec", "template", "spec", "containers"],
        )
        .unwrap();
        assert_eq!(containers.merge_key, Some("name"));
        assert!(containers.merges() && !containers.retains_keys());
        assert_eq!(containers.list_type, Some("map"));
        assert_eq!(containers.ty.kind(), TypeKind::List);
        assert_eq!(containers.ty.go_name(), "[]v1.Container");
        let ports = field("", "v1", "Pod", &["spec", "containers", "ports"]).unwrap();
        assert_eq!(
            ports.keys().collect::<Vec<_>>(),
            ["containerPort", "protocol"]
        );
        assert_eq!(ports.merge_key, Some("containerPort"));
        let volumes = field("", "v1", "Pod", &["spec", "volumes"]).unwrap();
        assert!(volumes.merges() && volumes.retains_keys());
        let selector = field("apps", "v1", "Deployment", &["spec", "selector"]).unwrap();
        assert!(selector.atomic);
        let secret = field(
            "",
            "v1",
            "Pod",
            &["spec", "volumes", "secret", "secretName"],
        )
        .unwrap();
        assert_eq!(secret.ty.kind(), TypeKind::Scalar);
        assert!(field("", "v1", "Pod", &["spec", "nope"]).is_none());
        let cpu = field(
            "",
            "v1",
            "Pod",
            &["spec", "containers", "resources", "limits"],
        )
        .unwrap();
        assert_eq!(
            (cpu.ty.kind(), cpu.ty.go_name().as_str()),
            (TypeKind::Map, "v1.ResourceList")
        );
    }
}
