//! Watches: a position in the history, so a slow watcher costs no memory of its own.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::Stream;

use super::{Change, Shared, StoreError};

/// At most this many changes are taken from the history at once.
const BATCH: usize = 64;

/// Follows the changes of a prefix. A watcher that falls behind the history gets
/// [`StoreError::Compacted`] and must list again.
pub struct Watcher {
    shared: Arc<Shared>,
    latest: tokio::sync::watch::Receiver<u64>,
    prefix: String,
    /// Every change up to this revision was looked at.
    position: u64,
    ready: VecDeque<Arc<Change>>,
}

impl Watcher {
    pub(super) fn new(shared: Arc<Shared>, prefix: String, from: u64) -> Result<Self, StoreError> {
        let latest = shared.latest.subscribe();
        if from < shared.read(super::Memory::floor) {
            return Err(StoreError::Compacted);
        }
        Ok(Self {
            shared,
            latest,
            prefix,
            position: from,
            ready: VecDeque::new(),
        })
    }

    /// The revision up to which this watcher has seen everything.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.ready
            .front()
            .map_or(self.position, |change| change.revision - 1)
    }

    /// The next change; waits for it. Cancel-safe. `None` when the store is gone.
    ///
    /// # Errors
    /// [`StoreError::Compacted`] when this watcher fell behind the history.
    pub async fn next(&mut self) -> Option<Result<Arc<Change>, StoreError>> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Some(Ok(change));
            }
            self.latest.borrow_and_update();
            match self.fill() {
                Err(error) => return Some(Err(error)),
                Ok(true) => {}
                Ok(false) => self.latest.changed().await.ok()?,
            }
        }
    }

    /// The next change if there is one already.
    ///
    /// # Errors
    /// As [`Watcher::next`].
    pub fn try_next(&mut self) -> Result<Option<Arc<Change>>, StoreError> {
        loop {
            if let Some(change) = self.ready.pop_front() {
                return Ok(Some(change));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Takes changes from the history; `false` when there are none yet.
    fn fill(&mut self) -> Result<bool, StoreError> {
        let Self {
            shared,
            prefix,
            position,
            ready,
            ..
        } = self;
        shared.read(|memory| {
            if *position < memory.floor() {
                return Err(StoreError::Compacted);
            }
            let start = *position;
            while ready.len() < BATCH {
                let Some(change) = memory.change(*position + 1) else {
                    break;
                };
                *position += 1;
                if change.key.starts_with(prefix.as_str()) {
                    ready.push_back(Arc::clone(change));
                }
            }
            Ok(*position > start)
        })
    }

    /// The changes as a stream; it ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Arc<Change>, StoreError>> + Send {
        futures_util::stream::unfold(Some(self), |watcher| async move {
            let mut watcher = watcher?;
            let item = watcher.next().await?;
            let rest = item.is_ok().then_some(watcher);
            Some((item, rest))
        })
    }
}
