//! Markdown for a terminal: headings and code stand out, everything else stays as it is written.

use crate::style::Style;

/// Paints Markdown; without colours the text is unchanged.
#[must_use]
pub fn render(text: &str, style: Style) -> String {
    if !style.is_on() {
        return with_line_break(text);
    }
    let mut out = String::new();
    let mut fenced = false;
    for line in text.lines() {
        let fence = line.trim_start().starts_with("```");
        if fence {
            fenced = !fenced;
            out.push_str(&style.faint(line));
        } else if fenced {
            out.push_str(&style.code(line));
        } else if line.starts_with('#') {
            out.push_str(&style.strong(line.trim_start_matches('#').trim_start()));
        } else {
            out.push_str(&spans(line, style));
        }
        out.push('\n');
    }
    out
}

fn spans(line: &str, style: Style) -> String {
    let mut out = String::new();
    for (index, part) in line.split('`').enumerate() {
        if index % 2 == 1 {
            out.push_str(&style.code(part));
        } else {
            out.push_str(part);
        }
    }
    // An odd number of back-ticks is no code: keep the line as it is.
    if line.matches('`').count() % 2 == 1 {
        return line.to_owned();
    }
    out
}

fn with_line_break(text: &str) -> String {
    let mut text = text.trim_end().to_owned();
    text.push('\n');
    text
}
