//! Which rule of a policy decides a request (`k8s.io/apiserver/pkg/audit/policy/checker.go`).

use super::level::{Level, Stage};
use super::policy::{Policy, PolicyRule};

/// What the policy sees of a request. Empty strings stand for "not set".
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attributes {
    /// User name; `None` for a request without user information.
    pub user: Option<String>,
    /// Groups of the user.
    pub groups: Vec<String>,
    /// Verb: `get`, `list`, `watch`, `create`... or the lower-case HTTP method of a non-resource request.
    pub verb: String,
    /// Namespace, empty for cluster scope.
    pub namespace: String,
    /// API group, empty for core.
    pub api_group: String,
    /// API version.
    pub api_version: String,
    /// Resource, plural, lower case.
    pub resource: String,
    /// Subresource.
    pub subresource: String,
    /// Object name.
    pub name: String,
    /// URL path.
    pub path: String,
    /// Whether this is a request for an API resource.
    pub resource_request: bool,
}

/// What a policy decides for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The level; `None` also when no rule matches.
    pub level: Level,
    /// Stages left out: the policy's and the rule's, sorted, without repeats.
    pub omit_stages: Vec<Stage>,
    /// Whether managed fields are left out of bodies.
    pub omit_managed_fields: bool,
    /// Index of the rule that matched.
    pub rule: Option<usize>,
}

/// Decides a request: the first rule that matches; level None when none does.
#[must_use]
pub fn evaluate(policy: &Policy, attributes: &Attributes) -> Decision {
    let found = policy
        .rules
        .iter()
        .enumerate()
        .find(|(_, rule)| matches(rule, attributes));
    decide(policy, found.map(|(at, _)| at))
}

/// What a policy decides for the requests that this rule decides, or no rule.
#[must_use]
pub fn decide(policy: &Policy, rule: Option<usize>) -> Decision {
    match rule.and_then(|at| Some((at, policy.rules.get(at)?))) {
        Some((at, rule)) => Decision {
            level: rule.level,
            omit_stages: union(&policy.omit_stages, &rule.omit_stages),
            omit_managed_fields: rule
                .omit_managed_fields
                .unwrap_or(policy.omit_managed_fields),
            rule: Some(at),
        },
        None => Decision {
            level: Level::None,
            omit_stages: union(&policy.omit_stages, &[]),
            omit_managed_fields: policy.omit_managed_fields,
            rule: None,
        },
    }
}

fn union(a: &[Stage], b: &[Stage]) -> Vec<Stage> {
    let mut stages: Vec<Stage> = a.iter().chain(b).copied().collect();
    stages.sort_unstable_by_key(|stage| stage.name());
    stages.dedup();
    stages
}

/// Why a rule does not match a request: the first condition that fails, in the order in which the API
/// server looks at them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Mismatch {
    /// The user is not in `users`.
    User,
    /// No group of the user is in `userGroups`.
    Group,
    /// The verb is not in `verbs`.
    Verb,
    /// The rule is about resources, the request is not.
    NotAResource,
    /// The namespace is not in `namespaces`.
    Namespace,
    /// No entry of `resources` has the API group.
    ApiGroup,
    /// Entries of the right group have other resources.
    Resource,
    /// The resource is listed, the subresource is not.
    Subresource,
    /// The resource is listed, but for other object names.
    ResourceName,
    /// The rule is about URLs, the request is for a resource.
    NotAUrl,
    /// The path is not in `nonResourceURLs`.
    Path,
}

/// Whether a rule matches a request.
#[must_use]
pub fn matches(rule: &PolicyRule, attributes: &Attributes) -> bool {
    mismatch(rule, attributes).is_none()
}

/// Why a rule does not match a request; `None` when it does.
#[must_use]
pub fn mismatch(rule: &PolicyRule, attributes: &Attributes) -> Option<Mismatch> {
    if !rule.users.is_empty()
        && !attributes
            .user
            .as_ref()
            .is_some_and(|user| rule.users.contains(user))
    {
        return Some(Mismatch::User);
    }
    if !rule.user_groups.is_empty() {
        let known = attributes.user.is_some();
        let any = |group| rule.user_groups.contains(group);
        if !(known && attributes.groups.iter().any(any)) {
            return Some(Mismatch::Group);
        }
    }
    if !rule.verbs.is_empty() && !rule.verbs.contains(&attributes.verb) {
        return Some(Mismatch::Verb);
    }
    if !(rule.namespaces.is_empty() && rule.resources.is_empty()) {
        return mismatched_resource(rule, attributes);
    }
    if !rule.non_resource_urls.is_empty() {
        if attributes.resource_request {
            return Some(Mismatch::NotAUrl);
        }
        let path = &attributes.path;
        if !rule
            .non_resource_urls
            .iter()
            .any(|spec| path_matches(path, spec))
        {
            return Some(Mismatch::Path);
        }
    }
    None
}

/// Whether a path matches an entry of `nonResourceURLs`.
#[must_use]
pub fn path_matches(path: &str, spec: &str) -> bool {
    spec == "*"
        || spec == path
        || (spec.ends_with('*') && path.starts_with(spec.trim_end_matches('*')))
}

fn mismatched_resource(rule: &PolicyRule, attributes: &Attributes) -> Option<Mismatch> {
    if !attributes.resource_request {
        return Some(Mismatch::NotAResource);
    }
    // Requests outside of namespaces have the empty namespace.
    if !rule.namespaces.is_empty() && !rule.namespaces.contains(&attributes.namespace) {
        return Some(Mismatch::Namespace);
    }
    if rule.resources.is_empty() {
        return None;
    }
    let mut nearest = Mismatch::ApiGroup;
    for entry in &rule.resources {
        if entry.group != attributes.api_group && entry.group != "*" {
            continue;
        }
        if entry.resources.is_empty() {
            return None;
        }
        let listed = entry
            .resources
            .iter()
            .any(|spec| resource_matches(spec, &attributes.resource, &attributes.subresource));
        if listed {
            if entry.resource_names.is_empty() || entry.resource_names.contains(&attributes.name) {
                return None;
            }
            nearest = Mismatch::ResourceName;
        } else if nearest != Mismatch::ResourceName {
            let parent = entry.resources.contains(&attributes.resource);
            if parent && !attributes.subresource.is_empty() {
                nearest = Mismatch::Subresource;
            } else if nearest == Mismatch::ApiGroup {
                nearest = Mismatch::Resource;
            }
        }
    }
    Some(nearest)
}

/// Whether a resource and subresource match an entry of `resources`.
#[must_use]
pub fn resource_matches(spec: &str, resource: &str, subresource: &str) -> bool {
    if spec == "*" {
        return true;
    }
    let combined = if subresource.is_empty() {
        spec == resource
    } else {
        spec.strip_prefix(resource)
            .and_then(|rest| rest.strip_prefix('/'))
            == Some(subresource)
    };
    combined
        || (!subresource.is_empty() && spec.strip_prefix("*/") == Some(subresource))
        || spec.strip_suffix("/*") == Some(resource)
}
