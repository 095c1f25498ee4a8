//! JSON as Go's `encoding/json` reads it: same errors, broken UTF-8 and lone surrogates replaced.

use std::sync::Arc;

use super::go::{quote_byte, utf8_replacing};
use super::tree::{Id, Member, Node, Span, Tree};
use super::{Error, MAX_VALUES, TOO_MANY_VALUES};

/// Reads one JSON document.
///
/// # Errors
/// Go's text, such as `invalid character '}' looking for beginning of object key string`.
pub fn to_tree(bytes: &[u8]) -> Result<Tree, Error> {
    let mut reader = Reader {
        bytes,
        pos: 0,
        line: 1,
        line_start: 0,
        nodes: Vec::new(),
        open: Vec::new(),
    };
    let root = reader.document()?;
    Ok(Tree::new(reader.nodes, root, None))
}

enum Open {
    Array {
        id: Id,
        elements: Vec<Id>,
    },
    Object {
        id: Id,
        members: Vec<Member>,
        key: Option<(Arc<str>, Span)>,
    },
}

struct Reader<'a> {
    bytes: &'a [u8],
    pos: usize,
    line: usize,
    line_start: usize,
    nodes: Vec<(Node, Span)>,
    open: Vec<Open>,
}

/// What the reader does next.
enum Next {
    /// A value; or the end of the array just begun.
    Value { or_end: bool },
    /// A key; or the end of the object just begun.
    Key { or_end: bool },
    /// A value is complete.
    Done(Id),
}

impl Reader<'_> {
    fn document(&mut self) -> Result<Id, Error> {
        let mut next = Next::Value { or_end: false };
        loop {
            next = match next {
                Next::Value { or_end } => self.value(or_end)?,
                Next::Key { or_end } => self.key(or_end)?,
                Next::Done(id) => {
                    if self.open.is_empty() {
                        return match self.peek() {
                            None => Ok(id),
                            Some(byte) => Err(self.invalid(byte, "after top-level value")),
                        };
                    }
                    self.done(id)?
                }
            };
        }
    }

    /// The next byte that is not white space, not taken.
    fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.bytes.get(self.pos) {
            match byte {
                b'\n' => {
                    self.line += 1;
                    self.line_start = self.pos + 1;
                }
                b' ' | b'\t' | b'\r' => {}
                _ => return Some(byte),
            }
            self.pos += 1;
        }
        None
    }

    fn need(&mut self) -> Result<u8, Error> {
        self.peek().ok_or_else(|| self.ended())
    }

    fn span(&self) -> Span {
        let line = self
            .bytes
            .get(self.line_start..self.pos)
            .unwrap_or_default();
        // Only lines of sane length are worth counting in characters.
        let column = if line.len() > 4096 {
            line.len()
        } else {
            line.iter().filter(|byte| **byte & 0xc0 != 0x80).count()
        };
        Span {
            line: self.line,
            column: column + 1,
        }
    }

    fn invalid(&self, byte: u8, context: &str) -> Error {
        Error {
            text: format!("invalid character {} {context}", quote_byte(byte)),
            at: Some(self.span()),
        }
    }

    fn ended(&self) -> Error {
        Error {
            text: "unexpected end of JSON input".to_owned(),
            at: Some(self.span()),
        }
    }

    fn add(&mut self, node: Node, span: Span) -> Id {
        self.nodes.push((node, span));
        self.nodes.len() - 1
    }

    fn enter(&mut self, byte: u8) -> Result<Id, Error> {
        if self.open.len() >= Tree::MAX_JSON_DEPTH {
            return Err(self.invalid(byte, "exceeded max depth"));
        }
        let span = self.span();
        self.pos += 1;
        Ok(self.add(Node::Null, span))
    }

    fn value(&mut self, or_end: bool) -> Result<Next, Error> {
        if self.nodes.len() >= MAX_VALUES {
            return Err(Error::new(TOO_MANY_VALUES));
        }
        let byte = self.need()?;
        let span = self.span();
        let node = match byte {
            b']' if or_end => {
                self.pos += 1;
                return Ok(self.close());
            }
            b'{' => {
                let id = self.enter(byte)?;
                self.open.push(Open::Object {
                    id,
                    members: Vec::new(),
                    key: None,
                });
                return Ok(Next::Key { or_end: true });
            }
            b'[' => {
                let id = self.enter(byte)?;
                self.open.push(Open::Array {
                    id,
                    elements: Vec::new(),
                });
                return Ok(Next::Value { or_end: true });
            }
            b'"' => Node::Text(self.string()?.into()),
            b'-' | b'0'..=b'9' => Node::Number(self.number()?),
            b't' => self.literal("true", Node::Bool(true))?,
            b'f' => self.literal("false", Node::Bool(false))?,
            b'n' => self.literal("null", Node::Null)?,
            _ => return Err(self.invalid(byte, "looking for beginning of value")),
        };
        Ok(Next::Done(self.add(node, span)))
    }

    fn key(&mut self, or_end: bool) -> Result<Next, Error> {
        let byte = self.need()?;
        if byte == b'}' && or_end {
            self.pos += 1;
            return Ok(self.close());
        }
        if byte != b'"' {
            return Err(self.invalid(byte, "looking for beginning of object key string"));
        }
        let span = self.span();
        let name = self.string()?;
        if let Some(Open::Object { key, .. }) = self.open.last_mut() {
            *key = Some((name.into(), span));
        }
        match self.need()? {
            b':' => {
                self.pos += 1;
                Ok(Next::Value { or_end: false })
            }
            byte => Err(self.invalid(byte, "after object key")),
        }
    }

    fn done(&mut self, value: Id) -> Result<Next, Error> {
        let byte = self.need()?;
        let (end, context, next) = match self.open.last_mut() {
            Some(Open::Object { members, key, .. }) => {
                let (key, key_span) = key.take().unwrap_or((Arc::from(""), Span::default()));
                members.push(Member {
                    key,
                    key_span,
                    value,
                });
                (
                    b'}',
                    "after object key:value pair",
                    Next::Key { or_end: false },
                )
            }
            Some(Open::Array { elements, .. }) => {
                elements.push(value);
                (b']', "after array element", Next::Value { or_end: false })
            }
            None => return Ok(Next::Done(value)),
        };
        if byte == b',' {
            self.pos += 1;
            return Ok(next);
        }
        if byte == end {
            self.pos += 1;
            return Ok(self.close());
        }
        Err(self.invalid(byte, context))
    }

    fn close(&mut self) -> Next {
        let (id, node) = match self.open.pop() {
            Some(Open::Array { id, elements }) => (id, Node::Array(elements)),
            Some(Open::Object { id, members, .. }) => (id, Node::Object(members)),
            None => (0, Node::Null),
        };
        if let Some((slot, _)) = self.nodes.get_mut(id) {
            *slot = node;
        }
        Next::Done(id)
    }

    fn byte(&self) -> Result<u8, Error> {
        self.bytes
            .get(self.pos)
            .copied()
            .ok_or_else(|| self.ended())
    }

    fn literal(&mut self, word: &str, node: Node) -> Result<Node, Error> {
        for expected in word.bytes() {
            let byte = self.byte()?;
            if byte != expected {
                let context = format!("in literal {word} (expecting '{}')", char::from(expected));
                return Err(self.invalid(byte, &context));
            }
            self.pos += 1;
        }
        Ok(node)
    }

    fn digits(&mut self) {
        while self.bytes.get(self.pos).is_some_and(u8::is_ascii_digit) {
            self.pos += 1;
        }
    }

    fn number(&mut self) -> Result<Arc<str>, Error> {
        let start = self.pos;
        if self.byte()? == b'-' {
            self.pos += 1;
        }
        match self.byte()? {
            b'0' => self.pos += 1,
            b'1'..=b'9' => self.digits(),
            byte => return Err(self.invalid(byte, "in numeric literal")),
        }
        if self.bytes.get(self.pos) == Some(&b'.') {
            self.pos += 1;
            let byte = self.byte()?;
            if !byte.is_ascii_digit() {
                return Err(self.invalid(byte, "after decimal point in numeric literal"));
            }
            self.digits();
        }
        if matches!(self.bytes.get(self.pos), Some(b'e' | b'E')) {
            self.pos += 1;
            if matches!(self.byte()?, b'+' | b'-') {
                self.pos += 1;
            }
            let byte = self.byte()?;
            if !byte.is_ascii_digit() {
                return Err(self.invalid(byte, "in exponent of numeric literal"));
            }
            self.digits();
        }
        let literal = self.bytes.get(start..self.pos).unwrap_or_default();
        Ok(std::str::from_utf8(literal).unwrap_or_default().into())
    }

    fn string(&mut self) -> Result<String, Error> {
        self.pos += 1;
        let mut text: Vec<u8> = Vec::new();
        loop {
            let byte = self.byte()?;
            match byte {
                b'"' => {
                    self.pos += 1;
                    return Ok(utf8_replacing(&text));
                }
                b'\\' => {
                    self.pos += 1;
                    let c = self.escape()?;
                    text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0x00..=0x1f => return Err(self.invalid(byte, "in string literal")),
                _ => {
                    text.push(byte);
                    self.pos += 1;
                }
            }
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        let byte = self.byte()?;
        let c = match byte {
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'\\' | b'/' | b'"' => char::from(byte),
            b'u' => {
                self.pos += 1;
                return self.unicode_escape();
            }
            _ => return Err(self.invalid(byte, "in string escape code")),
        };
        self.pos += 1;
        Ok(c)
    }

    fn unicode_escape(&mut self) -> Result<char, Error> {
        let first = self.hex4()?;
        if !(0xd800..0xe000).contains(&first) {
            return Ok(char::from_u32(first).unwrap_or('\u{fffd}'));
        }
        // A lone surrogate is replaced; the escape behind it stands for itself.
        let rest = self.bytes.get(self.pos..).unwrap_or_default();
        if first < 0xdc00
            && let [b'\\', b'u', a, b, c, d, ..] = rest
        {
            let mut second = 0;
            for digit in [a, b, c, d] {
                let Some(digit) = char::from(*digit).to_digit(16) else {
                    return Ok('\u{fffd}');
                };
                second = second * 16 + digit;
            }
            if (0xdc00..0xe000).contains(&second) {
                self.pos += 6;
                let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).unwrap_or('\u{fffd}'));
            }
        }
        Ok('\u{fffd}')
    }

    fn hex4(&mut self) -> Result<u32, Error> {
        let mut code = 0;
        for _ in 0..4 {
            let byte = self.byte()?;
            let Some(digit) = char::from(byte).to_digit(16) else {
                return Err(self.invalid(byte, "in \\u hexadecimal character escape"));
            };
            code = code * 16 + digit;
            self.pos += 1;
        }
        Ok(code)
    }
}
