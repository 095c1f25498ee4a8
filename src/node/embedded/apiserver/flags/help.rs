//! `kube-apiserver --help`.

use crate::audit::options::pflag::Value;
use crate::audit::options::table::{self, Flag, Kind};

const ABOUT: &str = "The Kubernetes API server validates and configures data
for the api objects which include pods, services, replicationcontrollers, and
others. The API Server services REST operations and provides the frontend to the
cluster's shared state through which all other components interact.

Usage:
  kube-apiserver [flags]
";

/// The lines of the help text.
#[must_use]
pub fn lines() -> Vec<String> {
    let mut out: Vec<String> = ABOUT.lines().map(str::to_owned).collect();
    let mut sections: Vec<&str> = Vec::new();
    for flag in table::ALL {
        if !sections.contains(&flag.section) {
            sections.push(flag.section);
        }
    }
    for section in sections {
        let flags: Vec<&Flag> = table::ALL
            .iter()
            .filter(|flag| flag.section == section && flag.deprecated.is_none())
            .collect();
        let heads: Vec<String> = flags.iter().map(|flag| head(flag)).collect();
        let width = heads.iter().map(String::len).max().unwrap_or(0);
        let mut title: Vec<char> = section.chars().collect();
        if let Some(first) = title.first_mut() {
            *first = first.to_ascii_uppercase();
        }
        out.push(String::new());
        out.push(format!("{} flags:", title.into_iter().collect::<String>()));
        out.push(String::new());
        for (flag, head) in flags.iter().zip(&heads) {
            out.push(
                format!("{head:width$}   {}", default(flag))
                    .trim_end()
                    .to_owned(),
            );
        }
    }
    out
}

fn head(flag: &Flag) -> String {
    let short = flag
        .shorthand
        .map_or_else(|| "    ".to_owned(), |c| format!("-{c}, "));
    let word = flag.kind.word();
    let space = if word.is_empty() { "" } else { " " };
    format!("  {short}--{}{space}{word}", flag.name)
}

fn default(flag: &Flag) -> String {
    match flag.default_value() {
        Value::Bool(false) | Value::Int(0) | Value::Duration(0) => String::new(),
        Value::Float(0.0) => String::new(),
        Value::Text(text) if text.is_empty() || flag.kind == Kind::Version => String::new(),
        Value::List(items) if items.is_empty() => String::new(),
        value @ Value::Text(_) => format!("(default \"{}\")", value.text()),
        value => format!("(default {})", value.text()),
    }
}
