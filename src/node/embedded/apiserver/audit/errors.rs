//! Errors of audit plugins: a line of the server's log with the events that are lost
//! (`HandlePluginError` of `pkg/audit/metrics.go`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::{Record, legacy};
use crate::node::embedded::apiserver::klog::Klog;

/// Reports and counts errors.
#[derive(Clone)]
pub struct PluginErrors {
    klog: Klog,
    counts: Arc<Mutex<BTreeMap<&'static str, u64>>>,
}

impl PluginErrors {
    /// Reports to this log.
    #[must_use]
    pub fn new(klog: Klog) -> Self {
        Self {
            klog,
            counts: Arc::default(),
        }
    }

    /// The log of the server.
    #[must_use]
    pub fn klog(&self) -> &Klog {
        &self.klog
    }

    /// Events may not have been recorded, for this reason.
    pub fn report(&self, plugin: &'static str, reason: &str, impacted: &[&Record]) {
        *self
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .entry(plugin)
            .or_default() += impacted.len() as u64;
        let mut text = format!(
            "Error in audit plugin '{plugin}' affecting {} audit events: {reason}\nImpacted events:",
            impacted.len()
        );
        for record in impacted {
            text.push('\n');
            text.push_str(&legacy::line(&record.event));
        }
        self.klog.error("metrics.go:110", &text);
    }

    /// Events lost so far, by plugin.
    #[must_use]
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.iter().map(|(plugin, n)| (*plugin, *n)).collect()
    }
}
