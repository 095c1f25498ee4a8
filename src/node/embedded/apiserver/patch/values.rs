//! Values against the schema of a custom resource, as kube-openapi validates them
//! (`kube-openapi/pkg/validation/validate`, `apiextensions-apiserver/pkg/apiserver/validation`).

use std::net::{Ipv4Addr, Ipv6Addr};

use serde_json::{Map, Value, json};

use super::custom::join;
use crate::node::embedded::apiserver::kinds::FieldError;
use crate::node::embedded::apiserver::kinds::field::Reason;

/// Validates an object. What an update leaves as it was is not looked at
/// (`apiextensions-apiserver/pkg/apiserver/validation/ratcheting.go`).
pub(super) fn check(
    schema: &Value,
    old: Option<&Value>,
    object: &Value,
    errors: &mut Vec<FieldError>,
) {
    one(schema, old, object, true, "", errors);
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// The schema of what is at a name.
pub(super) fn below<'s>(schema: &'s Value, name: &str) -> Option<&'s Value> {
    schema
        .get("properties")
        .and_then(|properties| properties.get(name))
        .or_else(|| schema.get("additionalProperties"))
        .filter(|below| below.is_object())
}

fn one(
    schema: &Value,
    old: Option<&Value>,
    value: &Value,
    root: bool,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if !root && old == Some(value) {
        return;
    }
    if value.is_null() && flag(schema, "nullable") {
        return;
    }
    let wanted = schema.get("type").and_then(Value::as_str).unwrap_or("");
    let given = type_of(value);
    let int_or_string = flag(schema, "x-kubernetes-int-or-string");
    let fits = if int_or_string {
        matches!(given, "integer" | "string")
    } else {
        let whole = wanted == "integer" && value.as_f64().is_some_and(|have| have.fract() == 0.0);
        wanted.is_empty() || wanted == given || whole || wanted == "number" && given == "integer"
    };
    if !fits {
        let wanted = if int_or_string {
            "integer,string"
        } else {
            wanted
        };
        errors.push(FieldError::new(
            Reason::TypeInvalid,
            path,
            &json!(given),
            format!("{path} in body must be of type {wanted}: {given:?}"),
        ));
        return;
    }
    combined(schema, value, path, errors);
    match value {
        Value::Object(map) => object(schema, old, map, root, path, errors),
        Value::Array(list) => array(schema, old, list, path, errors),
        Value::Number(_) => number(schema, value, path, errors),
        Value::String(content) => text(schema, content, path, errors),
        _ => {}
    }
    if let Some(allowed) = schema.get("enum").and_then(Value::as_array)
        && !allowed.contains(value)
    {
        let shown: Vec<String> = allowed
            .iter()
            .map(|one| one.as_str().map_or_else(|| one.to_string(), str::to_owned))
            .collect();
        let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
        errors.push(FieldError::not_supported(path, value, &shown));
    }
}

/// `anyOf`, `oneOf`, `allOf` and `not`, whose own messages name no field.
fn combined(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let said = |text: String| FieldError::invalid("<nil>", &json!(""), text);
    let tried = |key: &str| -> Vec<Vec<FieldError>> {
        let all = schema.get(key).and_then(Value::as_array);
        let each = all.into_iter().flatten().map(|one_of_them| {
            let mut found = Vec::new();
            one(one_of_them, None, value, false, path, &mut found);
            found
        });
        each.collect()
    };
    let any = tried("anyOf");
    if !any.is_empty() && !any.iter().any(Vec::is_empty) {
        errors.push(said(format!(
            "{path:?} must validate at least one schema (anyOf)"
        )));
        errors.extend(any.into_iter().next().unwrap_or_default());
    }
    let exactly = tried("oneOf");
    let valid = exactly.iter().filter(|found| found.is_empty()).count();
    if !exactly.is_empty() && valid != 1 {
        let how = if valid == 0 {
            "Found none valid".to_owned()
        } else {
            format!("Found {valid} valid alternatives")
        };
        errors.push(said(format!(
            "{path:?} must validate one and only one schema (oneOf). {how}"
        )));
        if valid == 0 {
            errors.extend(exactly.into_iter().next().unwrap_or_default());
        }
    }
    let all = tried("allOf");
    let valid = all.iter().filter(|found| found.is_empty()).count();
    if valid != all.len() {
        let how = if valid == 0 { ". None validated" } else { "" };
        errors.extend(all.into_iter().flatten());
        errors.push(said(format!(
            "{path:?} must validate all the schemas (allOf){how}"
        )));
    }
    if let Some(not) = schema.get("not").filter(|not| not.is_object()) {
        let mut found = Vec::new();
        one(not, None, value, false, path, &mut found);
        if found.is_empty() {
            errors.push(said(format!("{path:?} must not validate the schema (not)")));
        }
    }
}

fn limit(schema: &Value, key: &str) -> Option<usize> {
    let most = schema.get(key).and_then(Value::as_u64)?;
    usize::try_from(most).ok()
}

fn too_many(path: &str, have: usize, most: usize) -> FieldError {
    let items = if most == 1 { "item" } else { "items" };
    let text = format!("must have at most {most} {items}");
    FieldError::new(Reason::TooMany, path, &json!(have), text)
}

fn object(
    schema: &Value,
    old: Option<&Value>,
    map: &Map<String, Value>,
    root: bool,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if let Some(least) = limit(schema, "minProperties").filter(|least| map.len() < *least) {
        let text = format!("{path} in body should have at least {least} properties");
        errors.push(FieldError::invalid(path, &json!(map.len()), text));
    }
    if let Some(most) = limit(schema, "maxProperties").filter(|most| map.len() > *most) {
        errors.push(too_many(path, map.len(), most));
    }
    for name in schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
    {
        if map.get(name).is_none_or(Value::is_null) {
            errors.push(FieldError::required(join(path, name), ""));
        }
    }
    for (name, value) in map {
        if root && matches!(name.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        if let Some(below) = below(schema, name) {
            let old = old.and_then(|old| old.get(name));
            one(below, old, value, false, &join(path, name), errors);
        }
    }
}

fn array(
    schema: &Value,
    old: Option<&Value>,
    list: &[Value],
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    if let Some(least) = limit(schema, "minItems").filter(|least| list.len() < *least) {
        let text = format!("{path} in body should have at least {least} items");
        errors.push(FieldError::invalid(path, &json!(list.len()), text));
    }
    if let Some(most) = limit(schema, "maxItems").filter(|most| list.len() > *most) {
        errors.push(too_many(path, list.len(), most));
    }
    let Some(items) = schema.get("items") else {
        return;
    };
    let keyed = schema.get("x-kubernetes-list-type").and_then(Value::as_str) == Some("map");
    let before = old.and_then(Value::as_array).filter(|_| keyed);
    for (index, item) in list.iter().enumerate() {
        let own = identity(schema, item);
        let old =
            before.and_then(|before| before.iter().find(|other| identity(schema, other) == own));
        one(items, old, item, false, &format!("{path}[{index}]"), errors);
    }
}

fn number(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let have = value.as_f64().unwrap_or(0.0);
    let bound = |key: &str| schema.get(key).filter(|bound| bound.is_number());
    let mut wrong = |text: String| errors.push(FieldError::invalid(path, value, text));
    if let Some(step) = bound("multipleOf") {
        let times = have / step.as_f64().unwrap_or(1.0);
        if (times - times.round()).abs() > 1e-9 {
            wrong(format!("{path} in body should be a multiple of {step}"));
        }
    }
    if let Some(most) = bound("maximum") {
        let exclusive = flag(schema, "exclusiveMaximum");
        let limit = most.as_f64().unwrap_or(f64::INFINITY);
        if have > limit || exclusive && have >= limit {
            let or = if exclusive { "" } else { " or equal to" };
            wrong(format!("{path} in body should be less than{or} {most}"));
        }
    }
    if let Some(least) = bound("minimum") {
        let exclusive = flag(schema, "exclusiveMinimum");
        let limit = least.as_f64().unwrap_or(f64::NEG_INFINITY);
        if have < limit || exclusive && have <= limit {
            let or = if exclusive { "" } else { " or equal to" };
            wrong(format!("{path} in body should be greater than{or} {least}"));
        }
    }
}

fn text(schema: &Value, content: &str, path: &str, errors: &mut Vec<FieldError>) {
    let length = content.chars().count();
    let pattern = schema.get("pattern").and_then(Value::as_str).unwrap_or("");
    let matches = || {
        let known = regex::Regex::new(&ascii_classes(pattern));
        pattern.is_empty() || known.map_or(true, |known| known.is_match(content))
    };
    // Only the first that is wrong is told.
    if let Some(most) = limit(schema, "maxLength").filter(|most| length > *most) {
        errors.push(FieldError::too_long(path, most));
    } else if let Some(least) = limit(schema, "minLength").filter(|least| length < *least) {
        let text = format!("{path} in body should be at least {least} chars long");
        errors.push(FieldError::invalid(path, &json!(content), text));
    } else if !matches() {
        let text = format!("{path} in body should match '{pattern}'");
        errors.push(FieldError::invalid(path, &json!(content), text));
    }
    let format = schema.get("format").and_then(Value::as_str).unwrap_or("");
    if !is_of(format, content) {
        errors.push(FieldError::new(
            Reason::TypeInvalid,
            path,
            &json!(content),
            format!("{path} in body must be of type {format}: {content:?}"),
        ));
    }
}

/// Go's `\d`, `\w` and `\s` are ASCII.
fn ascii_classes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('d') => out.push_str("[0-9]"),
            Some('D') => out.push_str("[^0-9]"),
            Some('w') => out.push_str("[0-9A-Za-z_]"),
            Some('W') => out.push_str("[^0-9A-Za-z_]"),
            Some('s') => out.push_str("[\\t\\n\\x0C\\r ]"),
            Some('S') => out.push_str("[^\\t\\n\\x0C\\r ]"),
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    out
}

/// Whether a text is of a format; what other formats there are is not looked at.
fn is_of(format: &str, content: &str) -> bool {
    match format {
        "date-time" | "datetime" => content.parse::<jiff::Timestamp>().is_ok(),
        "date" => content.parse::<jiff::civil::Date>().is_ok() && content.len() == 10,
        "ipv4" => content.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => content.parse::<Ipv6Addr>().is_ok(),
        "cidr" => content.split_once('/').is_some_and(|(ip, bits)| {
            let most = match ip.parse() {
                Ok(std::net::IpAddr::V4(_)) => 32,
                Ok(std::net::IpAddr::V6(_)) => 128,
                Err(_) => return false,
            };
            bits.parse::<u8>().is_ok_and(|bits| bits <= most)
        }),
        "uuid" => uuid::Uuid::try_parse(content).is_ok(),
        "byte" => {
            use base64::Engine as _;
            let coder = base64::engine::general_purpose::STANDARD;
            coder.decode(content).is_ok()
        }
        _ => true,
    }
}

/// What makes an item of a set or a keyed list the one it is.
fn identity(schema: &Value, item: &Value) -> Option<Value> {
    match schema.get("x-kubernetes-list-type").and_then(Value::as_str) {
        Some("set") => Some(item.clone()),
        Some("map") => {
            let keys = schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array);
            let mut own = Map::new();
            for name in keys.into_iter().flatten().filter_map(Value::as_str) {
                if let Some(value) = item.get(name) {
                    own.insert(name.to_owned(), value.clone());
                }
            }
            Some(Value::Object(own))
        }
        _ => None,
    }
}

/// Items of sets and keyed lists must differ
/// (`apiextensions-apiserver/pkg/apiserver/schema/listtype/validation.go`).
pub(super) fn duplicates(schema: &Value, value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                if let Some(below) = below(schema, name) {
                    duplicates(below, value, &join(path, name), errors);
                }
            }
        }
        Value::Array(list) => {
            let mut seen = std::collections::HashSet::new();
            for (index, item) in list.iter().enumerate() {
                let path = format!("{path}[{index}]");
                if let Some(items) = schema.get("items") {
                    duplicates(items, item, &path, errors);
                }
                if let Some(own) = identity(schema, item)
                    && !seen.insert(own.to_string())
                {
                    errors.push(FieldError::duplicate(path, &own));
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(schema: &Value, old: Option<&Value>, value: &Value) -> Vec<String> {
        let wrap = |value: &Value| json!({ "x": value });
        let schema = json!({"type": "object", "properties": {"x": schema}});
        let mut errors = Vec::new();
        check(&schema, old.map(wrap).as_ref(), &wrap(value), &mut errors);
        duplicates(&schema, &wrap(value), "", &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn values_are_measured() {
        let cases = [
            (
                json!({"type": "string", "pattern": "^\\d+$"}),
                json!("a"),
                r#"x: Invalid value: "a": x in body should match '^\d+$'"#,
            ),
            (
                json!({"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 1}),
                json!({"a": "", "b": ""}),
                "x: Too many: 2: must have at most 1 item",
            ),
            (
                json!({"type": "object", "minProperties": 1}),
                json!({}),
                "x: Invalid value: 0: x in body should have at least 1 properties",
            ),
            (
                json!({"type": "array", "maxItems": 2, "items": {"type": "integer"}}),
                json!([1, 2, 3]),
                "x: Too many: 3: must have at most 2 items",
            ),
            (
                json!({"type": "integer", "multipleOf": 5}),
                json!(7),
                "x: Invalid value: 7: x in body should be a multiple of 5",
            ),
            (
                json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true}),
                json!(1),
                "x: Invalid value: 1: x in body should be greater than 1",
            ),
            (
                json!({"type": "integer", "maximum": 3}),
                json!(4),
                "x: Invalid value: 4: x in body should be less than or equal to 3",
            ),
            (
                json!({"type": "integer", "enum": [1, 2]}),
                json!(3),
                r#"x: Unsupported value: 3: supported values: "1", "2""#,
            ),
            (
                json!({"type": "string", "format": "ipv4"}),
                json!("::1"),
                r#"x: Invalid value: "::1": x in body must be of type ipv4: "::1""#,
            ),
            (
                json!({"type": "string", "not": {"enum": ["a"]}}),
                json!("a"),
                r#"<nil>: Invalid value: "": "x" must not validate the schema (not)"#,
            ),
            (
                json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}}),
                json!([1, 1]),
                "x[1]: Duplicate value: 1",
            ),
        ];
        for (schema, value, text) in cases {
            assert_eq!(said(&schema, None, &value), [text], "{schema}");
        }
    }

    #[test]
    fn one_of_several_schemas_must_fit() {
        let schema = json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}]});
        assert_eq!(
            said(&schema, None, &json!({})),
            [
                r#"<nil>: Invalid value: "": "x" must validate one and only one schema (oneOf). Found none valid"#,
                "x.a: Required value",
            ]
        );
        assert_eq!(
            said(&schema, None, &json!({"a": 1, "b": 1})),
            [
                r#"<nil>: Invalid value: "": "x" must validate one and only one schema (oneOf). Found 2 valid alternatives"#
            ]
        );
        assert_eq!(said(&schema, None, &json!({"b": 1})), Vec::<String>::new());
    }

    #[test]
    fn what_an_update_leaves_alone_is_not_looked_at() {
        let schema = json!({"type": "object", "properties": {"a": {"type": "integer", "maximum": 3}, "b": {"type": "integer"}}});
        let old = json!({"a": 9, "b": 1});
        let new = json!({"a": 9, "b": 2});
        assert_eq!(said(&schema, Some(&old), &new), Vec::<String>::new());
        assert_eq!(said(&schema, None, &new).len(), 1);
    }
}
