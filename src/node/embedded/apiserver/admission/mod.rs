//! Admission: what may change or refuse an object after authorisation.

pub mod certificate;
pub mod escalation;
pub mod limits;
pub mod matching;
pub mod namespace;
pub mod node;
pub mod pod;
pub mod pod_security;
pub mod policy;
pub mod quota;
pub mod service_account;
pub mod storage;
pub mod webhook;

use std::sync::Arc;

use serde_json::Value;

use super::catalog::Resource;
use super::request::{AuditContext, UserInfo, Warnings};
use super::state::ApiState;
use super::status::Status;

/// What is being done to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// It is created.
    Create,
    /// It is updated or patched.
    Update,
    /// It is deleted.
    Delete,
    /// A CONNECT subresource (exec, attach, proxy...) is used.
    Connect,
}

/// A request as admission sees it.
pub struct Attributes<'a> {
    /// What is done.
    pub operation: Operation,
    /// The resource.
    pub resource: &'a Resource,
    /// The subresource, or `""`.
    pub subresource: &'a str,
    /// The namespace, or `""`.
    pub namespace: &'a str,
    /// The name, `""` while generated names are not known.
    pub name: &'a str,
    /// The acting user.
    pub user: &'a UserInfo,
    /// Whether nothing will be stored.
    pub dry_run: bool,
    /// For warnings.
    pub warnings: &'a Warnings,
    /// For annotations.
    pub audit: &'a AuditContext,
}

impl Attributes<'_> {
    /// Whether this is about objects of this group and resource themselves.
    #[must_use]
    pub fn is(&self, group: &str, resource: &str, subresource: &str) -> bool {
        self.resource.group == group
            && self.resource.name == resource
            && self.subresource == subresource
    }

    /// The 403 of an admission plugin (`NewForbidden` of `k8s.io/apiserver/pkg/admission`).
    #[must_use]
    pub fn forbidden(&self, object: &Value, why: impl std::fmt::Display) -> Status {
        let metadata = |key: &str| {
            object
                .pointer(&format!("/metadata/{key}"))
                .and_then(Value::as_str)
                .filter(|text| !text.is_empty())
        };
        let name = if self.name.is_empty() {
            metadata("name")
                .or_else(|| metadata("generateName"))
                .unwrap_or("Unknown")
        } else {
            self.name
        };
        forbidden(&self.resource.group, &self.resource.name, name, why)
    }
}

/// A 403 about a named object.
#[must_use]
pub fn forbidden(group: &str, resource: &str, name: &str, why: impl std::fmt::Display) -> Status {
    let qualified = super::status::qualified(group, resource);
    Status::new(
        403,
        "Forbidden",
        format!("{qualified} \"{name}\" is forbidden: {why}"),
    )
    .with_details(super::status::details(group, resource, name))
}

/// Mutating admission, in the order of the plugins of kube-apiserver. `new` is `Null` for deletions.
///
/// # Errors
/// The Status of the refusal.
pub async fn admit(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    old: Option<&Value>,
    new: &mut Value,
) -> Result<(), Status> {
    let on = |plugin: &str| state.flags.admits_with(plugin);
    let restrict = |new: &mut Value| {
        if on("NodeRestriction") {
            node::restrict(attributes, old, new)
        } else {
            Ok(())
        }
    };
    if on("NamespaceLifecycle") {
        namespace::lifecycle(state, attributes, new)?;
    }
    if attributes.operation == Operation::Delete {
        restrict(new)?;
        webhook::call(state, webhook::Kind::Mutating, attributes, old, new)?;
        if on("ValidatingAdmissionPolicy") {
            policy::validate(state, attributes, old, new)?;
        }
        return webhook::call(state, webhook::Kind::Validating, attributes, old, new);
    }
    if attributes.operation == Operation::Connect {
        return Ok(());
    }
    if attributes.is("", "pods", "") && attributes.operation == Operation::Create {
        if on("LimitRanger") {
            limits::default_pod(state, attributes, new);
        }
        if on("ServiceAccount") {
            service_account::admit(state, attributes, new)?;
        }
        restrict(new)?;
        if on("Priority") {
            pod::priority(state, attributes, new)?;
        }
        if on("DefaultTolerationSeconds") {
            pod::tolerations(new);
        }
        if on("RuntimeClass") {
            pod::runtime_class(state, attributes, new)?;
        }
        return webhook::call(state, webhook::Kind::Mutating, attributes, old, new);
    }
    restrict(new)?;
    if attributes.is("", "pods", "") && on("DefaultTolerationSeconds") {
        pod::tolerations(new);
    }
    if attributes.operation == Operation::Create {
        if attributes.is("", "nodes", "") && on("TaintNodesByCondition") {
            node::taint_new(new);
        }
        if on("DefaultStorageClass") {
            storage::admit(state, attributes, new);
        }
        if attributes.is("scheduling.k8s.io", "priorityclasses", "") && on("Priority") {
            pod::single_default_class(state, attributes, new)?;
        }
    }
    escalation::check(state, attributes, new)?;
    webhook::call(state, webhook::Kind::Mutating, attributes, old, new)
}

/// Validating admission: after the object is known to be valid.
///
/// # Errors
/// The Status of the refusal.
pub async fn validate(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), Status> {
    let on = |plugin: &str| state.flags.admits_with(plugin);
    certificate::admit(state, attributes, new)?;
    if on("LimitRanger") {
        limits::validate(state, attributes, new)?;
    }
    if on("PodSecurity") {
        pod_security::validate(state, attributes, old, new)?;
    }
    if on("RuntimeClass")
        && attributes.is("", "pods", "")
        && attributes.operation == Operation::Create
    {
        pod::overhead(state, attributes, new)?;
    }
    if on("ValidatingAdmissionPolicy") {
        policy::validate(state, attributes, old, new)?;
    }
    webhook::call(state, webhook::Kind::Validating, attributes, old, new)?;
    if on("ResourceQuota") {
        quota::validate(state, attributes, old, new).await?;
    }
    if on("AlwaysDeny") {
        return Err(attributes.forbidden(new, "admission control is denying all modifications"));
    }
    Ok(())
}
