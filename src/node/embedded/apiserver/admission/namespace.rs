//! NamespaceLifecycle (`k8s.io/apiserver/pkg/admission/plugin/namespace/lifecycle/admission.go`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::{Attributes, Operation, forbidden};
use crate::node::embedded::apiserver::kinds::edit::text_at;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

/// Namespaces that cannot be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Refuses to delete what must stay, and to create where nothing may be created.
///
/// # Errors
/// 403 or 404.
pub fn lifecycle(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    new: &Value,
) -> Result<(), Status> {
    if attributes.is("", "namespaces", "")
        && attributes.operation == Operation::Delete
        && IMMORTAL.contains(&attributes.name)
    {
        return Err(forbidden(
            "",
            "namespaces",
            attributes.name,
            "this namespace may not be deleted",
        ));
    }
    let review = attributes.resource.group == "authorization.k8s.io";
    if attributes.namespace.is_empty()
        || attributes.resource.name == "namespaces" && attributes.resource.group.is_empty()
        || attributes.operation == Operation::Delete
        || review
    {
        return Ok(());
    }
    let key = format!("/registry/core/namespaces/{}", attributes.namespace);
    let Some(namespace) = state.store.get(&key) else {
        return Err(Status::not_found("", "namespaces", attributes.namespace));
    };
    if attributes.operation != Operation::Create
        || text_at(&namespace.value, "/status/phase") != "Terminating"
    {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {} because it is being terminated",
        attributes.namespace
    );
    let mut status = attributes.forbidden(new, why);
    if let Some(Value::Object(details)) = &mut status.details {
        details.insert(
            "causes".into(),
            json!([{
                "reason": "NamespaceTerminating",
                "message": format!("namespace {} is being terminated", attributes.namespace),
                "field": "metadata.namespace",
            }]),
        );
    }
    Err(status)
}
