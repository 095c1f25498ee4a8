//! How values are written: JSON as Go writes it, indented JSON, YAML; which of them a client wants.

use serde_json::Value;

use super::status::Status;

/// JSON as Go's encoder writes it: `<`, `>`, `&` and the line separators are escaped.
#[must_use]
pub fn json(value: &impl serde::Serialize) -> Vec<u8> {
    escape(serde_json::to_vec(value).unwrap_or_default())
}

/// Indented JSON as Go's `MarshalIndent(…, "", "  ")` writes it.
#[must_use]
pub fn pretty_json(value: &impl serde::Serialize) -> Vec<u8> {
    escape(serde_json::to_vec_pretty(value).unwrap_or_default())
}

/// These characters only occur within strings of a JSON text, so bytes can be replaced.
fn escape(plain: Vec<u8>) -> Vec<u8> {
    if !plain
        .iter()
        .any(|byte| matches!(byte, b'<' | b'>' | b'&' | 0xe2))
    {
        return plain;
    }
    let mut out = Vec::with_capacity(plain.len() + 64);
    let mut rest = plain.as_slice();
    while let Some((byte, after)) = rest.split_first() {
        match byte {
            b'<' => out.extend_from_slice(b"\\u003c"),
            b'>' => out.extend_from_slice(b"\\u003e"),
            b'&' => out.extend_from_slice(b"\\u0026"),
            0xe2 if after.starts_with(&[0x80, 0xa8]) || after.starts_with(&[0x80, 0xa9]) => {
                out.extend_from_slice(if after.starts_with(&[0x80, 0xa8]) {
                    b"\\u2028"
                } else {
                    b"\\u2029"
                });
                rest = after.get(2..).unwrap_or_default();
                continue;
            }
            byte => out.push(*byte),
        }
        rest = after;
    }
    out
}

/// YAML as sigs.k8s.io/yaml writes it: keys sorted.
#[must_use]
pub fn yaml(value: &Value) -> Vec<u8> {
    serde_yaml::to_string(&sorted(value))
        .unwrap_or_default()
        .into_bytes()
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<_> = map.iter().collect();
            keys.sort_by(|a, b| a.0.cmp(b.0));
            Value::Object(
                keys.into_iter()
                    .map(|(key, value)| (key.clone(), sorted(value)))
                    .collect(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// A form an object can be written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// JSON; also answers clients that would rather have protobuf.
    Json,
    /// YAML.
    Yaml,
}

/// The first form in `Accept` that we can write (`endpoints/handlers/negotiation`).
/// Protobuf and CBOR are answered with JSON when JSON is acceptable too, or as a last resort.
///
/// # Errors
/// 406 when the client accepts none.
pub fn negotiate(accept: Option<&str>) -> Result<Media, Status> {
    let accept = accept.unwrap_or_default().trim();
    if accept.is_empty() {
        return Ok(Media::Json);
    }
    let mut fallback = None;
    for clause in accept.split(',') {
        let media = clause.split(';').next().unwrap_or_default().trim();
        match media {
            "application/json" | "application/*" | "*/*" => return Ok(Media::Json),
            "application/yaml" => return Ok(Media::Yaml),
            "application/vnd.kubernetes.protobuf" => fallback = Some(Media::Json),
            _ => {}
        }
    }
    fallback.ok_or_else(|| {
        Status::new(
            406,
            "NotAcceptable",
            "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf",
        )
        .with_details(serde_json::json!({}))
    })
}

/// Whether this client gets indented JSON.
#[must_use]
pub fn wants_pretty(query: &[(String, String)], user_agent: &str) -> bool {
    if let Some((_, value)) = query.iter().find(|(key, _)| key == "pretty")
        && !value.is_empty()
    {
        return crate::audit::options::number::parse_bool(value) == Ok(true);
    }
    ["curl", "Wget", "Mozilla/5.0"]
        .iter()
        .any(|prefix| user_agent.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_escapes_are_written() {
        let value = serde_json::json!({"a": "<b> & \u{2028}€"});
        assert_eq!(
            String::from_utf8(json(&value)).unwrap(),
            "{\"a\":\"\\u003cb\\u003e \\u0026 \\u2028€\"}"
        );
    }
}
