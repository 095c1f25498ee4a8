//! What kube-apiserver refuses once its options are complete: every fault together, in the real order
//! (`cmd/kube-apiserver/app/options/validation.go`, `pkg/controlplane/apiserver/options/validation.go`).

mod admission;
mod authentication;
mod authorization;
mod generic;
mod services;
mod storage;

pub use admission::{DEFAULT_OFF, PLUGINS};

use super::{Flags, gates};
use crate::node::embedded::apiserver::klog::Klog;
use crate::node::embedded::runtime::rootfs::Rootfs;

/// Validation of the options. Warnings are logged on the way.
#[must_use]
pub fn validate(flags: &Flags, rootfs: &Rootfs, klog: &Klog) -> Vec<String> {
    let mut errors = Vec::new();
    generic::validate(flags, &mut errors);
    gates::validate(flags, &mut errors);
    storage::validate(flags, &mut errors);
    priority_and_fairness(flags, &mut errors);
    secure_serving(flags, &mut errors);
    authentication::validate(flags, rootfs, klog, &mut errors);
    authorization::validate(flags, rootfs, &mut errors);
    errors.extend(flags.audit.validate());
    admission::validate(flags, &mut errors);
    services::api_enablement(flags, &mut errors);
    egress_and_traces(flags, rootfs, &mut errors);
    services::token_request(flags, &mut errors);
    metrics(flags, &mut errors);
    peers(flags, &mut errors);
    services::validate(flags, &mut errors);
    errors
}

fn priority_and_fairness(flags: &Flags, errors: &mut Vec<String>) {
    if !flags.line.bool("enable-priority-and-fairness") {
        return;
    }
    let config = flags.line.value("runtime-config").text();
    for key in ["flowcontrol.apiserver.k8s.io/v1", "api/ga", "api/all"] {
        if config.contains(&format!("{key}=false")) {
            errors.push(format!(
                "--runtime-config={key}=false conflicts with --enable-priority-and-fairness=true"
            ));
            return;
        }
        if config.contains(&format!("{key}=true")) {
            return;
        }
    }
}

fn secure_serving(flags: &Flags, errors: &mut Vec<String>) {
    let port = flags.secure_port();
    if !(1..=65535).contains(&port) {
        errors.push(format!(
            "--secure-port {port} must be between 1 and 65535, inclusive. It cannot be turned off with 0"
        ));
    }
}

fn egress_and_traces(flags: &Flags, rootfs: &Rootfs, errors: &mut Vec<String>) {
    for name in ["egress-selector-config-file", "tracing-config-file"] {
        let path = flags.line.text(name);
        if !path.is_empty() && rootfs.metadata(&super::absolute(&path)).is_err() {
            errors.push(format!("{name} {path} does not exist"));
        }
    }
}

fn metrics(flags: &Flags, errors: &mut Vec<String>) {
    let shown = flags.line.text("show-hidden-metrics-for-version");
    if !shown.is_empty() && shown != "1.35" {
        errors.push("--show-hidden-metrics-for-version must be omitted or have the value '1.35'. Only the previous minor version is allowed".to_owned());
    }
}

fn peers(flags: &Flags, errors: &mut Vec<String>) {
    if gates::enabled(flags, "UnknownVersionInteroperabilityProxy", true) {
        return;
    }
    for name in ["peer-ca-file", "peer-advertise-ip", "peer-advertise-port"] {
        if !flags.line.text(name).is_empty() {
            errors.push(format!(
                "--{name} requires UnknownVersionInteroperabilityProxy feature to be turned on"
            ));
        }
    }
}
