//! In which form a client wants its answer (`pkg/endpoints/handlers/negotiation/negotiate.go`).

use serde_json::{Map, Value, json};

use super::target::Target;
use super::{bad_request, meta};
use crate::node::embedded::apiserver::encoding::clauses;
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::status::Status;
use crate::node::embedded::apiserver::table;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node::embedded::apiserver) enum Form {
    /// Objects as they are.
    Object,
    /// Rows and columns, in this version of `meta.k8s.io`.
    Table(&'static str),
    /// Only their metadata, in this version of `meta.k8s.io`.
    Metadata(&'static str),
}

const MEDIA_TYPES: [&str; 3] = [
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
];

fn offers(media_type: &str) -> bool {
    media_type.is_empty()
        || matches!(media_type, "*/*" | "*" | "application/*")
        || MEDIA_TYPES.contains(&media_type)
}

/// The first check: the router looks at media types only.
pub(super) fn acceptable(request: &ApiRequest) -> Result<(), Status> {
    let accept = request.header("accept").unwrap_or("");
    if request.info.subresource == "log"
        || super::is_connect(&request.info.subresource)
        || accept.trim().is_empty()
    {
        return Ok(());
    }
    let stream = request.info.verb == "watch";
    let found = accept.split(',').any(|clause| {
        let media_type = clause.split(';').next().unwrap_or("").trim();
        offers(media_type) || (stream && media_type == "application/json")
    });
    if found {
        return Ok(());
    }
    let mut refusal = not_acceptable();
    // A collection can be watched, too.
    if matches!(request.info.verb.as_str(), "list" | "watch") {
        refusal.message.push_str(
            ", application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch",
        );
    }
    Err(refusal)
}

/// The router's 406: no media type of the client is known.
fn not_acceptable() -> Status {
    Status::new(
        406,
        "NotAcceptable",
        "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf",
    )
    .with_details(json!({}))
}

impl Form {
    /// What the client asks for.
    pub(in crate::node::embedded::apiserver) fn of(request: &ApiRequest) -> Result<Self, Status> {
        let accept = request.header("accept").unwrap_or("");
        let watch = request.info.verb == "watch";
        let transforms = matches!(request.info.verb.as_str(), "get" | "list" | "watch")
            || request.info.subresource.is_empty();
        if accept.trim().is_empty() {
            return Ok(Form::Object);
        }
        for clause in clauses(accept) {
            if !offers(clause.media_type) || (watch && clause.media_type == "application/yaml") {
                continue;
            }
            let parameter = |name: &str| {
                clause
                    .parameters
                    .iter()
                    .find(|(key, _)| *key == name)
                    .map(|(_, value)| *value)
            };
            if parameter("stream").is_some_and(|stream| stream != "watch" || !watch) {
                continue;
            }
            let Some(kind) = parameter("as") else {
                return Ok(Form::Object);
            };
            let version = match parameter("v") {
                Some("v1") => "v1",
                Some("v1beta1") => "v1beta1",
                _ => continue,
            };
            if parameter("g") != Some("meta.k8s.io") || !transforms {
                continue;
            }
            let list = matches!(request.info.verb.as_str(), "list");
            return match kind {
                "Table" => Ok(Form::Table(version)),
                "PartialObjectMetadata" => Ok(Form::Metadata(version)),
                "PartialObjectMetadataList" if list || watch => Ok(Form::Metadata(version)),
                _ => continue,
            };
        }
        let accepted = if watch {
            "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
        } else {
            "application/json, application/yaml, application/vnd.kubernetes.protobuf"
        };
        Err(Status::new(
            406,
            "NotAcceptable",
            format!("only the following media types are accepted: {accepted}"),
        ))
    }

    /// One object in this form.
    pub(in crate::node::embedded::apiserver) fn object(
        self,
        target: &Target,
        request: &ApiRequest,
        object: Value,
    ) -> Result<Value, Status> {
        match self {
            Form::Object => Ok(object),
            Form::Metadata(version) => Ok(partial(version, &object)),
            Form::Table(version) => {
                let include = include_object(request)?;
                let version_text = meta::text(&object, "resourceVersion").to_owned();
                let mut meta = Map::new();
                if !version_text.is_empty() {
                    meta.insert("resourceVersion".into(), version_text.into());
                }
                Ok(table::table(
                    version,
                    &target.resource,
                    target.custom.as_ref(),
                    meta,
                    std::slice::from_ref(&object),
                    include,
                    true,
                ))
            }
        }
    }

    /// A list in this form; `meta` is its ListMeta.
    pub(in crate::node::embedded::apiserver) fn list(
        self,
        target: &Target,
        request: &ApiRequest,
        meta: Map<String, Value>,
        mut items: Vec<Value>,
    ) -> Result<Value, Status> {
        let mut out = Map::new();
        match self {
            Form::Object => {
                if let Some(custom) = &target.custom {
                    let mut meta = meta;
                    if !meta.contains_key("continue") {
                        meta.insert("continue".into(), "".into());
                    }
                    let mut meta = Value::Object(meta);
                    super::convert::sort(&mut meta);
                    out.insert("apiVersion".into(), target.resource.api_version().into());
                    out.insert("items".into(), items.into());
                    out.insert("kind".into(), custom.list_kind.clone().into());
                    out.insert("metadata".into(), meta);
                } else {
                    for item in &mut items {
                        if let Some(item) = item.as_object_mut() {
                            item.shift_remove("kind");
                            item.shift_remove("apiVersion");
                        }
                    }
                    out.insert("kind".into(), target.resource.list_kind().into());
                    out.insert("apiVersion".into(), target.resource.api_version().into());
                    out.insert("metadata".into(), meta.into());
                    out.insert("items".into(), items.into());
                }
                Ok(Value::Object(out))
            }
            Form::Metadata(version) => {
                out.insert("kind".into(), "PartialObjectMetadataList".into());
                out.insert("apiVersion".into(), format!("meta.k8s.io/{version}").into());
                out.insert("metadata".into(), meta.into());
                let items: Vec<Value> = items.iter().map(|item| partial(version, item)).collect();
                // Go never made this slice when there is nothing to put in it.
                out.insert(
                    "items".into(),
                    if items.is_empty() {
                        Value::Null
                    } else {
                        items.into()
                    },
                );
                Ok(Value::Object(out))
            }
            Form::Table(version) => {
                let include = include_object(request)?;
                Ok(table::table(
                    version,
                    &target.resource,
                    target.custom.as_ref(),
                    meta,
                    &items,
                    include,
                    true,
                ))
            }
        }
    }
}

/// Only the metadata of an object.
pub(in crate::node::embedded::apiserver) fn partial(version: &str, object: &Value) -> Value {
    let mut out = Map::new();
    out.insert("kind".into(), "PartialObjectMetadata".into());
    out.insert("apiVersion".into(), format!("meta.k8s.io/{version}").into());
    let mut meta = object.get("metadata").cloned().unwrap_or_default();
    if object.get("kind").and_then(Value::as_str) == Some("DaemonSet") {
        super::generation::hide(&mut meta);
    }
    let mut holder = json!({ "metadata": meta.take() });
    meta::order(&mut holder);
    if let Some(meta) = holder.get_mut("metadata") {
        out.insert("metadata".into(), meta.take());
    }
    Value::Object(out)
}

/// `includeObject` of a Table.
pub(super) fn include_object(request: &ApiRequest) -> Result<table::Include, Status> {
    match request.param("includeObject").unwrap_or("") {
        "" | "Metadata" => Ok(table::Include::Metadata),
        "Object" => Ok(table::Include::Object),
        "None" => Ok(table::Include::None),
        other => Err(bad_request(format!(
            "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
        ))),
    }
}
