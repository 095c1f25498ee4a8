//! `x-kubernetes-validations`: the small part of CEL that compares fields. Rules beyond it are not checked.

use serde_json::{Value, json};

use crate::node::embedded::apiserver::kinds::FieldError;

/// Checks the rules of a schema and of what is below it.
pub(super) fn check(
    schema: &Value,
    old: Option<&Value>,
    value: &Value,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    for rule in schema
        .get("x-kubernetes-validations")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        let text = |field: &str| rule.get(field).and_then(Value::as_str).unwrap_or("");
        let scope = Scope { old, value };
        if let Some(false) = scope.holds(text("rule")) {
            let message = match text("message") {
                "" => format!("failed rule: {}", text("rule").trim()),
                message => message.to_owned(),
            };
            let mut error = FieldError::invalid(path, value, message.clone());
            if value.is_object() || value.is_array() {
                // Composite values are not shown.
                error.message = format!("Invalid value: {message}");
            }
            errors.push(error);
        }
    }
    match value {
        Value::Object(map) => {
            for (name, below) in map {
                let schema = schema
                    .get("properties")
                    .and_then(|properties| properties.get(name))
                    .or_else(|| schema.get("additionalProperties"));
                if let Some(schema) = schema {
                    let path = if path.is_empty() {
                        name.clone()
                    } else {
                        format!("{path}.{name}")
                    };
                    let old = old.and_then(|old| old.get(name));
                    check(schema, old, below, &path, errors);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for (index, item) in list.iter().enumerate() {
                    check(items, None, item, &format!("{path}[{index}]"), errors);
                }
            }
        }
        _ => {}
    }
}

struct Scope<'a> {
    old: Option<&'a Value>,
    value: &'a Value,
}

impl Scope<'_> {
    /// Whether a rule holds; `None` when it cannot be decided here.
    fn holds(&self, rule: &str) -> Option<bool> {
        let rule = rule.trim();
        if rule.contains("oldSelf") && self.old.is_none() {
            return None;
        }
        if let Some((left, right)) = rule.split_once("||") {
            return match (self.holds(left), self.holds(right)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
        }
        if let Some((left, right)) = rule.split_once("&&") {
            return match (self.holds(left), self.holds(right)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
        }
        for operator in ["<=", ">=", "==", "!=", "<", ">"] {
            if let Some((left, right)) = rule.split_once(operator) {
                return compare(&self.operand(left)?, operator, &self.operand(right)?);
            }
        }
        if let Some(inner) = rule.strip_prefix('!') {
            return self.holds(inner).map(|held| !held);
        }
        self.operand(rule)?.as_bool()
    }

    fn operand(&self, text: &str) -> Option<Value> {
        let text = text.trim();
        if let Ok(number) = text.parse::<i64>() {
            return Some(json!(number));
        }
        for quote in ['\'', '"'] {
            if let Some(inner) = text
                .strip_prefix(quote)
                .and_then(|rest| rest.strip_suffix(quote))
            {
                return Some(json!(inner));
            }
        }
        if let Some(inner) = call(text, "size") {
            return match self.operand(inner)? {
                Value::String(text) => Some(json!(text.chars().count())),
                Value::Array(list) => Some(json!(list.len())),
                Value::Object(map) => Some(json!(map.len())),
                _ => None,
            };
        }
        if let Some(inner) = call(text, "has") {
            return Some(json!(self.path(inner).is_some()));
        }
        match text {
            "true" => Some(json!(true)),
            "false" => Some(json!(false)),
            _ => self.path(text).cloned(),
        }
    }

    fn path(&self, text: &str) -> Option<&Value> {
        let mut names = text.trim().split('.');
        let mut value = match names.next()? {
            "self" => self.value,
            "oldSelf" => self.old?,
            _ => return None,
        };
        for name in names {
            value = value.get(name)?;
        }
        Some(value)
    }
}

fn call<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.strip_prefix(name)?
        .strip_prefix('(')?
        .strip_suffix(')')
}

fn compare(left: &Value, operator: &str, right: &Value) -> Option<bool> {
    match operator {
        "==" => return Some(left == right),
        "!=" => return Some(left != right),
        _ => {}
    }
    let order = match (left, right) {
        (Value::Number(a), Value::Number(b)) => a.as_f64()?.partial_cmp(&b.as_f64()?)?,
        (Value::String(a), Value::String(b)) => a.cmp(b),
        _ => return None,
    };
    Some(match operator {
        "<=" => order.is_le(),
        ">=" => order.is_ge(),
        "<" => order.is_lt(),
        _ => order.is_gt(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn simple_rules_are_decided_and_others_left_alone() {
        let value = json!({"size": 3, "max": 8, "name": "x"});
        let scope = Scope {
            old: Some(&json!({"size": 2})),
            value: &value,
        };
        assert_eq!(scope.holds("self.size <= self.max"), Some(true));
        assert_eq!(
            scope.holds("self.size > self.max || has(self.none)"),
            Some(false)
        );
        assert_eq!(scope.holds("self.size == oldSelf.size"), Some(false));
        assert_eq!(
            scope.holds("size(self.name) == 1 && self.name == 'x'"),
            Some(true)
        );
        assert_eq!(scope.holds("self.items.all(i, i > 2)"), None);
    }
}
