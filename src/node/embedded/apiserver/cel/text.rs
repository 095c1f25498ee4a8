//! The texts of cel-go: issues of expressions (`common/error.go`), failures (`common/types/err.go`).

use cel::ExecutionError;

/// An issue at a byte of an expression, with the line it is in.
pub(super) fn issue(expression: &str, offset: usize, what: &str) -> String {
    let before = expression.get(..offset).unwrap_or_default();
    let row = before.matches('\n').count();
    let line = expression.lines().nth(row).unwrap_or_default();
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count();
    format!(
        "ERROR: <input>:{}:{}: {what}\n | {line}\n | {}^",
        row + 1,
        column + 1,
        ".".repeat(column)
    )
}

/// The byte where a name stands for the first time, but not in a string literal.
pub(super) fn place(expression: &str, name: &str) -> usize {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let bytes = expression.as_bytes();
    let mut open: Option<u8> = None;
    let mut before = b' ';
    for (at, &byte) in bytes.iter().enumerate() {
        match open {
            Some(quote) if byte == quote && before != b'\\' => open = None,
            Some(_) => {}
            None if matches!(byte, b'\'' | b'"') => open = Some(byte),
            None => {
                let rest = expression.get(at..).unwrap_or_default();
                let after = bytes.get(at + name.len()).copied().unwrap_or(b' ');
                if rest.starts_with(name) && !is_part(before) && !is_part(after) {
                    return at;
                }
            }
        }
        before = byte;
    }
    0
}

/// What ANTLR lists where an expression should begin.
const BEGINNINGS: &str = "'.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

/// The first issue of the parser, in the words of cel-go's.
pub(super) fn syntax(expression: &str, column: usize, said: &str) -> String {
    // Issues that tell of a line have one only: expressions are told apart by columns.
    let at = column.saturating_sub(1);
    let rest: String = expression.chars().skip(at).collect();
    let before: String = expression.chars().take(at).collect();
    let token = match rest.chars().next() {
        None => "<EOF>".to_owned(),
        Some(first) if first.is_alphanumeric() || first == '_' => rest
            .chars()
            .take_while(|c| c.is_alphanumeric() || *c == '_')
            .collect(),
        Some('=') if rest.starts_with("==") => "==".to_owned(),
        Some(first) => first.to_string(),
    };
    let ends = token == "<EOF>";
    let what = if said.contains("expected identifier after '.'") {
        let token = if ends { "" } else { &token };
        format!("no viable alternative at input '.{token}'")
    } else if said.contains("expecting expression") || said.contains("unexpected token") {
        format!("mismatched input '{token}' expecting {{'[', '{{', '(', {BEGINNINGS}")
    } else if said.contains("expecting ')'") && before.trim_end().ends_with('(') {
        format!("mismatched input '{token}' expecting {{'[', '{{', '(', ')', {BEGINNINGS}")
    } else if let Some(close) = [")", "]", "}"]
        .into_iter()
        .find(|close| ends && said.contains(&format!("'{close}'")))
    {
        format!("missing '{close}' at '<EOF>'")
    } else if said.contains("expecting <EOF>") {
        format!("extraneous input '{token}' expecting <EOF>")
    } else if said.contains("expected ':' in conditional") {
        format!(
            "mismatched input '{token}' expecting {{'==', '!=', 'in', '<', '<=', '>=', '>', '&&', '||', '[', '.', '-', ':', '+', '*', '/', '%'}}"
        )
    } else {
        let own = said.strip_prefix("Syntax error: ").unwrap_or(said);
        return issue(expression, byte_of(expression, at), own);
    };
    issue(
        expression,
        byte_of(expression, at),
        &format!("Syntax error: {what}"),
    )
}

fn byte_of(expression: &str, character: usize) -> usize {
    let mut indices = expression.char_indices();
    indices
        .nth(character)
        .map_or(expression.len(), |(at, _)| at)
}

/// Why an evaluation failed.
pub(super) fn failure(error: &ExecutionError) -> String {
    match error {
        ExecutionError::NoSuchKey(key) => format!("no such key: {key}"),
        ExecutionError::IndexOutOfBounds(index) => {
            format!("index out of bounds: {}", super::value::shown(index))
        }
        ExecutionError::DivisionByZero(_) => "division by zero".to_owned(),
        ExecutionError::RemainderByZero(_) => "modulus by zero".to_owned(),
        ExecutionError::Overflow(..) => "integer overflow".to_owned(),
        ExecutionError::UndeclaredReference(name) => format!("no such attribute(s): {name}"),
        ExecutionError::FunctionError { message, .. } => message.clone(),
        _ => "no such overload".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Expression;

    #[test]
    fn syntax_errors_read_as_those_of_cel_go() {
        for (expression, wanted) in [
            (
                "object.spec.",
                "1:13: Syntax error: no viable alternative at input '.'",
            ),
            (
                "object.spec..a",
                "1:13: Syntax error: no viable alternative at input '..'",
            ),
            ("a.b(1", "1:6: Syntax error: missing ')' at '<EOF>'"),
            ("[1", "1:3: Syntax error: missing ']' at '<EOF>'"),
            (
                "object.a b",
                "1:10: Syntax error: extraneous input 'b' expecting <EOF>",
            ),
            (
                "()",
                "1:2: Syntax error: mismatched input ')' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
            ),
        ] {
            let issues = Expression::compile(expression, &["object", "a"]).unwrap_err();
            assert_eq!(
                issues.lines().next(),
                Some(format!("ERROR: <input>:{wanted}").as_str())
            );
        }
    }
}
