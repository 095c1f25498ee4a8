//! `ckslab list`: the scenarios, and the labs started from them.

use std::path::PathBuf;

use serde::Serialize;

use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use crate::exit::Exit;
use crate::lab::{Error, Home, Record};
use crate::scenario::Scenario;
use crate::style::Style;

/// Arguments of `ckslab list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab list
  ckslab list -o json
  ckslab list --scenarios ./my-scenarios")]
pub struct ListArgs {
    #[command(flatten)]
    output: OutputArgs,
    /// Directory of your own scenarios, shown beside the embedded ones
    #[arg(long, value_name = "DIR", env = "CKSLAB_SCENARIOS")]
    scenarios: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    active: Option<String>,
    scenarios: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    id: String,
    title: String,
    summary: String,
    difficulty: &'static str,
    minutes: u32,
    points: u32,
    skills: Vec<String>,
    /// `running`, `stopped`, `crashed`, `damaged` (its record cannot be read), `newer` (of a newer ckslab), or
    /// null where it was never started.
    lab: Option<&'static str>,
    active: bool,
    /// Best grade so far in percent.
    best_percent: Option<f64>,
    /// Whether it was ever passed.
    passed: bool,
    /// Whether it was passed since it was started or put back the last time.
    passed_now: bool,
}

/// Runs the command.
///
/// # Errors
/// When scenarios cannot be read or standard output cannot be written.
pub fn run(args: &ListArgs) -> anyhow::Result<Exit> {
    let home = Home::find()?;
    let active = home.active();
    let scenarios = Scenario::all(args.scenarios.as_deref()).map_err(Error::from)?;
    let rows: Vec<Row> = scenarios
        .into_iter()
        .map(|scenario| row(&home, active.as_deref(), scenario))
        .collect();
    match args.output.output {
        Format::Json => output::print_json(&Report {
            schema_version: SCHEMA_VERSION,
            active,
            scenarios: rows,
        })?,
        Format::Text => output::print(&text(&rows, Style::stdout()))?,
    }
    Ok(Exit::Ok)
}

fn row(home: &Home, active: Option<&str>, scenario: Scenario) -> Row {
    let definition = scenario.definition;
    let dir = home.lab(&definition.id);
    let loaded = Record::load(&dir);
    let lab = match &loaded {
        Ok(record) if record.engine.is_running(&dir) => Some("running"),
        Ok(record) if record.stopped => Some("stopped"),
        Ok(_) => Some("crashed"),
        Err(Error::Unknown(_)) => None,
        Err(Error::Newer { .. }) => Some("newer"),
        Err(_) => Some("damaged"),
    };
    // The grades of a damaged record may be in its copy.
    let record = loaded.ok().or_else(|| Record::rescue(&dir));
    let since = record.as_ref().map(|record| record.started);
    let grades = record.as_ref().map(|r| r.grades.as_slice()).unwrap_or(&[]);
    Row {
        active: active == Some(definition.id.as_str()),
        best_percent: grades
            .iter()
            .filter(|grade| grade.max > 0.0)
            .map(|grade| (grade.score / grade.max * 1000.0).round() / 10.0)
            .max_by(f64::total_cmp),
        passed: grades.iter().any(|grade| grade.passed),
        passed_now: grades
            .iter()
            .any(|grade| grade.passed && since.is_some_and(|since| grade.at >= since)),
        id: definition.id,
        title: definition.title,
        summary: definition.summary,
        difficulty: definition.difficulty.name(),
        minutes: definition.minutes,
        points: definition.points,
        skills: definition.skills,
        lab,
    }
}

fn text(rows: &[Row], style: Style) -> String {
    let width = rows.iter().map(|row| row.id.len()).max().unwrap_or(0);
    let mut out = String::new();
    for row in rows {
        let pad = " ".repeat(width - row.id.len());
        let size = if row.points == 0 {
            "free play".to_owned()
        } else {
            format!("{}, {} min", row.difficulty, row.minutes)
        };
        let mut state = Vec::new();
        match row.lab {
            Some("damaged") => state.push(format!("damaged: ckslab reset {}", row.id)),
            Some("newer") => state.push("of a newer ckslab".to_owned()),
            Some(lab) => state.push(lab.to_owned()),
            None => {}
        }
        if row.active {
            state.push("active".to_owned());
        }
        if row.passed_now {
            state.push("passed".to_owned());
        } else if row.passed {
            state.push("solved before".to_owned());
        } else if let Some(best) = row.best_percent {
            state.push(format!("best {best} %"));
        }
        let state = if state.is_empty() {
            String::new()
        } else {
            format!("  [{}]", state.join(", "))
        };
        out.push_str(&format!(
            "{}{pad}  {}  {}{}\n",
            style.code(&row.id),
            row.title,
            style.faint(&format!("({size})")),
            style.good(&state)
        ));
    }
    out.push_str(&format!(
        "\n{} ckslab start {}\n",
        style.strong("next:"),
        rows.iter()
            .find(|row| !row.passed && row.points > 0)
            .or(rows.first())
            .map_or("ID", |row| row.id.as_str())
    ));
    out
}
