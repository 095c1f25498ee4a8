//! Logs of containers (`pkg/registry/core/pod/rest/log.go`): of the static pods from their real log files,
//! of simulated containers what their image would print.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use super::pod::{
    bad_request, container, find, is_running, kubelet_address, kubelet_runs, refused, status_of,
};
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult, Body};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::kinds::field::{FieldError, Reason, invalid_status};
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;
use crate::node::embedded::confine::Confined;
use crate::node::embedded::runtime::log as container_log;

/// Most that is read of a log file at once: of a longer one its end.
const AT_ONCE: u64 = 16 << 20;
/// How often a log that somebody follows is looked at.
const POLL: Duration = Duration::from_millis(250);

/// PodLogOptions of the query.
#[derive(Default)]
struct Options {
    follow: bool,
    previous: bool,
    timestamps: bool,
    tail: Option<i64>,
    limit: Option<i64>,
    since: Option<jiff::Timestamp>,
}

/// Serves the log of a container.
pub(super) async fn serve(state: &Arc<ApiState>, request: &ApiRequest) -> ApiResult {
    let options = options(request)?;
    let pod = find(state, request)?;
    let container = container(&pod, request.param("container"))?;
    let node = text_at(&pod, "/spec/nodeName").to_owned();
    if node.is_empty() {
        return Ok(ApiResponse {
            code: 204,
            headers: Vec::new(),
            body: Body::Empty,
        });
    }
    let Some(address) = kubelet_address(state, &node) else {
        return Err(Status::not_found("", "nodes", &node));
    };
    if !kubelet_runs(state, &node) {
        let path = format!(
            "/containerLogs/{}/{}/{container}",
            request.info.namespace, request.info.name
        );
        let query: Vec<String> = request
            .query
            .iter()
            .filter(|(key, value)| key != "container" && !(value == "false" || value.is_empty()))
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let query = if query.is_empty() {
            String::new()
        } else {
            format!("?{}", query.join("&"))
        };
        return Err(Status::new(
            500,
            "",
            format!(
                "Get \"https://{address}{path}{query}\": {}",
                refused(&address)
            ),
        ));
    }
    let files = Files::of(state, &pod, &container);
    let stored = match files.clone() {
        Some(files) => blocking(move || files.read(options.previous)).await,
        None => None,
    };
    let mut tail = None;
    let lines = match stored {
        Some((lines, at)) => {
            tail = files.map(|files| (files, at));
            lines
        }
        None if options.previous && before(&pod, &container).is_some() => {
            simulated_lines(&before(&pod, &container).unwrap_or_default(), &container)
        }
        None if options.previous => {
            return Err(bad_request(format!(
                "previous terminated container \"{container}\" in pod \"{}\" not found",
                request.info.name
            )));
        }
        None if !is_running(&pod, &container) && !has_ended(&pod, &container) => {
            return Err(bad_request(format!(
                "container \"{container}\" in pod \"{}\" is waiting to start: ContainerCreating",
                request.info.name
            )));
        }
        // It prints to whoever attaches to it.
        None if waits(&pod, &container) && is_running(&pod, &container) => Vec::new(),
        None => simulated_lines(&pod, &container),
    };
    let mut simulated = None;
    if tail.is_none() && options.follow {
        simulated = Some(Attached::new(&pod, &container));
    }
    let text = render(&lines, &options);
    let body = if options.follow && !options.previous && is_running(&pod, &container) {
        let follow = Follow {
            state: state.clone(),
            key: format!(
                "/registry/core/pods/{}/{}",
                request.info.namespace, request.info.name
            ),
            id: container_id(&pod, &container).map(str::to_owned),
            container,
            tail,
            simulated,
            timestamps: options.timestamps,
            left: options.limit.and_then(|limit| usize::try_from(limit).ok()),
            first: Some(text),
            ended: false,
        };
        Body::Stream {
            content_type: "text/plain".to_owned(),
            chunks: Box::pin(futures_util::stream::unfold(
                follow,
                |mut follow| async move {
                    let chunk = follow.next().await?;
                    Some((chunk, follow))
                },
            )),
        }
    } else {
        Body::Bytes {
            content_type: "text/plain".to_owned(),
            bytes: Bytes::from(text),
        }
    };
    Ok(ApiResponse {
        code: 200,
        headers: Vec::new(),
        body,
    })
}

/// A log that somebody follows: what is there, then what is appended until the container ends.
struct Follow {
    state: Arc<ApiState>,
    /// Key of the pod.
    key: String,
    container: String,
    /// The container that is followed, not the one that comes after it.
    id: Option<String>,
    /// The files, and how far they are sent; simulated containers have none.
    tail: Option<(Files, Position)>,
    /// What a simulated container prints.
    simulated: Option<Attached>,
    timestamps: bool,
    /// What is left of `limitBytes`.
    left: Option<usize>,
    /// The log so far, until it is sent.
    first: Option<String>,
    ended: bool,
}

impl Follow {
    /// The next chunk; `None` when the container ended or the server does.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(text) = self.first.take() {
            return Some(self.within_limit(text));
        }
        while !self.ended && self.left != Some(0) {
            tokio::select! {
                () = self.state.shutdown.cancelled() => return None,
                () = tokio::time::sleep(POLL) => {}
            }
            // Asked before the file is read: what was written before the end is still sent.
            self.ended = !self.runs();
            let Some((files, at)) = self.tail.clone() else {
                let lines = self
                    .simulated
                    .as_mut()
                    .map(Attached::lines)
                    .unwrap_or_default();
                if lines.is_empty() {
                    continue;
                }
                return Some(self.rendered(&lines));
            };
            let Some((lines, at)) = blocking(move || files.after(at)).await else {
                continue;
            };
            if let Some((_, position)) = &mut self.tail {
                *position = at;
            }
            if !lines.is_empty() {
                // A log that grows faster than it is sent is read on without delay.
                return Some(self.rendered(&lines));
            }
        }
        None
    }

    fn rendered(&mut self, lines: &[Line]) -> Bytes {
        let options = Options {
            timestamps: self.timestamps,
            ..Options::default()
        };
        self.within_limit(render(lines, &options))
    }

    fn within_limit(&mut self, mut text: String) -> Bytes {
        if let Some(left) = &mut self.left {
            truncate(&mut text, *left);
            *left -= text.len().min(*left);
        }
        Bytes::from(text)
    }

    fn runs(&self) -> bool {
        self.state.store.get(&self.key).is_some_and(|stored| {
            is_running(&stored.value, &self.container)
                && container_id(&stored.value, &self.container) == self.id.as_deref()
        })
    }
}

/// The id of the container in the status of its pod.
pub(super) fn container_id<'a>(pod: &'a Value, container: &str) -> Option<&'a str> {
    status_of(pod, container).map(|status| text_at(status, "/containerID"))
}

/// Runs what may wait for a disk where waiting holds nobody up.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Option<T> + Send + 'static,
) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok().flatten()
}

/// Cuts a text to at most so many bytes.
fn truncate(text: &mut String, limit: usize) {
    if text.len() > limit {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
}

fn options(request: &ApiRequest) -> Result<Options, Status> {
    let flag = |name: &str| matches!(request.param(name), Some("true" | "1" | ""));
    let number = |name: &str| {
        request
            .param(name)
            .and_then(|text| text.parse::<i64>().ok())
    };
    let (seconds, time) = (number("sinceSeconds"), request.param("sinceTime"));
    let (tail, limit) = (number("tailLines"), number("limitBytes"));
    let mut errors = Vec::new();
    let mut positive = |name: &str, value: Option<i64>, least: i64, text: &str| {
        if let Some(value) = value
            && value < least
        {
            errors.push(FieldError::invalid(name, &value.into(), text));
        }
    };
    positive("tailLines", tail, 0, "must be greater than or equal to 0");
    positive("limitBytes", limit, 1, "must be greater than 0");
    if seconds.is_some() && time.is_some() {
        errors.push(FieldError::new(
            Reason::Forbidden,
            "[]",
            &Value::Null,
            "at most one of `sinceTime` or `sinceSeconds` may be specified",
        ));
    } else if let Some(seconds) = seconds
        && seconds < 1
    {
        errors.push(FieldError::invalid(
            "sinceSeconds",
            &seconds.into(),
            "must be greater than 0",
        ));
    }
    if !errors.is_empty() {
        return Err(invalid_status(
            "",
            "PodLogOptions",
            &request.info.name,
            &errors,
        ));
    }
    let since = match (seconds, time) {
        (Some(seconds), _) => jiff::Timestamp::now()
            .checked_sub(jiff::SignedDuration::from_secs(seconds))
            .ok(),
        (None, Some(time)) => time.parse().ok(),
        (None, None) => None,
    };
    Ok(Options {
        follow: flag("follow"),
        previous: flag("previous"),
        timestamps: flag("timestamps"),
        tail,
        limit,
        since,
    })
}

/// A line and when it was written.
type Line = (String, String);

fn render(lines: &[Line], options: &Options) -> String {
    let kept: Vec<&Line> = lines
        .iter()
        .filter(|(time, _)| {
            options.since.is_none_or(|since| {
                time.parse::<jiff::Timestamp>()
                    .is_ok_and(|time| time >= since)
            })
        })
        .collect();
    let skip = options
        .tail
        .and_then(|tail| usize::try_from(tail).ok())
        .map_or(0, |tail| kept.len().saturating_sub(tail));
    let mut text = String::new();
    for (time, line) in kept.into_iter().skip(skip) {
        if options.timestamps {
            text.push_str(time);
            text.push(' ');
        }
        text.push_str(line);
        text.push('\n');
    }
    if let Some(limit) = options.limit.and_then(|limit| usize::try_from(limit).ok()) {
        truncate(&mut text, limit);
    }
    text
}

/// The log files the container runtime wrote of a container; only static pods have them.
#[derive(Clone)]
struct Files {
    node: Confined,
    directory: String,
}

/// How far a log is read: the number of the file, and the bytes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Position {
    number: u32,
    bytes: u64,
}

impl Files {
    /// The files of a container of a mirror pod.
    fn of(state: &ApiState, pod: &Value, container: &str) -> Option<Self> {
        // They are under the uid of the static pod. Clients can write this annotation.
        let uid = pod
            .pointer("/metadata/annotations/kubernetes.io~1config.mirror")?
            .as_str()?;
        let parts = [
            text_at(pod, "/metadata/namespace"),
            text_at(pod, "/metadata/name"),
            uid,
            container,
        ];
        if parts
            .iter()
            .any(|part| part.is_empty() || part.contains(['/', '\0']) || part.contains(".."))
        {
            return None;
        }
        let [namespace, name, uid, container] = parts;
        Some(Self {
            node: Confined::new(&state.machine.node_root),
            directory: format!("/var/log/pods/{namespace}_{name}_{uid}/{container}"),
        })
    }

    /// Lines of the newest file, or of the one before it, and where they end.
    fn read(&self, previous: bool) -> Option<(Vec<Line>, Position)> {
        let mut numbers: Vec<u32> = self
            .node
            .list(&self.directory)
            .ok()?
            .iter()
            .filter_map(|name| name.strip_suffix(".log")?.parse().ok())
            .collect();
        numbers.sort_unstable();
        if previous {
            numbers.pop();
        }
        let number = numbers.pop()?;
        self.from(Position { number, bytes: 0 }).ok()
    }

    /// Whole lines that were appended, and where they end.
    fn after(&self, at: Position) -> Option<(Vec<Line>, Position)> {
        self.from(at).ok()
    }

    fn from(&self, at: Position) -> io::Result<(Vec<Line>, Position)> {
        let path = format!("{}/{}.log", self.directory, at.number);
        let mut file = self.node.open(&path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        // A file that became shorter was emptied: it is read from its start.
        let mut start = if metadata.len() < at.bytes {
            0
        } else {
            at.bytes
        };
        let skipped = metadata.len() - start > AT_ONCE;
        if skipped {
            start = metadata.len() - AT_ONCE;
        }
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(AT_ONCE).read_to_end(&mut bytes)?;
        let whole = bytes
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |end| end + 1);
        bytes.truncate(whole);
        let text = String::from_utf8_lossy(&bytes);
        let text = match text.split_once('\n') {
            // The first of what is left may be half a line.
            Some((_, rest)) if skipped => rest,
            _ => &text,
        };
        let lines = container_log::lines(text)
            .into_iter()
            .map(|line| (line.time, line.text))
            .collect();
        let end = Position {
            bytes: start + whole as u64,
            ..at
        };
        Ok((lines, end))
    }
}

fn has_ended(pod: &Value, container: &str) -> bool {
    status_of(pod, container).is_some_and(|status| status.pointer("/state/terminated").is_some())
}

/// The pod as it was when the container that ran before had ended.
fn before(pod: &Value, container: &str) -> Option<Value> {
    let mut pod = pod.clone();
    let statuses = pod.pointer_mut("/status/containerStatuses")?;
    let status = statuses
        .as_array_mut()?
        .iter_mut()
        .find(|status| text_at(status, "/name") == container)?;
    let ended = status.pointer("/lastState/terminated")?.clone();
    let state = serde_json::json!({ "terminated": ended });
    status.as_object_mut()?.insert("state".into(), state);
    Some(pod)
}

/// What an attached client has not seen yet of a simulated container.
pub(super) struct Attached {
    pod: Arc<Value>,
    container: String,
    /// Time of the last line that was seen.
    seen: Option<String>,
}

impl Attached {
    /// From now on; a process that waits for its input has printed nothing before.
    pub(super) fn new(pod: &Arc<Value>, container: &str) -> Self {
        let waits = waits(pod, container);
        Self {
            pod: pod.clone(),
            container: container.to_owned(),
            seen: simulated_lines(pod, container)
                .pop()
                .map(|(time, _)| time)
                .filter(|_| !waits),
        }
    }

    /// What was printed since.
    pub(super) fn next(&mut self) -> String {
        self.lines()
            .iter()
            .map(|(_, line)| format!("{line}\n"))
            .collect()
    }

    /// Lines that were printed since. Of a log without end only the last lines are made up: they are told by
    /// their times.
    fn lines(&mut self) -> Vec<Line> {
        let lines = simulated_lines(&self.pod, &self.container);
        let new: Vec<Line> = lines
            .into_iter()
            .filter(|(time, _)| self.seen.as_ref().is_none_or(|seen| time > seen))
            .collect();
        if let Some((time, _)) = new.last() {
            self.seen = Some(time.clone());
        }
        new
    }
}

/// Whether the container has its input open.
fn waits(pod: &Value, container: &str) -> bool {
    super::shell::container_spec(pod, container)
        .is_some_and(|spec| spec.get("stdin") == Some(&Value::Bool(true)))
}

/// What a container of this image and command would have printed by now.
pub(super) fn simulated_lines(pod: &Value, container: &str) -> Vec<Line> {
    let Some(spec) = super::shell::container_spec(pod, container) else {
        return Vec::new();
    };
    let (started, until) = lifetime(pod, container);
    let image = text_at(spec, "/image");
    let own = items(spec, "/command").is_empty() && items(spec, "/args").is_empty();
    if !own && !image.contains("coredns") {
        return super::shell::printed(pod, container, started, until)
            .into_iter()
            .map(|(time, text)| (nanoseconds(time), text))
            .collect();
    }
    let texts: Vec<String> = if image.contains("nginx") {
        let time = started.strftime("%Y/%m/%d %H:%M:%S");
        vec![
            "/docker-entrypoint.sh: /docker-entrypoint.d/ is not empty, will attempt to perform configuration".to_owned(),
            "/docker-entrypoint.sh: Looking for shell scripts in /docker-entrypoint.d/".to_owned(),
            "/docker-entrypoint.sh: Configuration complete; ready for start up".to_owned(),
            format!("{time} [notice] 1#1: using the \"epoll\" event method"),
            format!("{time} [notice] 1#1: start worker processes"),
        ]
    } else if image.contains("coredns") {
        vec![
            ".:53".to_owned(),
            "[INFO] plugin/reload: Running configuration SHA512 = 591cf328cccc12bc490481273e738df59329c62c0b729d94e8b61db9961c2fa5f046dd37f1cf888b953814040d180f52594972691cd6ff41be96639138a43908".to_owned(),
            "CoreDNS-1.14.2".to_owned(),
            "linux/amd64, go1.25.5, 0000000".to_owned(),
        ]
    } else {
        Vec::new()
    };
    let time = nanoseconds(started);
    texts.into_iter().map(|text| (time.clone(), text)).collect()
}

/// A time as the container runtime writes it.
fn nanoseconds(time: jiff::Timestamp) -> String {
    let later = time.checked_add(jiff::SignedDuration::from_nanos(104_208_715));
    later
        .unwrap_or(time)
        .strftime("%Y-%m-%dT%H:%M:%S.%9fZ")
        .to_string()
}

/// From the start of a container to its end, or to now.
fn lifetime(pod: &Value, container: &str) -> (jiff::Timestamp, jiff::Timestamp) {
    let now = jiff::Timestamp::now();
    let state = status_of(pod, container).and_then(|status| {
        [status.pointer("/state"), status.pointer("/lastState")]
            .into_iter()
            .flatten()
            .find_map(|state| state.get("running").or_else(|| state.get("terminated")))
    });
    let started = state.map_or("", |state| text_at(state, "/startedAt"));
    let started: jiff::Timestamp = started
        .parse()
        .or_else(|_| text_at(pod, "/status/startTime").parse())
        .unwrap_or(now);
    // A pod that ended has printed all it had to say, however short its life was made.
    let ended = state.is_some_and(|state| state.get("finishedAt").is_some());
    let until = if ended {
        started
            .checked_add(jiff::SignedDuration::from_hours(1))
            .unwrap_or(now)
    } else {
        now
    };
    (started, until)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn files(root: &std::path::Path) -> Files {
        Files {
            node: Confined::new(root),
            directory: "/var/log/pods/kube-system_etcd_abc/etcd".to_owned(),
        }
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn a_log_is_read_on_where_it_was_left() {
        let root = tempfile::tempdir().unwrap();
        let files = files(root.path());
        let directory = root.path().join(files.directory.trim_start_matches('/'));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("0.log"), "T0 stderr F before\n").unwrap();
        std::fs::write(directory.join("1.log"), "T1 stdout F one\nT2 stdout F tw").unwrap();
        let (lines, at) = files.read(false).unwrap();
        assert_eq!(texts(&lines), ["one"]);
        assert_eq!(texts(&files.read(true).unwrap().0), ["before"]);
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(directory.join("1.log"))
            .unwrap();
        file.write_all(b"o\nT3 stdout F three\n").unwrap();
        let (lines, at) = files.after(at).unwrap();
        assert_eq!(texts(&lines), ["two", "three"]);
        assert_eq!(files.after(at).unwrap(), (Vec::new(), at));
        std::fs::write(directory.join("1.log"), "T4 stdout F anew\n").unwrap();
        assert_eq!(texts(&files.after(at).unwrap().0), ["anew"]);
    }

    #[test]
    fn of_a_very_long_log_the_end_is_read() {
        let root = tempfile::tempdir().unwrap();
        let files = files(root.path());
        let directory = root.path().join(files.directory.trim_start_matches('/'));
        std::fs::create_dir_all(&directory).unwrap();
        let mut text = "T0 stdout F long\n".repeat(1 << 20);
        text.push_str("T1 stdout F last\n");
        std::fs::write(directory.join("0.log"), &text).unwrap();
        let (lines, at) = files.read(false).unwrap();
        assert!(lines.len() < 1 << 20);
        assert_eq!(lines.last().unwrap().1, "last");
        assert_eq!(at.bytes, text.len() as u64);
    }

    #[test]
    fn only_regular_files_of_the_node_are_logs() {
        let outside = tempfile::tempdir().unwrap();
        std::fs::write(outside.path().join("0.log"), "T0 stdout F secret\n").unwrap();
        let root = tempfile::tempdir().unwrap();
        let files = files(root.path());
        let directory = root.path().join(files.directory.trim_start_matches('/'));
        std::fs::create_dir_all(&directory).unwrap();
        std::os::unix::fs::symlink(outside.path().join("0.log"), directory.join("0.log")).unwrap();
        assert_eq!(files.read(false), None);
        let pipe = directory.join("1.log");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        assert_eq!(files.read(false), None);
    }
}
