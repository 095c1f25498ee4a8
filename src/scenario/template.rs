//! Variables in texts: `{{ name }}`, `{% if … %}`, and `when` expressions.

use std::collections::BTreeMap;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior};
use serde_json::Value;

/// Values by variable name.
pub type Variables = BTreeMap<String, String>;

/// Fills in a text.
///
/// # Errors
/// The message for a text that is no template or uses a variable that does not exist.
pub fn render(text: &str, variables: &Variables) -> Result<String, String> {
    if !text.contains("{{") && !text.contains("{%") && !text.contains("{#") {
        return Ok(text.to_owned());
    }
    environment()
        .render_str(text, variables)
        .map_err(|error| describe(&error))
}

/// Decides a `when` expression.
///
/// # Errors
/// The message for an expression that is none or uses a variable that does not exist.
pub fn holds(expression: &str, variables: &Variables) -> Result<bool, String> {
    let environment = environment();
    let compiled = environment
        .compile_expression(expression)
        .map_err(|error| describe(&error))?;
    let value = compiled.eval(variables).map_err(|error| describe(&error))?;
    if value.is_undefined() {
        return Err(format!("`{expression}` has no value"));
    }
    Ok(value.is_true())
}

/// Fills in every text of a JSON value and drops list elements whose `when` is false.
///
/// # Errors
/// As [`render`] and [`holds`], with the text concerned.
pub fn render_value(value: &Value, variables: &Variables) -> Result<Value, (String, String)> {
    match value {
        Value::String(text) => render(text, variables)
            .map(Value::String)
            .map_err(|message| (text.clone(), message)),
        Value::Array(items) => {
            let mut out = Vec::with_capacity(items.len());
            for item in items {
                if let Some(when) = item.get("when").and_then(Value::as_str)
                    && !holds(when, variables).map_err(|message| (when.to_owned(), message))?
                {
                    continue;
                }
                out.push(render_value(item, variables)?);
            }
            Ok(Value::Array(out))
        }
        Value::Object(fields) => {
            let mut out = serde_json::Map::new();
            for (key, field) in fields {
                if key == "when" {
                    continue;
                }
                let key = render(key, variables).map_err(|message| (key.clone(), message))?;
                out.insert(key, render_value(field, variables)?);
            }
            Ok(Value::Object(out))
        }
        other => Ok(other.clone()),
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // These settings cannot be refused; should they ever be, the defaults only cost empty lines.
    if let Ok(syntax) = SyntaxConfig::builder()
        .keep_trailing_newline(true)
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()
    {
        environment.set_syntax(syntax);
    }
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment
}

fn describe(error: &minijinja::Error) -> String {
    match (error.line(), error.detail()) {
        (Some(line), Some(detail)) => {
            format!("{}: {detail} (line {line} of the text)", error.kind())
        }
        (_, Some(detail)) => format!("{}: {detail}", error.kind()),
        (Some(line), None) => format!("{} (line {line} of the text)", error.kind()),
        (None, None) => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables() -> Variables {
        [("ns".to_owned(), "payments".to_owned())].into()
    }

    #[test]
    fn fills_in_and_refuses_unknown_names() {
        assert_eq!(
            render("in {{ ns }}\n", &variables()).unwrap(),
            "in payments\n"
        );
        assert!(render("in {{ name }}", &variables()).is_err());
        assert!(render("{{ ns", &variables()).is_err());
    }

    #[test]
    fn block_lines_leave_no_empty_line() {
        let text = "a\n{% if ns == 'payments' %}\nb\n{% endif %}\nc\n";
        assert_eq!(render(text, &variables()).unwrap(), "a\nb\nc\n");
    }

    #[test]
    fn drops_elements_whose_when_is_false() {
        let value = serde_json::json!([
            {"when": "ns == 'payments'", "a": "{{ ns }}"},
            {"when": "ns == 'other'", "a": 1},
        ]);
        assert_eq!(
            render_value(&value, &variables()).unwrap(),
            serde_json::json!([{"a": "payments"}])
        );
    }
}
