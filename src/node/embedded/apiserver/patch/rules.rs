//! `x-kubernetes-validations` of custom resources
//! (`apiextensions-apiserver/pkg/apiserver/schema/cel/validation.go`).

use serde_json::{Map, Value, json};

use crate::node::embedded::apiserver::cel::{Budget, Expression, RULE_VARIABLES, Scope};
use crate::node::embedded::apiserver::kinds::FieldError;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::kinds::field::Reason;

use super::custom::join;

/// Checks the rules of a schema and of what is below it.
pub(super) fn check(
    schema: &Value,
    old: Option<&Value>,
    value: &Value,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    Check {
        budget: Budget::default(),
        errors,
    }
    .node(schema, old, value, path);
}

struct Check<'a> {
    budget: Budget,
    errors: &'a mut Vec<FieldError>,
}

impl Check<'_> {
    fn node(&mut self, schema: &Value, old: Option<&Value>, value: &Value, path: &str) {
        if value.is_null() {
            return;
        }
        let rules = items(schema, "/x-kubernetes-validations");
        if !rules.is_empty() {
            let mut scope = Scope::default();
            scope.set("self", &seen(schema, value));
            if let Some(old) = old {
                scope.set("oldSelf", &seen(schema, old));
            }
            let unchanged = old == Some(value);
            for rule in rules {
                let old_seen = old.map(|old| seen(schema, old));
                self.rule(
                    rule,
                    schema,
                    old_seen.as_ref(),
                    (value, path),
                    &scope,
                    unchanged,
                );
            }
        }
        for part in items(schema, "/allOf") {
            self.node(part, old, value, path);
        }
        match value {
            Value::Object(map) => {
                for (name, below) in map {
                    let property = schema
                        .get("properties")
                        .and_then(|properties| properties.get(name));
                    let (schema, path) = match (property, schema.get("additionalProperties")) {
                        (Some(schema), _) => (schema, join(path, name)),
                        (None, Some(schema)) => (schema, format!("{path}[{name}]")),
                        (None, None) => continue,
                    };
                    let old = old.and_then(|old| old.get(name));
                    self.node(schema, old, below, &path);
                }
            }
            Value::Array(list) => {
                if let Some(of_item) = schema.get("items") {
                    for (index, item) in list.iter().enumerate() {
                        let old = old.and_then(|old| correlated(schema, old, item));
                        self.node(of_item, old, item, &format!("{path}[{index}]"));
                    }
                }
            }
            _ => {}
        }
    }

    fn rule(
        &mut self,
        rule: &Value,
        schema: &Value,
        old: Option<&Value>,
        (value, path): (&Value, &str),
        scope: &Scope,
        unchanged: bool,
    ) {
        let text = |field: &str| rule.get(field).and_then(Value::as_str).unwrap_or_default();
        let kind = json!(text_at(schema, "/type"));
        let shown = match text("message").trim() {
            "" => text("rule").trim(),
            message => message,
        };
        let expression = match Expression::compile(text("rule"), &RULE_VARIABLES) {
            Ok(expression) => expression,
            Err(issues) => {
                let text = format!("rule compile error: compilation failed: {issues}");
                self.errors.push(FieldError::invalid(path, &kind, text));
                return;
            }
        };
        let uses_old = expression.names("oldSelf");
        let optional = rule.get("optionalOldSelf") == Some(&Value::Bool(true));
        if uses_old && old.is_none() && !optional {
            return;
        }
        let mut own = scope.clone();
        if optional {
            own.set_optional("oldSelf", old);
        }
        match expression.evaluate(&own, &mut self.budget) {
            Ok(outcome) if outcome.is_true() => {}
            // What was wrong already and has not changed may stay.
            Ok(_) if unchanged && !uses_old => {}
            Ok(_) => {
                let said =
                    self.message(rule, &own)
                        .unwrap_or_else(|| match text("message").trim() {
                            "" => format!("failed rule: {shown}"),
                            message => message.to_owned(),
                        });
                let path = match text("fieldPath") {
                    "" => path.to_owned(),
                    below => join(path, below.trim_start_matches('.')),
                };
                self.errors
                    .push(failed(&path, value, &said, text("reason")));
            }
            Err(why) if why == "no such overload" => {
                let text = format!(
                    "'{why}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
                );
                self.errors.push(FieldError::invalid(path, &kind, text));
            }
            Err(why) if why.starts_with("validation failed due to running out") => {
                self.errors.push(FieldError::invalid(path, &kind, why));
            }
            Err(why) => {
                let text = format!("{why} evaluating rule: {shown}");
                self.errors.push(FieldError::invalid(path, &kind, text));
            }
        }
    }

    /// What `messageExpression` gives, where it gives a message.
    fn message(&mut self, rule: &Value, scope: &Scope) -> Option<String> {
        let text = rule.get("messageExpression").and_then(Value::as_str)?;
        let expression = Expression::compile(text, &RULE_VARIABLES).ok()?;
        let outcome = expression.evaluate(scope, &mut self.budget).ok()?;
        let said = outcome.as_str()?.trim();
        (!said.is_empty() && said.len() <= 5 << 10 && !said.contains('\n')).then(|| said.to_owned())
    }
}

/// The error of a rule that does not hold.
fn failed(path: &str, value: &Value, said: &str, reason: &str) -> FieldError {
    let reason = match reason {
        "FieldValueForbidden" => Reason::Forbidden,
        "FieldValueRequired" => Reason::Required,
        "FieldValueDuplicate" => Reason::Duplicate,
        _ => Reason::Invalid,
    };
    let composite = value.is_object() || value.is_array();
    match reason {
        Reason::Duplicate => FieldError::duplicate(path, value),
        Reason::Invalid if composite => {
            // Composite values are not shown.
            let mut error = FieldError::invalid(path, value, said);
            error.message = format!("Invalid value: {said}");
            error
        }
        reason => FieldError::new(reason, path, value, said),
    }
}

/// The old item with the keys of an item, in lists that have keys.
fn correlated<'v>(schema: &Value, old: &'v Value, item: &Value) -> Option<&'v Value> {
    if text_at(schema, "/x-kubernetes-list-type") != "map" {
        return None;
    }
    let keys = items(schema, "/x-kubernetes-list-map-keys");
    old.as_array()?.iter().find(|before| {
        keys.iter()
            .filter_map(Value::as_str)
            .all(|key| before.get(key) == item.get(key))
    })
}

/// A value as rules see it: what the schema knows, under names that are identifiers, numbers as numbers.
fn seen(schema: &Value, value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let additional = schema.get("additionalProperties");
            let embedded = schema.get("x-kubernetes-embedded-resource") == Some(&Value::Bool(true));
            let kept =
                schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true));
            let any = additional == Some(&Value::Bool(true)) || (kept && properties.is_none());
            let mut out = Map::new();
            for (name, below) in map {
                let property = properties.and_then(|properties| properties.get(name));
                match (property, additional) {
                    (Some(schema), _) => {
                        out.insert(escaped(name), seen(schema, below));
                    }
                    (None, Some(schema @ Value::Object(_))) => {
                        out.insert(name.clone(), seen(schema, below));
                    }
                    _ if any
                        || embedded
                        || matches!(name.as_str(), "apiVersion" | "kind" | "metadata") =>
                    {
                        out.insert(name.clone(), below.clone());
                    }
                    _ => {}
                }
            }
            Value::Object(out)
        }
        Value::Array(list) => {
            let empty = Value::Null;
            let of_item = schema.get("items").unwrap_or(&empty);
            list.iter().map(|item| seen(of_item, item)).collect()
        }
        Value::Number(number) if text_at(schema, "/type") == "number" => {
            number.as_f64().map_or(Value::Null, |number| json!(number))
        }
        other => other.clone(),
    }
}

/// A property as an identifier (`k8s.io/apiserver/pkg/cel/escaping.go`).
fn escaped(name: &str) -> String {
    const RESERVED: [&str; 21] = [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ];
    if RESERVED.contains(&name) {
        return format!("__{name}__");
    }
    name.replace("__", "__underscores__")
        .replace('.', "__dot__")
        .replace('-', "__dash__")
        .replace('/', "__slash__")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(schema: &Value, old: Option<&Value>, value: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        check(schema, old, value, "", &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rules_hold_or_say_what_is_wrong() {
        let schema = json!({"type": "object", "properties": {"spec": {
            "type": "object",
            "x-kubernetes-validations": [
                {"rule": "self.size <= self.max", "message": " size over max "},
                {"rule": "self.names.all(n, n.startsWith('a'))", "fieldPath": ".names"},
                {"rule": "self.size != 3", "messageExpression": "'not ' + string(self.size)", "reason": "FieldValueForbidden"},
            ],
            "properties": {
                "size": {"type": "integer"},
                "max": {"type": "integer"},
                "names": {"type": "array", "items": {"type": "string"}},
                "a-b": {"type": "object", "properties": {"n": {"type": "number",
                    "x-kubernetes-validations": [{"rule": "self + 0.5 < 3.0"}]}}},
            },
        }}});
        let value = |size: i64, names: &[&str]| json!({"spec": {"size": size, "max": 5, "names": names, "a-b": {"n": size}}});
        assert_eq!(said(&schema, None, &value(2, &["a"])), Vec::<String>::new());
        assert_eq!(
            said(&schema, None, &value(3, &["b"])),
            [
                "spec.names: Invalid value: failed rule: self.names.all(n, n.startsWith('a'))",
                "spec: Forbidden: not 3",
                "spec.a-b.n: Invalid value: 3: failed rule: self + 0.5 < 3.0",
            ]
        );
        assert_eq!(
            said(&schema, None, &json!({"spec": {"size": 6, "names": []}})),
            ["spec: Invalid value: \"object\": no such key: max evaluating rule: size over max",]
        );
    }

    #[test]
    fn rules_of_change_need_something_old() {
        let schema = json!({"type": "object", "properties": {
            "name": {"type": "string", "x-kubernetes-validations": [
                {"rule": "self == oldSelf", "message": "immutable"}]},
            "once": {"type": "string", "x-kubernetes-validations": [
                {"rule": "oldSelf.hasValue() || self == 'first'", "optionalOldSelf": true}]},
            "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer",
                    "x-kubernetes-validations": [{"rule": "self >= oldSelf"}]}}}},
            "fixed": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 5"}]},
        }});
        assert_eq!(
            said(&schema, None, &json!({"name": "a", "once": "first"})),
            Vec::<String>::new()
        );
        assert_eq!(
            said(&schema, None, &json!({"once": "x"})),
            ["once: Invalid value: \"x\": failed rule: oldSelf.hasValue() || self == 'first'"]
        );
        let old = json!({"name": "a", "once": "first", "fixed": 1,
            "list": [{"k": "x", "v": 1}, {"k": "y", "v": 9}]});
        let new = json!({"name": "b", "once": "second", "fixed": 1,
            "list": [{"k": "y", "v": 8}, {"k": "x", "v": 1}]});
        assert_eq!(
            said(&schema, Some(&old), &new),
            [
                "name: Invalid value: \"b\": immutable",
                "list[0].v: Invalid value: 8: failed rule: self >= oldSelf",
            ]
        );
    }
}
