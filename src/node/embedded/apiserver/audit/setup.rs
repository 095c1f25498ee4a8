//! The audit pipeline of a command line: policy, then log file, then webhook
//! (`AuditOptions.ApplyTo` of `pkg/server/options/audit.go`).

use std::sync::Arc;
use std::time::Duration;

use super::buffered::Buffered;
use super::clock::StartClock;
use super::errors::PluginErrors;
use super::ignore::IgnoreErrors;
use super::log::{self, Log};
use super::truncate::Truncate;
use super::webhook::Webhook;
use super::webhook::kubeconfig;
use super::webhook::network::Network;
use super::{Backend, Sink};
use crate::audit::options::number::quote;
use crate::audit::options::{AuditOptions, BatchOptions, TruncateOptions, WebhookOptions};
use crate::audit::policy::{self, Policy};
use crate::node::embedded::apiserver::flags::absolute;
use crate::node::embedded::apiserver::klog::Klog;
use crate::node::embedded::apiserver::startup::{FILE_LIMIT, read};
use crate::node::embedded::machine::Machine;
use crate::node::embedded::runtime::rootfs::Rootfs;

/// Loads the policy and makes the backends.
///
/// # Errors
/// The text of the first thing that fails.
pub fn audit(
    options: &AuditOptions,
    machine: &Arc<Machine>,
    rootfs: &Arc<Rootfs>,
    klog: &Klog,
) -> Result<Sink, String> {
    let policy = if options.policy_file.is_empty() {
        None
    } else {
        Some(load(&options.policy_file, rootfs, klog)?)
    };
    let errors = PluginErrors::new(klog.clone());
    let clock = Arc::new(StartClock::start(machine.pace));
    let mut backends: Vec<Box<dyn Backend>> = Vec::new();
    if !options.log.path.is_empty() {
        if options.log.path != "-" {
            log::ensure(rootfs, &options.log.path)
                .map_err(|reason| format!("ensureLogFile: {reason}"))?;
        }
        if policy.is_none() {
            klog.info(
                2,
                "audit.go:297",
                "No audit policy file provided, no events will be recorded for log backend",
            );
        } else {
            let log = Log::new(options.log.clone(), rootfs.clone(), errors.clone());
            // Threads of their own would only wait for each other at the file.
            let batched = moded(Box::new(log), &options.log.batch, false, &errors);
            backends.push(fitted(batched, options.log.truncate, &errors));
        }
    }
    if !options.webhook.config_file.is_empty() {
        if policy.is_none() {
            klog.info(
                2,
                "audit.go:307",
                "No audit policy file provided, no events will be recorded for webhook backend",
            );
        } else {
            let webhook = webhook(&options.webhook, machine, rootfs, &errors, &clock)
                .map_err(|reason| format!("initializing audit webhook: {reason}"))?;
            let batched = moded(Box::new(webhook), &options.webhook.batch, true, &errors);
            backends.push(fitted(batched, options.webhook.truncate, &errors));
        }
    }
    let sink = Sink::new(policy, backends).counting(errors).timed(clock);
    if let Some(name) = sink.name() {
        klog.info(2, "audit.go:344", &format!("Using audit backend: {name}"));
    }
    Ok(sink)
}

fn webhook(
    options: &WebhookOptions,
    machine: &Arc<Machine>,
    rootfs: &Arc<Rootfs>,
    errors: &PluginErrors,
    clock: &Arc<StartClock>,
) -> Result<Webhook, String> {
    let config = kubeconfig::load(&options.config_file, &|path| {
        rootfs.read(&absolute(path), FILE_LIMIT)
    })?;
    Ok(Webhook::new(
        config,
        Network::new(machine.clone()),
        rootfs.clone(),
        Duration::from_nanos(u64::try_from(options.initial_backoff).unwrap_or(0)),
        errors.clone(),
        clock.clone(),
    ))
}

/// A backend in its mode.
fn moded(
    inner: Box<dyn Backend>,
    options: &BatchOptions,
    concurrent: bool,
    errors: &PluginErrors,
) -> Box<dyn Backend> {
    match options.mode.as_str() {
        "blocking-strict" => inner,
        "blocking" => Box::new(IgnoreErrors::new(inner)),
        _ => Box::new(Buffered::start(inner, options, concurrent, errors.clone())),
    }
}

/// A backend with its limits of size.
fn fitted(
    inner: Box<dyn Backend>,
    options: TruncateOptions,
    errors: &PluginErrors,
) -> Box<dyn Backend> {
    if options.enabled {
        Box::new(Truncate::new(inner, options, errors.clone()))
    } else {
        inner
    }
}

fn load(path: &str, rootfs: &Rootfs, klog: &Klog) -> Result<Policy, String> {
    let bytes = read(rootfs, path).map_err(|reason| {
        let path = quote(path);
        format!("loading audit policy file: failed to read file path {path}: {reason}")
    })?;
    let warn = |warnings: &[String]| {
        for warning in warnings {
            klog.warning("reader.go:81", warning);
        }
    };
    match policy::load(&bytes) {
        Ok(loaded) => {
            warn(&loaded.warnings);
            klog.info(
                4,
                "reader.go:99",
                &format!(
                    "\"Load audit policy rules success\" policyCnt={}",
                    loaded.policy.rules.len()
                ),
            );
            Ok(loaded.policy)
        }
        Err(error) => {
            warn(&error.warnings);
            let file = if error.names_file {
                format!(": from file {path}")
            } else {
                String::new()
            };
            Err(format!("loading audit policy file: {error}{file}"))
        }
    }
}
