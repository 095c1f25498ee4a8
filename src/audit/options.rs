//! The audit options of kube-apiserver: names, defaults, validation
//! (`k8s.io/apiserver/pkg/server/options/audit.go`).

pub mod csv;
pub mod number;
pub mod pflag;
pub mod table;
pub mod value;
pub mod versions;

use number::quote;
use pflag::{CommandLine, FlagError};

/// Modes a backend may work in.
pub const MODES: [&str; 3] = ["batch", "blocking", "blocking-strict"];
/// Formats of the log backend.
pub const FORMATS: [&str; 2] = ["legacy", "json"];

/// Batching of a backend.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchOptions {
    /// `batch`, `blocking` or `blocking-strict`.
    pub mode: String,
    /// Events buffered before events are lost.
    pub buffer_size: i64,
    /// Events of one batch.
    pub max_size: i64,
    /// Longest wait for a batch to fill, in nanoseconds.
    pub max_wait: i64,
    /// Whether batches are throttled.
    pub throttle_enable: bool,
    /// Batches per second.
    pub throttle_qps: f64,
    /// Batches at once.
    pub throttle_burst: i64,
}

/// Truncation of events for a backend.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TruncateOptions {
    /// Whether anything is truncated.
    pub enabled: bool,
    /// Largest batch in bytes.
    pub max_batch_size: i64,
    /// Largest event in bytes.
    pub max_event_size: i64,
}

/// The log backend.
#[derive(Debug, Clone, PartialEq)]
pub struct LogOptions {
    /// Path of the log; `-` is standard output, empty is no log.
    pub path: String,
    /// Days to keep old files.
    pub max_age: i64,
    /// Number of old files to keep.
    pub max_backup: i64,
    /// Size in MiB at which the file is rotated.
    pub max_size: i64,
    /// `json` or `legacy`.
    pub format: String,
    /// Group and version of events.
    pub version: String,
    /// Whether old files are compressed.
    pub compress: bool,
    /// Batching.
    pub batch: BatchOptions,
    /// Truncation.
    pub truncate: TruncateOptions,
}

/// The webhook backend.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookOptions {
    /// Path of the kubeconfig; empty is no webhook.
    pub config_file: String,
    /// First retry delay, in nanoseconds.
    pub initial_backoff: i64,
    /// Group and version of events.
    pub version: String,
    /// Batching.
    pub batch: BatchOptions,
    /// Truncation.
    pub truncate: TruncateOptions,
}

/// All audit options.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditOptions {
    /// Path of the policy; empty is no policy.
    pub policy_file: String,
    /// The log backend.
    pub log: LogOptions,
    /// The webhook backend.
    pub webhook: WebhookOptions,
}

impl AuditOptions {
    /// The audit options of a kube-apiserver command line, program name first.
    ///
    /// # Errors
    /// When kube-apiserver cannot read the command line (any flag, not only the audit flags).
    pub fn from_argv(argv: &[String]) -> Result<Self, FlagError> {
        let arguments = argv.get(1..).unwrap_or_default();
        Ok(Self::from_command_line(&CommandLine::parse(arguments)?))
    }

    /// The audit options of a parsed command line.
    #[must_use]
    pub fn from_command_line(line: &CommandLine) -> Self {
        Self {
            policy_file: line.text("audit-policy-file"),
            log: LogOptions {
                path: line.text("audit-log-path"),
                max_age: line.int("audit-log-maxage"),
                max_backup: line.int("audit-log-maxbackup"),
                max_size: line.int("audit-log-maxsize"),
                format: line.text("audit-log-format"),
                version: line.text("audit-log-version"),
                compress: line.bool("audit-log-compress"),
                batch: BatchOptions::from_command_line(line, "log"),
                truncate: TruncateOptions::from_command_line(line, "log"),
            },
            webhook: WebhookOptions {
                config_file: line.text("audit-webhook-config-file"),
                initial_backoff: line.int("audit-webhook-initial-backoff"),
                version: line.text("audit-webhook-version"),
                batch: BatchOptions::from_command_line(line, "webhook"),
                truncate: TruncateOptions::from_command_line(line, "webhook"),
            },
        }
    }

    /// What kube-apiserver refuses, in its order and words.
    #[must_use]
    pub fn validate(&self) -> Vec<String> {
        let mut errors = Vec::new();
        if !self.log.path.is_empty() {
            let log = &self.log;
            errors.extend(log.batch.validate("log"));
            errors.extend(log.truncate.validate("log"));
            errors.extend(validate_version(&log.version));
            if !FORMATS.contains(&log.format.as_str()) {
                errors.push(format!(
                    "invalid audit log format {}, allowed formats are {}",
                    log.format,
                    quote(&FORMATS.join(","))
                ));
            }
            for (name, value) in [
                ("maxage", log.max_age),
                ("maxbackup", log.max_backup),
                ("maxsize", log.max_size),
            ] {
                if value < 0 {
                    errors.push(format!(
                        "--audit-log-{name} {value} can't be a negative number"
                    ));
                }
            }
        }
        if !self.webhook.config_file.is_empty() {
            errors.extend(self.webhook.batch.validate("webhook"));
            errors.extend(self.webhook.truncate.validate("webhook"));
            errors.extend(validate_version(&self.webhook.version));
        }
        errors
    }
}

impl LogOptions {
    /// Megabytes of the current file and all old ones in the worst case; nothing where there is no end: a
    /// limit of 0 is none (`gopkg.in/natefinch/lumberjack.v2`, and `--audit-log-maxsize` of kube-apiserver).
    #[must_use]
    pub fn worst_megabytes(&self) -> Option<u64> {
        let size = u64::try_from(self.max_size).ok().filter(|size| *size > 0)?;
        let old = u64::try_from(self.max_backup).ok().filter(|old| *old > 0)?;
        Some(size.saturating_mul(old.saturating_add(1)))
    }

    /// Megabytes of old files that are kept for certain; nothing where there is no end.
    #[must_use]
    pub fn kept_megabytes(&self) -> Option<u64> {
        let size = u64::try_from(self.max_size).ok().filter(|size| *size > 0)?;
        let old = u64::try_from(self.max_backup).ok().filter(|old| *old > 0)?;
        Some(size.saturating_mul(old))
    }

    /// Days after which old files go; nothing where they stay.
    #[must_use]
    pub fn days(&self) -> Option<u64> {
        u64::try_from(self.max_age).ok().filter(|days| *days > 0)
    }
}

impl BatchOptions {
    fn from_command_line(line: &CommandLine, backend: &str) -> Self {
        let name = |flag: &str| format!("audit-{backend}-{flag}");
        Self {
            mode: line.text(&name("mode")),
            buffer_size: line.int(&name("batch-buffer-size")),
            max_size: line.int(&name("batch-max-size")),
            max_wait: line.int(&name("batch-max-wait")),
            throttle_enable: line.bool(&name("batch-throttle-enable")),
            throttle_qps: f64::from(line.float32(&name("batch-throttle-qps"))),
            throttle_burst: line.int(&name("batch-throttle-burst")),
        }
    }

    fn validate(&self, backend: &str) -> Option<String> {
        if !MODES.contains(&self.mode.as_str()) {
            return Some(format!(
                "invalid audit {backend} mode {}, allowed modes are {}",
                self.mode,
                quote(&MODES.join(","))
            ));
        }
        if self.mode != "batch" {
            return None;
        }
        let refuse = |what: &str, value: String| {
            Some(format!(
                "invalid audit batch {backend} {what} {value}, must be a positive number"
            ))
        };
        if self.buffer_size <= 0 {
            return refuse("buffer size", self.buffer_size.to_string());
        }
        if self.max_size <= 0 {
            return refuse("max batch size", self.max_size.to_string());
        }
        if self.throttle_enable && self.throttle_qps <= 0.0 {
            let qps = number::float32_text(self.throttle_qps);
            return refuse("throttle QPS", qps);
        }
        if self.throttle_enable && self.throttle_burst <= 0 {
            return refuse("throttle burst", self.throttle_burst.to_string());
        }
        None
    }
}

impl TruncateOptions {
    fn from_command_line(line: &CommandLine, backend: &str) -> Self {
        let name = |flag: &str| format!("audit-{backend}-truncate-{flag}");
        Self {
            enabled: line.bool(&name("enabled")),
            max_batch_size: line.int(&name("max-batch-size")),
            max_event_size: line.int(&name("max-event-size")),
        }
    }

    fn validate(&self, backend: &str) -> Option<String> {
        if self.max_event_size <= 0 {
            return Some(format!(
                "invalid audit truncate {backend} max event size {}, must be a positive number",
                self.max_event_size
            ));
        }
        (self.max_batch_size < self.max_event_size).then(|| {
            format!(
                "invalid audit truncate {backend} max batch size {}, must be greater than max event size ({})",
                self.max_batch_size, self.max_event_size
            )
        })
    }
}

fn validate_version(version: &str) -> Option<String> {
    if version.matches('/').count() > 1 {
        return Some(format!("unexpected GroupVersion string: {version}"));
    }
    (version != "audit.k8s.io/v1")
        .then(|| "invalid group version, allowed versions are [\"audit.k8s.io/v1\"]".to_owned())
}

#[cfg(test)]
mod tests;
