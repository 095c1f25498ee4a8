//! Kubernetes protobuf: `k8s\0`, a `runtime.Unknown`, and inside it the message of the kind, all by the type table
//! (`pkg/runtime/serializer/protobuf/protobuf.go`, `generated.proto` of each package).

mod read;
mod write;

use serde_json::Value;

use super::table::{StructId, Types, types};
use read::{Reader, Wire, message, text_of};

pub use write::{encode, encode_object, watch_frame};

/// What a protobuf body starts with.
pub const PREFIX: &[u8] = b"k8s\0";

/// The content type.
pub const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// The envelope of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Envelope<'a> {
    pub api_version: String,
    pub kind: String,
    pub raw: &'a [u8],
}

/// Opens the envelope.
///
/// # Errors
/// Go's text.
pub(super) fn open(body: &[u8]) -> Result<Envelope<'_>, String> {
    if body.is_empty() {
        return Err("empty data".to_owned());
    }
    let Some(data) = body.strip_prefix(PREFIX) else {
        return Err(
            "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]".to_owned(),
        );
    };
    if data.is_empty() {
        return Err("empty body".to_owned());
    }
    let mut envelope = Envelope {
        api_version: String::new(),
        kind: String::new(),
        raw: &[],
    };
    for part in Reader(data) {
        match part? {
            (1, Wire::Bytes(meta)) => {
                for part in Reader(meta) {
                    match part? {
                        (1, Wire::Bytes(text)) => envelope.api_version = text_of(text),
                        (2, Wire::Bytes(text)) => envelope.kind = text_of(text),
                        _ => {}
                    }
                }
            }
            (2, Wire::Bytes(raw)) => envelope.raw = raw,
            _ => {}
        }
    }
    Ok(envelope)
}

/// Decodes the message of a struct.
///
/// # Errors
/// Go's text.
pub(super) fn decode(data: &[u8], id: StructId) -> Result<Value, String> {
    message(types(), data, id, 0)
}

/// The struct of a JSON schema.
fn schema_id(types: &Types) -> Option<StructId> {
    let at = types
        .structs
        .iter()
        .position(|known| known.name == "JSONSchemaProps")?;
    u16::try_from(at).ok()
}
