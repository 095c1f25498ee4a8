//! `kube-apiserver --help` (`component-base/cli/flag/sectioned.go`, pflag's `FlagUsagesWrapped`)
//! on a standard output that is no terminal.

use crate::audit::options::number::quote;
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
    for flag in table::all() {
        if !sections.contains(&flag.section) {
            sections.push(flag.section);
        }
    }
    for name in sections {
        out.push(String::new());
        out.extend(section(name));
    }
    out
}

/// The lines of one section.
#[must_use]
pub fn section(name: &str) -> Vec<String> {
    let mut flags: Vec<&Flag> = table::all()
        .iter()
        .filter(|flag| flag.section == name && !flag.hidden)
        .collect();
    flags.sort_by_key(|flag| flag.name);
    let heads: Vec<String> = flags.iter().map(|flag| head(flag)).collect();
    let width = heads.iter().map(String::len).max().unwrap_or(0);
    let mut title: Vec<char> = name.chars().collect();
    if let Some(first) = title.first_mut() {
        *first = first.to_ascii_uppercase();
    }
    let mut out = vec![
        format!("{} flags:", title.into_iter().collect::<String>()),
        String::new(),
    ];
    for (flag, head) in flags.iter().zip(&heads) {
        let mut usage = flag.usage.join("\n");
        usage.push_str(&default(flag));
        if let Some(notice) = flag.deprecated {
            usage.push_str(&format!(" (DEPRECATED: {notice})"));
        }
        for (number, line) in usage.split('\n').enumerate() {
            let head = if number == 0 { head.as_str() } else { "" };
            out.push(format!("{head:width$}   {line}"));
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

/// pflag leaves out the zero of the types it knows.
fn default(flag: &Flag) -> String {
    let text = flag.default_value().text();
    let zero = match flag.kind {
        Kind::List | Kind::Repeated => text == "[]",
        Kind::Duration => text == "0s",
        _ => ["", "0", "false", "<nil>"].contains(&text.as_str()),
    };
    if zero {
        String::new()
    } else if flag.kind == Kind::Text {
        format!(" (default {})", quote(&text))
    } else {
        format!(" (default {text})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: &str = include_str!("../../../../../fixtures/golden/audit-flags-help.txt");

    #[test]
    fn the_auditing_section_is_the_real_one() {
        let real: Vec<&str> = REAL.trim_end().lines().collect();
        assert_eq!(section("auditing"), real);
    }

    #[test]
    fn sections_stand_in_the_real_order() {
        let lines = lines();
        let titles: Vec<&str> = lines
            .iter()
            .filter(|line| line.ends_with(" flags:"))
            .map(|line| line.trim_end_matches(" flags:"))
            .collect();
        assert_eq!(
            titles,
            [
                "Generic",
                "Etcd",
                "Secure serving",
                "Auditing",
                "Features",
                "Authentication",
                "Authorization",
                "API enablement",
                "Egress selector",
                "Admission",
                "Metrics",
                "Logs",
                "Traces",
                "Misc",
                "Global"
            ]
        );
    }
}
