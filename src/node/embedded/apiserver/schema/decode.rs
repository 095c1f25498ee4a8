//! Decoding JSON into a Go type and encoding it again, in one step (`sigs.k8s.io/json`, `encoding/json`).
//!
//! The result is what Go would write after reading the input: known fields only, in Go's order, empty ones left out or
//! written as the type's tags say, quantities and times in their canonical form.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use super::syntax::quote;
use super::table::{Field, Shape, ShapeId, Special, Struct, StructId, Types, types};
use super::{quantity, time};

/// Types nest, schemas in CustomResourceDefinitions without end; deeper input than this would need more stack than a
/// worker has. Go allows 10,000.
const MAX_DEPTH: usize = 250;
/// Strict errors that are kept (`sigs.k8s.io/json`).
const MAX_STRICT_ERRORS: usize = 100;

/// What went wrong, with what is needed to say it.
#[derive(Debug, Clone)]
enum Problem {
    /// A JSON value of another type.
    Type { value: String, go_type: String },
    /// Anything else, as Go says it.
    Text(String),
}

/// Decodes `data`, which must be valid JSON, into the struct.
///
/// # Errors
/// Go's text.
pub(super) fn decode(
    data: &[u8],
    id: StructId,
    strict: bool,
) -> Result<(Value, Vec<String>), String> {
    let mut decoder = Decoder::new(data);
    decoder.strict = strict;
    let value = match decoder.value_of(Shape::Struct(id)) {
        Ok(value) => value,
        Err(problem) => return Err(decoder.explain(&problem)),
    };
    match decoder.saved {
        Some(error) => Err(error),
        None => Ok((
            value.unwrap_or_else(|| zero_struct(types(), id)),
            decoder.strict_errors,
        )),
    }
}

/// Reads any JSON, which must be valid; numbers without a fraction stay integers. Duplicate keys become strict errors.
///
/// # Errors
/// When it nests too deep.
pub(super) fn decode_any(data: &[u8], strict: bool) -> Result<(Value, Vec<String>), String> {
    let mut decoder = Decoder::new(data);
    decoder.strict = strict;
    match decoder.any() {
        Ok(value) => Ok((value, decoder.strict_errors)),
        Err(problem) => Err(decoder.explain(&problem)),
    }
}

/// The `apiVersion` and `kind` of valid JSON, as `encoding/json` reads them: any case, the last one counts.
///
/// # Errors
/// Go's text.
pub(super) fn type_meta(data: &[u8]) -> Result<(String, String), String> {
    const GO_TYPE: &str = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    let mut decoder = Decoder::new(data);
    let (mut version, mut kind) = (String::new(), String::new());
    match decoder.peek() {
        b'{' => decoder.bump(),
        b'n' => return Ok((version, kind)),
        _ => {
            let value = decoder.describe(false);
            return Err(format!(
                "json: cannot unmarshal {value} into Go value of type {GO_TYPE}"
            ));
        }
    }
    let mut error = None;
    while let Some(key) = decoder.next_key() {
        let (name, target) = if key.eq_ignore_ascii_case("apiVersion") {
            ("apiVersion", &mut version)
        } else if key.eq_ignore_ascii_case("kind") {
            ("kind", &mut kind)
        } else {
            decoder.skip();
            continue;
        };
        match decoder.peek() {
            b'"' => *target = decoder.string().into_owned(),
            b'n' => decoder.skip(),
            _ => {
                let value = decoder.describe(false);
                decoder.skip();
                error.get_or_insert_with(|| {
                    format!(
                        "json: cannot unmarshal {value} into Go struct field .{name} of type string"
                    )
                });
            }
        }
    }
    error.map_or(Ok((version, kind)), Err)
}

/// The zero value of a struct, as JSON.
pub(super) fn zero_struct(types: &'static Types, id: StructId) -> Value {
    match types.get(id) {
        Some(known) => match known.special {
            None => assemble(types, known, Vec::new()),
            Some(Special::Quantity) => "0".into(),
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

struct Decoder<'a> {
    data: &'a [u8],
    at: usize,
    types: &'static Types,
    depth: usize,
    saved: Option<String>,
    /// JSON names on the way to the value, for type errors.
    fields: Vec<&'static str>,
    /// The Go struct that has the field.
    owner: Option<&'static str>,
    strict: bool,
    /// The path for strict errors, with indexes and map keys.
    path: String,
    strict_errors: Vec<String>,
    seen: HashSet<String>,
}

type Outcome = Result<Option<Value>, Problem>;

impl<'a> Decoder<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self {
            data,
            at: 0,
            types: types(),
            depth: 0,
            saved: None,
            fields: Vec::new(),
            owner: None,
            strict: false,
            path: String::new(),
            strict_errors: Vec::new(),
            seen: HashSet::new(),
        }
    }

    // Errors.

    fn explain(&self, problem: &Problem) -> String {
        match problem {
            Problem::Text(text) => text.clone(),
            Problem::Type { value, go_type } => match self.owner {
                Some(owner) => format!(
                    "json: cannot unmarshal {value} into Go struct field {owner}.{} of type {go_type}",
                    self.fields.join(".")
                ),
                None => format!("json: cannot unmarshal {value} into Go value of type {go_type}"),
            },
        }
    }

    fn save(&mut self, problem: &Problem) {
        if self.saved.is_none() {
            self.saved = Some(self.explain(problem));
        }
    }

    fn save_type_error(&mut self, value: String, id: ShapeId) {
        let go_type = self.types.go_name(id);
        self.save(&Problem::Type { value, go_type });
    }

    fn strict_error(&mut self, what: &str, name: &str) {
        if !self.strict || self.strict_errors.len() >= MAX_STRICT_ERRORS {
            return;
        }
        let path = if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        };
        let error = format!("{what} {}", quote(&path));
        if self.seen.insert(error.clone()) {
            self.strict_errors.push(error);
        }
    }

    /// Enters a key of the path; the result goes back to [`Self::leave`].
    fn enter(&mut self, key: &str) -> usize {
        let length = self.path.len();
        if self.strict {
            if length > 0 {
                self.path.push('.');
            }
            self.path.push_str(key);
        }
        length
    }

    fn enter_index(&mut self, index: usize) -> usize {
        let length = self.path.len();
        if self.strict {
            use std::fmt::Write;
            _ = write!(self.path, "[{index}]");
        }
        length
    }

    fn leave(&mut self, length: usize) {
        self.path.truncate(length);
    }

    // Tokens. The input was checked before: what does not fit ends the value.

    fn byte(&self) -> u8 {
        self.data.get(self.at).copied().unwrap_or(0)
    }

    fn bump(&mut self) {
        self.at += 1;
    }

    /// The next byte that is no white space; 0 at the end.
    fn peek(&mut self) -> u8 {
        while matches!(self.byte(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        self.byte()
    }

    /// The next key of an object whose brace is behind us, up to the value; `None` behind the closing brace.
    fn next_key(&mut self) -> Option<Cow<'a, str>> {
        if self.peek() == b',' {
            self.bump();
            self.peek();
        }
        if self.byte() != b'"' {
            self.bump();
            return None;
        }
        let key = self.string();
        if self.peek() == b':' {
            self.bump();
        }
        Some(key)
    }

    /// Whether an array whose bracket is behind us has another item.
    fn next_item(&mut self) -> bool {
        match self.peek() {
            b']' | 0 => {
                self.bump();
                false
            }
            b',' => {
                self.bump();
                true
            }
            _ => true,
        }
    }

    /// A string, its opening quote next.
    fn string(&mut self) -> Cow<'a, str> {
        let raw = self.raw();
        let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
        if inner.contains(&b'\\') {
            Cow::Owned(unescape(inner))
        } else {
            String::from_utf8_lossy(inner)
        }
    }

    /// The text of the next value, passed over without recursion.
    fn raw(&mut self) -> &'a [u8] {
        self.peek();
        let start = self.at;
        let mut open = 0_usize;
        loop {
            match self.byte() {
                b'"' => {
                    self.bump();
                    loop {
                        match self.byte() {
                            b'\\' => self.at += 2,
                            b'"' | 0 => break,
                            _ => self.bump(),
                        }
                    }
                    self.bump();
                }
                b'{' | b'[' => {
                    open += 1;
                    self.bump();
                }
                b'}' | b']' => {
                    open = open.saturating_sub(1);
                    self.bump();
                }
                b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => self.bump(),
                0 if self.at >= self.data.len() => break,
                _ => {
                    while !matches!(
                        self.byte(),
                        0 | b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n'
                    ) {
                        self.bump();
                    }
                }
            }
            if open == 0 {
                break;
            }
        }
        let end = self.at.min(self.data.len());
        self.data.get(start..end).unwrap_or_default()
    }

    fn skip(&mut self) {
        _ = self.raw();
    }

    /// The next value as type errors call it. `exact`: numbers with their digits, as for number types.
    fn describe(&mut self, exact: bool) -> String {
        match self.peek() {
            b'{' => "object".to_owned(),
            b'[' => "array".to_owned(),
            b'"' => "string".to_owned(),
            b't' | b'f' => "bool".to_owned(),
            _ if exact => {
                let at = self.at;
                let raw = String::from_utf8_lossy(self.raw()).into_owned();
                self.at = at;
                format!("number {raw}")
            }
            _ => "number".to_owned(),
        }
    }

    // Values.

    fn value(&mut self, id: ShapeId) -> Outcome {
        if self.peek() == b'n' {
            self.skip();
            return Ok(None);
        }
        match self.types.shape(id) {
            Shape::Pointer(inner) => {
                let value = self.value(inner)?;
                Ok(Some(value.unwrap_or_else(|| zero(self.types, inner))))
            }
            Shape::Named(name) => self.value_as(self.types.shape(self.types.underlying(name)), id),
            shape => self.value_as(shape, id),
        }
    }

    fn value_of(&mut self, shape: Shape) -> Outcome {
        if self.peek() == b'n' {
            self.skip();
            return Ok(None);
        }
        self.value_as(shape, 0)
    }

    /// A value that is not null; `id` names the type in errors.
    fn value_as(&mut self, shape: Shape, id: ShapeId) -> Outcome {
        let next = self.peek();
        let numeric = matches!(next, b'-' | b'0'..=b'9');
        match shape {
            Shape::String if next == b'"' => Ok(Some(self.string().into_owned().into())),
            Shape::Bool if matches!(next, b't' | b'f') => {
                self.skip();
                Ok(Some((next == b't').into()))
            }
            Shape::Int32 | Shape::Int64 | Shape::Float64 if numeric => {
                let description = self.describe(true);
                let raw = String::from_utf8_lossy(self.raw());
                let number = match shape {
                    Shape::Int32 => raw.parse::<i32>().ok().map(Number::from),
                    Shape::Int64 => raw.parse::<i64>().ok().map(Number::from),
                    _ => float(&raw),
                };
                if number.is_none() {
                    self.save_type_error(description, id);
                }
                Ok(number.map(Value::Number))
            }
            Shape::Bytes if next == b'"' => {
                let text = self.string();
                match bytes(&text) {
                    Ok(text) => Ok(Some(text.into())),
                    Err(at) => {
                        self.save(&Problem::Text(format!(
                            "illegal base64 data at input byte {at}"
                        )));
                        Ok(None)
                    }
                }
            }
            Shape::List(inner) if next == b'[' => self.list(inner),
            Shape::Map(_, inner) if next == b'{' => self.map(inner),
            Shape::Any => self.any().map(Some),
            Shape::Struct(struct_id) => {
                let Some(known) = self.types.get(struct_id) else {
                    self.skip();
                    return Ok(None);
                };
                match known.special {
                    Some(special) => self.special(special),
                    None if next == b'{' => self.object(known),
                    None => {
                        let (value, go_type) = (self.describe(false), self.struct_name(known));
                        self.save(&Problem::Type { value, go_type });
                        self.skip();
                        Ok(None)
                    }
                }
            }
            _ => {
                let value = self.describe(false);
                self.save_type_error(value, id);
                self.skip();
                Ok(None)
            }
        }
    }

    fn struct_name(&self, known: &Struct) -> String {
        let package = self.types.packages.get(usize::from(known.package));
        format!("{}.{}", package.map_or("", |p| p.go_name), known.name)
    }

    fn descend(&mut self) -> Result<(), Problem> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Problem::Text("exceeded max depth".to_owned()));
        }
        Ok(())
    }

    fn list(&mut self, inner: ShapeId) -> Outcome {
        self.descend()?;
        self.bump();
        let mut items = Vec::new();
        while self.next_item() {
            let length = self.enter_index(items.len());
            let item = self.value(inner)?;
            items.push(item.unwrap_or_else(|| zero(self.types, inner)));
            self.leave(length);
        }
        self.depth -= 1;
        Ok(Some(Value::Array(items)))
    }

    fn map(&mut self, inner: ShapeId) -> Outcome {
        self.descend()?;
        self.bump();
        let mut members = BTreeMap::new();
        while let Some(key) = self.next_key() {
            if self.strict && members.contains_key(key.as_ref()) {
                self.strict_error("duplicate field", &key);
            }
            let length = self.enter(&key);
            let value = self.value(inner)?;
            members.insert(
                key.into_owned(),
                value.unwrap_or_else(|| zero(self.types, inner)),
            );
            self.leave(length);
        }
        self.depth -= 1;
        Ok(Some(Value::Object(members.into_iter().collect())))
    }

    fn object(&mut self, known: &'static Struct) -> Outcome {
        self.descend()?;
        self.bump();
        let mut slots: Vec<Option<Value>> = vec![None; known.flat.len()];
        let mut given = vec![false; known.flat.len()];
        let (depth, owner) = (self.fields.len(), self.owner);
        while let Some(key) = self.next_key() {
            let found: Option<(usize, &'static Field)> = self
                .types
                .json_fields(known)
                .enumerate()
                .find(|(_, field)| field.json == key);
            let Some((index, field)) = found else {
                self.strict_error("unknown field", &key);
                self.skip();
                continue;
            };
            if let Some(seen) = given.get_mut(index)
                && std::mem::replace(seen, true)
            {
                self.strict_error("duplicate field", field.json);
            }
            self.fields.push(field.json);
            self.owner = Some(known.name);
            let length = self.enter(field.json);
            let value = self.value(field.shape)?;
            self.leave(length);
            self.fields.truncate(depth);
            self.owner = owner;
            if let Some(slot) = slots.get_mut(index) {
                match (slot.as_mut(), value) {
                    // Go decodes a repeated key into the struct or map it already has.
                    (Some(old @ Value::Object(_)), Some(new @ Value::Object(_))) => merge(old, new),
                    (_, value) => *slot = value,
                }
            }
        }
        self.depth -= 1;
        Ok(Some(assemble(self.types, known, slots)))
    }

    /// Any JSON; duplicate keys are strict errors, the last one counts.
    fn any(&mut self) -> Result<Value, Problem> {
        self.descend()?;
        let value = match self.peek() {
            b'{' => {
                self.bump();
                let mut members = Map::new();
                while let Some(key) = self.next_key() {
                    if self.strict && members.contains_key(key.as_ref()) {
                        self.strict_error("duplicate field", &key);
                    }
                    let length = self.enter(&key);
                    let value = self.any()?;
                    self.leave(length);
                    members.insert(key.into_owned(), value);
                }
                Value::Object(members)
            }
            b'[' => {
                self.bump();
                let mut items = Vec::new();
                while self.next_item() {
                    let length = self.enter_index(items.len());
                    items.push(self.any()?);
                    self.leave(length);
                }
                Value::Array(items)
            }
            b'"' => self.string().into_owned().into(),
            first @ (b't' | b'f') => {
                self.skip();
                (first == b't').into()
            }
            b'n' => {
                self.skip();
                Value::Null
            }
            _ => {
                let raw = String::from_utf8_lossy(self.raw());
                let number = raw
                    .parse::<i64>()
                    .ok()
                    .map(Number::from)
                    .or_else(|| float(&raw));
                match number {
                    Some(number) => Value::Number(number),
                    None => {
                        return Err(Problem::Type {
                            value: format!("number {raw}"),
                            go_type: "float64".to_owned(),
                        });
                    }
                }
            }
        };
        self.depth -= 1;
        Ok(value)
    }

    /// Types with an UnmarshalJSON of their own: their errors end the decoding at once.
    fn special(&mut self, special: Special) -> Outcome {
        let mismatch = |value: String, go_type: &str| Problem::Type {
            value,
            go_type: go_type.to_owned(),
        };
        match special {
            Special::Raw => {
                let strict = std::mem::replace(&mut self.strict, false);
                let value = self.any()?;
                self.strict = strict;
                Ok(Some(value))
            }
            Special::Time | Special::MicroTime => {
                if self.peek() != b'"' {
                    return Err(mismatch(self.describe(false), "string"));
                }
                let precision = match special {
                    Special::Time => time::Precision::Seconds,
                    _ => time::Precision::Micros,
                };
                let text = self.string();
                let written = time::canonical(&text, precision).map_err(Problem::Text)?;
                Ok(written.map(Value::String))
            }
            Special::Quantity => {
                let raw = String::from_utf8_lossy(self.raw());
                let text = raw
                    .strip_prefix('"')
                    .and_then(|t| t.strip_suffix('"'))
                    .unwrap_or(&raw);
                let written =
                    quantity::canonical(text.trim()).map_err(|e| Problem::Text(e.to_owned()))?;
                Ok(Some(written.into()))
            }
            Special::IntOrString => match self.peek() {
                b'"' => Ok(Some(self.string().into_owned().into())),
                b'-' | b'0'..=b'9' => {
                    let description = self.describe(true);
                    let raw = String::from_utf8_lossy(self.raw());
                    match raw.parse::<i32>() {
                        Ok(number) => Ok(Some(number.into())),
                        Err(_) => Err(mismatch(description, "int32")),
                    }
                }
                _ => Err(mismatch(self.describe(false), "int32")),
            },
            Special::SchemaOrBool => match self.peek() {
                b'{' => self.schema(),
                first @ (b't' | b'f') => {
                    self.skip();
                    Ok(Some((first == b't').into()))
                }
                _ => Err(Problem::Text("boolean or JSON schema expected".to_owned())),
            },
            Special::SchemaOrArray => match self.peek() {
                b'{' => self.schema(),
                b'[' => self.schema_list(),
                _ => {
                    self.skip();
                    Ok(None)
                }
            },
            Special::SchemaOrStrings => match self.peek() {
                b'{' => self.schema(),
                b'[' => {
                    let strings = self.types.shapes.iter().position(|s| *s == Shape::String);
                    self.list(strings.and_then(|at| u16::try_from(at).ok()).unwrap_or(0))
                }
                _ => {
                    self.skip();
                    Ok(None)
                }
            },
        }
    }

    fn schema_shape(&self) -> Option<(ShapeId, &'static Struct)> {
        let at = self.types.shapes.iter().position(|shape| match shape {
            Shape::Struct(id) => self
                .types
                .get(*id)
                .is_some_and(|s| s.name == "JSONSchemaProps"),
            _ => false,
        })?;
        let id = u16::try_from(at).ok()?;
        match self.types.shape(id) {
            Shape::Struct(struct_id) => Some((id, self.types.get(struct_id)?)),
            _ => None,
        }
    }

    /// A nested schema; it is read with the plain decoder, which is not strict.
    fn schema(&mut self) -> Outcome {
        let Some((_, known)) = self.schema_shape() else {
            self.skip();
            return Ok(None);
        };
        let strict = std::mem::replace(&mut self.strict, false);
        let value = self.object(known);
        self.strict = strict;
        value
    }

    fn schema_list(&mut self) -> Outcome {
        let Some((id, _)) = self.schema_shape() else {
            self.skip();
            return Ok(None);
        };
        let strict = std::mem::replace(&mut self.strict, false);
        let value = self.list(id);
        self.strict = strict;
        value
    }
}

fn merge(old: &mut Value, new: Value) {
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

fn float(raw: &str) -> Option<Number> {
    let number = raw.parse::<f64>().ok()?;
    // Go writes whole floats without a fraction.
    if number.fract() == 0.0 && number.abs() < 1e15 {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53")]
        return Some(Number::from(number as i64));
    }
    Number::from_f64(number)
}

fn unescape(inner: &[u8]) -> String {
    let text = String::from_utf8_lossy(inner);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let first = hex(&mut chars);
                let paired = (0xd800..0xdc00).contains(&first).then(|| {
                    let mut ahead = chars.clone();
                    let escaped = ahead.next() == Some('\\') && ahead.next() == Some('u');
                    let second = if escaped { hex(&mut ahead) } else { 0 };
                    (0xdc00..0xe000).contains(&second).then(|| {
                        (
                            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                            ahead,
                        )
                    })
                });
                match paired.flatten() {
                    Some((code, ahead)) => {
                        chars = ahead;
                        out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                    }
                    None => out.push(char::from_u32(first).unwrap_or('\u{fffd}')),
                }
            }
            Some(c) => out.push(c),
            None => {}
        }
    }
    out
}

fn hex(chars: &mut std::str::Chars<'_>) -> u32 {
    (0..4).fold(0, |code, _| {
        code * 16 + chars.next().and_then(|c| c.to_digit(16)).unwrap_or(0)
    })
}

/// Base64 as Go's `StdEncoding` reads it (line breaks are skipped), written again; or the offset of the first bad byte.
fn bytes(text: &str) -> Result<String, usize> {
    let input = text.as_bytes();
    let mut at = 0;
    let mut group = 0_usize;
    let mut clean = Vec::with_capacity(input.len());
    let skip = |mut at: usize| {
        while matches!(input.get(at), Some(b'\n' | b'\r')) {
            at += 1;
        }
        at
    };
    loop {
        at = skip(at);
        let Some(byte) = input.get(at).copied() else {
            break;
        };
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => {
                clean.push(byte);
                group = (group + 1) % 4;
                at += 1;
            }
            b'=' if group >= 2 => {
                at += 1;
                if group == 2 {
                    at = skip(at);
                    match input.get(at) {
                        Some(b'=') => at += 1,
                        Some(_) => return Err(at),
                        None => return Err(input.len()),
                    }
                }
                at = skip(at);
                if at < input.len() {
                    return Err(at);
                }
                group = 0;
                break;
            }
            _ => return Err(at),
        }
    }
    if group != 0 {
        // Go names the start of the broken group.
        return Err(input.len() - group.min(input.len()));
    }
    let engine = base64::engine::GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        base64::engine::GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(base64::engine::DecodePaddingMode::Indifferent),
    );
    engine
        .decode(&clean)
        .map(|decoded| STANDARD.encode(decoded))
        .map_err(|_| 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_errors_name_the_byte_that_go_names() {
        assert_eq!(bytes("aGVsbG8="), Ok("aGVsbG8=".to_owned()));
        assert_eq!(bytes("aGVs\nbG8="), Ok("aGVsbG8=".to_owned()));
        assert_eq!(bytes(""), Ok(String::new()));
        assert_eq!(bytes("!!!"), Err(0));
        assert_eq!(bytes("aGVsbG8"), Err(4));
        assert_eq!(bytes("aGVs bG8="), Err(4));
        assert_eq!(bytes("a==="), Err(1));
        assert_eq!(bytes("aG=a"), Err(3));
        assert_eq!(bytes("aGVsbG8=="), Err(8));
    }

    #[test]
    fn strings_are_unescaped_as_go_does() {
        assert_eq!(
            unescape(br"a\u00e9\n\ud83d\ude00\ud800x\/"),
            "aé\n😀\u{fffd}x/"
        );
    }
}
