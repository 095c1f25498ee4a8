//! Reading audit logs: JSON lines, lines of the legacy format, event lists as webhooks receive them;
//! tolerant of torn lines and of lines that are something else.

pub mod filter;
mod legacy;
mod record;
pub mod summary;
mod uri;

use std::cmp::Ordering;
use std::io::{self, BufRead};

pub use record::{Record, Time};

/// A longer line is no audit event: the API server truncates far earlier.
pub const MAX_LINE: usize = 64 << 20;

/// What a line of a log is.
#[derive(Debug, Clone, PartialEq)]
pub enum Line {
    /// Audit events: one, or those of an event list.
    Events(Vec<Record>),
    /// Nothing but white space.
    Blank,
    /// The beginning or the end of an event: the rest was cut off.
    Torn,
    /// Something that is no audit event.
    Foreign,
    /// Longer than [`MAX_LINE`].
    TooLong,
}

/// Understands a line, without its line break.
#[must_use]
pub fn parse_line(line: &[u8]) -> Line {
    let line = line.trim_ascii();
    let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
    match line {
        [] => Line::Blank,
        [b'{', ..] => match serde_json::from_slice(line) {
            Ok(value) => {
                let events = record::from_json(&value);
                if events.is_empty() {
                    Line::Foreign
                } else {
                    Line::Events(events)
                }
            }
            Err(error) if error.is_eof() => Line::Torn,
            Err(_) => Line::Foreign,
        },
        _ => {
            if let Some(record) = std::str::from_utf8(line).ok().and_then(legacy::parse) {
                return Line::Events(vec![record]);
            }
            // The tail of an event whose head is gone.
            let tail =
                line.ends_with(b"}") && line.windows(17).any(|part| part == b"\"stageTimestamp\":");
            if tail { Line::Torn } else { Line::Foreign }
        }
    }
}

/// Lines that are not audit events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Skipped {
    /// Lines that are cut off.
    pub torn: u64,
    /// Lines that are something else.
    pub foreign: u64,
    /// Lines that are too long.
    pub too_long: u64,
}

impl Skipped {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.torn + self.foreign + self.too_long
    }

    fn count(&mut self, line: &Line) {
        match line {
            Line::Torn => self.torn += 1,
            Line::Foreign => self.foreign += 1,
            Line::TooLong => self.too_long += 1,
            Line::Events(_) | Line::Blank => {}
        }
    }
}

/// How reading a log went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Read {
    /// Events seen.
    pub events: u64,
    /// Lines that are not events.
    pub skipped: Skipped,
    /// Number of the first such line, from one.
    pub first_skipped: Option<u64>,
}

/// Reads a log line by line; `visit` is given each event with the line it is on, and says whether to go on.
///
/// # Errors
/// When the log cannot be read; what came before has been visited.
pub fn read(
    reader: &mut dyn BufRead,
    mut visit: impl FnMut(&Record, &[u8]) -> io::Result<bool>,
) -> io::Result<Read> {
    let mut done = Read::default();
    let mut line = Vec::new();
    let mut number = 0u64;
    while read_line(reader, &mut line)? {
        number += 1;
        let parsed = if line.len() > MAX_LINE {
            Line::TooLong
        } else {
            parse_line(&line)
        };
        done.skipped.count(&parsed);
        match parsed {
            Line::Events(events) => {
                for event in &events {
                    done.events += 1;
                    if !visit(event, line.trim_ascii())? {
                        return Ok(done);
                    }
                }
            }
            Line::Blank => {}
            _ => {
                done.first_skipped.get_or_insert(number);
            }
        }
    }
    Ok(done)
}

/// Reads a line; of a line that is too long only the beginning is kept. False at the end.
fn read_line(reader: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    let mut any = false;
    loop {
        let buffer = match reader.fill_buf() {
            Ok(buffer) => buffer,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if buffer.is_empty() {
            return Ok(any);
        }
        any = true;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let part = buffer.get(..end.unwrap_or(buffer.len())).unwrap_or(buffer);
        if line.len() <= MAX_LINE {
            line.extend_from_slice(part);
        }
        let used = part.len() + usize::from(end.is_some());
        reader.consume(used);
        if end.is_some() {
            return Ok(true);
        }
    }
}

/// Orders the files of a log: rotated ones by their time, before the one that is being written.
#[must_use]
pub fn file_order(a: &str, b: &str) -> Ordering {
    let (base_a, stamp_a) = split_name(a);
    let (base_b, stamp_b) = split_name(b);
    if base_a != base_b {
        // Different logs stay in the order in which they were given.
        return Ordering::Equal;
    }
    match (stamp_a, stamp_b) {
        (Some(a), Some(b)) => a.cmp(b),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// The name of the live file and the time in the name of a rotated one:
/// `audit-2006-01-02T15-04-05.000.log.gz` belongs to `audit.log`.
#[must_use]
pub fn split_name(path: &str) -> (String, Option<&str>) {
    const STAMP: usize = "2006-01-02T15-04-05.000".len();
    let plain = path.strip_suffix(".gz").unwrap_or(path);
    let (directory, name) = match plain.rfind('/') {
        Some(at) => plain.split_at(at + 1),
        None => ("", plain),
    };
    let (stem, extension) = match name.rfind('.') {
        Some(at) if at > STAMP => name.split_at(at),
        _ => (name, ""),
    };
    let stamp = stem.len().checked_sub(STAMP).and_then(|at| stem.get(at..));
    let is_stamp = |stamp: &str| {
        stamp.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 | 13 | 16 => byte == b'-',
            10 => byte == b'T',
            19 => byte == b'.',
            _ => byte.is_ascii_digit(),
        })
    };
    match stamp.filter(|stamp| is_stamp(stamp)) {
        Some(stamp) => {
            let base = stem
                .strip_suffix(stamp)
                .and_then(|base| base.strip_suffix('-'));
            match base {
                Some(base) => (format!("{directory}{base}{extension}"), Some(stamp)),
                None => (plain.to_owned(), None),
            }
        }
        None => (plain.to_owned(), None),
    }
}

#[cfg(test)]
mod tests;
