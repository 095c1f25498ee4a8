//! Kubernetes protobuf: `k8s\0`, a `runtime.Unknown`, and inside it the message of the kind, all by the type table
//! (`pkg/runtime/serializer/protobuf/protobuf.go`, `generated.proto` of each package).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::decode::{assemble, decode_any, zero, zero_struct};
use super::table::{Field, Shape, ShapeId, Special, Struct, StructId, Types, types};
use super::{quantity, syntax, time};

/// What a protobuf body starts with.
pub const PREFIX: &[u8] = b"k8s\0";

/// The content type.
pub const CONTENT_TYPE: &str = "application/vnd.kubernetes.protobuf";

const MAX_DEPTH: usize = 250;
const END: &str = "unexpected EOF";

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

enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// The fields of a message.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn varint(&mut self) -> Result<u64, String> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let (byte, rest) = self.0.split_first().ok_or(END)?;
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err("proto: integer overflow".to_owned())
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let length = usize::try_from(length).map_err(|_| END)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(END)?;
        self.0 = rest;
        Ok(taken)
    }

    fn part(&mut self) -> Result<(u64, Wire<'a>), String> {
        let tag = self.varint()?;
        let wire = match tag & 7 {
            0 => Wire::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?;
                Wire::Fixed64(u64::from_le_bytes(bytes.try_into().map_err(|_| END)?))
            }
            2 => {
                let length = self.varint()?;
                Wire::Bytes(self.take(length)?)
            }
            5 => {
                self.take(4)?;
                Wire::Fixed32
            }
            other => return Err(format!("proto: illegal wireType {other}")),
        };
        Ok((tag >> 3, wire))
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<(u64, Wire<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let part = self.part();
        if part.is_err() {
            self.0 = &[];
        }
        Some(part)
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn message(
    types: &'static Types,
    data: &[u8],
    id: StructId,
    depth: usize,
) -> Result<Value, String> {
    let Some(known) = types.get(id) else {
        return Ok(Value::Null);
    };
    if let Some(special) = known.special {
        return Ok(
            special_message(types, data, special, depth)?.unwrap_or_else(|| zero_struct(types, id))
        );
    }
    let slots = fields(types, data, known, depth)?;
    Ok(assemble(types, known, slots))
}

/// The values of a struct's flat fields.
fn fields(
    types: &'static Types,
    data: &[u8],
    known: &'static Struct,
    depth: usize,
) -> Result<Vec<Option<Value>>, String> {
    if depth > MAX_DEPTH {
        return Err("exceeded max depth".to_owned());
    }
    let mut slots = vec![None; known.flat.len()];
    for part in Reader(data) {
        let (number, wire) = part?;
        let mut place = 0;
        let found = known.fields.iter().find(|field| {
            let hit = u64::from(field.number) == number;
            if !hit {
                place += width(types, field);
            }
            hit
        });
        let Some(field) = found else {
            continue;
        };
        if field.inline {
            let (Wire::Bytes(inner), Shape::Struct(id)) = (wire, types.bare(field.shape)) else {
                continue;
            };
            if let Some(embedded) = types.get(id) {
                let values = fields(types, inner, embedded, depth + 1)?;
                for (slot, value) in slots.iter_mut().skip(place).zip(values) {
                    *slot = value;
                }
            }
            continue;
        }
        if let Some(slot) = slots.get_mut(place) {
            store(types, slot, field, wire, depth)?;
        }
    }
    // Maps come in any order and are written sorted.
    let mut place = 0;
    for field in &known.fields {
        if !field.inline
            && matches!(types.bare(field.shape), Shape::Map(..))
            && let Some(Some(Value::Object(members))) = slots.get_mut(place)
        {
            members.sort_keys();
        }
        place += width(types, field);
    }
    Ok(slots)
}

/// How many flat fields a field stands for.
fn width(types: &Types, field: &Field) -> usize {
    if field.inline {
        match types.bare(field.shape) {
            Shape::Struct(id) => types.get(id).map_or(0, |known| known.flat.len()),
            _ => 0,
        }
    } else {
        usize::from(field.json != "-")
    }
}

fn store(
    types: &'static Types,
    slot: &mut Option<Value>,
    field: &Field,
    wire: Wire<'_>,
    depth: usize,
) -> Result<(), String> {
    match types.bare(field.shape) {
        Shape::Map(_, inner) => {
            let Wire::Bytes(entry) = wire else {
                return Ok(());
            };
            let (mut key, mut value) = (String::new(), None);
            for part in Reader(entry) {
                match part? {
                    (1, Wire::Bytes(text)) => key = text_of(text),
                    (2, wire) => value = single(types, inner, wire, depth)?,
                    _ => {}
                }
            }
            let members = slot.get_or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(members) = members {
                members.insert(key, value.unwrap_or_else(|| zero(types, inner)));
            }
        }
        Shape::List(inner) if field.repeated => append(types, slot, inner, wire, depth)?,
        _ => *slot = single(types, field.shape, wire, depth)?,
    }
    Ok(())
}

fn append(
    types: &'static Types,
    slot: &mut Option<Value>,
    inner: ShapeId,
    wire: Wire<'_>,
    depth: usize,
) -> Result<(), String> {
    let items = slot.get_or_insert_with(|| Value::Array(Vec::new()));
    let Value::Array(items) = items else {
        return Ok(());
    };
    match (types.bare(inner), wire) {
        // Packed numbers.
        (Shape::Int32 | Shape::Int64 | Shape::Bool, Wire::Bytes(packed)) => {
            let mut reader = Reader(packed);
            while !reader.0.is_empty() {
                let wire = Wire::Varint(reader.varint()?);
                items.extend(single(types, inner, wire, depth)?);
            }
        }
        (_, wire) => {
            let item = single(types, inner, wire, depth)?;
            items.push(item.unwrap_or_else(|| zero(types, inner)));
        }
    }
    Ok(())
}

/// A value that is no map and not repeated; `None` is the zero value.
fn single(
    types: &'static Types,
    id: ShapeId,
    wire: Wire<'_>,
    depth: usize,
) -> Result<Option<Value>, String> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        reason = "protobuf defines integers by truncation"
    )]
    let value = match (types.bare(id), wire) {
        (Shape::String, Wire::Bytes(text)) => text_of(text).into(),
        (Shape::Bytes, Wire::Bytes(bytes)) => STANDARD.encode(bytes).into(),
        (Shape::Bool, Wire::Varint(flag)) => (flag != 0).into(),
        (Shape::Int32, Wire::Varint(number)) => (number as i32).into(),
        (Shape::Int64, Wire::Varint(number)) => (number as i64).into(),
        (Shape::Float64, Wire::Fixed64(bits)) => {
            let number = f64::from_bits(bits);
            if number.fract() == 0.0 && number.abs() < 1e15 {
                (number as i64).into()
            } else {
                Number::from_f64(number).map_or(Value::Null, Value::Number)
            }
        }
        // A named list is a message with its items.
        (Shape::List(inner), Wire::Bytes(data)) => {
            let mut items = None;
            for part in Reader(data) {
                if let (1, wire) = part? {
                    append(types, &mut items, inner, wire, depth + 1)?;
                }
            }
            return Ok(items);
        }
        (Shape::Struct(struct_id), Wire::Bytes(data)) => {
            let special = types.get(struct_id).and_then(|known| known.special);
            match special {
                Some(special) => {
                    let value = special_message(types, data, special, depth)?;
                    let pointer = matches!(types.shape(id), Shape::Pointer(_));
                    return Ok(match value {
                        None if pointer => Some(zero_struct(types, struct_id)),
                        value => value,
                    });
                }
                None => message(types, data, struct_id, depth + 1)?,
            }
        }
        _ => return Ok(None),
    };
    Ok(Some(value))
}

fn special_message(
    types: &'static Types,
    data: &[u8],
    special: Special,
    depth: usize,
) -> Result<Option<Value>, String> {
    let mut number = [0_i64; 2];
    let mut bytes: [Option<&[u8]>; 3] = [None; 3];
    let mut repeated = Vec::new();
    for part in Reader(data) {
        match part? {
            #[expect(
                clippy::cast_possible_wrap,
                reason = "protobuf defines integers by truncation"
            )]
            (at @ 1..=2, Wire::Varint(value)) => {
                if let Some(slot) = usize::try_from(at - 1)
                    .ok()
                    .and_then(|at| number.get_mut(at))
                {
                    *slot = value as i64;
                }
            }
            (at @ 1..=3, Wire::Bytes(value)) => {
                if let Some(slot) = usize::try_from(at - 1)
                    .ok()
                    .and_then(|at| bytes.get_mut(at))
                {
                    *slot = Some(value);
                }
                if at == 2 {
                    repeated.push(value);
                }
            }
            _ => {}
        }
    }
    let [first, second] = number;
    let [one, two, three] = bytes;
    let schema = |data: &[u8]| match schema_id(types) {
        Some(id) => message(types, data, id, depth + 1),
        None => Ok(Value::Null),
    };
    Ok(match special {
        Special::Time | Special::MicroTime if data.is_empty() => None,
        Special::Time => stamp(first, 0)
            .and_then(|s| time::write(s, time::Precision::Seconds))
            .map(Value::String),
        Special::MicroTime => stamp(first, second)
            .and_then(|s| time::write(s, time::Precision::Micros))
            .map(Value::String),
        Special::Quantity => {
            let text = one.map(text_of).unwrap_or_default();
            Some(quantity::canonical(&text)?.into())
        }
        Special::IntOrString if first == 0 => Some(second.into()),
        Special::IntOrString => Some(three.map(text_of).unwrap_or_default().into()),
        Special::Raw => match one {
            Some(raw) if !raw.is_empty() => {
                syntax::check(raw)?;
                Some(decode_any(raw, false)?.0)
            }
            _ => None,
        },
        Special::SchemaOrBool => Some(match two {
            Some(data) => schema(data)?,
            None => (first != 0).into(),
        }),
        Special::SchemaOrArray | Special::SchemaOrStrings => match one {
            Some(data) => Some(schema(data)?),
            None if special == Special::SchemaOrStrings => {
                Some(repeated.iter().map(|text| text_of(text)).collect())
            }
            None => Some(Value::Array(
                repeated
                    .iter()
                    .map(|data| schema(data))
                    .collect::<Result<_, _>>()?,
            )),
        },
    })
}

fn stamp(seconds: i64, nanos: i64) -> Option<Timestamp> {
    Timestamp::new(seconds, i32::try_from(nanos).ok()?).ok()
}

fn schema_id(types: &Types) -> Option<StructId> {
    let at = types
        .structs
        .iter()
        .position(|known| known.name == "JSONSchemaProps")?;
    u16::try_from(at).ok()
}

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
