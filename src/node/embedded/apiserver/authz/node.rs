//! The node authoriser (`plugin/pkg/auth/authorizer/node`): a kubelet sees its own node, its pods
//! and what they refer to.

use std::io::Read;
use std::sync::OnceLock;

use serde_json::Value;

use super::rbac::{rule_allows, rules_of};
use super::{Attributes, Decision, Rule};
use crate::node::embedded::apiserver::request::UserInfo;
use crate::node::embedded::apiserver::state::ApiState;

/// What every node may do: the rules of the bootstrap role `system:node`.
fn node_rules() -> &'static [Rule] {
    static RULES: OnceLock<Vec<Rule>> = OnceLock::new();
    RULES.get_or_init(|| {
        let packed =
            include_bytes!("../../../../../fixtures/golden/http/data/bootstrap-rbac.json.gz");
        let mut plain = String::new();
        if flate2::read::GzDecoder::new(packed.as_slice())
            .read_to_string(&mut plain)
            .is_err()
        {
            return Vec::new();
        }
        let data: Value = serde_json::from_str(&plain).unwrap_or_default();
        find_role(&data, "system:node")
            .map(rules_of)
            .unwrap_or_default()
    })
}

/// The role of this name, wherever it is in the data.
fn find_role<'a>(data: &'a Value, name: &str) -> Option<&'a Value> {
    match data {
        Value::Object(map) => {
            if data.pointer("/metadata/name").and_then(Value::as_str) == Some(name)
                && data.get("rules").is_some()
            {
                return Some(data);
            }
            map.iter().find_map(|(key, value)| {
                if key == name && value.get("rules").is_some() {
                    return Some(value);
                }
                find_role(value, name)
            })
        }
        Value::Array(items) => items.iter().find_map(|item| {
            if item.get("name").and_then(Value::as_str) == Some(name) && item.get("rules").is_some()
            {
                return Some(item);
            }
            find_role(item, name)
        }),
        _ => None,
    }
}

fn deny(reason: impl Into<String>) -> Decision {
    Decision {
        allowed: false,
        reason: reason.into(),
    }
}

fn allow() -> Decision {
    Decision {
        allowed: true,
        reason: String::new(),
    }
}

/// The node a user is, by name and group.
#[must_use]
pub fn node_name(user: &UserInfo) -> Option<&str> {
    let name = user.username.strip_prefix("system:node:")?;
    user.groups
        .iter()
        .any(|group| group == "system:nodes")
        .then_some(name)
}

/// Decides a request of a node; no opinion on others.
#[must_use]
pub fn authorize(state: &ApiState, user: &UserInfo, attributes: &Attributes) -> Decision {
    let Some(node) = node_name(user) else {
        return Decision::default();
    };
    if attributes.is_resource {
        let special = match (attributes.group.as_str(), attributes.resource.as_str()) {
            ("", "secrets" | "configmaps") => Some(read_object(state, node, attributes)),
            ("", "persistentvolumeclaims") if attributes.subresource == "status" => {
                Some(match attributes.verb.as_str() {
                    "update" | "patch" => related(state, node, attributes),
                    _ => deny("can only get/update/patch this type"),
                })
            }
            ("", "persistentvolumeclaims" | "persistentvolumes")
            | ("resource.k8s.io", "resourceclaims")
            | ("storage.k8s.io", "volumeattachments") => Some(get_object(state, node, attributes)),
            ("", "serviceaccounts") => Some(create_token(state, node, attributes)),
            ("coordination.k8s.io", "leases") => Some(lease(node, attributes)),
            ("storage.k8s.io", "csinodes") => Some(csi_node(node, attributes)),
            ("resource.k8s.io", "resourceslices") => Some(resource_slice(node, attributes)),
            ("", "nodes") => Some(own_node(node, attributes)),
            ("", "pods") => Some(pod(state, node, attributes)),
            _ => None,
        };
        if let Some(decision) = special {
            return decision;
        }
    }
    if node_rules()
        .iter()
        .any(|rule| rule_allows(rule, attributes))
    {
        allow()
    } else {
        Decision::default()
    }
}

fn read_object(state: &ApiState, node: &str, attributes: &Attributes) -> Decision {
    if !matches!(attributes.verb.as_str(), "get" | "list" | "watch") {
        return deny("can only read resources of this type");
    }
    if !attributes.subresource.is_empty() {
        return deny("cannot read subresource");
    }
    if attributes.namespace.is_empty() {
        return deny("can only read namespaced object of this type");
    }
    related(state, node, attributes)
}

fn get_object(state: &ApiState, node: &str, attributes: &Attributes) -> Decision {
    if attributes.verb != "get" {
        return deny("can only get individual resources of this type");
    }
    if !attributes.subresource.is_empty() {
        return deny("cannot get subresource");
    }
    related(state, node, attributes)
}

fn create_token(state: &ApiState, node: &str, attributes: &Attributes) -> Decision {
    // Kubelets look at the accounts of their pods, for credential providers.
    if attributes.verb == "get" && attributes.subresource.is_empty() {
        return related(state, node, attributes);
    }
    if attributes.verb != "create" || attributes.name.is_empty() {
        return deny("can only create tokens for individual service accounts");
    }
    if attributes.subresource != "token" {
        return deny("can only create token subresource of serviceaccount");
    }
    related(state, node, attributes)
}

fn lease(node: &str, attributes: &Attributes) -> Decision {
    if !matches!(
        attributes.verb.as_str(),
        "get" | "create" | "update" | "patch" | "delete"
    ) {
        return deny("can only get, create, update, patch, or delete a node lease");
    }
    if attributes.namespace != "kube-node-lease" {
        return deny("can only access leases in the \"kube-node-lease\" system namespace");
    }
    if attributes.verb != "create" && attributes.name != node {
        return deny("can only access node lease with the same name as the requesting node");
    }
    allow()
}

fn csi_node(node: &str, attributes: &Attributes) -> Decision {
    if !matches!(
        attributes.verb.as_str(),
        "get" | "create" | "update" | "patch" | "delete"
    ) {
        return deny("can only get, create, update, patch, or delete a CSINode");
    }
    if !attributes.subresource.is_empty() {
        return deny("cannot authorize CSINode subresources");
    }
    if attributes.verb != "create" && attributes.name != node {
        return deny("can only access CSINode with the same name as the requesting node");
    }
    allow()
}

fn selects(attributes: &Attributes, field: &str, value: &str) -> bool {
    attributes
        .field_selector
        .as_deref()
        .unwrap_or_default()
        .split(',')
        .any(|term| {
            term.split_once("==").or_else(|| term.split_once('=')) == Some((field, value))
                && !term.contains("!=")
        })
}

fn resource_slice(node: &str, attributes: &Attributes) -> Decision {
    match attributes.verb.as_str() {
        "create" => allow(),
        "watch" | "list" | "deletecollection" => {
            if selects(attributes, "nodeName", node) {
                allow()
            } else {
                deny(
                    "can only list/watch/deletecollection resourceslices with nodeName field selector",
                )
            }
        }
        "get" | "update" | "patch" | "delete" => deny(no_relation(node)),
        _ => deny(
            "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
        ),
    }
}

fn own_node(node: &str, attributes: &Attributes) -> Decision {
    match (attributes.subresource.as_str(), attributes.verb.as_str()) {
        // NodeRestriction limits these to the own node.
        ("" | "status", "update" | "patch") | ("", "create") => allow(),
        ("", "get" | "list" | "watch") => {
            if attributes.name == node {
                allow()
            } else if attributes.name.is_empty() {
                deny(format!(
                    "node '{node}' cannot read all nodes, only its own Node object"
                ))
            } else {
                deny(format!(
                    "node '{node}' cannot read '{}', only its own Node object",
                    attributes.name
                ))
            }
        }
        _ => Decision::default(),
    }
}

fn pod(state: &ApiState, node: &str, attributes: &Attributes) -> Decision {
    match (attributes.subresource.as_str(), attributes.verb.as_str()) {
        ("", "get") => related(state, node, attributes),
        ("", "list" | "watch") => {
            if selects(attributes, "spec.nodeName", node) {
                return allow();
            }
            if !attributes.name.is_empty() && related(state, node, attributes).allowed {
                return allow();
            }
            deny("can only list/watch pods with spec.nodeName field selector")
        }
        // NodeRestriction limits these to the node's own pods.
        ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
            allow()
        }
        _ => Decision::default(),
    }
}

fn no_relation(node: &str) -> String {
    format!("no relationship found between node '{node}' and this object")
}

/// Whether a pod of the node refers to the object.
fn related(state: &ApiState, node: &str, attributes: &Attributes) -> Decision {
    if attributes.name.is_empty() {
        return deny("No Object name found");
    }
    let prefix = if attributes.namespace.is_empty() {
        "/registry/core/pods/".to_owned()
    } else {
        format!("/registry/core/pods/{}/", attributes.namespace)
    };
    let (pods, _) = state.store.list(&prefix);
    let found = pods
        .iter()
        .map(|stored| &*stored.value)
        .filter(|pod| pod.pointer("/spec/nodeName").and_then(Value::as_str) == Some(node))
        .any(|pod| refers(state, pod, attributes));
    if found {
        allow()
    } else {
        deny(no_relation(node))
    }
}

fn refers(state: &ApiState, pod: &Value, attributes: &Attributes) -> bool {
    let name = attributes.name.as_str();
    let spec = pod.get("spec").unwrap_or(&Value::Null);
    let is = |value: Option<&Value>| value.and_then(Value::as_str) == Some(name);
    match attributes.resource.as_str() {
        "pods" => is(pod.pointer("/metadata/name")),
        "serviceaccounts" => is(spec.get("serviceAccountName")),
        // A mirror pod has the same rights to nothing.
        _ if pod
            .pointer("/metadata/annotations/kubernetes.io~1config.mirror")
            .is_some() =>
        {
            false
        }
        "secrets" => names(
            spec,
            &["secretRef", "secretKeyRef", "secret", "imagePullSecrets"],
            name,
        ),
        "configmaps" => names(
            spec,
            &["configMapRef", "configMapKeyRef", "configMap"],
            name,
        ),
        "persistentvolumeclaims" => claims(spec).any(|claim| claim == name),
        "persistentvolumes" => {
            let namespace = pod
                .pointer("/metadata/namespace")
                .and_then(Value::as_str)
                .unwrap_or_default();
            claims(spec).any(|claim| {
                state
                    .store
                    .get(&format!(
                        "/registry/core/persistentvolumeclaims/{namespace}/{claim}"
                    ))
                    .is_some_and(|stored| is(stored.value.pointer("/spec/volumeName")))
            })
        }
        _ => false,
    }
}

fn claims(spec: &Value) -> impl Iterator<Item = &str> {
    spec.get("volumes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|volume| volume.pointer("/persistentVolumeClaim/claimName")?.as_str())
}

/// Whether any of these reference fields, at any depth, names the object.
fn names(value: &Value, fields: &[&str], name: &str) -> bool {
    match value {
        Value::Object(map) => map.iter().any(|(key, value)| {
            let here = fields.contains(&key.as_str())
                && match value {
                    Value::Array(items) => items
                        .iter()
                        .any(|item| item.get("name").and_then(Value::as_str) == Some(name)),
                    other => ["name", "secretName"]
                        .iter()
                        .any(|field| other.get(*field).and_then(Value::as_str) == Some(name)),
                };
            here || names(value, fields, name)
        }),
        Value::Array(items) => items.iter().any(|item| names(item, fields, name)),
        _ => false,
    }
}
