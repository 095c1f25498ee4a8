//! From text to tokens (`scannerc.go` of goyaml.v2): indentation, simple keys, indicators.

use std::collections::{HashMap, VecDeque};

use super::fault::Fault;
use super::source::Source;
use super::token::{Kind, Mark, Token};

/// Neither flow nesting nor indentation goes deeper in the real scanner.
const MAX_DEPTH: usize = 10_000;

/// A place where a key without `?` may have begun.
#[derive(Debug, Clone, Default)]
struct SimpleKey {
    possible: bool,
    required: bool,
    token: usize,
    mark: Mark,
}

/// The scanner: gives tokens one by one.
pub(super) struct Scanner<'a> {
    text: &'a [u8],
    problem: Option<&'static str>,
    pos: usize,
    pub(super) mark: Mark,
    tokens: VecDeque<Token>,
    tokens_parsed: usize,
    token_available: bool,
    started: bool,
    pub(super) indent: isize,
    indents: Vec<isize>,
    pub(super) simple_key_allowed: bool,
    simple_keys: Vec<SimpleKey>,
    simple_keys_by_token: HashMap<usize, usize>,
    pub(super) flow_level: usize,
}

pub(super) type Scan<T> = Result<T, Fault>;

impl<'a> Scanner<'a> {
    pub fn new(source: &'a Source<'_>) -> Self {
        Self {
            text: &source.text,
            problem: source.problem,
            pos: 0,
            mark: Mark::default(),
            tokens: VecDeque::new(),
            tokens_parsed: 0,
            token_available: false,
            started: false,
            indent: -1,
            indents: Vec::new(),
            simple_key_allowed: true,
            simple_keys: vec![SimpleKey::default()],
            simple_keys_by_token: HashMap::new(),
            flow_level: 0,
        }
    }

    /// The next token, left in the queue.
    pub fn peek(&mut self) -> Scan<&Token> {
        if !self.token_available {
            self.fetch_more()?;
        }
        self.tokens.front().ok_or_else(|| {
            Fault::scanner(
                "did not find expected <stream-end>",
                Mark::default(),
                Mark::default(),
            )
        })
    }

    /// Takes the token that was peeked at.
    pub fn skip_token(&mut self) -> Option<Token> {
        self.token_available = false;
        self.tokens_parsed += 1;
        self.tokens.pop_front()
    }

    // Characters.

    /// The byte at a distance from the current position; zero past the end.
    pub(super) fn byte(&self, ahead: usize) -> u8 {
        self.text.get(self.pos + ahead).copied().unwrap_or(0)
    }

    /// Asks for this many characters: fails where the real reader would meet bytes it cannot decode.
    pub(super) fn cache(&self, count: usize) -> Scan<()> {
        let Some(problem) = self.problem else {
            return Ok(());
        };
        let rest = self.text.get(self.pos..).unwrap_or_default();
        if rest.len() >= 4 * count {
            return Ok(());
        }
        let unread = rest.iter().filter(|byte| **byte & 0xc0 != 0x80).count();
        if unread < count {
            return Err(Fault::reader(problem));
        }
        Ok(())
    }

    pub(super) fn at_end(&self) -> bool {
        self.byte(0) == 0
    }

    pub(super) fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.byte(ahead), b' ' | b'\t')
    }

    /// The length in bytes of the line break at a distance; zero where there is none.
    fn break_length(&self, ahead: usize) -> usize {
        match self.byte(ahead) {
            b'\r' | b'\n' => 1,
            0xc2 if self.byte(ahead + 1) == 0x85 => 2,
            0xe2 if self.byte(ahead + 1) == 0x80 && matches!(self.byte(ahead + 2), 0xa8 | 0xa9) => {
                3
            }
            _ => 0,
        }
    }

    pub(super) fn is_break(&self, ahead: usize) -> bool {
        self.break_length(ahead) > 0
    }

    pub(super) fn is_break_or_end(&self, ahead: usize) -> bool {
        self.byte(ahead) == 0 || self.is_break(ahead)
    }

    pub(super) fn is_blank_or_end(&self, ahead: usize) -> bool {
        self.is_blank(ahead) || self.is_break_or_end(ahead)
    }

    /// `[0-9A-Za-z_-]`.
    pub(super) fn is_alpha(&self, ahead: usize) -> bool {
        let byte = self.byte(ahead);
        byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
    }

    /// Whether a document indicator (`---` or `...`) begins here.
    pub(super) fn is_document_indicator(&self) -> bool {
        self.mark.column == 0
            && matches!(self.byte(0), b'-' | b'.')
            && self.byte(1) == self.byte(0)
            && self.byte(2) == self.byte(0)
            && self.is_blank_or_end(3)
    }

    fn width(&self) -> usize {
        match self.byte(0) {
            0x00..=0x7f => 1,
            0xc0..=0xdf => 2,
            0xe0..=0xef => 3,
            _ => 4,
        }
    }

    pub(super) fn skip(&mut self) {
        self.pos += self.width();
        self.mark.index += 1;
        self.mark.column += 1;
    }

    pub(super) fn skip_line(&mut self) {
        let length = self.break_length(0);
        if length == 0 {
            return;
        }
        if self.byte(0) == b'\r' && self.byte(1) == b'\n' {
            self.pos += 2;
            self.mark.index += 2;
        } else {
            self.pos += length;
            self.mark.index += 1;
        }
        self.mark.column = 0;
        self.mark.line += 1;
    }

    /// Copies the current character.
    pub(super) fn read(&mut self, into: &mut Vec<u8>) {
        let end = (self.pos + self.width()).min(self.text.len());
        into.extend_from_slice(self.text.get(self.pos..end).unwrap_or_default());
        self.skip();
    }

    /// Copies the current line break: as `\n`, but for the Unicode separators, which stay.
    pub(super) fn read_line(&mut self, into: &mut Vec<u8>) {
        match self.break_length(0) {
            0 => return,
            3 => into.extend_from_slice(&[0xe2, 0x80, self.byte(2)]),
            _ => into.push(b'\n'),
        }
        self.skip_line();
    }

    pub(super) fn skip_blanks(&mut self) -> Scan<()> {
        self.cache(1)?;
        while self.is_blank(0) {
            self.skip();
            self.cache(1)?;
        }
        Ok(())
    }

    pub(super) fn skip_comment(&mut self) -> Scan<()> {
        if self.byte(0) == b'#' {
            while !self.is_break_or_end(0) {
                self.skip();
                self.cache(1)?;
            }
        }
        Ok(())
    }

    pub(super) fn fault<T>(
        &self,
        problem: impl Into<std::borrow::Cow<'static, str>>,
        context: Mark,
    ) -> Scan<T> {
        Err(Fault::scanner(problem, self.mark, context))
    }

    // The token queue.

    fn fetch_more(&mut self) -> Scan<()> {
        loop {
            if !self.tokens.is_empty() {
                // The first token in the queue is sure once it can no longer turn out to be a key.
                let Some(&at) = self.simple_keys_by_token.get(&self.tokens_parsed) else {
                    break;
                };
                if !self.simple_key_is_valid(at)? {
                    break;
                }
            }
            self.fetch_next()?;
        }
        self.token_available = true;
        Ok(())
    }

    pub(super) fn push(&mut self, kind: Kind, start: Mark) {
        let end = self.mark;
        self.tokens.push_back(Token { kind, start, end });
    }

    fn insert(&mut self, number: usize, kind: Kind, mark: Mark) {
        let at = number
            .saturating_sub(self.tokens_parsed)
            .min(self.tokens.len());
        let token = Token {
            kind,
            start: mark,
            end: mark,
        };
        self.tokens.insert(at, token);
    }

    fn next_number(&self) -> usize {
        self.tokens_parsed + self.tokens.len()
    }

    fn fetch_next(&mut self) -> Scan<()> {
        self.cache(1)?;
        if !self.started {
            self.started = true;
            self.push(Kind::StreamStart, self.mark);
            return Ok(());
        }
        self.skip_to_next_token()?;
        self.unroll_indent(isize::try_from(self.mark.column).unwrap_or(isize::MAX));
        self.cache(4)?;
        let c = self.byte(0);
        if c == 0 {
            return self.fetch_stream_end();
        }
        if self.mark.column == 0 && c == b'%' {
            self.unroll_indent(-1);
            self.remove_simple_key()?;
            self.simple_key_allowed = false;
            return self.scan_directive();
        }
        if self.is_document_indicator() {
            let kind = if c == b'-' {
                Kind::DocumentStart
            } else {
                Kind::DocumentEnd
            };
            return self.fetch_document_indicator(kind);
        }
        let flow = self.flow_level > 0;
        match c {
            b'[' => self.fetch_flow_start(Kind::FlowSequenceStart),
            b'{' => self.fetch_flow_start(Kind::FlowMappingStart),
            b']' => self.fetch_flow_end(Kind::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(Kind::FlowMappingEnd),
            b',' => self.fetch_flow_entry(),
            b'-' if self.is_blank_or_end(1) => self.fetch_block_entry(),
            b'?' if flow || self.is_blank_or_end(1) => self.fetch_key(),
            b':' if flow || self.is_blank_or_end(1) => self.fetch_value(),
            b'*' | b'&' => {
                self.before_inline()?;
                self.scan_anchor(c == b'*')
            }
            b'!' => {
                self.before_inline()?;
                self.scan_tag()
            }
            b'|' | b'>' if !flow => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                self.scan_block_scalar(c == b'|')
            }
            b'\'' | b'"' => {
                self.before_inline()?;
                self.scan_flow_scalar(c == b'\'')
            }
            _ if self.starts_plain(c, flow) => {
                self.before_inline()?;
                self.scan_plain_scalar()
            }
            _ => self.fault("found character that cannot start any token", self.mark),
        }
    }

    fn starts_plain(&self, c: u8, flow: bool) -> bool {
        let indicator = self.is_blank_or_end(0) || b"-?:,[]{}#&*!|>'\"%@`".contains(&c);
        !indicator
            || (c == b'-' && !self.is_blank(1))
            || (!flow && matches!(c, b'?' | b':') && !self.is_blank_or_end(1))
    }

    fn before_inline(&mut self) -> Scan<()> {
        self.save_simple_key()?;
        self.simple_key_allowed = false;
        Ok(())
    }

    fn skip_to_next_token(&mut self) -> Scan<()> {
        loop {
            self.cache(1)?;
            if self.pos == 0 && self.text.starts_with(&[0xef, 0xbb, 0xbf]) {
                self.skip();
            }
            self.cache(1)?;
            // A tab may not stand where a key could begin: it would look like indentation.
            while self.byte(0) == b' '
                || (self.byte(0) == b'\t' && (self.flow_level > 0 || !self.simple_key_allowed))
            {
                self.skip();
                self.cache(1)?;
            }
            self.skip_comment()?;
            if !self.is_break(0) {
                return Ok(());
            }
            self.cache(2)?;
            self.skip_line();
            if self.flow_level == 0 {
                self.simple_key_allowed = true;
            }
        }
    }

    // Simple keys.

    fn simple_key_is_valid(&mut self, at: usize) -> Scan<bool> {
        let mark = self.mark;
        let Some(key) = self.simple_keys.get_mut(at) else {
            return Ok(false);
        };
        if !key.possible {
            return Ok(false);
        }
        // A simple key is on one line and at most 1024 characters long.
        if key.mark.line < mark.line || key.mark.index + 1024 < mark.index {
            if key.required {
                return Err(Fault::scanner(
                    "could not find expected ':'",
                    mark,
                    key.mark,
                ));
            }
            key.possible = false;
            return Ok(false);
        }
        Ok(true)
    }

    fn save_simple_key(&mut self) -> Scan<()> {
        if !self.simple_key_allowed {
            return Ok(());
        }
        let required = self.flow_level == 0 && usize::try_from(self.indent) == Ok(self.mark.column);
        let key = SimpleKey {
            possible: true,
            required,
            token: self.next_number(),
            mark: self.mark,
        };
        self.remove_simple_key()?;
        let at = self.simple_keys.len().saturating_sub(1);
        self.simple_keys_by_token.insert(key.token, at);
        if let Some(last) = self.simple_keys.last_mut() {
            *last = key;
        }
        Ok(())
    }

    fn remove_simple_key(&mut self) -> Scan<()> {
        let mark = self.mark;
        if let Some(key) = self.simple_keys.last_mut()
            && key.possible
        {
            if key.required {
                return Err(Fault::scanner(
                    "could not find expected ':'",
                    mark,
                    key.mark,
                ));
            }
            key.possible = false;
            let token = key.token;
            self.simple_keys_by_token.remove(&token);
        }
        Ok(())
    }

    // Indentation.

    fn roll_indent(
        &mut self,
        column: usize,
        number: Option<usize>,
        kind: Kind,
        mark: Mark,
    ) -> Scan<()> {
        let column = isize::try_from(column).unwrap_or(isize::MAX);
        if self.flow_level > 0 || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column;
        if self.indents.len() > MAX_DEPTH {
            let context = self
                .simple_keys
                .last()
                .map(|key| key.mark)
                .unwrap_or_default();
            return self.fault("exceeded max depth of 10000", context);
        }
        let number = number.unwrap_or_else(|| self.next_number());
        self.insert(number, kind, mark);
        Ok(())
    }

    fn unroll_indent(&mut self, column: isize) {
        if self.flow_level > 0 {
            return;
        }
        while self.indent > column {
            self.push(Kind::BlockEnd, self.mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    // Tokens that are one indicator.

    fn fetch_stream_end(&mut self) -> Scan<()> {
        if self.mark.column != 0 {
            self.mark.column = 0;
            self.mark.line += 1;
        }
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        self.push(Kind::StreamEnd, self.mark);
        Ok(())
    }

    fn fetch_document_indicator(&mut self, kind: Kind) -> Scan<()> {
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.mark;
        self.skip();
        self.skip();
        self.skip();
        self.push(kind, start);
        Ok(())
    }

    fn one_character(&mut self, kind: Kind) {
        let start = self.mark;
        self.skip();
        self.push(kind, start);
    }

    fn fetch_flow_start(&mut self, kind: Kind) -> Scan<()> {
        self.save_simple_key()?;
        let key = SimpleKey {
            token: self.next_number(),
            mark: self.mark,
            ..SimpleKey::default()
        };
        self.simple_keys.push(key);
        self.flow_level += 1;
        if self.flow_level > MAX_DEPTH {
            return self.fault("exceeded max depth of 10000", self.mark);
        }
        self.simple_key_allowed = true;
        self.one_character(kind);
        Ok(())
    }

    fn fetch_flow_end(&mut self, kind: Kind) -> Scan<()> {
        self.remove_simple_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            if let Some(key) = self.simple_keys.pop() {
                self.simple_keys_by_token.remove(&key.token);
            }
        }
        self.simple_key_allowed = false;
        self.one_character(kind);
        Ok(())
    }

    fn fetch_flow_entry(&mut self) -> Scan<()> {
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.one_character(Kind::FlowEntry);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Scan<()> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return self.fault(
                    "block sequence entries are not allowed in this context",
                    self.mark,
                );
            }
            self.roll_indent(self.mark.column, None, Kind::BlockSequenceStart, self.mark)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.one_character(Kind::BlockEntry);
        Ok(())
    }

    fn fetch_key(&mut self) -> Scan<()> {
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return self.fault("mapping keys are not allowed in this context", self.mark);
            }
            self.roll_indent(self.mark.column, None, Kind::BlockMappingStart, self.mark)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        self.one_character(Kind::Key);
        Ok(())
    }

    fn fetch_value(&mut self) -> Scan<()> {
        let last = self.simple_keys.len().saturating_sub(1);
        if self.simple_key_is_valid(last)? {
            let key = self.simple_keys.get(last).cloned().unwrap_or_default();
            self.insert(key.token, Kind::Key, key.mark);
            self.roll_indent(
                key.mark.column,
                Some(key.token),
                Kind::BlockMappingStart,
                key.mark,
            )?;
            if let Some(key) = self.simple_keys.get_mut(last) {
                key.possible = false;
            }
            self.simple_keys_by_token.remove(&key.token);
            self.simple_key_allowed = false;
        } else {
            if self.flow_level == 0 {
                if !self.simple_key_allowed {
                    return self.fault("mapping values are not allowed in this context", self.mark);
                }
                self.roll_indent(self.mark.column, None, Kind::BlockMappingStart, self.mark)?;
            }
            self.simple_key_allowed = self.flow_level == 0;
        }
        self.one_character(Kind::Value);
        Ok(())
    }
}
