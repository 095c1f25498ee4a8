//! Variables in texts: `{{ name }}`, `{% if … %}`, `{% for … %}`, and `when` expressions.
//!
//! Scenarios are written by others: the language is kept so small that no text can take long or grow
//! without bound.

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
    if let Some(tag) = foreign_tag(text) {
        return Err(format!(
            "`{tag}` is no tag of scenarios, which know `if` and `for`"
        ));
    }
    let environment = environment();
    let template = environment
        .template_from_str(text)
        .map_err(|error| describe(&error))?;
    let mut out = Bounded(Vec::new());
    match template.render_captured_to(variables, &mut out) {
        Ok(_) => Ok(String::from_utf8_lossy(&out.0).into_owned()),
        Err(error) => Err(describe(&error)),
    }
}

/// A tag that the language does not have: what keeps values in names could double them for ever.
fn foreign_tag(text: &str) -> Option<&str> {
    const KNOWN: [&str; 6] = ["if", "elif", "else", "endif", "for", "endfor"];
    text.split("{%").skip(1).find_map(|rest| {
        let rest = rest.trim_start_matches(['-', '+']).trim_start();
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_');
        let tag = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
        (!KNOWN.contains(&tag)).then_some(tag)
    })
}

/// Indents every line but the first by `width` blanks; the first too where `first` says so.
fn indent(text: &str, width: usize, first: Option<bool>) -> String {
    let pad = " ".repeat(width.min(100));
    let mut out = String::with_capacity(text.len());
    for (index, line) in text.lines().enumerate() {
        if index > 0 {
            out.push('\n');
        }
        if !line.is_empty() && (index > 0 || first == Some(true)) {
            out.push_str(&pad);
        }
        out.push_str(line);
    }
    out
}

/// What a text may grow to when it is filled in.
const LARGEST_TEXT: usize = 4 << 20;
/// Steps that filling in a text may take.
const FUEL: u64 = 1_000_000;

/// Takes text up to a size: scenarios are written by others.
struct Bounded(Vec<u8>);

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > LARGEST_TEXT {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
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
    let mut environment = Environment::empty();
    environment.add_filter("indent", indent);
    environment.set_fuel(Some(FUEL));
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
    use std::ops::Add;

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
    fn a_text_that_grows_without_end_is_refused() {
        for text in [
            &"{% for a in 'x' * 99999 %}"
                .repeat(3)
                .add(&"{% endfor %}".repeat(3)),
            "{% for a in [1] * 99999 %}{{ 'x' * 99999 }}{% endfor %}",
            "{% for a in range(9) %}{% endfor %}",
            "{% set a = ns ~ ns %}{%- set a = a ~ a %}{{ a }}",
            "{{ ns | replace('a', 'b' * 9999) }}",
            "{{ ('x' * 99999) | indent(99999999999) * 99999 }}",
            &format!(
                "{{% for a in [1] * 9999 %}}{}{{% endfor %}}",
                "x".repeat(9999)
            ),
        ] {
            assert!(render(text, &variables()).is_err(), "{text:.60}");
        }
    }

    #[test]
    fn lines_are_indented() {
        assert_eq!(indent("a\n\nb\n", 2, None), "a\n\n  b");
        assert_eq!(indent("a\nb", 2, Some(true)), "  a\n  b");
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
