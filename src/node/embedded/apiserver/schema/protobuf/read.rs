//! Reading messages by the type table.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Number, Value};

use super::super::decode::decode_any;
use super::super::form::{assemble, zero, zero_struct};
use super::super::table::{Field, Shape, ShapeId, Special, Struct, StructId, Types};
use super::super::{quantity, syntax, time};
use super::schema_id;

const MAX_DEPTH: usize = 250;
const END: &str = "unexpected EOF";

/// A value as it is on the wire.
pub(super) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Fixed32,
    Bytes(&'a [u8]),
}

/// The fields of a message.
pub(super) struct Reader<'a>(pub &'a [u8]);

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

pub(super) fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Reads the message of a struct.
pub(super) fn message(
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
        // No message has one.
        Special::Duration => None,
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
