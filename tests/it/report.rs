//! What a run of the tests says although they pass: counts of agreement with the golden data, the
//! release gate, and what was skipped.
//!
//! The test harness keeps what `println!` writes until a test fails. Writing to standard error
//! itself goes past it, so plain `cargo test` shows these lines. Keep them few.

use std::io::Write;
use std::path::Path;

/// Shows one line.
pub(crate) fn line(text: impl AsRef<str>) {
    show(&format!("{}\n", text.as_ref()));
}

/// Agreement with the golden data of one category: `agree` of `total` things of that unit ("cases",
/// "exchanges"), and how many of the others are listed with their reason. Shows a line, and leaves a row
/// for the table that `.ci/agreement` prints.
pub(crate) fn agreement(category: &str, unit: &str, agree: usize, total: usize, listed: usize) {
    let known = match listed {
        0 => String::new(),
        n => format!(", {n} known to differ"),
    };
    line(format!("{category}: {agree}/{total} {unit}{known}"));
    let rows = Path::new(env!("CARGO_TARGET_TMPDIR")).join("agreement");
    let name = format!("{category} {unit}").replace(|c: char| !c.is_ascii_alphanumeric(), "-");
    std::fs::create_dir_all(&rows).unwrap();
    std::fs::write(
        rows.join(name),
        format!("{category}\t{unit}\t{agree}\t{total}\t{listed}\n"),
    )
    .unwrap();
}

/// Shows that the running test leaves out what it cannot do on this machine.
pub(crate) fn skipped(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    line(format!("SKIPPED {test}: {reason}"));
}

/// Shows rows below their headings, in columns: the first to the left, the others to the right.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = head.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.len());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&head.map(str::to_owned)).chain(rows) {
        let mut line = String::new();
        for (i, (cell, width)) in row.iter().zip(widths).enumerate() {
            line.push_str(&match i {
                0 => format!("{cell:<width$}"),
                _ => format!("  {cell:>width$}"),
            });
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    show(&text);
    text
}

/// In one piece, so that the lines of tests that run at the same time do not mix.
fn show(text: &str) {
    // Nobody may be reading.
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
