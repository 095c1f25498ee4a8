//! The events of one request (`endpoints/filters/audit.go`, `pkg/audit/{context,request}.go`).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{Record, Sink};
use crate::audit::evaluate::{Attributes, Decision, evaluate};
use crate::audit::event::{AuthenticationMetadata, Event, ObjectReference, UserInfo};
use crate::audit::level::{Level, Stage};
use crate::node::embedded::apiserver::request::{AuditContext, RequestInfo};

/// User agents are cut at this many bytes.
const USER_AGENT_LIMIT: usize = 1024;

/// Added when the handler is done (`MonitorRequest` of `endpoints/metrics`): not yet there while it answers.
pub(in super::super) const DEPRECATED: &str = "k8s.io/deprecated";

/// What the recorder is told of a request.
pub struct Metadata<'a> {
    /// Audit-ID.
    pub audit_id: String,
    /// Path and query.
    pub uri: String,
    /// Who asks; `None` when the request could not be authenticated.
    pub user: Option<&'a UserInfo>,
    /// Path and method, understood.
    pub info: &'a RequestInfo,
    /// Source addresses.
    pub source_ips: Vec<String>,
    /// User-Agent.
    pub user_agent: String,
    /// When the request arrived.
    pub received: jiff::Timestamp,
}

/// Writes the events of one request.
pub struct Recorder {
    sink: Arc<Sink>,
    context: AuditContext,
    record: Record,
    decision: Decision,
}

/// Microseconds, as Go's `MicroTime`.
#[must_use]
pub fn micro_time(time: jiff::Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()
}

impl Recorder {
    /// Decides the request by the policy; `None` when nothing of it is audited.
    #[must_use]
    pub fn new(sink: &Arc<Sink>, context: &AuditContext, request: Metadata<'_>) -> Option<Self> {
        let policy = sink.policy()?;
        let info = request.info;
        let decision = evaluate(
            policy,
            &Attributes {
                user: request.user.map(|user| user.username.clone()),
                groups: request
                    .user
                    .map(|user| user.groups.clone())
                    .unwrap_or_default(),
                verb: info.verb.clone(),
                namespace: info.namespace.clone(),
                api_group: info.group.clone(),
                api_version: info.version.clone(),
                resource: info.resource.clone(),
                subresource: info.subresource.clone(),
                name: info.name.clone(),
                path: info.path.clone(),
                resource_request: info.is_resource,
            },
        );
        context.with(|draft| {
            draft.level = Some(decision.level);
            draft.omit_managed_fields = decision.omit_managed_fields;
        });
        sink.observe(decision.level);
        if decision.level == Level::None {
            return None;
        }
        let mut user_agent = request.user_agent;
        if user_agent.len() > USER_AGENT_LIMIT {
            let mut end = USER_AGENT_LIMIT;
            while !user_agent.is_char_boundary(end) {
                end -= 1;
            }
            user_agent.truncate(end);
            user_agent.push_str("...TRUNCATED");
        }
        let received = micro_time(request.received);
        let object_ref = info.is_resource.then(|| ObjectReference {
            resource: info.resource.clone(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            uid: String::new(),
            api_group: info.group.clone(),
            api_version: info.version.clone(),
            resource_version: String::new(),
            subresource: info.subresource.clone(),
        });
        Some(Self {
            sink: sink.clone(),
            context: context.detached(),
            record: Record {
                unencodable: None,
                event: Event {
                    kind: "Event".to_owned(),
                    api_version: "audit.k8s.io/v1".to_owned(),
                    level: decision.level,
                    audit_id: request.audit_id,
                    stage: Stage::RequestReceived,
                    request_uri: request.uri,
                    verb: info.verb.clone(),
                    user: request.user.cloned().unwrap_or_default(),
                    impersonated_user: None,
                    authentication_metadata: None,
                    source_ips: request.source_ips,
                    user_agent,
                    object_ref,
                    response_status: None,
                    request_object: None,
                    response_object: None,
                    request_received_timestamp: received.clone(),
                    received_nanoseconds: u16::try_from(
                        request.received.subsec_nanosecond() % 1000,
                    )
                    .unwrap_or_default(),
                    stage_timestamp: received,
                    annotations: std::collections::BTreeMap::new(),
                },
            },
            decision,
        })
    }

    /// Records whom the user impersonates.
    pub fn impersonate(&mut self, user: &UserInfo, constraint: &str) {
        self.record.event.impersonated_user = Some(user.clone());
        if !constraint.is_empty() {
            self.record.event.authentication_metadata = Some(AuthenticationMetadata {
                impersonation_constraint: constraint.to_owned(),
            });
        }
    }

    /// Records the answer: its code and, for a Status, the text of it.
    pub fn respond(&mut self, code: u16, body: Option<&Value>) {
        let mut status = Map::new();
        status.insert("metadata".to_owned(), json!({}));
        if let Some(body) = body {
            let is =
                |field: &str, want: &str| body.get(field).and_then(Value::as_str) == Some(want);
            if is("kind", "Status") && is("apiVersion", "v1") {
                for field in ["status", "message", "reason", "details"] {
                    if let Some(value) = body.get(field) {
                        status.insert(field.to_owned(), value.clone());
                    }
                }
            }
            if self.decision.level >= Level::RequestResponse {
                self.record.event.response_object = Some(self.recorded(body).into());
            }
        }
        status.insert("code".to_owned(), code.into());
        self.record.event.response_status = Some(Value::Object(status));
    }

    /// Records the answer to a request that went no further than its deadline.
    pub fn refused(&mut self, code: u16, message: &str) {
        self.record.event.response_status = Some(json!({
            "metadata": {},
            "message": message,
            "code": code,
        }));
    }

    /// Records a panic of the handler.
    pub fn panicked(&mut self, message: &str) {
        self.record.event.response_status = Some(json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("APIServer panic'd: {message}"),
            "reason": "InternalError",
            "code": 500,
        }));
    }

    /// Writes the event of a stage, unless the policy leaves it out. `false`: a strict backend failed.
    pub async fn stage(&mut self, stage: Stage) -> bool {
        if self.decision.omit_stages.contains(&stage) {
            return true;
        }
        let event = &mut self.record.event;
        event.stage = stage;
        if stage != Stage::RequestReceived {
            event.stage_timestamp = micro_time(jiff::Timestamp::now());
        }
        let refusal = self.context.with(|draft| {
            event.annotations.clone_from(&draft.annotations);
            if stage == Stage::ResponseStarted {
                event.annotations.remove(DEPRECATED);
            }
            if let (Some(reference), Some(more)) = (&mut event.object_ref, &draft.object_ref) {
                for (slot, value) in [
                    (&mut reference.resource, &more.resource),
                    (&mut reference.namespace, &more.namespace),
                    (&mut reference.name, &more.name),
                    (&mut reference.uid, &more.uid),
                    (&mut reference.api_version, &more.api_version),
                    (&mut reference.resource_version, &more.resource_version),
                    (&mut reference.subresource, &more.subresource),
                ] {
                    if slot.is_empty() {
                        slot.clone_from(value);
                    }
                }
            }
            if self.decision.level >= Level::Request
                && event.request_object.is_none()
                && let Some(object) = &draft.request_object
            {
                let mut object = object.clone();
                if self.decision.omit_managed_fields {
                    strip_managed_fields(object.value_mut());
                }
                event.request_object = Some(object);
            }
            draft.unencodable.clone()
        });
        self.record.unencodable = refusal.filter(|_| self.decision.level >= Level::Request);
        self.sink.process(&self.record).await
    }

    fn recorded(&self, body: &Value) -> Value {
        let mut body = body.clone();
        if self.decision.omit_managed_fields {
            strip_managed_fields(&mut body);
        }
        body
    }
}

/// Drops `metadata.managedFields` of an object, of the items of a list, of the rows of a Table.
fn strip_managed_fields(value: &mut Value) {
    fn one(value: &mut Value) {
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.shift_remove("managedFields");
        }
    }
    one(value);
    if let Some(items) = value.get_mut("items").and_then(Value::as_array_mut) {
        items.iter_mut().for_each(one);
    }
    if let Some(rows) = value.get_mut("rows").and_then(Value::as_array_mut) {
        for row in rows {
            if let Some(object) = row.get_mut("object") {
                one(object);
            }
        }
    }
}
