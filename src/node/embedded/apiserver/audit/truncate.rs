//! Events too large for a backend lose their bodies, or go (`plugin/pkg/audit/truncate`).

use futures_util::future::BoxFuture;

use super::errors::PluginErrors;
use super::{Backend, Record};
use crate::audit::level::Level;
use crate::audit::options::TruncateOptions;
use crate::node::embedded::apiserver::encoding;

/// The annotation of an event that lost its bodies.
const ANNOTATION: &str = "audit.k8s.io/truncated";

/// Cuts events and splits batches for the backend inside.
pub struct Truncate {
    inner: Box<dyn Backend>,
    errors: PluginErrors,
    max_event: u64,
    max_batch: u64,
}

impl Truncate {
    /// Around this backend.
    #[must_use]
    pub fn new(inner: Box<dyn Backend>, options: TruncateOptions, errors: PluginErrors) -> Self {
        let bytes = |size: i64| u64::try_from(size).unwrap_or(0);
        Self {
            inner,
            errors,
            max_event: bytes(options.max_event_size),
            max_batch: bytes(options.max_batch_size),
        }
    }

    /// The record as it may go on, with its size; or why it may not.
    fn fitted(&self, record: &Record) -> Result<(Option<Record>, u64), String> {
        let size = size(record)?;
        if size <= self.max_event {
            return Ok((None, size));
        }
        let too_large = || Err("event is too large even after truncating".to_owned());
        if record.event.level < Level::Request {
            return too_large();
        }
        let mut cut = record.clone();
        cut.event.request_object = None;
        cut.event.response_object = None;
        cut.event
            .annotations
            .insert(ANNOTATION.to_owned(), "true".to_owned());
        match self::size(&cut)? {
            size if size > self.max_event => too_large(),
            size => Ok((Some(cut), size)),
        }
    }
}

/// The bytes of an event as a log has them, line break included.
fn size(record: &Record) -> Result<u64, String> {
    match &record.unencodable {
        Some(reason) => Err(reason.clone()),
        None => Ok(encoding::json(&record.event).len() as u64 + 1),
    }
}

impl Backend for Truncate {
    fn name(&self) -> String {
        format!("truncate<{}>", self.inner.name())
    }

    fn process<'a>(&'a self, records: &'a [&'a Record]) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            let mut reasons: Vec<String> = Vec::new();
            let mut impacted: Vec<&Record> = Vec::new();
            let mut fitted = Vec::new();
            for record in records {
                match self.fitted(record) {
                    Ok((cut, size)) => fitted.push((*record, cut, size)),
                    Err(reason) => {
                        impacted.push(record);
                        if !reasons.contains(&reason) {
                            reasons.push(reason);
                        }
                    }
                }
            }
            let mut stored = true;
            let mut batch: Vec<&Record> = Vec::new();
            let mut bytes = 0;
            for (record, cut, size) in &fitted {
                if !batch.is_empty() && bytes + size > self.max_batch {
                    stored &= self.inner.process(&batch).await;
                    batch.clear();
                    bytes = 0;
                }
                bytes += size;
                batch.push(cut.as_ref().unwrap_or(record));
            }
            if !batch.is_empty() {
                stored &= self.inner.process(&batch).await;
            }
            if !impacted.is_empty() {
                let reason = match reasons.as_slice() {
                    [one] => one.clone(),
                    many => format!("[{}]", many.join(", ")),
                };
                self.errors.report("truncate", &reason, &impacted);
            }
            stored
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.inner.shutdown()
    }
}
