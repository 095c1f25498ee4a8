//! `/metrics`: the few families that lessons on audit look at.

use super::state::ApiState;
use crate::node::embedded::version::KUBERNETES;

/// The text of the answer.
#[must_use]
pub fn text(state: &ApiState) -> String {
    let counts = state.audit.counts();
    let started = state.started.as_second();
    let mut out = String::new();
    let mut family = |name: &str, help: &str, kind: &str, lines: &[String]| {
        out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
        for line in lines {
            out.push_str(line);
            out.push('\n');
        }
    };
    let by = |name: &str, label: &str, counts: &[(&str, u64)]| -> Vec<String> {
        counts
            .iter()
            .filter(|(_, count)| *count > 0)
            .map(|(value, count)| format!("{name}{{{label}=\"{value}\"}} {count}"))
            .collect()
    };
    // A family without a value is not shown.
    let errors = by("apiserver_audit_error_total", "plugin", &counts.errors);
    if !errors.is_empty() {
        family(
            "apiserver_audit_error_total",
            "[ALPHA] Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.",
            "counter",
            &errors,
        );
    }
    family(
        "apiserver_audit_event_total",
        "[ALPHA] Counter of audit events generated and sent to the audit backend.",
        "counter",
        &[format!("apiserver_audit_event_total {}", counts.events)],
    );
    let levels = by("apiserver_audit_level_total", "level", &counts.levels);
    if !levels.is_empty() {
        family(
            "apiserver_audit_level_total",
            "[ALPHA] Counter of policy levels for audit events (1 per request).",
            "counter",
            &levels,
        );
    }
    family(
        "apiserver_audit_requests_rejected_total",
        "[ALPHA] Counter of apiserver requests rejected due to an error in audit logging backend.",
        "counter",
        &[format!(
            "apiserver_audit_requests_rejected_total {}",
            counts.rejected
        )],
    );
    family(
        "etcd_db_total_size_in_bytes",
        "[ALPHA] Total size of the etcd database file physically allocated in bytes.",
        "gauge",
        &[],
    );
    family(
        "kubernetes_build_info",
        "[ALPHA] A metric with a constant '1' value labeled by major, minor, git version, git commit, git tree state, build date, Go version, and compiler from which Kubernetes was built, and platform on which it is running.",
        "gauge",
        &[format!(
            "kubernetes_build_info{{build_date=\"2026-06-10T00:00:00Z\",compiler=\"gc\",git_commit=\"0000000000000000000000000000000000000000\",git_tree_state=\"clean\",git_version=\"{KUBERNETES}\",go_version=\"go1.27.3-X:nojsonv2\",major=\"1\",minor=\"36\",platform=\"linux/amd64\"}} 1"
        )],
    );
    family(
        "process_start_time_seconds",
        "[ALPHA] Start time of the process since unix epoch in seconds.",
        "gauge",
        &[format!("process_start_time_seconds {started}")],
    );
    out
}
