//! Label selectors as objects write them (`metav1.LabelSelector`).

use serde_json::Value;

use super::edit::{items, text_at};

/// Whether a `LabelSelector` selects these labels; an empty one selects everything.
#[must_use]
pub fn matches(selector: &Value, labels: Option<&Value>) -> bool {
    let label = |key: &str| {
        labels
            .and_then(|labels| labels.get(key))
            .and_then(Value::as_str)
    };
    let equal = selector
        .get("matchLabels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .all(|(key, value)| label(key) == value.as_str());
    equal
        && items(selector, "/matchExpressions")
            .iter()
            .all(|expression| fulfils(expression, label(text_at(expression, "/key"))))
}

/// Whether a value (none where there is none) fulfils a requirement of a label or node selector.
#[must_use]
pub fn fulfils(requirement: &Value, own: Option<&str>) -> bool {
    let listed = own.is_some_and(|own| {
        items(requirement, "/values")
            .iter()
            .any(|value| value == own)
    });
    match text_at(requirement, "/operator") {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => own.is_some(),
        "DoesNotExist" => own.is_none(),
        _ => false,
    }
}

/// Whether a plain map of labels (the selector of a service) selects these labels.
#[must_use]
pub fn map_matches(selector: &Value, labels: Option<&Value>) -> bool {
    selector.as_object().is_some_and(|map| {
        map.iter()
            .all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    })
}

/// The selector as a query parameter: `app=web,tier in (a,b)`.
#[must_use]
pub fn to_text(selector: &Value) -> String {
    let mut parts: Vec<(String, String)> = selector
        .get("matchLabels")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            (
                key.clone(),
                format!("{key}={}", value.as_str().unwrap_or_default()),
            )
        })
        .collect();
    for expression in items(selector, "/matchExpressions") {
        let key = text_at(expression, "/key");
        let mut values: Vec<&str> = items(expression, "/values")
            .iter()
            .filter_map(Value::as_str)
            .collect();
        values.sort_unstable();
        let values = values.join(",");
        let text = match text_at(expression, "/operator") {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            _ => format!("!{key}"),
        };
        parts.push((key.to_owned(), text));
    }
    parts.sort();
    parts
        .into_iter()
        .map(|(_, text)| text)
        .collect::<Vec<_>>()
        .join(",")
}
