//! What differs between two runs of the same commands on the same server, masked.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::Value;

/// Patterns of values that are never the same twice, and what they become.
const VOLATILE: &[(&str, &str)] = &[
    (
        r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
        "<uid>",
    ),
    (
        r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?Z",
        "<time>",
    ),
    (
        r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} ([+-][0-9]{4}|GMT)",
        "<time>",
    ),
    (
        r"eyJ[A-Za-z0-9_=-]+\.[A-Za-z0-9_=-]+\.?[A-Za-z0-9_=-]*",
        "<token>",
    ),
    (
        r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----",
        "<certificate>",
    ),
    (r"LS0tLS1CRUdJTi[A-Za-z0-9+/=]*", "<certificate>"),
    (r"MII[A-Za-z0-9+/=]{20,}", "<certificate>"),
    (r"X509SHA256=[0-9a-f]{64}", "X509SHA256=<hash>"),
    (r"hash=[0-9A-F]{32,}", "hash=<hash>"),
    (r"apiserver-[a-z2-7]{26}", "apiserver-<hash of the host>"),
    (r"\b(vm|controlplane)_<uid>", "<host>_<uid>"),
    (r"current: [0-9]+", "current: <rv>"),
    (
        r#"openapi/v3([^ ]*)" response="304""#,
        r#"openapi/v3$1" response="200""#,
    ),
    (r"timeoutSeconds=[0-9]{3}\b", "timeoutSeconds=<random>"),
    (
        r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)? \+0000",
        "<time>",
    ),
    (
        r"default-scheduler-(vm|controlplane)",
        "default-scheduler-<host>",
    ),
    (
        r"fieldSelector=involvedObject[^&]*&limit",
        "fieldSelector=<fields of the involved object in any order>&limit",
    ),
    (r"continue=[A-Za-z0-9_%-]+", "continue=<token>"),
    (r"resourceVersion=[0-9]{1,6}\b", "resourceVersion=<rv>"),
    (
        r#""resourceVersion": ?"[0-9]{1,6}""#,
        r#""resourceVersion":"<rv>""#,
    ),
    (r#"resourceVersion: "[0-9]{1,6}""#, "resourceVersion: <rv>"),
    (r"Resource Version: +[0-9]+", "Resource Version: <rv>"),
    (
        r"-[0-9a-f]{6,10}-[bcdfghjklmnpqrstvwxz2456789]{5}\b",
        "-<hash>-<name>",
    ),
    (r"\b(pod-template-hash[=:] ?)[0-9a-z]+", "$1<hash>"),
    (r"\b(api|psd)-[0-9a-z]{8,10}\b", "$1-<hash>"),
    (
        r"\b(gen|kube-api-access|debugger|once|node-debugger|tick|api|ephemeral)-[bcdfghjklmnpqrstvwxz2456789]{5}\b",
        "$1-<name>",
    ),
    (r"\b10\.(9[6-9]|1[01][0-9])\.[0-9]+\.[0-9]+\b", "<ip>"),
    (r"\b3[0-2][0-9]{3}/TCP", "<port>/TCP"),
    (r"\.[0-9a-f]{16}\b", ".<time>"),
    (r"kubernetes/[0-9a-f]{7}\b", "kubernetes/<commit>"),
    (r"v1\.36\.[0-9]+", "v1.36.x"),
    (r"curl/[0-9.]+", "curl/<version>"),
    (r"[EWI][0-9]{4} [0-9:.]{15} +[0-9]+ ", "E<time> <pid> "),
    (r"/(LIVE|MERGED)-[0-9]+", "/$1-<name>"),
    (r"/[^ ]*ckslab-events-[A-Za-z0-9]+/home/", "/tmp/"),
    (r"kubectl-edit-[0-9]+", "kubectl-edit-<name>"),
];

static MASKS: LazyLock<Vec<(Regex, &str)>> = LazyLock::new(|| {
    VOLATILE
        .iter()
        .map(|(pattern, mask)| {
            (
                Regex::new(&pattern.replace(r"\b", r"(?-u:\b)")).unwrap(),
                *mask,
            )
        })
        .collect()
});

static AGE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(
        r"(?-u:\b)(<invalid>|([0-9]+[smhd]){1,2})( ago)?( \((x[0-9]+ over )?[0-9smhd]+\))?(?-u:\b)",
    )
    .unwrap()
});

static BLANKS: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[ \t]+").unwrap());

pub(super) fn text(raw: &str) -> String {
    let mut out = raw.to_owned();
    for (pattern, mask) in MASKS.iter() {
        if pattern.is_match(&out) {
            out = pattern.replace_all(&out, *mask).into_owned();
        }
    }
    out
}

/// What a command printed: columns are as wide as what is in them, and objects have an age.
pub(super) fn printed(raw: &str) -> String {
    let masked = text(raw);
    let masked = AGE.replace_all(&masked, "<age>");
    BLANKS.replace_all(&masked, " ").replace(" \n", "\n")
}

/// The volatile part of an entry replaced.
pub(super) fn entry(line: &str) -> Value {
    let Ok(mut value) = serde_json::from_str::<Value>(line) else {
        // The legacy format.
        let rest = line.split_once(" AUDIT: ").map_or(line, |(_, rest)| rest);
        return Value::String(text(rest));
    };
    let fields = value.as_object_mut().unwrap();
    fields.shift_remove("requestReceivedTimestamp");
    fields.shift_remove("stageTimestamp");
    // The client has the document in its cache, or not any more.
    if text_of(fields.get("requestURI")).starts_with("/openapi/v3")
        && let Some(code) = fields
            .get_mut("responseStatus")
            .and_then(|status| status.get_mut("code"))
        && *code == 304
    {
        *code = 200.into();
    }
    if let Some(annotations) = fields.get_mut("annotations").and_then(Value::as_object_mut) {
        annotations.retain(|name, _| !name.starts_with("apiserver.latency.k8s.io/"));
    }
    mask(&mut value, "");
    value
}

fn text_of(value: Option<&Value>) -> &str {
    value.and_then(Value::as_str).unwrap_or_default()
}

fn mask(value: &mut Value, name: &str) {
    match value {
        Value::String(raw) => {
            if name == "resourceVersion"
                && raw.parse::<u64>().is_ok_and(|n| (1..900_000).contains(&n))
            {
                *raw = "<rv>".to_owned();
            } else if name == "continue" || name == "pod-template-hash" {
                *raw = format!("<{name}>");
            } else {
                *raw = match name {
                    "kubernetes.io/hostname" => "<host>".to_owned(),
                    "cells" => printed(raw),
                    _ => text(raw),
                };
            }
        }
        Value::Number(_) if name == "nodePort" => *value = "<port>".into(),
        Value::Number(_) if name == "remainingItemCount" => *value = "<count>".into(),
        Value::Array(items) => {
            for item in items.iter_mut() {
                mask(item, name);
            }
            // The components are asked all at once.
            if name == "rows" && items.iter().any(|row| row["cells"][0] == "etcd-0") {
                items.sort_by_key(Value::to_string);
            }
            if name == "managedFields"
                || name == "rules"
                || name.ends_with("ResourceRules")
                || name == "resourceRules"
            {
                items.sort_by_key(Value::to_string);
            }
        }
        Value::Object(fields) => {
            if text_of(fields.get("path")) == "/metadata/resourceVersion" {
                fields.insert("value".to_owned(), "<rv>".into());
            }
            *fields = std::mem::take(fields)
                .into_iter()
                .map(|(key, mut value)| {
                    mask(&mut value, &key);
                    (text(&key), value)
                })
                .collect();
        }
        _ => {}
    }
}

/// Differences of two masked values, by path.
pub(super) fn differences(want: &Value, got: &Value, path: &str, out: &mut Vec<String>) {
    let brief = |value: &Value| value.to_string().chars().take(300).collect::<String>();
    match (want, got) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in a {
                match b.get(key) {
                    Some(other) => differences(value, other, &format!("{path}.{key}"), out),
                    None => out.push(format!("{path}.{key}: missing (want {})", brief(value))),
                }
            }
            for (key, value) in b.iter().filter(|(key, _)| !a.contains_key(*key)) {
                out.push(format!("{path}.{key}: surplus {}", brief(value)));
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                out.push(format!("{path}: {} elements, want {}", b.len(), a.len()));
            }
            for (i, (x, y)) in a.iter().zip(b).enumerate() {
                differences(x, y, &format!("{path}[{i}]"), out);
            }
        }
        (a, b) if a == b => {}
        // Any of the bindings that allow may be named.
        (Value::String(a), Value::String(b))
            if path.ends_with("authorization.k8s.io/reason")
                && [a, b].iter().all(|reason| is_one_of_many(reason)) => {}
        (a, b) => out.push(format!("{path}: got {} want {}", brief(b), brief(a))),
    }
}

fn is_one_of_many(reason: &str) -> bool {
    [
        "system:discovery",
        "system:public-info-viewer",
        "system:basic-user",
        "kubeadm:cluster-admins",
    ]
    .iter()
    .any(|binding| {
        reason.starts_with(&format!(
            "RBAC: allowed by ClusterRoleBinding \"{binding}\""
        ))
    })
}
