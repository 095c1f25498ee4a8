//! Errors of fields (`k8s.io/apimachinery/pkg/util/validation/field/errors.go`).

use std::collections::HashSet;
use std::fmt;

use serde_json::{Value, json};

use crate::node::embedded::apiserver::status::Status;
use crate::yaml::go::quote;

/// The kinds of field errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A needed value is missing.
    Required,
    /// A value occurs twice.
    Duplicate,
    /// The value is wrong.
    Invalid,
    /// The value is not one of an enumeration.
    NotSupported,
    /// The value is not allowed here.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// Too many items.
    TooMany,
    /// What it refers to does not exist.
    NotFound,
    /// The value has the wrong type.
    TypeInvalid,
    /// Our own fault.
    Internal,
}

impl Reason {
    /// The text that starts the message.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Reason::Required => "Required value",
            Reason::Duplicate => "Duplicate value",
            Reason::Invalid | Reason::TypeInvalid => "Invalid value",
            Reason::NotSupported => "Unsupported value",
            Reason::Forbidden => "Forbidden",
            Reason::TooLong => "Too long",
            Reason::TooMany => "Too many",
            Reason::NotFound => "Not found",
            Reason::Internal => "Internal error",
        }
    }

    /// `reason` of a cause.
    #[must_use]
    pub fn cause(self) -> &'static str {
        match self {
            Reason::Required => "FieldValueRequired",
            Reason::Duplicate => "FieldValueDuplicate",
            Reason::Invalid => "FieldValueInvalid",
            Reason::NotSupported => "FieldValueNotSupported",
            Reason::Forbidden => "FieldValueForbidden",
            Reason::TooLong => "FieldValueTooLong",
            Reason::TooMany => "FieldValueTooMany",
            Reason::NotFound => "FieldValueNotFound",
            Reason::TypeInvalid => "FieldValueTypeInvalid",
            Reason::Internal => "InternalError",
        }
    }
}

/// At most this many errors are told.
const TOLD: usize = 10_000;

/// What is wrong with a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// Path of the field: `spec.containers[0].image`.
    pub field: String,
    /// Reason of the cause: `FieldValueInvalid`, `FieldValueRequired`...
    pub reason: &'static str,
    /// The text without the field: `Invalid value: "A": must be lower case`.
    pub message: String,
}

impl FieldError {
    /// An error of this kind; `value` is shown where the kind shows values.
    #[must_use]
    pub fn new(
        reason: Reason,
        field: impl Into<String>,
        value: &Value,
        detail: impl Into<String>,
    ) -> Self {
        let detail = detail.into();
        let mut body = match reason {
            Reason::Required | Reason::Forbidden | Reason::TooLong | Reason::Internal => {
                reason.text().to_owned()
            }
            // How many they are is not always said.
            Reason::TooMany if value.is_null() => reason.text().to_owned(),
            _ => format!("{}: {}", reason.text(), show(value)),
        };
        if !detail.is_empty() {
            body.push_str(": ");
            body.push_str(&detail);
        }
        Self {
            field: field.into(),
            reason: reason.cause(),
            message: body,
        }
    }

    /// A missing value.
    #[must_use]
    pub fn required(field: impl Into<String>, detail: &str) -> Self {
        Self::new(Reason::Required, field, &Value::Null, detail)
    }

    /// A wrong value.
    #[must_use]
    pub fn invalid(field: impl Into<String>, value: &Value, detail: impl Into<String>) -> Self {
        Self::new(Reason::Invalid, field, value, detail)
    }

    /// A value outside its enumeration; Go lists the values in the order given.
    #[must_use]
    pub fn not_supported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let list: Vec<String> = supported.iter().map(|s| format!("\"{s}\"")).collect();
        Self::new(
            Reason::NotSupported,
            field,
            value,
            format!("supported values: {}", list.join(", ")),
        )
    }

    /// Something not allowed here.
    #[must_use]
    pub fn forbidden(field: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Reason::Forbidden, field, &Value::Null, detail)
    }

    /// A value that occurs twice.
    #[must_use]
    pub fn duplicate(field: impl Into<String>, value: &Value) -> Self {
        Self::new(Reason::Duplicate, field, value, "")
    }

    /// A reference to nothing.
    #[must_use]
    pub fn not_found(field: impl Into<String>, value: &Value) -> Self {
        Self::new(Reason::NotFound, field, value, "")
    }

    /// A value longer than allowed.
    #[must_use]
    pub fn too_long(field: impl Into<String>, max: usize) -> Self {
        Self::new(
            Reason::TooLong,
            field,
            &Value::Null,
            format!("may not be more than {max} bytes"),
        )
    }

    /// The cause in `details.causes`.
    #[must_use]
    pub fn to_cause(&self) -> Value {
        json!({"reason": self.reason, "message": self.message, "field": self.field})
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// A value as Go's field errors show it: strings quoted, the rest as JSON.
fn show(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) => quote(text),
        other => escape_html(&other.to_string()),
    }
}

fn escape_html(json: &str) -> String {
    json.replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}

/// The 422 answer (`NewInvalid` of `k8s.io/apimachinery/pkg/api/errors`).
#[must_use]
pub fn invalid_status(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Status {
    let qualified = if group.is_empty() {
        kind.to_owned()
    } else {
        format!("{kind}.{group}")
    };
    let errors = errors.get(..TOLD).unwrap_or(errors);
    // `ToAggregate` leaves out repeated messages.
    let mut seen = HashSet::new();
    let mut texts: Vec<String> = Vec::new();
    for error in errors {
        let text = error.to_string();
        if seen.insert(text.clone()) {
            texts.push(text);
        }
    }
    let list = if texts.len() == 1 {
        texts.concat()
    } else {
        format!("[{}]", texts.join(", "))
    };
    let message = if errors.is_empty() {
        format!("{qualified} \"{name}\" is invalid")
    } else {
        format!("{qualified} \"{name}\" is invalid: {list}")
    };
    let mut details = serde_json::Map::new();
    if !name.is_empty() {
        details.insert("name".into(), name.into());
    }
    if !group.is_empty() {
        details.insert("group".into(), group.into());
    }
    if !kind.is_empty() {
        details.insert("kind".into(), kind.into());
    }
    if !errors.is_empty() {
        details.insert(
            "causes".into(),
            errors.iter().map(FieldError::to_cause).collect(),
        );
    }
    Status::new(422, "Invalid", message).with_details(Value::Object(details))
}
