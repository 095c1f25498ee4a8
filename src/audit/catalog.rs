//! What can be asked of an API server: the built-in resources with their verbs, and the URLs that are
//! not resources.

use std::sync::OnceLock;

use serde::Deserialize;

/// A resource.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// API group, empty for core.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural name.
    pub name: String,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Singular name.
    #[serde(default)]
    pub singular_name: String,
    /// Short names.
    #[serde(default)]
    pub short_names: Vec<String>,
    /// Kind.
    #[serde(default)]
    pub kind: String,
    /// Verbs.
    pub verbs: Vec<String>,
    /// Subresources.
    #[serde(default)]
    pub subresources: Vec<Subresource>,
}

/// A subresource.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Subresource {
    /// Name, without the resource: `log`.
    pub name: String,
    /// Verbs.
    pub verbs: Vec<String>,
}

impl Resource {
    /// The subresource of this name.
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }
}

/// Verbs of API requests.
pub const RESOURCE_VERBS: [&str; 8] = [
    "get",
    "list",
    "create",
    "update",
    "patch",
    "delete",
    "watch",
    "deletecollection",
];

/// Verbs of other requests: the HTTP methods in lower case.
pub const URL_VERBS: [&str; 6] = ["get", "post", "put", "patch", "delete", "head"];

/// Paths that are not resources, the best known first.
pub const PATHS: [&str; 22] = [
    "/healthz",
    "/livez",
    "/readyz",
    "/version",
    "/api",
    "/apis",
    "/metrics",
    "/openapi/v2",
    "/openapi/v3",
    "/api/v1",
    "/apis/apps/v1",
    "/apis/apps",
    "/healthz/etcd",
    "/livez/ping",
    "/readyz/etcd",
    "/version/",
    "/metrics/slis",
    "/openapi/v3/apis/apps/v1",
    "/logs/",
    "/debug/pprof/profile",
    "/.well-known/openid-configuration",
    "/openid/v1/jwks",
];

/// Groups that an add-on or another version of Kubernetes may serve.
pub const OTHER_GROUPS: [&str; 6] = [
    "metrics.k8s.io",
    "custom.metrics.k8s.io",
    "external.metrics.k8s.io",
    "storagemigration.k8s.io",
    "internal.apiserver.k8s.io",
    "snapshot.storage.k8s.io",
];

/// Every built-in resource; one version of each.
#[must_use]
pub fn built_in() -> &'static [Resource] {
    static ALL: OnceLock<Vec<Resource>> = OnceLock::new();
    ALL.get_or_init(|| {
        let packed = include_bytes!("../../fixtures/golden/http/data/api-resources.json.gz");
        let reader = flate2::read::GzDecoder::new(packed.as_slice());
        let mut all: Vec<Resource> = serde_json::from_reader(reader).unwrap_or_default();
        for resource in &mut all {
            for sub in &mut resource.subresources {
                if let Some((_, name)) = sub.name.rsplit_once('/') {
                    sub.name = name.to_owned();
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        all.retain(|resource| seen.insert((resource.group.clone(), resource.name.clone())));
        all
    })
}

/// The built-in resource of a group.
#[must_use]
pub fn find(group: &str, name: &str) -> Option<&'static Resource> {
    built_in()
        .iter()
        .find(|resource| resource.name == name && resource.group == group)
}

/// The groups that have a resource of this name.
#[must_use]
pub fn groups_of(name: &str) -> Vec<&'static str> {
    built_in()
        .iter()
        .filter(|resource| resource.name == name)
        .map(|resource| resource.group.as_str())
        .collect()
}

/// Whether this is the group of a built-in resource.
#[must_use]
pub fn is_group(group: &str) -> bool {
    built_in().iter().any(|resource| resource.group == group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_is_whole() {
        assert_eq!(built_in().len(), 67);
        let pods = find("", "pods").unwrap();
        assert!(pods.namespaced);
        assert_eq!(pods.subresource("log").unwrap().verbs, ["get"]);
        assert_eq!(groups_of("events"), ["", "events.k8s.io"]);
    }
}
