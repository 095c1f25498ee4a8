//! Logs of containers (`pkg/registry/core/pod/rest/log.go`): of the static pods from their real log files,
//! of simulated containers what their image would print.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::Value;

use super::pod::{
    bad_request, container, find, is_running, kubelet_address, kubelet_runs, refused,
};
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult, Body};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::kinds::field::{FieldError, Reason, invalid_status};
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

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
pub(super) fn serve(state: &Arc<ApiState>, request: &ApiRequest) -> ApiResult {
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
    let lines = match stored_lines(state, &pod, &container, options.previous) {
        Some(lines) => lines,
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
        None => simulated_lines(&pod, &container),
    };
    let text = render(&lines, &options);
    let body = if options.follow && is_running(&pod, &container) {
        follow(state, text)
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

/// The log so far, then open until the client or the server ends it.
fn follow(state: &Arc<ApiState>, text: String) -> Body {
    let shutdown = state.shutdown.clone();
    let first = futures_util::stream::once(async move { Bytes::from(text) });
    let rest = futures_util::stream::once(async move {
        shutdown.cancelled().await;
        Bytes::new()
    });
    Body::Stream {
        content_type: "text/plain".to_owned(),
        chunks: Box::pin(futures_util::StreamExt::chain(first, rest)),
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
    if let Some(limit) = options.limit.and_then(|limit| usize::try_from(limit).ok())
        && text.len() > limit
    {
        let mut end = limit;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    text
}

/// Lines of the log files the container runtime wrote; only static pods have them.
fn stored_lines(
    state: &Arc<ApiState>,
    pod: &Value,
    container: &str,
    previous: bool,
) -> Option<Vec<Line>> {
    // A mirror pod's files are under the uid of the static pod.
    let uid = pod
        .pointer("/metadata/annotations/kubernetes.io~1config.mirror")?
        .as_str()?;
    let directory = state
        .machine
        .node_root
        .join("var/log/pods")
        .join(format!(
            "{}_{}_{uid}",
            text_at(pod, "/metadata/namespace"),
            text_at(pod, "/metadata/name")
        ))
        .join(container);
    let mut numbers: Vec<u32> = std::fs::read_dir(&directory)
        .ok()?
        .filter_map(|entry| {
            entry
                .ok()?
                .file_name()
                .to_str()?
                .strip_suffix(".log")?
                .parse()
                .ok()
        })
        .collect();
    numbers.sort_unstable();
    if previous {
        numbers.pop();
    }
    let newest = numbers.pop()?;
    let text = std::fs::read(directory.join(format!("{newest}.log"))).ok()?;
    let text = String::from_utf8_lossy(&text);
    Some(
        text.lines()
            .filter_map(|line| {
                // `TIME STREAM TAG TEXT`, as the container runtime writes.
                let mut parts = line.splitn(4, ' ');
                let time = parts.next()?.to_owned();
                Some((time, parts.nth(2).unwrap_or_default().to_owned()))
            })
            .collect(),
    )
}

fn has_ended(pod: &Value, container: &str) -> bool {
    ["containerStatuses", "initContainerStatuses"]
        .iter()
        .flat_map(|list| items(pod, &format!("/status/{list}")))
        .any(|status| {
            text_at(status, "/name") == container && status.pointer("/state/terminated").is_some()
        })
}

/// What a container of this image and command would have printed by now.
fn simulated_lines(pod: &Value, container: &str) -> Vec<Line> {
    let started = text_at(pod, "/status/startTime");
    let time = started.replace('Z', ".104208715Z");
    let spec = ["containers", "initContainers", "ephemeralContainers"]
        .iter()
        .flat_map(|list| items(pod, &format!("/spec/{list}")))
        .find(|spec| text_at(spec, "/name") == container);
    let Some(spec) = spec else {
        return Vec::new();
    };
    let image = text_at(spec, "/image");
    let words: Vec<&str> = items(spec, "/command")
        .iter()
        .chain(items(spec, "/args"))
        .filter_map(Value::as_str)
        .collect();
    let texts: Vec<String> = if !words.is_empty() && !image.contains("coredns") {
        super::shell::printed(&words)
    } else if image.contains("nginx") {
        vec![
            "/docker-entrypoint.sh: /docker-entrypoint.d/ is not empty, will attempt to perform configuration".to_owned(),
            "/docker-entrypoint.sh: Looking for shell scripts in /docker-entrypoint.d/".to_owned(),
            "/docker-entrypoint.sh: Configuration complete; ready for start up".to_owned(),
            format!("{} [notice] 1#1: using the \"epoll\" event method", started.replace('-', "/").replace(['T', 'Z'], " ").trim_end()),
            format!("{} [notice] 1#1: start worker processes", started.replace('-', "/").replace(['T', 'Z'], " ").trim_end()),
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
    texts.into_iter().map(|text| (time.clone(), text)).collect()
}
