//! `k8s.io/apiserver/pkg/server/options/server_run_options.go`.

use super::super::Flags;
use super::super::aggregate;

pub(super) fn validate(flags: &Flags, errors: &mut Vec<String>) {
    let line = &flags.line;
    let mut negative = |name: &str, text: &str| {
        if line.int(name) < 0 {
            errors.push(text.to_owned());
        }
    };
    negative(
        "livez-grace-period",
        "--livez-grace-period can not be a negative value",
    );
    negative(
        "max-requests-inflight",
        "--max-requests-inflight can not be negative value",
    );
    negative(
        "max-mutating-requests-inflight",
        "--max-mutating-requests-inflight can not be negative value",
    );
    negative(
        "request-timeout",
        "--request-timeout can not be negative value",
    );
    let chance = line.float("goaway-chance");
    if !(0.0..=0.02).contains(&chance) && !chance.is_nan() {
        errors.push("--goaway-chance can not be less than 0 or greater than 0.02".to_owned());
    }
    let mut negative = |name: &str, text: &str| {
        if line.int(name) < 0 {
            errors.push(text.to_owned());
        }
    };
    negative(
        "min-request-timeout",
        "--min-request-timeout can not be negative value",
    );
    negative(
        "storage-initialization-timeout",
        "--storage-initialization-timeout can not be negative value",
    );
    negative(
        "shutdown-delay-duration",
        "--shutdown-delay-duration can not be negative value",
    );
    negative(
        "shutdown-watch-termination-grace-period",
        "shutdown-watch-termination-grace-period, if provided, can not be a negative value",
    );
    let transport: Vec<String> = line
        .list("strict-transport-security-directives")
        .iter()
        .filter_map(|directive| transport_directive(directive))
        .collect();
    if !transport.is_empty() {
        errors.push(aggregate(&transport));
    }
    let origins: Vec<String> = line
        .list("cors-allowed-origins")
        .iter()
        .filter_map(|origin| cors_origin(origin))
        .collect();
    if !origins.is_empty() {
        errors.push(aggregate(&origins));
    }
}

fn transport_directive(directive: &str) -> Option<String> {
    if directive.trim().is_empty() {
        return Some("empty value in strict-transport-security-directives".to_owned());
    }
    let parts: Vec<&str> = directive.split('=').collect();
    let known = directive == "includeSubDomains"
        || directive == "preload"
        || (parts.len() == 2 && parts.first() == Some(&"max-age"));
    (!known).then(|| "--strict-transport-security-directives invalid, allowed values: max-age=expireTime, includeSubDomains, preload. see https://tools.ietf.org/html/rfc6797#section-6.1 for more information".to_owned())
}

const CORS_HELP: &str = "List of allowed origins for CORS, comma separated. An allowed origin can be a regular expression to support subdomain matching. If this list is empty CORS will not be enabled. Please ensure each expression matches the entire hostname by anchoring to the start with '^' or including the '//' prefix, and by anchoring to the end with '$' or including the ':' port separator suffix. Examples of valid expressions are '//example.com(:|$)' and '^https://example.com(:|$)'";

fn cors_origin(origin: &str) -> Option<String> {
    if origin.is_empty() {
        return Some(format!(
            "empty value in --cors-allowed-origins, help: {CORS_HELP}"
        ));
    }
    let pinned = (origin.contains('^') || origin.contains("//"))
        && (origin.contains('$') || origin.contains(':'));
    (!pinned).then(|| format!("--cors-allowed-origins has an invalid regular expression: regular expression does not pin to start/end of host in the origin header, help: {CORS_HELP}"))
}
