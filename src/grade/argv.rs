//! Flags of a command line, by the rules of pflag that matter for reading one: `--name=value`,
//! `--name value`, `_` for `-`, the last of several wins.

use crate::audit::options::table;
use crate::manifest::path;

/// The flags of a command line, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    all: Vec<(String, String)>,
}

impl Flags {
    /// Reads a command line, program name first.
    #[must_use]
    pub fn of(argv: &[String]) -> Self {
        let mut all = Vec::new();
        let mut rest = argv.iter().skip(1).peekable();
        while let Some(argument) = rest.next() {
            let Some(flag) = argument.strip_prefix("--") else {
                continue;
            };
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, value.to_owned()),
                // A switch takes no argument of its own; every other flag takes the next, whatever it is.
                None => match (table::find(&flag.replace('_', "-")), rest.peek()) {
                    (Some(known), _) if known.kind.without_value().is_some() => (
                        flag,
                        known.kind.without_value().unwrap_or_default().to_owned(),
                    ),
                    (known, Some(next)) if known.is_some() || !next.starts_with('-') => {
                        let value = (*next).clone();
                        rest.next();
                        (flag, value)
                    }
                    _ => (flag, String::new()),
                },
            };
            all.push((name.replace('_', "-"), value));
        }
        Self { all }
    }

    /// The value in force.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.all
            .iter()
            .rev()
            .find(|(flag, _)| flag == name)
            .map(|(_, value)| value.as_str())
    }

    /// A value that is a path or other text: set and not empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// Every flag as `--name=value`.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Whether two values of a flag mean the same: as numbers, as paths, else as texts.
#[must_use]
pub fn same_value(a: &str, b: &str) -> bool {
    match (integer(a), integer(b)) {
        (Some(a), Some(b)) => a == b,
        _ if a.starts_with('/') && b.starts_with('/') => clean(a) == clean(b),
        _ => a == b,
    }
}

/// An integer as Go's `strconv.ParseInt(text, 0, 64)` reads it.
#[must_use]
pub fn integer(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, text.get(1..)?),
        b'+' => (false, text.get(1..)?),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase().replace('_', "");
    let (base, digits) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, lower.get(1..)?)
    } else {
        (10, lower.as_str())
    };
    if digits.starts_with(['+', '-']) {
        return None;
    }
    let value = i64::from_str_radix(digits, base).ok()?;
    Some(if negative { -value } else { value })
}

/// A path of a node without repeated slashes, `.` and `..`.
#[must_use]
pub fn clean(path: &str) -> String {
    path::clean(&format!("/{path}"))
}

/// The directory a path is in.
#[must_use]
pub fn parent(path: &str) -> String {
    let path = clean(path);
    match path.rfind('/') {
        Some(0) | None => "/".to_owned(),
        Some(cut) => path.get(..cut).unwrap_or("/").to_owned(),
    }
}

/// The last part of a path.
#[must_use]
pub fn base(path: &str) -> String {
    clean(path)
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_owned()
}

/// `path` below `directory`, as what remains; an empty rest when they are the same.
#[must_use]
pub fn below(path: &str, directory: &str) -> Option<String> {
    let (path, directory) = (clean(path), clean(directory));
    if directory == "/" {
        return Some(path.trim_start_matches('/').to_owned());
    }
    let rest = path.strip_prefix(&directory)?;
    match rest.strip_prefix('/') {
        Some(rest) => Some(rest.to_owned()),
        None if rest.is_empty() => Some(String::new()),
        None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(line: &str) -> Flags {
        Flags::of(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn last_wins_and_both_forms_are_read() {
        let flags = flags("kube-apiserver --a=1 --b_c 2 --a=3 --d --e=x=y");
        assert_eq!(flags.get("a"), Some("3"));
        assert_eq!(flags.get("b-c"), Some("2"));
        assert_eq!(flags.get("d"), Some(""));
        assert_eq!(flags.get("e"), Some("x=y"));
        assert_eq!(flags.text("d"), None);
        assert_eq!(flags.get("audit"), None);
    }

    #[test]
    fn flags_of_the_api_server_take_what_pflag_gives_them() {
        let flags = flags(
            "kube-apiserver --audit-log-path - --audit-log-maxage -1 --profiling --audit-log-compress true",
        );
        assert_eq!(flags.get("audit-log-path"), Some("-"));
        assert_eq!(flags.get("audit-log-maxage"), Some("-1"));
        assert_eq!(flags.get("profiling"), Some("true"));
        assert_eq!(flags.get("audit-log-compress"), Some("true"));
    }

    #[test]
    fn values_are_compared_by_meaning() {
        assert!(same_value("0x10", "16"));
        assert!(same_value("010", "8"));
        assert!(!same_value("50", "5"));
        assert!(same_value("/a//b/../c", "/a/c"));
        assert!(!same_value("/a/b", "/a/bc"));
    }

    #[test]
    fn below_respects_path_parts() {
        assert_eq!(
            below("/var/log/a/b.log", "/var/log"),
            Some("a/b.log".into())
        );
        assert_eq!(below("/var/log", "/var/log/"), Some(String::new()));
        assert_eq!(below("/var/logs/x", "/var/log"), None);
        assert_eq!(below("/var/log", "/"), Some("var/log".into()));
    }
}
