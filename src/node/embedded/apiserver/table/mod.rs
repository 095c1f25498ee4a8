//! Tables (`meta.k8s.io` Table), as `kubectl get` prints them.

use serde_json::{Map, Value, json};

use super::catalog::Resource;
use super::state::CustomResource;

/// What of each object a row carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// The whole object.
    Object,
}

/// A Table of these objects.
pub(super) fn table(
    version: &str,
    resource: &Resource,
    custom: Option<&CustomResource>,
    meta: Map<String, Value>,
    items: &[Value],
    include: Include,
    columns: bool,
) -> Value {
    let _ = (resource, custom, items, include, columns);
    json!({"kind": "Table", "apiVersion": format!("meta.k8s.io/{version}"), "metadata": meta, "columnDefinitions": [], "rows": []})
}
