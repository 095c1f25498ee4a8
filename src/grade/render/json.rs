//! A report as JSON: the stable contract of `ckslab grade -o json`.

use crate::grade::report::Report;
use crate::style::printable_json;

/// Renders a report, with a line break at the end.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = serde_json::to_string_pretty(report).unwrap_or_default();
    text.push('\n');
    printable_json(&text).into_owned()
}
