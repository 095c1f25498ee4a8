//! Definitions of the built-in types: structure, defaults, list and merge keys from the type table, descriptions and required
//! fields from `k8s-openapi`.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Dialect;
use crate::node::embedded::apiserver::catalog;
use crate::node::embedded::apiserver::schema::{
    Definition, Definitions, Described, Kind, Property,
};

/// The definitions reachable from these kinds, by name, as JSON texts: the documents are large, values many times as large.
pub(super) fn build(
    dialect: Dialect,
    roots: &[(&str, &str, &str)],
    texts: &Map<String, Value>,
) -> BTreeMap<String, String> {
    let definitions = Definitions::reachable(roots);
    definitions
        .iter()
        .map(|definition| {
            let name = definition.name();
            let text = texts.get(&name).unwrap_or(&Value::Null);
            (name, one(dialect, &definition, text).to_string())
        })
        .collect()
}

fn one(dialect: Dialect, definition: &Definition, text: &Value) -> Value {
    let mut out = Map::new();
    let described = match text.get("description").and_then(Value::as_str) {
        Some(description) => Some(description.to_owned()),
        // The crate has one generic list.
        None => definition
            .go_name()
            .strip_suffix("List")
            .map(|kind| format!("{kind}List is a list of {kind}.")),
    };
    if let Some(described) = described {
        out.insert("description".to_owned(), described.into());
    }
    match definition.kind() {
        Kind::Struct => structure(dialect, definition, text, &mut out),
        kind => scalar(dialect, kind, &mut out),
    }
    let kinds = group_version_kinds(definition);
    if !kinds.is_empty() {
        out.insert("x-kubernetes-group-version-kind".to_owned(), kinds.into());
    }
    if definition.is_atomic() {
        out.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
    }
    Value::Object(out)
}

fn structure(
    dialect: Dialect,
    definition: &Definition,
    text: &Value,
    out: &mut Map<String, Value>,
) {
    let mut properties = Map::new();
    let mut sorted: Vec<Property> = definition.properties().collect();
    sorted.sort_by_key(|property| property.name());
    for property in &sorted {
        let described = text
            .pointer("/properties")
            .and_then(|all| all.get(property.name()));
        properties.insert(
            property.name().to_owned(),
            member(
                dialect,
                property,
                described.and_then(|p| p.get("description")),
            ),
        );
    }
    if !properties.is_empty() {
        out.insert("properties".to_owned(), properties.into());
    }
    let required: Vec<&str> = definition
        .properties()
        .filter(Property::is_required)
        .map(|property| property.name())
        .collect();
    if !required.is_empty() {
        out.insert("required".to_owned(), required.into());
    }
    out.insert("type".to_owned(), "object".into());
}

/// Types with a form of their own.
fn scalar(dialect: Dialect, kind: Kind, out: &mut Map<String, Value>) {
    let v3 = dialect == Dialect::V3;
    let mut put = |name: &str, value: Value| {
        out.insert(name.to_owned(), value);
    };
    match kind {
        Kind::Time => {
            put("format", "date-time".into());
            put("type", "string".into());
        }
        Kind::Quantity if v3 => put("oneOf", json!([{ "type": "string" }, { "type": "number" }])),
        Kind::Quantity => put("type", "string".into()),
        Kind::IntOrString if v3 => {
            put("format", "int-or-string".into());
            put(
                "oneOf",
                json!([{ "type": "integer" }, { "type": "string" }]),
            );
        }
        Kind::IntOrString => {
            put("format", "int-or-string".into());
            put("type", "string".into());
        }
        Kind::Object => put("type", "object".into()),
        Kind::Struct | Kind::Anything => {}
    }
}

/// A field of a struct.
fn member(dialect: Dialect, property: &Property, description: Option<&Value>) -> Value {
    let mut out = value(dialect, &property.ty());
    if let Value::Object(members) = &mut out {
        let reference = members.remove("$ref");
        if let Some(reference) = reference {
            if dialect == Dialect::V3 {
                members.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
            } else {
                members.insert("$ref".to_owned(), reference);
            }
        }
        if dialect == Dialect::V3
            && let Some(default) = property.default()
        {
            members.insert("default".to_owned(), default);
        }
        if let Some(description) = description {
            members.insert(
                "description".to_owned(),
                text_of(description, &property.ty()),
            );
        }
        let info = property.info();
        if let Some(list_type) = info.list_type {
            members.insert("x-kubernetes-list-type".to_owned(), list_type.into());
        }
        let keys: Vec<&str> = info.keys().collect();
        if !keys.is_empty() {
            members.insert("x-kubernetes-list-map-keys".to_owned(), keys.into());
        }
        if property.is_atomic_map() {
            members.insert("x-kubernetes-map-type".to_owned(), "atomic".into());
        }
        if let Some(key) = info.merge_key {
            members.insert("x-kubernetes-patch-merge-key".to_owned(), key.into());
        }
        if !info.patch_strategy.is_empty() {
            members.insert(
                "x-kubernetes-patch-strategy".to_owned(),
                info.patch_strategy.into(),
            );
        }
        members.sort_keys();
    }
    out
}

/// A description, with the values that the field can have.
fn text_of(description: &Value, ty: &Described) -> Value {
    let values = match ty {
        Described::Scalar { values, .. } if !values.is_empty() => values,
        _ => return description.clone(),
    };
    let mut out = description.as_str().unwrap_or_default().to_owned();
    out.push_str("\n\nPossible enum values:");
    for value in values {
        out.push_str(&format!("\n - `\"{value}\"`"));
    }
    out.into()
}

/// The schema of a type.
fn value(dialect: Dialect, ty: &Described) -> Value {
    match ty {
        Described::Scalar {
            kind,
            format,
            values,
        } => {
            let mut out = Map::new();
            if !values.is_empty() {
                out.insert("enum".to_owned(), values.clone().into());
            }
            if !format.is_empty() {
                out.insert("format".to_owned(), (*format).into());
            }
            out.insert("type".to_owned(), (*kind).into());
            Value::Object(out)
        }
        Described::Anything => json!({ "type": "object" }),
        Described::List(inner) => json!({ "items": item(dialect, inner), "type": "array" }),
        Described::Map(inner) => {
            json!({ "additionalProperties": item(dialect, inner), "type": "object" })
        }
        Described::Reference(name) => json!({ "$ref": format!("{}{name}", dialect.prefix()) }),
    }
}

/// The schema of an item: never null, so version 3 gives its zero value as the default.
fn item(dialect: Dialect, ty: &Described) -> Value {
    let mut out = value(dialect, ty);
    if dialect == Dialect::V3
        && let Value::Object(members) = &mut out
    {
        if let Some(reference) = members.remove("$ref") {
            members.insert("allOf".to_owned(), json!([{ "$ref": reference }]));
            if !ty.has_own_form() {
                members.insert("default".to_owned(), json!({}));
            }
        } else if let Described::Scalar { kind, format, .. } = ty
            && *format != "byte"
        {
            let zero = match *kind {
                "string" => json!(""),
                "boolean" => json!(false),
                _ => json!(0),
            };
            members.insert("default".to_owned(), zero);
        }
        members.sort_keys();
    }
    out
}

/// `x-kubernetes-group-version-kind` of a definition.
fn group_version_kinds(definition: &Definition) -> Vec<Value> {
    let kind = definition.go_name();
    match (definition.is_meta(), kind) {
        // Every group and version registers these.
        (true, "DeleteOptions" | "WatchEvent") => {
            let mut all: Vec<(&str, &str)> = catalog::groups()
                .iter()
                .flat_map(|group| group.versions.iter().map(|version| (group.name.as_str(), version.as_str())))
                .collect();
            all.sort_unstable();
            all.into_iter()
                .map(|(group, version)| json!({ "group": group, "kind": kind, "version": version }))
                .collect()
        }
        (true, "APIGroup" | "APIGroupList" | "APIResourceList" | "APIVersions" | "Status") => {
            vec![json!({ "group": "", "kind": kind, "version": "v1" })]
        }
        (true, _) => Vec::new(),
        (false, _) => definition
            .gvk()
            .map(|(group, version, kind)| json!({ "group": group, "kind": kind, "version": version }))
            .into_iter()
            .collect(),
    }
}

/// The definition name of a built-in kind.
pub(super) fn name_of(group: &str, version: &str, kind: &str) -> String {
    Definition::of(group, version, kind).map_or_else(String::new, |definition| definition.name())
}
