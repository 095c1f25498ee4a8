//! CustomResourceDefinitions: from the definition to the served resource, and back
//! (`apiextensions-apiserver/pkg/controller/{status,finalizer}`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::target::Target;
use super::{convert, definition_end, meta};
use crate::node::embedded::apiserver::catalog::{self, Resource, Subresource};
use crate::node::embedded::apiserver::kinds::FieldError;
use crate::node::embedded::apiserver::managed_fields;
use crate::node::embedded::apiserver::state::{ApiState, CustomResource};
use crate::node::embedded::store::Stored;

const GROUP: &str = "apiextensions.k8s.io";
const RESOURCE: &str = "customresourcedefinitions";
/// Holds a definition back until its objects are gone.
pub(super) const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";
/// Verbs of custom resources, in the order discovery has them.
const VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

/// Whether these are the definitions themselves.
pub(super) fn are(target: &Target) -> bool {
    target.resource.group == GROUP && target.resource.name == RESOURCE
}

pub(super) fn definitions_target(name: &str, subresource: &str) -> Option<Target> {
    let resource = catalog::find(GROUP, "v1", RESOURCE)?;
    Some(Target {
        resource: resource.clone(),
        custom: None,
        namespace: String::new(),
        name: name.to_owned(),
        subresource: subresource.to_owned(),
    })
}

/// `SetDefaults_CustomResourceDefinition`: the storage version is a stored version.
pub(super) fn default(definition: &mut Value) {
    let stored = definition
        .pointer("/status/storedVersions")
        .and_then(Value::as_array)
        .is_some_and(|versions| !versions.is_empty());
    if stored {
        return;
    }
    let storage = definition
        .pointer("/spec/versions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .find(|version| version.get("storage").and_then(Value::as_bool) == Some(true))
        .and_then(|version| version.get("name"))
        .cloned();
    if let Some(storage) = storage
        && let Some(status) = definition.get_mut("status").and_then(Value::as_object_mut)
    {
        status.insert("storedVersions".into(), json!([storage]));
    }
}

/// What of a definition cannot change (`ValidateCustomResourceDefinitionSpecUpdate`).
pub(super) fn immutable(old: &Value, new: &Value) -> Vec<FieldError> {
    let mut fields = vec![
        ("/spec/group", "spec.group"),
        ("/spec/names/plural", "spec.names.plural"),
    ];
    if is_established(old) {
        fields.splice(
            0..0,
            [
                ("/spec/scope", "spec.scope"),
                ("/spec/names/kind", "spec.names.kind"),
            ],
        );
    }
    fields
        .into_iter()
        .filter(|(pointer, _)| old.pointer(pointer) != new.pointer(pointer))
        .map(|(pointer, field)| {
            let value = new.pointer(pointer).cloned().unwrap_or_default();
            FieldError::invalid(field, &value, "field is immutable")
        })
        .collect()
}

/// Serves the resources that the stored definitions describe.
pub fn load(state: &ApiState) {
    let Some(target) = definitions_target("", "") else {
        return;
    };
    let (stored, _) = state.store.list(&target.prefix());
    let all = stored
        .iter()
        .filter(|stored| is_established(&stored.value))
        .flat_map(|stored| versions(&target, stored))
        .collect();
    state.custom.replace(all);
}

fn is_established(definition: &Value) -> bool {
    definition
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .is_some_and(|conditions| {
            conditions.iter().any(|c| {
                c.get("type").and_then(Value::as_str) == Some("Established")
                    && c.get("status").and_then(Value::as_str) == Some("True")
            })
        })
}

/// The served versions of a definition, best first.
pub(super) fn versions(target: &Target, stored: &Stored) -> Vec<CustomResource> {
    let definition = Arc::new(convert::shown(target, stored));
    let text = |pointer: &str| {
        definition
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    let texts = |pointer: &str| -> Vec<String> {
        definition
            .pointer(pointer)
            .and_then(Value::as_array)
            .map(|list| {
                list.iter()
                    .filter_map(|v| v.as_str().map(str::to_owned))
                    .collect()
            })
            .unwrap_or_default()
    };
    let plural = text("/spec/names/plural");
    let kind = text("/spec/names/kind");
    let mut all: Vec<CustomResource> = definition
        .pointer("/spec/versions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|version| version.get("served").and_then(Value::as_bool) == Some(true))
        .map(|version| {
            let mut subresources = Vec::new();
            let verbs: Vec<String> = ["get", "patch", "update"].map(str::to_owned).to_vec();
            if version.pointer("/subresources/status").is_some() {
                subresources.push(Subresource {
                    name: "status".to_owned(),
                    kind: kind.clone(),
                    verbs: verbs.clone(),
                    ..Subresource::default()
                });
            }
            if version.pointer("/subresources/scale").is_some() {
                subresources.push(Subresource {
                    name: "scale".to_owned(),
                    kind: "Scale".to_owned(),
                    group: "autoscaling".to_owned(),
                    version: "v1".to_owned(),
                    verbs,
                });
            }
            CustomResource {
                resource: Arc::new(Resource {
                    group: text("/spec/group"),
                    version: version
                        .get("name")
                        .and_then(Value::as_str)
                        .unwrap_or("")
                        .to_owned(),
                    name: plural.clone(),
                    singular_name: text("/spec/names/singular"),
                    short_names: texts("/spec/names/shortNames"),
                    categories: texts("/spec/names/categories"),
                    namespaced: text("/spec/scope") == "Namespaced",
                    kind: kind.clone(),
                    verbs: VERBS.map(str::to_owned).to_vec(),
                    subresources,
                }),
                list_kind: text("/spec/names/listKind"),
                definition: Arc::clone(&definition),
                version: Arc::new(version.clone()),
            }
        })
        .collect();
    all.sort_by_key(|custom| priority(&custom.resource.version));
    all
}

/// Order of versions: released ones first, then beta, then alpha, each the highest number first
/// (`k8s.io/apimachinery/pkg/version/helpers.go`).
fn priority(version: &str) -> (u8, std::cmp::Reverse<u32>, std::cmp::Reverse<u32>, String) {
    let parsed = version.strip_prefix('v').and_then(|rest| {
        for (rank, stage) in [(1u8, "beta"), (2, "alpha")] {
            if let Some((major, minor)) = rest.split_once(stage) {
                return Some((rank, major.parse().ok()?, minor.parse().unwrap_or(0)));
            }
        }
        Some((0, rest.parse().ok()?, 0))
    });
    match parsed {
        Some((rank, major, minor)) => (
            rank,
            std::cmp::Reverse(major),
            std::cmp::Reverse(minor),
            String::new(),
        ),
        None => (
            3,
            std::cmp::Reverse(0),
            std::cmp::Reverse(0),
            version.to_owned(),
        ),
    }
}

/// Does what the controllers of definitions do after a write: accepts names, serves the resource;
/// deletes the objects of a definition that goes.
pub(super) async fn reconcile(state: &Arc<ApiState>, name: &str) {
    let Some(target) = definitions_target(name, "status") else {
        return;
    };
    let key = target.key(name);
    if let Some(stored) = state.store.get(&key) {
        if meta::is_deleting(&stored.value) {
            definition_end::begin(state.clone(), name.to_owned());
        } else {
            accept(state, &target, &stored).await;
        }
    }
    load(state);
}

/// Goes on with the end of a definition that is being deleted.
pub(super) async fn end(state: &Arc<ApiState>, name: &str) {
    let Some(target) = definitions_target(name, "status") else {
        return;
    };
    if let Some(stored) = state.store.get(&target.key(name))
        && meta::is_deleting(&stored.value)
    {
        definition_end::finish(state, &target, &stored).await;
    }
    load(state);
}

/// Sets the status of a definition whose names are free.
async fn accept(state: &ApiState, target: &Target, stored: &Stored) {
    let live = convert::shown(target, stored);
    let mut new = live.clone();
    let names = live.pointer("/spec/names").cloned().unwrap_or_default();
    let mut conditions: Vec<Value> = live
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for (kind, reason, message) in [
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        (
            "Established",
            "InitialNamesAccepted",
            "the initial names have been accepted",
        ),
    ] {
        let known = conditions
            .iter()
            .any(|c| c.get("type").and_then(Value::as_str) == Some(kind));
        if !known {
            conditions.push(json!({
                "type": kind,
                "status": "True",
                "lastTransitionTime": meta::now(),
                "reason": reason,
                "message": message
            }));
        }
    }
    if let Some(status) = new.get_mut("status").and_then(Value::as_object_mut) {
        status.insert("conditions".into(), conditions.into());
        status.insert("acceptedNames".into(), names);
    }
    if new == live {
        return;
    }
    managed_fields::update(target, Some(&live), &mut new, "kube-apiserver");
    let value = convert::to_stored(&target.resource, &new);
    // A concurrent write reconciles again.
    drop(
        state
            .store
            .update(&stored.key, Some(stored.revision), value)
            .await,
    );
}
