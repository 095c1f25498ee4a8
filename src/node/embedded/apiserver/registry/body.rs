//! Request bodies: media types, decoding, what the audit log records of them.

use serde_json::Value;

use super::options::WriteOptions;
use super::target::Target;
use super::{meta, size};
use crate::node::embedded::apiserver::kinds;
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::schema::{self, FieldValidation};
use crate::node::embedded::apiserver::status::Status;

/// The group, version and kind of the bodies of this target.
pub(in crate::node::embedded::apiserver) fn body_kind(target: &Target) -> (&str, &str, &str) {
    target.resource.body_kind(&target.subresource).unwrap_or((
        &target.resource.group,
        &target.resource.version,
        &target.resource.kind,
    ))
}

/// 415 unless the body is of a type the server reads.
pub(super) fn check_media_type(target: &Target, request: &ApiRequest) -> Result<(), Status> {
    let given = request.header("content-type").unwrap_or("");
    let media_type = given
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .to_ascii_lowercase();
    let custom = target.custom.is_some();
    match media_type.as_str() {
        "" | "application/json" | "application/yaml" => Ok(()),
        "application/vnd.kubernetes.protobuf" if !custom => Ok(()),
        _ => {
            let accepted = if custom {
                "application/json, application/yaml"
            } else {
                "application/json, application/yaml, application/vnd.kubernetes.protobuf"
            };
            Err(Status::new(
                415,
                "UnsupportedMediaType",
                format!(
                    "the body of the request was in an unknown format - accepted media types include: {accepted}"
                ),
            ))
        }
    }
}

/// Decodes the body of a create or update, with defaults, and records it for the audit log.
pub(super) fn read(
    target: &Target,
    request: &ApiRequest,
    options: &WriteOptions,
) -> Result<Value, Status> {
    check_media_type(target, request)?;
    let content_type = request.header("content-type").unwrap_or("");
    let validation = FieldValidation::parse(&options.field_validation).unwrap_or_default();
    let (group, version, kind) = body_kind(target);
    let object = if target.custom.is_some() {
        let decoded = schema::decode_untyped(
            group,
            version,
            kind,
            content_type,
            &request.body,
            validation,
        )
        .map_err(|error| error.to_status())?;
        size::countable(&decoded.value)?;
        super::super::patch::custom::accept(target, request, decoded, validation)?
    } else {
        let decoded = schema::decode(
            group,
            version,
            kind,
            content_type,
            &request.body,
            validation,
        )
        .map_err(|error| error.to_status())?;
        for warning in decoded.strict_errors {
            request.warnings.add(warning);
        }
        let mut object = decoded.value;
        size::countable(&object)?;
        kinds::default_object(&target.resource, &mut object);
        super::generation::decoded(target, &mut object);
        object
    };
    request.audit.record_request(&object);
    Ok(object)
}

/// Brings an object of a built-in kind in Go's form.
pub(in crate::node::embedded::apiserver) fn normalise(target: &Target, object: &mut Value) {
    let resource = &target.resource;
    schema::normalise(&resource.group, &resource.version, &resource.kind, object);
}

/// Makes the object's namespace that of the request (`EnsureObjectNamespaceMatchesRequestNamespace`).
pub(in crate::node::embedded::apiserver) fn match_namespace(
    target: &Target,
    object: &mut Value,
) -> Result<(), Status> {
    let given = meta::text(object, "namespace");
    if given == target.namespace {
        return Ok(());
    }
    if given.is_empty() {
        meta::set(object, "namespace", target.namespace.clone());
    } else if target.namespace.is_empty() {
        meta::remove(object, "namespace");
    } else {
        return Err(super::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Makes sure that the object is the one of the URL (`checkName`).
pub(in crate::node::embedded::apiserver) fn match_name(
    target: &Target,
    object: &mut Value,
) -> Result<(), Status> {
    let given = meta::text(object, "name");
    if given == target.name {
        return Ok(());
    }
    if given.is_empty() {
        return Err(super::bad_request(format!(
            "the name of the object ( based on URL) was undeterminable: name must be provided ({})",
            target.name
        )));
    }
    Err(super::bad_request(format!(
        "the name of the object ({given}) does not match the name on the URL ({})",
        target.name
    )))
}
