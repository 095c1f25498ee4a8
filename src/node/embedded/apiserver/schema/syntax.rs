//! JSON syntax with Go's error texts (`encoding/json/scanner.go`).

use crate::yaml::go::quote;

/// Nesting that Go's scanner accepts.
const MAX_DEPTH: usize = 10_000;

/// What a value is part of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Within {
    Key,
    Value,
    Array,
}

/// Where the scanner is.
#[derive(Clone, Copy)]
enum Step {
    Value,
    ValueOrEnd,
    Key,
    KeyOrEnd,
    AfterValue,
    InString,
    Escape,
    Hex(u8),
    Minus,
    Zero,
    Digits,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
    Word(&'static str, usize),
}

/// Checks that `data` is one JSON value.
///
/// # Errors
/// Go's text of the syntax error.
pub fn check(data: &[u8]) -> Result<(), String> {
    let mut scanner = Scanner {
        step: Step::Value,
        stack: Vec::new(),
    };
    for byte in data {
        scanner.next(*byte)?;
    }
    // A number at the top ends where the input ends.
    if matches!(
        scanner.step,
        Step::Zero | Step::Digits | Step::Fraction | Step::ExponentDigits
    ) {
        scanner.step = Step::AfterValue;
    }
    if scanner.stack.is_empty() && matches!(scanner.step, Step::AfterValue) {
        Ok(())
    } else {
        Err("unexpected end of JSON input".to_owned())
    }
}

struct Scanner {
    step: Step,
    stack: Vec<Within>,
}

impl Scanner {
    fn next(&mut self, c: u8) -> Result<(), String> {
        let space = matches!(c, b' ' | b'\t' | b'\r' | b'\n');
        match self.step {
            Step::Value if space => {}
            Step::ValueOrEnd if space => {}
            Step::Key | Step::KeyOrEnd | Step::AfterValue if space => {}
            Step::ValueOrEnd if c == b']' => self.pop(),
            Step::Value | Step::ValueOrEnd => return self.begin_value(c),
            Step::KeyOrEnd if c == b'}' => self.pop(),
            Step::Key | Step::KeyOrEnd => {
                if c != b'"' {
                    return Err(invalid(c, "looking for beginning of object key string"));
                }
                self.step = Step::InString;
            }
            Step::AfterValue => return self.after_value(c),
            Step::InString => match c {
                b'"' => self.step = Step::AfterValue,
                b'\\' => self.step = Step::Escape,
                0..0x20 => return Err(invalid(c, "in string literal")),
                _ => {}
            },
            Step::Escape => match c {
                b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {
                    self.step = Step::InString
                }
                b'u' => self.step = Step::Hex(0),
                _ => return Err(invalid(c, "in string escape code")),
            },
            Step::Hex(seen) => {
                if !c.is_ascii_hexdigit() {
                    return Err(invalid(c, "in \\u hexadecimal character escape"));
                }
                self.step = if seen == 3 {
                    Step::InString
                } else {
                    Step::Hex(seen + 1)
                };
            }
            Step::Minus => match c {
                b'0' => self.step = Step::Zero,
                b'1'..=b'9' => self.step = Step::Digits,
                _ => return Err(invalid(c, "in numeric literal")),
            },
            Step::Digits if c.is_ascii_digit() => {}
            Step::Zero | Step::Digits => match c {
                b'.' => self.step = Step::Point,
                b'e' | b'E' => self.step = Step::Exponent,
                _ => return self.end_number(c),
            },
            Step::Point => {
                if !c.is_ascii_digit() {
                    return Err(invalid(c, "after decimal point in numeric literal"));
                }
                self.step = Step::Fraction;
            }
            Step::Fraction => match c {
                b'0'..=b'9' => {}
                b'e' | b'E' => self.step = Step::Exponent,
                _ => return self.end_number(c),
            },
            Step::Exponent if matches!(c, b'+' | b'-') => self.step = Step::ExponentSign,
            Step::Exponent | Step::ExponentSign => {
                if !c.is_ascii_digit() {
                    return Err(invalid(c, "in exponent of numeric literal"));
                }
                self.step = Step::ExponentDigits;
            }
            Step::ExponentDigits if c.is_ascii_digit() => {}
            Step::ExponentDigits => return self.end_number(c),
            Step::Word(word, at) => {
                let expected = word.as_bytes().get(at).copied().unwrap_or_default();
                if c != expected {
                    let context =
                        format!("in literal {word} (expecting '{}')", char::from(expected));
                    return Err(invalid(c, &context));
                }
                self.step = if at + 1 == word.len() {
                    Step::AfterValue
                } else {
                    Step::Word(word, at + 1)
                };
            }
        }
        Ok(())
    }

    fn begin_value(&mut self, c: u8) -> Result<(), String> {
        self.step = match c {
            b'{' => {
                self.push(Within::Key)?;
                Step::KeyOrEnd
            }
            b'[' => {
                self.push(Within::Array)?;
                Step::ValueOrEnd
            }
            b'"' => Step::InString,
            b'-' => Step::Minus,
            b'0' => Step::Zero,
            b'1'..=b'9' => Step::Digits,
            b't' => Step::Word("true", 1),
            b'f' => Step::Word("false", 1),
            b'n' => Step::Word("null", 1),
            _ => return Err(invalid(c, "looking for beginning of value")),
        };
        Ok(())
    }

    fn end_number(&mut self, c: u8) -> Result<(), String> {
        self.step = Step::AfterValue;
        self.next(c)
    }

    fn after_value(&mut self, c: u8) -> Result<(), String> {
        match (self.stack.last_mut(), c) {
            (None, _) => return Err(invalid(c, "after top-level value")),
            (Some(within @ Within::Key), b':') => {
                *within = Within::Value;
                self.step = Step::Value;
            }
            (Some(Within::Key), _) => return Err(invalid(c, "after object key")),
            (Some(within @ Within::Value), b',') => {
                *within = Within::Key;
                self.step = Step::Key;
            }
            (Some(Within::Value), b'}') => self.pop(),
            (Some(Within::Value), _) => return Err(invalid(c, "after object key:value pair")),
            (Some(Within::Array), b',') => self.step = Step::Value,
            (Some(Within::Array), b']') => self.pop(),
            (Some(Within::Array), _) => return Err(invalid(c, "after array element")),
        }
        Ok(())
    }

    fn push(&mut self, within: Within) -> Result<(), String> {
        self.stack.push(within);
        if self.stack.len() > MAX_DEPTH {
            return Err("exceeded max depth".to_owned());
        }
        Ok(())
    }

    fn pop(&mut self) {
        self.stack.pop();
        self.step = Step::AfterValue;
    }
}

fn invalid(c: u8, context: &str) -> String {
    let quoted = match c {
        b'\'' => "'\\''".to_owned(),
        b'"' => "'\"'".to_owned(),
        _ => {
            let text = quote(&char::from(c).to_string());
            format!("'{}'", text.trim_matches('"'))
        }
    };
    format!("invalid character {quoted} {context}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_documents_pass() {
        for text in [
            "1",
            " -0.5e+7 ",
            "null",
            "{}",
            "[]",
            r#"{"a":[1,{"b":"c\u00e9\n"}],"d":true}"#,
            "0",
        ] {
            assert_eq!(check(text.as_bytes()), Ok(()), "{text}");
        }
    }

    #[test]
    fn errors_have_the_texts_of_go() {
        let cases = [
            ("", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            (
                "{bad",
                "invalid character 'b' looking for beginning of object key string",
            ),
            (
                "not",
                "invalid character 'o' in literal null (expecting 'u')",
            ),
            ("{} t", "invalid character 't' after top-level value"),
            ("[1 2]", "invalid character '2' after array element"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (
                r#"{"a":1 "b"}"#,
                "invalid character '\"' after object key:value pair",
            ),
            (
                r#"{"a":}"#,
                "invalid character '}' looking for beginning of value",
            ),
            (
                "[1,]",
                "invalid character ']' looking for beginning of value",
            ),
            (
                r#"{"a":1,}"#,
                "invalid character '}' looking for beginning of object key string",
            ),
            ("01", "invalid character '1' after top-level value"),
            ("-a", "invalid character 'a' in numeric literal"),
            (
                "1.x",
                "invalid character 'x' after decimal point in numeric literal",
            ),
            (
                "1ex",
                "invalid character 'x' in exponent of numeric literal",
            ),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            (r#""\q""#, "invalid character 'q' in string escape code"),
            (
                r#""\u00g0""#,
                "invalid character 'g' in \\u hexadecimal character escape",
            ),
            (
                "'",
                "invalid character '\\'' looking for beginning of value",
            ),
            (
                "\u{e9}",
                "invalid character 'Ã' looking for beginning of value",
            ),
        ];
        for (text, error) in cases {
            assert_eq!(check(text.as_bytes()), Err(error.to_owned()), "{text}");
        }
        assert_eq!(check(&[b'['; 20_000]), Err("exceeded max depth".to_owned()));
    }
}
