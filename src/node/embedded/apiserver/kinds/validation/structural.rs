//! Schemas of custom resources: what a schema may say, and that it is structural
//! (`apiextensions-apiserver/pkg/apiserver/schema/validation.go`, `pkg/apis/apiextensions/validation`).

use serde_json::Value;

use super::Errors;
use crate::node::embedded::apiserver::cel::{Expression, RULE_VARIABLES};
use crate::node::embedded::apiserver::kinds::FieldError;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::yaml::go::quote;

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
/// Where a schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Root,
    Field,
    Item,
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

/// The schema of a version; `path` is that of the object around it.
pub(super) fn schema(schema: Option<&Value>, path: &str, has_status: bool, e: &mut Errors) {
    let Some(schema) = schema.filter(|schema| schema.is_object()) else {
        return;
    };
    let path = format!("{path}.openAPIV3Schema");
    if has_status && text_at(schema, "/type") != "object" && schema.get("type").is_some() {
        e.invalid(
            &format!("{path}.type"),
            &text_at(schema, "/type").into(),
            "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled",
        );
    }
    if flag(schema, "nullable") {
        e.forbidden(
            &format!("{path}.nullable"),
            "nullable cannot be true at the root",
        );
    }
    let mut found = Errors::default();
    structure(schema, Place::Root, &path, &mut found);
    let mut found = found.0;
    found.sort_by_key(ToString::to_string);
    for error in found {
        e.push(error);
    }
    words(schema, true, false, &path, e);
}

/// The invariants of a structural schema.
fn structure(schema: &Value, place: Place, path: &str, e: &mut Errors) {
    let ty = text_at(schema, "/type");
    match schema.get("items").filter(|items| items.is_object()) {
        None if ty == "array" => e.required(&format!("{path}.items"), "must be specified"),
        None => {}
        Some(items) => structure(items, Place::Item, &format!("{path}.items"), e),
    }
    for (name, property) in object(schema, "properties") {
        structure(
            property,
            Place::Field,
            &format!("{path}.properties[{name}]"),
            e,
        );
    }
    if let Some(additional) = schema.get("additionalProperties") {
        let path = format!("{path}.additionalProperties");
        if place == Place::Root {
            e.forbidden(&path, "must not be used at the root");
        }
        if additional.is_object() {
            structure(additional, Place::Field, &path, e);
        }
    }
    let int_or_string = flag(schema, "x-kubernetes-int-or-string");
    let embedded = flag(schema, "x-kubernetes-embedded-resource");
    let preserves = flag(schema, "x-kubernetes-preserve-unknown-fields");
    for (key, set) in [
        ("x-kubernetes-preserve-unknown-fields", preserves),
        ("x-kubernetes-embedded-resource", embedded),
    ] {
        if int_or_string && set {
            e.invalid(
                &format!("{path}.{key}"),
                &true.into(),
                "must be false if x-kubernetes-int-or-string is true",
            );
        }
    }
    values(schema, path, e);
    let type_path = format!("{path}.type");
    if embedded && ty != "object" {
        let text = "must be object if x-kubernetes-embedded-resource is true";
        if ty.is_empty() {
            e.required(&type_path, text);
        } else {
            e.invalid(&type_path, &ty.into(), text);
        }
    } else if ty.is_empty() && !int_or_string && !preserves {
        e.required(
            &type_path,
            match place {
                Place::Root => "must not be empty at the root",
                Place::Item => "must not be empty for specified array items",
                Place::Field => "must not be empty for specified object fields",
            },
        );
    }
    if embedded && schema.get("additionalProperties").is_some() {
        e.forbidden(
            &format!("{path}.additionalProperties"),
            "must not be used if x-kubernetes-embedded-resource is set",
        );
    }
    if place == Place::Root && !ty.is_empty() && ty != "object" {
        e.invalid(&type_path, &ty.into(), "must be object at the root");
    }
    metadata(schema, place, embedded, path, e);
    if embedded && !preserves && object(schema, "properties").next().is_none() {
        e.required(
            &format!("{path}.properties"),
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        );
    }
}

/// What a schema may say about the parts every object has.
fn metadata(schema: &Value, place: Place, embedded: bool, path: &str, e: &mut Errors) {
    let checked = place == Place::Root || embedded;
    for name in ["kind", "apiVersion"] {
        if let Some(property) = schema
            .pointer(&format!("/properties/{name}"))
            .filter(|_| checked)
            && text_at(property, "/type") != "string"
        {
            e.invalid(
                &format!("{path}.properties[{name}].type"),
                &text_at(property, "/type").into(),
                "must be string",
            );
        }
    }
    let Some(metadata) = schema.pointer("/properties/metadata") else {
        return;
    };
    let path = format!("{path}.properties[metadata]");
    if checked && text_at(metadata, "/type") != "object" {
        e.invalid(
            &format!("{path}.type"),
            &text_at(metadata, "/type").into(),
            "must be object",
        );
    }
    let only_names = object(metadata, "properties")
        .all(|(name, _)| matches!(name.as_str(), "name" | "generateName"));
    let more = metadata.as_object().is_some_and(|fields| {
        fields
            .keys()
            .any(|key| !matches!(key.as_str(), "type" | "properties" | "default"))
    });
    if place == Place::Root && (!only_names || more) {
        e.forbidden(
            &path,
            "must not specify anything other than name and generateName, but metadata is implicitly specified",
        );
    }
}

/// Value validations, and those nested in them.
fn values(schema: &Value, path: &str, e: &mut Errors) {
    let int_or_string = |list: &[Value]| {
        list.len() == 2
            && list.iter().zip(["integer", "string"]).all(|(one, ty)| {
                one.as_object().is_some_and(|o| o.len() == 1) && text_at(one, "/type") == ty
            })
    };
    let any = items(schema, "/anyOf");
    if !int_or_string(any) {
        for (at, one) in any.iter().enumerate() {
            nested(one, &format!("{path}.anyOf[{at}]"), e);
        }
    }
    for (at, one) in items(schema, "/allOf").iter().enumerate() {
        if at == 0 && int_or_string(items(one, "/anyOf")) {
            continue;
        }
        nested(one, &format!("{path}.allOf[{at}]"), e);
    }
    for (at, one) in items(schema, "/oneOf").iter().enumerate() {
        nested(one, &format!("{path}.oneOf[{at}]"), e);
    }
    if let Some(not) = schema.get("not").filter(|not| not.is_object()) {
        nested(not, &format!("{path}.not"), e);
    }
    let pattern = text_at(schema, "/pattern");
    if !pattern.is_empty()
        && let Err(error) = regex::Regex::new(pattern)
    {
        e.invalid(
            &format!("{path}.pattern"),
            &pattern.into(),
            format!(
                "must be a valid regular expression, but isn't: error parsing regexp: {}",
                go_error(pattern, &error)
            ),
        );
    }
}

/// The words of Go's parser for the mistakes that occur in practice.
fn go_error(pattern: &str, error: &regex::Error) -> String {
    let text = error.to_string();
    if text.contains("unclosed group") {
        format!("missing closing ): `{pattern}`")
    } else if text.contains("unopened group") {
        format!("unexpected ): `{pattern}`")
    } else if text.contains("unclosed character class") {
        let from = pattern.rfind('[').unwrap_or(0);
        format!(
            "missing closing ]: `{}`",
            pattern.get(from..).unwrap_or(pattern)
        )
    } else if text.contains("repetition operator missing expression") {
        let operator = pattern
            .chars()
            .find(|c| matches!(c, '*' | '+' | '?'))
            .unwrap_or('*');
        format!("missing argument to repetition operator: `{operator}`")
    } else if text.contains("look-around") {
        let from = pattern.find("(?").unwrap_or(0);
        format!(
            "invalid or unsupported Perl syntax: `{}`",
            pattern.get(from..from + 3).unwrap_or("(?")
        )
    } else {
        format!("invalid escape sequence: `{pattern}`")
    }
}

fn nested(schema: &Value, path: &str, e: &mut Errors) {
    values(schema, path, e);
    if let Some(items) = schema.get("items").filter(|items| items.is_object()) {
        nested(items, &format!("{path}.items"), e);
    }
    for (name, property) in object(schema, "properties") {
        nested(property, &format!("{path}.properties[{name}]"), e);
    }
    for (key, text) in [
        ("type", "must be empty to be structural"),
        ("additionalProperties", "must be undefined to be structural"),
        ("default", "must be undefined to be structural"),
        ("title", "must be empty to be structural"),
        ("description", "must be empty to be structural"),
        ("nullable", "must be false to be structural"),
        (
            "x-kubernetes-preserve-unknown-fields",
            "must be false to be structural",
        ),
        (
            "x-kubernetes-embedded-resource",
            "must be false to be structural",
        ),
        (
            "x-kubernetes-int-or-string",
            "must be false to be structural",
        ),
        (
            "x-kubernetes-list-map-keys",
            "must be empty to be structural",
        ),
        (
            "x-kubernetes-list-type",
            "must be undefined to be structural",
        ),
        (
            "x-kubernetes-map-type",
            "must be undefined to be structural",
        ),
        ("x-kubernetes-validations", "must be empty to be structural"),
    ] {
        let set = schema
            .get(key)
            .is_some_and(|value| !value.is_null() && *value != Value::Bool(false) && value != "");
        if set {
            e.forbidden(&format!("{path}.{key}"), text);
        }
    }
    if schema.pointer("/properties/metadata").is_some() {
        e.forbidden(
            &format!("{path}.properties[metadata]"),
            "must not be specified in a nested context",
        );
    }
}

/// What OpenAPI allows and Kubernetes understands (`ValidateCustomResourceDefinitionOpenAPISchema`).
fn words(schema: &Value, root: bool, in_metadata: bool, path: &str, e: &mut Errors) {
    let ty = text_at(schema, "/type");
    if !ty.is_empty() && !TYPES.contains(&ty) {
        e.not_supported(&format!("{path}.type"), &ty.into(), &TYPES);
    }
    if in_metadata && schema.get("default").is_some() {
        e.forbidden(
            &format!("{path}.default"),
            "must not be set in top-level metadata",
        );
    }
    for key in [
        "id",
        "additionalItems",
        "patternProperties",
        "definitions",
        "dependencies",
        "$ref",
    ] {
        if schema
            .get(key)
            .is_some_and(|value| !value.is_null() && value != "")
        {
            e.forbidden(&format!("{path}.{key}"), format!("{key} is not supported"));
        }
    }
    if ty == "null" {
        e.forbidden(
            &format!("{path}.type"),
            "type cannot be set to null, use nullable as an alternative",
        );
    }
    if schema.get("items").is_some_and(Value::is_array) {
        e.forbidden(
            &format!("{path}.items"),
            "items must be a schema object and not an array",
        );
    }
    if flag(schema, "uniqueItems") {
        e.forbidden(
            &format!("{path}.uniqueItems"),
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
        );
    }
    if let Some(additional) = schema.get("additionalProperties") {
        let path = format!("{path}.additionalProperties");
        let says = additional.is_object() || *additional == Value::Bool(false);
        if says && object(schema, "properties").next().is_some() {
            e.forbidden(
                &path,
                "additionalProperties and properties are mutual exclusive",
            );
        }
        if additional.is_object() {
            words(additional, false, in_metadata, &path, e);
        }
    }
    for (name, property) in object(schema, "properties") {
        let meta = root && matches!(name.as_str(), "metadata" | "kind" | "apiVersion");
        words(
            property,
            false,
            in_metadata || meta,
            &format!("{path}.properties[{name}]"),
            e,
        );
    }
    for list in ["allOf", "oneOf", "anyOf"] {
        for (at, one) in items(schema, &format!("/{list}")).iter().enumerate() {
            words(one, false, in_metadata, &format!("{path}.{list}[{at}]"), e);
        }
    }
    for key in ["not", "items"] {
        if let Some(below) = schema.get(key).filter(|below| below.is_object()) {
            words(below, false, in_metadata, &format!("{path}.{key}"), e);
        }
    }
    extensions(schema, ty, path, e);
    rules(schema, path, e);
}

fn extensions(schema: &Value, ty: &str, path: &str, e: &mut Errors) {
    if schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(false)) {
        e.invalid(
            &format!("{path}.x-kubernetes-preserve-unknown-fields"),
            &false.into(),
            "must be true or undefined",
        );
    }
    for (key, wanted, values) in [
        (
            "x-kubernetes-map-type",
            "object",
            &["atomic", "granular"][..],
        ),
        (
            "x-kubernetes-list-type",
            "array",
            &["atomic", "set", "map"][..],
        ),
    ] {
        let Some(own) = schema.get(key).and_then(Value::as_str) else {
            continue;
        };
        let text = format!("must be {wanted} if {key} is specified");
        if ty.is_empty() {
            e.required(&format!("{path}.type"), &text);
        } else if ty != wanted {
            e.invalid(&format!("{path}.type"), &ty.into(), text);
        }
        if !values.contains(&own) {
            e.push(FieldError::not_supported(
                format!("{path}.{key}"),
                &own.into(),
                values,
            ));
        }
    }
    let kind = schema.get("x-kubernetes-list-type").and_then(Value::as_str);
    let keys = items(schema, "/x-kubernetes-list-map-keys");
    let text = "must be map if x-kubernetes-list-map-keys is non-empty";
    match kind {
        None if !keys.is_empty() => e.required(&format!("{path}.x-kubernetes-list-type"), text),
        Some(own) if !keys.is_empty() && own != "map" => {
            e.invalid(&format!("{path}.x-kubernetes-list-type"), &own.into(), text);
        }
        Some("map") => map_list(schema, keys, path, e),
        _ => {}
    }
}

fn map_list(schema: &Value, keys: &[Value], path: &str, e: &mut Errors) {
    if keys.is_empty() {
        e.required(
            &format!("{path}.x-kubernetes-list-map-keys"),
            "must not be empty if x-kubernetes-list-type is map",
        );
    }
    let Some(item) = schema.get("items").filter(|items| items.is_object()) else {
        e.required(
            &format!("{path}.items"),
            "must have a schema if x-kubernetes-list-type is map",
        );
        return;
    };
    let ty = text_at(item, "/type");
    if ty != "object" {
        e.invalid(
            &format!("{path}.items.type"),
            &ty.into(),
            "must be object if parent array's x-kubernetes-list-type is map",
        );
        return;
    }
    let shown = Value::from(keys.to_vec());
    for (at, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        let property = item.get("properties").and_then(|all| all.get(name));
        match property.map(|property| text_at(property, "/type")) {
            None => e.invalid(
                &format!("{path}.x-kubernetes-list-map-keys"),
                &shown,
                "entries must all be names of item properties",
            ),
            Some("array" | "object") => e.invalid(
                &format!("{path}.items.properties[{name}].type"),
                &ty.into(),
                "must be a scalar type if parent array's x-kubernetes-list-type is map",
            ),
            Some(_) => {}
        }
        if keys.iter().take(at).any(|other| other == key) {
            e.invalid(
                &format!("{path}.x-kubernetes-list-map-keys"),
                &shown,
                "must not contain duplicate entries",
            );
        }
        let required = items(item, "/required").contains(key)
            || property.is_some_and(|property| property.get("default").is_some());
        if property.is_some() && !required {
            e.required(
                &format!("{path}.items.properties[{name}].default"),
                "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            );
        }
        if property.is_some_and(|property| flag(property, "nullable")) {
            e.forbidden(
                &format!("{path}.items.properties[{name}].nullable"),
                "this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
            );
        }
    }
}

/// `x-kubernetes-validations`; types of expressions are not checked.
fn rules(schema: &Value, path: &str, e: &mut Errors) {
    for (at, rule) in items(schema, "/x-kubernetes-validations")
        .iter()
        .enumerate()
    {
        let path = format!("{path}.x-kubernetes-validations[{at}]");
        let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default();
        let breaks = |text: &str| text.contains(['\n', '\r']);
        let (own, message) = (text("rule").trim(), text("message"));
        if own.is_empty() {
            e.required(&format!("{path}.rule"), "rule is not specified");
        } else if !message.is_empty() && message.trim().is_empty() {
            e.invalid(
                &format!("{path}.message"),
                &message.into(),
                "must be non-empty if specified",
            );
        } else if breaks(message.trim()) {
            e.invalid(
                &format!("{path}.message"),
                &message.into(),
                "must not contain line breaks",
            );
        } else if breaks(own) && message.is_empty() {
            e.required(
                &format!("{path}.message"),
                "message must be specified if rule contains line breaks",
            );
        }
        for key in ["rule", "messageExpression"] {
            if !text(key).trim().is_empty()
                && let Err(issues) = Expression::compile(text(key), &RULE_VARIABLES)
            {
                e.push(FieldError {
                    field: format!("{path}.{key}"),
                    reason: "FieldValueInvalid",
                    message: format!(
                        "Invalid value: {}: compilation failed: {issues}",
                        shown_rule(rule)
                    ),
                });
            }
        }
        let reasons = [
            "FieldValueDuplicate",
            "FieldValueForbidden",
            "FieldValueInvalid",
            "FieldValueRequired",
        ];
        if let Some(reason) = rule.get("reason").and_then(Value::as_str)
            && !reasons.contains(&reason)
        {
            e.not_supported(&format!("{path}.reason"), &reason.into(), &reasons);
        }
    }
}

/// A rule as Go prints the structure (`%#v`).
fn shown_rule(rule: &Value) -> String {
    let text = |key: &str| quote(rule.get(key).and_then(Value::as_str).unwrap_or_default());
    // Pointers are shown as addresses, which nobody can foretell.
    let pointer = |key: &str, kind: &str| match rule.get(key) {
        None | Some(Value::Null) => format!("({kind})(nil)"),
        Some(_) => format!("({kind})(0xc000000000)"),
    };
    format!(
        "apiextensions.ValidationRule{{Rule:{}, Message:{}, MessageExpression:{}, Reason:{}, FieldPath:{}, OptionalOldSelf:{}}}",
        text("rule"),
        text("message"),
        text("messageExpression"),
        pointer("reason", "*apiextensions.FieldValueErrorReason"),
        text("fieldPath"),
        pointer("optionalOldSelf", "*bool"),
    )
}

fn object<'v>(
    schema: &'v Value,
    key: &str,
) -> impl Iterator<Item = (&'v String, &'v Value)> + use<'v> {
    schema
        .get(key)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(schema: &Value) -> Vec<String> {
        let mut e = Errors::default();
        super::schema(Some(schema), "s", false, &mut e);
        e.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_structural_schema_has_nothing_to_say() {
        let schema = json!({"type": "object", "properties": {
            "port": {"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]},
            "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                "items": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}}},
            "any": {"x-kubernetes-preserve-unknown-fields": true}}});
        assert_eq!(said(&schema), Vec::<String>::new());
    }

    #[test]
    fn mistakes_are_named_in_the_order_of_their_texts() {
        let schema = json!({"type": "object", "properties": {
            "b": {"type": "array"}, "a": {}, "c": {"type": "object", "anyOf": [{"type": "object"}]}}});
        assert_eq!(
            said(&schema),
            [
                "s.openAPIV3Schema.properties[a].type: Required value: must not be empty for specified object fields",
                "s.openAPIV3Schema.properties[b].items: Required value: must be specified",
                "s.openAPIV3Schema.properties[c].anyOf[0].type: Forbidden: must be empty to be structural",
            ]
        );
    }
}
