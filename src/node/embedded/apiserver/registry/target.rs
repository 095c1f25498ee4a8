//! What a request is about: the resource, the object, and where they are stored.

use std::sync::Arc;

use crate::node::embedded::apiserver::catalog::Resource;
use crate::node::embedded::apiserver::request::RequestInfo;
use crate::node::embedded::apiserver::state::CustomResource;
use crate::node::embedded::apiserver::status::{self, Status};
use crate::node::embedded::store::StoreError;

/// The target of a request.
#[derive(Debug, Clone)]
pub(in crate::node::embedded::apiserver) struct Target {
    /// The resource.
    pub(in crate::node::embedded::apiserver) resource: Arc<Resource>,
    /// Set for a custom resource.
    pub(in crate::node::embedded::apiserver) custom: Option<CustomResource>,
    /// Namespace, empty for cluster scope or all namespaces.
    pub(in crate::node::embedded::apiserver) namespace: String,
    /// Name, empty for collections.
    pub(in crate::node::embedded::apiserver) name: String,
    /// Subresource, empty for the object itself.
    pub(in crate::node::embedded::apiserver) subresource: String,
}

impl Target {
    pub(super) fn new(
        resource: Arc<Resource>,
        custom: Option<CustomResource>,
        info: &RequestInfo,
    ) -> Self {
        let namespace = if resource.namespaced {
            info.namespace.clone()
        } else {
            String::new()
        };
        Self {
            resource,
            custom,
            namespace,
            name: info.name.clone(),
            subresource: info.subresource.clone(),
        }
    }

    /// Prefix of the keys of all objects of the resource, or of those in the namespace.
    pub(in crate::node::embedded::apiserver) fn prefix(&self) -> String {
        let mut prefix = resource_prefix(&self.resource);
        if !self.namespace.is_empty() {
            prefix.push_str(&self.namespace);
            prefix.push('/');
        }
        prefix
    }

    /// Key of the object of this name.
    pub(in crate::node::embedded::apiserver) fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix())
    }

    /// 404 for the object.
    pub(in crate::node::embedded::apiserver) fn not_found(&self, name: &str) -> Status {
        Status::not_found(&self.resource.group, &self.resource.name, name)
    }

    /// 409 for an object that exists.
    pub(in crate::node::embedded::apiserver) fn already_exists(&self, name: &str) -> Status {
        let qualified = status::qualified(&self.resource.group, &self.resource.name);
        Status::new(
            409,
            "AlreadyExists",
            format!("{qualified} \"{name}\" already exists"),
        )
        .with_details(status::details(
            &self.resource.group,
            &self.resource.name,
            name,
        ))
    }

    /// 409 for a stale or otherwise conflicting write.
    pub(in crate::node::embedded::apiserver) fn conflict(&self, name: &str, why: &str) -> Status {
        let qualified = status::qualified(&self.resource.group, &self.resource.name);
        Status::new(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {qualified} \"{name}\": {why}"),
        )
        .with_details(status::details(
            &self.resource.group,
            &self.resource.name,
            name,
        ))
    }

    /// 409 for an object changed meanwhile.
    pub(in crate::node::embedded::apiserver) fn modified(&self, name: &str) -> Status {
        self.conflict(
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// What the store said, as an answer.
    pub(in crate::node::embedded::apiserver) fn store_error(
        &self,
        name: &str,
        error: &StoreError,
    ) -> Status {
        match error {
            StoreError::Exists => self.already_exists(name),
            StoreError::NotFound => self.not_found(name),
            StoreError::Conflict(_) => self.modified(name),
            other => super::plain_error(other.to_string()),
        }
    }

    /// The key a real etcd has for the object, for the texts that show it.
    pub(in crate::node::embedded::apiserver) fn etcd_key(&self, name: &str) -> String {
        let resource = &self.resource;
        let mut key = format!("/registry/{}", etcd_prefix(resource));
        if !self.namespace.is_empty() {
            key.push('/');
            key.push_str(&self.namespace);
        }
        key.push('/');
        key.push_str(name);
        key
    }
}

/// Prefix of all objects of a resource. Versions of a group share it, and so do the two groups of events.
pub(in crate::node::embedded::apiserver) fn resource_prefix(resource: &Resource) -> String {
    let group = match (resource.group.as_str(), resource.name.as_str()) {
        ("" | "events.k8s.io", _) if resource.name == "events" => "core",
        ("", _) => "core",
        (group, _) => group,
    };
    format!("/registry/{group}/{}/", resource.name)
}

/// `etcd3` prefixes that are not just the resource (`pkg/kubeapiserver/default_storage_factory_builder.go`).
fn etcd_prefix(resource: &Resource) -> String {
    match (resource.group.as_str(), resource.name.as_str()) {
        ("", "replicationcontrollers") => "controllers".to_owned(),
        ("", "endpoints") => "services/endpoints".to_owned(),
        ("", "services") => "services/specs".to_owned(),
        ("", "nodes") => "minions".to_owned(),
        ("networking.k8s.io", "ingresses") => "ingress".to_owned(),
        ("apiregistration.k8s.io" | "apiextensions.k8s.io", name) => {
            format!("{}/{name}", resource.group)
        }
        (group, name)
            if !group.is_empty() && group.contains('.') && !group.ends_with(".k8s.io") =>
        {
            format!("{group}/{name}")
        }
        (_, name) => name.to_owned(),
    }
}
