//! `ckslab doctor`: what ckslab needs on this machine. Changes nothing.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;

use super::output::{self, Format, OutputArgs, SCHEMA_VERSION};
use crate::exit::Exit;
use crate::lab::config::Settings;
use crate::lab::{Error, Home, Lab};
use crate::node::engine::{Engine, confinement as confined, kind_needs};
use crate::style::Style;

/// Arguments of `ckslab doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Ends with 0, or with 4 if something must be fixed.

Examples:
  ckslab doctor
  ckslab doctor -o json")]
pub struct DoctorArgs {
    #[command(flatten)]
    output: OutputArgs,
}

/// How a check went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Pass,
    Warn,
    Fail,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    verdict: Verdict,
    seen: String,
    fix: Option<String>,
}

#[derive(Serialize)]
struct Report {
    schema_version: u32,
    ok: bool,
    checks: Vec<Check>,
}

impl Check {
    fn pass(name: &'static str, seen: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Pass,
            seen: seen.into(),
            fix: None,
        }
    }

    fn warn(name: &'static str, seen: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Warn,
            seen: seen.into(),
            fix: Some(fix.into()),
        }
    }

    fn fail(name: &'static str, seen: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Fail,
            ..Self::warn(name, seen, fix)
        }
    }
}

/// Runs the command.
///
/// # Errors
/// When standard output cannot be written.
pub fn run(args: &DoctorArgs) -> anyhow::Result<Exit> {
    let mut checks = Vec::new();
    match Home::find() {
        Err(error) => checks.push(Check::fail(
            "state directory",
            error.to_string(),
            "set CKSLAB_HOME to a directory you can write",
        )),
        Ok(home) => {
            checks.push(state_directory(home.dir()));
            checks.extend(space(home.dir()));
            checks.push(settings(&home));
            checks.extend(labs(&home));
        }
    }
    checks.push(loopback());
    checks.push(kubectl());
    checks.push(confinement());
    checks.extend(engines());
    let ok = checks.iter().all(|check| check.verdict != Verdict::Fail);
    match args.output.output {
        Format::Json => output::print_json(&Report {
            schema_version: SCHEMA_VERSION,
            ok,
            checks,
        })?,
        Format::Text => output::print(&text(&checks, Style::stdout()))?,
    }
    Ok(if ok { Exit::Ok } else { Exit::Environment })
}

fn text(checks: &[Check], style: Style) -> String {
    let mut out = String::new();
    for check in checks {
        let verdict = match check.verdict {
            Verdict::Pass => style.good("PASS"),
            Verdict::Warn => style.warn("WARN"),
            Verdict::Fail => style.bad("FAIL"),
        };
        out.push_str(&format!("{verdict}  {}: {}\n", check.name, check.seen));
        if let Some(fix) = &check.fix {
            out.push_str(&format!("      fix: {fix}\n"));
        }
    }
    out
}

/// The nearest directory above that exists.
fn existing(dir: &Path) -> PathBuf {
    dir.ancestors()
        .find(|dir| dir.is_dir())
        .unwrap_or(Path::new("/"))
        .to_path_buf()
}

fn state_directory(dir: &Path) -> Check {
    const NAME: &str = "state directory";
    let there = existing(dir);
    let writable = rustix::fs::access(&there, rustix::fs::Access::WRITE_OK).is_ok();
    let shown = dir.display();
    if fs::symlink_metadata(dir).is_ok_and(|meta| !meta.is_dir()) && !dir.is_dir() {
        return Check::fail(
            NAME,
            format!("{shown} is no directory"),
            "set CKSLAB_HOME to a directory you can write",
        );
    }
    match (writable, there == dir) {
        (true, true) => Check::pass(NAME, format!("{shown}")),
        (true, false) => Check::pass(NAME, format!("{shown} (made when it is needed)")),
        (false, _) => Check::fail(
            NAME,
            format!("{} cannot be written", there.display()),
            "set CKSLAB_HOME to a directory you can write",
        ),
    }
}

fn space(dir: &Path) -> Option<Check> {
    const NEEDED: u64 = 64 << 20;
    let stat = rustix::fs::statvfs(existing(dir)).ok()?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    let seen = format!("{} MiB free", free >> 20);
    Some(if free < NEEDED {
        Check::fail(
            "disk space",
            seen,
            "free some space, or set CKSLAB_HOME to another disk",
        )
    } else {
        Check::pass("disk space", seen)
    })
}

fn settings(home: &Home) -> Check {
    match Settings::load(home) {
        Ok(_) if home.config_file().exists() => {
            Check::pass("configuration", home.config_file().display().to_string())
        }
        Ok(_) => Check::pass("configuration", "no file, defaults are used"),
        Err(error) => Check::fail(
            "configuration",
            error.lines().next().unwrap_or_default(),
            format!("correct or remove {}", home.config_file().display()),
        ),
    }
}

fn labs(home: &Home) -> Vec<Check> {
    let mut checks = Vec::new();
    let ids = home.ids();
    let (mut running, mut stopped) = (0, 0);
    for id in &ids {
        match Lab::find(home, Some(id)) {
            Err(error @ (Error::Damaged { .. } | Error::Newer { .. })) => checks.push(Check::fail(
                "lab",
                error.to_string(),
                error.hint().unwrap_or_default(),
            )),
            Err(error) => checks.push(Check::warn("lab", error.to_string(), "ckslab list")),
            Ok(lab) => match lab.node().map(|_| lab.is_running()) {
                Ok(true) => running += 1,
                Ok(false) if lab.record().stopped => stopped += 1,
                Ok(false) if lab.is_lost() => checks.push(Check::warn(
                    "lab",
                    format!(
                        "lab {id} has no cluster any more: it was deleted, or another lab has it"
                    ),
                    format!("ckslab start {id} makes it anew"),
                )),
                Ok(false) => checks.push(Check::warn(
                    "lab",
                    format!("the process of lab {id} is gone"),
                    format!("ckslab status {id} starts it again; nothing is lost"),
                )),
                Err(error) => checks.push(Check::fail(
                    "lab",
                    error.to_string(),
                    format!("ckslab reset {id}"),
                )),
            },
        }
    }
    if checks.is_empty() {
        checks.push(Check::pass(
            "labs",
            format!("{running} running, {stopped} stopped"),
        ));
    }
    checks
}

fn loopback() -> Check {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, 0)) {
        Ok(_) => Check::pass("loopback", "ports of 127.0.0.1 can be used"),
        Err(error) => Check::fail(
            "loopback",
            format!("no port of 127.0.0.1 can be used: {error}"),
            "allow programs to listen on 127.0.0.1",
        ),
    }
}

fn kubectl() -> Check {
    const NAME: &str = "kubectl";
    let output = Command::new("kubectl")
        .args(["version", "--client", "-o", "json"])
        .stdin(Stdio::null())
        .env_remove("KUBECONFIG")
        .output();
    match output {
        Ok(output) => {
            let version = serde_json::from_slice::<serde_json::Value>(&output.stdout)
                .ok()
                .and_then(|value| {
                    value
                        .pointer("/clientVersion/gitVersion")?
                        .as_str()
                        .map(str::to_owned)
                });
            Check::pass(NAME, version.unwrap_or_else(|| "found".to_owned()))
        }
        Err(_) => Check::warn(
            NAME,
            "not found: exercises about the API need it",
            "https://kubernetes.io/docs/tasks/tools/",
        ),
    }
}

fn confinement() -> Check {
    match confined() {
        Ok(()) => Check::pass("node shell", "private namespaces work"),
        Err(reason) => Check::warn(
            "node shell",
            format!("no private namespace: {reason}"),
            "allow user namespaces for a shell that looks like the node; everything else works without",
        ),
    }
}

/// What the kind engine needs, and the engine that `auto` means.
fn engines() -> Vec<Check> {
    let mut checks: Vec<Check> = kind_needs()
        .into_iter()
        .map(|(name, seen)| match seen {
            Ok(seen) => Check::pass(name, seen),
            // The embedded engine does without.
            Err((reason, hint)) => Check::warn(name, reason, hint),
        })
        .collect();
    let whole = checks.iter().all(|check| check.verdict == Verdict::Pass);
    let auto = if whole {
        Engine::Kind
    } else {
        Engine::Embedded
    };
    checks.push(Check::pass("engine", format!("auto means {}", auto.name())));
    checks
}
