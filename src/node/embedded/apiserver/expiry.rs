//! Events go after `--event-ttl`, as their leases in etcd run out (`pkg/registry/core/event/storage/storage.go`): nobody
//! asks for it, so nothing of it is in the audit log; who watches sees them go.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::kinds::edit::{items, text_at};
use super::state::ApiState;
use crate::node::embedded::store::Stored;

/// Where they are.
const EVENTS: &str = "/registry/core/events/";
/// How often it is looked.
const LOOK: Duration = Duration::from_secs(60);

/// Takes them away, as long as the server runs.
pub(super) async fn run(state: Arc<ApiState>) {
    let nanoseconds = state.flags.line.int("event-ttl");
    let lives = SignedDuration::from_nanos(nanoseconds);
    // 0 is for ever.
    if lives.is_zero() || lives.is_negative() {
        return;
    }
    loop {
        tokio::time::sleep(LOOK).await;
        for stored in expired(state.store.list(EVENTS).0, lives, Timestamp::now()) {
            // One that is written meanwhile lives on.
            let _ = state.store.delete(&stored.key, Some(stored.revision)).await;
        }
    }
}

/// Those whose last write was longer ago.
fn expired(events: Vec<Stored>, lives: SignedDuration, now: Timestamp) -> Vec<Stored> {
    let is_over = |stored: &Stored| {
        written(&stored.value).is_some_and(|written| now.duration_since(written) > lives)
    };
    events.into_iter().filter(is_over).collect()
}

/// When it was written last: every write sets the time of its lease anew.
fn written(event: &Value) -> Option<Timestamp> {
    let metadata = event.get("metadata")?;
    items(metadata, "/managedFields")
        .iter()
        .map(|entry| text_at(entry, "/time"))
        .chain([
            text_at(metadata, "/creationTimestamp"),
            text_at(event, "/lastTimestamp"),
            text_at(event, "/series/lastObservedTime"),
        ])
        .filter_map(|time| time.parse().ok())
        .max()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_lives_from_its_last_write() {
        let event = |name: &str, created: &str, written: &str| Stored {
            key: format!("{EVENTS}default/{name}"),
            value: Arc::new(
                json!({"metadata": {"name": name, "creationTimestamp": created,
                "managedFields": [{"time": written}]}, "lastTimestamp": created}),
            ),
            revision: 1,
        };
        let events = vec![
            event("old", "2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
            event("told-again", "2026-01-01T10:00:00Z", "2026-01-01T10:30:00Z"),
            event("new", "2026-01-01T10:50:00Z", "2026-01-01T10:50:00Z"),
            Stored {
                value: Arc::new(json!({"metadata": {}})),
                ..event("timeless", "", "")
            },
        ];
        let now = "2026-01-01T11:00:01Z".parse().unwrap();
        let gone = expired(events, SignedDuration::from_hours(1), now);
        let keys: Vec<&str> = gone.iter().map(|stored| stored.key.as_str()).collect();
        assert_eq!(keys, ["/registry/core/events/default/old"]);
    }
}
