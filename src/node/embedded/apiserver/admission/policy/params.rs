//! Parameters of bindings (`CollectParams` of `plugin/policy/generic/policy_dispatcher.go`).

use std::sync::Arc;

use serde_json::{Value, json};

use crate::node::embedded::apiserver::catalog::{self, Resource};
use crate::node::embedded::apiserver::kinds::edit::text_at;
use crate::node::embedded::apiserver::kinds::selector;
use crate::node::embedded::apiserver::registry::resource_prefix;
use crate::node::embedded::apiserver::state::ApiState;

/// The objects a policy is asked with; `None` where it has no parameters.
///
/// # Errors
/// What is wrong with the binding.
pub(super) fn collect(
    state: &Arc<ApiState>,
    policy: &Value,
    binding: &Value,
    namespace: &str,
) -> Result<Vec<Option<Value>>, String> {
    let present = |object: &Value, path: &str| {
        object
            .pointer(path)
            .filter(|value| !value.is_null())
            .cloned()
    };
    let (Some(kind), Some(reference)) = (
        present(policy, "/spec/paramKind"),
        present(binding, "/spec/paramRef"),
    ) else {
        return Ok(vec![None]);
    };
    let (api_version, name) = (text_at(&kind, "/apiVersion"), text_at(&kind, "/kind"));
    let resource = resource_of(state, api_version, name)
        .ok_or_else(|| format!("paramKind kind `{api_version}, Kind={name}` not known"))?;
    let own = text_at(&reference, "/namespace");
    let mut prefix = resource_prefix(&resource);
    if resource.namespaced {
        let namespace = if own.is_empty() { namespace } else { own };
        if namespace.is_empty() {
            return Err("cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".to_owned());
        }
        prefix.push_str(namespace);
        prefix.push('/');
    } else if !own.is_empty() {
        return Err(
            "paramRef.namespace must not be provided for a cluster-scoped `paramKind`".to_owned(),
        );
    }
    let typed = |value: &Value| {
        let mut object = value.clone();
        if let Value::Object(map) = &mut object {
            map.insert("apiVersion".to_owned(), json!(api_version));
            map.insert("kind".to_owned(), json!(name));
        }
        Some(object)
    };
    let wanted = text_at(&reference, "/name");
    let found: Vec<Option<Value>> = if wanted.is_empty() {
        let empty = Value::Null;
        let chosen = reference.get("selector").unwrap_or(&empty);
        let (all, _) = state.store.list(&prefix);
        all.iter()
            .filter(|stored| selector::matches(chosen, stored.value.pointer("/metadata/labels")))
            .map(|stored| typed(&stored.value))
            .collect()
    } else {
        let stored = state.store.get(&format!("{prefix}{wanted}"));
        stored.iter().map(|stored| typed(&stored.value)).collect()
    };
    if found.is_empty() && text_at(&reference, "/parameterNotFoundAction") == "Deny" {
        return Err(
            "no params found for policy binding with `Deny` parameterNotFoundAction".to_owned(),
        );
    }
    Ok(found)
}

fn resource_of(state: &Arc<ApiState>, api_version: &str, kind: &str) -> Option<Resource> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let built_in = catalog::find_kind(group, version, kind).cloned();
    built_in.or_else(|| {
        let all = state.custom.all();
        let found = all.iter().find(|custom| {
            let resource = &custom.resource;
            (
                resource.group.as_str(),
                resource.version.as_str(),
                resource.kind.as_str(),
            ) == (group, version, kind)
        });
        found.map(|custom| custom.resource.as_ref().clone())
    })
}
