//! The built-in API resources of Kubernetes 1.36: what discovery lists.

use std::sync::OnceLock;

use serde::Deserialize;

/// A resource of the API (custom resources are described with the same type).
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// API group, empty for core.
    pub group: String,
    /// Version, such as `v1`.
    pub version: String,
    /// Plural name.
    pub name: String,
    /// Singular name.
    pub singular_name: String,
    /// Short names.
    pub short_names: Vec<String>,
    /// Categories, such as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// Kind.
    pub kind: String,
    /// Verbs, sorted.
    pub verbs: Vec<String>,
    /// Subresources.
    pub subresources: Vec<Subresource>,
}

/// A subresource of a resource.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub struct Subresource {
    /// Name with the resource in front: `pods/log`.
    pub name: String,
    /// Kind of its bodies.
    pub kind: String,
    /// Group of its kind where it differs.
    pub group: String,
    /// Version of its kind where it differs.
    pub version: String,
    /// Verbs, sorted.
    pub verbs: Vec<String>,
}

impl Resource {
    /// `v1` or `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// Every built-in resource.
#[must_use]
pub fn built_in() -> &'static [Resource] {
    static ALL: OnceLock<Vec<Resource>> = OnceLock::new();
    ALL.get_or_init(Vec::new)
}

/// The built-in resource of this group, version and plural name.
#[must_use]
pub fn find(group: &str, version: &str, name: &str) -> Option<&'static Resource> {
    built_in()
        .iter()
        .find(|r| r.name == name && r.group == group && r.version == version)
}
