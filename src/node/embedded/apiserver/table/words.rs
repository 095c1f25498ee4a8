//! How objects read in tables.

use serde_json::{Value, json};

use super::duration;

/// An object with short ways to its fields (JSON pointers).
#[derive(Clone, Copy)]
pub(super) struct Object<'a>(pub(super) &'a Value);

impl<'a> Object<'a> {
    pub(super) fn name(self) -> &'a str {
        self.text("/metadata/name")
    }

    /// A text; empty when there is none.
    pub(super) fn text(self, pointer: &str) -> &'a str {
        self.0
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or("")
    }

    /// A text, or what stands for none.
    pub(super) fn text_or(self, pointer: &str, none: &'a str) -> &'a str {
        match self.text(pointer) {
            "" => none,
            text => text,
        }
    }

    /// A number; 0 when there is none.
    pub(super) fn number(self, pointer: &str) -> i64 {
        self.0.pointer(pointer).and_then(Value::as_i64).unwrap_or(0)
    }

    pub(super) fn flag(self, pointer: &str) -> bool {
        self.0
            .pointer(pointer)
            .and_then(Value::as_bool)
            .unwrap_or(false)
    }

    pub(super) fn list(self, pointer: &str) -> &'a [Value] {
        self.0
            .pointer(pointer)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }

    /// The items of a list as objects.
    pub(super) fn objects(self, pointer: &str) -> impl DoubleEndedIterator<Item = Object<'a>> {
        self.list(pointer).iter().map(Object)
    }

    /// Number of entries of an object or list.
    pub(super) fn count(self, pointer: &str) -> usize {
        match self.0.pointer(pointer) {
            Some(Value::Object(map)) => map.len(),
            Some(Value::Array(list)) => list.len(),
            _ => 0,
        }
    }

    pub(super) fn has(self, pointer: &str) -> bool {
        self.0.pointer(pointer).is_some_and(|v| !v.is_null())
    }

    /// Time since the creation.
    pub(super) fn age(self) -> Value {
        json!(duration::since(self.text("/metadata/creationTimestamp")))
    }

    /// Names and images of containers.
    pub(super) fn containers(self, pointer: &str) -> (Value, Value) {
        let join = |field: &str| {
            self.objects(pointer)
                .map(|c| c.text(field))
                .collect::<Vec<_>>()
                .join(",")
        };
        (json!(join("/name")), json!(join("/image")))
    }

    /// A label selector (`metav1.FormatLabelSelector`).
    pub(super) fn selector(self, pointer: &str) -> Value {
        let Some(selector) = self.0.pointer(pointer) else {
            return json!("<none>");
        };
        let selector = Object(selector);
        let mut parts: Vec<(String, String)> = Vec::new();
        if let Some(Value::Object(labels)) = selector.0.pointer("/matchLabels") {
            for (key, value) in labels {
                parts.push((
                    key.clone(),
                    format!("{key}={}", value.as_str().unwrap_or("")),
                ));
            }
        }
        for expression in selector.objects("/matchExpressions") {
            let key = expression.text("/key");
            let mut values: Vec<&str> = expression
                .list("/values")
                .iter()
                .filter_map(Value::as_str)
                .collect();
            values.sort_unstable();
            let values = values.join(",");
            let text = match expression.text("/operator") {
                "In" => format!("{key} in ({values})"),
                "NotIn" => format!("{key} notin ({values})"),
                "Exists" => key.to_owned(),
                "DoesNotExist" => format!("!{key}"),
                _ => return json!("<error>"),
            };
            parts.push((key.to_owned(), text));
        }
        parts.sort_by(|a, b| a.0.cmp(&b.0));
        join_or_none(parts.into_iter().map(|(_, text)| text))
    }

    /// A map of labels (`labels.FormatLabels`).
    pub(super) fn labels(self, pointer: &str) -> Value {
        let Some(Value::Object(map)) = self.0.pointer(pointer) else {
            return json!("<none>");
        };
        let mut parts: Vec<String> = map
            .iter()
            .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")))
            .collect();
        parts.sort();
        join_or_none(parts.into_iter())
    }

    /// The status of a condition, if there is one of this type.
    pub(super) fn condition(self, kind: &str) -> Option<&'a str> {
        self.objects("/status/conditions")
            .find(|c| c.text("/type") == kind)
            .map(|c| c.text("/status"))
    }
}

fn join_or_none(parts: impl Iterator<Item = String>) -> Value {
    let text = parts.collect::<Vec<_>>().join(",");
    json!(if text.is_empty() {
        "<none>".to_owned()
    } else {
        text
    })
}

/// At most `max` entries, and how many more there are.
pub(super) fn shortened(entries: &[String], max: usize, none: &str) -> String {
    if entries.is_empty() {
        return none.to_owned();
    }
    let shown = entries.iter().take(max).cloned().collect::<Vec<_>>();
    let text = shown.join(",");
    if entries.len() > max {
        format!("{text} + {} more...", entries.len() - max)
    } else {
        text
    }
}

/// A value of an `int-or-string` or quantity field.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}
