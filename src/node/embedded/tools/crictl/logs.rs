//! `crictl logs`: the container's log file, read as the client library of the CRI reads it.

use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::flags::{Given, duration};
use super::{Done, Failed, Level, Runtime, fatal, log};
use crate::node::embedded::process::go_error_text;
use crate::node::embedded::snapshot::{ContainerState, tail_of_file};
use crate::yaml::go::quote;

/// What of the log is shown.
struct Shown {
    since: Option<Timestamp>,
    stamps: bool,
    stdout: bool,
    stderr: bool,
    /// Bytes that may still be written.
    left: usize,
}

pub(super) fn run(runtime: &mut Runtime<'_, '_>, given: &Given) -> Done {
    let wanted = match given.arguments.as_slice() {
        [] => return fatal("ID cannot be empty"),
        [id] if id.is_empty() => return fatal("ID cannot be empty"),
        [id] => id.clone(),
        _ => return Err(Failed::Help),
    };
    let snapshot = runtime.connect(false)?;
    if given.has("reopen") {
        runtime
            .container(&snapshot, &wanted)
            .map_err(|e| Failed::Fatal(format!("reopen container logs: {e}")))?;
        log(runtime.tool, Level::Info, "Container logs reopened")?;
    }
    let since = match given.get("since").map(|text| (text, moment(text))) {
        Some((text, None)) => {
            return fatal(format!(
                "failed to parse value as time or duration: {}",
                quote(text)
            ));
        }
        other => other.and_then(|(_, time)| time),
    };
    let stream = given.get("stream");
    if let Some(other) = stream.filter(|s| !["stdout", "stderr"].contains(s)) {
        return fatal(format!(
            "invalid stream {}, must be \"stdout\" or \"stderr\"",
            quote(other)
        ));
    }
    if given.is_set("tail") && given.is_set("stream") {
        return fatal("--tail and --stream are mutually exclusive");
    }
    let container = runtime
        .container(&snapshot, &wanted)
        .map_err(Failed::Fatal)?;
    let mut path = container.log_path.clone();
    if given.has("previous") {
        let Some(before) = container.attempt.checked_sub(1) else {
            return fatal(format!(
                "previous terminated container {} not found",
                container.name
            ));
        };
        if let Some((directory, _)) = path.rsplit_once('/') {
            path = format!("{directory}/{before}.log");
        }
    }
    if let Err(error) = runtime.tool.node.metadata(&path) {
        return fatal(format!(
            "failed to try resolving symlinks in path {}: lstat {path}: {}",
            quote(&path),
            go_error_text(&error)
        ));
    }
    let mut shown = Shown {
        since,
        stamps: given.has("timestamps"),
        stdout: stream != Some("stderr"),
        stderr: stream != Some("stdout"),
        left: given
            .number("limit-bytes")
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(usize::MAX),
    };
    let end = runtime.tool.node.metadata(&path).map_or(0, |m| m.len());
    let text = tail_of_file(&runtime.tool.node, &path, 16 << 20);
    let lines: Vec<&str> = text.lines().collect();
    let tail = given.number("tail").and_then(|n| usize::try_from(n).ok());
    let skip = tail.map_or(0, |tail| lines.len().saturating_sub(tail));
    for line in lines.iter().skip(skip) {
        shown.line(runtime, line)?;
    }
    if given.has("follow") {
        follow(runtime, &path, &container.id, end, &mut shown)?;
    }
    Ok(())
}

/// Prints what is appended to a log until its container ends.
fn follow(
    runtime: &mut Runtime<'_, '_>,
    path: &str,
    id: &str,
    mut at: u64,
    shown: &mut Shown,
) -> Done {
    loop {
        let running = runtime.refresh()?.is_some_and(|s| {
            let mut containers = s.containers.iter();
            containers.any(|c| c.id == id && c.state == ContainerState::Running)
        });
        let mut text = String::new();
        if let Ok(mut file) = runtime.tool.node.open(path) {
            file.seek(SeekFrom::Start(at))?;
            let mut bytes = Vec::new();
            file.take(4 << 20).read_to_end(&mut bytes)?;
            let end = bytes.iter().rposition(|b| *b == b'\n');
            let whole = end.map_or(0, |end| end + 1);
            text = String::from_utf8_lossy(bytes.get(..whole).unwrap_or_default()).into_owned();
            at += u64::try_from(whole).unwrap_or(0);
        }
        for line in text.lines() {
            shown.line(runtime, line)?;
        }
        runtime.tool.out.flush()?;
        if !running && text.is_empty() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(150));
    }
}

impl Shown {
    /// A line of a log: standard output and error go where they came from. Lines that are not in the
    /// format of the CRI are not shown.
    fn line(&mut self, runtime: &mut Runtime<'_, '_>, line: &str) -> Done {
        let mut parts = line.splitn(4, ' ');
        let (Some(time), Some(stream), Some(tag)) = (parts.next(), parts.next(), parts.next())
        else {
            return Ok(());
        };
        let mut text = parts.next().unwrap_or("").to_owned();
        if let Some(since) = self.since
            && time.parse::<Timestamp>().is_ok_and(|time| time < since)
        {
            return Ok(());
        }
        let (sink, wanted) = match stream {
            "stderr" => (&mut runtime.tool.err, self.stderr),
            "stdout" => (&mut runtime.tool.out, self.stdout),
            _ => return Ok(()),
        };
        if !wanted {
            return Ok(());
        }
        if !tag.starts_with('P') {
            text.push('\n');
        }
        if self.stamps {
            text = format!("{time} {text}");
        }
        let end = text.len().min(self.left);
        self.left -= end;
        sink.write_all(text.as_bytes().get(..end).unwrap_or_default())?;
        Ok(())
    }
}

/// `5m`, `1h30m`, `10s` ago; a time; seconds since 1970.
fn moment(text: &str) -> Option<Timestamp> {
    if let Some(span) = duration(text) {
        return Timestamp::now().checked_sub(span).ok();
    }
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    for format in ["%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M"] {
        if let Ok(time) = jiff::civil::DateTime::strptime(format, text) {
            return Some(time.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp());
        }
    }
    if let Ok(date) = text.parse::<jiff::civil::Date>() {
        return Some(date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp());
    }
    let seconds: f64 = text.parse().ok()?;
    let since = SignedDuration::try_from_secs_f64(seconds).ok()?;
    Timestamp::UNIX_EPOCH.checked_add(since).ok()
}
