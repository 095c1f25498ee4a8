//! Values of expressions and JSON.

use std::collections::HashMap;
use std::sync::Arc;

use cel::Value as CelValue;
use cel::objects::{Key, Map};
use serde_json::Value;

/// A document as a value: whole numbers are `int`, others `double`.
pub(super) fn from_json(document: &Value) -> CelValue {
    match document {
        Value::Null => CelValue::Null,
        Value::Bool(value) => CelValue::Bool(*value),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => CelValue::Int(whole),
            None => CelValue::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => CelValue::String(Arc::new(text.clone())),
        Value::Array(list) => CelValue::List(Arc::new(list.iter().map(from_json).collect())),
        Value::Object(map) => {
            let map: HashMap<Key, CelValue> = map
                .iter()
                .map(|(key, value)| (Key::String(Arc::new(key.clone())), from_json(value)))
                .collect();
            CelValue::Map(Map { map: Arc::new(map) })
        }
    }
}

/// A number or text as it is written in messages.
pub(super) fn shown(value: &CelValue) -> String {
    match value {
        CelValue::Int(number) => number.to_string(),
        CelValue::UInt(number) => number.to_string(),
        CelValue::Float(number) => number.to_string(),
        CelValue::String(text) => text.to_string(),
        other => type_name(other).to_owned(),
    }
}

/// The name of a type.
pub(super) fn type_name(value: &CelValue) -> &'static str {
    match value {
        CelValue::List(_) => "list",
        CelValue::Map(_) => "map",
        CelValue::Int(_) => "int",
        CelValue::UInt(_) => "uint",
        CelValue::Float(_) => "double",
        CelValue::String(_) => "string",
        CelValue::Bytes(_) => "bytes",
        CelValue::Bool(_) => "bool",
        CelValue::Null => "null_type",
        _ => "dyn",
    }
}

/// How much there is to go through.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Size {
    /// Items of the longest list or map.
    pub items: u64,
    /// Bytes of all texts.
    pub bytes: u64,
}

impl Size {
    /// Takes a document in.
    pub fn add(&mut self, document: &Value) {
        match document {
            Value::String(text) => self.bytes += text.len() as u64,
            Value::Array(list) => {
                self.items = self.items.max(list.len() as u64);
                list.iter().for_each(|item| self.add(item));
            }
            Value::Object(map) => {
                self.items = self.items.max(map.len() as u64);
                for (key, value) in map {
                    self.bytes += key.len() as u64;
                    self.add(value);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// Takes a value in.
    pub fn add_value(&mut self, value: &CelValue) {
        match value {
            CelValue::String(text) => self.bytes += text.len() as u64,
            CelValue::Bytes(bytes) => self.bytes += bytes.len() as u64,
            CelValue::List(list) => {
                self.items = self.items.max(list.len() as u64);
                list.iter().for_each(|item| self.add_value(item));
            }
            CelValue::Map(map) => {
                self.items = self.items.max(map.map.len() as u64);
                map.map.values().for_each(|item| self.add_value(item));
            }
            _ => {}
        }
    }
}
