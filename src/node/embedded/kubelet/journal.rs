//! The kubelet's journal: klog lines as a real kubelet writes them, in journald's short format.

use std::time::Duration;

use jiff::{Timestamp, tz::TimeZone};

/// A moment: since the node came up, and by the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Since the node came up.
    pub at: Duration,
    /// By the wall clock.
    pub wall: Timestamp,
}

/// Lines not yet written to disk.
#[derive(Debug)]
pub struct Journal {
    node_name: String,
    pid: u32,
    now: Moment,
    lines: Vec<String>,
}

impl Journal {
    /// An empty journal of a kubelet with this process id.
    #[must_use]
    pub fn new(node_name: &str, pid: u32, now: Moment) -> Self {
        Self {
            node_name: node_name.to_owned(),
            pid,
            now,
            lines: Vec::new(),
        }
    }

    /// Sets the time of the lines to come.
    pub fn set_time(&mut self, now: Moment) {
        self.now = now;
    }

    /// The time of the lines to come.
    #[must_use]
    pub fn time(&self) -> Moment {
        self.now
    }

    /// Sets the process id of the lines to come.
    pub fn set_pid(&mut self, pid: u32) {
        self.pid = pid;
    }

    /// A structured error line (`klog.ErrorS`): source location, message, values.
    pub fn error(&mut self, source: &str, message: &str, values: &[(&str, &str)]) {
        self.klog('E', source, &structured(message, values));
    }

    /// A structured info line (`klog.InfoS`).
    pub fn info(&mut self, source: &str, message: &str, values: &[(&str, &str)]) {
        self.klog('I', source, &structured(message, values));
    }

    /// A line with a klog header.
    pub fn klog(&mut self, severity: char, source: &str, text: &str) {
        let time = self.now.wall.to_zoned(TimeZone::UTC);
        let header = format!(
            "{severity}{} {:>7} {source}] ",
            time.strftime("%m%d %H:%M:%S%.6f"),
            self.pid
        );
        let unit = format!("kubelet[{}]", self.pid);
        let mut first = true;
        for line in text.split('\n') {
            let line = if first {
                format!("{header}{line}")
            } else {
                line.to_owned()
            };
            first = false;
            self.line(&unit, &line);
        }
    }

    /// A line of systemd itself.
    pub fn systemd(&mut self, text: &str) {
        self.line("systemd[1]", text);
    }

    fn line(&mut self, unit: &str, text: &str) {
        let time = self.now.wall.to_zoned(TimeZone::UTC);
        let line = format!(
            "{} {} {unit}: {text}",
            time.strftime("%b %d %H:%M:%S"),
            self.node_name
        );
        self.lines.push(line);
    }

    /// Takes the lines out.
    pub fn take(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }
}

fn structured(message: &str, values: &[(&str, &str)]) -> String {
    let mut out = quote(message);
    for (key, value) in values {
        out.push(' ');
        out.push_str(key);
        out.push('=');
        if let Some(raw) = value.strip_prefix('\0') {
            // Already formatted by the caller: numbers, lists, booleans.
            out.push_str(raw);
        } else if value.contains('\n') {
            out.push_str("<\n\t");
            out.push_str(&value.trim_end_matches('\n').replace('\n', "\n\t"));
            out.push_str("\n >");
        } else {
            out.push_str(&quote(value));
        }
    }
    out
}

/// A string as Go's `strconv.Quote` writes it.
#[must_use]
pub fn quote(text: &str) -> String {
    crate::yaml::go::quote(text)
}

/// A duration as Go's `time.Duration` prints it: `500ms`, `10s`, `1m20s`, `5m0s`.
#[must_use]
pub fn go_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let millis = duration.subsec_millis();
    if seconds == 0 {
        return if millis == 0 {
            "0s".into()
        } else {
            format!("{millis}ms")
        };
    }
    let fraction = if millis == 0 {
        String::new()
    } else {
        format!(".{millis:03}").trim_end_matches('0').to_owned()
    };
    let (hours, minutes, rest) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 {
        format!("{hours}h{minutes}m{rest}{fraction}s")
    } else if minutes > 0 {
        format!("{minutes}m{rest}{fraction}s")
    } else {
        format!("{rest}{fraction}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_look_like_journald() {
        let now = Moment {
            at: Duration::ZERO,
            wall: "2026-11-24T07:00:00.123456Z".parse().unwrap(),
        };
        let mut journal = Journal::new("controlplane", 812, now);
        journal.error(
            "file.go:108",
            "Unable to process watch event",
            &[("err", "a \"b\"")],
        );
        journal.info("x.go:1", "m", &[("err", "one\ntwo")]);
        assert_eq!(
            journal.take(),
            [
                "Nov 24 07:00:00 controlplane kubelet[812]: E1124 07:00:00.123456     812 file.go:108] \"Unable to process watch event\" err=\"a \\\"b\\\"\"",
                "Nov 24 07:00:00 controlplane kubelet[812]: I1124 07:00:00.123456     812 x.go:1] \"m\" err=<",
                "Nov 24 07:00:00 controlplane kubelet[812]: \tone",
                "Nov 24 07:00:00 controlplane kubelet[812]: \ttwo",
                "Nov 24 07:00:00 controlplane kubelet[812]:  >",
            ]
        );
    }

    #[test]
    fn durations() {
        for (millis, text) in [
            (500, "500ms"),
            (10_000, "10s"),
            (80_000, "1m20s"),
            (300_000, "5m0s"),
            (122_000, "2m2s"),
            (1_500, "1.5s"),
        ] {
            assert_eq!(go_duration(Duration::from_millis(millis)), text);
        }
    }
}
