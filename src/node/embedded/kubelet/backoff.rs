//! Crash back-off per container of a pod (`k8s.io/client-go/util/flowcontrol/backoff.go` as
//! `kuberuntime_manager.go` uses it). Durations are those of a real node; callers scale waits.

use std::collections::HashMap;
use std::time::Duration;

const INITIAL: Duration = Duration::from_secs(10);
const MAX: Duration = Duration::from_secs(300);

#[derive(Debug, Clone, Copy)]
struct Entry {
    backoff: Duration,
    updated: Duration,
}

/// Back-offs by pod UID and container name. Times are real-node times (unscaled).
#[derive(Debug, Default)]
pub(super) struct BackOffs {
    entries: HashMap<(String, String), Entry>,
}

impl BackOffs {
    /// How long to wait after a container that ended at `finished`; `None` when it may start now.
    pub fn wait(&self, uid: &str, container: &str, finished: Duration) -> Option<Duration> {
        let entry = self.entries.get(&(uid.to_owned(), container.to_owned()))?;
        // Ran long enough since the last start: forgiven.
        (finished.saturating_sub(entry.updated) <= MAX * 2).then_some(entry.backoff)
    }

    /// Notes a restart of a container that ended at `finished`.
    pub fn next(&mut self, uid: &str, container: &str, finished: Duration, now: Duration) {
        let key = (uid.to_owned(), container.to_owned());
        let backoff = match self.entries.get(&key) {
            Some(entry) if finished.saturating_sub(entry.updated) <= MAX * 2 => {
                (entry.backoff * 2).min(MAX)
            }
            _ => INITIAL,
        };
        self.entries
            .retain(|_, e| now.saturating_sub(e.updated) <= MAX * 4);
        self.entries.insert(
            key,
            Entry {
                backoff,
                updated: now,
            },
        );
    }

    /// Forgets everything, as a restarted kubelet does.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_to_five_minutes_and_forgives() {
        let mut backoffs = BackOffs::default();
        let mut now = Duration::from_secs(1);
        let mut seen = Vec::new();
        for _ in 0..8 {
            seen.push(backoffs.wait("u", "c", now).map_or(0, |d| d.as_secs()));
            now += backoffs.wait("u", "c", now).unwrap_or_default();
            backoffs.next("u", "c", now, now);
        }
        assert_eq!(seen, [0, 10, 20, 40, 80, 160, 300, 300]);
        assert_eq!(
            backoffs.wait("u", "c", now + Duration::from_secs(601)),
            None
        );
    }
}
