//! Workloads (`pkg/apis/{apps,batch}/validation/validation.go`).

use serde_json::{Map, Value, json};

use super::{Errors, pod};
use crate::node::embedded::apiserver::kinds::edit::text_at;
use crate::node::embedded::apiserver::kinds::selector;

/// Selector and template of a workload; `kind` is how its texts call it.
fn selector_and_template(new: &Value, kind: &str, supported: &str, e: &mut Errors) {
    let chosen = new
        .pointer("/spec/selector")
        .filter(|value| !value.is_null());
    let template = new.pointer("/spec/template");
    let empty = json!({});
    let valid = match chosen {
        None => {
            e.required("spec.selector", "");
            true
        }
        Some(chosen) => {
            let valid = super::selector(Some(chosen), "spec.selector", e);
            if chosen == &empty {
                e.invalid(
                    "spec.selector",
                    chosen,
                    format!("empty selector is invalid for {kind}"),
                );
            }
            if !valid {
                e.invalid("spec.selector", chosen, "invalid label selector");
            }
            valid
        }
    };
    if !valid {
        return;
    }
    let labels = template.and_then(|template| template.pointer("/metadata/labels"));
    // Without a selector nothing is selected, the template least of all.
    let matches =
        chosen.is_some_and(|chosen| chosen == &empty || selector::matches(chosen, labels));
    if !matches {
        let shown = labels.cloned().unwrap_or(Value::Null);
        e.invalid(
            "spec.template.metadata.labels",
            &shown,
            "`selector` does not match template `labels`",
        );
    }
    pod::template(template, "spec.template", e);
    let policy = text_at(new, "/spec/template/spec/restartPolicy");
    if matches!(policy, "OnFailure" | "Never") {
        e.not_supported(
            "spec.template.spec.restartPolicy",
            &policy.into(),
            &["Always"],
        );
    }
    if new
        .pointer("/spec/template/spec/activeDeadlineSeconds")
        .is_some_and(|value| !value.is_null())
    {
        e.forbidden(
            "spec.template.spec.activeDeadlineSeconds",
            format!("activeDeadlineSeconds in {supported} is not Supported"),
        );
    }
}

fn is_zero(value: Option<&Value>) -> bool {
    match value {
        Some(Value::String(text)) => text == "0%" || text == "0",
        Some(value) => value.as_i64() == Some(0),
        None => true,
    }
}

/// Deployments.
pub fn deployment(old: Option<&Value>, new: &Value, e: &mut Errors) {
    e.not_negative("spec.replicas", new.pointer("/spec/replicas"));
    selector_and_template(new, "deployment", "ReplicaSet", e);
    match text_at(new, "/spec/strategy/type") {
        "Recreate" => {
            if new
                .pointer("/spec/strategy/rollingUpdate")
                .is_some_and(|value| !value.is_null())
            {
                e.forbidden(
                    "spec.strategy.rollingUpdate",
                    "may not be specified when strategy `type` is 'Recreate'",
                );
            }
        }
        "RollingUpdate" => {
            let rolling = |key: &str| new.pointer(&format!("/spec/strategy/rollingUpdate/{key}"));
            for key in ["maxUnavailable", "maxSurge"] {
                int_or_percent(
                    &format!("spec.strategy.rollingUpdate.{key}"),
                    rolling(key),
                    e,
                );
            }
            if is_zero(rolling("maxUnavailable")) && is_zero(rolling("maxSurge")) {
                let shown = rolling("maxUnavailable").cloned().unwrap_or_default();
                e.invalid(
                    "spec.strategy.rollingUpdate.maxUnavailable",
                    &shown,
                    "may not be 0 when `maxSurge` is 0",
                );
            }
        }
        other => {
            let rolling = new
                .pointer("/spec/strategy/rollingUpdate")
                .cloned()
                .unwrap_or_default();
            let shown = json!({"Type": other, "RollingUpdate": rolling});
            e.not_supported("spec.strategy", &shown, &["Recreate", "RollingUpdate"]);
        }
    }
    e.not_negative("spec.minReadySeconds", new.pointer("/spec/minReadySeconds"));
    e.not_negative(
        "spec.revisionHistoryLimit",
        new.pointer("/spec/revisionHistoryLimit"),
    );
    e.not_negative(
        "spec.progressDeadlineSeconds",
        new.pointer("/spec/progressDeadlineSeconds"),
    );
    if let (Some(deadline), Some(ready)) = (
        new.pointer("/spec/progressDeadlineSeconds"),
        new.pointer("/spec/minReadySeconds"),
    ) && deadline.as_i64() <= ready.as_i64()
        && ready.as_i64() >= Some(0)
        && deadline.as_i64() >= Some(0)
    {
        e.invalid(
            "spec.progressDeadlineSeconds",
            deadline,
            "must be greater than minReadySeconds",
        );
    }
    if let Some(old) = old {
        e.immutable(
            "spec.selector",
            old.pointer("/spec/selector"),
            new.pointer("/spec/selector"),
        );
    }
}

fn int_or_percent(path: &str, value: Option<&Value>, e: &mut Errors) {
    match value {
        Some(Value::String(text)) => {
            let number = text
                .strip_suffix('%')
                .and_then(|digits| digits.parse::<u64>().ok());
            match number {
                None => e.invalid(
                    path,
                    &text.as_str().into(),
                    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                ),
                Some(number) if number > 100 => {
                    e.invalid(path, &text.as_str().into(), "must not be greater than 100%");
                }
                Some(_) => {}
            }
        }
        Some(value) => e.not_negative(path, Some(value)),
        None => {}
    }
}

/// Replica sets.
pub fn replica_set(old: Option<&Value>, new: &Value, e: &mut Errors) {
    e.not_negative("spec.replicas", new.pointer("/spec/replicas"));
    e.not_negative("spec.minReadySeconds", new.pointer("/spec/minReadySeconds"));
    selector_and_template(new, "deployment", "ReplicaSet", e);
    if let Some(old) = old {
        e.immutable(
            "spec.selector",
            old.pointer("/spec/selector"),
            new.pointer("/spec/selector"),
        );
    }
}

/// Replication controllers.
pub fn replication_controller(new: &Value, e: &mut Errors) {
    e.not_negative("spec.minReadySeconds", new.pointer("/spec/minReadySeconds"));
    let chosen = new.pointer("/spec/selector").and_then(Value::as_object);
    if chosen.is_none_or(Map::is_empty) {
        e.required("spec.selector", "");
    }
    e.not_negative("spec.replicas", new.pointer("/spec/replicas"));
    match new
        .pointer("/spec/template")
        .filter(|template| template.is_object())
    {
        None => e.required("spec.template", ""),
        Some(template) => {
            let labels = template.pointer("/metadata/labels");
            let selector = new.pointer("/spec/selector").cloned().unwrap_or_default();
            if chosen.is_some_and(|map| !map.is_empty())
                && !selector::map_matches(&selector, labels)
            {
                let shown = labels.cloned().unwrap_or_default();
                e.invalid(
                    "spec.template.metadata.labels",
                    &shown,
                    "`selector` does not match template `labels`",
                );
            }
            pod::template(Some(template), "spec.template", e);
        }
    }
}

/// Daemon sets.
pub fn daemon_set(old: Option<&Value>, new: &Value, e: &mut Errors) {
    if let Some(old) = old {
        e.immutable(
            "spec.selector",
            old.pointer("/spec/selector"),
            new.pointer("/spec/selector"),
        );
    }
    selector_and_template(new, "daemonset", "DaemonSet", e);
    e.not_negative("spec.minReadySeconds", new.pointer("/spec/minReadySeconds"));
    match text_at(new, "/spec/updateStrategy/type") {
        "OnDelete" => {}
        "RollingUpdate" => {
            let rolling =
                |key: &str| new.pointer(&format!("/spec/updateStrategy/rollingUpdate/{key}"));
            if is_zero(rolling("maxUnavailable")) && is_zero(rolling("maxSurge")) {
                e.required(
                    "spec.updateStrategy.rollingUpdate.maxUnavailable",
                    "cannot be 0 when maxSurge is 0",
                );
            }
        }
        other => e.not_supported(
            "spec.updateStrategy",
            &json!({"Type": other, "RollingUpdate": null}),
            &["OnDelete", "RollingUpdate"],
        ),
    }
    e.not_negative(
        "spec.revisionHistoryLimit",
        new.pointer("/spec/revisionHistoryLimit"),
    );
}

/// Stateful sets.
pub fn stateful_set(old: Option<&Value>, new: &Value, e: &mut Errors) {
    if let Some(old) = old {
        let fixed = |object: &Value| {
            let mut spec = object.get("spec").cloned().unwrap_or_default();
            if let Some(fields) = spec.as_object_mut() {
                for key in [
                    "replicas",
                    "ordinals",
                    "template",
                    "updateStrategy",
                    "revisionHistoryLimit",
                    "persistentVolumeClaimRetentionPolicy",
                    "minReadySeconds",
                ] {
                    fields.shift_remove(key);
                }
            }
            spec
        };
        if fixed(old) != fixed(new) {
            e.forbidden("spec", "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden");
            return;
        }
    }
    e.one_of(
        "spec.podManagementPolicy",
        new.pointer("/spec/podManagementPolicy"),
        &["OrderedReady", "Parallel"],
    );
    match text_at(new, "/spec/updateStrategy/type") {
        "OnDelete" => {}
        "RollingUpdate" => e.not_negative(
            "spec.updateStrategy.rollingUpdate.partition",
            new.pointer("/spec/updateStrategy/rollingUpdate/partition"),
        ),
        other => e.invalid(
            "spec.updateStrategy",
            &json!({"Type": other, "RollingUpdate": null}),
            "must be 'RollingUpdate' or 'OnDelete'",
        ),
    }
    for key in ["whenDeleted", "whenScaled"] {
        e.one_of(
            &format!("spec.persistentVolumeClaimRetentionPolicy.{key}"),
            new.pointer(&format!("/spec/persistentVolumeClaimRetentionPolicy/{key}")),
            &["Retain", "Delete"],
        );
    }
    e.not_negative("spec.replicas", new.pointer("/spec/replicas"));
    e.not_negative("spec.minReadySeconds", new.pointer("/spec/minReadySeconds"));
    selector_and_template(new, "statefulset", "StatefulSet", e);
}

/// Jobs.
pub fn job(old: Option<&Value>, new: &Value, e: &mut Errors) {
    if old.is_none() {
        generated_selector(new, e);
    }
    job_spec(new.get("spec"), "spec", e);
    if let Some(old) = old {
        for key in ["completions", "selector", "completionMode"] {
            let pointer = format!("/spec/{key}");
            e.immutable(
                &format!("spec.{key}"),
                old.pointer(&pointer),
                new.pointer(&pointer),
            );
        }
        let template = |object: &Value| object.pointer("/spec/template").cloned();
        let suspended = old.pointer("/spec/suspend") == Some(&Value::Bool(true));
        if template(old) != template(new) && !suspended {
            let shown = template(new).unwrap_or_default();
            e.invalid("spec.template", &shown, "field is immutable");
        }
    }
}

fn generated_selector(new: &Value, e: &mut Errors) {
    if new.pointer("/spec/manualSelector") == Some(&Value::Bool(true)) {
        return;
    }
    let uid = text_at(new, "/metadata/uid");
    let expected = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    let own = new.pointer("/spec/selector").cloned().unwrap_or_default();
    if own != expected {
        e.invalid("spec.selector", &own, "`selector` not auto-generated");
    }
}

fn job_spec(spec: Option<&Value>, path: &str, e: &mut Errors) {
    let empty = Value::Null;
    let spec = spec.unwrap_or(&empty);
    for key in [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
    ] {
        e.not_negative(&format!("{path}.{key}"), spec.get(key));
    }
    e.one_of(
        &format!("{path}.completionMode"),
        spec.get("completionMode"),
        &["NonIndexed", "Indexed"],
    );
    let labels = spec.pointer("/template/metadata/labels");
    if let Some(chosen) = spec.get("selector")
        && !selector::matches(chosen, labels)
    {
        let shown = labels.cloned().unwrap_or_default();
        e.invalid(
            &format!("{path}.template.metadata.labels"),
            &shown,
            "`selector` does not match template `labels`",
        );
    }
    pod::template(spec.get("template"), &format!("{path}.template"), e);
    match text_at(spec, "/template/spec/restartPolicy") {
        "OnFailure" | "Never" => {}
        "" | "Always" => e.required(
            &format!("{path}.template.spec.restartPolicy"),
            "valid values: \"OnFailure\", \"Never\"",
        ),
        other => e.not_supported(
            &format!("{path}.template.spec.restartPolicy"),
            &other.into(),
            &["OnFailure", "Never"],
        ),
    }
}

/// Cron jobs.
pub fn cron_job(new: &Value, e: &mut Errors) {
    let schedule = text_at(new, "/spec/schedule");
    if schedule.is_empty() {
        e.required("spec.schedule", "");
    } else if schedule.contains("TZ=") {
        e.invalid(
            "spec.schedule",
            &schedule.into(),
            "cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
        );
    } else if let Some(problem) = schedule_error(schedule) {
        e.invalid("spec.schedule", &schedule.into(), problem);
    }
    e.not_negative(
        "spec.startingDeadlineSeconds",
        new.pointer("/spec/startingDeadlineSeconds"),
    );
    e.one_of(
        "spec.concurrencyPolicy",
        new.pointer("/spec/concurrencyPolicy"),
        &["Allow", "Forbid", "Replace"],
    );
    for key in ["successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        e.not_negative(&format!("spec.{key}"), new.pointer(&format!("/spec/{key}")));
    }
    job_spec(
        new.pointer("/spec/jobTemplate/spec"),
        "spec.jobTemplate.spec",
        e,
    );
    let own = text_at(new, "/metadata/name");
    if own.len() > 52 {
        e.invalid(
            "metadata.name",
            &own.into(),
            "must be no more than 52 characters",
        );
    }
}

/// What robfig/cron says of a schedule.
fn schedule_error(schedule: &str) -> Option<String> {
    if schedule.starts_with('@') {
        let known = [
            "@yearly",
            "@annually",
            "@monthly",
            "@weekly",
            "@daily",
            "@midnight",
            "@hourly",
        ];
        return (!known.contains(&schedule) && !schedule.starts_with("@every "))
            .then(|| format!("unrecognized descriptor: {schedule}"));
    }
    let fields: Vec<&str> = schedule.split_whitespace().collect();
    if fields.len() != 5 {
        return Some(format!(
            "expected exactly 5 fields, found {}: [{}]",
            fields.len(),
            fields.join(" ")
        ));
    }
    let bounds = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 6)];
    fields.iter().zip(bounds).find_map(|(field, (low, high))| {
        field
            .split(',')
            .find_map(|part| range_error(part, low, high))
    })
}

fn range_error(part: &str, low: u32, high: u32) -> Option<String> {
    let (range, step) = part
        .split_once('/')
        .map_or((part, None), |(range, step)| (range, Some(step)));
    if let Some(step) = step {
        match step.parse::<u32>() {
            Ok(0) => return Some(format!("step of range should be a positive number: {part}")),
            Ok(_) => {}
            Err(_) => {
                return Some(format!(
                    "failed to parse int from {step}: strconv.Atoi: parsing \"{step}\": invalid syntax"
                ));
            }
        }
    }
    if matches!(range, "*" | "?") {
        return None;
    }
    let number = |text: &str| -> Result<u32, String> {
        let names = [
            "sun", "mon", "tue", "wed", "thu", "fri", "sat", "jan", "feb", "mar", "apr", "may",
            "jun", "jul", "aug", "sep", "oct", "nov", "dec",
        ];
        if names.contains(&text.to_lowercase().as_str()) {
            return Ok(low);
        }
        text.parse::<u32>().map_err(|_| {
            format!(
                "failed to parse int from {text}: strconv.Atoi: parsing \"{text}\": invalid syntax"
            )
        })
    };
    let (from, to) = range.split_once('-').unwrap_or((range, range));
    let (from, to) = match (number(from), number(to)) {
        (Ok(from), Ok(to)) => (
            from,
            if step.is_some() && !range.contains('-') {
                high
            } else {
                to
            },
        ),
        (Err(problem), _) | (_, Err(problem)) => return Some(problem),
    };
    if from < low {
        Some(format!(
            "beginning of range ({from}) below minimum ({low}): {part}"
        ))
    } else if to > high {
        Some(format!(
            "end of range ({to}) above maximum ({high}): {part}"
        ))
    } else if from > to {
        Some(format!(
            "beginning of range ({from}) beyond end of range ({to}): {part}"
        ))
    } else {
        None
    }
}

/// A percentage or number that budgets use.
pub(super) fn budget_value(path: &str, value: Option<&Value>, e: &mut Errors) {
    int_or_percent(path, value, e);
}
