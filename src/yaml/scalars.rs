//! Scanning of scalars: plain, quoted, literal and folded.

use super::scanner::{Scan, Scanner};
use super::token::{Kind, Mark, Style};

/// Line breaks and blanks met inside a scalar, held back until it is known whether more text follows.
#[derive(Default)]
struct Pending {
    leading_blanks: bool,
    whitespace: Vec<u8>,
    leading_break: Vec<u8>,
    trailing_breaks: Vec<u8>,
}

impl Pending {
    /// Writes what was held back, folding a single line break into a space.
    fn flush(&mut self, into: &mut Vec<u8>) {
        if self.leading_blanks {
            if self.leading_break.first() == Some(&b'\n') {
                if self.trailing_breaks.is_empty() {
                    into.push(b' ');
                } else {
                    into.append(&mut self.trailing_breaks);
                }
            } else {
                into.append(&mut self.leading_break);
                into.append(&mut self.trailing_breaks);
            }
            self.trailing_breaks.clear();
            self.leading_break.clear();
        } else {
            into.append(&mut self.whitespace);
        }
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

impl Scanner<'_> {
    pub(super) fn scan_plain_scalar(&mut self) -> Scan<()> {
        let mut value = Vec::new();
        let mut pending = Pending::default();
        let indent = self.indent + 1;
        let start = self.mark;
        let mut end = self.mark;
        loop {
            self.cache(4)?;
            if self.is_document_indicator() || self.byte(0) == b'#' {
                break;
            }
            while !self.is_blank_or_end(0) {
                let c = self.byte(0);
                if (c == b':' && self.is_blank_or_end(1))
                    || (self.flow_level > 0 && b",?[]{}".contains(&c))
                {
                    break;
                }
                if pending.leading_blanks || !pending.whitespace.is_empty() {
                    pending.flush(&mut value);
                    pending.leading_blanks = false;
                }
                self.read(&mut value);
                end = self.mark;
                self.cache(2)?;
            }
            if !(self.is_blank(0) || self.is_break(0)) {
                break;
            }
            self.cache(1)?;
            while self.is_blank(0) || self.is_break(0) {
                if self.is_blank(0) {
                    if pending.leading_blanks && self.byte(0) == b'\t' && self.left_of(indent) {
                        return self
                            .fault("found a tab character that violates indentation", start);
                    }
                    if pending.leading_blanks {
                        self.skip();
                    } else {
                        self.read(&mut pending.whitespace);
                    }
                } else {
                    self.cache(2)?;
                    self.pending_break(&mut pending);
                }
                self.cache(1)?;
            }
            if self.flow_level == 0 && self.left_of(indent) {
                break;
            }
        }
        let leading_blanks = pending.leading_blanks;
        self.push_ending(
            Kind::Scalar {
                value: text(value),
                style: Style::Plain,
            },
            start,
            end,
        );
        if leading_blanks {
            self.simple_key_allowed = true;
        }
        Ok(())
    }

    fn left_of(&self, indent: isize) -> bool {
        isize::try_from(self.mark.column).is_ok_and(|column| column < indent)
    }

    fn push_ending(&mut self, kind: Kind, start: Mark, end: Mark) {
        let now = self.mark;
        self.mark = end;
        self.push(kind, start);
        self.mark = now;
    }

    fn pending_break(&mut self, pending: &mut Pending) {
        if pending.leading_blanks {
            self.read_line(&mut pending.trailing_breaks);
        } else {
            pending.whitespace.clear();
            self.read_line(&mut pending.leading_break);
            pending.leading_blanks = true;
        }
    }

    pub(super) fn scan_flow_scalar(&mut self, single: bool) -> Scan<()> {
        let start = self.mark;
        self.skip();
        let mut value = Vec::new();
        loop {
            self.cache(4)?;
            if self.is_document_indicator() {
                return self.fault("found unexpected document indicator", start);
            }
            if self.at_end() {
                return self.fault("found unexpected end of stream", start);
            }
            let mut pending = Pending::default();
            self.quoted_run(single, start, &mut value, &mut pending)?;
            self.cache(1)?;
            if self.byte(0) == if single { b'\'' } else { b'"' } {
                break;
            }
            while self.is_blank(0) || self.is_break(0) {
                if self.is_blank(0) {
                    if pending.leading_blanks {
                        self.skip();
                    } else {
                        self.read(&mut pending.whitespace);
                    }
                } else {
                    self.cache(2)?;
                    self.pending_break(&mut pending);
                }
                self.cache(1)?;
            }
            pending.flush(&mut value);
        }
        self.skip();
        self.push(
            Kind::Scalar {
                value: text(value),
                style: Style::Other,
            },
            start,
        );
        Ok(())
    }

    /// Everything up to a blank, a line break or the closing quote.
    fn quoted_run(
        &mut self,
        single: bool,
        start: Mark,
        value: &mut Vec<u8>,
        pending: &mut Pending,
    ) -> Scan<()> {
        while !self.is_blank_or_end(0) {
            let c = self.byte(0);
            if single && c == b'\'' {
                if self.byte(1) != b'\'' {
                    break;
                }
                value.push(b'\'');
                self.skip();
                self.skip();
            } else if !single && c == b'"' {
                break;
            } else if !single && c == b'\\' && self.is_break(1) {
                self.cache(3)?;
                self.skip();
                self.skip_line();
                pending.leading_blanks = true;
                break;
            } else if !single && c == b'\\' {
                self.escape(start, value)?;
            } else {
                self.read(value);
            }
            self.cache(2)?;
        }
        Ok(())
    }

    fn escape(&mut self, start: Mark, value: &mut Vec<u8>) -> Scan<()> {
        let mut digits = 0;
        let plain: &[u8] = match self.byte(1) {
            b'0' => &[0],
            b'a' => &[7],
            b'b' => &[8],
            b't' | b'\t' => b"\t",
            b'n' => b"\n",
            b'v' => &[0x0b],
            b'f' => &[0x0c],
            b'r' => b"\r",
            b'e' => &[0x1b],
            b' ' => b" ",
            b'"' => b"\"",
            b'\'' => b"'",
            b'\\' => b"\\",
            b'N' => "\u{85}".as_bytes(),
            b'_' => "\u{a0}".as_bytes(),
            b'L' => "\u{2028}".as_bytes(),
            b'P' => "\u{2029}".as_bytes(),
            b'x' => {
                digits = 2;
                &[]
            }
            b'u' => {
                digits = 4;
                &[]
            }
            b'U' => {
                digits = 8;
                &[]
            }
            _ => return self.fault("found unknown escape character", start),
        };
        value.extend_from_slice(plain);
        self.skip();
        self.skip();
        if digits == 0 {
            return Ok(());
        }
        self.cache(digits)?;
        let mut code: u64 = 0;
        for ahead in 0..digits {
            let Some(digit) = char::from(self.byte(ahead)).to_digit(16) else {
                // The spelling is the real scanner's.
                return self.fault("did not find expected hexdecimal number", start);
            };
            code = (code << 4) | u64::from(digit);
        }
        let Some(c) = u32::try_from(code).ok().and_then(char::from_u32) else {
            return self.fault("found invalid Unicode character escape code", start);
        };
        value.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        for _ in 0..digits {
            self.skip();
        }
        Ok(())
    }

    pub(super) fn scan_block_scalar(&mut self, literal: bool) -> Scan<()> {
        let start = self.mark;
        self.skip();
        let (chomping, increment) = self.block_header(start)?;
        self.skip_blanks()?;
        self.skip_comment()?;
        if !self.is_break_or_end(0) {
            return self.fault("did not find expected comment or line break", start);
        }
        if self.is_break(0) {
            self.cache(2)?;
            self.skip_line();
        }
        let mut indent = match increment {
            0 => 0,
            n => usize::try_from(self.indent).unwrap_or(0) + n,
        };
        let mut value = Vec::new();
        let mut leading_break = Vec::new();
        let mut trailing_breaks = Vec::new();
        let mut end = self.mark;
        self.block_breaks(&mut indent, &mut trailing_breaks, start, &mut end)?;
        self.cache(1)?;
        let mut leading_blank = false;
        while self.mark.column == indent && !self.at_end() {
            let trailing_blank = self.is_blank(0);
            if !literal
                && !leading_blank
                && !trailing_blank
                && leading_break.first() == Some(&b'\n')
            {
                if trailing_breaks.is_empty() {
                    value.push(b' ');
                }
            } else {
                value.extend_from_slice(&leading_break);
            }
            leading_break.clear();
            value.append(&mut trailing_breaks);
            leading_blank = self.is_blank(0);
            while !self.is_break_or_end(0) {
                self.read(&mut value);
                self.cache(1)?;
            }
            self.cache(2)?;
            self.read_line(&mut leading_break);
            self.block_breaks(&mut indent, &mut trailing_breaks, start, &mut end)?;
        }
        if chomping != Some(b'-') {
            value.append(&mut leading_break);
        }
        if chomping == Some(b'+') {
            value.append(&mut trailing_breaks);
        }
        self.push_ending(
            Kind::Scalar {
                value: text(value),
                style: Style::Other,
            },
            start,
            end,
        );
        Ok(())
    }

    fn block_header(&mut self, start: Mark) -> Scan<(Option<u8>, usize)> {
        self.cache(1)?;
        let mut chomping = None;
        let mut increment = 0;
        if matches!(self.byte(0), b'+' | b'-') {
            chomping = Some(self.byte(0));
            self.skip();
            self.cache(1)?;
            if self.byte(0).is_ascii_digit() {
                increment = self.block_indent_digit(start)?;
            }
        } else if self.byte(0).is_ascii_digit() {
            increment = self.block_indent_digit(start)?;
            self.cache(1)?;
            if matches!(self.byte(0), b'+' | b'-') {
                chomping = Some(self.byte(0));
                self.skip();
            }
        }
        Ok((chomping, increment))
    }

    fn block_indent_digit(&mut self, start: Mark) -> Scan<usize> {
        let digit = usize::from(self.byte(0) - b'0');
        if digit == 0 {
            return self.fault("found an indentation indicator equal to 0", start);
        }
        self.skip();
        Ok(digit)
    }

    fn block_breaks(
        &mut self,
        indent: &mut usize,
        breaks: &mut Vec<u8>,
        start: Mark,
        end: &mut Mark,
    ) -> Scan<()> {
        *end = self.mark;
        let mut deepest = 0;
        loop {
            self.cache(1)?;
            while (*indent == 0 || self.mark.column < *indent) && self.byte(0) == b' ' {
                self.skip();
                self.cache(1)?;
            }
            deepest = deepest.max(self.mark.column);
            if (*indent == 0 || self.mark.column < *indent) && self.byte(0) == b'\t' {
                return self.fault(
                    "found a tab character where an indentation space is expected",
                    start,
                );
            }
            if !self.is_break(0) {
                break;
            }
            self.cache(2)?;
            self.read_line(breaks);
            *end = self.mark;
        }
        if *indent == 0 {
            let least = usize::try_from(self.indent + 1).unwrap_or(0);
            *indent = deepest.max(least).max(1);
        }
        Ok(())
    }
}
