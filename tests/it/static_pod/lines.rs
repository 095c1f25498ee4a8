//! Lines of journals, logs and events, compared without times, ids and chance.

use std::collections::BTreeSet;

/// Lines that a real node writes in some runs of a case and not in others, and why.
const CHANCE: [(&str, &str); 12] = [
    ("stdout: {\"kind\":\"Event\"", "which requests came last"),
    (
        "pod_container_deletor.go:80",
        "depends on whether the runtime's event or the next sync comes first",
    ),
    (
        "remote_runtime.go:192",
        "the recorder asked the runtime for its version at the same time",
    ),
    (
        "couldn't parse as pod(Object 'Kind' is missing in 'null')",
        "whether a file written in place is read half-written",
    ),
    (
        "manifests/sed",
        "whether the temporary file of sed is read before it is gone",
    ),
    (
        "[core]",
        "gRPC connections that were given up while they were being made",
    ),
    (
        "\"Waiting for caches to sync\" controller=\"node_authorizer\"",
        "another goroutine, which may come too late",
    ),
    (
        "probe failed: HTTP probe failed with statuscode: 500",
        "how slowly the server came up when it was probed",
    ),
    (
        "Startup probe failed: HTTP probe failed with statuscode: 403",
        "how slowly the server came up when it was probed",
    ),
    (
        "read: connection reset by peer",
        "whether the server came up or went down in the middle of a request",
    ),
    (
        "TLS handshake timeout",
        "how slowly the server came up when it was probed",
    ),
    (
        "Readiness probe failed: Get \"https://172.18.0.2:6443/readyz\"",
        "whether a probe meets the port just closed",
    ),
];

/// Whether a line is in the recording, or not, by chance. An empty manifest is no half-written one.
pub(super) fn by_chance(line: &str, title: &str) -> bool {
    if title == "empty manifest file" && line.contains("Object 'Kind'") {
        return false;
    }
    CHANCE.iter().any(|(part, _)| line.contains(part)) && !line.contains("file.go:187")
}

/// A line, how often it came, and when first.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub text: String,
    pub count: u64,
    pub first: f64,
}

/// Lines of one text are one line, in the order of their first appearance.
pub(super) fn fold(lines: impl IntoIterator<Item = (String, u64, f64)>) -> Vec<Line> {
    let mut folded: Vec<Line> = Vec::new();
    for (text, count, first) in lines {
        match folded.iter_mut().find(|line| line.text == text) {
            Some(line) => line.count += count,
            None => folded.push(Line { text, count, first }),
        }
    }
    folded
}

/// Seconds within which the order of two lines is that of goroutines.
const TOGETHER: f64 = 3.0;

/// What two folded lists differ in, and in how many lines they agree.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    pub agree: usize,
    /// `-` a line that is missing, `+` one too many, `#` one that came another number of times,
    /// `^` one that came at another place.
    pub differ: Vec<String>,
}

/// What is said at each look of a pod's worker. Recordings of one back-off have it 2 to 5 times: probe workers that tell
/// at the same moment wake it once or twice, and a relist may come in between or not.
const AT_EACH_LOOK: [&str; 7] = [
    "pod_workers.go:1324",
    "Warning BackOff",
    "kubelet.go:3514",
    "kubelet.go:3497",
    "mirror_client.go:139",
    "event.go:368",
    "util.go:52",
];

/// Counts agree when they are one apart or half more than the other at most; of what is said at each look, twice
/// as many.
fn same_class(text: &str, a: u64, b: u64) -> bool {
    let loose = AT_EACH_LOOK.iter().any(|place| text.contains(place));
    let (more, less) = (a.max(b), a.min(b));
    let most = less + if loose { less } else { less / 2 };
    more - less <= 1 || more <= most
}

/// Lines whose first time is chance: when the runtime lets go of the old container, and when the old pod
/// was synced last, a moment before or after the edit.
const AT_ANY_TIME: [&str; 2] = ["scope.go:122", "kubelet.go:3514"];

/// A line that every pod of the node has a part in.
const OF_OTHER_PODS: &str = "RemoveContainer";

/// What came first in the last seconds before the end of the observation may be cut off on either
/// side.
const CUT_OFF: f64 = 9.0;

/// Compares lists of what came until `end`.
pub(super) fn compare(golden: &[Line], ours: &[Line], end: f64) -> Agreement {
    let mut out = Agreement::default();
    let mut latest = f64::MIN;
    let late = |line: &Line| line.first > end - CUT_OFF;
    for line in ours {
        let Some(other) = golden.iter().find(|other| other.text == line.text) else {
            if !late(line) {
                out.differ.push(format!("+ {}", line.text));
            }
            continue;
        };
        // Other pods of a recorded node had containers too, which are not replayed.
        if line.text.contains(OF_OTHER_PODS) && line.count <= other.count {
            out.agree += 1;
            continue;
        }
        if AT_ANY_TIME.iter().any(|place| line.text.contains(place))
            && same_class(&line.text, line.count, other.count)
        {
            out.agree += 1;
            continue;
        }
        if late(line) || late(other) {
            out.agree += 1;
            continue;
        }
        if !same_class(&line.text, line.count, other.count) {
            out.differ.push(format!(
                "# {} (ours {}, real {})",
                line.text, line.count, other.count
            ));
        } else if other.first + TOGETHER < latest {
            out.differ.push(format!("^ {}", line.text));
        } else {
            out.agree += 1;
        }
        latest = latest.max(other.first);
    }
    for line in golden {
        if !ours.iter().any(|other| other.text == line.text) && !late(line) {
            out.differ.push(format!("- {}", line.text));
        }
    }
    out
}

/// A line without klog's header, ids and times.
pub(super) fn masked(line: &str, uids: &BTreeSet<&str>) -> String {
    let mut line = line.trim_end().to_owned();
    // A klog header, that of journald before it or not.
    if let Some((header, text)) = line.split_once("] ")
        && header.len() < 120
        && header
            .rsplit_once(' ')
            .is_some_and(|(_, place)| place.contains(".go:"))
    {
        let place = header.rsplit_once(' ').map_or("", |(_, place)| place);
        let klog = header
            .rsplit(": ")
            .find_map(|part| part.trim_start().chars().next())
            .unwrap_or(' ');
        line = format!("{klog} {place}] {text}");
    }
    for uid in uids {
        line = line.replace(uid, "<U>");
    }
    for n in 0..12 {
        line = line.replace(&format!("<U{n}>"), "<U>");
        line = line.replace(&format!("<C{n}>"), "<C>");
    }
    line = line.replace("<CID>", "<C>");
    line = pulled_somewhere_else(&line);
    line = event_dump(&line);
    if let (Some(from), Some(to)) = (line.find("permitted until "), line.find(" (durationBefore")) {
        line.replace_range(from..to, "");
    }
    without_hex(&line)
}

/// The recorded node had no network: what it says of a pull that fails is no text of ours. A real
/// registry answers that there is no such tag.
fn pulled_somewhere_else(line: &str) -> String {
    let request = "failed to do request: Head ";
    let end = "i/o timeout";
    match (line.find(request), line.find(end)) {
        (Some(from), Some(to)) if from < to => {
            let mut line = line.to_owned();
            line.replace_range(
                from..to + end.len(),
                "registry.k8s.io/kube-apiserver:v1.36.22: not found",
            );
            line.replace("code = Unknown", "code = NotFound")
        }
        _ => line.to_owned(),
    }
}

/// The dump of an event without its times, the version of its object, and the number in its name.
fn event_dump(line: &str) -> String {
    let mut out = line.to_owned();
    for (start, end) in [
        ("FirstTimestamp:", ","),
        ("LastTimestamp:", ","),
        ("EventTime:", ","),
        ("/events/", ":"),
        ("&Event{ObjectMeta:{", " <nil>"),
    ] {
        let Some(from) = out.find(start).map(|at| at + start.len()) else {
            continue;
        };
        if let Some(length) = out.get(from..).and_then(|rest| rest.find(end)) {
            out.replace_range(from..from + length, "");
        }
    }
    out
}

/// Container ids and UIDs in their hyphenated form.
fn without_hex(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut word = String::new();
    let flush = |word: &mut String, out: &mut String| {
        let hex = word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
        match (hex, word.len()) {
            (true, 64) => out.push_str("<C>"),
            (true, 32 | 36) => out.push_str("<U>"),
            _ => out.push_str(word),
        }
        word.clear();
    };
    for c in line.chars() {
        if c.is_ascii_alphanumeric() || c == '-' {
            word.push(c);
        } else {
            flush(&mut word, &mut out);
            out.push(c);
        }
    }
    flush(&mut word, &mut out);
    out
}
