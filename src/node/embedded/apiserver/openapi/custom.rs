//! Documents of custom resources: their own schemas, with what every object has.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{Dialect, definitions, paths, roots};
use crate::node::embedded::apiserver::state::CustomResource;

/// The definition name of a custom kind: the group reversed.
pub(super) fn definition_name(custom: &CustomResource) -> String {
    let resource = &custom.resource;
    let mut parts: Vec<&str> = resource.group.split('.').collect();
    parts.reverse();
    format!("{}.{}.{}", parts.join("."), resource.version, resource.kind)
}

/// Definitions and paths of the custom resources of one group and version.
pub(super) fn build(
    dialect: Dialect,
    all: &[&CustomResource],
) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let meta = |name| ("meta.k8s.io", "v1", name);
    let mut wanted = vec![
        meta("DeleteOptions"),
        meta("ListMeta"),
        meta("ObjectMeta"),
        meta("Patch"),
        meta("Status"),
    ];
    if all
        .iter()
        .any(|custom| custom.resource.subresource("scale").is_some())
    {
        wanted.push(("autoscaling", "v1", "Scale"));
    }
    let mut schemas = definitions::build(dialect, &wanted, &roots::definitions("custom", ""));
    let mut described = BTreeMap::new();
    for custom in all {
        let name = definition_name(custom);
        let (object, list) = pair(dialect, custom, &name);
        schemas.insert(format!("{name}List"), list.to_string());
        schemas.insert(name.clone(), object.to_string());
        let resource = paths::Described {
            dialect,
            resource: &custom.resource,
            definition: name,
            built_in: false,
        };
        described.extend(resource.paths());
    }
    (schemas, described)
}

/// The schemas of an object and of its list.
fn pair(dialect: Dialect, custom: &CustomResource, name: &str) -> (Value, Value) {
    let resource = &custom.resource;
    let reference = |name: &str| {
        let reference = json!({ "$ref": format!("{}{name}", dialect.prefix()) });
        if dialect == Dialect::V3 {
            json!({ "allOf": [reference] })
        } else {
            reference
        }
    };
    let kinds = |kind: &str| json!([{ "group": resource.group, "kind": kind, "version": resource.version }]);
    let mut object = custom
        .version
        .pointer("/schema/openAPIV3Schema")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    let meta = |kind: &str| reference(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"));
    let preserves = object.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
    if let Value::Object(properties) = object
        .entry("properties")
        .or_insert_with(|| Value::Object(Map::new()))
    {
        properties.insert("apiVersion".to_owned(), json!({ "type": "string" }));
        properties.insert("kind".to_owned(), json!({ "type": "string" }));
        properties.insert("metadata".to_owned(), meta("ObjectMeta"));
        properties.sort_keys();
    }
    if preserves && dialect == Dialect::V2 {
        object.remove("properties");
    }
    object.entry("type").or_insert_with(|| "object".into());
    object.insert(
        "x-kubernetes-group-version-kind".to_owned(),
        kinds(&resource.kind),
    );
    object.sort_keys();
    let item = reference(name);
    let list = json!({
        "description": format!("{} is a list of {}", custom.list_kind, resource.kind),
        "properties": {
            "apiVersion": { "type": "string" },
            "items": { "items": item, "type": "array" },
            "kind": { "type": "string" },
            "metadata": meta("ListMeta"),
        },
        "required": ["items"],
        "type": "object",
        "x-kubernetes-group-version-kind": kinds(&custom.list_kind),
    });
    (Value::Object(object), list)
}
