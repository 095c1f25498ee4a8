//! From tokens to events (`parserc.go` of goyaml.v2).

use super::fault::Fault;
use super::scanner::{Scan, Scanner};
use super::source::Source;
use super::token::{Kind, Mark, Style};

/// What an event is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    DocumentStart,
    DocumentEnd,
    StreamEnd,
    Alias(String),
    Scalar {
        value: String,
        tag: Option<String>,
        implicit: bool,
    },
    SequenceStart,
    SequenceEnd,
    MappingStart,
    MappingEnd,
}

/// An event: what was found where.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub what: What,
    pub start: Mark,
    pub anchor: Option<String>,
}

impl Event {
    fn new(what: What, start: Mark) -> Self {
        Self {
            what,
            start,
            anchor: None,
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum State {
    StreamStart,
    ImplicitDocumentStart,
    DocumentStart,
    DocumentContent,
    DocumentEnd,
    BlockNode,
    BlockSequenceFirstEntry,
    BlockSequenceEntry,
    IndentlessSequenceEntry,
    BlockMappingFirstKey,
    BlockMappingKey,
    BlockMappingValue,
    FlowSequenceFirstEntry,
    FlowSequenceEntry,
    FlowSequenceEntryMappingKey,
    FlowSequenceEntryMappingValue,
    FlowSequenceEntryMappingEnd,
    FlowMappingFirstKey,
    FlowMappingKey,
    FlowMappingValue,
    FlowMappingEmptyValue,
    End,
}

/// The parser: gives events one by one.
pub(super) struct Parser<'a> {
    scanner: Scanner<'a>,
    state: State,
    states: Vec<State>,
    marks: Vec<Mark>,
    tag_directives: Vec<(String, String)>,
}

/// A token that was looked at but not taken.
struct Peeked {
    kind: Kind,
    start: Mark,
    end: Mark,
}

impl<'a> Parser<'a> {
    pub fn new(source: &'a Source<'_>) -> Self {
        Self {
            scanner: Scanner::new(source),
            state: State::StreamStart,
            states: Vec::new(),
            marks: Vec::new(),
            tag_directives: Vec::new(),
        }
    }

    /// The next event.
    pub fn next(&mut self) -> Scan<Event> {
        match self.state {
            State::StreamStart => {
                self.scanner.peek()?;
                self.scanner.skip_token();
                self.state = State::ImplicitDocumentStart;
                self.next_document(true)
            }
            State::ImplicitDocumentStart => self.next_document(true),
            State::DocumentStart => self.next_document(false),
            State::DocumentContent => self.document_content(),
            State::DocumentEnd => self.document_end(),
            State::BlockNode => self.node(true, false),
            State::BlockSequenceFirstEntry => self.block_sequence_entry(true),
            State::BlockSequenceEntry => self.block_sequence_entry(false),
            State::IndentlessSequenceEntry => self.indentless_sequence_entry(),
            State::BlockMappingFirstKey => self.block_mapping_key(true),
            State::BlockMappingKey => self.block_mapping_key(false),
            State::BlockMappingValue => self.block_mapping_value(),
            State::FlowSequenceFirstEntry => self.flow_sequence_entry(true),
            State::FlowSequenceEntry => self.flow_sequence_entry(false),
            State::FlowSequenceEntryMappingKey => self.flow_sequence_entry_mapping_key(),
            State::FlowSequenceEntryMappingValue => self.flow_sequence_entry_mapping_value(),
            State::FlowSequenceEntryMappingEnd => self.flow_sequence_entry_mapping_end(),
            State::FlowMappingFirstKey => self.flow_mapping_key(true),
            State::FlowMappingKey => self.flow_mapping_key(false),
            State::FlowMappingValue => self.flow_mapping_value(false),
            State::FlowMappingEmptyValue => self.flow_mapping_value(true),
            State::End => Ok(Event::new(What::StreamEnd, Mark::default())),
        }
    }

    /// Looks at the next token; a scalar's text is not copied.
    fn peek(&mut self) -> Scan<Peeked> {
        let token = self.scanner.peek()?;
        let kind = match &token.kind {
            Kind::Scalar { style, .. } => Kind::Scalar {
                value: String::new(),
                style: *style,
            },
            kind => kind.clone(),
        };
        Ok(Peeked {
            kind,
            start: token.start,
            end: token.end,
        })
    }

    fn skip(&mut self) {
        self.scanner.skip_token();
    }

    fn skip_and_peek(&mut self) -> Scan<Peeked> {
        self.skip();
        self.peek()
    }

    fn pop_state(&mut self) {
        self.state = self.states.pop().unwrap_or(State::End);
    }

    fn empty_scalar(mark: Mark) -> Event {
        let what = What::Scalar {
            value: String::new(),
            tag: None,
            implicit: true,
        };
        Event::new(what, mark)
    }

    fn next_document(&mut self, implicit: bool) -> Scan<Event> {
        let mut token = self.peek()?;
        if !implicit {
            while token.kind == Kind::DocumentEnd {
                token = self.skip_and_peek()?;
            }
        }
        let marked = matches!(
            token.kind,
            Kind::VersionDirective { .. } | Kind::TagDirective { .. } | Kind::DocumentStart
        );
        if token.kind == Kind::StreamEnd {
            self.state = State::End;
            self.skip();
            return Ok(Event::new(What::StreamEnd, token.start));
        }
        if implicit && !marked {
            self.directives()?;
            self.states.push(State::DocumentEnd);
            self.state = State::BlockNode;
            return Ok(Event::new(What::DocumentStart, token.start));
        }
        self.directives()?;
        let next = self.peek()?;
        if next.kind != Kind::DocumentStart {
            return Err(Fault::parser(
                "did not find expected <document start>",
                next.start,
                None,
            ));
        }
        self.states.push(State::DocumentEnd);
        self.state = State::DocumentContent;
        self.skip();
        Ok(Event::new(What::DocumentStart, token.start))
    }

    fn directives(&mut self) -> Scan<()> {
        let mut versions = 0;
        loop {
            let token = self.peek()?;
            match token.kind {
                Kind::VersionDirective { major, minor } => {
                    versions += 1;
                    if versions > 1 {
                        return Err(Fault::parser(
                            "found duplicate %YAML directive",
                            token.start,
                            None,
                        ));
                    }
                    if (major, minor) != (1, 1) {
                        return Err(Fault::parser(
                            "found incompatible YAML document",
                            token.start,
                            None,
                        ));
                    }
                }
                Kind::TagDirective { handle, prefix } => {
                    if self
                        .tag_directives
                        .iter()
                        .any(|(known, _)| *known == handle)
                    {
                        return Err(Fault::parser(
                            "found duplicate %TAG directive",
                            token.start,
                            None,
                        ));
                    }
                    self.tag_directives.push((handle, prefix));
                }
                _ => break,
            }
            self.skip();
        }
        for (handle, prefix) in [("!", "!"), ("!!", "tag:yaml.org,2002:")] {
            if !self.tag_directives.iter().any(|(known, _)| known == handle) {
                self.tag_directives
                    .push((handle.to_owned(), prefix.to_owned()));
            }
        }
        Ok(())
    }

    fn document_content(&mut self) -> Scan<Event> {
        let token = self.peek()?;
        if matches!(
            token.kind,
            Kind::VersionDirective { .. }
                | Kind::TagDirective { .. }
                | Kind::DocumentStart
                | Kind::DocumentEnd
                | Kind::StreamEnd
        ) {
            self.pop_state();
            return Ok(Self::empty_scalar(token.start));
        }
        self.node(true, false)
    }

    fn document_end(&mut self) -> Scan<Event> {
        let token = self.peek()?;
        if token.kind == Kind::DocumentEnd {
            self.skip();
        }
        self.tag_directives.clear();
        self.state = State::DocumentStart;
        Ok(Event::new(What::DocumentEnd, token.start))
    }

    fn node(&mut self, block: bool, indentless: bool) -> Scan<Event> {
        let mut token = self.peek()?;
        if let Kind::Alias(name) = token.kind {
            self.pop_state();
            self.skip();
            return Ok(Event::new(What::Alias(name), token.start));
        }
        let start = token.start;
        let mut anchor = None;
        let mut tag_token = None;
        // An anchor and a tag, in either order.
        for _ in 0..2 {
            match token.kind {
                Kind::Anchor(name) if anchor.is_none() => {
                    anchor = Some(name);
                    token = self.skip_and_peek()?;
                }
                Kind::Tag { handle, suffix } if tag_token.is_none() => {
                    tag_token = Some((handle, suffix, token.start));
                    token = self.skip_and_peek()?;
                }
                _ => break,
            }
        }
        let tag = match tag_token {
            None => None,
            Some((handle, suffix, mark)) => Some(self.resolve_tag(&handle, suffix, start, mark)?),
        }
        .filter(|tag| !tag.is_empty());
        let what = match token.kind {
            Kind::BlockEntry if indentless => {
                self.state = State::IndentlessSequenceEntry;
                What::SequenceStart
            }
            Kind::Scalar { style, .. } => return Ok(self.scalar(style, start, anchor, tag)),
            Kind::FlowSequenceStart => {
                self.state = State::FlowSequenceFirstEntry;
                What::SequenceStart
            }
            Kind::FlowMappingStart => {
                self.state = State::FlowMappingFirstKey;
                What::MappingStart
            }
            Kind::BlockSequenceStart if block => {
                self.state = State::BlockSequenceFirstEntry;
                What::SequenceStart
            }
            Kind::BlockMappingStart if block => {
                self.state = State::BlockMappingFirstKey;
                What::MappingStart
            }
            _ if anchor.is_some() || tag.is_some() => {
                self.pop_state();
                What::Scalar {
                    value: String::new(),
                    implicit: tag.is_none(),
                    tag,
                }
            }
            _ => {
                return Err(Fault::parser(
                    "did not find expected node content",
                    token.start,
                    Some(start),
                ));
            }
        };
        Ok(Event {
            what,
            start,
            anchor,
        })
    }

    fn scalar(
        &mut self,
        style: Style,
        start: Mark,
        anchor: Option<String>,
        tag: Option<String>,
    ) -> Event {
        let plain = tag.is_none() && style == Style::Plain;
        let unspecific = tag.as_deref() == Some("!");
        self.pop_state();
        let value = match self.scanner.skip_token().map(|token| token.kind) {
            Some(Kind::Scalar { value, .. }) => value,
            _ => String::new(),
        };
        let what = What::Scalar {
            value,
            tag,
            implicit: plain || unspecific,
        };
        Event {
            what,
            start,
            anchor,
        }
    }

    fn resolve_tag(&self, handle: &str, suffix: String, start: Mark, mark: Mark) -> Scan<String> {
        if handle.is_empty() {
            return Ok(suffix);
        }
        let known = self
            .tag_directives
            .iter()
            .find(|(known, _)| known == handle);
        match known {
            Some((_, prefix)) if !(prefix.is_empty() && suffix.is_empty()) => {
                Ok(format!("{prefix}{suffix}"))
            }
            _ => Err(Fault::parser(
                "found undefined tag handle",
                mark,
                Some(start),
            )),
        }
    }

    /// On the first entry of a collection: remembers where it begins and takes its opening token.
    fn open(&mut self, first: bool) -> Scan<()> {
        if first {
            let mark = self.peek()?.start;
            self.marks.push(mark);
            self.skip();
        }
        Ok(())
    }

    fn close(&mut self, what: What, mark: Mark) -> Event {
        self.pop_state();
        self.marks.pop();
        self.skip();
        Event::new(what, mark)
    }

    fn unexpected(&mut self, problem: &'static str, at: Mark) -> Fault {
        let context = self.marks.pop();
        Fault::parser(problem, at, context)
    }

    fn block_sequence_entry(&mut self, first: bool) -> Scan<Event> {
        self.open(first)?;
        let token = self.peek()?;
        match token.kind {
            Kind::BlockEntry => {
                let next = self.skip_and_peek()?;
                if matches!(next.kind, Kind::BlockEntry | Kind::BlockEnd) {
                    self.state = State::BlockSequenceEntry;
                    return Ok(Self::empty_scalar(token.end));
                }
                self.states.push(State::BlockSequenceEntry);
                self.node(true, false)
            }
            Kind::BlockEnd => Ok(self.close(What::SequenceEnd, token.start)),
            _ => Err(self.unexpected("did not find expected '-' indicator", token.start)),
        }
    }

    fn indentless_sequence_entry(&mut self) -> Scan<Event> {
        let token = self.peek()?;
        if token.kind != Kind::BlockEntry {
            self.pop_state();
            return Ok(Event::new(What::SequenceEnd, token.start));
        }
        let next = self.skip_and_peek()?;
        if matches!(
            next.kind,
            Kind::BlockEntry | Kind::Key | Kind::Value | Kind::BlockEnd
        ) {
            self.state = State::IndentlessSequenceEntry;
            return Ok(Self::empty_scalar(token.end));
        }
        self.states.push(State::IndentlessSequenceEntry);
        self.node(true, false)
    }

    fn block_mapping_key(&mut self, first: bool) -> Scan<Event> {
        self.open(first)?;
        let token = self.peek()?;
        match token.kind {
            Kind::Key => {
                let next = self.skip_and_peek()?;
                if matches!(next.kind, Kind::Key | Kind::Value | Kind::BlockEnd) {
                    self.state = State::BlockMappingValue;
                    return Ok(Self::empty_scalar(token.end));
                }
                self.states.push(State::BlockMappingValue);
                self.node(true, true)
            }
            Kind::BlockEnd => Ok(self.close(What::MappingEnd, token.start)),
            _ => Err(self.unexpected("did not find expected key", token.start)),
        }
    }

    fn block_mapping_value(&mut self) -> Scan<Event> {
        let token = self.peek()?;
        if token.kind != Kind::Value {
            self.state = State::BlockMappingKey;
            return Ok(Self::empty_scalar(token.start));
        }
        let next = self.skip_and_peek()?;
        if matches!(next.kind, Kind::Key | Kind::Value | Kind::BlockEnd) {
            self.state = State::BlockMappingKey;
            return Ok(Self::empty_scalar(token.end));
        }
        self.states.push(State::BlockMappingKey);
        self.node(true, true)
    }

    fn flow_sequence_entry(&mut self, first: bool) -> Scan<Event> {
        self.open(first)?;
        let mut token = self.peek()?;
        if token.kind != Kind::FlowSequenceEnd {
            if !first {
                if token.kind != Kind::FlowEntry {
                    return Err(self.unexpected("did not find expected ',' or ']'", token.start));
                }
                token = self.skip_and_peek()?;
            }
            if token.kind == Kind::Key {
                self.state = State::FlowSequenceEntryMappingKey;
                self.skip();
                return Ok(Event::new(What::MappingStart, token.start));
            }
            if token.kind != Kind::FlowSequenceEnd {
                self.states.push(State::FlowSequenceEntry);
                return self.node(false, false);
            }
        }
        Ok(self.close(What::SequenceEnd, token.start))
    }

    fn flow_sequence_entry_mapping_key(&mut self) -> Scan<Event> {
        let token = self.peek()?;
        if !matches!(
            token.kind,
            Kind::Value | Kind::FlowEntry | Kind::FlowSequenceEnd
        ) {
            self.states.push(State::FlowSequenceEntryMappingValue);
            return self.node(false, false);
        }
        // The real parser takes this token too, so that `[? : a]` fails there as it does here.
        self.skip();
        self.state = State::FlowSequenceEntryMappingValue;
        Ok(Self::empty_scalar(token.end))
    }

    fn flow_sequence_entry_mapping_value(&mut self) -> Scan<Event> {
        let token = self.peek()?;
        if token.kind == Kind::Value {
            let next = self.skip_and_peek()?;
            if !matches!(next.kind, Kind::FlowEntry | Kind::FlowSequenceEnd) {
                self.states.push(State::FlowSequenceEntryMappingEnd);
                return self.node(false, false);
            }
        }
        self.state = State::FlowSequenceEntryMappingEnd;
        Ok(Self::empty_scalar(token.start))
    }

    fn flow_sequence_entry_mapping_end(&mut self) -> Scan<Event> {
        let token = self.peek()?;
        self.state = State::FlowSequenceEntry;
        Ok(Event::new(What::MappingEnd, token.start))
    }

    fn flow_mapping_key(&mut self, first: bool) -> Scan<Event> {
        self.open(first)?;
        let mut token = self.peek()?;
        if token.kind != Kind::FlowMappingEnd {
            if !first {
                if token.kind != Kind::FlowEntry {
                    return Err(self.unexpected("did not find expected ',' or '}'", token.start));
                }
                token = self.skip_and_peek()?;
            }
            if token.kind == Kind::Key {
                token = self.skip_and_peek()?;
                if matches!(
                    token.kind,
                    Kind::Value | Kind::FlowEntry | Kind::FlowMappingEnd
                ) {
                    self.state = State::FlowMappingValue;
                    return Ok(Self::empty_scalar(token.start));
                }
                self.states.push(State::FlowMappingValue);
                return self.node(false, false);
            }
            if token.kind != Kind::FlowMappingEnd {
                self.states.push(State::FlowMappingEmptyValue);
                return self.node(false, false);
            }
        }
        Ok(self.close(What::MappingEnd, token.start))
    }

    fn flow_mapping_value(&mut self, empty: bool) -> Scan<Event> {
        let mut token = self.peek()?;
        if !empty && token.kind == Kind::Value {
            token = self.skip_and_peek()?;
            if !matches!(token.kind, Kind::FlowEntry | Kind::FlowMappingEnd) {
                self.states.push(State::FlowMappingKey);
                return self.node(false, false);
            }
        }
        self.state = State::FlowMappingKey;
        Ok(Self::empty_scalar(token.start))
    }
}
