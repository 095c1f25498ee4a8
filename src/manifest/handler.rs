//! Validation of what asks a container something: probes and lifecycle hooks
//! (`pkg/apis/core/validation/validation.go`, `validateProbe`, `validateHandler`).

use serde_json::Value;

use super::validate::{Errors, port_name_problems};
use super::{number, string};

/// An init container that ends has nothing that could be asked.
const SIDECARS_ONLY: &str = "may not be set for init containers without restartPolicy=Always";

/// Hooks and probes of a container, in the order a real one checks them.
pub(super) fn validate(errors: &mut Errors, container: &Value, grace: i64, path: &str) {
    for kind in ["postStart", "preStop"] {
        if let Some(hook) = container.pointer(&format!("/lifecycle/{kind}")) {
            validate_hook(errors, hook, grace, &format!("{path}.lifecycle.{kind}"));
        }
    }
    for kind in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = container.get(kind) {
            validate_probe(errors, probe, kind, &format!("{path}.{kind}"));
        }
    }
}

/// An init container that is none of the sidecars may have neither.
pub(super) fn forbid(errors: &mut Errors, container: &Value, path: &str) {
    for field in [
        "lifecycle",
        "livenessProbe",
        "readinessProbe",
        "startupProbe",
    ] {
        if container.get(field).is_some() {
            errors.forbidden(&format!("{path}.{field}"), SIDECARS_ONLY);
        }
    }
}

fn validate_hook(errors: &mut Errors, hook: &Value, grace: i64, path: &str) {
    validate_action(
        errors,
        hook,
        &["exec", "httpGet", "tcpSocket", "sleep"],
        path,
    );
    if let Some(sleep) = hook.get("sleep") {
        let seconds = number::<i64>(Some(sleep), "seconds").unwrap_or(0);
        if seconds < 0 || seconds > grace {
            let text = format!(
                "must be non-negative and less than terminationGracePeriodSeconds ({grace})"
            );
            errors.invalid_number(&format!("{path}.sleep"), seconds, &text);
        }
    }
}

fn validate_action(errors: &mut Errors, action: &Value, handlers: &[&str], path: &str) {
    let mut given = handlers.iter().filter(|h| action.get(**h).is_some());
    match (given.next(), given.next()) {
        (None, _) => errors.required_because(path, "must specify a handler type"),
        (Some(_), None) => {}
        (Some(_), Some(second)) => errors.forbidden(
            &format!("{path}.{second}"),
            "may not specify more than 1 handler type",
        ),
    }
    if let Some(http) = action.get("httpGet") {
        let at = format!("{path}.httpGet");
        if string(Some(http), "path").is_empty() {
            errors.required(&format!("{at}.path"));
        }
        port_number_or_name(errors, http.get("port"), &format!("{at}.port"));
        let scheme = string(Some(http), "scheme");
        if !["HTTP", "HTTPS"].contains(&scheme.as_str()) {
            errors.unsupported(&format!("{at}.scheme"), &scheme, &["HTTP", "HTTPS"]);
        }
    }
    if let Some(tcp) = action.get("tcpSocket") {
        port_number_or_name(errors, tcp.get("port"), &format!("{path}.tcpSocket.port"));
    }
}

fn validate_probe(errors: &mut Errors, probe: &Value, kind: &str, path: &str) {
    validate_action(
        errors,
        probe,
        &["exec", "httpGet", "tcpSocket", "grpc"],
        path,
    );
    for field in [
        "initialDelaySeconds",
        "timeoutSeconds",
        "periodSeconds",
        "successThreshold",
        "failureThreshold",
    ] {
        let value = number::<i64>(Some(probe), field).unwrap_or(0);
        if value < 0 {
            let text = "must be greater than or equal to 0";
            errors.invalid_number(&format!("{path}.{field}"), value, text);
        }
    }
    let successes = number::<i64>(Some(probe), "successThreshold").unwrap_or(1);
    if kind != "readinessProbe" && successes != 1 {
        errors.invalid_number(&format!("{path}.successThreshold"), successes, "must be 1");
    }
}

fn port_number_or_name(errors: &mut Errors, port: Option<&Value>, path: &str) {
    match port {
        Some(Value::String(name)) => {
            for text in port_name_problems(name) {
                errors.invalid(path, name, text);
            }
        }
        other => {
            let number = other.and_then(Value::as_i64).unwrap_or(0);
            if !(1..=65535).contains(&number) {
                let text = "must be between 1 and 65535, inclusive";
                errors.invalid_number(path, number, text);
            }
        }
    }
}
