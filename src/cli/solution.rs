//! `ckslab solution`: the explanation and the reference solution.

use std::io::{BufRead, IsTerminal, Write};

use serde::Serialize;

use super::failure::Failure;
use super::markdown;
use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use super::target::TargetArgs;
use crate::exit::Exit;
use crate::scenario::step::Step;
use crate::style::Style;

/// Arguments of `ckslab solution`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  ckslab solution
  ckslab solution --yes
  ckslab solution audit-03 --yes -o json")]
pub struct SolutionArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Do not ask whether you really want to see it
    #[arg(short = 'y', long)]
    yes: bool,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    lab: String,
    scenario: String,
    seed: u64,
    explanation: String,
    title: Option<String>,
    steps: Vec<Step>,
}

/// Runs the command.
///
/// # Errors
/// When there is no lab, or the user does not confirm.
pub fn run(args: &SolutionArgs) -> anyhow::Result<Exit> {
    let mut lab = args.target.find()?;
    let resolved = lab.scenario()?;
    let reference = resolved.reference();
    if reference.is_none() && resolved.explanation.is_empty() {
        output::print(&format!("scenario {} asks for nothing\n", lab.id()))?;
        return Ok(Exit::Ok);
    }
    let seen = lab.record().solution_shown || lab.record().grades.iter().any(|g| g.passed);
    if !args.yes && !seen && !confirmed()? {
        output::note("the solution stays hidden");
        return Ok(Exit::NotPassed);
    }
    lab.update(|record| record.solution_shown = true)?;
    match args.output.output {
        Format::Json => output::print_json(&Report {
            schema_version: SCHEMA_VERSION,
            lab: lab.id().to_owned(),
            scenario: lab.record().scenario.clone(),
            seed: resolved.seed,
            explanation: resolved.explanation.clone(),
            title: reference.map(|attempt| attempt.file.title.clone()),
            steps: reference.map(|a| a.file.steps.clone()).unwrap_or_default(),
        })?,
        Format::Text => {
            let style = Style::stdout();
            let mut text = markdown::render(&resolved.explanation, style);
            if let Some(attempt) = reference {
                text.push_str(&format!(
                    "\n{} {}\n",
                    style.strong("Reference solution:"),
                    attempt.file.title
                ));
                for step in &attempt.file.steps {
                    text.push_str(&describe(step));
                }
            }
            output::print(&text)?;
        }
    }
    Ok(Exit::Ok)
}

fn confirmed() -> anyhow::Result<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage(
            "the solution ends the exercise; it is shown only when you confirm",
        )
        .hint("ckslab solution --yes (or first: ckslab hint)")
        .into());
    }
    let mut err = std::io::stderr().lock();
    write!(
        err,
        "The solution ends the exercise (ckslab hint gives less away). Show it? [y/N] "
    )?;
    err.flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

/// A step as a person would do it.
fn describe(step: &Step) -> String {
    let mut out = String::new();
    let block = |text: &str| {
        text.lines()
            .map(|line| format!("    {line}\n"))
            .collect::<String>()
    };
    if let Some(dir) = &step.mkdir {
        out.push_str(&format!(
            "\n- make the directory {} (mode {})\n",
            dir.path, dir.mode
        ));
    }
    if let Some(file) = &step.write {
        out.push_str(&format!(
            "\n- write {}:\n\n{}",
            file.path,
            block(&file.content)
        ));
    }
    if let Some(file) = &step.append {
        out.push_str(&format!(
            "\n- add to the end of {}:\n\n{}",
            file.path,
            block(&file.content)
        ));
    }
    if let Some(target) = &step.remove {
        out.push_str(&format!("\n- remove {}\n", target.path));
    }
    if let Some(copy) = &step.copy {
        out.push_str(&format!("\n- copy {} to {}\n", copy.from, copy.to));
    }
    if let Some(replace) = &step.replace {
        out.push_str(&format!(
            "\n- in {}, replace\n\n{}\n  with\n\n{}",
            replace.path,
            block(&replace.find),
            block(&replace.with)
        ));
    }
    if let Some(edit) = &step.manifest {
        out.push_str(&format!("\n- in {MANIFEST}:\n"));
        let mut line = |text: String| out.push_str(&format!("    {text}\n"));
        for flag in &edit.remove_flags {
            line(format!("take out the flag --{flag}"));
        }
        for flag in &edit.set_flags {
            line(format!("set the flag --{flag}"));
        }
        for name in &edit.remove_mounts {
            line(format!("take out the volume mount {name}"));
        }
        for name in &edit.remove_volumes {
            line(format!("take out the volume {name}"));
        }
        for volume in &edit.add_volumes {
            let kind = volume.kind.as_deref().map(|kind| format!(", type {kind}"));
            line(format!(
                "add the hostPath volume {}: path {}{}",
                volume.name,
                volume.path,
                kind.unwrap_or_default()
            ));
        }
        for mount in &edit.add_mounts {
            line(format!(
                "mount the volume {} at {}{}",
                mount.name,
                mount.path,
                if mount.read_only { ", readOnly" } else { "" }
            ));
        }
        for replace in &edit.replace {
            line("replace".to_owned());
            for text in replace.find.lines() {
                line(format!("    {text}"));
            }
            line("with".to_owned());
            for text in replace.with.lines() {
                line(format!("    {text}"));
            }
        }
    }
    if step.restart == Some(true) {
        out.push_str("\n- move the manifest out of the directory, wait, and move it back\n");
    }
    if step.wait.is_some() {
        out.push_str("\n- wait for the API server\n");
    }
    out
}
