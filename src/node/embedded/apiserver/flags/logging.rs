//! What the flags of the log may be (`k8s.io/component-base/logs/api/v1/options.go`).

use super::Flags;
use super::gates;
use crate::audit::options::number::{duration_text, quote};

/// Validation of the log's configuration: every fault together.
///
/// # Errors
/// The real text.
pub fn validate(flags: &Flags) -> Result<(), String> {
    let line = &flags.line;
    let mut errors = Vec::new();
    let flush = line.int("log-flush-frequency");
    if flush <= 0 {
        errors.push(format!(
            "flushFrequency: Invalid value: {}: Must be greater than zero",
            quote(&duration_text(flush))
        ));
    }
    let format = line.text("logging-format");
    let beta = gates::enabled(flags, "LoggingBetaOptions", true);
    match format.as_str() {
        "text" => {}
        "json" if beta => {}
        "json" => errors.push(
            "format: Forbidden: Log format json is disabled, see LoggingBetaOptions feature"
                .to_owned(),
        ),
        format => errors.push(format!(
            "format: Invalid value: {}: Unsupported log format",
            quote(format)
        )),
    }
    if !line.text("vmodule").is_empty() && !format.is_empty() && format != "text" {
        errors.push("vmodule: Forbidden: Only supported for text log format".to_owned());
    }
    if !gates::enabled(flags, "LoggingAlphaOptions", false) {
        for kind in ["text", "json"] {
            if line.bool(&format!("log-{kind}-split-stream")) {
                errors.push(format!(
                    "options.{kind}.splitStream: Forbidden: Feature LoggingAlphaOptions is disabled"
                ));
            }
            let size = line.text(&format!("log-{kind}-info-buffer-size"));
            if size.contains(|c: char| ('1'..='9').contains(&c)) {
                errors.push(format!("options.{kind}.infoBufferSize: Forbidden: Feature LoggingAlphaOptions is disabled"));
            }
        }
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(super::aggregate(&errors))
    }
}
