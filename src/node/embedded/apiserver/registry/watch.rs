//! Watches: frames of JSON or protobuf (`pkg/endpoints/handlers/watch.go`, `pkg/storage/cacher` of k8s.io/apiserver).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rand::RngExt as _;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::form::{self, Form};
use super::options::{self, ListOptions};
use super::target::Target;
use super::{convert, list, meta};
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult, Body};
use crate::node::embedded::apiserver::encoding::{self, Media};
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::schema::protobuf;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;
use crate::node::embedded::apiserver::table;
use crate::node::embedded::store::{Change, StoreError, Stored, Watcher};

/// A watch ends by itself after at least this time, at most twice as long (`--min-request-timeout`).
const SHORTEST: Duration = Duration::from_secs(1800);
/// Bookmarks come this often at least, and shortly before the end.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long before the end the last bookmark comes.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);
/// Longest a client may ask a watch to last; what it asks beyond that is as good as for ever.
const LONGEST: Duration = Duration::from_secs(100 * 365 * 24 * 3600);
/// Frames are joined to chunks of about this size.
const CHUNK: usize = 64 << 10;
const INITIAL_EVENTS_END: &str = "k8s.io/initial-events-end";

pub(super) async fn serve(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
) -> ApiResult {
    let form = Form::of(request)?;
    let options = ListOptions::read(target, request, true)?;
    // Watches do not say what kind of error that is.
    let asked = options::version(&options.resource_version).map_err(|error| {
        let text = error
            .message
            .trim_start_matches("invalid resource version: ");
        super::plain_error(text)
    })?;
    let include = match form {
        Form::Table(_) => form::include_object(request)?,
        _ => table::Include::Metadata,
    };
    let mut target = target.clone();
    // `/watch/.../NAME` and a selection by name are watches of one object.
    let name = if request.uri.path().contains("/watch/") && !target.name.is_empty() {
        Some(std::mem::take(&mut target.name))
    } else {
        None
    };
    let mut frames = Frames {
        target,
        name,
        form,
        include,
        options,
        columns_sent: false,
        protobuf: false,
    };
    // What has no message is watched as JSON.
    let wanted = encoding::negotiate(request.header("accept")) == Ok(Media::Protobuf);
    frames.protobuf = wanted && frames.has_message();
    let content_type = if frames.protobuf {
        "application/vnd.kubernetes.protobuf;stream=watch"
    } else {
        "application/json"
    };
    let chunks: Chunks = if request.unread {
        unread(state, &frames, asked)
    } else {
        let follow = Follow::start(state, frames, asked);
        Box::pin(futures_util::stream::unfold(
            follow,
            |mut follow| async move {
                let bytes = follow.next().await?;
                Some((bytes, follow))
            },
        ))
    };
    Ok(ApiResponse {
        code: 200,
        headers: Vec::new(),
        body: Body::Stream {
            content_type: content_type.to_owned(),
            chunks,
        },
    })
}

type Chunks = std::pin::Pin<Box<dyn futures_util::Stream<Item = Bytes> + Send>>;

/// A watch whose client looks no further than whether it failed: nothing comes until it ends.
fn unread(state: &ApiState, frames: &Frames, asked: u64) -> Chunks {
    let failure = (asked != 0 && frames.options.send_initial_events != Some(true))
        .then(|| follow_from(state, &frames.target.prefix(), asked).err())
        .flatten()
        .map(|error| Bytes::from(frames.event("ERROR", &gone(state, &error, asked))));
    match failure {
        Some(failure) => Box::pin(futures_util::stream::iter([failure])),
        None => {
            let end = tokio::time::Instant::now() + lasting(frames.options.timeout_seconds);
            Box::pin(futures_util::stream::unfold((), move |()| async move {
                tokio::time::sleep_until(end).await;
                None
            }))
        }
    }
}

/// The changes after a version.
fn follow_from(state: &ApiState, prefix: &str, version: u64) -> Result<Watcher, StoreError> {
    if version < state.first_revision {
        return Err(StoreError::Compacted);
    }
    state.store.watch(prefix, version)
}

/// How objects of this watch become frames.
struct Frames {
    target: Target,
    /// Only this object, in `/watch/.../NAME`.
    name: Option<String>,
    form: Form,
    include: table::Include,
    options: ListOptions,
    columns_sent: bool,
    /// Whether frames are protobuf.
    protobuf: bool,
}

impl Frames {
    fn selects(&self, stored: &Stored) -> bool {
        if let Some(name) = &self.name
            && meta::text(&stored.value, "name") != name
        {
            return false;
        }
        self.options.selection.is_everything()
            || self.options.selection.matches(
                &self.target.resource,
                self.target.custom.as_ref(),
                &list::selectable(&self.target, stored),
            )
    }

    /// The frame of an object.
    fn frame(&mut self, kind: &str, stored: &Stored) -> Vec<u8> {
        let object = convert::shown(&self.target, stored);
        self.frame_of(kind, object)
    }

    fn frame_of(&mut self, kind: &str, object: Value) -> Vec<u8> {
        let object = match self.form {
            Form::Object => object,
            Form::Metadata(version) => form::partial(version, &object),
            Form::Table(version) => {
                let mut list_meta = Map::new();
                list_meta.insert(
                    "resourceVersion".into(),
                    meta::text(&object, "resourceVersion").into(),
                );
                let columns = !std::mem::replace(&mut self.columns_sent, true);
                table::table(
                    version,
                    &self.target.resource,
                    self.target.custom.as_ref(),
                    list_meta,
                    std::slice::from_ref(&object),
                    self.include,
                    columns,
                )
            }
        };
        self.event(kind, &object)
    }

    /// Whether objects as this watch shows them have a protobuf message.
    fn has_message(&self) -> bool {
        let object = empty_object(&self.target);
        match self.form {
            Form::Object => protobuf::encode_object(&object).is_some(),
            Form::Metadata(_) => true,
            Form::Table(_) => false,
        }
    }

    fn event(&self, kind: &str, object: &Value) -> Vec<u8> {
        if self.protobuf {
            protobuf::watch_frame(kind, object).unwrap_or_default()
        } else {
            line(kind, object)
        }
    }

    /// The frame of a change, if the watch sees it.
    fn change(&mut self, change: &Change) -> Option<Vec<u8>> {
        let at = |value: &Arc<Value>| Stored {
            key: change.key.clone(),
            value: Arc::clone(value),
            // What is gone or left the selection is shown as it was, with the version of the change.
            revision: change.revision,
        };
        let before = change.before.as_ref().map(at).filter(|s| self.selects(s));
        let after = change.after.as_ref().map(at).filter(|s| self.selects(s));
        match (before, after) {
            (None, Some(after)) => Some(self.frame("ADDED", &after)),
            (Some(_), Some(after)) => Some(self.frame("MODIFIED", &after)),
            (Some(before), None) => Some(self.frame("DELETED", &before)),
            (None, None) => None,
        }
    }

    fn bookmark(&mut self, revision: u64, initial_events_end: bool) -> Vec<u8> {
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), revision.to_string().into());
        if initial_events_end {
            metadata.insert("annotations".into(), json!({INITIAL_EVENTS_END: "true"}));
        }
        let mut object = empty_object(&self.target);
        if let Some(map) = object.as_object_mut() {
            map.insert("metadata".into(), metadata.into());
        }
        self.frame_of("BOOKMARK", object)
    }
}

/// An object of the kind with nothing in it, as bookmarks carry it.
fn empty_object(target: &Target) -> Value {
    let resource = &target.resource;
    let mut object = json!({
        "kind": resource.kind,
        "apiVersion": resource.api_version(),
        "metadata": {}
    });
    if target.custom.is_none() {
        super::body::normalise(target, &mut object);
        // Bookmarks come from the internal type, whose replicas are no pointer.
        if matches!(
            resource.name.as_str(),
            "deployments" | "replicasets" | "statefulsets"
        ) && let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
        {
            spec.shift_insert(0, "replicas".to_owned(), json!(0));
        }
    }
    object
}

fn line(kind: &str, object: &Value) -> Vec<u8> {
    let mut bytes = format!("{{\"type\":\"{kind}\",\"object\":").into_bytes();
    if serde_json::to_writer(&mut bytes, object).is_err() {
        bytes.extend_from_slice(b"null");
    }
    bytes.extend_from_slice(b"}\n");
    bytes
}

/// A running watch.
struct Follow {
    frames: Frames,
    /// What was there at the start and was not sent yet: frames are made when their client takes them.
    initial: std::vec::IntoIter<Stored>,
    /// The revision of that, where its end is to be marked.
    marked: Option<u64>,
    /// Frames that wait to be sent.
    pending: VecDeque<Vec<u8>>,
    /// `None` once the watch has failed.
    watcher: Option<Watcher>,
    end: Instant,
    next_bookmark: Option<Instant>,
    shutdown: tokio_util::sync::CancellationToken,
}

impl Follow {
    fn start(state: &ApiState, frames: Frames, asked: u64) -> Self {
        let now = Instant::now();
        let timeout = lasting(frames.options.timeout_seconds);
        let mut pending = VecDeque::new();
        let wants_initial = frames.options.send_initial_events == Some(true)
            || (frames.options.send_initial_events.is_none() && asked == 0);
        let prefix = frames.target.prefix();
        let (mut initial, mut marked) = (Vec::new(), None);
        let watcher = if wants_initial {
            let (list, revision) = state.store.list(&prefix);
            initial = list;
            // Without a version the server streams a list, and says where it ends.
            let is_marked = frames.options.bookmarks
                && (frames.options.send_initial_events == Some(true)
                    || frames.options.resource_version.is_empty());
            marked = is_marked.then_some(revision);
            state.store.watch(&prefix, revision)
        } else {
            match asked {
                0 => state.store.watch(&prefix, state.store.revision()),
                asked => follow_from(state, &prefix, asked),
            }
        };
        let watcher = match watcher {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                pending.push_back(frames.event("ERROR", &gone(state, &error, asked)));
                None
            }
        };
        // One shortly before the end, unless the watch is over before.
        let next_bookmark = (frames.options.bookmarks && timeout > BOOKMARK_BEFORE_END)
            .then(|| now + BOOKMARK_EVERY.min(timeout.saturating_sub(BOOKMARK_BEFORE_END)));
        Self {
            frames,
            initial: initial.into_iter(),
            marked,
            pending,
            watcher,
            end: now + timeout,
            next_bookmark,
            shutdown: state.shutdown.clone(),
        }
    }

    /// The next frame there is already.
    fn frame(&mut self) -> Option<Vec<u8>> {
        for stored in self.initial.by_ref() {
            if self.frames.selects(&stored) {
                return Some(self.frames.frame("ADDED", &stored));
            }
        }
        match self.marked.take() {
            Some(revision) => Some(self.frames.bookmark(revision, true)),
            None => self.pending.pop_front(),
        }
    }

    /// The next chunk; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            let mut chunk = Vec::new();
            while chunk.len() < CHUNK
                && let Some(frame) = self.frame()
            {
                chunk.extend_from_slice(&frame);
            }
            if !chunk.is_empty() {
                return Some(Bytes::from(chunk));
            }
            let watcher = self.watcher.as_mut()?;
            let bookmark = async {
                match self.next_bookmark {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = self.shutdown.cancelled() => return None,
                () = tokio::time::sleep_until(self.end) => return None,
                change = watcher.next() => match change? {
                    Ok(change) => {
                        if let Some(frame) = self.frames.change(&change) {
                            self.pending.push_back(frame);
                        }
                    }
                    Err(_) => {
                        // This watch is too slow: the client must list again.
                        self.watcher = None;
                        return None;
                    }
                },
                () = bookmark => {
                    let position = watcher.position();
                    self.pending.push_back(self.frames.bookmark(position, false));
                    self.next_bookmark = Some(Instant::now() + BOOKMARK_EVERY);
                }
            }
        }
    }
}

/// How long a watch lasts: as long as the client asks, or one to two times the shortest.
fn lasting(asked: Option<i64>) -> Duration {
    match asked.and_then(|seconds| u64::try_from(seconds).ok()) {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds).min(LONGEST),
        _ => SHORTEST.mul_f64(1.0 + rand::rng().random::<f64>()),
    }
}

/// The object of the ERROR event of a watch that starts too far in the past.
fn gone(state: &ApiState, error: &StoreError, asked: u64) -> Value {
    let status = match error {
        StoreError::Compacted => Status::new(
            410,
            "Expired",
            format!(
                "too old resource version: {asked} ({})",
                state.store.oldest().max(state.first_revision)
            ),
        ),
        other => Status::new(500, "InternalError", other.to_string()),
    };
    status.to_json()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_timeout_is_past_what_the_clock_can_count() {
        assert_eq!(lasting(Some(5)), Duration::from_secs(5));
        for huge in [i64::MAX, i64::MAX / 1_000_000_000, i64::from(u32::MAX)] {
            assert!(Instant::now().checked_add(lasting(Some(huge))).is_some());
        }
        for none in [None, Some(0), Some(-1), Some(i64::MIN)] {
            let lasting = lasting(none);
            assert!(lasting >= SHORTEST && lasting <= SHORTEST * 2, "{none:?}");
        }
    }
}
