//! The audit options of kube-apiserver: names, defaults, validation
//! (`k8s.io/apiserver/pkg/server/options/audit.go`).

pub mod number;
pub mod pflag;
pub mod table;

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

impl BatchOptions {
    fn from_command_line(line: &CommandLine, backend: &str) -> Self {
        let name = |flag: &str| format!("audit-{backend}-{flag}");
        Self {
            mode: line.text(&name("mode")),
            buffer_size: line.int(&name("batch-buffer-size")),
            max_size: line.int(&name("batch-max-size")),
            max_wait: line.int(&name("batch-max-wait")),
            throttle_enable: line.bool(&name("batch-throttle-enable")),
            throttle_qps: line.float(&name("batch-throttle-qps")),
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
            return refuse("throttle QPS", self.throttle_qps.to_string());
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
mod tests {
    use super::*;

    fn options(arguments: &[&str]) -> Result<AuditOptions, String> {
        let argv: Vec<String> = std::iter::once(&"kube-apiserver")
            .chain(arguments)
            .map(|s| (*s).to_owned())
            .collect();
        AuditOptions::from_argv(&argv).map_err(|e| e.message)
    }

    #[test]
    fn defaults_are_those_of_1_36() {
        let options = options(&[]).unwrap();
        assert_eq!(
            (
                options.log.max_age,
                options.log.max_backup,
                options.log.max_size
            ),
            (366, 100, 100)
        );
        assert_eq!(options.log.batch.mode, "blocking");
        assert_eq!(options.webhook.batch.max_size, 400);
        assert!(options.validate().is_empty());
    }

    #[test]
    fn the_last_of_a_repeated_flag_counts_and_underscores_are_dashes() {
        let options = options(&[
            "--audit-log-maxage=1",
            "--audit_log_maxage",
            "0x1e",
            "--tls-cert-file",
            "--audit-log-path=/x",
        ])
        .unwrap();
        assert_eq!(options.log.max_age, 30);
        assert_eq!(options.log.path, "");
    }

    proptest::proptest! {
        #[test]
        fn no_command_line_panics(arguments in proptest::collection::vec(
            proptest::prop_oneof!["-{0,3}[a-z_=-]{0,12}", "--audit-log-(maxage|maxsize)=.{0,8}", "\\PC{0,12}"],
            0..6,
        )) {
            let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
            if let Ok(options) = options(&arguments) {
                let _ = options.validate();
            }
        }
    }

    #[test]
    fn the_first_fault_from_the_left_is_reported() {
        assert_eq!(
            options(&["--audit-log-maxage=abc", "--no-such-flag"]).unwrap_err(),
            "invalid argument \"abc\" for \"--audit-log-maxage\" flag: strconv.ParseInt: parsing \"abc\": invalid syntax"
        );
        assert_eq!(options(&["---x"]).unwrap_err(), "bad flag syntax: ---x");
        assert_eq!(
            options(&["-audit-log-maxage=3"]).unwrap_err(),
            "unknown shorthand flag: 'a' in -audit-log-maxage=3"
        );
        assert_eq!(
            options(&["--v=x"]).unwrap_err(),
            "invalid argument \"x\" for \"-v, --v\" flag: strconv.ParseInt: parsing \"x\": invalid syntax"
        );
    }
}
