//! Jobs (`pkg/controller/job`).

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Controllers, pod_from};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::cluster::actor::succeeded;
use crate::node::embedded::cluster::object::{
    has_condition, is_active_pod, is_deleting, name, namespace, now, number, uid,
};

const ACCOUNT: &str = "job-controller";
/// Pods of jobs carry this until they are counted.
const TRACKING: &str = "batch.kubernetes.io/job-tracking";

pub(super) async fn sync(c: &mut Controllers, space: &str, job_name: &str) -> Option<Duration> {
    let key = format!("/registry/batch/jobs/{space}/{job_name}");
    let job = c.cached(&key)?;
    let actor = c.actor(ACCOUNT).await;
    let pods = c.pods_of(&job);
    // Pods that are over, or whose job is going, lose their finalizer.
    for pod in &pods {
        let over = matches!(text_at(pod, "/status/phase"), "Succeeded" | "Failed");
        let held = items(pod, "/metadata/finalizers")
            .iter()
            .any(|f| f == TRACKING);
        if held && (over || is_deleting(&job) || is_deleting(pod)) {
            let patch = json!({"metadata": {"uid": uid(pod),
                "$deleteFromPrimitiveList/finalizers": [TRACKING]}});
            let path = format!("/api/v1/namespaces/{space}/pods/{}", name(pod));
            let _ = actor.patch(&path, patch).await;
        }
    }
    if is_deleting(&job) || has_condition(&job, "Complete") || has_condition(&job, "Failed") {
        return clean_up(c, &job).await;
    }
    let suspended = job.pointer("/spec/suspend") == Some(&Value::Bool(true));
    let phase = |wanted: &str| {
        i64::try_from(
            pods.iter()
                .filter(|pod| text_at(pod, "/status/phase") == wanted)
                .count(),
        )
        .unwrap_or(0)
    };
    let (mut succeeded_pods, mut failed) = (phase("Succeeded"), phase("Failed"));
    succeeded_pods = succeeded_pods.max(number(&job, "/status/succeeded"));
    failed = failed.max(number(&job, "/status/failed"));
    let mut active: Vec<&Value> = pods.iter().filter(|pod| is_active_pod(pod)).collect();
    let parallelism = number(&job, "/spec/parallelism");
    let completions = job.pointer("/spec/completions").and_then(Value::as_i64);
    let limit = number(&job, "/spec/backoffLimit");
    let complete = completions.map_or(succeeded_pods > 0 && active.is_empty(), |wanted| {
        succeeded_pods >= wanted
    });
    let exhausted = failed > limit;
    let wanted = if suspended || complete || exhausted {
        0
    } else {
        completions.map_or(parallelism, |all| parallelism.min(all - succeeded_pods))
    };
    let have = i64::try_from(active.len()).unwrap_or(i64::MAX);
    let mut created = 0;
    if have < wanted {
        for _ in 0..(wanted - have).min(100) {
            let mut pod = pod_from(
                &job.pointer("/spec/template").cloned().unwrap_or_default(),
                &job,
                "batch/v1",
                "Job",
            );
            if let Some(metadata) = pod.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("finalizers".into(), json!([TRACKING]));
            }
            let answer = actor
                .create(&format!("/api/v1/namespaces/{space}/pods"), pod)
                .await;
            match answer {
                Some((201, pod)) => {
                    created += 1;
                    let text = format!("Created pod: {}", name(&pod));
                    actor
                        .event(
                            &job,
                            "batch/v1",
                            "Job",
                            false,
                            "SuccessfulCreate",
                            &text,
                            ACCOUNT,
                        )
                        .await;
                }
                Some((_, status)) => {
                    let text = format!("Error creating: {}", text_at(&status, "/message"));
                    actor
                        .event(
                            &job,
                            "batch/v1",
                            "Job",
                            true,
                            "FailedCreate",
                            &text,
                            ACCOUNT,
                        )
                        .await;
                    return Some(
                        c.back_off(super::Item::Job(space.to_owned(), job_name.to_owned())),
                    );
                }
                None => return None,
            }
        }
    } else if have > wanted {
        for pod in active
            .drain(..)
            .take(usize::try_from(have - wanted).unwrap_or(0))
        {
            let path = format!("/api/v1/namespaces/{space}/pods/{}", name(pod));
            let _ = actor.delete(&path, None).await;
        }
    }
    let active_now = if wanted == 0 {
        0
    } else {
        have.min(wanted) + created
    };
    update_status(
        c,
        &key,
        active_now,
        succeeded_pods,
        failed,
        complete,
        exhausted,
        suspended,
    )
    .await;
    None
}

#[expect(
    clippy::too_many_arguments,
    reason = "the counts of a status belong together"
)]
async fn update_status(
    c: &mut Controllers,
    key: &str,
    active: i64,
    done: i64,
    failed: i64,
    complete: bool,
    exhausted: bool,
    suspended: bool,
) {
    let Some(mut job) = c.cached(key) else {
        return;
    };
    let actor = c.actor(ACCOUNT).await;
    let old = job.get("status").cloned().unwrap_or_default();
    let mut status = Map::new();
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({"type": kind, "status": "True", "lastProbeTime": now(), "lastTransitionTime": now(),
            "reason": reason, "message": message})
    };
    let reached = "Reached expected number of succeeded pods";
    let exceeded = "Job has reached the specified backoff limit";
    let conditions: Vec<Value> = if complete {
        vec![
            condition("SuccessCriteriaMet", "CompletionsReached", reached),
            condition("Complete", "CompletionsReached", reached),
        ]
    } else if exhausted {
        vec![
            condition("FailureTarget", "BackoffLimitExceeded", exceeded),
            condition("Failed", "BackoffLimitExceeded", exceeded),
        ]
    } else if suspended {
        vec![condition("Suspended", "JobSuspended", "Job suspended")]
    } else {
        Vec::new()
    };
    let suspended_before = items(&old, "/conditions")
        .iter()
        .any(|own| text_at(own, "/type") == "Suspended");
    if suspended && suspended_before {
        return;
    }
    if !conditions.is_empty() {
        status.insert("conditions".into(), conditions.into());
    }
    if !suspended {
        let start = match text_at(&old, "/startTime") {
            "" => now(),
            start => start.to_owned(),
        };
        status.insert("startTime".into(), start.into());
    }
    if complete {
        status.insert("completionTime".into(), now().into());
    }
    for (key, value) in [("active", active), ("succeeded", done), ("failed", failed)] {
        if value > 0 {
            status.insert(key.into(), value.into());
        }
    }
    status.insert("terminating".into(), 0.into());
    status.insert("uncountedTerminatedPods".into(), json!({}));
    status.insert(
        "ready".into(),
        c.pods_of(&job)
            .iter()
            .filter(|pod| is_active_pod(pod) && has_condition(pod, "Ready"))
            .count()
            .into(),
    );
    if old == Value::Object(status.clone()) {
        return;
    }
    let path = format!(
        "/apis/batch/v1/namespaces/{}/jobs/{}/status",
        namespace(&job),
        name(&job)
    );
    let about = job.clone();
    if let Some(fields) = job.as_object_mut() {
        fields.insert("status".into(), Value::Object(status));
    }
    let written = succeeded(&actor.update(&path, job).await);
    if written && complete {
        actor
            .event(
                &about,
                "batch/v1",
                "Job",
                false,
                "Completed",
                "Job completed",
                ACCOUNT,
            )
            .await;
    }
    if written && exhausted {
        actor
            .event(
                &about,
                "batch/v1",
                "Job",
                true,
                "BackoffLimitExceeded",
                exceeded,
                ACCOUNT,
            )
            .await;
    }
}

/// `ttlSecondsAfterFinished` (`pkg/controller/ttlafterfinished`).
async fn clean_up(c: &mut Controllers, job: &Value) -> Option<Duration> {
    let ttl = job
        .pointer("/spec/ttlSecondsAfterFinished")
        .and_then(Value::as_i64)?;
    if is_deleting(job) {
        return None;
    }
    let finished = items(job, "/status/conditions")
        .iter()
        .find(|condition| matches!(text_at(condition, "/type"), "Complete" | "Failed"))
        .and_then(|condition| {
            text_at(condition, "/lastTransitionTime")
                .parse::<jiff::Timestamp>()
                .ok()
        })?;
    let age = jiff::Timestamp::now().duration_since(finished).as_secs();
    if age < ttl {
        return u64::try_from(ttl - age).ok().map(Duration::from_secs);
    }
    let actor = c.actor("ttl-after-finished-controller").await;
    let path = format!(
        "/apis/batch/v1/namespaces/{}/jobs/{}",
        namespace(job),
        name(job)
    );
    let options = json!({"kind": "DeleteOptions", "apiVersion": "v1",
        "propagationPolicy": "Foreground", "preconditions": {"uid": uid(job)}});
    let _ = actor.delete(&path, Some(options)).await;
    None
}
