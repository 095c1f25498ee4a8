//! Waiting while the server starts. In fast pace a wait is shorter then, and counts as if it had not
//! been: whether a server is ready in time or dies is decided as on a real node, only sooner.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::node::embedded::pace::Pace;

/// The time of one start, and whether it still goes on.
pub struct StartClock {
    pace: Pace,
    since: Instant,
    starting: AtomicBool,
    /// Nanoseconds that were waited for without passing.
    skipped: AtomicU64,
}

impl Default for StartClock {
    /// A start that is over.
    fn default() -> Self {
        Self {
            starting: AtomicBool::new(false),
            ..Self::start(Pace::Real)
        }
    }
}

impl StartClock {
    /// A start that begins now.
    #[must_use]
    pub fn start(pace: Pace) -> Self {
        Self {
            pace,
            since: Instant::now(),
            starting: AtomicBool::new(true),
            skipped: AtomicU64::new(0),
        }
    }

    /// From now on a wait is a wait: the flags say how long.
    pub fn started(&self) {
        self.starting.store(false, Ordering::Relaxed);
    }

    /// How long the start has taken, as on a real node.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.since.elapsed() + Duration::from_nanos(self.skipped.load(Ordering::Relaxed))
    }

    /// How long to wait in place of `real`.
    #[must_use]
    pub fn shortened(&self, real: Duration) -> Duration {
        if self.starting.load(Ordering::Relaxed) {
            self.pace.scale(real)
        } else {
            real
        }
    }

    /// Notes that `waited` stands for `real`.
    pub fn skip(&self, real: Duration, waited: Duration) {
        let rest = real.saturating_sub(waited).as_nanos();
        let rest = u64::try_from(rest).unwrap_or(u64::MAX / 4);
        self.skipped.fetch_add(rest, Ordering::Relaxed);
    }

    /// Waits.
    pub async fn sleep(&self, real: Duration) {
        let short = self.shortened(real);
        tokio::time::sleep(short).await;
        self.skip(real, short);
    }
}
