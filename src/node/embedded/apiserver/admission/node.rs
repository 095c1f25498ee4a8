//! TaintNodesByCondition and NodeRestriction (`plugin/pkg/admission/{nodetaint,noderestriction}`).

use serde_json::{Value, json};

use super::{Attributes, Operation};
use crate::node::embedded::apiserver::kinds::edit::{ensure, items, text_at};
use crate::node::embedded::apiserver::status::Status;

/// A new node takes no pods until it is ready.
pub fn taint_new(node: &mut Value) {
    let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
    let Some(fields) = node.as_object_mut() else {
        return;
    };
    let list = ensure(fields, "spec")
        .entry("taints".to_owned())
        .or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|own| {
            text_at(own, "/key") == text_at(&taint, "/key")
                && text_at(own, "/effect") == "NoSchedule"
        })
    {
        list.push(taint);
    }
}

/// The node a kubelet speaks for.
fn node_name<'a>(attributes: &Attributes<'a>) -> Option<&'a str> {
    let node = attributes.user.username.strip_prefix("system:node:")?;
    attributes
        .user
        .groups
        .iter()
        .any(|group| group == "system:nodes")
        .then_some(node)
}

/// Kubelets change only their own node and pods bound to it.
///
/// # Errors
/// 403.
pub fn restrict(
    attributes: &Attributes<'_>,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), Status> {
    let Some(node) = node_name(attributes) else {
        return Ok(());
    };
    let refuse = |why: String| Err(attributes.forbidden(new, why));
    match (
        attributes.resource.group.as_str(),
        attributes.resource.name.as_str(),
    ) {
        ("", "pods") => match (attributes.operation, attributes.subresource) {
            (Operation::Create, "") => {
                if new
                    .pointer("/metadata/annotations/kubernetes.io~1config.mirror")
                    .is_none()
                {
                    return refuse(format!(
                        "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"{node}\" can only create mirror pods"
                    ));
                }
                if text_at(new, "/spec/nodeName") != node {
                    return refuse(format!(
                        "node \"{node}\" can only create pods with spec.nodeName set to itself"
                    ));
                }
                let owned = items(new, "/metadata/ownerReferences").iter().any(|owner| {
                    text_at(owner, "/kind") == "Node" && text_at(owner, "/name") == node
                });
                if !owned {
                    return refuse(format!(
                        "node \"{node}\" can only create pods with an owner reference set to itself"
                    ));
                }
                Ok(())
            }
            (Operation::Delete, "")
                if old.is_some_and(|old| text_at(old, "/spec/nodeName") != node) =>
            {
                refuse(format!(
                    "node \"{node}\" can only delete pods with spec.nodeName set to itself"
                ))
            }
            (Operation::Update, "status")
                if old.is_some_and(|old| text_at(old, "/spec/nodeName") != node) =>
            {
                refuse(format!(
                    "node \"{node}\" can only update pod status for pods with spec.nodeName set to itself"
                ))
            }
            _ => Ok(()),
        },
        ("", "nodes") => restrict_node(attributes, node, old, new),
        ("coordination.k8s.io", "leases") => {
            if attributes.namespace != "kube-node-lease" {
                return refuse(
                    "can only access leases in the \"kube-node-lease\" system namespace".to_owned(),
                );
            }
            let name = match attributes.name {
                "" => text_at(new, "/metadata/name"),
                name => name,
            };
            if name != node {
                return refuse(
                    "can only access node lease with the same name as the requesting node"
                        .to_owned(),
                );
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn restrict_node(
    attributes: &Attributes<'_>,
    node: &str,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), Status> {
    let refuse = |why: String| Err(attributes.forbidden(new, why));
    let name = match attributes.name {
        "" => text_at(new, "/metadata/name"),
        name => name,
    };
    if name != node {
        return refuse(format!(
            "node \"{node}\" is not allowed to modify node \"{name}\""
        ));
    }
    if !attributes.subresource.is_empty() {
        return Ok(());
    }
    let empty = Value::Null;
    let old = old.unwrap_or(&empty);
    if attributes.operation == Operation::Update
        && items(old, "/spec/taints") != items(new, "/spec/taints")
    {
        return refuse(format!("node \"{node}\" is not allowed to modify taints"));
    }
    let mut forbidden: Vec<&str> = Vec::new();
    let labels = |object: &Value| {
        object
            .pointer("/metadata/labels")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let (before, after) = (labels(old), labels(new));
    for key in before.keys().chain(after.keys()) {
        if before.get(key) != after.get(key)
            && !may_label(key)
            && !forbidden.contains(&key.as_str())
        {
            forbidden.push(key);
        }
    }
    if !forbidden.is_empty() {
        forbidden.sort_unstable();
        return refuse(format!(
            "is not allowed to modify labels: {}",
            forbidden.join(", ")
        ));
    }
    Ok(())
}

/// Labels a kubelet may set on its node (`getModifiedLabels`, `kubeletapis.IsKubeletLabel`).
fn may_label(key: &str) -> bool {
    let Some((prefix, _)) = key.split_once('/') else {
        return true;
    };
    let kubernetes = prefix == "kubernetes.io"
        || prefix.ends_with(".kubernetes.io")
        || prefix == "k8s.io"
        || prefix.ends_with(".k8s.io");
    if !kubernetes {
        return true;
    }
    const KNOWN: [&str; 12] = [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "node.kubernetes.io/windows-build",
    ];
    KNOWN.contains(&key)
        || prefix == "kubelet.kubernetes.io"
        || prefix.ends_with(".kubelet.kubernetes.io")
        || prefix == "node.kubernetes.io"
        || prefix.ends_with(".node.kubernetes.io")
}
