//! metav1.Status: how the API server says no (`k8s.io/apimachinery/pkg/api/errors`).

use serde_json::{Map, Value, json};

/// An error answer of the API.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason: `NotFound`, `Forbidden`...; empty when there is none.
    pub reason: String,
    /// Human-readable message.
    pub message: String,
    /// `details`, as JSON, if any.
    pub details: Option<Value>,
    /// Seconds for the `Retry-After` header, if any.
    pub retry_after: Option<u32>,
}

impl Status {
    /// A failure of this code, reason and message.
    #[must_use]
    pub fn new(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            reason: reason.to_owned(),
            message: message.into(),
            details: None,
            retry_after: None,
        }
    }

    /// The same with details.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Some(details);
        self
    }

    /// 404 for a named object. `resource` is qualified with its group where it has one: `deployments.apps`.
    #[must_use]
    pub fn not_found(group: &str, resource: &str, name: &str) -> Self {
        let qualified = qualified(group, resource);
        Self::new(404, "NotFound", format!("{qualified} \"{name}\" not found"))
            .with_details(details(group, resource, name))
    }

    /// The JSON of the answer, in Go's field order.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("kind".into(), "Status".into());
        out.insert("apiVersion".into(), "v1".into());
        out.insert("metadata".into(), json!({}));
        out.insert("status".into(), "Failure".into());
        if !self.message.is_empty() {
            out.insert("message".into(), self.message.clone().into());
        }
        if !self.reason.is_empty() {
            out.insert("reason".into(), self.reason.clone().into());
        }
        if let Some(details) = &self.details {
            out.insert("details".into(), details.clone());
        }
        out.insert("code".into(), self.code.into());
        Value::Object(out)
    }
}

/// `deployments.apps`, or just `pods` for core.
#[must_use]
pub fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() {
        resource.to_owned()
    } else {
        format!("{resource}.{group}")
    }
}

/// `details` that name an object.
#[must_use]
pub fn details(group: &str, resource: &str, name: &str) -> Value {
    let mut out = Map::new();
    if !name.is_empty() {
        out.insert("name".into(), name.into());
    }
    if !group.is_empty() {
        out.insert("group".into(), group.into());
    }
    if !resource.is_empty() {
        out.insert("kind".into(), resource.into());
    }
    Value::Object(out)
}
