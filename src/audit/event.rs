//! The audit.k8s.io/v1 Event (`k8s.io/apiserver/pkg/apis/audit/v1/types.go`), in Go's field order.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use super::level::{Level, Stage};

/// One audit event: one line of a log with `--audit-log-format=json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// Always `Event`.
    pub kind: String,
    /// Always `audit.k8s.io/v1`.
    pub api_version: String,
    /// Level of this event.
    pub level: Level,
    /// Identifier shared by all events of a request.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// Stage of this event.
    pub stage: Stage,
    /// Request URI as sent by the client.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// Verb; the lower-case HTTP method for non-resource requests.
    pub verb: String,
    /// Who asked.
    pub user: UserInfo,
    /// Whom they impersonated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<UserInfo>,
    /// How the request was authenticated, where that shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authentication_metadata: Option<AuthenticationMetadata>,
    /// Source addresses, proxies first.
    #[serde(rename = "sourceIPs", default, skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<String>,
    /// The client's User-Agent.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    /// The object asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<ObjectReference>,
    /// A metav1.Status; only metadata, status, message, reason, details and code as Go writes them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_status: Option<Value>,
    /// The request body from level Request on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_object: Option<Body>,
    /// The response body at level RequestResponse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_object: Option<Body>,
    /// When the API server received the request, RFC 3339 with microseconds.
    pub request_received_timestamp: String,
    /// Nanoseconds beyond `request_received_timestamp` (0 to 999). Only the legacy format of the log shows them.
    #[serde(skip)]
    pub received_nanoseconds: u16,
    /// When the request reached this stage, RFC 3339 with microseconds.
    pub stage_timestamp: String,
    /// Annotations set by plugins in the request chain.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A recorded body. Clones share it: an event that waits in a buffer costs no second copy.
#[derive(Debug, Clone, PartialEq)]
pub struct Body(Arc<Value>);

impl Body {
    /// The value, for changes that other clones do not see.
    pub fn value_mut(&mut self) -> &mut Value {
        Arc::make_mut(&mut self.0)
    }
}

impl From<Value> for Body {
    fn from(value: Value) -> Self {
        Self(Arc::new(value))
    }
}

impl std::ops::Deref for Body {
    type Target = Value;

    fn deref(&self) -> &Value {
        &self.0
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(Self::from)
    }
}

/// authentication.k8s.io/v1 UserInfo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserInfo {
    /// User name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub username: String,
    /// Unique id.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Further attributes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What the audit log says about the authentication itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AuthenticationMetadata {
    /// The constraint under which an impersonation was allowed.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub impersonation_constraint: String,
}

/// The object a request is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ObjectReference {
    /// Resource, plural.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource: String,
    /// Namespace.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// UID, where known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// API group; empty for core.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    /// API version.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    /// Resource version, where known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Subresource.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}
