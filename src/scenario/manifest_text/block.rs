//! Block-style YAML as lines: finding keys and list items, and changing them line by line, so that
//! every other line keeps its text. Flow style and other notations are not understood, and said so.

use std::ops::Range;

/// The lines of a document.
pub(super) struct Block {
    pub lines: Vec<String>,
}

/// Lines of one mapping, whose keys all start in one column.
#[derive(Debug, Clone)]
pub(super) struct Mapping {
    lines: Range<usize>,
    column: usize,
    /// Whether the first key stands behind the dash of a list item.
    dash: bool,
}

/// A key with what belongs to it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    line: usize,
    /// Where the key starts.
    column: usize,
    /// Lines below the key that belong to it.
    body: Range<usize>,
}

/// An item of a list.
#[derive(Debug, Clone)]
pub(super) struct Item {
    /// Its lines.
    pub lines: Range<usize>,
    /// Column of its dash.
    pub column: usize,
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Blank lines and comments mean nothing.
fn is_silent(line: &str) -> bool {
    let text = line.trim_start();
    text.is_empty() || text.starts_with('#')
}

fn is_dash(text: &str) -> bool {
    text == "-" || text.starts_with("- ")
}

impl Block {
    pub fn new(text: &str) -> Self {
        Self {
            lines: text.lines().map(str::to_owned).collect(),
        }
    }

    pub fn text(&self) -> String {
        let mut text = self.lines.join("\n");
        text.push('\n');
        text
    }

    fn line(&self, index: usize) -> &str {
        self.lines.get(index).map_or("", String::as_str)
    }

    /// The mapping that the document is.
    pub fn top(&self) -> Mapping {
        Mapping {
            lines: 0..self.lines.len(),
            column: 0,
            dash: false,
        }
    }

    /// The lines of a range without silent ones at its end.
    fn trimmed(&self, range: Range<usize>) -> Range<usize> {
        let mut end = range.end;
        while end > range.start && is_silent(self.line(end - 1)) {
            end -= 1;
        }
        range.start..end
    }

    fn first_said(&self, range: Range<usize>) -> Option<usize> {
        range.into_iter().find(|line| !is_silent(self.line(*line)))
    }

    /// The text of a line as the mapping sees it, if one of its keys starts there.
    fn key_text(&self, mapping: &Mapping, index: usize) -> Option<&str> {
        let line = self.line(index);
        if mapping.dash && index == mapping.lines.start {
            return line.get(mapping.column..);
        }
        (!is_silent(line) && indent(line) == mapping.column)
            .then(|| line.trim_start())
            .filter(|text| !is_dash(text))
    }

    /// A key of a mapping.
    pub fn entry(&self, mapping: &Mapping, key: &str) -> Option<Entry> {
        let line = mapping.lines.clone().find(|index| {
            self.key_text(mapping, *index)
                .and_then(key_of)
                .is_some_and(|found| found == key)
        })?;
        let end = (line + 1..mapping.lines.end)
            .find(|index| self.key_text(mapping, *index).is_some())
            .unwrap_or(mapping.lines.end);
        Some(Entry {
            line,
            column: mapping.column,
            body: self.trimmed(line + 1..end),
        })
    }

    /// What stands behind the colon of a key.
    fn inline<'a>(&'a self, entry: &Entry) -> &'a str {
        let text = self.line(entry.line).get(entry.column..).unwrap_or("");
        let start = colon(text).map_or(text.len(), |at| at + 1);
        let value = text.get(start..).unwrap_or("").trim_start();
        if value.starts_with('#') { "" } else { value }
    }

    /// The mapping below a key.
    pub fn mapping(&self, entry: &Entry, name: &str) -> Result<Mapping, String> {
        let first = self.first_said(entry.body.clone());
        match first {
            Some(first) if self.inline(entry).is_empty() => Ok(Mapping {
                column: indent(self.line(first)),
                lines: entry.body.clone(),
                dash: false,
            }),
            _ => Err(not_block(name)),
        }
    }

    /// The items of the list below a key.
    pub fn items(&self, entry: &Entry, name: &str) -> Result<Vec<Item>, String> {
        let Some(first) = self.first_said(entry.body.clone()) else {
            return Err(not_block(name));
        };
        let column = indent(self.line(first));
        if !self.inline(entry).is_empty() || !is_dash(self.line(first).trim_start()) {
            return Err(not_block(name));
        }
        let starts: Vec<usize> = entry
            .body
            .clone()
            .filter(|index| {
                let line = self.line(*index);
                indent(line) == column && is_dash(line.trim_start())
            })
            .collect();
        let ends = starts.iter().skip(1).chain([&entry.body.end]);
        Ok(starts
            .iter()
            .zip(ends)
            .map(|(start, end)| Item {
                lines: self.trimmed(*start..*end),
                column,
            })
            .collect())
    }

    /// The mapping that a list item is.
    pub fn item_mapping(&self, item: &Item) -> Mapping {
        let line = self.line(item.lines.start);
        let behind = line.get(item.column + 1..).unwrap_or("");
        if is_silent(behind) {
            let lines = item.lines.start + 1..item.lines.end;
            let column = self
                .first_said(lines.clone())
                .map_or(item.column + 2, |first| indent(self.line(first)));
            return Mapping {
                lines,
                column,
                dash: false,
            };
        }
        Mapping {
            lines: item.lines.clone(),
            column: item.column + 1 + indent(behind),
            dash: true,
        }
    }

    /// The text of a list item of one word.
    pub fn item_text(&self, item: &Item) -> String {
        let line = self.line(item.lines.start);
        plain(line.get(item.column + 1..).unwrap_or("").trim_start())
    }

    /// The text of a key's value.
    pub fn value(&self, entry: &Entry) -> String {
        plain(self.inline(entry))
    }

    /// Gives a list item of one word another text; its quotes and comment stay.
    pub fn set_item_text(&mut self, item: &Item, text: &str) {
        if let Some(line) = self.lines.get_mut(item.lines.start) {
            let behind = line.get(item.column + 1..).unwrap_or("");
            let start = item.column + 1 + indent(behind);
            replace_word(line, start, text, false);
        }
    }

    /// Gives a key of one word another value; its quotes and comment stay.
    pub fn set_value(&mut self, entry: &Entry, text: &str) {
        let start = self.line(entry.line).len() - self.inline(entry).len();
        let bare = self
            .line(entry.line)
            .get(entry.column..)
            .and_then(key_of)
            .is_some_and(|key| BARE.contains(&key));
        if let Some(line) = self.lines.get_mut(entry.line) {
            replace_word(line, start, text, bare);
        }
    }

    /// Sets a key of one word; a new one is written below the others.
    pub fn set_key(&mut self, mapping: &Mapping, key: &str, value: &str) {
        match self.entry(mapping, key) {
            Some(entry) => self.set_value(&entry, value),
            None if BARE.contains(&key) => self.add_line(mapping, format!("{key}: {value}")),
            None => self.add_line(mapping, format!("{key}: {}", word(value))),
        }
    }

    /// Writes a line below the others of a mapping, in their column.
    pub fn add_line(&mut self, mapping: &Mapping, line: String) {
        let end = self.end(mapping);
        self.insert(end, [format!("{}{line}", " ".repeat(mapping.column))]);
    }

    /// The line behind the last one of a mapping, which may have grown meanwhile.
    fn end(&self, mapping: &Mapping) -> usize {
        let deeper = |line: &usize| {
            let text = self.line(*line);
            is_silent(text) || indent(text) >= mapping.column
        };
        let grown = (mapping.lines.end..self.lines.len())
            .take_while(deeper)
            .count();
        self.trimmed(mapping.lines.start..mapping.lines.end + grown)
            .end
    }

    /// Takes a key out. One that stands behind a dash hands the dash to the next one.
    pub fn remove_key(&mut self, mapping: &Mapping, key: &str) -> bool {
        let Some(entry) = self.entry(mapping, key) else {
            return false;
        };
        let dash = mapping.dash && entry.line == mapping.lines.start;
        let prefix = self
            .line(entry.line)
            .get(..entry.column)
            .unwrap_or("")
            .to_owned();
        self.lines.drain(entry.line..entry.body.end);
        if dash
            && let Some(next) = self.first_said(entry.line..self.lines.len())
            && let Some(line) = self.lines.get_mut(next)
            && let Some(rest) = line.get(entry.column..)
        {
            *line = format!("{prefix}{rest}");
        }
        true
    }

    /// Takes out the line of a key below which nothing is left but comments.
    pub fn remove_key_line(&mut self, mapping: &Mapping, key: &str) {
        if let Some(entry) = self.entry(mapping, key) {
            self.lines.remove(entry.line);
        }
    }

    pub fn remove(&mut self, lines: Range<usize>) {
        self.lines.drain(lines);
    }

    pub fn insert(&mut self, at: usize, lines: impl IntoIterator<Item = String>) {
        let at = at.min(self.lines.len());
        self.lines.splice(at..at, lines);
    }

    /// Adds an item to the list of a key, which is made where it is missing. The item's lines are
    /// written from its dash on.
    pub fn add_item(
        &mut self,
        mapping: &Mapping,
        key: &str,
        item: Vec<String>,
    ) -> Result<(), String> {
        let (at, column) = match self.entry(mapping, key) {
            Some(entry) => {
                let items = self.items(&entry, key)?;
                let last = items.last().ok_or_else(|| not_block(key))?;
                (last.lines.end, last.column)
            }
            None => {
                let end = self.trimmed(mapping.lines.clone()).end;
                self.insert(end, [format!("{}{key}:", " ".repeat(mapping.column))]);
                (end + 1, mapping.column)
            }
        };
        let pad = " ".repeat(column);
        self.insert(at, item.into_iter().map(|line| format!("{pad}{line}")));
        Ok(())
    }
}

fn not_block(name: &str) -> String {
    format!("`{name}` of the manifest is not written in block style")
}

/// Where the colon behind a key is.
fn colon(text: &str) -> Option<usize> {
    let quoted = text.chars().next().filter(|c| matches!(c, '"' | '\''));
    let from = match quoted {
        Some(quote) => text.get(1..)?.find(quote)? + 2,
        None => 0,
    };
    let rest = text.get(from..)?;
    rest.match_indices(':')
        .map(|(at, _)| at)
        .find(|at| {
            rest.get(at + 1..)
                .is_some_and(|r| r.is_empty() || r.starts_with(' '))
        })
        .map(|at| from + at)
}

fn key_of(text: &str) -> Option<&str> {
    let key = text.get(..colon(text)?)?.trim_end();
    Some(key.trim_matches(|c| c == '"' || c == '\''))
}

/// Where the word at the start of a text ends, quotes included.
fn word_end(text: &str) -> usize {
    let mut characters = text.char_indices();
    match characters.next() {
        Some((_, '"')) => {
            let mut escaped = false;
            for (at, character) in characters {
                match character {
                    _ if escaped => escaped = false,
                    '\\' => escaped = true,
                    '"' => return at + 1,
                    _ => {}
                }
            }
            text.len()
        }
        Some((_, '\'')) => text
            .get(1..)
            .and_then(|rest| rest.replace("''", "__").find('\''))
            .map_or(text.len(), |at| at + 2),
        _ => {
            let end = text.find(" #").unwrap_or(text.len());
            text.get(..end).unwrap_or(text).trim_end().len()
        }
    }
}

/// The text that a word stands for.
fn plain(text: &str) -> String {
    let written = text.get(..word_end(text)).unwrap_or(text);
    let inner = || {
        written
            .get(1..written.len().saturating_sub(1))
            .unwrap_or("")
    };
    if written.starts_with('"') {
        serde_json::from_str(written).unwrap_or_else(|_| inner().to_owned())
    } else if written.starts_with('\'') {
        inner().replace("''", "'")
    } else {
        written.to_owned()
    }
}

/// A text as a word of YAML: plain where that reads as the same text.
pub(super) fn word(text: &str) -> String {
    let reads_the_same = !text.contains('\n')
        && crate::yaml::to_json(text.as_bytes())
            .is_ok_and(|document| document.value.as_str() == Some(text));
    if reads_the_same {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

/// Keys whose values are no texts: numbers, ports and truth values are written bare.
const BARE: [&str; 3] = ["port", "readOnly", "failureThreshold"];

/// Replaces the word that starts at `start` of a line.
fn replace_word(line: &mut String, start: usize, text: &str, bare: bool) {
    let old = line.get(start..).unwrap_or("");
    let end = start + word_end(old);
    let new = match old.chars().next() {
        _ if bare => text.to_owned(),
        Some('"') => serde_json::Value::from(text).to_string(),
        Some('\'') => format!("'{}'", text.replace('\'', "''")),
        _ => word(text),
    };
    let gap = if start > 0 && line.get(start - 1..start) != Some(" ") {
        " "
    } else {
        ""
    };
    line.replace_range(start..end, &format!("{gap}{new}"));
}
