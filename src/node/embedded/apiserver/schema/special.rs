//! Types that read their JSON themselves.

use serde_json::Value;

use super::decode::{Decoder, Outcome, Problem};
use super::table::{Shape, ShapeId, Special, Struct};
use super::{quantity, time};
use crate::audit::options::number;

impl Decoder<'_> {
    /// Types with an UnmarshalJSON of their own: their errors end the decoding at once.
    pub(super) fn special(&mut self, special: Special) -> Outcome {
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
                if self.input.peek() != b'"' {
                    return Err(mismatch(self.input.describe(false), "string"));
                }
                let precision = match special {
                    Special::Time => time::Precision::Seconds,
                    _ => time::Precision::Micros,
                };
                let text = self.input.string();
                let written = time::canonical(&text, precision).map_err(Problem::Text)?;
                Ok(written.map(Value::String))
            }
            Special::Duration => {
                if self.input.peek() != b'"' {
                    return Err(mismatch(self.input.describe(false), "string"));
                }
                let nanos = number::parse_duration(&self.input.string()).map_err(Problem::Text)?;
                Ok(Some(number::duration_text(nanos).into()))
            }
            Special::Quantity => {
                let raw = String::from_utf8_lossy(self.input.raw());
                let text = raw
                    .strip_prefix('"')
                    .and_then(|t| t.strip_suffix('"'))
                    .unwrap_or(&raw);
                let written =
                    quantity::canonical(text.trim()).map_err(|e| Problem::Text(e.to_owned()))?;
                Ok(Some(written.into()))
            }
            Special::IntOrString => match self.input.peek() {
                b'"' => Ok(Some(self.input.string().into_owned().into())),
                b'-' | b'0'..=b'9' => {
                    let description = self.input.describe(true);
                    let raw = String::from_utf8_lossy(self.input.raw());
                    match raw.parse::<i32>() {
                        Ok(number) => Ok(Some(number.into())),
                        Err(_) => Err(mismatch(description, "int32")),
                    }
                }
                _ => Err(mismatch(self.input.describe(false), "int32")),
            },
            Special::SchemaOrBool => match self.input.peek() {
                b'{' => self.schema(),
                first @ (b't' | b'f') => {
                    self.input.skip();
                    Ok(Some((first == b't').into()))
                }
                _ => Err(Problem::Text("boolean or JSON schema expected".to_owned())),
            },
            Special::SchemaOrArray => match self.input.peek() {
                b'{' => self.schema(),
                b'[' => self.schema_list(),
                _ => {
                    self.input.skip();
                    Ok(None)
                }
            },
            Special::SchemaOrStrings => match self.input.peek() {
                b'{' => self.schema(),
                b'[' => {
                    let strings = self.types.shapes.iter().position(|s| *s == Shape::String);
                    self.list(strings.and_then(|at| u16::try_from(at).ok()).unwrap_or(0))
                }
                _ => {
                    self.input.skip();
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
            self.input.skip();
            return Ok(None);
        };
        let strict = std::mem::replace(&mut self.strict, false);
        let value = self.object(known);
        self.strict = strict;
        value
    }

    fn schema_list(&mut self) -> Outcome {
        let Some((id, _)) = self.schema_shape() else {
            self.input.skip();
            return Ok(None);
        };
        let strict = std::mem::replace(&mut self.strict, false);
        let value = self.list(id);
        self.strict = strict;
        value
    }
}
