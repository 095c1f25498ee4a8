//! Decoding JSON into a Go type and encoding it again, in one step (`sigs.k8s.io/json`, `encoding/json`).
//!
//! The result is what Go would write after reading the input: known fields only, in Go's order, empty ones left out or
//! written as the type's tags say, quantities and times in their canonical form.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Number, Value};

use super::base64_text;
use super::form::{assemble, merge, zero, zero_struct};
use super::table::{Field, Shape, ShapeId, Struct, StructId, Types, types};
use super::tokens::Tokens;
use crate::yaml::go::quote;

/// Types nest, schemas in CustomResourceDefinitions without end; deeper input than this would need more stack than a
/// worker has. Go allows 10,000.
const MAX_DEPTH: usize = 250;
/// Strict errors that are kept (`sigs.k8s.io/json`).
const MAX_STRICT_ERRORS: usize = 100;

/// What went wrong, with what is needed to say it.
#[derive(Debug, Clone)]
pub(super) enum Problem {
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
    let mut input = Tokens::new(data);
    let (mut version, mut kind) = (String::new(), String::new());
    match input.peek() {
        b'{' => input.bump(),
        b'n' => return Ok((version, kind)),
        _ => {
            let value = input.describe(false);
            return Err(format!(
                "json: cannot unmarshal {value} into Go value of type {GO_TYPE}"
            ));
        }
    }
    let mut error = None;
    while let Some(key) = input.next_key() {
        let (name, target) = if key.eq_ignore_ascii_case("apiVersion") {
            ("apiVersion", &mut version)
        } else if key.eq_ignore_ascii_case("kind") {
            ("kind", &mut kind)
        } else {
            input.skip();
            continue;
        };
        match input.peek() {
            b'"' => *target = input.string().into_owned(),
            b'n' => input.skip(),
            _ => {
                let value = input.describe(false);
                input.skip();
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

/// Reads one value.
pub(super) struct Decoder<'a> {
    pub(super) input: Tokens<'a>,
    pub(super) types: &'static Types,
    depth: usize,
    saved: Option<String>,
    /// JSON names on the way to the value, for type errors.
    fields: Vec<&'static str>,
    /// The Go struct that has the field.
    owner: Option<&'static str>,
    pub(super) strict: bool,
    /// The path for strict errors, with indexes and map keys.
    path: String,
    strict_errors: Vec<String>,
    seen: HashSet<String>,
}

/// The value; `None` is the zero value.
pub(super) type Outcome = Result<Option<Value>, Problem>;

impl<'a> Decoder<'a> {
    fn new(data: &'a [u8]) -> Self {
        Self {
            input: Tokens::new(data),
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

    // Values.

    fn value(&mut self, id: ShapeId) -> Outcome {
        if self.input.peek() == b'n' {
            self.input.skip();
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
        if self.input.peek() == b'n' {
            self.input.skip();
            return Ok(None);
        }
        self.value_as(shape, 0)
    }

    /// A value that is not null; `id` names the type in errors.
    fn value_as(&mut self, shape: Shape, id: ShapeId) -> Outcome {
        let next = self.input.peek();
        let numeric = matches!(next, b'-' | b'0'..=b'9');
        match shape {
            Shape::String if next == b'"' => Ok(Some(self.input.string().into_owned().into())),
            Shape::Bool if matches!(next, b't' | b'f') => {
                self.input.skip();
                Ok(Some((next == b't').into()))
            }
            Shape::Int32 | Shape::Int64 | Shape::Float64 if numeric => {
                let description = self.input.describe(true);
                let raw = String::from_utf8_lossy(self.input.raw());
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
                let text = self.input.string();
                match base64_text::canonical(&text) {
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
                    self.input.skip();
                    return Ok(None);
                };
                match known.special {
                    Some(special) => self.special(special),
                    None if next == b'{' => self.object(known),
                    None => {
                        let (value, go_type) =
                            (self.input.describe(false), self.struct_name(known));
                        self.save(&Problem::Type { value, go_type });
                        self.input.skip();
                        Ok(None)
                    }
                }
            }
            _ => {
                let value = self.input.describe(false);
                self.save_type_error(value, id);
                self.input.skip();
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

    pub(super) fn list(&mut self, inner: ShapeId) -> Outcome {
        self.descend()?;
        self.input.bump();
        let mut items = Vec::new();
        while self.input.next_item() {
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
        self.input.bump();
        let mut members = BTreeMap::new();
        while let Some(key) = self.input.next_key() {
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

    pub(super) fn object(&mut self, known: &'static Struct) -> Outcome {
        self.descend()?;
        self.input.bump();
        let mut slots: Vec<Option<Value>> = vec![None; known.flat.len()];
        let mut given = vec![false; known.flat.len()];
        let (depth, owner) = (self.fields.len(), self.owner);
        while let Some(key) = self.input.next_key() {
            let found: Option<(usize, &'static Field)> = self
                .types
                .json_fields(known)
                .enumerate()
                .find(|(_, field)| field.json == key);
            let Some((index, field)) = found else {
                self.strict_error("unknown field", &key);
                self.input.skip();
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
    pub(super) fn any(&mut self) -> Result<Value, Problem> {
        self.descend()?;
        let value = match self.input.peek() {
            b'{' => {
                self.input.bump();
                let mut members = Map::new();
                while let Some(key) = self.input.next_key() {
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
                self.input.bump();
                let mut items = Vec::new();
                while self.input.next_item() {
                    let length = self.enter_index(items.len());
                    items.push(self.any()?);
                    self.leave(length);
                }
                Value::Array(items)
            }
            b'"' => self.input.string().into_owned().into(),
            first @ (b't' | b'f') => {
                self.input.skip();
                (first == b't').into()
            }
            b'n' => {
                self.input.skip();
                Value::Null
            }
            _ => {
                let raw = String::from_utf8_lossy(self.input.raw());
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
