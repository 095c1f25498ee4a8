//! Rows of workloads and what scales or protects them.

use serde_json::{Value, json};

use super::duration;
use super::words::{Object, plain};

const POD: &str = "/spec/template/spec/containers";

pub(super) fn replica_set(o: Object<'_>) -> Vec<Value> {
    let (names, images) = o.containers(POD);
    // A replication controller's selector is a plain map.
    let selector =
        if o.has("/spec/selector/matchLabels") || o.has("/spec/selector/matchExpressions") {
            o.selector("/spec/selector")
        } else {
            o.labels("/spec/selector")
        };
    vec![
        json!(o.number("/spec/replicas")),
        json!(o.number("/status/replicas")),
        json!(o.number("/status/readyReplicas")),
        o.age(),
        names,
        images,
        selector,
    ]
}

pub(super) fn deployment(o: Object<'_>) -> Vec<Value> {
    let (names, images) = o.containers(POD);
    vec![
        json!(format!(
            "{}/{}",
            o.number("/status/readyReplicas"),
            o.number("/spec/replicas")
        )),
        json!(o.number("/status/updatedReplicas")),
        json!(o.number("/status/availableReplicas")),
        o.age(),
        names,
        images,
        o.selector("/spec/selector"),
    ]
}

pub(super) fn stateful_set(o: Object<'_>) -> Vec<Value> {
    let (names, images) = o.containers(POD);
    vec![
        json!(format!(
            "{}/{}",
            o.number("/status/readyReplicas"),
            o.number("/spec/replicas")
        )),
        o.age(),
        names,
        images,
    ]
}

pub(super) fn daemon_set(o: Object<'_>) -> Vec<Value> {
    let (names, images) = o.containers(POD);
    vec![
        json!(o.number("/status/desiredNumberScheduled")),
        json!(o.number("/status/currentNumberScheduled")),
        json!(o.number("/status/numberReady")),
        json!(o.number("/status/updatedNumberScheduled")),
        json!(o.number("/status/numberAvailable")),
        o.labels("/spec/template/spec/nodeSelector"),
        o.age(),
        names,
        images,
        o.selector("/spec/selector"),
    ]
}

pub(super) fn controller_revision(o: Object<'_>) -> Vec<Value> {
    let controller = o
        .objects("/metadata/ownerReferences")
        .find(|owner| owner.flag("/controller"))
        .map_or_else(
            || "<none>".to_owned(),
            |owner| {
                let kind = owner.text("/kind").to_lowercase();
                let name = owner.text("/name");
                match owner.text("/apiVersion").split_once('/') {
                    Some((group, _)) => format!("{kind}.{group}/{name}"),
                    None => format!("{kind}/{name}"),
                }
            },
        );
    vec![json!(controller), json!(o.number("/revision")), o.age()]
}

pub(super) fn job(o: Object<'_>) -> Vec<Value> {
    let (names, images) = o.containers(POD);
    let is = |kind: &str| o.condition(kind) == Some("True");
    let status = if is("Complete") {
        "Complete"
    } else if is("Failed") {
        "Failed"
    } else if o.has("/metadata/deletionTimestamp") {
        "Terminating"
    } else if is("Suspended") {
        "Suspended"
    } else if is("FailureTarget") {
        "FailureTarget"
    } else if is("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let succeeded = o.number("/status/succeeded");
    let completions = if o.has("/spec/completions") {
        format!("{succeeded}/{}", o.number("/spec/completions"))
    } else if o.number("/spec/parallelism") > 1 {
        format!("{succeeded}/1 of {}", o.number("/spec/parallelism"))
    } else {
        format!("{succeeded}/1")
    };
    let start = o.text("/status/startTime");
    let end = o.text("/status/completionTime");
    let took = match (start, end) {
        ("", _) => String::new(),
        (start, "") => duration::since(start),
        (start, end) => duration::between(start, end),
    };
    vec![
        json!(status),
        json!(completions),
        json!(took),
        o.age(),
        names,
        images,
        o.selector("/spec/selector"),
    ]
}

pub(super) fn cron_job(o: Object<'_>) -> Vec<Value> {
    let (names, images) = o.containers("/spec/jobTemplate/spec/template/spec/containers");
    let last = match o.text("/status/lastScheduleTime") {
        "" => "<none>".to_owned(),
        time => duration::since(time),
    };
    vec![
        json!(o.text("/spec/schedule")),
        json!(o.text_or("/spec/timeZone", "<none>")),
        json!(match o.0.pointer("/spec/suspend") {
            Some(Value::Bool(true)) => "True",
            Some(Value::Bool(false)) => "False",
            _ => "<unset>",
        }),
        json!(o.count("/status/active")),
        json!(last),
        o.age(),
        names,
        images,
        o.selector("/spec/jobTemplate/spec/selector"),
    ]
}

pub(super) fn pod_template(o: Object<'_>) -> Vec<Value> {
    let (names, images) = o.containers("/template/spec/containers");
    vec![names, images, o.labels("/template/metadata/labels")]
}

pub(super) fn autoscaler(o: Object<'_>) -> Vec<Value> {
    let reference = format!(
        "{}/{}",
        o.text("/spec/scaleTargetRef/kind"),
        o.text("/spec/scaleTargetRef/name")
    );
    let least = match o.0.pointer("/spec/minReplicas") {
        Some(least) if !least.is_null() => plain(least),
        _ => "<unset>".to_owned(),
    };
    vec![
        json!(reference),
        json!(targets(o)),
        json!(least),
        json!(o.number("/spec/maxReplicas")),
        json!(o.number("/status/currentReplicas")),
        o.age(),
    ]
}

/// `cpu: 10%/80%` and so on (`formatHPAMetrics`).
fn targets(o: Object<'_>) -> String {
    if o.has("/spec/targetCPUUtilizationPercentage") {
        let current = match o.0.pointer("/status/currentCPUUtilizationPercentage") {
            Some(current) if !current.is_null() => format!("{current}%"),
            _ => "<unknown>".to_owned(),
        };
        return format!(
            "cpu: {current}/{}%",
            o.number("/spec/targetCPUUtilizationPercentage")
        );
    }
    let all: Vec<String> = o
        .objects("/spec/metrics")
        .enumerate()
        .map(|(index, metric)| {
            let current = o.list("/status/currentMetrics").get(index);
            target(metric, current.map(Object))
        })
        .collect();
    match all.as_slice() {
        [] => "<none>".to_owned(),
        [first, second, rest @ ..] if !rest.is_empty() => {
            format!("{first}, {second} + {} more...", rest.len())
        }
        few => few.join(", "),
    }
}

fn target(metric: Object<'_>, current: Option<Object<'_>>) -> String {
    let (source, label) = match metric.text("/type") {
        "Resource" => ("/resource", metric.text("/resource/name")),
        "ContainerResource" => ("/containerResource", metric.text("/containerResource/name")),
        "Pods" => ("/pods", ""),
        "Object" => ("/object", ""),
        "External" => ("/external", ""),
        _ => return "<unknown type>".to_owned(),
    };
    let now = |field: &str| {
        current
            .and_then(|c| c.0.pointer(&format!("{source}/current/{field}")))
            .filter(|value| !value.is_null())
    };
    let want = |field: &str| metric.0.pointer(&format!("{source}/target/{field}"));
    let text = if let Some(percent) = want("averageUtilization") {
        let now = now("averageUtilization")
            .map_or_else(|| "<unknown>".to_owned(), |value| format!("{value}%"));
        format!("{now}/{percent}%")
    } else if let Some(average) = want("averageValue") {
        let now = now("averageValue").map_or_else(|| "<unknown>".to_owned(), plain);
        let suffix = if label.is_empty() && source != "/pods" {
            " (avg)"
        } else {
            ""
        };
        format!("{now}/{}{suffix}", plain(average))
    } else {
        let now = now("value").map_or_else(|| "<unknown>".to_owned(), plain);
        format!("{now}/{}", want("value").map(plain).unwrap_or_default())
    };
    if label.is_empty() {
        text
    } else {
        format!("{label}: {text}")
    }
}

pub(super) fn disruption_budget(o: Object<'_>) -> Vec<Value> {
    let or_none = |pointer: &str| match o.0.pointer(pointer) {
        Some(value) if !value.is_null() => plain(value),
        _ => "N/A".to_owned(),
    };
    vec![
        json!(or_none("/spec/minAvailable")),
        json!(or_none("/spec/maxUnavailable")),
        json!(o.number("/status/disruptionsAllowed")),
        o.age(),
    ]
}

/// The scale of a workload.
pub(super) fn scale(o: Object<'_>) -> Vec<Value> {
    vec![
        o.number("/spec/replicas").into(),
        o.number("/status/replicas").into(),
        o.age(),
    ]
}

/// Columns of scales, which are no resources of their own (`printScale` of `pkg/printers/internalversion`).
pub(super) fn scale_columns() -> Value {
    let column = |name: &str, ty: &str, description: &str| json!({"name": name, "type": ty, "format": "", "description": description, "priority": 0});
    json!([
        column(
            "Name",
            "string",
            "Name must be unique within a namespace. Is required when creating resources, although some resources may allow a client to request the generation of an appropriate name automatically. Name is primarily intended for creation idempotence and configuration definition. Cannot be updated. More info: https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names",
        ),
        column(
            "Desired",
            "integer",
            "replicas is the desired number of instances for the scaled object.",
        ),
        column(
            "Available",
            "integer",
            "replicas is the actual number of observed instances of the scaled object.",
        ),
        column(
            "Age",
            "string",
            "CreationTimestamp is a timestamp representing the server time when this object was created. It is not guaranteed to be set in happens-before order across separate operations. Clients may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by the system. Read-only. Null for lists. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata",
        ),
    ])
}
