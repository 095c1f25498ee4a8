//! `ckslab list`: the scenarios, and the labs started from them.

use std::path::PathBuf;

use serde::Serialize;

use super::catalogue::{self, Entry, FilterArgs};
use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use crate::exit::Exit;
use crate::lab::progress::Stage;
use crate::lab::{Error, Home, Record};
use crate::scenario::coverage::Group;
use crate::style::Style;

/// Arguments of `ckslab list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab list
  ckslab list --group troubleshoot --progress failed
  ckslab list --skill rotation --difficulty easy
  ckslab list -o json
  ckslab list --scenarios ./my-scenarios")]
pub struct ListArgs {
    #[command(flatten)]
    filter: FilterArgs,
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
    /// Kind of work; null for free play.
    group: Option<Group>,
    difficulty: &'static str,
    minutes: u32,
    points: u32,
    skills: Vec<String>,
    /// `running`, `stopped`, `crashed`, `damaged` (its record cannot be read), `newer` (of a newer ckslab), or
    /// null where it was never started.
    lab: Option<&'static str>,
    active: bool,
    /// `new`, `started`, `failed` (graded, never passed) or `passed`, labs that were removed included.
    progress: Stage,
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
    let rows: Vec<Row> = catalogue::entries(&home, args.scenarios.as_deref())?
        .into_iter()
        .filter(|entry| args.filter.shows(entry))
        .map(|entry| row(&home, active.as_deref(), entry))
        .collect();
    match args.output.output {
        Format::Json => output::print_json(&Report {
            schema_version: SCHEMA_VERSION,
            active,
            scenarios: rows,
        })?,
        Format::Text => output::print(&text(&rows, args.filter.is_empty(), Style::stdout()))?,
    }
    Ok(Exit::Ok)
}

fn row(home: &Home, active: Option<&str>, entry: Entry) -> Row {
    let definition = entry.scenario.definition;
    let progress = entry.progress;
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
        best_percent: progress.best_percent,
        passed: progress.stage() == Stage::Passed,
        progress: progress.stage(),
        group: definition.group,
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

fn text(rows: &[Row], all: bool, style: Style) -> String {
    let mut out = String::new();
    if rows.is_empty() {
        out.push_str("no scenario is like that\n\n");
        out.push_str(&format!("{} ckslab list\n", style.strong("next:")));
        return out;
    }
    let width = rows.iter().map(|row| row.id.len()).max().unwrap_or(0);
    let groups = Group::ALL.iter().copied().map(Some).chain([None]);
    for group in groups {
        let mut members = rows.iter().filter(|row| row.group == group).peekable();
        if members.peek().is_none() {
            continue;
        }
        let heading = group.map_or("free play and others", Group::name);
        out.push_str(&format!("{}\n", style.strong(heading)));
        for row in members {
            out.push_str(&line(row, width, style));
        }
        out.push('\n');
    }
    let next = rows
        .iter()
        .find(|row| !row.passed && row.points > 0)
        .or(rows.first())
        .map_or("ID", |row| row.id.as_str());
    out.push_str(&format!("{} ckslab start {next}", style.strong("next:")));
    if all {
        out.push_str(", or ckslab next: it knows what you failed and what you have not seen");
    }
    out.push('\n');
    out
}

fn line(row: &Row, width: usize, style: Style) -> String {
    let pad = " ".repeat(width.saturating_sub(row.id.len()));
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
    format!(
        "  {}{pad}  {:<7}  {}  {}{}\n",
        style.code(&row.id),
        row.progress.name(),
        row.title,
        style.faint(&format!("({size})")),
        style.good(&state)
    )
}
