//! Pod disruption budgets (`pkg/controller/disruption`).

use std::time::Duration;

use serde_json::{Value, json};

use super::Controllers;
use crate::node::embedded::apiserver::kinds::edit::text_at;
use crate::node::embedded::apiserver::kinds::selector;
use crate::node::embedded::cluster::object::{
    has_condition, is_active_pod, name, now, number, scaled,
};

pub(super) async fn sync(c: &mut Controllers, space: &str) -> Option<Duration> {
    for stored in c.list(&format!("/registry/policy/poddisruptionbudgets/{space}/")) {
        let mut budget = super::versioned(&stored);
        let empty = Value::Null;
        let wanted = budget.pointer("/spec/selector").unwrap_or(&empty);
        let pods: Vec<Value> = c
            .list(&format!("/registry/core/pods/{space}/"))
            .iter()
            .filter(|pod| {
                is_active_pod(&pod.value)
                    && selector::matches(wanted, pod.value.pointer("/metadata/labels"))
            })
            .map(|pod| pod.value.as_ref().clone())
            .collect();
        let expected = i64::try_from(pods.len()).unwrap_or(0);
        let healthy = i64::try_from(
            pods.iter()
                .filter(|pod| has_condition(pod, "Ready"))
                .count(),
        )
        .unwrap_or(0);
        let desired = match budget.pointer("/spec/maxUnavailable") {
            Some(unavailable) => (expected - scaled(Some(unavailable), expected, true)).max(0),
            None => scaled(budget.pointer("/spec/minAvailable"), expected, true),
        };
        let allowed = if expected == 0 {
            0
        } else {
            (healthy - desired).max(0)
        };
        let status = |condition: Value| {
            json!({"observedGeneration": number(&budget, "/metadata/generation"),
                "disruptionsAllowed": allowed, "currentHealthy": healthy,
                "desiredHealthy": desired, "expectedPods": expected, "conditions": [condition]})
        };
        let on = allowed > 0;
        let old = budget
            .pointer("/status/conditions/0")
            .cloned()
            .unwrap_or_default();
        let since = if text_at(&old, "/status") == if on { "True" } else { "False" } {
            text_at(&old, "/lastTransitionTime").to_owned()
        } else {
            now()
        };
        let condition = json!({"type": "DisruptionAllowed", "status": if on { "True" } else { "False" },
            "observedGeneration": number(&budget, "/metadata/generation"),
            "lastTransitionTime": since,
            "reason": if on { "SufficientPods" } else { "InsufficientPods" }, "message": ""});
        let status = status(condition);
        let mut before = budget.get("status").cloned().unwrap_or_default();
        if let Some(fields) = before.as_object_mut() {
            fields.shift_remove("disruptedPods");
        }
        if before == status {
            continue;
        }
        let actor = c.actor("disruption-controller").await;
        let path = format!(
            "/apis/policy/v1/namespaces/{space}/poddisruptionbudgets/{}/status",
            name(&budget)
        );
        if let Some(fields) = budget.as_object_mut() {
            fields.insert("status".into(), status);
        }
        let _ = actor.update(&path, budget).await;
    }
    None
}
