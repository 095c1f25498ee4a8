//! Objects as the internal Go structs of the API server: some refusals show how two of them differ
//! (`k8s.io/apimachinery/pkg/util/diff`).

mod unified;

use serde::Serialize as _;
use serde_json::{Map, Value, json};

/// Types and their fields.
const TYPES: &str = include_str!("types.txt");

/// How two structs of an internal type differ, as a unified diff of their indented JSON.
#[must_use]
pub fn diff(ty: &str, before: &Value, after: &Value) -> String {
    unified::diff(&pretty(ty, before), &pretty(ty, after))
}

/// Whether two structs are the same; nothing and an empty list or map are (`apiequality.Semantic`).
#[must_use]
pub fn same(ty: &str, before: &Value, after: &Value) -> bool {
    let plain = |value: &Value| {
        let mut internal = shape(ty, value, value);
        without_empty(&mut internal);
        internal
    };
    plain(before) == plain(after)
}

fn without_empty(value: &mut Value) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(without_empty),
        Value::Object(map) => map.values_mut().for_each(without_empty),
        _ => return,
    }
    let empty =
        value.as_array().is_some_and(Vec::is_empty) || value.as_object().is_some_and(Map::is_empty);
    if empty {
        *value = Value::Null;
    }
}

fn pretty(ty: &str, value: &Value) -> String {
    let internal = shape(ty, value, value);
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
    let mut serializer = serde_json::Serializer::with_formatter(&mut out, formatter);
    if internal.serialize(&mut serializer).is_err() {
        return String::new();
    }
    String::from_utf8_lossy(&out)
        .replace('&', "\\u0026")
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
}

/// The lines of a type in the table.
fn fields(ty: &str) -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    let mut lines = TYPES.lines();
    let _ = lines.by_ref().find(|line| *line == ty);
    lines
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            let mut words = line.split(' ');
            Some((words.next()?, words.next()?, words.next()?))
        })
}

fn shape(ty: &str, value: &Value, above: &Value) -> Value {
    let mut out = Map::new();
    for (name, key, kind) in fields(ty) {
        if kind == "=" {
            if let Value::Object(embedded) = shape(name, value, above) {
                out.extend(embedded);
            }
            continue;
        }
        let (kind, from) = match kind.strip_prefix('^') {
            Some(kind) => (kind, above),
            None => (kind, value),
        };
        let given = from.get(key).filter(|given| !given.is_null());
        out.insert(name.to_owned(), field(kind, given, value));
    }
    Value::Object(out)
}

/// A field: what is not given is Go's zero value.
fn field(kind: &str, given: Option<&Value>, above: &Value) -> Value {
    let or = |zero: Value| given.cloned().unwrap_or(zero);
    match kind {
        "s" => or("".into()),
        "i" => or(0.into()),
        "b" => or(false.into()),
        "q" => or("0".into()),
        "p" | "l" => or(Value::Null),
        // Maps are written in the order of their keys.
        "m" => match given {
            Some(Value::Object(map)) => {
                let mut map = map.clone();
                map.sort_keys();
                Value::Object(map)
            }
            _ => Value::Null,
        },
        _ => {
            if let Some(of) = kind.strip_prefix("[]") {
                return match given.and_then(Value::as_array) {
                    Some(list) => list.iter().map(|one| shape(of, one, one)).collect(),
                    None => Value::Null,
                };
            }
            match (kind.strip_prefix('*'), given) {
                (Some(_), None) => Value::Null,
                (of, given) => shape(of.unwrap_or(kind), given.unwrap_or(&json!({})), above),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_claim_is_shown_as_the_real_one() {
        let claim = |size: &str| json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "volumeMode": "Filesystem"});
        assert_eq!(
            diff("PersistentVolumeClaimSpec", &claim("1Gi"), &claim("2Gi")),
            "@@ -6,7 +6,7 @@\n  \"Resources\": {\n   \"Limits\": null,\n   \"Requests\": {\n-   \"storage\": \"1Gi\"\n+   \"storage\": \"2Gi\"\n   }\n  },\n  \"VolumeName\": \"\",\n"
        );
    }

    #[test]
    fn every_type_that_is_named_is_there() {
        let known: Vec<&str> = TYPES.lines().filter(|line| !line.contains(' ')).collect();
        for line in TYPES.lines().filter(|line| !line.starts_with('#')) {
            let Some(kind) = line.split(' ').nth(2) else {
                continue;
            };
            let kind = kind.trim_start_matches(['^', '*', '[', ']']);
            if kind.chars().count() > 1 {
                assert!(known.contains(&kind), "{line}");
            }
        }
    }
}
