//! The same manifest in another style.

use serde_json::Value;

use crate::scenario::manifest_edit::Restyle;

/// Writes a manifest in another style.
pub(super) fn restyle(text: &str, style: Restyle) -> Result<String, String> {
    let mut value: Value = serde_yaml::from_str(text).map_err(|error| error.to_string())?;
    match style {
        Restyle::Json => {
            let mut text =
                serde_json::to_string_pretty(&value).map_err(|error| error.to_string())?;
            text.push('\n');
            Ok(text)
        }
        Restyle::Quoted => {
            value.sort_all_objects();
            let mut out = String::new();
            write_quoted(&value, 0, &mut out);
            Ok(out)
        }
    }
}

/// Block style with indented lists and every text in double quotes.
fn write_quoted(value: &Value, column: usize, out: &mut String) {
    let pad = " ".repeat(column);
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                out.push_str(&format!("{pad}\"{key}\":"));
                write_inner(field, column, out);
            }
        }
        Value::Array(items) => {
            for item in items {
                out.push_str(&format!("{pad}-"));
                write_inner(item, column, out);
            }
        }
        scalar => out.push_str(&format!("{pad}{scalar}\n")),
    }
}

fn write_inner(value: &Value, column: usize, out: &mut String) {
    let empty = match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    };
    if empty {
        out.push_str(&format!(" {value}\n"));
    } else {
        out.push('\n');
        write_quoted(value, column + 4, out);
    }
}
