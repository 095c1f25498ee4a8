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

/// Issues of the parser, whose lines of code stand one column further right in cel-go.
pub(super) fn indented(issues: &str) -> String {
    let lines: Vec<String> = issues
        .lines()
        .map(|line| {
            if line.starts_with('|') {
                format!(" {line}")
            } else {
                line.to_owned()
            }
        })
        .collect();
    lines.join("\n")
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
