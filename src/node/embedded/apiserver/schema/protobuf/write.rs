//! Writing messages by the type table, byte for byte as gogo's generated code does.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::super::table::{Field, Shape, ShapeId, Special, Struct, Types, types};
use super::{PREFIX, schema_id};

/// Encodes an object of a built-in kind, with its envelope; `None` for a kind that has no message.
#[must_use]
pub fn encode(group: &str, version: &str, kind: &str, object: &Value) -> Option<Vec<u8>> {
    let types = types();
    let known = types.get(types.kind(group, version, kind)?)?;
    if known.fields.iter().all(|field| field.number == 0) {
        return None;
    }
    let text = |name: &str| object.get(name).and_then(Value::as_str).unwrap_or_default();
    let mut meta = Vec::new();
    put_bytes(&mut meta, 1, text("apiVersion").as_bytes());
    put_bytes(&mut meta, 2, text("kind").as_bytes());
    let mut raw = Vec::new();
    put_struct(types, &mut raw, known, object.as_object()?);
    let mut out = PREFIX.to_vec();
    put_bytes(&mut out, 1, &meta);
    put_bytes(&mut out, 2, &raw);
    put_bytes(&mut out, 3, &[]);
    put_bytes(&mut out, 4, &[]);
    Some(out)
}

/// Encodes an object that names its type.
#[must_use]
pub fn encode_object(object: &Value) -> Option<Vec<u8>> {
    // `APIVersions` has none.
    let api_version = object.get("apiVersion").and_then(Value::as_str);
    let api_version = api_version.unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    encode(group, version, object.get("kind")?.as_str()?, object)
}

/// The frame of an event in a watch: its length and a `metav1.WatchEvent` without envelope, around the object with its own
/// (`pkg/util/framer`, `RawSerializer`). `None` for an object that has no message.
#[must_use]
pub fn watch_frame(kind: &str, object: &Value) -> Option<Vec<u8>> {
    let mut raw = Vec::new();
    put_bytes(&mut raw, 1, &encode_object(object)?);
    let mut event = Vec::new();
    put_bytes(&mut event, 1, kind.as_bytes());
    put_bytes(&mut event, 2, &raw);
    let mut frame = u32::try_from(event.len()).ok()?.to_be_bytes().to_vec();
    frame.append(&mut event);
    Some(frame)
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn put_number(out: &mut Vec<u8>, number: u16, value: u64) {
    put_varint(out, u64::from(number) << 3);
    put_varint(out, value);
}

fn put_bytes(out: &mut Vec<u8>, number: u16, bytes: &[u8]) {
    put_varint(out, u64::from(number) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Fields in the order of their numbers, as gogo's generator writes them.
fn put_struct(
    types: &'static Types,
    out: &mut Vec<u8>,
    known: &'static Struct,
    object: &Map<String, Value>,
) {
    let ordered: BTreeMap<u16, &Field> = known
        .fields
        .iter()
        .filter(|field| field.number > 0)
        .map(|field| (field.number, field))
        .collect();
    for field in ordered.into_values() {
        if field.inline {
            let Shape::Struct(id) = types.bare(field.shape) else {
                continue;
            };
            if let Some(embedded) = types.get(id) {
                let mut inner = Vec::new();
                put_struct(types, &mut inner, embedded, object);
                put_bytes(out, field.number, &inner);
            }
            continue;
        }
        let value = object.get(field.json).unwrap_or(&Value::Null);
        match types.bare(field.shape) {
            Shape::Map(_, inner) => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    let mut entry = Vec::new();
                    put_bytes(&mut entry, 1, key.as_bytes());
                    put_single(types, &mut entry, 2, inner, value);
                    put_bytes(out, field.number, &entry);
                }
            }
            Shape::List(inner) if field.repeated => {
                for item in value.as_array().into_iter().flatten() {
                    put_single(types, out, field.number, inner, item);
                }
            }
            _ => put_single(types, out, field.number, field.shape, value),
        }
    }
}

fn put_single(types: &'static Types, out: &mut Vec<u8>, number: u16, id: ShapeId, value: &Value) {
    if value.is_null() && matches!(types.shape(id), Shape::Pointer(_)) {
        return;
    }
    match types.bare(id) {
        Shape::String => put_bytes(out, number, value.as_str().unwrap_or_default().as_bytes()),
        Shape::Bytes => {
            if let Some(text) = value.as_str() {
                put_bytes(out, number, &STANDARD.decode(text).unwrap_or_default());
            }
        }
        Shape::Bool => put_number(out, number, u64::from(value.as_bool().unwrap_or_default())),
        Shape::Int32 | Shape::Int64 => {
            let value = value.as_i64().unwrap_or_default();
            put_number(out, number, u64::from_le_bytes(value.to_le_bytes()));
        }
        Shape::Float64 => {
            put_varint(out, u64::from(number) << 3 | 1);
            out.extend_from_slice(&value.as_f64().unwrap_or_default().to_le_bytes());
        }
        Shape::List(inner) => {
            if value.is_null() {
                return;
            }
            let mut items = Vec::new();
            for item in value.as_array().into_iter().flatten() {
                put_single(types, &mut items, 1, inner, item);
            }
            put_bytes(out, number, &items);
        }
        Shape::Struct(id) => {
            let Some(known) = types.get(id) else {
                return;
            };
            let mut inner = Vec::new();
            match known.special {
                Some(special) => put_special(types, &mut inner, special, value),
                None => put_struct(
                    types,
                    &mut inner,
                    known,
                    value.as_object().unwrap_or(&Map::new()),
                ),
            }
            put_bytes(out, number, &inner);
        }
        Shape::Any | Shape::Map(..) | Shape::Pointer(_) | Shape::Named(_) => {}
    }
}

fn put_special(types: &'static Types, out: &mut Vec<u8>, special: Special, value: &Value) {
    let schema = |value: &Value| {
        let mut inner = Vec::new();
        let known = schema_id(types).and_then(|id| types.get(id));
        if let (Some(known), Some(object)) = (known, value.as_object()) {
            put_struct(types, &mut inner, known, object);
        }
        inner
    };
    match (special, value) {
        (Special::Time | Special::MicroTime, Value::String(text)) => {
            if let Ok(stamp) = text.parse::<Timestamp>() {
                let nanos = if special == Special::Time {
                    0
                } else {
                    stamp.subsec_nanosecond()
                };
                put_number(out, 1, u64::from_le_bytes(stamp.as_second().to_le_bytes()));
                put_number(out, 2, u64::try_from(nanos).unwrap_or(0));
            }
        }
        (Special::Quantity, _) => put_bytes(out, 1, value.as_str().unwrap_or("0").as_bytes()),
        (Special::IntOrString, _) => {
            let text = value.as_str();
            put_number(out, 1, u64::from(text.is_some()));
            let number = value.as_i64().unwrap_or_default();
            put_number(out, 2, u64::from_le_bytes(number.to_le_bytes()));
            put_bytes(out, 3, text.unwrap_or_default().as_bytes());
        }
        (Special::Raw, Value::Null) => {}
        (Special::Raw, _) => put_bytes(out, 1, value.to_string().as_bytes()),
        (Special::SchemaOrBool, Value::Object(_)) => {
            put_number(out, 1, 1);
            put_bytes(out, 2, &schema(value));
        }
        (Special::SchemaOrBool, _) => put_number(out, 1, u64::from(value == &Value::Bool(true))),
        (Special::SchemaOrArray | Special::SchemaOrStrings, Value::Object(_)) => {
            put_bytes(out, 1, &schema(value))
        }
        (Special::SchemaOrArray, Value::Array(items)) => {
            for item in items {
                put_bytes(out, 2, &schema(item));
            }
        }
        (Special::SchemaOrStrings, Value::Array(items)) => {
            for item in items {
                put_bytes(out, 2, item.as_str().unwrap_or_default().as_bytes());
            }
        }
        _ => {}
    }
}
