//! Objects within custom resources: `x-kubernetes-embedded-resource`
//! (`apiextensions-apiserver/pkg/apiserver/schema/objectmeta/validation.go`).

use serde_json::Value;

use super::custom::join;
use super::values::below;
use crate::node::embedded::apiserver::kinds::FieldError;
use crate::node::embedded::apiserver::kinds::validation::embedded_metadata;
use crate::node::embedded::apiserver::kinds::validation::name::rfc1035;

/// Checks the types and metadata of embedded objects; the object itself is checked as others are.
pub(super) fn check(
    schema: &Value,
    value: &Value,
    root: bool,
    path: &str,
    errors: &mut Vec<FieldError>,
) {
    match value {
        Value::Object(map) => {
            let embedded = schema.get("x-kubernetes-embedded-resource");
            if embedded == Some(&Value::Bool(true)) && !root {
                object(value, path, errors);
            }
            for (name, value) in map {
                if let Some(below) = below(schema, name) {
                    check(below, value, false, &join(path, name), errors);
                }
            }
        }
        Value::Array(list) => {
            if let Some(items) = schema.get("items") {
                for (index, item) in list.iter().enumerate() {
                    check(items, item, false, &format!("{path}[{index}]"), errors);
                }
            }
        }
        _ => {}
    }
}

fn object(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for name in ["apiVersion", "kind"] {
        let path = join(path, name);
        let Some(own) = value.get(name) else {
            errors.push(FieldError::required(path, ""));
            continue;
        };
        match own.as_str() {
            None => errors.push(FieldError::invalid(path, own, "must be a string")),
            Some("") => errors.push(FieldError::invalid(path, own, "must not be empty")),
            Some(text) if name == "apiVersion" => {
                if text.matches('/').count() > 1 {
                    let why = format!("unexpected GroupVersion string: {text}");
                    errors.push(FieldError::invalid(path, own, why));
                }
            }
            Some(text) => {
                let wrong = rfc1035(&text.to_lowercase());
                if !wrong.is_empty() {
                    let why = format!(
                        "may have mixed case, but should otherwise match: {}",
                        wrong.join(",")
                    );
                    errors.push(FieldError::invalid(path, own, why));
                }
            }
        }
    }
    if let Some(metadata) = value.get("metadata") {
        embedded_metadata(metadata, &join(path, "metadata"), errors);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_embedded_object_names_its_type() {
        let schema = json!({"type": "object", "properties": {"o": {"type": "object",
            "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}});
        let said = |value: Value| {
            let mut errors = Vec::new();
            check(&schema, &json!({ "o": value }), true, "", &mut errors);
            let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
            texts
        };
        assert_eq!(
            said(json!({"kind": ""})),
            [
                "o.apiVersion: Required value",
                "o.kind: Invalid value: \"\": must not be empty"
            ]
        );
        let object =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a b": ""}}});
        let wrong = said(object);
        assert_eq!(wrong.len(), 1);
        assert!(
            wrong[0]
                .starts_with("o.metadata.labels: Invalid value: \"a b\": name part must consist")
        );
        assert_eq!(
            said(json!({"apiVersion": "v1", "kind": "Pod"})),
            Vec::<String>::new()
        );
    }
}
