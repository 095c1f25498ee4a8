//! Defaults of workloads (`pkg/apis/{apps,batch}/v1/defaults.go`).

use serde_json::{Value, json};

use super::pod;
use crate::node::embedded::apiserver::kinds::edit::{
    Object, default, default_text, each, ensure, text,
};

/// `SetDefaults_Deployment`.
pub fn deployment(object: &mut Object) {
    let spec = ensure(object, "spec");
    default(spec, "replicas", 1);
    let strategy = ensure(spec, "strategy");
    default_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = ensure(strategy, "rollingUpdate");
        default(rolling, "maxUnavailable", "25%");
        default(rolling, "maxSurge", "25%");
    }
    default(spec, "revisionHistoryLimit", 10);
    default(spec, "progressDeadlineSeconds", 600);
    pod::template(ensure(spec, "template"));
}

/// `SetDefaults_ReplicaSet`.
pub fn replica_set(object: &mut Object) {
    let spec = ensure(object, "spec");
    default(spec, "replicas", 1);
    pod::template(ensure(spec, "template"));
}

/// `SetDefaults_ReplicationController`: labels and selector come from the template.
pub fn replication_controller(object: &mut Object) {
    let labels = object
        .get("spec")
        .and_then(|spec| spec.pointer("/template/metadata/labels"))
        .filter(|labels| labels.as_object().is_some_and(|l| !l.is_empty()))
        .cloned();
    if let Some(labels) = labels {
        let spec = ensure(object, "spec");
        if spec
            .get("selector")
            .and_then(Value::as_object)
            .is_none_or(serde_json::Map::is_empty)
        {
            spec.insert("selector".into(), labels.clone());
        }
        default_labels(object, labels);
    }
    let spec = ensure(object, "spec");
    default(spec, "replicas", 1);
    if spec.get("template").is_some_and(Value::is_object) {
        pod::template(ensure(spec, "template"));
    }
}

/// `SetDefaults_DaemonSet`.
pub fn daemon_set(object: &mut Object) {
    let spec = ensure(object, "spec");
    let strategy = ensure(spec, "updateStrategy");
    default_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = ensure(strategy, "rollingUpdate");
        default(rolling, "maxUnavailable", 1);
        default(rolling, "maxSurge", 0);
    }
    default(spec, "revisionHistoryLimit", 10);
    pod::template(ensure(spec, "template"));
}

/// `SetDefaults_StatefulSet`.
pub fn stateful_set(object: &mut Object) {
    let spec = ensure(object, "spec");
    default_text(spec, "podManagementPolicy", "OrderedReady");
    let strategy = ensure(spec, "updateStrategy");
    default_text(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        let rolling = ensure(strategy, "rollingUpdate");
        default(rolling, "partition", 0);
    }
    let retention = ensure(spec, "persistentVolumeClaimRetentionPolicy");
    default_text(retention, "whenDeleted", "Retain");
    default_text(retention, "whenScaled", "Retain");
    default(spec, "replicas", 1);
    default(spec, "revisionHistoryLimit", 10);
    pod::template(ensure(spec, "template"));
    each(spec, "volumeClaimTemplates", |claim| {
        default(claim, "kind", "PersistentVolumeClaim");
        default(claim, "apiVersion", "v1");
        super::storage::claim(claim);
    });
}

/// `SetDefaults_Job`.
pub fn job(object: &mut Object) {
    let labels = object
        .get("spec")
        .and_then(|spec| spec.pointer("/template/metadata/labels"))
        .cloned();
    if let Some(labels) = labels {
        default_labels(object, labels);
    }
    let spec = ensure(object, "spec");
    let unset = |spec: &Object, key: &str| spec.get(key).is_none_or(Value::is_null);
    if unset(spec, "completions") && unset(spec, "parallelism") {
        default(spec, "completions", 1);
    }
    default(spec, "parallelism", 1);
    let per_index = !unset(spec, "backoffLimitPerIndex");
    default(
        spec,
        "backoffLimit",
        if per_index { i64::from(i32::MAX) } else { 6 },
    );
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    default(spec, "manualSelector", false);
    let policy = if unset(spec, "podFailurePolicy") {
        "TerminatingOrFailed"
    } else {
        "Failed"
    };
    default(spec, "podReplacementPolicy", policy);
    if let Some(failure) = spec
        .get_mut("podFailurePolicy")
        .and_then(Value::as_object_mut)
    {
        each(failure, "rules", |rule| {
            each(rule, "onPodConditions", |condition| {
                default_text(condition, "status", "True");
            });
        });
    }
    pod::template(ensure(spec, "template"));
}

/// `SetDefaults_CronJob`; the job template gets no defaults of jobs, its pods do.
pub fn cron_job(object: &mut Object) {
    let spec = ensure(object, "spec");
    default_text(spec, "concurrencyPolicy", "Allow");
    default(spec, "suspend", false);
    default(spec, "successfulJobsHistoryLimit", 3);
    default(spec, "failedJobsHistoryLimit", 1);
    let job = ensure(ensure(spec, "jobTemplate"), "spec");
    pod::template(ensure(job, "template"));
}

fn default_labels(object: &mut Object, labels: Value) {
    let metadata = ensure(object, "metadata");
    let missing = metadata
        .get("labels")
        .is_none_or(|l| l.is_null() || *l == json!({}));
    if missing && labels.as_object().is_some_and(|l| !l.is_empty()) {
        metadata.insert("labels".into(), labels);
    }
}
