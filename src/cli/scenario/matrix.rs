//! `ckslab scenario matrix`: the field of tasks and mistakes, and who covers what.

use serde::Serialize;

use super::SelectArgs;
use crate::cli::output::{self, Format, SCHEMA_VERSION};
use crate::exit::Exit;
use crate::scenario::matrix::{Matrix, Row};
use crate::style::Style;

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    /// Whether no row is empty but those for later.
    ok: bool,
    scenarios: usize,
    /// Rows without a scenario, `task 3` and the like.
    gaps: Vec<String>,
    #[serde(flatten)]
    matrix: Matrix,
}

/// Runs the command.
///
/// # Errors
/// When a scenario cannot be read.
pub(super) fn run(args: &SelectArgs) -> anyhow::Result<Exit> {
    let mut scenarios = super::select(args)?;
    scenarios.retain(|scenario| !scenario.definition.checks.is_empty());
    let matrix = Matrix::of(&scenarios);
    let report = Report {
        schema_version: SCHEMA_VERSION,
        ok: matrix.gaps().is_empty(),
        scenarios: scenarios.len(),
        gaps: matrix.gaps(),
        matrix,
    };
    match args.output.output {
        Format::Json => output::print_json(&report)?,
        Format::Text => output::print(&text(&report, Style::stdout()))?,
    }
    Ok(if report.ok { Exit::Ok } else { Exit::NotPassed })
}

fn text(report: &Report, style: Style) -> String {
    let mut out = String::new();
    let lists = [
        ("kinds of tasks", &report.matrix.tasks),
        ("mistakes", &report.matrix.mistakes),
    ];
    for (heading, rows) in lists {
        out.push_str(&format!("{}\n", style.strong(heading)));
        for row in rows {
            out.push_str(&format!("{:>4}  {}\n", row.number, row.text));
            out.push_str(&format!("      {}\n", covered(row, style)));
        }
        out.push('\n');
    }
    match report.gaps.as_slice() {
        [] => out.push_str(&format!(
            "{} scenarios, no row without one\n",
            report.scenarios
        )),
        gaps => out.push_str(&format!(
            "{} scenarios; without one: {}\n",
            report.scenarios,
            style.bad(&gaps.join(", "))
        )),
    }
    out
}

fn covered(row: &Row, style: Style) -> String {
    match (row.scenarios.as_slice(), row.later) {
        ([], true) => style.warn("none yet: left for a later part"),
        ([], false) => style.bad("none"),
        (ids, _) => style.code(&ids.join(" ")),
    }
}
