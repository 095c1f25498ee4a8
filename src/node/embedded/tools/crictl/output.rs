//! How crictl writes what it found: tables, JSON, YAML, templates.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::super::table;
use super::{Done, Runtime, fatal, template};

/// A table.
pub(super) fn table(runtime: &mut Runtime<'_, '_>, rows: &[Vec<String>]) -> Done {
    for line in table::lines(rows) {
        writeln!(runtime.tool.out, "{line}")?;
    }
    Ok(())
}

/// JSON, YAML or what a template makes of it.
pub(super) fn value(
    runtime: &mut Runtime<'_, '_>,
    value: &Value,
    format: &str,
    text: Option<&str>,
) -> Done {
    match format {
        "json" => {
            let text = serde_json::to_string_pretty(value).unwrap_or_default();
            writeln!(runtime.tool.out, "{text}")?;
        }
        "yaml" => {
            let text = serde_yaml::to_string(&sorted(value)).map_err(std::io::Error::other)?;
            writeln!(runtime.tool.out, "{text}")?;
        }
        "go-template" => match template::render(text.unwrap_or(""), value) {
            Ok(text) => writeln!(runtime.tool.out, "{text}")?,
            Err(problem) => return fatal(format!("execute template: {problem}")),
        },
        other => return fatal(format!("unsupported format: {other:?}")),
    }
    Ok(())
}

/// With keys in the order of their names, as YAML made from JSON has them.
pub(super) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut keys: Vec<&String> = map.keys().collect();
            keys.sort_unstable();
            let entries = keys
                .into_iter()
                .filter_map(|key| Some((key.clone(), sorted(map.get(key)?))));
            Value::Object(entries.collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// How long ago, in words.
pub(super) fn ago(time: Timestamp) -> String {
    let age = Timestamp::now().duration_since(time);
    let age = Duration::try_from(age).unwrap_or_default();
    format!("{} ago", table::human(age))
}

/// The 13 characters of an id that tables show.
pub(super) fn short(id: &str, whole: bool) -> String {
    let id = if whole {
        id
    } else {
        id.trim_start_matches("sha256:")
    };
    if whole {
        id.to_owned()
    } else {
        id.chars().take(13).collect()
    }
}

/// A size as `docker/go-units` writes it, with so many digits.
pub(super) fn size(bytes: f64, digits: usize) -> String {
    let mut value = bytes;
    let mut unit = "B";
    for next in ["kB", "MB", "GB", "TB"] {
        if value < 1000.0 {
            break;
        }
        value /= 1000.0;
        unit = next;
    }
    let whole = format!("{value:.0}").len();
    let text = format!("{value:.*}", digits.saturating_sub(whole));
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    format!("{text}{unit}")
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes() {
        for (bytes, digits, text) in [
            (27_600_000.0, 3, "27.6MB"),
            (320_368.0, 3, "320kB"),
            (0.0, 4, "0B"),
            (274_853_888.0, 4, "274.9MB"),
            (26_000_000.0, 3, "26MB"),
        ] {
            assert_eq!(size(bytes, digits), text);
        }
    }
}
