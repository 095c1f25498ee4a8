//! The tokens of JSON that was checked before: what does not fit ends the value, nothing recurses.

use std::borrow::Cow;

/// A place in the input.
pub(super) struct Tokens<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Tokens<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    pub fn byte(&self) -> u8 {
        self.data.get(self.at).copied().unwrap_or(0)
    }

    pub fn bump(&mut self) {
        self.at += 1;
    }

    /// The next byte that is no white space; 0 at the end.
    pub fn peek(&mut self) -> u8 {
        while matches!(self.byte(), b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        self.byte()
    }

    /// The next key of an object whose brace is behind us, up to the value; `None` behind the closing brace.
    pub fn next_key(&mut self) -> Option<Cow<'a, str>> {
        if self.peek() == b',' {
            self.bump();
            self.peek();
        }
        if self.byte() != b'"' {
            self.bump();
            return None;
        }
        let key = self.string();
        if self.peek() == b':' {
            self.bump();
        }
        Some(key)
    }

    /// Whether an array whose bracket is behind us has another item.
    pub fn next_item(&mut self) -> bool {
        match self.peek() {
            b']' | 0 => {
                self.bump();
                false
            }
            b',' => {
                self.bump();
                true
            }
            _ => true,
        }
    }

    /// A string, its opening quote next.
    pub fn string(&mut self) -> Cow<'a, str> {
        let raw = self.raw();
        let inner = raw.get(1..raw.len().saturating_sub(1)).unwrap_or_default();
        if inner.contains(&b'\\') {
            Cow::Owned(unescape(inner))
        } else {
            String::from_utf8_lossy(inner)
        }
    }

    /// The text of the next value, passed over without recursion.
    pub fn raw(&mut self) -> &'a [u8] {
        self.peek();
        let start = self.at;
        let mut open = 0_usize;
        loop {
            match self.byte() {
                b'"' => {
                    self.bump();
                    loop {
                        match self.byte() {
                            b'\\' => self.at += 2,
                            b'"' | 0 => break,
                            _ => self.bump(),
                        }
                    }
                    self.bump();
                }
                b'{' | b'[' => {
                    open += 1;
                    self.bump();
                }
                b'}' | b']' => {
                    open = open.saturating_sub(1);
                    self.bump();
                }
                b',' | b':' | b' ' | b'\t' | b'\r' | b'\n' => self.bump(),
                0 if self.at >= self.data.len() => break,
                _ => {
                    while !matches!(
                        self.byte(),
                        0 | b',' | b':' | b'}' | b']' | b' ' | b'\t' | b'\r' | b'\n'
                    ) {
                        self.bump();
                    }
                }
            }
            if open == 0 {
                break;
            }
        }
        let end = self.at.min(self.data.len());
        self.data.get(start..end).unwrap_or_default()
    }

    pub fn skip(&mut self) {
        _ = self.raw();
    }

    /// The next value as type errors call it. `exact`: numbers with their digits, as for number types.
    pub fn describe(&mut self, exact: bool) -> String {
        match self.peek() {
            b'{' => "object".to_owned(),
            b'[' => "array".to_owned(),
            b'"' => "string".to_owned(),
            b't' | b'f' => "bool".to_owned(),
            _ if exact => {
                let at = self.at;
                let raw = String::from_utf8_lossy(self.raw()).into_owned();
                self.at = at;
                format!("number {raw}")
            }
            _ => "number".to_owned(),
        }
    }
}

fn unescape(inner: &[u8]) -> String {
    let text = String::from_utf8_lossy(inner);
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let first = hex(&mut chars);
                let paired = (0xd800..0xdc00).contains(&first).then(|| {
                    let mut ahead = chars.clone();
                    let escaped = ahead.next() == Some('\\') && ahead.next() == Some('u');
                    let second = if escaped { hex(&mut ahead) } else { 0 };
                    (0xdc00..0xe000).contains(&second).then(|| {
                        (
                            0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00),
                            ahead,
                        )
                    })
                });
                match paired.flatten() {
                    Some((code, ahead)) => {
                        chars = ahead;
                        out.push(char::from_u32(code).unwrap_or('\u{fffd}'));
                    }
                    None => out.push(char::from_u32(first).unwrap_or('\u{fffd}')),
                }
            }
            Some(c) => out.push(c),
            None => {}
        }
    }
    out
}

fn hex(chars: &mut std::str::Chars<'_>) -> u32 {
    (0..4).fold(0, |code, _| {
        code * 16 + chars.next().and_then(|c| c.to_digit(16)).unwrap_or(0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_unescaped_as_go_does() {
        assert_eq!(
            unescape(br"a\u00e9\n\ud83d\ude00\ud800x\/"),
            "aé\n😀\u{fffd}x/"
        );
    }
}
