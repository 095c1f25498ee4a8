//! From bytes to text: encodings, byte order marks, characters that YAML forbids
//! (`readerc.go` of goyaml.v2).

use std::borrow::Cow;

/// The real reader decodes this many raw bytes at a time; a bad byte spoils its whole chunk.
const CHUNK: usize = 512;

/// A decoded text, up to the first chunk that cannot be decoded.
pub(super) struct Source<'a> {
    /// UTF-8 text without byte order mark.
    pub text: Cow<'a, [u8]>,
    /// What the reader says when it is asked for more than `text`.
    pub problem: Option<&'static str>,
}

enum Encoding {
    Utf8,
    Utf16 { low: usize, high: usize },
}

impl<'a> Source<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        if bytes.is_empty() {
            return Self {
                text: Cow::Borrowed(b"\n"),
                problem: None,
            };
        }
        let (encoding, start) = match bytes {
            [0xff, 0xfe, ..] => (Encoding::Utf16 { low: 0, high: 1 }, 2),
            [0xfe, 0xff, ..] => (Encoding::Utf16 { low: 1, high: 0 }, 2),
            [0xef, 0xbb, 0xbf, ..] => (Encoding::Utf8, 3),
            _ => (Encoding::Utf8, 0),
        };
        if matches!(encoding, Encoding::Utf8) {
            let text = bytes.get(start..).unwrap_or_default();
            if std::str::from_utf8(text).is_ok_and(|text| text.chars().all(allowed)) {
                return Self {
                    text: Cow::Borrowed(text),
                    problem: None,
                };
            }
        }
        decode_slowly(bytes, start, &encoding)
    }
}

fn decode_slowly(bytes: &[u8], start: usize, encoding: &Encoding) -> Source<'static> {
    let mut text = String::new();
    let mut offset = start;
    let mut chunk_end = CHUNK;
    let mut chunk_text = 0;
    while offset < bytes.len() {
        let rest = bytes.get(offset..).unwrap_or_default();
        let decoded = match encoding {
            Encoding::Utf8 => utf8(rest),
            Encoding::Utf16 { low, high } => utf16(rest, *low, *high),
        };
        let (width, result) = decoded;
        if offset + width > chunk_end {
            chunk_end = offset + CHUNK;
            chunk_text = text.len();
        }
        match result {
            Ok(c) if allowed(c) => text.push(c),
            Ok(_) => return spoiled(text, chunk_text, "control characters are not allowed"),
            Err(problem) => return spoiled(text, chunk_text, problem),
        }
        offset += width;
    }
    Source {
        text: Cow::Owned(text.into_bytes()),
        problem: None,
    }
}

fn spoiled(mut text: String, keep: usize, problem: &'static str) -> Source<'static> {
    text.truncate(keep);
    Source {
        text: Cow::Owned(text.into_bytes()),
        problem: Some(problem),
    }
}

/// How many bytes the character takes (or would take) and what it is.
type Decoded = (usize, Result<char, &'static str>);

fn utf8(rest: &[u8]) -> Decoded {
    let first = rest.first().copied().unwrap_or_default();
    let (width, mut value) = match first {
        0x00..=0x7f => (1, u32::from(first)),
        0xc0..=0xdf => (2, u32::from(first & 0x1f)),
        0xe0..=0xef => (3, u32::from(first & 0x0f)),
        0xf0..=0xf7 => (4, u32::from(first & 0x07)),
        _ => return (1, Err("invalid leading UTF-8 octet")),
    };
    let Some(tail) = rest.get(1..width) else {
        return (width, Err("incomplete UTF-8 octet sequence"));
    };
    for &octet in tail {
        if octet & 0xc0 != 0x80 {
            return (width, Err("invalid trailing UTF-8 octet"));
        }
        value = (value << 6) | u32::from(octet & 0x3f);
    }
    let shortest = match width {
        1 => true,
        2 => value >= 0x80,
        3 => value >= 0x800,
        _ => value >= 0x1_0000,
    };
    if !shortest {
        return (width, Err("invalid length of a UTF-8 sequence"));
    }
    (
        width,
        char::from_u32(value).ok_or("invalid Unicode character"),
    )
}

fn utf16(rest: &[u8], low: usize, high: usize) -> Decoded {
    let unit = |at: usize| -> Option<u32> {
        let low = rest.get(at + low)?;
        let high = rest.get(at + high)?;
        Some(u32::from(*low) | (u32::from(*high) << 8))
    };
    let Some(first) = unit(0) else {
        return (2, Err("incomplete UTF-16 character"));
    };
    if first & 0xfc00 == 0xdc00 {
        return (2, Err("unexpected low surrogate area"));
    }
    if first & 0xfc00 != 0xd800 {
        return (2, char::from_u32(first).ok_or("invalid Unicode character"));
    }
    let Some(second) = unit(2) else {
        return (4, Err("incomplete UTF-16 surrogate pair"));
    };
    if second & 0xfc00 != 0xdc00 {
        return (4, Err("expected low surrogate area"));
    }
    let value = 0x1_0000 + ((first & 0x3ff) << 10) + (second & 0x3ff);
    (4, char::from_u32(value).ok_or("invalid Unicode character"))
}

/// The characters YAML 1.1 allows in a stream.
fn allowed(c: char) -> bool {
    matches!(c,
        '\t' | '\n' | '\r' | ' '..='~' | '\u{85}' | '\u{a0}'..='\u{d7ff}'
        | '\u{e000}'..='\u{fffd}' | '\u{10000}'..='\u{10ffff}')
}
