//! The output formats of `journalctl`.

use std::io::{self, Write};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::super::process::KUBELET_FLAGS;
use super::entry::Entry;

/// Formats, by the names of `-o`.
pub(super) const FORMATS: [&str; 14] = [
    "short",
    "short-full",
    "short-iso",
    "short-iso-precise",
    "short-precise",
    "short-monotonic",
    "short-delta",
    "short-unix",
    "verbose",
    "json",
    "json-pretty",
    "json-seq",
    "cat",
    "with-unit",
];

/// Id of the boot.
pub(super) const BOOT: &str = "2f6f3c1d0f5e4a7d8f0a4b5f1f3d9c21";

/// How entries are shown.
#[derive(Debug, Clone)]
pub(super) struct Format {
    /// One of [`FORMATS`].
    pub name: String,
    /// Whether the node is left out.
    pub no_host: bool,
    /// Whether explanations follow (`-x`).
    pub catalog: bool,
    /// When the node came up.
    pub booted: Timestamp,
}

impl Format {
    /// Writes an entry.
    pub fn write(&self, out: &mut dyn Write, entry: &Entry) -> io::Result<()> {
        let stamp = match self.name.as_str() {
            "cat" => return writeln!(out, "{}", entry.message),
            "json" => return writeln!(out, "{}", fields(entry)),
            "json-seq" => return writeln!(out, "\u{1e}{}", fields(entry)),
            "json-pretty" => {
                let text = serde_json::to_string_pretty(&fields(entry)).unwrap_or_default();
                return writeln!(out, "{}", text.replace("\n  ", "\n\t").replace(": ", " : "));
            }
            "verbose" => return verbose(out, entry),
            "short-monotonic" | "short-delta" => {
                let since = entry.time.duration_since(self.booted).as_micros().max(0);
                let stamp = format!("[{:>5}.{:06}]", since / 1_000_000, since % 1_000_000);
                return self.line(out, &stamp, entry);
            }
            "short-full" | "with-unit" => entry.time.strftime("%a %Y-%m-%d %H:%M:%S UTC"),
            "short-iso" => entry.time.strftime("%Y-%m-%dT%H:%M:%S+00:00"),
            "short-iso-precise" => entry.time.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00"),
            "short-precise" => entry.time.strftime("%b %d %H:%M:%S%.6f"),
            "short-unix" => entry.time.strftime("%s%.6f"),
            _ => entry.time.strftime("%b %d %H:%M:%S"),
        };
        self.line(out, &stamp.to_string(), entry)
    }

    fn line(&self, out: &mut dyn Write, stamp: &str, entry: &Entry) -> io::Result<()> {
        let host = if self.no_host {
            String::new()
        } else {
            format!("{} ", entry.host)
        };
        let name = match self.name.as_str() {
            "with-unit" => entry.unit,
            _ => entry.name.as_str(),
        };
        writeln!(
            out,
            "{stamp} {host}{name}[{}]: {}",
            entry.pid, entry.message
        )?;
        if self.catalog {
            explain(out, entry)?;
        }
        Ok(())
    }
}

fn comm(entry: &Entry) -> (&str, String) {
    match entry.name.as_str() {
        "kubelet" => (
            "/usr/bin/kubelet",
            format!("/usr/bin/kubelet {KUBELET_FLAGS}"),
        ),
        "containerd" => ("/usr/bin/containerd", "/usr/bin/containerd".to_owned()),
        _ => ("/usr/lib/systemd/systemd", "/sbin/init".to_owned()),
    }
}

/// The fields of an entry. systemd's own lines are about the unit and not of it.
fn fields(entry: &Entry) -> Value {
    let micros = entry.time.as_microsecond();
    let (exe, command) = comm(entry);
    let own = entry.name == "systemd";
    let mut value = json!({
        "__CURSOR": format!("s=6f1b0c4f5a0b4f0c9a4c1d7d1c3b2a19;i={micros:x}"),
        "__REALTIME_TIMESTAMP": micros.to_string(),
        "_BOOT_ID": BOOT,
        "_TRANSPORT": if own { "journal" } else { "stdout" },
        "PRIORITY": "6",
        "SYSLOG_FACILITY": "3",
        "SYSLOG_IDENTIFIER": entry.name,
        "_UID": "0",
        "_GID": "0",
        "_COMM": entry.name,
        "_EXE": exe,
        "_CMDLINE": command,
        "_PID": entry.pid,
        "_HOSTNAME": entry.host,
        "_SYSTEMD_UNIT": if own { "init.scope" } else { entry.unit },
        "MESSAGE": entry.message,
    });
    if own && let Some(object) = value.as_object_mut() {
        object.insert("UNIT".into(), json!(entry.unit));
    }
    value
}

fn verbose(out: &mut dyn Write, entry: &Entry) -> io::Result<()> {
    let fields = fields(entry);
    let text = |name: &str| {
        fields
            .get(name)
            .and_then(Value::as_str)
            .unwrap_or("")
            .to_owned()
    };
    writeln!(
        out,
        "{} [{}]",
        entry.time.strftime("%a %Y-%m-%d %H:%M:%S%.6f UTC"),
        text("__CURSOR")
    )?;
    let names = fields
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name);
    for name in names.filter(|name| !name.starts_with("__")) {
        writeln!(out, "    {name}={}", text(name))?;
    }
    Ok(())
}

/// The catalogue knows what systemd itself writes.
fn explain(out: &mut dyn Write, entry: &Entry) -> io::Result<()> {
    if entry.name != "systemd" {
        return Ok(());
    }
    let unit = entry.unit;
    let word = entry.message.split(' ').next().unwrap_or("");
    let (subject, text) = match word {
        "Starting" => (
            format!("A start job for unit {unit} has begun execution"),
            format!("A start job for unit {unit} has begun execution."),
        ),
        "Started" => (
            format!("A start job for unit {unit} has finished successfully"),
            format!("A start job for unit {unit} has finished successfully."),
        ),
        "Stopping" => (
            format!("A stop job for unit {unit} has begun execution"),
            format!("A stop job for unit {unit} has begun execution."),
        ),
        "Stopped" => (
            format!("A stop job for unit {unit} has finished"),
            format!("A stop job for unit {unit} has finished."),
        ),
        _ if entry.message.ends_with("Deactivated successfully.") => (
            "Unit succeeded".to_owned(),
            format!("The unit {unit} has successfully entered the 'dead' state."),
        ),
        _ => return Ok(()),
    };
    writeln!(
        out,
        "░░ Subject: {subject}\n░░ Defined-By: systemd\n░░ Support: http://www.ubuntu.com/support\n░░ \n░░ {text}"
    )
}
