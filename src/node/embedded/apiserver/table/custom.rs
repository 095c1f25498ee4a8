//! Rows of custom resources: `additionalPrinterColumns`
//! (`apiextensions-apiserver/pkg/registry/customresource/tableconvertor`).

use serde_json::{Value, json};

use super::duration;
use super::words::plain;
use crate::node::embedded::apiserver::state::CustomResource;

const NAME: &str = "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names";
const CREATED: &str = "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata";

/// The column of names.
pub(super) fn name_column() -> Value {
    json!({"name": "Name", "type": "string", "format": "name", "description": NAME, "priority": 0})
}

/// The column of creation times.
pub(super) fn created_column() -> Value {
    json!({"name": "Created At", "type": "date", "format": "", "description": CREATED, "priority": 0})
}

/// The columns a definition declares; an age where it declares none.
fn columns(custom: &CustomResource) -> Vec<Value> {
    match custom
        .version
        .get("additionalPrinterColumns")
        .and_then(Value::as_array)
    {
        Some(columns) if !columns.is_empty() => columns.clone(),
        _ => vec![
            json!({"name": "Age", "type": "date", "description": CREATED, "jsonPath": ".metadata.creationTimestamp"}),
        ],
    }
}

pub(super) fn definitions(custom: &CustomResource) -> Value {
    let mut all = vec![name_column()];
    for column in columns(custom) {
        let text = |field: &str| column.get(field).and_then(Value::as_str).unwrap_or("");
        let description = match text("description") {
            "" => format!(
                "Custom resource definition column (in JSONPath format): {}",
                text("jsonPath")
            ),
            description => description.to_owned(),
        };
        all.push(json!({
            "name": text("name"),
            "type": text("type"),
            "format": text("format"),
            "description": description,
            "priority": column.get("priority").and_then(Value::as_i64).unwrap_or(0)
        }));
    }
    Value::Array(all)
}

pub(super) fn cells(custom: &CustomResource, object: &Value) -> Vec<Value> {
    let name = object.pointer("/metadata/name").cloned();
    let mut cells = vec![name.unwrap_or_else(|| json!(""))];
    for column in columns(custom) {
        let text = |field: &str| column.get(field).and_then(Value::as_str).unwrap_or("");
        let found = Path::parse(text("jsonPath")).find(object);
        cells.push(cell(text("type"), found.first().copied()));
    }
    cells
}

fn cell(kind: &str, value: Option<&Value>) -> Value {
    let Some(value) = value.filter(|v| !v.is_null()) else {
        return Value::Null;
    };
    match kind {
        "integer" => match value {
            Value::Number(number) => number
                .as_i64()
                .map_or_else(|| json!(number.as_f64().map(|f| f as i64)), |n| json!(n)),
            _ => Value::Null,
        },
        "number" => value.as_f64().map_or(Value::Null, |_| value.clone()),
        "boolean" => value.as_bool().map_or(Value::Null, |b| json!(b)),
        "date" => match value {
            Value::String(time) if time.parse::<jiff::Timestamp>().is_ok() => {
                json!(duration::since(time))
            }
            _ => json!("<invalid>"),
        },
        _ => json!(plain(value)),
    }
}

/// The part of JSONPath that printer columns use: `.a.b[0].c`, `['x.y']`, `[*]`, `[?(@.type=="Ready")].status`.
#[derive(Debug, Clone, PartialEq)]
pub struct Path(Vec<Step>);

#[derive(Debug, Clone, PartialEq)]
enum Step {
    Field(String),
    Index(i64),
    All,
    Where(Vec<Step>, String),
}

impl Path {
    /// Reads a path; what cannot be understood selects nothing.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let bare = text
            .trim()
            .trim_start_matches('{')
            .trim_end_matches('}')
            .trim_start_matches('$');
        Self(steps(bare))
    }

    /// The values at the path.
    #[must_use]
    pub fn find<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        find(&self.0, root)
    }
}

fn find<'a>(steps: &[Step], root: &'a Value) -> Vec<&'a Value> {
    let mut found = vec![root];
    for step in steps {
        found = found
            .into_iter()
            .flat_map(|value| -> Vec<&'a Value> {
                match step {
                    Step::Field(name) => value.get(name).into_iter().collect(),
                    Step::Index(index) => value
                        .as_array()
                        .and_then(|list| {
                            let length = i64::try_from(list.len()).ok()?;
                            let at = if *index < 0 { length + index } else { *index };
                            list.get(usize::try_from(at).ok()?)
                        })
                        .into_iter()
                        .collect(),
                    Step::All => match value {
                        Value::Array(list) => list.iter().collect(),
                        Value::Object(map) => map.values().collect(),
                        _ => Vec::new(),
                    },
                    Step::Where(path, wanted) => value
                        .as_array()
                        .map(|list| {
                            list.iter()
                                .filter(|item| {
                                    find(path, item)
                                        .first()
                                        .is_some_and(|v| plain(v) == *wanted)
                                })
                                .collect()
                        })
                        .unwrap_or_default(),
                }
            })
            .collect();
    }
    found
}

fn steps(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix('[') {
            let (inside, after) = bracket(after);
            rest = after;
            if inside == "*" {
                steps.push(Step::All);
            } else if let Some(filter) = inside
                .strip_prefix("?(")
                .and_then(|filter| filter.strip_suffix(')'))
            {
                if let Some((path, wanted)) = filter.split_once("==") {
                    let path = path.trim().trim_start_matches('@');
                    steps.push(Step::Where(
                        self::steps(path),
                        wanted.trim().trim_matches(['"', '\'']).to_owned(),
                    ));
                }
            } else if let Ok(index) = inside.parse() {
                steps.push(Step::Index(index));
            } else {
                steps.push(Step::Field(inside.trim_matches(['"', '\'']).to_owned()));
            }
        } else {
            let after = rest.strip_prefix('.').unwrap_or(rest);
            let mut name = String::new();
            let mut chars = after.char_indices();
            let mut end = after.len();
            let mut escaped = false;
            for (index, c) in chars.by_ref() {
                if escaped {
                    escaped = false;
                    name.push(c);
                } else if c == '\\' {
                    escaped = true;
                } else if c == '.' || c == '[' {
                    end = index;
                    break;
                } else {
                    name.push(c);
                }
            }
            rest = after.get(end..).unwrap_or("");
            if name == "*" {
                steps.push(Step::All);
            } else if !name.is_empty() {
                steps.push(Step::Field(name));
            }
        }
    }
    steps
}

/// The text up to the closing bracket, and what follows it.
fn bracket(text: &str) -> (&str, &str) {
    let mut quote = None;
    for (index, c) in text.char_indices() {
        match quote {
            Some(q) if c == q => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if c == ']' => {
                let after = text.get(index + 1..).unwrap_or("");
                return (text.get(..index).unwrap_or(""), after);
            }
            None => {}
        }
    }
    (text, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_values() {
        let object = json!({"spec": {"a": [1, 2], "x.y": "dot"},
            "status": {"conditions": [{"type": "Up", "status": "False"}, {"type": "Ready", "status": "True"}]}});
        let first = |path: &str| {
            Path::parse(path)
                .find(&object)
                .first()
                .map(|v| (*v).clone())
        };
        assert_eq!(first(".spec.a[1]"), Some(json!(2)));
        assert_eq!(first(".spec['x.y']"), Some(json!("dot")));
        assert_eq!(first(".spec.x\\.y"), Some(json!("dot")));
        assert_eq!(
            first(".status.conditions[?(@.type==\"Ready\")].status"),
            Some(json!("True"))
        );
        assert_eq!(first(".spec.none"), None);
        assert_eq!(Path::parse(".spec.a[*]").find(&object).len(), 2);
    }
}
