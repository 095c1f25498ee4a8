//! `pkg/kubeapiserver/options/authorization.go`.

use super::super::{Flags, authorization_config};
use crate::audit::options::number::quote;
use crate::node::embedded::runtime::rootfs::Rootfs;

const MODES: [&str; 6] = [
    "AlwaysAllow",
    "AlwaysDeny",
    "ABAC",
    "Webhook",
    "RBAC",
    "Node",
];

const LEGACY: [&str; 5] = [
    "authorization-mode",
    "authorization-webhook-config-file",
    "authorization-webhook-version",
    "authorization-webhook-cache-authorized-ttl",
    "authorization-webhook-cache-unauthorized-ttl",
];

pub(super) fn validate(flags: &Flags, rootfs: &Rootfs, errors: &mut Vec<String>) {
    let line = &flags.line;
    let config = line.text("authorization-config");
    if !config.is_empty() {
        if LEGACY.iter().any(|name| line.given(name)) {
            errors.push("--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined".to_owned());
        } else if let Err(reason) = authorization_config::modes(rootfs, &config) {
            errors.push(reason);
        }
        return;
    }
    let modes = flags.authorization_modes();
    let policy = line.text("authorization-policy-file");
    let webhook = line.text("authorization-webhook-config-file");
    for mode in &modes {
        if !MODES.contains(&mode.as_str()) {
            errors.push(format!(
                "authorization-mode {} is not a valid mode",
                quote(mode)
            ));
        }
        if mode == "ABAC" && policy.is_empty() {
            errors
                .push("authorization-mode ABAC's authorization policy file not passed".to_owned());
        }
        if mode == "Webhook" && webhook.is_empty() {
            errors.push(
                "authorization-mode Webhook's authorization config file not passed".to_owned(),
            );
        }
    }
    let has = |mode: &str| modes.iter().any(|m| m == mode);
    if !policy.is_empty() && !has("ABAC") {
        errors.push("cannot specify --authorization-policy-file without mode ABAC".to_owned());
    }
    if !webhook.is_empty() && !has("Webhook") {
        errors.push(
            "cannot specify --authorization-webhook-config-file without mode Webhook".to_owned(),
        );
    }
    let mut different = modes.clone();
    different.sort();
    different.dedup();
    if different.len() != modes.len() {
        let all: Vec<String> = modes.iter().map(|mode| quote(mode)).collect();
        errors.push(format!(
            "authorization-mode [{}] has mode specified more than once",
            all.join(" ")
        ));
    }
}
