//! Log lines as klog writes them.

use std::sync::Arc;

use crate::audit::options::number::quote;
use crate::node::embedded::process::Output;

/// Standard error of one program, in klog's format.
#[derive(Clone)]
pub struct Klog {
    output: Arc<dyn Output>,
    pid: u32,
    verbosity: i64,
    json: bool,
}

impl Klog {
    /// Logs to the standard error of a process.
    #[must_use]
    pub fn new(output: Arc<dyn Output>, pid: u32, verbosity: i64) -> Self {
        Self {
            output,
            pid,
            verbosity,
            json: false,
        }
    }

    /// In this `--logging-format`.
    #[must_use]
    pub fn formatted(self, format: &str) -> Self {
        Self {
            json: format == "json",
            ..self
        }
    }

    /// The verbosity asked for with `--v`.
    #[must_use]
    pub fn verbosity(&self) -> i64 {
        self.verbosity
    }

    /// The stream itself.
    #[must_use]
    pub fn output(&self) -> &Arc<dyn Output> {
        &self.output
    }

    fn line(&self, severity: char, place: &str, text: &str) {
        if self.json {
            return self.object(severity, place, text, None);
        }
        let now = jiff::Timestamp::now().strftime("%m%d %H:%M:%S%.6f");
        let pid = self.pid;
        let mut lines = text.split('\n');
        let first = lines.next().unwrap_or_default();
        self.output
            .stderr(&format!("{severity}{now} {pid:7} {place}] {first}"));
        for line in lines {
            self.output.stderr(line);
        }
    }

    /// A line of `--logging-format=json` (`component-base/logs/json`): verbosity for information,
    /// no severity.
    fn object(&self, severity: char, place: &str, text: &str, error: Option<&str>) {
        let now = jiff::Timestamp::now();
        let milliseconds = now.as_nanosecond() as f64 / 1e6;
        let text = serde_json::Value::from(text);
        let mut out = format!("{{\"ts\":{milliseconds:.4},\"caller\":\"{place}\",\"msg\":{text}");
        if let Some(error) = error {
            out.push_str(&format!(",\"err\":{}", serde_json::Value::from(error)));
        } else if severity == 'I' {
            out.push_str(",\"v\":0");
        }
        out.push('}');
        self.output.stderr(&out);
    }

    /// An informational line, at this verbosity and above.
    pub fn info(&self, level: i64, place: &str, text: &str) {
        if self.verbosity >= level {
            self.line('I', place, text);
        }
    }

    /// A warning.
    pub fn warning(&self, place: &str, text: &str) {
        self.line('W', place, text);
    }

    /// An error.
    pub fn error(&self, place: &str, text: &str) {
        self.line('E', place, text);
    }

    /// A fatal error (the caller ends the program).
    pub fn fatal(&self, place: &str, text: &str) {
        self.line('F', place, text);
    }

    /// A structured error: `"message" err="..."`.
    pub fn error_value(&self, place: &str, message: &str, error: &str) {
        if self.json {
            return self.object('E', &format!("cli/{place}"), message, Some(error));
        }
        self.line(
            'E',
            place,
            &format!("{} err={}", quote(message), value(error)),
        );
    }
}

/// A value as klog prints it: quoted, or as a block if it has line breaks.
#[must_use]
pub fn value(text: &str) -> String {
    if text.contains('\n') {
        let mut out = String::from("<\n");
        for line in text.split('\n') {
            out.push('\t');
            out.push_str(line);
            out.push('\n');
        }
        out.push_str(" >");
        out
    } else {
        quote(text)
    }
}
