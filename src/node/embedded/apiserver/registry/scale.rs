//! Scale of custom resources (`apiextensions-apiserver/pkg/registry/customresource/etcd.go`).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::options::WriteOptions;
use super::target::Target;
use super::update::{self, Change, Committed, Retry};
use super::{body, convert, meta};
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult};
use crate::node::embedded::apiserver::patch;
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::schema::{self, FieldValidation};
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

/// The replica paths of a version, as JSON pointers.
struct Paths {
    spec: String,
    status: String,
    selector: String,
    /// The spec path as it is written.
    written: String,
}

impl Paths {
    fn of(target: &Target) -> Self {
        let version = target.custom.as_ref().map(|custom| &custom.version);
        let text = |field: &str| {
            version
                .and_then(|v| v.pointer(&format!("/subresources/scale/{field}")))
                .and_then(Value::as_str)
                .unwrap_or("")
        };
        let pointer = |path: &str| path.replace('.', "/");
        Self {
            spec: pointer(text("specReplicasPath")),
            status: pointer(text("statusReplicasPath")),
            selector: pointer(text("labelSelectorPath")),
            written: text("specReplicasPath").to_owned(),
        }
    }

    /// The Scale of an object.
    fn scale(&self, object: &Value) -> Value {
        let mut metadata = Map::new();
        for field in [
            "name",
            "namespace",
            "uid",
            "resourceVersion",
            "creationTimestamp",
        ] {
            let text = meta::text(object, field);
            if !text.is_empty() {
                metadata.insert(field.to_owned(), text.into());
            }
        }
        let mut spec = Map::new();
        if let Some(replicas) = object.pointer(&self.spec).and_then(Value::as_i64)
            && replicas != 0
        {
            spec.insert("replicas".into(), replicas.into());
        }
        let mut status = Map::new();
        let now = object.pointer(&self.status).and_then(Value::as_i64);
        status.insert("replicas".into(), now.unwrap_or(0).into());
        if !self.selector.is_empty()
            && let Some(selector) = object.pointer(&self.selector).and_then(Value::as_str)
        {
            status.insert("selector".into(), selector.into());
        }
        json!({
            "kind": "Scale",
            "apiVersion": "autoscaling/v1",
            "metadata": metadata,
            "spec": spec,
            "status": status
        })
    }

    fn set(&self, object: &mut Value, replicas: i64) {
        let mut place = object;
        for name in self.spec.trim_start_matches('/').split('/') {
            if !place.is_object() {
                *place = json!({});
            }
            let Some(map) = place.as_object_mut() else {
                return;
            };
            place = map.entry(name).or_insert(Value::Null);
        }
        *place = replicas.into();
    }
}

pub(super) async fn serve(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
) -> ApiResult {
    let paths = Paths::of(target);
    let find = || {
        state
            .store
            .get(&target.key(&target.name))
            .ok_or_else(|| target.not_found(&target.name))
    };
    if request.info.verb == "get" {
        let object = convert::shown(target, &find()?);
        if object.pointer(&paths.spec).is_none() {
            let text = format!("the spec replicas field {:?} does not exist", paths.written);
            return Err(Status::new(
                500,
                "InternalError",
                format!("Internal error occurred: {text}"),
            )
            .with_details(json!({"causes": [{"message": text}]})));
        }
        return Ok(ApiResponse::object(200, paths.scale(&object)));
    }
    let patches = request.info.verb == "patch";
    let kind = if patches {
        "PatchOptions"
    } else {
        "UpdateOptions"
    };
    let options = WriteOptions::read(request, kind, false)?;
    let sent = if patches {
        request.audit.record_patch(&request.body);
        None
    } else {
        body::check_media_type(target, request)?;
        let content_type = request.header("content-type").unwrap_or("");
        let decoded = schema::decode(
            "autoscaling",
            "v1",
            "Scale",
            content_type,
            &request.body,
            FieldValidation::Ignore,
        )
        .map_err(|error| error.to_status())?;
        request.audit.record_request(&decoded.value);
        Some(decoded.value)
    };
    loop {
        let stored = find()?;
        let live = convert::shown(target, &stored);
        let now = paths.scale(&live);
        let wanted = match &sent {
            Some(scale) => scale.clone(),
            None => patch::plain(target, request, &now)?,
        };
        let mut new = live.clone();
        let replicas = wanted
            .pointer("/spec/replicas")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        paths.set(&mut new, replicas);
        let version = meta::text(&wanted, "resourceVersion").to_owned();
        let retry = if version.is_empty() || version == meta::text(&live, "resourceVersion") {
            Retry::Always
        } else {
            meta::set(&mut new, "resourceVersion", version);
            Retry::Unconditional
        };
        let change = Change {
            stored: &stored,
            live: &live,
            new,
            retry,
        };
        match update::commit(state, target, request, &options, change).await? {
            Committed::Object(object) => {
                return Ok(ApiResponse::object(200, paths.scale(&object)));
            }
            Committed::Changed => {}
        }
    }
}
