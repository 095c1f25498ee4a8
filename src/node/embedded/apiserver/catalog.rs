//! The built-in API resources of Kubernetes 1.36: what discovery lists.

use std::collections::HashMap;
use std::io::Read;
use std::sync::{Arc, OnceLock};

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
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subresource {
    /// Name without the resource: `log`.
    pub name: String,
    /// Kind of its bodies.
    pub kind: String,
    /// Group of its kind; empty, with the version, where the kind belongs to the group of the resource.
    #[serde(rename = "kindGroup")]
    pub group: String,
    /// Version of its kind where it differs.
    #[serde(rename = "kindVersion")]
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

    /// The subresource of this name (`log`, `status`...).
    #[must_use]
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|s| s.name == name)
    }

    /// Group, version and kind of a subresource's bodies; of the objects themselves for the empty name.
    #[must_use]
    pub fn body_kind(&self, subresource: &str) -> Option<(&str, &str, &str)> {
        if subresource.is_empty() {
            return Some((&self.group, &self.version, &self.kind));
        }
        let found = self.subresource(subresource)?;
        Some(if found.version.is_empty() {
            (&self.group, &self.version, &found.kind)
        } else {
            (&found.group, &found.version, &found.kind)
        })
    }

    /// Whether the resource (or its subresource) answers this verb.
    #[must_use]
    pub fn has_verb(&self, subresource: &str, verb: &str) -> bool {
        let verbs = if subresource.is_empty() {
            Some(&self.verbs)
        } else {
            self.subresource(subresource).map(|s| &s.verbs)
        };
        verbs.is_some_and(|verbs| verbs.iter().any(|v| v == verb))
    }

    /// The kind of its lists.
    #[must_use]
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }
}

/// A group of the API and its versions, the preferred one first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Name, empty for core.
    pub name: String,
    /// Versions, best first.
    pub versions: Vec<String>,
}

impl Group {
    /// The version a client should use.
    #[must_use]
    pub fn preferred(&self) -> &str {
        self.versions.first().map_or("", String::as_str)
    }
}

/// What a plain server knows, with its lookups.
struct Catalog {
    groups: Vec<Group>,
    by_name: HashMap<(&'static str, &'static str, &'static str), usize>,
    by_kind: HashMap<(&'static str, &'static str, &'static str), usize>,
}

/// Resources as a real server listed them in aggregated discovery: groups by priority, versions best first.
const RESOURCES: &[u8] = include_bytes!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/fixtures/golden/http/data/api-resources.json.gz"
));

/// The resources alone; the rest of the catalogue borrows from them.
fn resources() -> &'static [Arc<Resource>] {
    static RESOURCES_ONCE: OnceLock<Vec<Arc<Resource>>> = OnceLock::new();
    RESOURCES_ONCE.get_or_init(|| {
        let mut text = Vec::new();
        // The data is part of the binary and a test reads it: an error here cannot happen at run time.
        let read = flate2::read::GzDecoder::new(RESOURCES).read_to_end(&mut text);
        debug_assert!(read.is_ok());
        let all: Vec<Resource> = serde_json::from_slice(&text).unwrap_or_default();
        all.into_iter().map(Arc::new).collect()
    })
}

fn catalog() -> &'static Catalog {
    static CATALOG: OnceLock<Catalog> = OnceLock::new();
    CATALOG.get_or_init(|| {
        let mut catalog = Catalog {
            groups: Vec::new(),
            by_name: HashMap::new(),
            by_kind: HashMap::new(),
        };
        for (index, resource) in resources().iter().enumerate() {
            let (group, version) = (resource.group.as_str(), resource.version.as_str());
            catalog
                .by_name
                .insert((group, version, &resource.name), index);
            catalog
                .by_kind
                .entry((group, version, &resource.kind))
                .or_insert(index);
            match catalog.groups.iter_mut().find(|g| g.name == group) {
                Some(known) if known.versions.iter().any(|v| v == version) => {}
                Some(known) => known.versions.push(version.to_owned()),
                None => catalog.groups.push(Group {
                    name: group.to_owned(),
                    versions: vec![version.to_owned()],
                }),
            }
        }
        catalog
    })
}

/// Every built-in resource, core first, then the groups in the order of `/apis`.
#[must_use]
pub fn built_in() -> &'static [Arc<Resource>] {
    resources()
}

/// Every built-in group, core (the empty name) first, then in the order of `/apis`.
#[must_use]
pub fn groups() -> &'static [Group] {
    &catalog().groups
}

/// A built-in group.
#[must_use]
pub fn group(name: &str) -> Option<&'static Group> {
    groups().iter().find(|g| g.name == name)
}

/// Whether this group and version are built in.
#[must_use]
pub fn has_version(name: &str, version: &str) -> bool {
    group(name).is_some_and(|g| g.versions.iter().any(|v| v == version))
}

/// The built-in resources of a group and version, in discovery order.
pub fn of_version(group: &str, version: &str) -> impl Iterator<Item = &'static Resource> {
    built_in()
        .iter()
        .filter(move |r| r.group == group && r.version == version)
        .map(Arc::as_ref)
}

/// The built-in resource of this group, version and plural name.
#[must_use]
pub fn find(group: &str, version: &str, name: &str) -> Option<&'static Arc<Resource>> {
    let index = *catalog().by_name.get(&(group, version, name))?;
    resources().get(index)
}

/// The built-in resource whose objects are of this kind (not its subresources').
#[must_use]
pub fn find_kind(group: &str, version: &str, kind: &str) -> Option<&'static Resource> {
    let index = *catalog().by_kind.get(&(group, version, kind))?;
    resources().get(index).map(Arc::as_ref)
}

/// The built-in resource of this group and plural name in the preferred version that has it.
#[must_use]
pub fn find_preferred(group_name: &str, name: &str) -> Option<&'static Arc<Resource>> {
    group(group_name)?
        .versions
        .iter()
        .find_map(|version| find(group_name, version, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_is_the_one_of_a_real_server() {
        assert_eq!(built_in().len(), 68);
        let names: Vec<&str> = groups().iter().map(|g| g.name.as_str()).collect();
        assert_eq!(names.first(), Some(&""));
        assert_eq!(names.get(1), Some(&"apiregistration.k8s.io"));
        assert_eq!(names.len(), 21);
        assert_eq!(group("autoscaling").map(Group::preferred), Some("v2"));
        assert_eq!(group("autoscaling").map(|g| g.versions.len()), Some(2));
        assert!(has_version("apps", "v1") && !has_version("apps", "v1beta1"));
    }

    #[test]
    fn resources_are_found_by_name_and_by_kind() {
        let pods = find("", "v1", "pods").unwrap();
        assert!(std::ptr::eq(
            pods.as_ref(),
            find_kind("", "v1", "Pod").unwrap()
        ));
        assert_eq!(
            pods.body_kind("eviction"),
            Some(("policy", "v1", "Eviction"))
        );
        assert_eq!(pods.body_kind("log"), Some(("", "v1", "Pod")));
        assert_eq!(pods.body_kind("nope"), None);
        assert!(pods.has_verb("log", "get") && !pods.has_verb("log", "create"));
        assert_eq!(
            find("apps", "v1", "deployments")
                .unwrap()
                .body_kind("scale"),
            Some(("autoscaling", "v1", "Scale"))
        );
        let hpa = find_preferred("autoscaling", "horizontalpodautoscalers").unwrap();
        assert_eq!(hpa.version, "v2");
        assert_eq!(find("apps", "v1", "pods"), None);
    }
}
