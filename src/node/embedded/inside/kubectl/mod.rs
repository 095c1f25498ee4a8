//! The host's kubectl for a node that cannot be entered: only subcommands and flags whose dealings with
//! files are known, with every path mapped into the node root; everything else is refused.
//!
//! The command line is written anew, the subcommand first and every value joined to its flag: kubectl
//! can take nothing for a flag that was not looked at here.

mod words;

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::process::Command;

use serde_json::Value;

use self::words::{CREATED, Kind, REFUSED_BELOW, SUBCOMMANDS, kind, long_name, one_of};
use super::super::confine::Confined;
use super::super::daemon::Config;
use crate::node::NodeError;
use crate::yaml;

/// The kubeconfig of whoever is on the node.
const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// A mapped directory is looked through this deep.
const DEPTH: usize = 16;

fn refused(what: impl std::fmt::Display) -> NodeError {
    NodeError::Refused(format!("{what} cannot be confined to the node here"))
}

/// A command line as it is understood.
#[derive(Debug, Default)]
struct Line {
    subcommand: String,
    /// Flags and words, in their order; values joined.
    words: Vec<String>,
    /// Whether it names a kubeconfig.
    kubeconfig: bool,
}

/// kubectl, about to run this command line.
///
/// # Errors
/// When a part of it is none that can be mapped, with the reason.
pub(super) fn command(config: &Config, arguments: &[String]) -> Result<Command, NodeError> {
    let node = Confined::new(&config.node_root);
    let line = map(&node, arguments)?;
    // A home of its own: nothing of the node's or the host's is read or written by the way.
    let home = config.state_dir.join("kubectl");
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&home)
        .map_err(|source| NodeError::Io {
            path: "kubectl's home".to_owned(),
            source,
        })?;
    let mut command = Command::new("kubectl");
    command.env_clear();
    for name in [
        "PATH", "TERM", "LANG", "LC_ALL", "LC_CTYPE", "COLUMNS", "LINES", "NO_COLOR", "TZ",
    ] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    if !line.kubeconfig {
        command.env("KUBECONFIG", kubeconfig(&node, ADMIN)?);
    }
    command
        .args(line.arguments())
        .env("HOME", &home)
        .env("KUBECACHEDIR", home.join("cache"))
        .env("KUBECTL_KUBERC", "false")
        .current_dir(&home);
    Ok(command)
}

impl Line {
    fn arguments(&self) -> impl Iterator<Item = &str> {
        let subcommand = Some(self.subcommand.as_str()).filter(|name| !name.is_empty());
        subcommand
            .into_iter()
            .chain(self.words.iter().map(String::as_str))
    }
}

fn map(node: &Confined, arguments: &[String]) -> Result<Line, NodeError> {
    let subcommand = find_subcommand(arguments)?;
    let mut line = Line {
        subcommand: subcommand.to_owned(),
        ..Line::default()
    };
    let mut below = None;
    let mut named = false;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            if !named {
                return Err(refused("`kubectl --`"));
            }
            // What follows belongs to a command in a container.
            line.words.push("--".to_owned());
            line.words.extend(rest.cloned());
            break;
        }
        if let Some(flag) = argument.strip_prefix("--") {
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            let value = match (kind(subcommand, name), value) {
                (None, _) => return Err(refused(format!("`kubectl --{name}`"))),
                (Some(Kind::Boolean), value) => value,
                (Some(_), None) => Some(rest.next().ok_or_else(|| missing(name))?.as_str()),
                (Some(_), value) => value,
            };
            line.add(node, name, value)?;
        } else if argument.len() > 1 && argument.starts_with('-') {
            let mut letters = argument.strip_prefix('-').unwrap_or_default().chars();
            while let Some(letter) = letters.next() {
                let name = long_name(subcommand, letter)
                    .ok_or_else(|| refused(format!("`kubectl -{letter}`")))?;
                if kind(subcommand, name) == Some(Kind::Boolean) {
                    match letters.as_str().strip_prefix('=') {
                        Some(value) => {
                            line.add(node, name, Some(value))?;
                            break;
                        }
                        None => line.add(node, name, None)?,
                    }
                    continue;
                }
                let stuck = letters.as_str();
                let value = match stuck.strip_prefix('=').unwrap_or(stuck) {
                    "" if stuck.is_empty() => rest.next().ok_or_else(|| missing(name))?.as_str(),
                    value => value,
                };
                line.add(node, name, Some(value))?;
                break;
            }
        } else if !named {
            // The subcommand itself.
            named = true;
        } else {
            below.get_or_insert(argument.as_str());
            line.words.push(argument.clone());
        }
    }
    if let Some(below) = below {
        let plugin = subcommand == "create" && !one_of(CREATED, below);
        if plugin || REFUSED_BELOW.contains(&(subcommand, below)) {
            return Err(refused(format!("`kubectl {subcommand} {below}`")));
        }
    }
    Ok(line)
}

fn missing(flag: &str) -> NodeError {
    NodeError::Refused(format!("kubectl: flag needs an argument: --{flag}"))
}

/// The first word that is no flag and no flag's value.
fn find_subcommand(arguments: &[String]) -> Result<&str, NodeError> {
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if argument == "--" {
            break;
        }
        if !argument.starts_with('-') {
            if one_of(SUBCOMMANDS, argument) {
                return Ok(argument);
            }
            return Err(NodeError::Refused(format!(
                "`kubectl {argument}` cannot be confined to the node here: without private namespaces only {} \
                 can be run",
                SUBCOMMANDS.replace(' ', ", ")
            )));
        }
        // Before the subcommand only flags of all subcommands can be.
        let takes_value = match argument.strip_prefix("--") {
            Some(flag) => !flag.contains('=') && kind("", flag).is_some_and(|k| k != Kind::Boolean),
            None => {
                let name = argument
                    .chars()
                    .nth(1)
                    .and_then(|letter| long_name("", letter));
                argument.chars().count() == 2
                    && name
                        .and_then(|name| kind("", name))
                        .is_some_and(|k| k != Kind::Boolean)
            }
        };
        if takes_value {
            rest.next();
        }
    }
    Ok("")
}

impl Line {
    fn add(&mut self, node: &Confined, name: &str, value: Option<&str>) -> Result<(), NodeError> {
        let Some(value) = value else {
            self.words.push(format!("--{name}"));
            return Ok(());
        };
        let mapped = match kind(&self.subcommand, name) {
            Some(Kind::Path) => path(node, value)?,
            Some(Kind::NamedPath) => match value.split_once('=') {
                Some((key, file)) => format!("{key}={}", path(node, file)?),
                None => path(node, value)?,
            },
            Some(Kind::Source) => source(node, value)?,
            Some(Kind::Output) => output(node, value)?,
            Some(Kind::Kubeconfig) => {
                self.kubeconfig = true;
                kubeconfig(node, value)?
            }
            _ => value.to_owned(),
        };
        self.words.push(format!("--{name}={mapped}"));
        Ok(())
    }
}

fn source(node: &Confined, value: &str) -> Result<String, NodeError> {
    let url = value.starts_with("http://") || value.starts_with("https://");
    if value == "-" || (url && !value.contains([',', '"'])) {
        return Ok(value.to_owned());
    }
    path(node, value)
}

/// Formats, whether they need something after `=`.
fn output(node: &Confined, value: &str) -> Result<String, NodeError> {
    match value.split_once('=') {
        Some((
            format
            @ ("go-template-file" | "templatefile" | "jsonpath-file" | "custom-columns-file"),
            file,
        )) => Ok(format!("{format}={}", path(node, file)?)),
        Some((
            "go-template" | "template" | "jsonpath" | "jsonpath-as-json" | "custom-columns",
            _,
        )) => Ok(value.to_owned()),
        None if [
            "",
            "json",
            "yaml",
            "kyaml",
            "wide",
            "name",
            "go-template",
            "template",
            "jsonpath",
            "jsonpath-as-json",
            "custom-columns",
            "plaintext",
            "plaintext-openapiv2",
        ]
        .contains(&value) =>
        {
            Ok(value.to_owned())
        }
        _ => Err(refused(format!("`kubectl --output {value}`"))),
    }
}

/// The host path of a node path, which must be there.
fn path(node: &Confined, value: &str) -> Result<String, NodeError> {
    // Several flags take a list, in which a comma or a quote would begin another path.
    if value.contains([',', '"']) {
        return Err(refused(format!(
            "the path `{value}` with a comma or a quote"
        )));
    }
    let canonical = canonical(node, value)?;
    if node.metadata(&canonical).is_ok_and(|meta| meta.is_dir()) {
        no_links(node, &canonical, 0)?;
    }
    Ok(host(node, &canonical))
}

fn canonical(node: &Confined, value: &str) -> Result<String, NodeError> {
    let path = if value.starts_with('/') {
        value.to_owned()
    } else {
        format!("/root/{value}")
    };
    node.canonical(&path)
        .map_err(|source| NodeError::Io { path, source })
}

fn host(node: &Confined, canonical: &str) -> String {
    let path = node.root().join(canonical.trim_start_matches('/'));
    path.display().to_string()
}

/// kubectl reads what is in a directory itself, and would follow a link out of the node.
fn no_links(node: &Confined, directory: &str, depth: usize) -> Result<(), NodeError> {
    let failed = |source: io::Error| NodeError::Io {
        path: directory.to_owned(),
        source,
    };
    if depth > DEPTH {
        return Err(refused(format!("`{directory}`, a very deep directory,")));
    }
    for name in node.list(directory).map_err(failed)? {
        let path = format!("{}/{name}", directory.trim_end_matches('/'));
        let metadata = node.symlink_metadata(&path).map_err(failed)?;
        if metadata.file_type().is_symlink() {
            return Err(refused(format!("a directory with a link in it (`{path}`)")));
        }
        if metadata.is_dir() {
            no_links(node, &path, depth + 1)?;
        }
    }
    Ok(())
}

/// A kubeconfig that names no files and no programs.
fn kubeconfig(node: &Confined, value: &str) -> Result<String, NodeError> {
    // A list of files as in the variable is none that kubectl takes here.
    let canonical = canonical(node, value)?;
    let bytes = node
        .read(&canonical, 1 << 20)
        .map_err(|source| NodeError::Io {
            path: value.to_owned(),
            source,
        })?;
    if let Ok(document) = yaml::to_json(&bytes)
        && let Some(key) = names_files(&document.value)
    {
        return Err(refused(format!("a kubeconfig with `{key}` (`{value}`)")));
    }
    Ok(host(node, &canonical))
}

/// The first key of a kubeconfig by which kubectl would read a file or run a program.
fn names_files(value: &Value) -> Option<&str> {
    match value {
        Value::Array(items) => items.iter().find_map(names_files),
        Value::Object(fields) => fields.iter().find_map(|(key, value)| {
            let lower = key.to_lowercase();
            let file = [
                "certificate-authority",
                "client-certificate",
                "client-key",
                "tokenfile",
                "exec",
                "auth-provider",
            ]
            .contains(&lower.as_str());
            if file && !value.is_null() {
                return Some(key.as_str());
            }
            names_files(value)
        }),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
