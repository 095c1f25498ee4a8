//! Requests to the API server that a scenario names: probes of the grader, and the past of a log.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::evaluate::Attributes;
use crate::audit::level::Level;
use crate::node::Identity;

/// Who sends a probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeUser {
    /// User name.
    pub name: String,
    /// Groups.
    #[serde(default)]
    pub groups: Vec<String>,
}

/// One request of a probe. The level wanted is what the reference policy says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbeRequest {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`.
    pub verb: String,
    /// API group, empty for core.
    #[serde(default)]
    pub group: String,
    /// API version.
    #[serde(default = "v1")]
    pub version: String,
    /// Resource, plural; empty for a path outside the API's resources.
    #[serde(default)]
    pub resource: String,
    /// Subresource.
    #[serde(default)]
    pub subresource: String,
    /// Namespace.
    #[serde(default)]
    pub namespace: String,
    /// Object name; `NONCE` in it becomes the grader's nonce.
    #[serde(default)]
    pub name: String,
    /// Path of a request outside the API's resources.
    #[serde(default)]
    pub path: String,
    /// Body of a `create`, `update` or `patch` (a merge patch).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<serde_json::Value>,
    /// The level wanted, where it is not the reference policy's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub level: Option<Level>,
}

fn v1() -> String {
    "v1".to_owned()
}

impl ProbeUser {
    /// The identity of a user, or of the cluster's administrator.
    #[must_use]
    pub fn identity(user: Option<&Self>) -> Identity {
        match user {
            Some(user) => Identity::User {
                name: user.name.clone(),
                groups: user.groups.clone(),
            },
            None => Identity::Admin,
        }
    }
}

impl ProbeRequest {
    /// Whether the request is about a collection, not about one object.
    #[must_use]
    pub fn is_collection(&self) -> bool {
        matches!(self.verb.as_str(), "list" | "watch" | "deletecollection")
            || (self.verb == "create" && self.subresource.is_empty())
    }

    /// Whether it is about a Namespace itself, which is in none.
    fn is_about_a_namespace(&self) -> bool {
        self.group.is_empty() && self.resource == "namespaces"
    }

    /// The namespace that the API server sees in it: of a request about one Namespace, that one
    /// (apiserver/pkg/endpoints/request/requestinfo.go).
    #[must_use]
    pub fn seen_namespace(&self) -> &str {
        if !self.is_about_a_namespace() {
            &self.namespace
        } else if self.is_collection() {
            ""
        } else {
            &self.name
        }
    }

    /// What the API server's audit sees of the request, with names as they are written here.
    #[must_use]
    pub fn attributes(&self, user: String, groups: Vec<String>) -> Attributes {
        let resource_request = !self.resource.is_empty();
        let some = |text: &str, there: bool| {
            if there {
                text.to_owned()
            } else {
                String::new()
            }
        };
        Attributes {
            user: Some(user),
            groups,
            verb: self.verb.clone(),
            namespace: self.seen_namespace().to_owned(),
            api_group: self.group.clone(),
            api_version: some(&self.version, resource_request),
            resource: self.resource.clone(),
            subresource: self.subresource.clone(),
            name: some(&self.name, !self.is_collection()),
            path: self.url_path(),
            resource_request,
        }
    }

    /// The URL path, without a query.
    #[must_use]
    pub fn url_path(&self) -> String {
        if self.resource.is_empty() {
            return self.path.clone();
        }
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if !self.namespace.is_empty() && !self.is_about_a_namespace() {
            path.push_str(&format!("/namespaces/{}", self.namespace));
        }
        path.push_str(&format!("/{}", self.resource));
        if !self.is_collection() {
            path.push_str(&format!("/{}", self.name));
        }
        if !self.subresource.is_empty() {
            path.push_str(&format!("/{}", self.subresource));
        }
        path
    }

    /// The query that the kind of request cannot do without, if any: `watch=true`...
    #[must_use]
    pub fn query(&self) -> Option<&'static str> {
        if self.subresource == "exec" {
            Some("command=true&stdout=true")
        } else if self.verb == "watch" {
            Some("watch=true&timeoutSeconds=5")
        } else {
            None
        }
    }

    /// HTTP method and content type.
    #[must_use]
    pub fn method(&self) -> (http::Method, &'static str) {
        match self.verb.as_str() {
            "create" | "post" => (http::Method::POST, "application/json"),
            "update" | "put" => (http::Method::PUT, "application/json"),
            "patch" => (http::Method::PATCH, "application/merge-patch+json"),
            "delete" | "deletecollection" => (http::Method::DELETE, "application/json"),
            _ => (http::Method::GET, "application/json"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> ProbeRequest {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn a_namespace_is_asked_for_by_name_and_seen_in_itself() {
        let get = request("{verb: get, resource: namespaces, namespace: shop, name: shop}");
        assert_eq!(get.url_path(), "/api/v1/namespaces/shop");
        assert_eq!(get.seen_namespace(), "shop");
        let status = request(
            "{verb: update, resource: namespaces, subresource: status, name: shop, namespace: ''}",
        );
        assert_eq!(status.url_path(), "/api/v1/namespaces/shop/status");
        assert_eq!(status.seen_namespace(), "shop");
        let create = request("{verb: create, resource: namespaces}");
        assert_eq!(
            (create.url_path(), create.seen_namespace()),
            ("/api/v1/namespaces".into(), "")
        );
        let pods = request("{verb: get, resource: pods, namespace: shop, name: web}");
        assert_eq!(pods.url_path(), "/api/v1/namespaces/shop/pods/web");
        assert_eq!(pods.seen_namespace(), "shop");
    }
}
