//! Whole numbers that a scenario may write as a number or as a text with variables.

use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

/// `30`, or `"{{ days }}"`, which is a number once it is filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Quantity(String);

impl Quantity {
    /// The number.
    ///
    /// # Errors
    /// When the text is none.
    pub fn number(&self) -> Result<u64, String> {
        let text = self.0.trim();
        text.parse()
            .map_err(|_| format!("`{text}` is no whole number"))
    }
}

impl From<u64> for Quantity {
    fn from(number: u64) -> Self {
        Self(number.to_string())
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Quantity;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a whole number, or a text with variables that gives one")
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Quantity, E> {
                Ok(number.into())
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity(text.to_owned()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl JsonSchema for Quantity {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Quantity".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "A whole number, or a text with variables that gives one.",
            "type": ["integer", "string"],
            "minimum": 0
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_texts_are_read() {
        let read = |text: &str| serde_yaml::from_str::<Quantity>(text);
        assert_eq!(read("30").unwrap().number(), Ok(30));
        assert_eq!(read("' 30 '").unwrap().number(), Ok(30));
        assert_eq!(
            read("many").unwrap().number().unwrap_err(),
            "`many` is no whole number"
        );
        assert!(read("-1").is_err());
        assert!(read("[1]").is_err());
    }
}
