//! Object metadata (`k8s.io/apimachinery/pkg/api/validation/objectmeta.go`).

use serde_json::{Value, json};

use super::Errors;
use super::name;
use crate::node::embedded::apiserver::catalog::Resource;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::yaml::go::quote as go_quote;

/// How names of this kind look.
fn name_errors(resource: &Resource, text: &str) -> Vec<String> {
    match (resource.group.as_str(), resource.kind.as_str()) {
        ("", "Namespace" | "Service") => name::label(text),
        ("rbac.authorization.k8s.io", _) => name::path_segment(text),
        ("apiregistration.k8s.io", _) => Vec::new(),
        ("networking.k8s.io", "IPAddress") => name::ip(text),
        _ => name::subdomain(text),
    }
}

/// Metadata of an object.
pub fn validate(resource: &Resource, object: &Value, errors: &mut Errors) {
    let generate = text_at(object, "/metadata/generateName");
    if !generate.is_empty() {
        // A trailing dash is what generated names have.
        let masked = match generate.strip_suffix('-') {
            Some(rest) => format!("{rest}a"),
            None => generate.to_owned(),
        };
        for text in name_errors(resource, &masked) {
            errors.invalid("metadata.generateName", &generate.into(), text);
        }
    }
    let own = text_at(object, "/metadata/name");
    if own.is_empty() {
        errors.required("metadata.name", "name or generateName is required");
    } else {
        for text in name_errors(resource, own) {
            errors.invalid("metadata.name", &own.into(), text);
        }
    }
    labels(
        object.pointer("/metadata/labels"),
        "metadata.labels",
        errors,
    );
    annotations(
        object.pointer("/metadata/annotations"),
        "metadata.annotations",
        errors,
    );
    owners(object, errors);
    for (at, finalizer) in items(object, "/metadata/finalizers").iter().enumerate() {
        let text = finalizer.as_str().unwrap_or_default();
        let path = format!("metadata.finalizers[{at}]");
        let problems = name::qualified(text);
        if problems.is_empty()
            && !text.contains('/')
            && !matches!(text, "orphan" | "foregroundDeletion" | "kubernetes")
        {
            errors.invalid(
                &path,
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            );
        }
        for problem in problems {
            errors.invalid(&path, finalizer, problem);
        }
    }
}

/// Metadata of an object within another one; it need not have a name.
pub fn embedded(metadata: &Value, path: &str, errors: &mut Errors) {
    for field in ["name", "generateName"] {
        let own = text_at(metadata, &format!("/{field}"));
        for text in name::path_segment(own) {
            errors.invalid(&format!("{path}.{field}"), &own.into(), text);
        }
    }
    labels(metadata.get("labels"), &format!("{path}.labels"), errors);
    let path = format!("{path}.annotations");
    annotations(metadata.get("annotations"), &path, errors);
}

/// Labels.
pub fn labels(labels: Option<&Value>, path: &str, errors: &mut Errors) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        for text in name::qualified(key) {
            errors.invalid(path, &key.as_str().into(), text);
        }
        for text in name::label_value(value.as_str().unwrap_or_default()) {
            errors.invalid(path, value, text);
        }
    }
}

/// Annotations: keys as labels', any value, 256 KiB together.
pub fn annotations(annotations: Option<&Value>, path: &str, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.and_then(Value::as_object).into_iter().flatten() {
        for text in name::qualified(&key.to_lowercase()) {
            errors.invalid(path, &key.as_str().into(), text);
        }
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > 256 * 1024 {
        errors
            .push(crate::node::embedded::apiserver::kinds::FieldError::too_long(path, 256 * 1024));
    }
}

fn owners(object: &Value, errors: &mut Errors) {
    let all = items(object, "/metadata/ownerReferences");
    let mut controller: Option<String> = None;
    for owner in all {
        // The index is not said.
        let path = "metadata.ownerReferences";
        let version = text_at(owner, "/apiVersion");
        if version.is_empty() {
            errors.invalid(
                &format!("{path}.apiVersion"),
                &version.into(),
                "version must not be empty",
            );
        }
        for key in ["kind", "name", "uid"] {
            if text_at(owner, &format!("/{key}")).is_empty() {
                errors.invalid(&format!("{path}.{key}"), &"".into(), "must not be empty");
            }
        }
        if version == "v1" && text_at(owner, "/kind") == "Event" {
            errors.invalid(
                path,
                owner,
                "/v1, Kind=Event is disallowed from being an owner",
            );
        }
        if owner.get("controller") == Some(&Value::Bool(true)) {
            let this = format!("{}/{}", text_at(owner, "/kind"), text_at(owner, "/name"));
            match &controller {
                Some(first) => {
                    let text = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    );
                    errors.invalid("metadata.ownerReferences", &json!(all), text);
                }
                None => controller = Some(this),
            }
        }
    }
}

/// What an update cannot change, and what it may be changed to (`ValidateObjectMetaAccessorUpdate`).
pub fn validate_update(old: &Value, new: &Value, errors: &mut Errors) {
    if !text_at(old, "/metadata/deletionTimestamp").is_empty() {
        no_new_finalizers(old, new, errors);
    }
    for key in ["name", "namespace", "uid"] {
        let pointer = format!("/metadata/{key}");
        let (before, after) = (text_at(old, &pointer), text_at(new, &pointer));
        if before != after && !before.is_empty() {
            errors.invalid(
                &format!("metadata.{key}"),
                &after.into(),
                "field is immutable",
            );
        }
    }
    labels(new.pointer("/metadata/labels"), "metadata.labels", errors);
    annotations(
        new.pointer("/metadata/annotations"),
        "metadata.annotations",
        errors,
    );
    owners(new, errors);
}

fn no_new_finalizers(old: &Value, new: &Value, errors: &mut Errors) {
    let known = items(old, "/metadata/finalizers");
    let mut added: Vec<String> = items(new, "/metadata/finalizers")
        .iter()
        .filter(|finalizer| !known.contains(finalizer))
        .filter_map(Value::as_str)
        .map(go_quote)
        .collect();
    added.sort_unstable();
    added.dedup();
    if !added.is_empty() {
        errors.forbidden(
            "metadata.finalizers",
            format!(
                "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                added.join(", ")
            ),
        );
    }
}

/// Whether the strategy of a kind validates the metadata of an updated object as that of a new one too.
fn validates_as_new(resource: &Resource) -> bool {
    match resource.group.as_str() {
        "" => !matches!(
            resource.kind.as_str(),
            "Namespace" | "Node" | "ReplicationController" | "ResourceQuota"
        ),
        "rbac.authorization.k8s.io" => true,
        "networking.k8s.io" => resource.kind == "Ingress",
        _ => false,
    }
}

/// Whether the strategy of a kind compares the metadata with what was before.
fn compares(resource: &Resource) -> bool {
    !matches!(
        (resource.group.as_str(), resource.kind.as_str()),
        ("", "PersistentVolume" | "LimitRange")
    )
}

/// The metadata of an updated object, looked at by the generic registry and by the strategy of the kind:
/// what is wrong is said in the causes as often as it is found (`BeforeUpdate` of `pkg/registry/rest`).
pub fn validate_updated(resource: &Resource, old: &Value, new: &Value, errors: &mut Errors) {
    validate(resource, new, errors);
    validate_update(old, new, errors);
    if compares(resource) {
        validate_update(old, new, errors);
    }
    if validates_as_new(resource) {
        validate(resource, new, errors);
    }
}
