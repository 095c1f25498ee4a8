//! Namespaces: what is in a new one, and how one goes away
//! (`pkg/controller/{serviceaccount,certificates/rootcacertpublisher,namespace}`).

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Controllers, Item};
use crate::node::embedded::apiserver::catalog;
use crate::node::embedded::apiserver::kinds::edit::{ensure, items, text_at};
use crate::node::embedded::cluster::object::is_deleting;
use crate::node::embedded::confine::Confined;

/// Largest certificate bundle that is published.
const AUTHORITY_LIMIT: u64 = 512 << 10;

pub(super) async fn sync(c: &mut Controllers, namespace: &str) -> Option<Duration> {
    let key = format!("/registry/core/namespaces/{namespace}");
    let object = c.cached(&key)?;
    if is_deleting(&object) || text_at(&object, "/status/phase") == "Terminating" {
        return delete(c, namespace, object).await;
    }
    if c.get(&format!(
        "/registry/core/serviceaccounts/{namespace}/default"
    ))
    .is_none()
    {
        let actor = c.actor("service-account-controller").await;
        let account = json!({"kind": "ServiceAccount", "apiVersion": "v1",
            "metadata": {"name": "default", "namespace": namespace}});
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts");
        let _ = actor.create(&path, account).await;
    }
    let map_key = format!("/registry/core/configmaps/{namespace}/kube-root-ca.crt");
    let known = c.get("/registry/core/configmaps/kube-system/kube-root-ca.crt");
    let authority = match known
        .as_ref()
        .and_then(|map| map.value.get("data").cloned())
    {
        Some(data) => Some(data),
        None => authority(&c.machine.node_root).await,
    };
    if c.get(&map_key).is_none()
        && let Some(data) = authority
    {
        let actor = c.actor("root-ca-cert-publisher").await;
        let map = json!({"kind": "ConfigMap", "apiVersion": "v1",
            "metadata": {"name": "kube-root-ca.crt", "namespace": namespace,
                "annotations": {"kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters."}},
            "data": data});
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        let _ = actor.create(&path, map).await;
    }
    None
}

/// The data of the map, from the authority's certificate on the node.
async fn authority(node_root: &Path) -> Option<Value> {
    let node = Confined::new(node_root);
    let pem = tokio::task::spawn_blocking(move || {
        node.read_to_string("/etc/kubernetes/pki/ca.crt", AUTHORITY_LIMIT)
    });
    let pem = pem.await.ok()?.ok()?;
    Some(json!({"ca.crt": pem}))
}

/// Takes everything out, then the namespace itself.
async fn delete(c: &mut Controllers, namespace: &str, object: Value) -> Option<Duration> {
    let holds = items(&object, "/spec/finalizers")
        .iter()
        .any(|finalizer| finalizer == "kubernetes");
    if !holds {
        return None;
    }
    let actor = c.actor("namespace-controller").await;
    let again = Some(Duration::from_millis(400));
    let first = !items(&object, "/status/conditions")
        .iter()
        .any(|condition| text_at(condition, "/type") == "NamespaceDeletionContentFailure");
    if first || !is_empty(c, namespace) {
        for resource in catalog::built_in() {
            if !resource.namespaced || !resource.has_verb("", "deletecollection") {
                continue;
            }
            let prefix = if resource.group.is_empty() {
                "/api/v1".to_owned()
            } else {
                format!("/apis/{}/{}", resource.group, resource.version)
            };
            // Every kind is asked to go once; later rounds only wait for what is left.
            let group = if resource.group.is_empty() {
                "core"
            } else {
                &resource.group
            };
            let left = !c
                .list(&format!("/registry/{group}/{}/{namespace}/", resource.name))
                .is_empty();
            if !first && !left {
                continue;
            }
            let path = format!("{prefix}/namespaces/{namespace}/{}", resource.name);
            let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
            let _ = actor.delete(&path, Some(options)).await;
            let _ = actor.get(&path).await;
        }
        let group_left: Vec<String> = custom_prefixes(c, namespace);
        for key in group_left {
            delete_custom(c, &actor, namespace, &key).await;
        }
    }
    let empty = is_empty(c, namespace);
    update_conditions(c, &actor, namespace).await;
    if !empty {
        return again;
    }
    let mut object = c.cached(&format!("/registry/core/namespaces/{namespace}"))?;
    if let Some(fields) = object.as_object_mut() {
        let spec = ensure(fields, "spec");
        if let Some(list) = spec.get_mut("finalizers").and_then(Value::as_array_mut) {
            list.retain(|finalizer| finalizer != "kubernetes");
        }
    }
    let path = format!("/api/v1/namespaces/{namespace}/finalize");
    match actor.update(&path, object).await {
        Some((code, _)) if code < 400 => None,
        _ => Some(c.back_off(Item::Namespace(namespace.to_owned()))),
    }
}

/// Keys of what is left in the namespace.
fn left(c: &Controllers, namespace: &str) -> Vec<String> {
    let marker = format!("/{namespace}/");
    c.list("/registry/")
        .into_iter()
        .filter(|stored| {
            // `/registry/GROUP/RESOURCE/NAMESPACE/NAME`.
            stored.key.matches('/').count() == 5
                && stored.key.contains(&marker)
                && crate::node::embedded::cluster::object::namespace(&stored.value) == namespace
        })
        .map(|stored| stored.key)
        .collect()
}

fn is_empty(c: &Controllers, namespace: &str) -> bool {
    left(c, namespace).is_empty()
}

/// What is left of kinds that are not built in.
fn custom_prefixes(c: &Controllers, namespace: &str) -> Vec<String> {
    left(c, namespace)
        .into_iter()
        .filter(|key| {
            let mut parts = key.split('/').skip(2);
            let group = parts.next().unwrap_or_default();
            let resource = parts.next().unwrap_or_default();
            let group = if group == "core" { "" } else { group };
            !catalog::built_in()
                .iter()
                .any(|known| known.group == group && known.name == resource)
        })
        .collect()
}

async fn delete_custom(
    c: &Controllers,
    actor: &crate::node::embedded::cluster::actor::Actor,
    namespace: &str,
    key: &str,
) {
    let Some(stored) = c.get(key) else {
        return;
    };
    let mut parts = key.split('/').skip(3);
    let resource = parts.next().unwrap_or_default();
    let api_version = text_at(&stored.value, "/apiVersion");
    let name = crate::node::embedded::cluster::object::name(&stored.value);
    let path = format!("/apis/{api_version}/namespaces/{namespace}/{resource}/{name}");
    let _ = actor.delete(&path, None).await;
}

/// How much of each kind is left, and which finalizers hold it, in words
/// (`pkg/controller/namespace/deletion/status_condition_utils.go`).
fn remaining(c: &Controllers, namespace: &str) -> (Vec<String>, Vec<String>) {
    let mut resources: BTreeMap<String, usize> = BTreeMap::new();
    let mut finalizers: BTreeMap<String, usize> = BTreeMap::new();
    for key in left(c, namespace) {
        let mut parts = key.split('/').skip(2);
        let group = parts.next().unwrap_or_default();
        let resource = parts.next().unwrap_or_default();
        let group = if group == "core" { "" } else { group };
        *resources.entry(format!("{resource}.{group}")).or_default() += 1;
        let object = c.get(&key);
        let held = object.as_ref().map(|stored| &stored.value);
        for finalizer in held
            .into_iter()
            .flat_map(|object| items(object, "/metadata/finalizers"))
        {
            let finalizer = finalizer.as_str().unwrap_or_default();
            *finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
    }
    let words = |counts: BTreeMap<String, usize>, verb: &str| {
        counts
            .iter()
            .map(|(what, count)| format!("{what} {verb} {count} resource instances"))
            .collect()
    };
    (words(resources, "has"), words(finalizers, "in"))
}

async fn update_conditions(
    c: &Controllers,
    actor: &crate::node::embedded::cluster::actor::Actor,
    namespace: &str,
) {
    let Some(mut object) = c.cached(&format!("/registry/core/namespaces/{namespace}")) else {
        return;
    };
    let old = items(&object, "/status/conditions").to_vec();
    let condition = |kind: &str, on: bool, reason: &str, message: &str| {
        let status = if on { "True" } else { "False" };
        let since = old
            .iter()
            .find(|own| text_at(own, "/type") == kind && text_at(own, "/status") == status)
            .map_or_else(crate::node::embedded::cluster::object::now, |own| {
                text_at(own, "/lastTransitionTime").to_owned()
            });
        json!({"type": kind, "status": status, "lastTransitionTime": since,
            "reason": reason, "message": message})
    };
    let (resources, finalizers) = remaining(c, namespace);
    let conditions = json!([
        condition(
            "NamespaceDeletionDiscoveryFailure",
            false,
            "ResourcesDiscovered",
            "All resources successfully discovered"
        ),
        condition(
            "NamespaceDeletionGroupVersionParsingFailure",
            false,
            "ParsedGroupVersions",
            "All legacy kube types successfully parsed"
        ),
        condition(
            "NamespaceDeletionContentFailure",
            false,
            "ContentDeleted",
            "All content successfully deleted, may be waiting on finalization"
        ),
        if resources.is_empty() {
            condition(
                "NamespaceContentRemaining",
                false,
                "ContentRemoved",
                "All content successfully removed",
            )
        } else {
            condition(
                "NamespaceContentRemaining",
                true,
                "SomeResourcesRemain",
                &format!("Some resources are remaining: {}", resources.join(", ")),
            )
        },
        if finalizers.is_empty() {
            condition(
                "NamespaceFinalizersRemaining",
                false,
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            )
        } else {
            condition(
                "NamespaceFinalizersRemaining",
                true,
                "SomeFinalizersRemain",
                &format!(
                    "Some content in the namespace has finalizers remaining: {}",
                    finalizers.join(", ")
                ),
            )
        },
    ]);
    if conditions.as_array() == Some(&old) {
        return;
    }
    if let Some(fields) = object.as_object_mut() {
        ensure(fields, "status").insert("conditions".into(), conditions);
    }
    let _ = actor
        .update(&format!("/api/v1/namespaces/{namespace}/status"), object)
        .await;
}
