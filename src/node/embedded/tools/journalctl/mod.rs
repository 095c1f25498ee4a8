//! `journalctl`: the journal of the kubelet and of containerd.

mod entry;
mod moment;
mod output;

use std::io;
use std::time::Duration;

use jiff::Timestamp;

use self::entry::Entry;
use self::output::Format;
use super::Tool;
use super::options::{Given, Known, Problem, Style, flag, value};
use crate::node::embedded::confine::Confined;
use crate::node::embedded::snapshot::tail_of_file;
use crate::node::embedded::version::SYSTEMD;

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
    value(&["boot", "b"]),
    flag(&["utc"]),
    flag(&["no-hostname"]),
    flag(&["no-tail"]),
    flag(&["dmesg", "k"]),
    flag(&["help", "h"]),
    flag(&["version"]),
    flag(&["system"]),
    flag(&["merge", "m"]),
    flag(&["disk-usage"]),
    flag(&["list-boots"]),
    flag(&["header"]),
    value(&["cursor", "c"]),
    value(&["output-fields"]),
    value(&["facility"]),
];

/// What of the journal is asked for.
struct Asked {
    units: Option<Vec<&'static str>>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    pattern: Option<regex::Regex>,
    /// Lowest importance shown; everything of the node is 6 (info).
    priority: u8,
    names: Vec<String>,
    nothing: bool,
}

impl Asked {
    fn wants(&self, entry: &Entry) -> bool {
        !self.nothing
            && self.priority >= 6
            && self
                .units
                .as_ref()
                .is_none_or(|units| units.contains(&entry.unit))
            && (self.names.is_empty() || self.names.contains(&entry.name))
            && self.since.is_none_or(|since| entry.time >= since)
            && self.until.is_none_or(|until| entry.time <= until)
            && self
                .pattern
                .as_ref()
                .is_none_or(|pattern| pattern.is_match(&entry.message))
    }
}

/// Units a name or pattern means; none for one that is not there.
fn units(name: &str) -> Vec<&'static str> {
    let full = match name.rsplit_once('.') {
        Some((_, "service")) => name.to_owned(),
        _ if name.contains('*') => name.to_owned(),
        _ => format!("{name}.service"),
    };
    ["kubelet.service", "containerd.service"]
        .into_iter()
        .filter(|unit| match full.split_once('*') {
            Some((start, end)) => {
                unit.starts_with(start) && (end.is_empty() || unit.ends_with(end))
            }
            None => *unit == full,
        })
        .collect()
}

const LEVELS: [&str; 8] = [
    "emerg", "alert", "crit", "err", "warning", "notice", "info", "debug",
];

/// `err`, `3`, `emerg..err`: the lowest importance asked for.
fn priority(text: &str) -> Option<u8> {
    let level = |text: &str| {
        let named = LEVELS.iter().position(|level| *level == text);
        named.or_else(|| text.parse().ok().filter(|n| *n < 8))
    };
    let found = match text.split_once("..") {
        Some((from, to)) => {
            let (from, to) = (level(from)?, level(to)?);
            // A range that leaves out what the node writes.
            if from.min(to) > 6 { 0 } else { from.max(to) }
        }
        None => level(text)?,
    };
    u8::try_from(found).ok()
}

pub(super) fn run(tool: &mut Tool<'_>, arguments: &[String]) -> io::Result<u8> {
    let arguments = complete(arguments);
    let given = match Given::parse(&arguments, KNOWN, Style::Clusters, false) {
        Ok(given) => given,
        Err(problem) => return refuse(tool, &problem),
    };
    if given.has("help") {
        return help(tool);
    }
    if given.has("version") {
        writeln!(tool.out, "{SYSTEMD}")?;
        return Ok(0);
    }
    if given.has("disk-usage") {
        writeln!(
            tool.out,
            "Archived and active journals take up 8M in the file system."
        )?;
        return Ok(0);
    }
    if given.has("list-boots") {
        return boots(tool);
    }
    let asked = match asked(&given) {
        Ok(asked) => asked,
        Err(problem) => {
            writeln!(tool.err, "{problem}")?;
            return Ok(1);
        }
    };
    let format = Format {
        name: given.get("output").unwrap_or("short").to_owned(),
        no_host: given.has("no-hostname"),
        catalog: given.has("catalog"),
        booted: tool
            .snapshot()?
            .map_or(Timestamp::UNIX_EPOCH, |snapshot| snapshot.booted),
    };
    if !output::FORMATS.contains(&format.name.as_str()) {
        writeln!(tool.err, "Unknown output format '{}'.", format.name)?;
        return Ok(1);
    }
    if let Some(boot) = given
        .get("boot")
        .filter(|boot| !["0", "", "all"].contains(boot))
    {
        writeln!(
            tool.err,
            "Data from the specified boot ({boot}) is not available: No such boot ID in journal"
        )?;
        return Ok(1);
    }
    let default = if given.has("follow") && !given.has("no-tail") {
        Some(10)
    } else {
        given.has("pager-end").then_some(1000)
    };
    let (lines, oldest) = match given.get("lines") {
        Some("all") => (None, false),
        Some(text) => match text.trim_start_matches('+').parse::<usize>() {
            Ok(lines) => (Some(lines), text.starts_with('+')),
            Err(_) => {
                writeln!(tool.err, "Failed to parse lines '{text}'")?;
                return Ok(1);
            }
        },
        None => (default, false),
    };
    let mut entries = entries(tool, &asked)?;
    let end = Confined::new(tool.state_dir)
        .metadata(PATH)
        .map_or(0, |m| m.len());
    if let Some(lines) = lines {
        if oldest {
            entries.truncate(lines);
        } else {
            entries.drain(..entries.len().saturating_sub(lines));
        }
    }
    if given.has("reverse") {
        entries.reverse();
    }
    if entries.is_empty() && !given.has("follow") {
        if !given.has("quiet") {
            writeln!(tool.out, "-- No entries --")?;
        }
        return Ok(u8::from(asked.pattern.is_some()));
    }
    for entry in &entries {
        format.write(tool.out, entry)?;
    }
    if given.has("follow") {
        follow(tool, &format, &asked, end)?;
    }
    Ok(0)
}

/// The boot the journal is of. There is no other.
fn boots(tool: &mut Tool<'_>) -> io::Result<u8> {
    let all = Asked {
        units: None,
        since: None,
        until: None,
        pattern: None,
        priority: 7,
        names: Vec::new(),
        nothing: false,
    };
    let entries = entries(tool, &all)?;
    let (Some(first), Some(last)) = (entries.first(), entries.last()) else {
        return Ok(0);
    };
    let time = |entry: &Entry| entry.time.strftime("%a %Y-%m-%d %H:%M:%S UTC").to_string();
    writeln!(
        tool.out,
        "IDX {:<32} {:<27} LAST ENTRY",
        "BOOT ID", "FIRST ENTRY"
    )?;
    writeln!(
        tool.out,
        "{:>3} {} {:<27} {}",
        0,
        output::BOOT,
        time(first),
        time(last)
    )?;
    Ok(0)
}

fn refuse(tool: &mut Tool<'_>, problem: &Problem) -> io::Result<u8> {
    match problem {
        Problem::Unknown(name) if name.starts_with("--") => {
            let name = name.split('=').next().unwrap_or(name);
            writeln!(tool.err, "journalctl: unrecognized option '{name}'")?;
        }
        Problem::Unknown(name) => {
            let letter = name.trim_start_matches('-');
            writeln!(tool.err, "journalctl: invalid option -- '{letter}'")?;
        }
        Problem::Lacks(name) if name.starts_with("--") => {
            writeln!(tool.err, "journalctl: option '{name}' requires an argument")?;
        }
        Problem::Lacks(name) => {
            let letter = name.trim_start_matches('-');
            writeln!(
                tool.err,
                "journalctl: option requires an argument -- '{letter}'"
            )?;
        }
    }
    Ok(1)
}

fn asked(given: &Given) -> Result<Asked, String> {
    let time = |name: &str| match given.get(name) {
        None => Ok(None),
        Some(text) => match moment::moment(text) {
            Some(time) => Ok(Some(time)),
            None => Err(format!("Failed to parse timestamp: {text}")),
        },
    };
    let named: Vec<&str> = given.all("unit").collect();
    let mut chosen = (!named.is_empty()).then(|| named.into_iter().flat_map(units).collect());
    let mut names: Vec<String> = given.all("identifier").map(str::to_owned).collect();
    let mut nothing = given.has("dmesg");
    for word in &given.rest {
        match word.split_once('=') {
            Some(("_SYSTEMD_UNIT" | "UNIT", unit)) => chosen = Some(units(unit)),
            Some(("_COMM" | "SYSLOG_IDENTIFIER", name)) => names.push(name.to_owned()),
            Some(_) => nothing = true,
            None if word == "/usr/bin/kubelet" || word == "/usr/bin/containerd" => {
                names.push(word.trim_start_matches("/usr/bin/").to_owned());
            }
            None => return Err(format!("Failed to add match '{word}': Invalid argument")),
        }
    }
    let pattern = match given.get("grep") {
        None => None,
        Some(text) => {
            // Without regard to case if all of it is lower case.
            let fold = match given.get("case-sensitive") {
                Some(value) => ["no", "false", "0"].contains(&value),
                None => !text.chars().any(char::is_uppercase),
            };
            let built = regex::RegexBuilder::new(text)
                .case_insensitive(fold)
                .size_limit(1 << 20)
                .build();
            Some(built.map_err(|_| format!("Bad pattern \"{text}\""))?)
        }
    };
    let priority = match given.get("priority") {
        None => 7,
        Some(text) => priority(text).ok_or_else(|| format!("Unknown log level {text}"))?,
    };
    Ok(Asked {
        units: chosen,
        since: time("since")?,
        until: time("until")?,
        pattern,
        priority,
        names,
        nothing,
    })
}

fn help(tool: &mut Tool<'_>) -> io::Result<u8> {
    writeln!(
        tool.out,
        "journalctl [OPTIONS...] [MATCHES...]\n\nQuery the journal.\n\n\
         Source Options:\n     --system                Show the system journal\n\n\
         Filtering Options:\n  -S --since=DATE            Show entries not older than the specified date\n  \
         -U --until=DATE            Show entries not newer than the specified date\n  \
         -b --boot[=ID]             Show current boot or the specified boot\n  \
         -u --unit=UNIT             Show logs from the specified unit\n  \
         -t --identifier=STRING     Show entries with the specified syslog identifier\n  \
         -p --priority=RANGE        Show entries within the specified priority range\n  \
         -g --grep=PATTERN          Show entries with MESSAGE matching PATTERN\n     \
         --case-sensitive[=BOOL] Force case sensitive or insensitive matching\n  \
         -k --dmesg                 Show kernel message log from the current boot\n\n\
         Output Control Options:\n  -o --output=STRING         Change journal output mode ({})\n  \
         -n --lines[=[+]INTEGER]    Number of journal entries to show\n  \
         -r --reverse               Show the newest entries first\n  \
         -x --catalog               Add message explanations where available\n     \
         --no-hostname           Suppress output of hostname field\n  \
         -q --quiet                 Do not show info messages and privilege warning\n\n\
         Pager Control Options:\n     --no-pager              Do not pipe output into a pager\n  \
         -e --pager-end             Immediately jump to the end in the pager\n  \
         -f --follow                Follow the journal",
        output::FORMATS.join(", ")
    )?;
    Ok(0)
}

/// Options with optional arguments, completed: `-n`, `--lines`, `-b`, `--boot`.
fn complete(arguments: &[String]) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        let short = argument.starts_with('-') && !argument.starts_with("--");
        if (short && argument.ends_with('n')) || argument == "--lines" {
            let number = rest.peek().is_some_and(|next| {
                *next == "all" || next.trim_start_matches('+').parse::<u64>().is_ok()
            });
            out.push(argument.clone());
            if !number {
                out.push("10".into());
            }
            continue;
        }
        if argument == "--boot" || (short && argument.ends_with('b')) {
            let number = rest.next_if(|next| next.parse::<i64>().is_ok());
            out.push(argument.clone());
            out.push(number.cloned().unwrap_or_else(|| "0".to_owned()));
            continue;
        }
        out.push(argument.clone());
    }
    out
}

/// When the kubelet was stopped last.
pub(super) fn stopped(tool: &Tool<'_>) -> Option<Timestamp> {
    let text = tail_of_file(&Confined::new(tool.state_dir), PATH, 1 << 20);
    let stopped = |line: &&str| line.contains("systemd[1]: Stopped kubelet.service");
    let line = text.lines().rev().find(stopped)?;
    Some(Entry::parse(line).time)
}

/// The journal of the kubelet, in the state directory.
const PATH: &str = "/journal/kubelet.log";

/// The entries asked for, oldest first.
fn entries(tool: &Tool<'_>, asked: &Asked) -> io::Result<Vec<Entry>> {
    let files = Confined::new(tool.state_dir);
    let wants = |unit| {
        asked
            .units
            .as_ref()
            .is_none_or(|units| units.contains(&unit))
    };
    let mut entries = Vec::new();
    if wants("kubelet.service") {
        let mut text = tail_of_file(&files, "/journal/kubelet.log.1", 8 << 20);
        text.push_str(&tail_of_file(&files, PATH, 16 << 20));
        entries.extend(text.lines().map(Entry::parse));
        // A line that says no time of its own follows the one before it.
        let mut last = Timestamp::MIN;
        for entry in &mut entries {
            if entry.time < last && last.duration_since(entry.time).as_secs() < 1 {
                entry.time = last;
            }
            last = entry.time;
        }
    }
    if wants("containerd.service")
        && let Some(snapshot) = tool.snapshot()?
    {
        entries.extend(entry::of_containerd(&snapshot));
        entries.sort_by_key(|entry| entry.time);
    }
    entries.retain(|entry| asked.wants(entry));
    Ok(entries)
}

fn follow(tool: &mut Tool<'_>, format: &Format, asked: &Asked, mut at: u64) -> io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    let files = Confined::new(tool.state_dir);
    loop {
        tool.out.flush()?;
        std::thread::sleep(Duration::from_millis(200));
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
        for entry in text.lines().map(Entry::parse).filter(|e| asked.wants(e)) {
            format.write(tool.out, &entry)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priorities_and_units() {
        assert_eq!(priority("err"), Some(3));
        assert_eq!(priority("7"), Some(7));
        assert_eq!(priority("emerg..warning"), Some(4));
        assert_eq!(priority("loud"), None);
        assert_eq!(units("kubelet"), ["kubelet.service"]);
        assert_eq!(units("kube*"), ["kubelet.service"]);
        assert_eq!(units("*"), ["kubelet.service", "containerd.service"]);
        assert!(units("nginx").is_empty());
    }
}
