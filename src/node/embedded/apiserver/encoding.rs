//! How values are written: JSON as Go writes it, indented JSON, YAML; which of them a client wants.

use serde_json::Value;

use super::schema::protobuf;
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
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// Kubernetes protobuf; what has no message is written as JSON.
    Protobuf,
}

/// A clause of an `Accept` header.
pub(super) struct Clause<'a> {
    pub(super) media_type: &'a str,
    pub(super) parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

/// The clauses of an `Accept` header, best first.
pub(super) fn clauses(accept: &str) -> Vec<Clause<'_>> {
    let mut clauses: Vec<Clause<'_>> = accept
        .split(',')
        .filter_map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media_type = parts.next()?;
            let mut quality = 1.0;
            let mut parameters = Vec::new();
            for part in parts {
                if let Some((key, value)) = part.split_once('=') {
                    let (key, value) = (key.trim(), value.trim().trim_matches('"'));
                    if key == "q" {
                        quality = value.parse().unwrap_or(1.0);
                    } else {
                        parameters.push((key, value));
                    }
                }
            }
            Some(Clause {
                media_type,
                parameters,
                quality,
            })
        })
        .collect();
    // Better quality first, then the more specific type; otherwise as sent.
    clauses.sort_by(|a, b| {
        b.quality
            .total_cmp(&a.quality)
            .then_with(|| stars(a.media_type).cmp(&stars(b.media_type)))
    });
    clauses
}

fn stars(media_type: &str) -> usize {
    media_type.matches('*').count()
}

/// The best form in `Accept` that we can write (`endpoints/handlers/negotiation`).
///
/// # Errors
/// 406 when the client accepts none.
pub fn negotiate(accept: Option<&str>) -> Result<Media, Status> {
    let accept = accept.unwrap_or_default().trim();
    if accept.is_empty() {
        return Ok(Media::Json);
    }
    let best = clauses(accept)
        .into_iter()
        .find_map(|clause| match clause.media_type {
            "application/json" | "application/*" | "*/*" => Some(Media::Json),
            "application/yaml" => Some(Media::Yaml),
            protobuf::CONTENT_TYPE => Some(Media::Protobuf),
            _ => None,
        });
    best.ok_or_else(|| {
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
    fn the_best_form_is_chosen() {
        let proto = "application/vnd.kubernetes.protobuf";
        for (accept, media) in [
            (String::new(), Media::Json),
            (format!("{proto},application/json"), Media::Protobuf),
            (format!("application/json,{proto}"), Media::Json),
            (format!("{proto};q=0.5,application/yaml"), Media::Yaml),
            (format!("*/*, {proto}"), Media::Protobuf),
            ("text/html, */*;q=0.1".to_owned(), Media::Json),
        ] {
            assert_eq!(negotiate(Some(&accept)), Ok(media), "{accept}");
        }
        assert_eq!(negotiate(Some("text/html")).unwrap_err().code, 406);
    }

    #[test]
    fn go_escapes_are_written() {
        let value = serde_json::json!({"a": "<b> & \u{2028}€"});
        assert_eq!(
            String::from_utf8(json(&value)).unwrap(),
            "{\"a\":\"\\u003cb\\u003e \\u0026 \\u2028€\"}"
        );
    }
}
