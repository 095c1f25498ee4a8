//! CronJobs (`pkg/controller/cronjob`).

use std::time::Duration;

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use serde_json::{Value, json};

use super::Controllers;
use crate::node::embedded::apiserver::kinds::edit::{ensure, items, text_at};
use crate::node::embedded::cluster::object::{
    has_condition, is_controlled_by, is_deleting, name, namespace, number, reference, uid,
};

const ACCOUNT: &str = "cronjob-controller";

pub(super) async fn sync(c: &mut Controllers, space: &str, cron_name: &str) -> Option<Duration> {
    let key = format!("/registry/batch/cronjobs/{space}/{cron_name}");
    let cron = c.cached(&key)?;
    if is_deleting(&cron) {
        return None;
    }
    let mut jobs: Vec<Value> = c
        .list(&format!("/registry/batch/jobs/{space}/"))
        .iter()
        .filter(|job| is_controlled_by(&job.value, &cron))
        .map(super::versioned)
        .collect();
    jobs.sort_by_key(|job| text_at(job, "/metadata/creationTimestamp").to_owned());
    let finished = |job: &Value| has_condition(job, "Complete") || has_condition(job, "Failed");
    trim(c, &cron, &jobs).await;
    let active: Vec<&Value> = jobs.iter().filter(|job| !finished(job)).collect();
    let schedule = Schedule::parse(text_at(&cron, "/spec/schedule"))?;
    let since: Timestamp = match text_at(&cron, "/status/lastScheduleTime") {
        "" => text_at(&cron, "/metadata/creationTimestamp"),
        last => last,
    }
    .parse()
    .ok()?;
    let due = schedule.latest(since, Timestamp::now());
    let suspended = cron.pointer("/spec/suspend") == Some(&Value::Bool(true));
    let policy = text_at(&cron, "/spec/concurrencyPolicy");
    let mut started: Option<(Value, Timestamp)> = None;
    if let Some(due) = due
        && !suspended
        && (policy != "Forbid" || active.is_empty())
    {
        let actor = c.actor(ACCOUNT).await;
        if policy == "Replace" {
            for job in &active {
                let path = format!("/apis/batch/v1/namespaces/{space}/jobs/{}", name(job));
                let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
                let _ = actor.delete(&path, Some(options)).await;
            }
        }
        let job = job_of(&cron, due);
        match actor
            .create(&format!("/apis/batch/v1/namespaces/{space}/jobs"), job)
            .await
        {
            Some((201, job)) => {
                let text = format!("Created job {}", name(&job));
                actor
                    .event(
                        &cron,
                        "batch/v1",
                        "CronJob",
                        false,
                        "SuccessfulCreate",
                        &text,
                        ACCOUNT,
                    )
                    .await;
                started = Some((job, due));
            }
            Some((409, _)) | None => {}
            Some((_, status)) => {
                let text = format!("Error creating job: {}", text_at(&status, "/message"));
                actor
                    .event(
                        &cron,
                        "batch/v1",
                        "CronJob",
                        true,
                        "FailedCreate",
                        &text,
                        ACCOUNT,
                    )
                    .await;
            }
        }
    }
    let mut references: Vec<Value> = active
        .iter()
        .map(|job| {
            json!({"kind": "Job", "namespace": space, "name": name(job), "uid": uid(job),
                "apiVersion": "batch/v1", "resourceVersion": text_at(job, "/metadata/resourceVersion")})
        })
        .collect();
    let mut status = cron.get("status").cloned().unwrap_or_default();
    let before: Vec<String> = items(&status, "/active")
        .iter()
        .map(|r| text_at(r, "/uid").to_owned())
        .collect();
    if let Some((job, due)) = &started {
        references.push(json!({"kind": "Job", "namespace": space, "name": name(job), "uid": uid(job),
            "apiVersion": "batch/v1", "resourceVersion": text_at(job, "/metadata/resourceVersion")}));
        if let Some(fields) = status.as_object_mut() {
            fields.insert(
                "lastScheduleTime".into(),
                due.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into(),
            );
        }
    }
    let after: Vec<String> = references
        .iter()
        .map(|r| text_at(r, "/uid").to_owned())
        .collect();
    let success = jobs
        .iter()
        .filter(|job| has_condition(job, "Complete"))
        .map(|job| text_at(job, "/status/completionTime").to_owned())
        .max();
    let newer = success
        .as_deref()
        .is_some_and(|time| time > text_at(&status, "/lastSuccessfulTime"));
    if before != after || started.is_some() || newer {
        let actor = c.actor(ACCOUNT).await;
        let mut current = c.cached(&key)?;
        if let Some(fields) = current.as_object_mut() {
            let own = ensure(fields, "status");
            if let Some(time) = status.get("lastScheduleTime") {
                own.insert("lastScheduleTime".into(), time.clone());
            }
            if references.is_empty() {
                own.shift_remove("active");
            } else {
                own.insert("active".into(), references.into());
            }
            if let Some(time) = success {
                own.insert("lastSuccessfulTime".into(), time.into());
            }
        }
        let path = format!("/apis/batch/v1/namespaces/{space}/cronjobs/{cron_name}/status");
        let _ = actor.update(&path, current).await;
    }
    None
}

fn job_of(cron: &Value, due: Timestamp) -> Value {
    let template = cron
        .pointer("/spec/jobTemplate")
        .cloned()
        .unwrap_or_default();
    let mut annotations = template
        .pointer("/metadata/annotations")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    annotations.insert(
        "batch.kubernetes.io/cronjob-scheduled-timestamp".into(),
        due.strftime("%Y-%m-%dT%H:%M:%SZ").to_string().into(),
    );
    json!({"kind": "Job", "apiVersion": "batch/v1",
        "metadata": {"name": format!("{}-{}", name(cron), due.as_second() / 60),
            "namespace": namespace(cron), "annotations": annotations,
            "labels": template.pointer("/metadata/labels").cloned().unwrap_or_default(),
            "ownerReferences": [reference(cron, "batch/v1", "CronJob")]},
        "spec": template.get("spec").cloned().unwrap_or_default()})
}

/// Finished jobs beyond the history limits go.
async fn trim(c: &mut Controllers, cron: &Value, jobs: &[Value]) {
    for (kind, limit) in [
        ("Complete", number(cron, "/spec/successfulJobsHistoryLimit")),
        ("Failed", number(cron, "/spec/failedJobsHistoryLimit")),
    ] {
        let done: Vec<&Value> = jobs
            .iter()
            .filter(|job| has_condition(job, kind) && !is_deleting(job))
            .collect();
        let keep = usize::try_from(limit).unwrap_or(0);
        for job in done.iter().take(done.len().saturating_sub(keep)) {
            let actor = c.actor(ACCOUNT).await;
            let path = format!(
                "/apis/batch/v1/namespaces/{}/jobs/{}",
                namespace(job),
                name(job)
            );
            let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"});
            let _ = actor.delete(&path, Some(options)).await;
        }
    }
}

/// A cron schedule of five fields.
struct Schedule {
    fields: [Vec<i8>; 5],
    any_day: bool,
    any_weekday: bool,
}

impl Schedule {
    fn parse(text: &str) -> Option<Self> {
        let text = match text.trim() {
            "@hourly" => "0 * * * *",
            "@daily" | "@midnight" => "0 0 * * *",
            "@weekly" => "0 0 * * 0",
            "@monthly" => "0 0 1 * *",
            "@yearly" | "@annually" => "0 0 1 1 *",
            other => other,
        };
        let parts: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = parts.as_slice() else {
            return None;
        };
        Some(Self {
            fields: [
                field(minute, 0, 59)?,
                field(hour, 0, 23)?,
                field(day, 1, 31)?,
                field(month, 1, 12)?,
                field(weekday, 0, 7)?,
            ],
            any_day: day.starts_with(['*', '?']),
            any_weekday: weekday.starts_with(['*', '?']),
        })
    }

    fn matches(&self, time: &jiff::Zoned) -> bool {
        let [minutes, hours, days, months, weekdays] = &self.fields;
        let weekday = time.weekday().to_sunday_zero_offset();
        let day = days.contains(&time.day());
        let on_weekday = weekdays.contains(&weekday) || weekday == 0 && weekdays.contains(&7);
        let date = match (self.any_day, self.any_weekday) {
            (false, false) => day || on_weekday,
            _ => day && on_weekday,
        };
        minutes.contains(&time.minute())
            && hours.contains(&time.hour())
            && months.contains(&time.month())
            && date
    }

    /// The latest due time after `since`; looks back at most a day.
    fn latest(&self, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let mut minute = Timestamp::from_second(now.as_second() / 60 * 60).ok()?;
        for _ in 0..1440 {
            if minute <= since {
                return None;
            }
            if self.matches(&minute.to_zoned(TimeZone::UTC)) {
                return Some(minute);
            }
            minute = minute.checked_sub(1.minute()).ok()?;
        }
        None
    }
}

fn field(text: &str, low: i8, high: i8) -> Option<Vec<i8>> {
    let mut all = Vec::new();
    for part in text.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse::<usize>().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (from, to) = match range {
            "*" | "?" => (low, high),
            _ => match range.split_once('-') {
                Some((from, to)) => (from.parse().ok()?, to.parse().ok()?),
                None => {
                    let from: i8 = range.parse().ok()?;
                    (from, if part.contains('/') { high } else { from })
                }
            },
        };
        all.extend((from..=to).step_by(step));
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_due_minute_is_found() {
        let schedule = Schedule::parse("*/5 * * * *").unwrap();
        let now: Timestamp = "2027-01-02T03:07:30Z".parse().unwrap();
        let since: Timestamp = "2027-01-02T03:04:59Z".parse().unwrap();
        assert_eq!(
            schedule.latest(since, now).unwrap().to_string(),
            "2027-01-02T03:05:00Z"
        );
        assert_eq!(schedule.latest(now, now), None);
    }

    #[test]
    fn days_and_weekdays_are_alternatives() {
        let schedule = Schedule::parse("0 0 13 * 5").unwrap();
        let friday: Timestamp = "2027-01-01T00:00:00Z".parse().unwrap();
        assert!(schedule.matches(&friday.to_zoned(TimeZone::UTC)));
    }
}
