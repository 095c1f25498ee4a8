//! `ps`, `pgrep`, `pkill`, `pidof` and `kill` on the simulated processes, for a node whose `/proc` does
//! not show them.

use std::io;

use jiff::{Timestamp, tz::TimeZone};

use super::Tool;
use super::process::{Owner, Process, processes};
use crate::node::embedded::kubelet::state::Request;
use crate::node::embedded::snapshot::{ContainerState, NodeSnapshot, base_name};

/// What to list and how.
#[derive(Default)]
struct Asked {
    columns: Vec<(String, Option<String>)>,
    all: bool,
    names: Vec<String>,
    pids: Vec<u32>,
    no_header: bool,
}

impl Asked {
    /// # Errors
    /// What is wrong, in the words of procps.
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut asked = Self::default();
        let mut style = "";
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            if let Some(long) = argument.strip_prefix("--") {
                let (name, inline) = match long.split_once('=') {
                    Some((name, value)) => (name, Some(value.to_owned())),
                    None => (long, None),
                };
                let mut value = || inline.clone().or_else(|| rest.next().cloned());
                match name {
                    "no-headers" | "no-heading" => asked.no_header = true,
                    "format" => asked.format(&value().unwrap_or_default())?,
                    "pid" => asked.pids(&value().unwrap_or_default())?,
                    "sort" => drop(value()),
                    "forest" | "headers" => {}
                    _ => return Err("error: unknown gnu long option".to_owned()),
                }
                continue;
            }
            let dashed = argument.starts_with('-');
            let letters = argument.trim_start_matches('-');
            if !dashed && letters.bytes().all(|b| b.is_ascii_digit() || b == b',') {
                asked.pids(letters)?;
                continue;
            }
            for (at, letter) in letters.char_indices() {
                let attached = letters.get(at + 1..).filter(|rest| !rest.is_empty());
                let mut value = || attached.map(str::to_owned).or_else(|| rest.next().cloned());
                let missing = || format!("error: list of {letter} options must follow -{letter}");
                match (letter, dashed) {
                    ('e' | 'A', true) | ('a' | 'x', _) => asked.all = true,
                    ('f' | 'F', true) => style = "f",
                    ('u', false) => style = "u",
                    ('w' | 'L' | 'H' | 'e' | 'f' | 'y' | 'l' | 'j', _) => {}
                    ('h', _) => asked.no_header = true,
                    ('o' | 'O', _) => {
                        asked.format(&value().ok_or_else(missing)?)?;
                        break;
                    }
                    ('C', true) => {
                        let list = value().ok_or_else(missing)?;
                        asked.names.extend(list.split(',').map(str::to_owned));
                        break;
                    }
                    ('p' | 'q', _) => {
                        asked.pids(&value().ok_or_else(missing)?)?;
                        break;
                    }
                    ('u' | 'U', true) => {
                        asked.all |= value().is_some_and(|user| user == "root" || user == "0");
                        break;
                    }
                    _ => return Err("error: unsupported SysV option".to_owned()),
                }
            }
        }
        if asked.columns.is_empty() {
            let names: &[&str] = match style {
                "f" => &[
                    "uid_name", "pid", "ppid", "c", "stime", "tty", "time", "cmd",
                ],
                "u" => &[
                    "user", "pid", "%cpu", "%mem", "vsz", "rss", "tty", "stat", "start", "time0",
                    "command",
                ],
                _ => &["pid", "tty", "time", "comm_cmd"],
            };
            asked.columns = names.iter().map(|n| ((*n).to_owned(), None)).collect();
        }
        Ok(asked)
    }

    fn format(&mut self, list: &str) -> Result<(), String> {
        let items = list.split([',', ' ']).filter(|item| !item.is_empty());
        for item in items {
            let (name, title) = match item.split_once('=') {
                Some((name, title)) => (name, Some(title.to_owned())),
                None => (item, None),
            };
            if header(name).is_none() {
                return Err(format!(
                    "error: unknown user-defined format specifier \"{name}\""
                ));
            }
            self.columns.push((name.to_owned(), title));
        }
        Ok(())
    }

    fn pids(&mut self, list: &str) -> Result<(), String> {
        for item in list.split([',', ' ']).filter(|item| !item.is_empty()) {
            let pid = item
                .parse()
                .map_err(|_| "error: process ID list syntax error")?;
            self.pids.push(pid);
        }
        Ok(())
    }

    fn wants(&self, process: &Process) -> bool {
        let chosen = self.names.contains(&process.name()) || self.pids.contains(&process.pid);
        chosen || (self.all && self.names.is_empty() && self.pids.is_empty())
    }
}

/// Title of a column, and whether it is right-aligned with this width.
fn header(name: &str) -> Option<(&'static str, Option<usize>, usize)> {
    Some(match name {
        "pid" | "tgid" => ("PID", Some(7), 7),
        "ppid" => ("PPID", Some(7), 7),
        "pgid" | "pgrp" => ("PGID", Some(7), 7),
        "sid" | "sess" => ("SID", Some(7), 7),
        "user" | "euser" | "uname" => ("USER", None, 8),
        "uid_name" => ("UID", None, 8),
        "uid" | "euid" => ("UID", Some(5), 5),
        "c" => ("C", Some(2), 2),
        "%cpu" | "pcpu" => ("%CPU", Some(4), 4),
        "%mem" | "pmem" => ("%MEM", Some(4), 4),
        "vsz" | "vsize" => ("VSZ", Some(6), 6),
        "rss" | "rssize" | "rsz" => ("RSS", Some(5), 5),
        "tty" | "tt" | "tname" => ("TTY", None, 8),
        "stat" | "state" | "s" => ("STAT", None, 4),
        "start" | "start_time" | "stime" => {
            (if name == "stime" { "STIME" } else { "START" }, None, 5)
        }
        "lstart" => ("                 STARTED", None, 24),
        "time" | "cputime" => ("TIME", Some(8), 8),
        "time0" => ("TIME", Some(6), 6),
        "etime" => ("ELAPSED", Some(11), 11),
        "etimes" => ("ELAPSED", Some(7), 7),
        "comm" | "ucmd" | "ucomm" => ("COMMAND", None, 15),
        "comm_cmd" => ("CMD", None, 15),
        "cmd" => ("CMD", None, 27),
        "args" | "command" => ("COMMAND", None, 27),
        "ni" => ("NI", Some(3), 3),
        "pri" => ("PRI", Some(3), 3),
        "nlwp" => ("NLWP", Some(4), 4),
        _ => return None,
    })
}

fn field(process: &Process, name: &str) -> String {
    let now = Timestamp::now();
    let age = now.duration_since(process.started).unsigned_abs().as_secs();
    let local = |format: &str| {
        let zoned = process.started.to_zoned(TimeZone::UTC);
        zoned.strftime(format).to_string()
    };
    match name {
        "pid" | "tgid" | "pgid" | "pgrp" | "sid" | "sess" => process.pid.to_string(),
        "ppid" => process.parent.to_string(),
        "user" | "euser" | "uname" | "uid_name" => "root".to_owned(),
        "uid" | "euid" | "c" | "ni" => "0".to_owned(),
        "%cpu" | "pcpu" => "0.5".to_owned(),
        "%mem" | "pmem" => format!("{:.1}", process.memory as f64 / 40_960.0),
        "vsz" | "vsize" => (process.memory + 1_200_000).to_string(),
        "rss" | "rssize" | "rsz" => process.memory.to_string(),
        "tty" | "tt" | "tname" => "?".to_owned(),
        "stat" => "Ssl".to_owned(),
        "state" | "s" => "S".to_owned(),
        "start" | "start_time" | "stime" if age < 86_400 => local("%H:%M"),
        "start" | "start_time" | "stime" => local("%b%d"),
        "lstart" => local("%a %b %e %H:%M:%S %Y"),
        "time" | "cputime" => "00:00:01".to_owned(),
        "time0" => "0:01".to_owned(),
        "etimes" => age.to_string(),
        "etime" => match (age / 86_400, age / 3600 % 24, age / 60 % 60, age % 60) {
            (0, 0, m, s) => format!("{m:02}:{s:02}"),
            (0, h, m, s) => format!("{h:02}:{m:02}:{s:02}"),
            (d, h, m, s) => format!("{d}-{h:02}:{m:02}:{s:02}"),
        },
        "comm" | "ucmd" | "ucomm" | "comm_cmd" => process.name(),
        "pri" => "19".to_owned(),
        "nlwp" => "10".to_owned(),
        _ => process.command(),
    }
}

pub(super) fn ps(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let asked = match Asked::parse(arguments) {
        Ok(asked) => asked,
        Err(problem) => {
            writeln!(
                tool.err,
                "{problem}\n\nUsage:\n ps [options]\n\n Try 'ps --help <simple|list|output|threads|misc|all>'\n  or 'ps --help <s|l|o|t|m|a>'\n for additional help text.\n\nFor more details see ps(1)."
            )?;
            return Ok(1);
        }
    };
    let Some(snapshot) = tool.snapshot()? else {
        return Ok(1);
    };
    let mut rows: Vec<Vec<String>> = Vec::new();
    let titles = asked.columns.iter().map(|(name, title)| {
        let own = header(name).map_or("", |(title, _, _)| title);
        title.clone().unwrap_or_else(|| own.to_owned())
    });
    // Columns that are all renamed to nothing have no header line.
    let nameless = asked.columns.iter().all(|(_, t)| t.as_deref() == Some(""));
    let titles: Vec<String> = titles.collect();
    if !asked.no_header && !nameless {
        rows.push(titles);
    }
    let mut found = false;
    for process in processes(&snapshot).iter().filter(|p| asked.wants(p)) {
        found = true;
        let fields = asked.columns.iter().map(|(name, _)| field(process, name));
        rows.push(fields.collect());
    }
    for row in &rows {
        let mut line = String::new();
        for (at, (text, (name, _))) in row.iter().zip(&asked.columns).enumerate() {
            let (_, right, width) = header(name).unwrap_or(("", None, 0));
            let last = at + 1 == row.len();
            match right {
                Some(width) => line.push_str(&format!("{text:>width$}")),
                None if last => line.push_str(text),
                None => line.push_str(&format!("{text:<width$}")),
            }
            if !last {
                line.push(' ');
            }
        }
        writeln!(tool.out, "{line}")?;
    }
    Ok(u8::from(
        !found && (!asked.names.is_empty() || !asked.pids.is_empty()),
    ))
}

/// What `pgrep` and `pkill` look for.
#[derive(Default)]
struct Pattern {
    list: bool,
    full: bool,
    exact: bool,
    names: bool,
    count: bool,
    ignore_case: bool,
    newest: bool,
    oldest: bool,
    invert: bool,
    delimiter: Option<String>,
    signal: Option<i32>,
    text: Option<String>,
}

impl Pattern {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut pattern = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let Some(letters) = argument.strip_prefix('-').filter(|l| !l.is_empty()) else {
                if pattern.text.replace(argument.clone()).is_some() {
                    return Err("only one pattern can be provided".to_owned());
                }
                continue;
            };
            if let Some(signal) = signal(letters) {
                pattern.signal = Some(signal);
                continue;
            }
            let long = match letters.strip_prefix('-') {
                Some("list-full") => "a",
                Some("full") => "f",
                Some("exact") => "x",
                Some("list-name") => "l",
                Some("count") => "c",
                Some("ignore-case") => "i",
                Some("newest") => "n",
                Some("oldest") => "o",
                Some("inverse") => "v",
                Some(other) => return Err(format!("unrecognized option '--{other}'")),
                None => letters,
            };
            for letter in long.chars() {
                match letter {
                    'a' => pattern.list = true,
                    'f' => pattern.full = true,
                    'x' => pattern.exact = true,
                    'l' => pattern.names = true,
                    'c' => pattern.count = true,
                    'i' => pattern.ignore_case = true,
                    'n' => pattern.newest = true,
                    'o' => pattern.oldest = true,
                    'v' => pattern.invert = true,
                    'd' => pattern.delimiter = rest.next().cloned(),
                    'u' | 'U' | 'P' | 'g' | 's' | 't' | 'G' => drop(rest.next()),
                    other => return Err(format!("invalid option -- '{other}'")),
                }
            }
        }
        Ok(pattern)
    }

    fn find(&self, snapshot: &NodeSnapshot, text: &str) -> Result<Vec<Process>, String> {
        let text = if self.exact {
            format!("^(?:{text})$")
        } else {
            text.to_owned()
        };
        let expression = regex::RegexBuilder::new(&text)
            .case_insensitive(self.ignore_case)
            .size_limit(1 << 20)
            .build()
            .map_err(|_| format!("{text}: Invalid regular expression"))?;
        let mut found: Vec<Process> = processes(snapshot)
            .into_iter()
            .filter(|process| {
                let subject = if self.full {
                    process.command()
                } else {
                    process.name()
                };
                expression.is_match(&subject) != self.invert
            })
            .collect();
        found.sort_by_key(|p| p.started);
        if self.newest {
            found.drain(..found.len().saturating_sub(1));
        }
        if self.oldest {
            found.truncate(1);
        }
        found.sort_by_key(|p| p.pid);
        Ok(found)
    }
}

/// `9`, `KILL`, `SIGKILL`.
fn signal(text: &str) -> Option<i32> {
    let name = text.strip_prefix("SIG").unwrap_or(text);
    match name {
        "HUP" => Some(1),
        "INT" => Some(2),
        "QUIT" => Some(3),
        "KILL" => Some(9),
        "TERM" => Some(15),
        number => number.parse().ok().filter(|n| (0..=64).contains(n)),
    }
}

pub(super) fn pgrep(tool: &mut Tool<'_>, name: &str, arguments: &[String]) -> io::Result<u8> {
    let found = Pattern::parse(arguments).and_then(|pattern| {
        let text = pattern
            .text
            .clone()
            .ok_or("no matching criteria specified")?;
        Ok((pattern, text))
    });
    let (pattern, text) = match found {
        Ok(found) => found,
        Err(problem) => {
            writeln!(
                tool.err,
                "{name}: {problem}\nTry `{name} --help' for more information."
            )?;
            return Ok(2);
        }
    };
    let Some(snapshot) = tool.snapshot()? else {
        return Ok(1);
    };
    let found = match pattern.find(&snapshot, &text) {
        Ok(found) => found,
        Err(problem) => {
            writeln!(tool.err, "{name}: {problem}")?;
            return Ok(2);
        }
    };
    if name == "pkill" {
        for process in &found {
            send(tool, process, pattern.signal.unwrap_or(15))?;
        }
        return Ok(u8::from(found.is_empty()));
    }
    if pattern.count {
        writeln!(tool.out, "{}", found.len())?;
        return Ok(u8::from(found.is_empty()));
    }
    let lines: Vec<String> = found
        .iter()
        .map(|process| {
            if pattern.list {
                format!("{} {}", process.pid, process.command())
            } else if pattern.names {
                format!("{} {}", process.pid, process.name())
            } else {
                process.pid.to_string()
            }
        })
        .collect();
    if !lines.is_empty() {
        let delimiter = pattern.delimiter.as_deref().unwrap_or("\n");
        writeln!(tool.out, "{}", lines.join(delimiter))?;
    }
    Ok(u8::from(found.is_empty()))
}

pub(super) fn pidof(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let Some(snapshot) = tool.snapshot()? else {
        return Ok(1);
    };
    let single = arguments.iter().any(|a| a == "-s");
    let names: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let mut found: Vec<String> = processes(&snapshot)
        .iter()
        .rev()
        .filter(|process| {
            let program = process.argv.first().map_or("", String::as_str);
            names
                .iter()
                .any(|name| *name == program || name.as_str() == base_name(program))
        })
        .map(|process| process.pid.to_string())
        .collect();
    if single {
        found.truncate(1);
    }
    if found.is_empty() {
        return Ok(1);
    }
    writeln!(tool.out, "{}", found.join(" "))?;
    Ok(0)
}

/// `kill [-s SIGNAL | -SIGNAL] PID...`.
pub(super) fn kill(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let mut number = 15;
    let mut pids = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.strip_prefix('-') {
            Some("s" | "n") => number = rest.next().and_then(|s| signal(s)).unwrap_or(15),
            Some("l" | "L") => {
                writeln!(tool.out, "HUP INT QUIT KILL TERM")?;
                return Ok(0);
            }
            Some("-") => {}
            Some(name) => match signal(name) {
                Some(found) => number = found,
                None => {
                    writeln!(tool.err, "kill: unknown signal {name}")?;
                    return Ok(1);
                }
            },
            None => pids.push(argument.clone()),
        }
    }
    if pids.is_empty() {
        writeln!(tool.err, "kill: not enough arguments")?;
        return Ok(1);
    }
    let Some(snapshot) = tool.snapshot()? else {
        return Ok(1);
    };
    let all = processes(&snapshot);
    let mut code = 0;
    for text in pids {
        let found = text
            .parse()
            .ok()
            .and_then(|pid: u32| all.iter().find(|p| p.pid == pid));
        match found {
            Some(process) => send(tool, process, number)?,
            None => {
                code = 1;
                writeln!(
                    tool.err,
                    "kill: sending signal to {text} failed: No such process"
                )?;
            }
        }
    }
    Ok(code)
}

/// Sends a signal to a process of the node, and waits until the node took notice.
fn send(tool: &Tool<'_>, process: &Process, signal: i32) -> io::Result<()> {
    match &process.owner {
        _ if ![1, 2, 3, 6, 9, 15].contains(&signal) => Ok(()),
        Owner::System => Ok(()),
        Owner::Kubelet => {
            let done = |s: &NodeSnapshot| s.kubelet_pid != process.pid;
            tool.request(&Request::RestartKubelet, done).map(|_| ())
        }
        Owner::Container(id) => {
            let done = |s: &NodeSnapshot| {
                s.containers
                    .iter()
                    .all(|c| c.id != *id || c.state != ContainerState::Running || !c.ready)
            };
            tool.request(&Request::Signal(id.clone(), signal), done)
                .map(|_| ())
        }
    }
}
