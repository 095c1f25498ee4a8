//! What Kubernetes' Go types say: field names and order, decoding and its errors, merge keys.
//!
//! [`decode`] reads a request body as the API server's codecs do and gives the object as Go would write it again. [`normalise`]
//! does the same for a value already in memory. [`root`] and [`field`] answer what patch code asks of a type.

mod base64_text;
pub mod config_file;
mod cursor;
mod decode;
mod definitions;
mod form;
pub mod protobuf;
mod quantity;
mod special;
mod syntax;
mod table;
mod time;
mod tokens;

use serde_json::{Map, Value};

use super::status::Status;

pub use crate::yaml::go::quote as go_quote;
pub use cursor::{FieldInfo, TypeKind, TypeRef, field, root};
pub use definitions::{Definition, Definitions, Described, Kind, Property};
pub use quantity::canonical as canonical_quantity;
pub use syntax::check as check_json;
pub use time::{Precision, canonical as canonical_time, write as write_time};

use table::{StructId, types};

/// `fieldValidation` of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FieldValidation {
    /// Unknown and duplicate fields are dropped silently.
    Ignore,
    /// They are dropped with a warning each.
    #[default]
    Warn,
    /// They are an error.
    Strict,
}

impl FieldValidation {
    /// Reads the query parameter; empty is the default.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "Ignore" => Some(Self::Ignore),
            "" | "Warn" => Some(Self::Warn),
            "Strict" => Some(Self::Strict),
            _ => None,
        }
    }
}

/// A decoded body.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The object as Go writes it.
    pub value: Value,
    /// Unknown and duplicate fields, as warnings say them: `unknown field "spec.foo"`.
    pub strict_errors: Vec<String>,
}

/// Why a body could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    cause: String,
    message: String,
}

impl DecodeError {
    /// The decoder's own error.
    #[must_use]
    pub fn cause(&self) -> &str {
        &self.cause
    }

    /// The error as handlers report it: it names the kinds, or shows the beginning of the body.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// 400 with the message.
    #[must_use]
    pub fn to_status(&self) -> Status {
        Status::new(400, "BadRequest", self.message.clone())
    }

    /// The body's kind is not even known (`transformDecodeError`, `pkg/endpoints/handlers/rest.go`).
    fn unrecognized(cause: String, kind: &str, body: &[u8]) -> Self {
        let message = format!(
            "the object provided is unrecognized (must be of type {kind}): {cause} ({})",
            summary(body)
        );
        Self { cause, message }
    }

    fn of_kind(cause: String, given: &Given, kind: &str) -> Self {
        let message = format!(
            "{} in version {} cannot be handled as a {kind}: {cause}",
            given.kind,
            go_quote(&given.version)
        );
        Self { cause, message }
    }
}

/// The first bytes of a body (`summarizeData`).
fn summary(body: &[u8]) -> String {
    const LENGTH: usize = 30;
    let shown = body.get(..LENGTH).unwrap_or(body);
    let dots = if body.len() > LENGTH { " ..." } else { "" };
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{dots}", String::from_utf8_lossy(shown)),
        Some(_) => {
            use std::fmt::Write;
            let mut out = String::new();
            for byte in shown {
                _ = write!(out, "{byte:02x}");
            }
            out + dots
        }
    }
}

/// Group, version and kind that a body names, with the defaults of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Given {
    group: String,
    version: String,
    kind: String,
}

impl Given {
    /// `gvkWithDefaults` of the JSON serializer.
    fn new(api_version: &str, kind: &str, target: (&str, &str, &str)) -> Result<Self, String> {
        let (group, version) = parse_api_version(api_version)?;
        let mut given = Self {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
        };
        if given.kind.is_empty() {
            target.2.clone_into(&mut given.kind);
        }
        if given.version.is_empty() && given.group.is_empty() {
            target.0.clone_into(&mut given.group);
            target.1.clone_into(&mut given.version);
        }
        if given.version.is_empty() && given.group == target.0 {
            target.1.clone_into(&mut given.version);
        }
        Ok(given)
    }

    fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// `schema.ParseGroupVersion`.
fn parse_api_version(text: &str) -> Result<(&str, &str), String> {
    if text.is_empty() || text == "/" {
        return Ok(("", ""));
    }
    match text.split_once('/') {
        None => Ok(("", text)),
        Some((_, rest)) if rest.contains('/') => {
            Err(format!("unexpected GroupVersion string: {text}"))
        }
        Some(parts) => Ok(parts),
    }
}

/// Decodes a request body that should be of this group, version and kind, for built-in kinds.
///
/// The content type decides between JSON (also for unknown and missing types), YAML and protobuf. With
/// [`FieldValidation::Strict`] strict errors are an error, with `Warn` they are in the result.
///
/// # Errors
/// Go's texts, see [`DecodeError`].
pub fn decode(
    group: &str,
    version: &str,
    kind: &str,
    content_type: &str,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, DecodeError> {
    let strict = validation != FieldValidation::Ignore;
    let target = (group, version, kind);
    let unrecognized = |cause: String| DecodeError::unrecognized(cause, kind, body);
    let mut errors = Vec::new();
    let converted;
    let json = match media_type(content_type).as_str() {
        "application/yaml" => {
            (converted, errors) = yaml_to_json(body).map_err(unrecognized)?;
            converted.as_slice()
        }
        protobuf::CONTENT_TYPE => {
            let envelope = protobuf::open(body).map_err(unrecognized)?;
            let given =
                Given::new(&envelope.api_version, &envelope.kind, target).map_err(unrecognized)?;
            let id = find(&given, kind)?;
            let mut value = protobuf::decode(envelope.raw, id)
                .map_err(|cause| DecodeError::of_kind(cause, &given, kind))?;
            convert(&given, target)?;
            set_type(&mut value, target);
            return Ok(Decoded {
                value,
                strict_errors: errors,
            });
        }
        _ => body,
    };
    let (api_version, named) = interpret(json).map_err(unrecognized)?;
    let given = Given::new(&api_version, &named, target).map_err(unrecognized)?;
    let id = find(&given, kind)?;
    let (mut value, more) = decode::decode(json, id, strict)
        .map_err(|cause| DecodeError::of_kind(cause, &given, kind))?;
    errors.extend(more);
    if validation == FieldValidation::Strict && !errors.is_empty() {
        let cause = format!("strict decoding error: {}", errors.join(", "));
        return Err(DecodeError::of_kind(cause, &given, kind));
    }
    convert(&given, target)?;
    set_type(&mut value, target);
    let strict_errors = if strict {
        as_warnings(&errors)
    } else {
        Vec::new()
    };
    Ok(Decoded {
        value,
        strict_errors,
    })
}

/// Strict errors as warnings: every duplicate key of a YAML body is one (`parseYAMLWarnings`, `pkg/endpoints/handlers/rest.go`).
fn as_warnings(errors: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    for error in errors {
        match error.strip_prefix("yaml: unmarshal errors:\n") {
            Some(lines) => out.extend(lines.lines().map(|line| line.trim().to_owned())),
            None => out.push(error.clone()),
        }
    }
    out
}

/// The struct of the kind that the body names.
fn find(given: &Given, kind: &str) -> Result<StructId, DecodeError> {
    types().kind(&given.group, &given.version, &given.kind).ok_or_else(|| {
        let cause = format!(
            "no kind {} is registered for version {} in scheme \"pkg/api/legacyscheme/scheme.go:30\"",
            go_quote(&given.kind),
            go_quote(&given.api_version())
        );
        DecodeError::of_kind(cause, given, kind)
    })
}

/// Whether the body's kind can become the kind of the request.
fn convert(given: &Given, target: (&str, &str, &str)) -> Result<(), DecodeError> {
    let (group, version, kind) = target;
    let types = types();
    let same =
        types.kind(&given.group, &given.version, &given.kind) == types.kind(group, version, kind);
    if same {
        return Ok(());
    }
    if given.kind == kind && internal_group(&given.group) == internal_group(group) {
        let message = format!(
            "the API version in the data ({}) does not match the expected API version ({})",
            given.api_version(),
            if group.is_empty() {
                version.to_owned()
            } else {
                format!("{group}/{version}")
            }
        );
        return Err(DecodeError {
            cause: message.clone(),
            message,
        });
    }
    let cause = format!(
        "converting ({}.{}) to ({}.{kind}): unknown conversion",
        given.version,
        given.kind,
        internal_group(group)
    );
    Err(DecodeError::of_kind(cause, given, kind))
}

/// The Go package of a group's internal types.
fn internal_group(group: &str) -> &str {
    match group {
        "" | "events.k8s.io" => "core",
        "flowcontrol.apiserver.k8s.io" => "flowcontrol",
        _ => group.split('.').next().unwrap_or(group),
    }
}

/// Decodes a value that is already JSON (the result of a patch) as [`decode`] does; the value's own `apiVersion` and `kind` are
/// not looked at.
///
/// # Errors
/// Go's text.
pub fn decode_value(
    group: &str,
    version: &str,
    kind: &str,
    value: &Value,
) -> Result<Decoded, String> {
    let id = types()
        .kind(group, version, kind)
        .ok_or_else(|| format!("no kind {} is registered", go_quote(kind)))?;
    let json = serde_json::to_vec(value).map_err(|error| error.to_string())?;
    let (mut value, strict_errors) = decode::decode(&json, id, true)?;
    set_type(&mut value, (group, version, kind));
    Ok(Decoded {
        value,
        strict_errors,
    })
}

/// Puts an object of a built-in kind into the form that Go writes: fields in order, always-present ones there, empty ones gone,
/// unknown ones dropped. A value that does not fit the type stays as it is.
pub fn normalise(group: &str, version: &str, kind: &str, value: &mut Value) {
    if let Ok(decoded) = decode_value(group, version, kind, value) {
        *value = decoded.value;
    }
}

/// Whether the kind is built in (kinds such as `DeleteOptions` belong to every group).
#[must_use]
pub fn knows(group: &str, version: &str, kind: &str) -> bool {
    types().kind(group, version, kind).is_some()
}

/// Decodes a body of a kind that has no Go type: a custom resource. Only the syntax is checked, and that it names its type.
///
/// # Errors
/// Go's texts.
pub fn decode_untyped(
    group: &str,
    version: &str,
    kind: &str,
    content_type: &str,
    body: &[u8],
    validation: FieldValidation,
) -> Result<Decoded, DecodeError> {
    let strict = validation != FieldValidation::Ignore;
    let unrecognized = |cause: String| DecodeError::unrecognized(cause, kind, body);
    let mut errors = Vec::new();
    let converted;
    let json = match media_type(content_type).as_str() {
        "application/yaml" => {
            (converted, errors) = yaml_to_json(body).map_err(unrecognized)?;
            converted.as_slice()
        }
        _ => body,
    };
    let (api_version, named) = interpret(json).map_err(unrecognized)?;
    let given = Given::new(&api_version, &named, (group, version, kind)).map_err(unrecognized)?;
    let (mut value, more) = decode::decode_any(json, strict)
        .map_err(|cause| DecodeError::of_kind(cause, &given, kind))?;
    errors.extend(more);
    // Metadata has a Go type even here.
    if let Some(metadata) = value.get_mut("metadata") {
        let types = types();
        let object_meta = types.kind("meta.k8s.io", "v1", "PartialObjectMetadata");
        let wrapped = serde_json::json!({ "metadata": metadata.take() });
        let json = serde_json::to_vec(&wrapped).unwrap_or_default();
        if let Some(id) = object_meta {
            let (mut decoded, more) = decode::decode(&json, id, strict)
                .map_err(|cause| DecodeError::of_kind(cause, &given, kind))?;
            errors.extend(more);
            if let Some(decoded) = decoded.get_mut("metadata") {
                *metadata = decoded.take();
            }
        }
    }
    Ok(Decoded {
        value,
        strict_errors: errors,
    })
}

/// The content type without its parameters.
fn media_type(content_type: &str) -> String {
    let bare = content_type.split(';').next().unwrap_or_default();
    bare.trim().to_ascii_lowercase()
}

/// Syntax check and type of a JSON body (`pkg/runtime/serializer/json/meta.go`).
fn interpret(json: &[u8]) -> Result<(String, String), String> {
    syntax::check(json)
        .and_then(|()| decode::type_meta(json))
        .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))
}

/// JSON of a YAML body, keys sorted as Go's conversion leaves them, and its duplicate keys as one strict error.
fn yaml_to_json(body: &[u8]) -> Result<(Vec<u8>, Vec<String>), String> {
    let document = crate::yaml::to_json(body).map_err(|error| error.to_string())?;
    let json = serde_json::to_vec(&document.value).map_err(|error| error.to_string())?;
    Ok((json, document.strict_error().into_iter().collect()))
}

/// Writes `kind` and `apiVersion` in front.
fn set_type(value: &mut Value, (group, version, kind): (&str, &str, &str)) {
    let Value::Object(old) = value else {
        return;
    };
    let api_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    let mut out = Map::with_capacity(old.len() + 2);
    out.insert("kind".to_owned(), kind.into());
    if !version.is_empty() {
        out.insert("apiVersion".to_owned(), api_version.into());
    }
    for (key, member) in std::mem::take(old) {
        out.entry(key).or_insert(member);
    }
    *old = out;
}
