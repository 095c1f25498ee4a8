//! Events and counts as tables.

use std::io::{self, Write};

use crate::audit::log::Record;
use crate::audit::log::summary::Summary;
use crate::style::Style;

/// Text from a log, without anything a terminal would obey.
pub(super) fn plain(text: &str) -> String {
    text.chars()
        .map(|c| {
            let hidden = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
            if c.is_control() || hidden { '\u{fffd}' } else { c }
        })
        .collect()
}

/// Column widths are decided by this many rows; later rows may stick out.
const LOOK_AHEAD: usize = 1000;

/// A table that is written while events come in.
pub(super) struct Table {
    wide: bool,
    style: Style,
    waiting: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
}

impl Table {
    pub fn new(wide: bool, style: Style) -> Self {
        Self {
            wide,
            style,
            waiting: Vec::new(),
            widths: None,
        }
    }

    fn header(&self) -> Vec<String> {
        let mut header = vec!["TIME", "USER", "VERB", "OBJECT", "CODE", "LEVEL", "STAGE"];
        if self.wide {
            header.extend(["AUDIT-ID", "SOURCE", "USER-AGENT"]);
        }
        header.into_iter().map(str::to_owned).collect()
    }

    fn row(&self, record: &Record) -> Vec<String> {
        let dash = |text: &str| {
            if text.is_empty() {
                "-".to_owned()
            } else {
                plain(text)
            }
        };
        let time = record
            .time
            .map_or_else(|| "-".to_owned(), |time| format!("{time:.3}"));
        let user = match &record.impersonated {
            Some(other) => format!("{} as {}", dash(&record.user), plain(other)),
            None => dash(&record.user),
        };
        let mut row = vec![
            time,
            user,
            dash(&record.verb),
            object(record),
            record
                .code
                .map_or_else(|| "-".to_owned(), |code| code.to_string()),
            dash(&record.level),
            dash(&record.stage),
        ];
        if self.wide {
            row.push(dash(&record.audit_id));
            row.push(dash(&record.source_ips.join(",")));
            row.push(dash(&record.user_agent));
        }
        row
    }

    pub fn add(&mut self, record: &Record, out: &mut dyn Write) -> io::Result<()> {
        let row = self.row(record);
        match &self.widths {
            Some(widths) => self.write(&row, widths, out),
            None => {
                self.waiting.push(row);
                if self.waiting.len() >= LOOK_AHEAD {
                    self.begin(out)?;
                }
                Ok(())
            }
        }
    }

    fn begin(&mut self, out: &mut dyn Write) -> io::Result<()> {
        let header = self.header();
        let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
        for row in &self.waiting {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.chars().count()).min(70);
            }
        }
        let head = line(&header, &widths);
        writeln!(out, "{}", self.style.strong(&head))?;
        for row in std::mem::take(&mut self.waiting) {
            self.write(&row, &widths, out)?;
        }
        self.widths = Some(widths);
        Ok(())
    }

    fn write(&self, row: &[String], widths: &[usize], out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}", line(row, widths))
    }

    pub fn finish(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if self.widths.is_some() {
            return Ok(());
        }
        if self.waiting.is_empty() {
            return writeln!(out, "no event matches");
        }
        self.begin(out)
    }
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        text.push_str(cell);
        let padding = width.saturating_sub(cell.chars().count()) + 2;
        text.push_str(&" ".repeat(padding));
    }
    text.trim_end().to_owned()
}

/// `prod/secrets/db`, or the path of a request that is not for a resource.
fn object(record: &Record) -> String {
    if record.resource.is_empty() {
        return if record.uri.is_empty() {
            "-".to_owned()
        } else {
            plain(&record.uri)
        };
    }
    let mut text = record.resource.clone();
    if !record.name.is_empty() {
        text.push('/');
        text.push_str(&record.name);
    }
    if !record.subresource.is_empty() {
        text.push('/');
        text.push_str(&record.subresource);
    }
    if !(record.namespace.is_empty() || record.resource == "namespaces") {
        text = format!("{}/{text}", record.namespace);
    }
    plain(&text)
}

/// The counts as text.
pub(super) fn summary(summary: &Summary, top: usize, style: Style) -> String {
    let mut out = format!("{} requests, {} events", summary.requests, summary.events);
    if let (Some(first), Some(last)) = (summary.first, summary.last) {
        out.push_str(&format!(", {first:.3} to {last:.3}"));
    }
    out.push('\n');
    for by in summary.by() {
        out.push_str(&format!("\n{}\n", style.strong(&by.name().to_uppercase())));
        let counts = summary.counts(*by);
        let more = counts.len().saturating_sub(top);
        let width = counts
            .first()
            .map_or(1, |(_, count)| count.to_string().len());
        for (value, count) in counts.iter().take(top) {
            out.push_str(&format!("  {count:>width$}  {}\n", plain(value)));
        }
        if more > 0 {
            out.push_str(&format!(
                "  {}\n",
                style.faint(&format!("and {more} more (--top 0 shows all)"))
            ));
        }
    }
    out
}
