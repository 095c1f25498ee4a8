//! Several backends as one (`pkg/audit/union.go`).

use futures_util::future::BoxFuture;

use super::{Backend, Record};

/// Gives every event to all backends, one after the other.
pub struct Union(Vec<Box<dyn Backend>>);

impl Union {
    /// All of these; one alone stays as it is.
    #[must_use]
    pub fn of(mut backends: Vec<Box<dyn Backend>>) -> Option<Box<dyn Backend>> {
        match backends.len() {
            0 | 1 => backends.pop(),
            _ => Some(Box::new(Self(backends))),
        }
    }
}

impl Backend for Union {
    fn name(&self) -> String {
        let names: Vec<String> = self.0.iter().map(|backend| backend.name()).collect();
        format!("union[{}]", names.join(","))
    }

    fn process<'a>(&'a self, records: &'a [&'a Record]) -> BoxFuture<'a, bool> {
        Box::pin(async move {
            // Every backend gets the events, whatever the others say.
            let mut stored = true;
            for backend in &self.0 {
                stored &= backend.process(records).await;
            }
            stored
        })
    }

    fn shutdown(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            for backend in &self.0 {
                backend.shutdown().await;
            }
        })
    }
}
