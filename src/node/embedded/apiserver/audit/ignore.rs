//! A backend whose failures nobody hears of: mode `blocking` (`ignoreErrorsBackend` of
//! `pkg/server/options/audit.go`).

use futures_util::future::BoxFuture;

use super::{Backend, Record};

/// Answers that all is well, whatever the backend inside says.
pub struct IgnoreErrors(Box<dyn Backend>);

impl IgnoreErrors {
    /// Around this backend.
    #[must_use]
    pub fn new(inner: Box<dyn Backend>) -> Self {
        Self(inner)
    }
}

impl Backend for IgnoreErrors {
    fn name(&self) -> String {
        format!("ignoreErrors<{}>", self.0.name())
    }

    fn process<'a>(&'a self, records: &'a [&'a Record]) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            self.0.process(records).await;
            true
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        self.0.shutdown()
    }
}
