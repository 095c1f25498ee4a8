//! One informer's requests: a watch that begins with everything there is, then watches from where the last one ended.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt as _, Stream, StreamExt as _};
use http::Method;
use rand::RngExt as _;
use tokio::time::Instant;

use super::Watched;
use crate::node::embedded::apiserver::api::Body;
use crate::node::embedded::machine::{LocalApi, Machine};

/// The first wait after a failure, and the longest (`NewReflectorWithOptions`).
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(800), Duration::from_secs(30));
/// The last bookmark comes this long before a watch ends (`bookmarkTimeout` of `storage/cacher`).
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// An informer as the API server sees it.
pub(super) struct Reflector {
    watched: Watched,
    /// The version it knows everything up to; `None` before it knows anything.
    version: Option<u64>,
    /// The answer that goes on.
    open: Option<Pin<Box<dyn Stream<Item = Bytes> + Send>>>,
    /// When there is something to do, and what.
    due: Instant,
    next: Next,
    failures: u32,
}

#[derive(Clone, Copy)]
enum Next {
    Watch,
    Bookmark,
}

impl Reflector {
    pub(super) fn new(watched: Watched, now: Instant) -> Self {
        Self {
            watched,
            version: None,
            open: None,
            due: now,
            next: Next::Watch,
            failures: 0,
        }
    }

    pub(super) fn watched(&self) -> &Watched {
        &self.watched
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Begins anew after a while: the server is another one.
    pub(super) fn reconnect(&mut self, at: Instant) {
        self.open = None;
        self.next = Next::Watch;
        self.failures = 0;
        self.due = at;
    }

    /// Knows nothing any more.
    pub(super) fn forget(&mut self) {
        self.version = None;
    }

    /// Ends the watch.
    pub(super) fn hang_up(&mut self) {
        self.open = None;
    }

    /// Does what is due.
    pub(super) async fn turn(&mut self, machine: &Machine, api: &dyn LocalApi, now: Instant) {
        match self.next {
            Next::Bookmark => {
                self.version = Some(machine.store.revision());
                self.next = Next::Watch;
                self.due += BOOKMARK_BEFORE_END;
            }
            Next::Watch => {
                // Its end is an entry of its own, before that of the next.
                self.open = None;
                self.watch(machine, api, now).await;
            }
        }
    }

    async fn watch(&mut self, machine: &Machine, api: &dyn LocalApi, now: Instant) {
        let shortest = self.watched.shortest.as_secs_f64();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a watch lasts minutes"
        )]
        let seconds = (shortest * (1.0 + rand::rng().random::<f64>())) as u64;
        let path = target(&self.watched, self.version, seconds);
        let request = self.watched.actor.request(Method::GET, &path, "", None);
        let revision = machine.store.revision();
        let response = api.call(request).await;
        let Body::Stream { mut chunks, .. } = response.body else {
            return self.fail(response.code == 410, now);
        };
        // What is not read says at once that it failed, or nothing.
        if chunks.next().now_or_never().is_some() {
            return self.fail(true, now);
        }
        self.failures = 0;
        self.version = Some(self.version.unwrap_or(revision));
        self.open = Some(chunks);
        self.next = Next::Bookmark;
        self.due = now + Duration::from_secs(seconds).saturating_sub(BOOKMARK_BEFORE_END);
    }

    fn fail(&mut self, expired: bool, now: Instant) {
        if expired {
            self.version = None;
        }
        let wait = BACK_OFF.0 * 2_u32.pow(self.failures.min(6));
        self.failures += 1;
        self.next = Next::Watch;
        self.due = now
            + wait
                .min(BACK_OFF.1)
                .mul_f64(1.0 + rand::rng().random::<f64>());
    }
}

/// Path and query of a watch, as `rest.Request` writes them: in the order of the alphabet.
fn target(watched: &Watched, version: Option<u64>, seconds: u64) -> String {
    let selector = match watched.selector.as_str() {
        "" => String::new(),
        selector => format!("&{selector}"),
    };
    let from = match version {
        Some(version) => format!("resourceVersion={version}"),
        None => "resourceVersionMatch=NotOlderThan&sendInitialEvents=true".to_owned(),
    };
    format!(
        "{}?allowWatchBookmarks=true{selector}&{from}&timeout={}m{}s&timeoutSeconds={seconds}&watch=true",
        watched.path,
        seconds / 60,
        seconds % 60
    )
}
