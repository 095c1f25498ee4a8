//! A resource as discovery documents show it.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::node::embedded::apiserver::catalog::Resource;
use crate::node::embedded::apiserver::state::CustomResource;

/// The order in which the API server of custom resources lists their verbs.
const CUSTOM_VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

/// A resource as a discovery document shows it.
pub(super) struct Entry<'a> {
    pub resource: &'a Resource,
    pub custom: Option<&'a CustomResource>,
}

impl Entry<'_> {
    fn verbs(&self) -> Vec<&str> {
        let mut verbs: Vec<&str> = self.resource.verbs.iter().map(String::as_str).collect();
        if self.custom.is_some() {
            verbs.sort_by_key(|verb| CUSTOM_VERBS.iter().position(|known| known == verb));
        }
        verbs
    }

    /// `StorageVersionHash` of the version in which objects are stored.
    fn storage_hash(&self) -> Option<String> {
        let resource = self.resource;
        if !resource.verbs.iter().any(|verb| verb == "watch") {
            return None;
        }
        let (group, version) = match self.custom {
            Some(custom) => {
                let versions = custom.definition.pointer("/spec/versions")?.as_array()?;
                let stored = versions
                    .iter()
                    .find(|version| version.get("storage") == Some(&Value::Bool(true)))?;
                (resource.group.as_str(), stored.get("name")?.as_str()?)
            }
            None => match (resource.group.as_str(), resource.name.as_str()) {
                ("events.k8s.io", "events") => ("", "v1"),
                ("autoscaling", _) => ("autoscaling", "v2"),
                (group, "mutatingadmissionpolicies" | "mutatingadmissionpolicybindings") => {
                    (group, "v1beta1")
                }
                (group, _) => (group, resource.version.as_str()),
            },
        };
        let digest = Sha256::digest(format!("{group}/{version}/{}", resource.kind));
        Some(STANDARD.encode(digest.get(..8)?))
    }

    /// Group and version of a response kind; built-in ones are implied.
    fn response_kind(&self, group: &str, version: &str, kind: &str) -> Value {
        let (group, version) = if self.custom.is_some() && version.is_empty() {
            (self.resource.group.as_str(), self.resource.version.as_str())
        } else {
            (group, version)
        };
        json!({ "group": group, "version": version, "kind": kind })
    }
}

/// A resource and its subresources in an `APIResourceList`.
pub(super) fn legacy(entry: &Entry<'_>) -> Vec<Value> {
    let resource = entry.resource;
    let mut main = Map::new();
    main.insert("name".to_owned(), resource.name.as_str().into());
    main.insert(
        "singularName".to_owned(),
        resource.singular_name.as_str().into(),
    );
    main.insert("namespaced".to_owned(), resource.namespaced.into());
    main.insert("kind".to_owned(), resource.kind.as_str().into());
    main.insert("verbs".to_owned(), entry.verbs().into());
    names(&mut main, resource);
    if let Some(hash) = entry.storage_hash() {
        main.insert("storageVersionHash".to_owned(), hash.into());
    }
    let mut out = vec![Value::Object(main)];
    for sub in &resource.subresources {
        let mut row = Map::new();
        row.insert(
            "name".to_owned(),
            format!("{}/{}", resource.name, sub.name).into(),
        );
        row.insert("singularName".to_owned(), "".into());
        row.insert("namespaced".to_owned(), resource.namespaced.into());
        if !sub.version.is_empty() {
            if !sub.group.is_empty() {
                row.insert("group".to_owned(), sub.group.as_str().into());
            }
            row.insert("version".to_owned(), sub.version.as_str().into());
        }
        row.insert("kind".to_owned(), sub.kind.as_str().into());
        row.insert("verbs".to_owned(), sub.verbs.clone().into());
        out.push(Value::Object(row));
    }
    out
}

fn names(row: &mut Map<String, Value>, resource: &Resource) {
    if !resource.short_names.is_empty() {
        row.insert("shortNames".to_owned(), resource.short_names.clone().into());
    }
    if !resource.categories.is_empty() {
        row.insert("categories".to_owned(), resource.categories.clone().into());
    }
}

/// A resource and its subresources in an `APIGroupDiscoveryList`.
pub(super) fn aggregated(entry: &Entry<'_>) -> Value {
    let resource = entry.resource;
    let mut row = Map::new();
    row.insert("resource".to_owned(), resource.name.as_str().into());
    row.insert(
        "responseKind".to_owned(),
        entry.response_kind("", "", &resource.kind),
    );
    let scope = if resource.namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    row.insert("scope".to_owned(), scope.into());
    row.insert(
        "singularResource".to_owned(),
        resource.singular_name.as_str().into(),
    );
    row.insert("verbs".to_owned(), entry.verbs().into());
    names(&mut row, resource);
    let subresources: Vec<Value> = resource
        .subresources
        .iter()
        .map(|sub| {
            json!({
                "subresource": sub.name,
                "responseKind": entry.response_kind(&sub.group, &sub.version, &sub.kind),
                "verbs": sub.verbs,
            })
        })
        .collect();
    if !subresources.is_empty() {
        row.insert("subresources".to_owned(), subresources.into());
    }
    Value::Object(row)
}
