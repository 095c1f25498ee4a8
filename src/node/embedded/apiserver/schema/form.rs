//! Values as Go writes them: zero values, empty fields, field order.

use serde_json::{Map, Value};

use super::table::{Shape, ShapeId, Special, Struct, StructId, Types};

/// The zero value of a struct, as JSON.
pub(super) fn zero_struct(types: &'static Types, id: StructId) -> Value {
    match types.get(id) {
        Some(known) => match known.special {
            None => assemble(types, known, Vec::new()),
            Some(Special::Quantity) => "0".into(),
            Some(Special::Duration) => "0s".into(),
            Some(Special::IntOrString) => 0.into(),
            Some(_) => Value::Null,
        },
        None => Value::Null,
    }
}

/// The zero value of a type, as JSON.
pub(super) fn zero(types: &'static Types, id: ShapeId) -> Value {
    match types.shape(id) {
        Shape::Bool => false.into(),
        Shape::Int32 | Shape::Int64 | Shape::Float64 => 0.into(),
        Shape::String => "".into(),
        Shape::Named(name) => zero(types, types.underlying(name)),
        Shape::Struct(id) => zero_struct(types, id),
        Shape::Bytes | Shape::Any | Shape::Pointer(_) | Shape::List(_) | Shape::Map(..) => {
            Value::Null
        }
    }
}

/// Whether `omitempty` leaves the value out.
fn is_empty(types: &Types, id: ShapeId, value: &Value) -> bool {
    match types.shape(id) {
        Shape::Struct(_) => false,
        Shape::Pointer(_) => value.is_null(),
        Shape::Named(name) => is_empty(types, types.underlying(name), value),
        _ => match value {
            Value::Null => true,
            Value::Bool(flag) => !flag,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(members) => members.is_empty(),
        },
    }
}

/// Puts the fields of a struct in order. `slots` follow the flat fields; `None` is the zero value.
pub(super) fn assemble(
    types: &'static Types,
    known: &'static Struct,
    slots: Vec<Option<Value>>,
) -> Value {
    let mut slots = slots.into_iter();
    let mut out = Map::new();
    for field in types.json_fields(known) {
        let value = match slots.next().flatten() {
            Some(value) => value,
            None if field.omit_zero => continue,
            None => zero(types, field.shape),
        };
        if field.omit_empty && is_empty(types, field.shape, &value) {
            continue;
        }
        if field.omit_zero
            && matches!(types.shape(field.shape), Shape::Struct(_))
            && value == zero(types, field.shape)
        {
            continue;
        }
        out.insert(field.json.to_owned(), value);
    }
    Value::Object(out)
}

/// Puts the members of a repeated key over those of the first.
pub(super) fn merge(old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in new {
                match old.get_mut(&key) {
                    Some(slot) => merge(slot, value),
                    None => _ = old.insert(key, value),
                }
            }
        }
        (old, new) => *old = new,
    }
}
