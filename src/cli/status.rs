//! `ckslab status`: how the node is.

use serde::Serialize;

use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use super::target::TargetArgs;
use crate::exit::Exit;
use crate::lab::Lab;
use crate::node::{ApiServerState, ContainerPhase};
use crate::style::{Style, printable};

/// Arguments of `ckslab status`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab status
  ckslab status -o json
  ckslab status audit-03

Naming a lab makes it the active one.")]
pub struct StatusArgs {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// Lines of the kubelet's journal that are reported; text shows the last few of them.
const JOURNAL_LINES: usize = 200;

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    lab: String,
    scenario: String,
    engine: String,
    apiserver: ApiServerState,
    kubelet: Kubelet,
    manifests: Vec<String>,
    /// What happened to the lab.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    notices: Vec<String>,
}

#[derive(Serialize)]
struct Kubelet {
    journal_tail: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When there is no lab or its node cannot be asked.
pub fn run(args: &StatusArgs) -> anyhow::Result<Exit> {
    let lab = args.target.choose_running()?;
    let report = report(&lab)?;
    match args.output.output {
        Format::Json => output::print_json(&report)?,
        Format::Text => output::print(&text(&report, Style::stdout()))?,
    }
    Ok(Exit::Ok)
}

fn report(lab: &Lab) -> anyhow::Result<Report> {
    let node = lab.node()?;
    let record = lab.record();
    Ok(Report {
        schema_version: SCHEMA_VERSION,
        lab: record.lab.clone(),
        scenario: record.scenario.clone(),
        engine: record.engine.name().to_owned(),
        apiserver: node.api_server()?,
        kubelet: Kubelet {
            journal_tail: node.kubelet_journal(JOURNAL_LINES)?,
        },
        // A learner may have removed the directory: that is a state, no error.
        manifests: node.list("/etc/kubernetes/manifests").unwrap_or_default(),
        notices: node.notices(),
    })
}

/// The API server in a few words.
#[must_use]
pub fn headline(state: &ApiServerState) -> String {
    let mut text = match (state.state, state.ready) {
        (ContainerPhase::Running, true) => "running, ready".to_owned(),
        (ContainerPhase::Running, false) => "running, not ready".to_owned(),
        (ContainerPhase::Waiting, _) => "not running: waiting".to_owned(),
        (ContainerPhase::Exited, _) => "not running: exited".to_owned(),
        (ContainerPhase::Absent, _) => "not running: there is no container".to_owned(),
    };
    if state.state != ContainerPhase::Running {
        if let Some(reason) = &state.reason {
            text.push_str(&format!(" ({})", printable(reason)));
        }
        if let Some(code) = state.exit_code {
            text.push_str(&format!(", last exit code {code}"));
        }
    }
    match state.restarts {
        0 => {}
        1 => text.push_str(", 1 restart"),
        n => text.push_str(&format!(", {n} restarts")),
    }
    text
}

fn text(report: &Report, style: Style) -> String {
    let state = &report.apiserver;
    let headline = headline(state);
    let headline = if state.ready {
        style.good(&headline)
    } else {
        style.bad(&headline)
    };
    let mut out = format!(
        "{} ({})\n  API server  {headline}\n",
        style.strong(&format!("lab {}", report.lab)),
        report.engine
    );
    if let Some(message) = state.message.as_ref().filter(|_| !state.ready) {
        out.push_str(&format!("              {}\n", printable(message)));
    }
    out.push_str(&format!(
        "  manifests   {}\n",
        printable(&report.manifests.join(", "))
    ));
    for notice in &report.notices {
        out.push_str(&format!(
            "  {}      {}\n",
            style.bad("note"),
            printable(notice)
        ));
        out.push_str(&format!(
            "              ckslab reset {} makes the lab anew\n",
            report.lab
        ));
    }
    let audit: Vec<String> = state
        .argv
        .iter()
        .filter(|flag| flag.starts_with("--audit"))
        .map(|flag| printable(flag))
        .collect();
    if !audit.is_empty() {
        out.push_str(&format!(
            "  audit flags {}\n",
            audit.join("\n              ")
        ));
    }
    for (title, lines) in [
        ("last lines of the API server's log", &state.log_tail),
        (
            "last lines of the kubelet's journal",
            &report.kubelet.journal_tail,
        ),
    ] {
        let skip = lines.len().saturating_sub(5);
        if !state.ready && !lines.is_empty() {
            out.push_str(&format!("\n{}\n", style.strong(title)));
            for line in lines.iter().skip(skip) {
                out.push_str(&format!("  {}\n", printable(line.trim_end())));
            }
        }
    }
    if !state.ready {
        out.push_str(&format!(
            "\n{} ckslab exec -- crictl ps -a\n",
            style.strong("next:")
        ));
    }
    out
}
