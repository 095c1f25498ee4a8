//! `ckslab solution`: the explanation and the reference solution.

use std::io::{BufRead, IsTerminal, Write};

use serde::Serialize;

use super::failure::Failure;
use super::markdown;
use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use super::target::TargetArgs;
use crate::exit::Exit;
use crate::scenario::answer::written;
use crate::scenario::manifest_edit::ManifestEdit;
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
    for question in step.answers.iter().flat_map(|answers| &answers.questions) {
        let value = match question.computed() {
            Some(Ok(values)) => written(&values),
            _ => "what the log says".to_owned(),
        };
        out.push_str(&format!(
            "\n- write into {}:\n\n{}",
            question.path,
            block(&format!("{}: {value}", question.key))
        ));
    }
    if let Some(replace) = &step.replace {
        out.push_str(&format!(
            "\n- in {}, replace\n\n{}\n  with\n\n{}",
            replace.path,
            block(&replace.find),
            block(&replace.with)
        ));
    }
    if let Some(rename) = &step.rename {
        out.push_str(&format!("\n- rename {} to {}\n", rename.from, rename.to));
    }
    if let Some(link) = &step.symlink {
        let (path, target) = (&link.path, &link.target);
        out.push_str(&format!(
            "\n- make the link {path}, which leads to {target}\n"
        ));
    }
    if let Some(chmod) = &step.chmod {
        out.push_str(&format!("\n- chmod {} {}\n", chmod.mode, chmod.path));
    }
    if let Some(edit) = &step.manifest {
        let path = edit.path.as_deref().unwrap_or(MANIFEST);
        out.push_str(&format!("\n- in {path}:\n"));
        for line in manifest_lines(edit) {
            out.push_str(&format!("    {line}\n"));
        }
    }
    for (verb, objects) in [
        ("create", &step.objects),
        ("patch", &step.patch_objects),
        ("delete", &step.delete_objects),
    ] {
        for object in objects.iter().flatten() {
            out.push_str(&format!("\n- {verb} {}\n", object_words(object)));
            if verb != "delete" {
                let text = serde_yaml::to_string(object).unwrap_or_default();
                out.push_str(&format!("\n{}", block(&text)));
            }
        }
    }
    if let Some(action) = step.kubelet {
        out.push_str(&format!("\n- systemctl {} kubelet\n", action.verb()));
    }
    if step.restart == Some(true) {
        out.push_str("\n- move the manifest out of the directory, wait, and move it back\n");
    }
    if step.wait.is_some() {
        out.push_str("\n- wait for the API server\n");
    }
    out
}

/// An object in the words of kubectl: `Secret db in namespace payments`.
fn object_words(object: &serde_json::Value) -> String {
    let text = |path: &str| object.pointer(path).and_then(serde_json::Value::as_str);
    let mut words = format!(
        "{} {}",
        text("/kind").unwrap_or("object"),
        text("/metadata/name").unwrap_or_default()
    );
    if let Some(namespace) = text("/metadata/namespace") {
        words.push_str(&format!(" in namespace {namespace}"));
    }
    words
}

/// An edit of a manifest, a line for each change.
fn manifest_lines(edit: &ManifestEdit) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = |text: String| lines.push(text);
    for flag in &edit.remove_flags {
        line(format!("take out the flag --{flag}"));
    }
    for rename in &edit.rename_flags {
        line(format!(
            "rename the flag --{} to --{}",
            rename.from, rename.to
        ));
    }
    for flag in &edit.set_flags {
        line(format!("set the flag --{flag}"));
    }
    for flag in &edit.add_flags {
        line(format!("add the flag --{flag}"));
    }
    if let Some(program) = &edit.command {
        line(format!("set the program to {program}"));
    }
    if let Some(image) = &edit.image {
        line(format!("set the image to {image}"));
    }
    for name in &edit.remove_mounts {
        line(format!("take out the volume mount {name}"));
    }
    for name in &edit.remove_volumes {
        line(format!("take out the volume {name}"));
    }
    let mut set = |what: String, fields: &[(&str, Option<String>)]| {
        for (field, value) in fields {
            match value.as_deref() {
                Some("") => line(format!("{what}: take out {field}")),
                Some(value) => line(format!("{what}: set {field} to {value}")),
                None => {}
            }
        }
    };
    for volume in &edit.set_volumes {
        set(
            format!("volume {}", volume.name),
            &[
                ("path", volume.path.clone()),
                ("type", volume.kind.clone()),
                ("name", volume.rename.clone()),
            ],
        );
    }
    for mount in &edit.set_mounts {
        set(
            format!("volume mount {}", mount.name),
            &[
                ("mountPath", mount.path.clone()),
                ("readOnly", mount.read_only.map(|on| on.to_string())),
                ("subPath", mount.sub_path.clone()),
                ("name", mount.rename.clone()),
            ],
        );
    }
    for probe in &edit.probes {
        let field = probe.probe.field();
        let threshold = probe.failure_threshold.map(|number| number.to_string());
        set(
            field.to_owned(),
            &[
                ("port", probe.port.clone()),
                ("path", probe.path.clone()),
                ("host", probe.host.clone()),
                ("scheme", probe.scheme.clone()),
                ("failureThreshold", threshold),
            ],
        );
    }
    for probe in edit.probes.iter().filter(|probe| probe.remove) {
        lines.push(format!("take out {}", probe.probe.field()));
    }
    for volume in &edit.add_volumes {
        let kind = volume.kind.as_deref().map(|kind| format!(", type {kind}"));
        lines.push(format!(
            "add the hostPath volume {}: path {}{}",
            volume.name,
            volume.path,
            kind.unwrap_or_default()
        ));
    }
    for mount in &edit.add_mounts {
        lines.push(format!(
            "mount the volume {} at {}{}",
            mount.name,
            mount.path,
            if mount.read_only { ", readOnly" } else { "" }
        ));
    }
    for replace in &edit.replace {
        lines.push("replace".to_owned());
        lines.extend(replace.find.lines().map(|text| format!("    {text}")));
        lines.push("with".to_owned());
        lines.extend(replace.with.lines().map(|text| format!("    {text}")));
    }
    for indent in &edit.indent {
        lines.push(match indent.tab {
            true => format!("indent `{}` with a tab", indent.line),
            false => format!("indent `{}` by {} more", indent.line, indent.by),
        });
    }
    lines
}
