//! What commands write to: data to standard output, progress and warnings to standard error.

use std::io::{self, Write};

use serde::Serialize;

use crate::style::{Style, printable_json};

/// Format of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// For programs; has `schema_version`.
    Json,
}

/// `-o` of the commands that report.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct OutputArgs {
    /// Format of the report
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub output: Format,
}

/// Version of the JSON that commands print.
pub const SCHEMA_VERSION: u32 = 1;

/// Writes to standard output; an error is for the caller (a closed pipe ends quietly).
///
/// # Errors
/// When standard output cannot be written.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Writes a value as pretty JSON with a line break.
///
/// # Errors
/// When standard output cannot be written.
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
    text.push('\n');
    print(&printable_json(&text))
}

/// Says something on standard error; nobody listening is no error.
pub fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Warns on standard error.
pub fn warn(text: &str) {
    note(&format!("{} {text}", Style::stderr().warn("warning:")));
}

/// Breaks text into lines of at most `width` columns, each after `indent`.
#[must_use]
pub fn wrap(text: &str, width: usize, indent: &str) -> String {
    let mut out = String::new();
    for paragraph in text.lines() {
        let mut column = 0;
        for word in paragraph.split_whitespace() {
            let length = word.chars().count();
            if column > 0 && column + 1 + length > width.saturating_sub(indent.len()) {
                out.push('\n');
                column = 0;
            }
            if column == 0 {
                out.push_str(indent);
            } else {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
        }
        out.push('\n');
    }
    out
}
