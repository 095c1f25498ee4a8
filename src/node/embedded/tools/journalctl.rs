//! `journalctl`: the journal of the kubelet.

use std::io;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use serde_json::json;

use super::Tool;
use super::options::{Given, Known, Problem, Style, flag, value};
use crate::node::embedded::confine::Confined;
use crate::node::embedded::snapshot::tail_of_file;

const KNOWN: &[Known] = &[
    value(&["unit", "u", "user-unit"]),
    value(&["lines", "n"]),
    value(&["output", "o"]),
    value(&["grep", "g"]),
    value(&["since", "S"]),
    value(&["until", "U"]),
    value(&["priority", "p"]),
    value(&["identifier", "t"]),
    value(&["case-sensitive"]),
    flag(&["follow", "f"]),
    flag(&["pager-end", "e"]),
    flag(&["no-pager"]),
    flag(&["reverse", "r"]),
    flag(&["catalog", "x"]),
    flag(&["all", "a"]),
    flag(&["full", "l"]),
    flag(&["no-full"]),
    flag(&["quiet", "q"]),
    flag(&["boot", "b"]),
    flag(&["utc"]),
    flag(&["no-hostname"]),
    flag(&["no-tail"]),
    flag(&["dmesg", "k"]),
    flag(&["help", "h"]),
    flag(&["version"]),
    flag(&["system"]),
    flag(&["merge", "m"]),
    flag(&["disk-usage"]),
];

/// A line of the journal.
struct Entry<'a> {
    line: &'a str,
    time: Option<Timestamp>,
    /// `kubelet[812]: ...`.
    rest: &'a str,
    host: &'a str,
}

pub(super) fn run(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    // `-n` alone means ten lines; getopt gives it an optional argument.
    let arguments = complete(arguments);
    let given = match Given::parse(&arguments, KNOWN, Style::Clusters, false) {
        Ok(given) => given,
        Err(Problem::Unknown(name)) if name.starts_with("--") => {
            writeln!(tool.err, "journalctl: unrecognized option '{name}'")?;
            return Ok(1);
        }
        Err(Problem::Unknown(name)) => {
            let letter = name.trim_start_matches('-');
            writeln!(tool.err, "journalctl: invalid option -- '{letter}'")?;
            return Ok(1);
        }
        Err(Problem::Lacks(name)) => {
            let letter = name.trim_start_matches('-');
            writeln!(
                tool.err,
                "journalctl: option requires an argument -- '{letter}'"
            )?;
            return Ok(1);
        }
    };
    if given.has("help") {
        writeln!(
            tool.out,
            "journalctl [OPTIONS...] [MATCHES...]\n\nQuery the journal of the node (unit kubelet).\n\n  -u --unit=UNIT  -n --lines=N  -f --follow  -r --reverse  -e --pager-end\n  -o --output=short|cat|json  -g --grep=PATTERN  --since=TIME  --until=TIME  --no-pager"
        )?;
        return Ok(0);
    }
    let kubelet = given
        .all("unit")
        .chain(given.all("identifier"))
        .all(|unit| ["kubelet", "kubelet.service", "kube*", "kubelet*"].contains(&unit));
    let known_unit = kubelet && !given.has("dmesg") && given.rest.is_empty();
    let format = given.get("output").unwrap_or("short").to_owned();
    if ![
        "short",
        "short-full",
        "short-iso",
        "short-precise",
        "cat",
        "json",
        "json-pretty",
    ]
    .contains(&format.as_str())
    {
        writeln!(tool.err, "Unknown output format '{format}'.")?;
        return Ok(1);
    }
    let since = match given.get("since").map(|text| (text, moment(text))) {
        Some((text, None)) => {
            writeln!(tool.err, "Failed to parse timestamp: {text}")?;
            return Ok(1);
        }
        other => other.and_then(|(_, time)| time),
    };
    let until = match given.get("until").map(|text| (text, moment(text))) {
        Some((text, None)) => {
            writeln!(tool.err, "Failed to parse timestamp: {text}")?;
            return Ok(1);
        }
        other => other.and_then(|(_, time)| time),
    };
    let default = if given.has("follow") {
        Some(10)
    } else {
        given.has("pager-end").then_some(1000)
    };
    let lines = match given.get("lines") {
        Some("all") => None,
        Some(text) => match text.trim_start_matches('+').parse::<usize>() {
            Ok(lines) => Some(lines),
            Err(_) => {
                writeln!(tool.err, "Failed to parse lines '{text}'")?;
                return Ok(1);
            }
        },
        None => default,
    };
    let files = Confined::new(tool.state_dir);
    let text = if known_unit {
        whole(&files)
    } else {
        String::new()
    };
    let pattern = given.get("grep").map(str::to_owned);
    let mut entries: Vec<Entry<'_>> = text
        .lines()
        .map(entry)
        .filter(|e| since.is_none_or(|s| e.time.is_none_or(|t| t >= s)))
        .filter(|e| until.is_none_or(|u| e.time.is_none_or(|t| t <= u)))
        .filter(|e| wanted(e, pattern.as_deref()))
        .collect();
    if let Some(lines) = lines {
        let skip = entries.len().saturating_sub(lines);
        entries.drain(..skip);
    }
    if given.has("reverse") {
        entries.reverse();
    }
    if entries.is_empty() && !given.has("follow") && !given.has("quiet") {
        writeln!(tool.out, "-- No entries --")?;
        return Ok(u8::from(pattern.is_some()));
    }
    for entry in &entries {
        print(tool, entry, &format, given.has("no-hostname"))?;
    }
    if given.has("follow") {
        follow(tool, &files, &format, pattern.as_deref(), known_unit)?;
    }
    Ok(0)
}

fn complete(arguments: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        let short_n =
            argument.starts_with('-') && !argument.starts_with("--") && argument.ends_with('n');
        if short_n || argument == "--lines" {
            let number = rest.peek().is_some_and(|next| {
                *next == "all" || next.trim_start_matches('+').parse::<u64>().is_ok()
            });
            out.push(argument.clone());
            if !number {
                out.push("10".into());
            }
            continue;
        }
        if argument == "-b" || argument == "--boot" {
            // An optional boot number.
            rest.next_if(|next| next.parse::<i64>().is_ok());
        }
        out.push(argument.clone());
    }
    out
}

fn whole(files: &Confined) -> String {
    let mut text = tail_of_file(files, "/journal/kubelet.log.1", 8 << 20);
    text.push_str(&tail_of_file(files, "/journal/kubelet.log", 16 << 20));
    text
}

fn entry(line: &str) -> Entry<'_> {
    let stamp = line.get(..15).unwrap_or("");
    let after = line.get(16..).unwrap_or("");
    let (host, rest) = after.split_once(' ').unwrap_or(("", after));
    Entry {
        line,
        time: time_of(stamp),
        rest,
        host,
    }
}

/// The short format has no year: the latest one that is not in the future.
fn time_of(stamp: &str) -> Option<Timestamp> {
    let now = Timestamp::now().to_zoned(TimeZone::UTC);
    for year in [now.year(), now.year() - 1] {
        let text = format!("{year} {stamp}");
        let time = DateTime::strptime("%Y %b %d %H:%M:%S", &text).ok()?;
        let time = time.to_zoned(TimeZone::UTC).ok()?.timestamp();
        let tomorrow = now
            .timestamp()
            .checked_add(SignedDuration::from_hours(24))
            .ok()?;
        if time <= tomorrow {
            return Some(time);
        }
    }
    None
}

/// `--since` and `--until`: `2026-11-24 07:00:00`, `07:00`, `5 min ago`, `-1h`, `today`...
fn moment(text: &str) -> Option<Timestamp> {
    let now = Timestamp::now();
    let zoned = now.to_zoned(TimeZone::UTC);
    match text {
        "now" => return Some(now),
        "today" => return Some(zoned.start_of_day().ok()?.timestamp()),
        "yesterday" => return Some(zoned.yesterday().ok()?.start_of_day().ok()?.timestamp()),
        _ => {}
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    for format in ["%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M:%S"] {
        if let Ok(time) = DateTime::strptime(format, text) {
            return Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp());
        }
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        return Some(date.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    if let Ok(time) = text.parse::<jiff::civil::Time>() {
        let at = zoned.date().to_datetime(time);
        return Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp());
    }
    let relative = text
        .strip_suffix(" ago")
        .or_else(|| text.strip_prefix('-'))?;
    let span: SignedDuration = relative.replace("min", "m").replace(' ', "").parse().ok()?;
    now.checked_sub(span).ok()
}

/// `--grep`: alternatives of plain text, without regard to case if all is lower case.
fn wanted(entry: &Entry<'_>, pattern: Option<&str>) -> bool {
    let Some(pattern) = pattern else {
        return true;
    };
    let text = entry
        .rest
        .split_once(": ")
        .map_or(entry.rest, |(_, text)| text);
    let ignore_case = !pattern.chars().any(char::is_uppercase);
    let text = if ignore_case {
        text.to_lowercase()
    } else {
        text.to_owned()
    };
    pattern.split('|').any(|alternative| {
        let mut rest = text.as_str();
        alternative.split(".*").all(|part| match rest.find(part) {
            Some(at) => {
                rest = rest.get(at + part.len()..).unwrap_or("");
                true
            }
            None => false,
        })
    })
}

fn print(tool: &mut Tool<'_>, entry: &Entry<'_>, format: &str, no_host: bool) -> io::Result<()> {
    let (source, message) = entry.rest.split_once(": ").unwrap_or(("", entry.rest));
    match format {
        "cat" => writeln!(tool.out, "{message}"),
        "json" | "json-pretty" => {
            let (name, pid) = source.split_once('[').unwrap_or((source, ""));
            let micros = entry.time.map_or(0, |t| t.as_microsecond());
            let value = json!({
                "__REALTIME_TIMESTAMP": micros.to_string(),
                "_HOSTNAME": entry.host,
                "_PID": pid.trim_end_matches(']'),
                "_SYSTEMD_UNIT": "kubelet.service",
                "SYSLOG_IDENTIFIER": name,
                "PRIORITY": "6",
                "MESSAGE": message,
            });
            if format == "json" {
                writeln!(tool.out, "{value}")
            } else {
                writeln!(
                    tool.out,
                    "{}",
                    serde_json::to_string_pretty(&value).unwrap_or_default()
                )
            }
        }
        "short-iso" => {
            let time = entry
                .time
                .map(|t| t.strftime("%Y-%m-%dT%H:%M:%S+00:00").to_string());
            writeln!(
                tool.out,
                "{} {} {}",
                time.unwrap_or_default(),
                entry.host,
                entry.rest
            )
        }
        _ if no_host => {
            writeln!(
                tool.out,
                "{} {}",
                entry.line.get(..15).unwrap_or(""),
                entry.rest
            )
        }
        _ => writeln!(tool.out, "{}", entry.line),
    }
}

fn follow(
    tool: &mut Tool<'_>,
    files: &Confined,
    format: &str,
    pattern: Option<&str>,
    known_unit: bool,
) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    const PATH: &str = "/journal/kubelet.log";
    let mut at = files.metadata(PATH).map_or(0, |m| m.len());
    loop {
        tool.out.flush()?;
        std::thread::sleep(Duration::from_millis(200));
        if !known_unit {
            continue;
        }
        let size = files.metadata(PATH).map_or(0, |m| m.len());
        if size < at {
            at = 0;
        }
        if size == at {
            continue;
        }
        let mut file = files.open(PATH)?;
        file.seek(SeekFrom::Start(at))?;
        let mut bytes = Vec::new();
        file.take(4 << 20).read_to_end(&mut bytes)?;
        let end = bytes
            .iter()
            .rposition(|b| *b == b'\n')
            .map_or(0, |end| end + 1);
        at += u64::try_from(end).unwrap_or(0);
        let text = String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned();
        for entry in text.lines().map(entry).filter(|e| wanted(e, pattern)) {
            print(tool, &entry, format, false)?;
        }
    }
}
