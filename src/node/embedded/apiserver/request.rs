//! What the API server knows of a request (`k8s.io/apiserver/pkg/endpoints/request`).

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde_json::Value;

pub use crate::audit::event::UserInfo;

/// The request's path and method, understood (`requestinfo.go`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Whether the path names an API resource.
    pub is_resource: bool,
    /// The path, undecoded query removed.
    pub path: String,
    /// `get`, `list`, `watch`, `create`... or the lower-case method.
    pub verb: String,
    /// `api` or `apis`.
    pub api_prefix: String,
    /// API group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Namespace.
    pub namespace: String,
    /// Resource, plural.
    pub resource: String,
    /// Subresource.
    pub subresource: String,
    /// Object name.
    pub name: String,
    /// Path segments from the resource on.
    pub parts: Vec<String>,
}

/// A request past authentication, impersonation and authorisation.
pub struct ApiRequest {
    /// Path and method, understood.
    pub info: RequestInfo,
    /// The acting user (the impersonated one, if any).
    pub user: UserInfo,
    /// HTTP method.
    pub method: http::Method,
    /// Path and query as sent.
    pub uri: http::Uri,
    /// Headers.
    pub headers: http::HeaderMap,
    /// Decoded query parameters, in order.
    pub query: Vec<(String, String)>,
    /// The body, read whole (at most 3 MiB; larger ones were answered with 413).
    pub body: Bytes,
    /// The audit context of this request.
    pub audit: AuditContext,
    /// `Warning` headers to send, in order.
    pub warnings: Warnings,
    /// The connection upgrade, for exec, attach, port-forward and proxy.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
    /// Whether nobody reads what a watch sends.
    pub unread: bool,
}

/// Marks a request whose watch nobody reads.
#[derive(Debug, Clone, Copy)]
pub struct Unread;

impl ApiRequest {
    /// The first value of a query parameter.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.query
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// A header as text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Warnings for the client, shared by everything that handles a request.
#[derive(Debug, Clone, Default)]
pub struct Warnings(Arc<Mutex<Vec<String>>>);

impl Warnings {
    /// Adds a warning, once.
    pub fn add(&self, text: impl Into<String>) {
        let text = text.into();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !all.contains(&text) {
            all.push(text);
        }
    }

    /// Takes the warnings.
    #[must_use]
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What handlers add to the audit events of a request. Setters are cheap when the level does not
/// want the value: ask [`AuditContext::wants_request`] before building one.
#[derive(Clone, Default)]
pub struct AuditContext {
    draft: Arc<Mutex<AuditDraft>>,
    held: super::audit::ending::Held,
}

/// The draft behind an [`AuditContext`].
#[derive(Debug, Default)]
pub struct AuditDraft {
    /// Level decided by the policy.
    pub level: Option<crate::audit::level::Level>,
    /// Whether managed fields are left out of recorded bodies.
    pub omit_managed_fields: bool,
    /// Recorded request body.
    pub request_object: Option<crate::audit::event::Body>,
    /// Overrides of the object reference found out later: name, namespace, uid, resourceVersion...
    pub object_ref: Option<crate::audit::event::ObjectReference>,
    /// Annotations.
    pub annotations: std::collections::BTreeMap<String, String>,
    /// Why the recorded request body cannot be written; the event is lost then, as on a real server.
    pub unencodable: Option<String>,
}

impl AuditContext {
    /// Works on the draft.
    pub fn with<T>(&self, f: impl FnOnce(&mut AuditDraft) -> T) -> T {
        f(&mut self.draft.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The same draft, without a part in what is kept until the last clone is dropped.
    pub(super) fn detached(&self) -> Self {
        Self {
            draft: self.draft.clone(),
            held: super::audit::ending::Held::default(),
        }
    }

    /// What is kept until the last clone is dropped.
    pub(super) fn held(&self) -> &super::audit::ending::Held {
        &self.held
    }

    /// Whether the request body is recorded.
    #[must_use]
    pub fn wants_request(&self) -> bool {
        self.with(|draft| draft.level >= Some(crate::audit::level::Level::Request))
    }

    /// Records a decoded request object (`LogRequestObject` of `pkg/audit/request.go`): completes the
    /// object reference from its metadata, at level Metadata too, and keeps it if the level wants it.
    pub fn record_request(&self, object: &Value) {
        self.with(|draft| {
            if draft.level.is_none() || draft.level == Some(crate::audit::level::Level::None) {
                return;
            }
            let text = |field: &str| {
                object
                    .pointer(&format!("/metadata/{field}"))
                    .and_then(Value::as_str)
                    .unwrap_or_default()
                    .to_owned()
            };
            let reference = draft.object_ref.get_or_insert_default();
            for (slot, field) in [
                (&mut reference.namespace, "namespace"),
                (&mut reference.name, "name"),
                (&mut reference.uid, "uid"),
                (&mut reference.resource_version, "resourceVersion"),
            ] {
                if slot.is_empty() {
                    *slot = text(field);
                }
            }
            if draft.level >= Some(crate::audit::level::Level::Request) {
                draft.request_object = Some(object.clone().into());
            }
        });
    }

    /// Records a patch as it was sent (`LogRequestPatch`). One that is no JSON makes the later events
    /// of the request unwritable, as on a real server.
    pub fn record_patch(&self, patch: &[u8]) {
        if !self.wants_request() {
            return;
        }
        match serde_json::from_slice::<Value>(patch) {
            Ok(value) => self.with(|draft| draft.request_object = Some(value.into())),
            Err(_) => self.with(|draft| {
                draft.unencodable = Some(
                    "json: error calling MarshalJSON for type *runtime.Unknown: invalid character looking for beginning of value"
                        .to_owned(),
                );
            }),
        }
    }

    /// Adds an annotation; the first value of a key stays.
    pub fn annotate(&self, key: &str, value: &str) {
        self.with(|draft| {
            draft
                .annotations
                .entry(key.to_owned())
                .or_insert_with(|| value.to_owned());
        });
    }
}
