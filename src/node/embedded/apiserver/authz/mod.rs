//! Authorisation: the modes Node, RBAC and ABAC, and what both know of `system:masters`.

pub mod abac;
pub mod node;
pub mod rbac;

use std::sync::Arc;

use serde_json::Value;

use super::status::Status;

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

/// The group that may do everything.
pub const PRIVILEGED: &str = "system:masters";

/// Decides: the privileged group, then every authorisation mode in its order.
#[must_use]
pub fn authorize(state: &Arc<ApiState>, user: &UserInfo, attributes: &Attributes) -> Decision {
    let allow = |reason: String| Decision {
        allowed: true,
        reason,
    };
    if user.groups.iter().any(|group| group == PRIVILEGED) {
        return allow(String::new());
    }
    let mut reasons = Vec::new();
    for mode in state.flags.authorization_modes() {
        let decision = match mode.as_str() {
            "AlwaysAllow" => allow(String::new()),
            "AlwaysDeny" => Decision {
                allowed: false,
                reason: "Everything is forbidden.".to_owned(),
            },
            "Node" => node::authorize(state, user, attributes),
            "ABAC" => state.abac.authorize(user, attributes),
            "RBAC" if !state.lifecycle.knows_rbac() => Decision::default(),
            "RBAC" => state.rbac.authorize(&state.store, user, attributes),
            _ => Decision::default(),
        };
        if decision.allowed {
            return decision;
        }
        if !decision.reason.is_empty() {
            reasons.push(decision.reason);
        }
    }
    Decision {
        allowed: false,
        reason: reasons.join("\n"),
    }
}

/// The rules that apply to a user in a namespace (cluster-wide ones included), mode by mode
/// (`pkg/kubeapiserver/authorizer/reload.go`), and a text for every role that is bound to and does not exist.
#[must_use]
pub fn rules_for(
    state: &Arc<ApiState>,
    user: &UserInfo,
    namespace: &str,
) -> (Vec<Rule>, Vec<String>) {
    let mut rules = Vec::new();
    let mut errors = Vec::new();
    for mode in state.flags.authorization_modes() {
        match mode.as_str() {
            "RBAC" => {
                let (granted, missing) = state.rbac.rules_for(&state.store, user, namespace);
                rules.extend(granted);
                errors.extend(missing);
            }
            "ABAC" => rules.extend(state.abac.rules_for(user, namespace)),
            "AlwaysAllow" => {
                let all = || vec!["*".to_owned()];
                rules.push(Rule {
                    verbs: all(),
                    api_groups: all(),
                    resources: all(),
                    ..Rule::default()
                });
                rules.push(Rule {
                    verbs: all(),
                    non_resource_urls: all(),
                    ..Rule::default()
                });
            }
            _ => {}
        }
    }
    (rules, errors)
}

/// The 403 of a request that is not allowed (`handlers/responsewriters/errors.go`).
#[must_use]
pub fn forbidden(user: &UserInfo, attributes: &Attributes, reason: &str) -> Status {
    use crate::audit::options::number::quote;
    let message = if attributes.is_resource {
        let resource = if attributes.subresource.is_empty() {
            attributes.resource.clone()
        } else {
            format!("{}/{}", attributes.resource, attributes.subresource)
        };
        let place = if attributes.namespace.is_empty() {
            "at the cluster scope".to_owned()
        } else {
            format!("in the namespace {}", quote(&attributes.namespace))
        };
        format!(
            "User {} cannot {} resource {} in API group {} {place}",
            quote(&user.username),
            attributes.verb,
            quote(&resource),
            quote(&attributes.group),
        )
    } else {
        format!(
            "User {} cannot {} path {}",
            quote(&user.username),
            attributes.verb,
            quote(&attributes.path)
        )
    };
    let message = if reason.is_empty() {
        message
    } else {
        format!("{message}: {reason}")
    };
    let qualified = super::status::qualified(&attributes.group, &attributes.resource);
    let (text, details) = if attributes.is_resource {
        let head = if attributes.name.is_empty() {
            qualified
        } else {
            format!("{qualified} {}", quote(&attributes.name))
        };
        (
            format!("{head} is forbidden: {message}"),
            super::status::details(&attributes.group, &attributes.resource, &attributes.name),
        )
    } else {
        (
            format!("forbidden: {message}"),
            Value::Object(serde_json::Map::new()),
        )
    };
    Status::new(403, "Forbidden", text).with_details(details)
}
