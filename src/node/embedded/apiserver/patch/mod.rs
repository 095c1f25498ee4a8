//! Patches: JSON, merge, strategic merge, server-side apply (`pkg/endpoints/handlers/patch.go`).

mod apply;
pub(super) mod custom;
mod embedded;
mod json;
mod rules;
mod strategic;
mod values;

use std::sync::Arc;

use serde_json::{Value, json};

use super::api::{ApiResponse, ApiResult};
use super::registry::{self, Committed, Form, Retry, Target, WriteOptions, bad_request};
use super::request::{ApiRequest, Warnings};
use super::schema::{self, FieldValidation};
use super::state::ApiState;
use super::status::Status;
use super::{kinds, managed_fields};

/// A value as Go's `%v` prints it.
pub(super) fn go_value(value: &Value) -> String {
    strategic::GoValue(value).to_string()
}

/// How often a patch starts again when others write at the same time.
const ATTEMPTS: usize = 50;

/// The kinds of patches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Json,
    Merge,
    Strategic,
    Apply,
}

impl Kind {
    fn of(target: &Target, request: &ApiRequest) -> Result<Self, Status> {
        let content_type = request.header("content-type").unwrap_or("");
        let media_type = content_type
            .split(';')
            .next()
            .unwrap_or("")
            .trim()
            .to_ascii_lowercase();
        Ok(match media_type.as_str() {
            "application/json-patch+json" => Kind::Json,
            "application/merge-patch+json" => Kind::Merge,
            "application/strategic-merge-patch+json" if target.custom.is_none() => Kind::Strategic,
            "application/apply-patch+yaml" => Kind::Apply,
            _ if target.custom.is_some() => {
                return Err(Status::new(
                    415,
                    "UnsupportedMediaType",
                    "the body of the request was in an unknown format - accepted media types include: application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
                ));
            }
            _ => {
                return Err(Status::new(
                    415,
                    "UnsupportedMediaType",
                    "415: Unsupported Media Type",
                )
                .with_details(json!({})));
            }
        })
    }
}

pub(super) async fn serve(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
) -> ApiResult {
    let kind = Kind::of(target, request)?;
    let form = Form::of(request)?;
    let options = WriteOptions::read(request, "PatchOptions", kind == Kind::Apply)?;
    request.audit.record_patch(&request.body);
    let validation = FieldValidation::parse(&options.field_validation).unwrap_or_default();
    let manager = options.manager(request);
    let applied = match kind {
        Kind::Apply => Some(apply::read(target, request, validation)?),
        _ => None,
    };
    for _ in 0..ATTEMPTS {
        let Some(stored) = state.store.get(&target.key(&target.name)) else {
            let Some(applied) = applied else {
                return Err(target.not_found(&target.name));
            };
            if !target.subresource.is_empty() {
                return Err(target.not_found(&target.name));
            }
            let created =
                apply::create(state, target, request, &options, &manager, &applied).await?;
            return Ok(ApiResponse::object(
                201,
                form.object(target, request, created)?,
            ));
        };
        let live = registry::shown(target, &stored);
        let mut new = match &applied {
            Some(applied) => {
                apply::merged(target, request, Some(&live), applied, &manager, &options)?
            }
            None => {
                let warnings = request.warnings.clone();
                let mut new = patched(target, kind, &live, &request.body, validation, &warnings)?;
                registry::match_name(target, &mut new)?;
                namespace_kept(target, &new)?;
                managed_fields::update(target, Some(&live), &mut new, &manager);
                new
            }
        };
        let versions = |object: &Value| object.pointer("/metadata/resourceVersion").cloned();
        let retry = if versions(&new) == versions(&live) {
            Retry::Always
        } else {
            Retry::Unconditional
        };
        registry::match_namespace(target, &mut new)?;
        let change = registry::Change {
            stored: &stored,
            live: &live,
            new,
            retry,
        };
        match registry::commit(state, target, request, &options, change).await? {
            Committed::Object(object) => {
                return Ok(ApiResponse::object(
                    200,
                    form.object(target, request, object)?,
                ));
            }
            Committed::Changed => {}
        }
    }
    Err(target.modified(&target.name))
}

/// A JSON or merge patch of something that is not decoded afterwards.
pub(super) fn plain(target: &Target, request: &ApiRequest, live: &Value) -> Result<Value, Status> {
    match Kind::of(target, request)? {
        Kind::Json => json::patch(live, &request.body),
        _ => json::merge(live, &request.body),
    }
}

/// A patch of the scale of an object: `live` has the managed fields that concern it, and so has the result.
pub(super) fn of_scale(
    target: &Target,
    request: &ApiRequest,
    live: &Value,
) -> Result<(Value, WriteOptions), Status> {
    let kind = Kind::of(target, request)?;
    let options = WriteOptions::read(request, "PatchOptions", kind == Kind::Apply)?;
    let validation = FieldValidation::parse(&options.field_validation).unwrap_or_default();
    let manager = options.manager(request);
    let new = match kind {
        Kind::Apply => {
            let applied = apply::read(target, request, validation)?;
            apply::merged(target, request, Some(live), &applied, &manager, &options)?
        }
        kind => {
            let mut new = patched(
                target,
                kind,
                live,
                &request.body,
                validation,
                &request.warnings,
            )?;
            managed_fields::update(target, Some(live), &mut new, &manager);
            new
        }
    };
    Ok((new, options))
}

fn namespace_kept(target: &Target, new: &Value) -> Result<(), Status> {
    let given = registry::meta::text(new, "namespace");
    if given.is_empty() || given == target.namespace {
        return Ok(());
    }
    Err(bad_request(format!(
        "the namespace of the object ({given}) does not match the namespace on the request ({})",
        target.namespace
    )))
}

/// The object after the patch, decoded and with defaults.
fn patched(
    target: &Target,
    kind: Kind,
    live: &Value,
    body: &[u8],
    validation: FieldValidation,
    warnings: &Warnings,
) -> Result<Value, Status> {
    let (changed, shown) = match kind {
        Kind::Json => (json::patch(live, body)?, None),
        Kind::Merge => (json::merge(live, body)?, None),
        Kind::Strategic | Kind::Apply => {
            let patch = json::object(body).map_err(bad_request)?;
            let changed = strategic::patch(target, live, &patch)?;
            (changed, Some(format!("{}", strategic::GoValue(&patch))))
        }
    };
    registry::countable(&changed)?;
    let invalid = |text: &str| {
        let shown = shown.clone().unwrap_or_else(|| changed.to_string());
        let error = kinds::FieldError::invalid("patch", &json!(shown), text);
        let mut status = kinds::invalid_status("", "", "", &[error]);
        if let Some(details) = status.details.as_mut().and_then(Value::as_object_mut) {
            details.shift_remove("kind");
        }
        status
    };
    if target.custom.is_some() {
        return custom::patched(target, &changed, live, validation, warnings);
    }
    let resource = &target.resource;
    let decoded =
        schema::decode_value(&resource.group, &resource.version, &resource.kind, &changed)
            .map_err(|text| {
                if shown.is_some() {
                    invalid(&converter_text(&text))
                } else {
                    invalid(&text)
                }
            })?;
    match validation {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => {
            for warning in decoded.strict_errors {
                warnings.add(warning);
            }
        }
        FieldValidation::Strict => {
            if !decoded.strict_errors.is_empty() {
                return Err(invalid(&format!(
                    "strict decoding error: {}",
                    decoded.strict_errors.join(", ")
                )));
            }
        }
    }
    let mut object = decoded.value;
    kinds::default_object(resource, &mut object);
    registry::generation::decoded(target, &mut object);
    Ok(object)
}

/// The words of the converter that strategic merge uses, for an error of the JSON decoder
/// (`k8s.io/apimachinery/pkg/runtime/converter.go`).
fn converter_text(text: &str) -> String {
    let kind = text.rsplit(" of type ").next().unwrap_or("");
    match kind {
        "string" | "bool" | "int32" | "int64" | "float64" | "uint8" => {
            format!("unrecognized type: {kind}")
        }
        kind if kind.starts_with("[]") => "cannot restore slice from map".to_owned(),
        kind if kind.contains('.') || kind.starts_with("map[") => {
            let from = text
                .strip_prefix("json: cannot unmarshal ")
                .and_then(|rest| rest.split(' ').next())
                .unwrap_or("string");
            let from = match from {
                "number" => "int64",
                "array" => "slice",
                "object" => "map",
                other => other,
            };
            let into = if kind.starts_with("map[") {
                "map"
            } else {
                "struct"
            };
            format!("cannot restore {into} from: {from}")
        }
        _ => text.to_owned(),
    }
}
