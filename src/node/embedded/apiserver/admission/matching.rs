//! What webhooks and admission policies say of the requests they want to see: rules and selectors
//! (`k8s.io/apiserver/pkg/admission/plugin/webhook/predicates`, `pkg/admission/plugin/policy/matching`).

use std::sync::Arc;

use serde_json::Value;

use super::{Attributes, Operation};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::kinds::selector;
use crate::node::embedded::apiserver::state::ApiState;

/// What only looks on or never is stored is not asked about (`pkg/kubeapiserver/admission/exclusion`).
#[must_use]
pub fn is_excluded(attributes: &Attributes<'_>) -> bool {
    let (group, resource) = (&attributes.resource.group, &attributes.resource.name);
    matches!(
        group.as_str(),
        "authentication.k8s.io" | "authorization.k8s.io"
    ) && resource.ends_with("reviews")
}

/// The operation, as rules name it.
#[must_use]
pub fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CREATE",
        Operation::Update => "UPDATE",
        Operation::Delete => "DELETE",
        Operation::Connect => "CONNECT",
    }
}

/// Whether a rule (`RuleWithOperations`) names this.
#[must_use]
pub fn rule_matches(rule: &Value, attributes: &Attributes<'_>) -> bool {
    let listed = |list: &str, own: &str| {
        items(rule, list)
            .iter()
            .any(|entry| entry == "*" || entry == own)
    };
    let is_namespace = attributes.is("", "namespaces", "");
    let scope = match text_at(rule, "/scope") {
        "Namespaced" => !attributes.namespace.is_empty() && !is_namespace,
        "Cluster" => attributes.namespace.is_empty() || is_namespace,
        _ => true,
    };
    scope
        && listed("/operations", operation_name(attributes.operation))
        && listed("/apiGroups", &attributes.resource.group)
        && listed("/apiVersions", &attributes.resource.version)
        && items(rule, "/resources").iter().any(|entry| {
            let entry = entry.as_str().unwrap_or_default();
            let (resource, subresource) = entry.split_once('/').unwrap_or((entry, ""));
            (resource == "*" || resource == attributes.resource.name)
                && (subresource == "*" || subresource == attributes.subresource)
        })
}

/// Whether `namespaceSelector` and `objectSelector` choose this.
#[must_use]
pub fn is_selected(
    state: &Arc<ApiState>,
    chooser: &Value,
    attributes: &Attributes<'_>,
    old: Option<&Value>,
    new: &Value,
) -> bool {
    let labels = |object: &Value| object.pointer("/metadata/labels").cloned();
    let empty = Value::Null;
    let chosen = chooser.get("namespaceSelector").unwrap_or(&empty);
    let namespace = if attributes.is("", "namespaces", "") {
        Some(labels(if new.is_null() {
            old.unwrap_or(&empty)
        } else {
            new
        }))
    } else if attributes.namespace.is_empty() {
        None
    } else {
        Some(namespace(state, attributes).and_then(|namespace| labels(&namespace)))
    };
    if namespace.is_some_and(|labels| !selector::matches(chosen, labels.as_ref())) {
        return false;
    }
    let chosen = chooser.get("objectSelector").unwrap_or(&empty);
    [Some(new), old]
        .into_iter()
        .flatten()
        .filter(|object| !object.is_null())
        .any(|object| selector::matches(chosen, object.pointer("/metadata/labels")))
}

/// The namespace a request is about, if it is there.
#[must_use]
pub fn namespace(state: &Arc<ApiState>, attributes: &Attributes<'_>) -> Option<Arc<Value>> {
    let key = format!("/registry/core/namespaces/{}", attributes.namespace);
    state.store.get(&key).map(|stored| stored.value)
}

/// Whether `MatchResources` of a policy or binding are about this.
#[must_use]
pub fn resources_match(
    state: &Arc<ApiState>,
    resources: &Value,
    attributes: &Attributes<'_>,
    old: Option<&Value>,
    new: &Value,
) -> bool {
    let named = |rule: &Value| {
        let names = items(rule, "/resourceNames");
        rule_matches(rule, attributes)
            && (names.is_empty() || names.iter().any(|name| name == attributes.name))
    };
    let rules = items(resources, "/resourceRules");
    is_selected(state, resources, attributes, old, new)
        && !items(resources, "/excludeResourceRules").iter().any(named)
        && (rules.is_empty() || rules.iter().any(named))
}
