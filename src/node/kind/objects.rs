//! The objects of a cluster as they were when it was made, put back between labs.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::nodes;
use crate::node::NodeError;
use crate::node::api;

/// Collections that labs and learners change, each before those that need it.
const COLLECTIONS: [&str; 35] = [
    nodes::COLLECTION,
    "/api/v1/namespaces",
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings",
    "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    "/apis/apiregistration.k8s.io/v1/apiservices",
    "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "/apis/rbac.authorization.k8s.io/v1/roles",
    "/apis/rbac.authorization.k8s.io/v1/rolebindings",
    "/apis/scheduling.k8s.io/v1/priorityclasses",
    "/apis/storage.k8s.io/v1/storageclasses",
    "/apis/certificates.k8s.io/v1/certificatesigningrequests",
    "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas",
    "/apis/flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
    "/api/v1/serviceaccounts",
    "/api/v1/configmaps",
    "/api/v1/secrets",
    "/api/v1/services",
    "/api/v1/resourcequotas",
    "/api/v1/limitranges",
    "/api/v1/persistentvolumes",
    "/api/v1/persistentvolumeclaims",
    "/apis/networking.k8s.io/v1/networkpolicies",
    "/apis/networking.k8s.io/v1/ingresses",
    "/apis/policy/v1/poddisruptionbudgets",
    "/apis/apps/v1/daemonsets",
    "/apis/apps/v1/deployments",
    "/apis/apps/v1/statefulsets",
    "/apis/apps/v1/replicasets",
    "/apis/batch/v1/cronjobs",
    "/apis/batch/v1/jobs",
    "/api/v1/pods",
];

/// How long namespaces may take to end.
const ENDING: Duration = Duration::from_secs(90);

/// An object and its path.
type Objects = BTreeMap<String, Value>;

/// Every object that is kept, by its path.
///
/// # Errors
/// When the API server does not answer.
pub fn all(config: kube::Config) -> Result<Objects, NodeError> {
    api::run(config, |client| async move { list(&client).await })
}

async fn list(client: &kube::Client) -> Result<Objects, NodeError> {
    let lists = futures_util::future::join_all(
        COLLECTIONS
            .iter()
            .map(|collection| async move { (*collection, api::get(client, collection).await) }),
    )
    .await;
    let mut found = Objects::new();
    for (collection, listed) in lists {
        let Some(listed) = listed? else { continue };
        let version = text(&listed, "/apiVersion").to_owned();
        let kind = text(&listed, "/kind").trim_end_matches("List").to_owned();
        let items = listed.get("items").and_then(Value::as_array);
        for item in items.into_iter().flatten().filter(|item| is_kept(item)) {
            let mut item = item.clone();
            if let Some(fields) = item.as_object_mut() {
                fields.insert("apiVersion".to_owned(), version.clone().into());
                fields.insert("kind".to_owned(), kind.clone().into());
            }
            found.insert(path(collection, &item), item);
        }
    }
    Ok(found)
}

/// Whether an object is somebody's own, not one that a controller keeps making.
fn is_kept(item: &Value) -> bool {
    let owners = item
        .pointer("/metadata/ownerReferences")
        .and_then(Value::as_array);
    let made_by_itself = owners.is_some_and(|owners| !owners.is_empty());
    let of_the_cluster = text(item, "/metadata/name") == "kube-root-ca.crt"
        || item
            .pointer("/metadata/labels/kube-aggregator.kubernetes.io~1automanaged")
            .is_some()
        || text(item, "/type") == "bootstrap.kubernetes.io/token"
        || item
            .pointer("/metadata/annotations/kubernetes.io~1config.source")
            .is_some();
    !made_by_itself && !of_the_cluster
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// The URL path of an object of a collection.
fn path(collection: &str, item: &Value) -> String {
    let name = text(item, "/metadata/name");
    match text(item, "/metadata/namespace") {
        "" => format!("{collection}/{name}"),
        namespace => {
            let (group, resource) = collection.rsplit_once('/').unwrap_or((collection, ""));
            format!("{group}/namespaces/{namespace}/{resource}/{name}")
        }
    }
}

/// The namespace that a path is in.
fn namespace_of(path: &str) -> Option<&str> {
    let (_, rest) = path.split_once("/namespaces/")?;
    rest.split_once('/').map(|(namespace, _)| namespace)
}

/// What of an object is its owner's: not what the server and controllers write.
fn own(item: &Value) -> Value {
    let mut item = item.clone();
    if let Some(fields) = item.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = item.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in [
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "managedFields",
            "selfLink",
        ] {
            metadata.remove(field);
        }
        if let Some(annotations) = metadata
            .get_mut("annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove("deployment.kubernetes.io/revision");
            annotations.remove("deprecated.daemonset.template.generation");
        }
    }
    item
}

/// What is to be done so that `now` becomes `before`.
#[derive(Debug, Default, PartialEq)]
struct Difference {
    /// Paths of objects that were not there; namespaces first, without what is in them.
    extra: Vec<String>,
    /// Objects that are gone.
    gone: Vec<(String, Value)>,
    /// Objects that were changed.
    changed: Vec<(String, Value)>,
}

fn difference(before: &Objects, now: &Objects) -> Difference {
    let mut found = Difference::default();
    let namespace = |name: &str| format!("/api/v1/namespaces/{name}");
    // Nodes are the kubelet's: only what people put on them is put back.
    let is_node = |path: &str| path.starts_with(nodes::COLLECTION);
    for path in now
        .keys()
        .filter(|path| !before.contains_key(*path) && !is_node(path))
    {
        // What is in a namespace that goes away goes with it.
        let within = namespace_of(path).map(namespace);
        if within.is_none_or(|within| before.contains_key(&within)) {
            found.extra.push(path.clone());
        }
    }
    // Requests for certificates are cleared away by a controller after a while.
    let lasting = |path: &str| !path.contains("/certificatesigningrequests/");
    for (path, object) in before.iter().filter(|(path, _)| lasting(path)) {
        match now.get(path) {
            None => found.gone.push((path.clone(), own(object))),
            Some(_) if is_node(path) => {}
            Some(other) if own(other) != own(object) => {
                let mut object = own(object);
                // Some kinds are replaced only by who knows what is there.
                if let Some(version) = other.pointer("/metadata/resourceVersion")
                    && let Some(metadata) =
                        object.get_mut("metadata").and_then(Value::as_object_mut)
                {
                    metadata.insert("resourceVersion".to_owned(), version.clone());
                }
                found.changed.push((path.clone(), object));
            }
            Some(_) => {}
        }
    }
    // A namespace is made before what is in it.
    found.gone.sort_by_key(|(path, _)| {
        let collection = COLLECTIONS
            .iter()
            .position(|collection| path.rsplit('/').nth(1) == collection.rsplit('/').next());
        collection.unwrap_or(COLLECTIONS.len())
    });
    found
}

/// Makes the objects be as they were.
///
/// # Errors
/// When the API server refuses, or namespaces do not end.
pub fn restore(config: kube::Config, before: Objects) -> Result<(), NodeError> {
    api::run(config, |client| async move {
        let now = list(&client).await?;
        for (path, patch) in nodes::patches(&before, &now) {
            api::merge(&client, &path, &patch).await?;
        }
        let found = difference(&before, &now);
        for path in &found.extra {
            api::delete(&client, path).await?;
        }
        for (path, object) in &found.gone {
            let collection = path.rsplit_once('/').map_or(path.as_str(), |(all, _)| all);
            api::create(&client, collection, object).await?;
        }
        for (path, object) in &found.changed {
            api::replace(&client, path, object).await?;
        }
        let ending: Vec<&String> = found
            .extra
            .iter()
            .filter(|path| path.starts_with("/api/v1/namespaces/") && namespace_of(path).is_none())
            .collect();
        let start = Instant::now();
        for path in ending {
            while api::get(&client, path).await?.is_some() {
                if start.elapsed() > ENDING {
                    return Err(NodeError::Refused(format!(
                        "the namespace of `{path}` does not end"
                    )));
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn objects(items: &[(&str, Value)]) -> Objects {
        items
            .iter()
            .map(|(collection, item)| (path(collection, item), item.clone()))
            .collect()
    }

    fn named(namespace: &str, name: &str, data: &str) -> Value {
        let mut item = json!({"metadata": {"name": name, "uid": data}, "data": data});
        if !namespace.is_empty() {
            item["metadata"]["namespace"] = namespace.into();
        }
        item
    }

    #[test]
    fn extra_gone_and_changed_objects_are_told_apart() {
        let (spaces, maps) = ("/api/v1/namespaces", "/api/v1/configmaps");
        let before = objects(&[
            (spaces, named("", "default", "")),
            (spaces, named("", "mine", "")),
            (maps, named("default", "kept", "1")),
            (maps, named("mine", "gone", "2")),
        ]);
        let now = objects(&[
            (spaces, named("", "default", "other uid")),
            (spaces, named("", "lab", "")),
            (maps, named("lab", "within", "")),
            (maps, named("default", "kept", "changed")),
            (maps, named("default", "new", "")),
        ]);
        let found = difference(&before, &now);
        assert_eq!(
            found.extra,
            [
                "/api/v1/namespaces/default/configmaps/new",
                "/api/v1/namespaces/lab",
            ]
        );
        let paths = |all: &[(String, Value)]| -> Vec<String> {
            all.iter().map(|(path, _)| path.clone()).collect()
        };
        assert_eq!(
            paths(&found.gone),
            [
                "/api/v1/namespaces/mine",
                "/api/v1/namespaces/mine/configmaps/gone"
            ]
        );
        assert_eq!(
            paths(&found.changed)
                .iter()
                .filter(|path| path.contains("configmaps"))
                .count(),
            1
        );
    }
}
