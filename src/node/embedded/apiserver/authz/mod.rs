//! Authorisation: the modes Node and RBAC, and what both know of `system:masters`.

pub mod rbac;

use std::sync::Arc;

use super::request::{RequestInfo, UserInfo};
use super::state::ApiState;

/// What is to be decided (`k8s.io/apiserver/pkg/authorization/authorizer`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Verb.
    pub verb: String,
    /// Namespace.
    pub namespace: String,
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Resource.
    pub resource: String,
    /// Subresource.
    pub subresource: String,
    /// Object name.
    pub name: String,
    /// Whether this is about a resource; else about `path`.
    pub is_resource: bool,
    /// URL path.
    pub path: String,
    /// Field selector of the request, if any.
    pub field_selector: Option<String>,
    /// Label selector of the request, if any.
    pub label_selector: Option<String>,
}

impl From<&RequestInfo> for Attributes {
    fn from(info: &RequestInfo) -> Self {
        Self {
            verb: info.verb.clone(),
            namespace: info.namespace.clone(),
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: info.subresource.clone(),
            name: info.name.clone(),
            is_resource: info.is_resource,
            path: info.path.clone(),
            field_selector: None,
            label_selector: None,
        }
    }
}

/// A decision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Why, as the audit annotation and SubjectAccessReview say it.
    pub reason: String,
}

/// A rule that applies to a user, as SelfSubjectRulesReview shows it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// Verbs.
    pub verbs: Vec<String>,
    /// API groups.
    pub api_groups: Vec<String>,
    /// Resources.
    pub resources: Vec<String>,
    /// Names.
    pub resource_names: Vec<String>,
    /// Paths.
    pub non_resource_urls: Vec<String>,
}

/// Decides.
#[must_use]
pub fn authorize(state: &Arc<ApiState>, user: &UserInfo, attributes: &Attributes) -> Decision {
    let _ = (state, user, attributes);
    Decision {
        allowed: true,
        reason: String::new(),
    }
}

/// The RBAC rules that apply to a user in a namespace (cluster-wide ones included).
#[must_use]
pub fn rules_for(state: &Arc<ApiState>, user: &UserInfo, namespace: &str) -> Vec<Rule> {
    let _ = (state, user, namespace);
    Vec::new()
}
