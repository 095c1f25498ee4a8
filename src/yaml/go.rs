//! How Go writes values into its messages: `strconv.Quote`, `%#v`, and its way with broken UTF-8.

use std::fmt::Write;

use super::decode::{Item, ItemId};
use super::resolve::Scalar;
use super::token::Mark;

/// No message shows more of a value than this.
const LONGEST: usize = 1 << 20;

/// `strconv.Quote`.
#[must_use]
pub fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        push_quoted(&mut quoted, c, '"');
    }
    quoted.push('"');
    quoted
}

fn push_quoted(into: &mut String, c: char, delimiter: char) {
    let escape = match c {
        '\u{7}' => "\\a",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{b}' => "\\v",
        '\\' => "\\\\",
        _ if c == delimiter => {
            into.push('\\');
            into.push(c);
            return;
        }
        _ if is_print(c) => {
            into.push(c);
            return;
        }
        _ => {
            let code = u32::from(c);
            let result = if code < 0x80 {
                write!(into, "\\x{code:02x}")
            } else if code < 0x1_0000 {
                write!(into, "\\u{code:04x}")
            } else {
                write!(into, "\\U{code:08x}")
            };
            debug_assert!(result.is_ok());
            return;
        }
    };
    into.push_str(escape);
}

/// `%q` of a character.
#[must_use]
pub fn quote_char(c: char) -> String {
    let mut quoted = String::from("'");
    push_quoted(&mut quoted, c, '\'');
    quoted.push('\'');
    quoted
}

/// `strconv.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space
/// (`strconv/isprint.go`, without the code points that no one has assigned yet).
fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    let code = u32::from(c);
    // Variation selectors are marks.
    matches!(code, 0xe_0100..=0xe_01ef)
        || !matches!(
            code,
            0x80..=0xa0
                | 0xad
                | 0x600..=0x605
                | 0x61c
                | 0x6dd
                | 0x70f
                | 0x8e2
                | 0x1680
                | 0x180e
                | 0x2000..=0x200f
                | 0x2028..=0x202f
                | 0x205f..=0x206f
                | 0x3000
                | 0xe000..=0xf8ff
                | 0xfeff
                | 0xfff0..=0xfffb
                | 0xfffe
                | 0xffff
                | 0x1_10bd
                | 0x1_10cd
                | 0xe_0000..=0x10_ffff
        )
}

/// How `encoding/json` quotes a byte in a syntax error.
#[must_use]
pub fn quote_byte(byte: u8) -> String {
    match byte {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        _ => {
            let mut quoted = String::from("'");
            push_quoted(&mut quoted, char::from(byte), '"');
            quoted.push('\'');
            quoted
        }
    }
}

/// `json.Marshal` of a string: `<`, `>`, `&` and the line separators are escaped.
#[must_use]
pub fn json_string(text: &str) -> String {
    let mut json = String::with_capacity(text.len() + 2);
    json.push('"');
    for c in text.chars() {
        match c {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\u{8}' => json.push_str("\\b"),
            '\u{c}' => json.push_str("\\f"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => {
                let result = write!(json, "\\u{:04x}", u32::from(c));
                debug_assert!(result.is_ok());
            }
            _ => json.push(c),
        }
    }
    json.push('"');
    json
}

/// Text from bytes; every byte that is not UTF-8 becomes one replacement character.
#[must_use]
pub fn utf8_replacing(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(good) => {
                text.push_str(good);
                return text;
            }
            Err(error) => {
                let (good, bad) = rest
                    .split_at_checked(error.valid_up_to())
                    .unwrap_or_default();
                text.push_str(std::str::from_utf8(good).unwrap_or_default());
                text.push('\u{fffd}');
                rest = bad.get(1..).unwrap_or_default();
            }
        }
    }
}

/// `%#v` of a scalar.
pub(super) fn scalar_syntax(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Null => "interface {}(nil)".to_owned(),
        Scalar::Bool(value) => value.to_string(),
        Scalar::Number(number) => number.go(),
        Scalar::Text(text) => quote(text),
    }
}

/// `%#v` of a value.
pub(super) fn item_syntax(items: &[(Item, Mark)], id: ItemId) -> String {
    enum Part {
        Item(ItemId),
        Text(String),
    }
    let mut text = String::new();
    let mut parts = vec![Part::Item(id)];
    while let Some(part) = parts.pop() {
        if text.len() > LONGEST {
            text.push_str("...");
            break;
        }
        let id = match part {
            Part::Text(part) => {
                text.push_str(&part);
                continue;
            }
            Part::Item(id) => id,
        };
        match items.get(id) {
            None => {}
            Some((Item::Scalar(scalar), _)) => text.push_str(&scalar_syntax(scalar)),
            Some((Item::Sequence(children), _)) => {
                text.push_str("[]interface {}{");
                parts.push(Part::Text("}".to_owned()));
                for (at, child) in children.iter().enumerate().rev() {
                    parts.push(Part::Item(*child));
                    if at > 0 {
                        parts.push(Part::Text(", ".to_owned()));
                    }
                }
            }
            Some((Item::Mapping(mapping), _)) => {
                text.push_str("map[interface {}]interface {}{");
                parts.push(Part::Text("}".to_owned()));
                // Go sorts the keys it prints.
                let mut entries: Vec<_> = mapping.entries.iter().collect();
                entries.sort_by(|a, b| order(&a.key, &b.key));
                for (at, entry) in entries.into_iter().enumerate().rev() {
                    parts.push(Part::Item(entry.value));
                    parts.push(Part::Text(format!("{}:", scalar_syntax(&entry.key))));
                    if at > 0 {
                        parts.push(Part::Text(", ".to_owned()));
                    }
                }
            }
        }
    }
    text
}

fn order(a: &Scalar, b: &Scalar) -> std::cmp::Ordering {
    match (a, b) {
        (Scalar::Text(a), Scalar::Text(b)) => a.cmp(b),
        (Scalar::Bool(a), Scalar::Bool(b)) => a.cmp(b),
        (Scalar::Number(a), Scalar::Number(b)) => {
            a.partial_cmp_value(b).unwrap_or(std::cmp::Ordering::Equal)
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

fn rank(scalar: &Scalar) -> u8 {
    match scalar {
        Scalar::Null => 0,
        Scalar::Bool(_) => 1,
        Scalar::Number(_) => 2,
        Scalar::Text(_) => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_as_strconv_does() {
        for (text, quoted) in [
            ("a\"b'c\\d", r#""a\"b'c\\d""#),
            (
                "\u{7}\u{8}\u{c}\n\r\t\u{b}\u{1b}\u{7f}",
                r#""\a\b\f\n\r\t\v\x1b\x7f""#,
            ),
            (
                "é\u{85}\u{a0}\u{200b}\u{feff}",
                r#""é\u0085\u00a0\u200b\ufeff""#,
            ),
            (
                "\u{e0001}\u{e0101}\u{1f600}",
                "\"\\U000e0001\u{e0101}\u{1f600}\"",
            ),
        ] {
            assert_eq!(quote(text), quoted);
        }
        assert_eq!(
            ['a', '\'', '"', '\\', '\n', '\u{1}'].map(quote_char),
            ["'a'", r"'\''", "'\"'", r"'\\'", r"'\n'", r"'\x01'"]
        );
    }
}
