//! `ckslab grade`: says what works, what does not, why, and what to look at next.

use super::output::{self, SCHEMA_VERSION};
use super::target::TargetArgs;
use crate::exit::Exit;
use crate::grade::render::text::Tone;
use crate::grade::render::{json, junit, text};
use crate::grade::{GradeError, Options, grade};
use crate::style::Style;

/// Arguments of `ckslab grade`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab grade
  ckslab grade audit-03 -o json
  ckslab grade -o junit > report.xml

Exit codes: 0 passed, 1 not passed. Grading changes nothing on the node. Naming a lab makes it the
active one.")]
pub struct GradeArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Format of the report
    #[arg(
        short = 'o',
        long = "output",
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    output: ReportFormat,
    /// Longest wait for a node that is still acting on a change, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 90)]
    wait: u64,
    /// Say on standard error what the grading cost: seconds, and calls of Docker
    #[arg(short, long)]
    verbose: bool,
}

/// Format of a grade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum ReportFormat {
    /// For people.
    #[default]
    Text,
    /// For programs; has `schema_version`.
    Json,
    /// For test tools: JUnit XML.
    Junit,
}

// Both are versions of what `-o json` prints.
const _: () = assert!(SCHEMA_VERSION == crate::grade::report::SCHEMA_VERSION);

/// Runs the command.
///
/// # Errors
/// When there is no lab, its node cannot be asked, or its scenario is wrong.
pub fn run(args: &GradeArgs) -> anyhow::Result<Exit> {
    let began = std::time::Instant::now();
    let mut lab = args.target.choose_running()?;
    let resolved = lab.scenario()?;
    let baseline = lab.baseline()?;
    let node = lab.node()?;
    let options = Options {
        settle: std::time::Duration::from_secs(args.wait),
        ..Options::default()
    };
    let report = grade(&*node, &resolved, &baseline, options, &|line| {
        output::note(line);
    })
    .map_err(explained)?;
    if args.verbose {
        output::note(&format!(
            "graded in {:.1} s with {} calls of Docker",
            began.elapsed().as_secs_f64(),
            crate::node::engine::calls()
        ));
    }
    match args.output {
        ReportFormat::Json => output::print(&json::render(&report))?,
        ReportFormat::Junit => output::print(&junit::render(&report))?,
        ReportFormat::Text => {
            let style = Style::stdout();
            let paint = |tone: Tone, part: &str| match tone {
                Tone::Plain => part.to_owned(),
                Tone::Good => style.good(part),
                Tone::Bad => style.bad(part),
                Tone::Muted => style.warn(part),
                Tone::Strong => style.strong(part),
            };
            output::print(&text::render(&report, width(), &paint))?;
        }
    }
    if report.max > 0 {
        lab.add_grade(
            f64::from(report.score),
            f64::from(report.max),
            report.passed,
        )?;
    }
    Ok(if report.passed {
        Exit::Ok
    } else {
        Exit::NotPassed
    })
}

fn explained(error: GradeError) -> anyhow::Error {
    match error {
        GradeError::Node(error) => error.into(),
        GradeError::Scenario { .. } => super::failure::Failure::input(error.to_string()).into(),
    }
}

/// Columns of the terminal, where the shell says so.
fn width() -> usize {
    std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .unwrap_or(80)
}
