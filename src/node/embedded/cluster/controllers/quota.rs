//! What resource quotas say is used (`pkg/controller/resourcequota`).

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Controllers;
use crate::node::embedded::apiserver::admission::quota::usage_of;
use crate::node::embedded::apiserver::kinds::edit::text_at;
use crate::node::embedded::apiserver::kinds::quantity::Quantity;
use crate::node::embedded::cluster::object::name;

pub(super) async fn sync(c: &mut Controllers, space: &str) -> Option<Duration> {
    for stored in c.list(&format!("/registry/core/resourcequotas/{space}/")) {
        let mut quota = super::versioned(&stored);
        let Some(hard) = quota
            .pointer("/spec/hard")
            .and_then(Value::as_object)
            .cloned()
        else {
            continue;
        };
        let marker = format!("/{space}/");
        let objects: Vec<_> = c
            .list("/registry/")
            .into_iter()
            .filter(|object| {
                object.key.contains(&marker)
                    && text_at(&object.value, "/metadata/namespace") == space
            })
            .collect();
        let mut used = Map::new();
        for resource in hard.keys() {
            let total = objects
                .iter()
                .filter_map(|object| {
                    let mut parts = object.key.split('/').skip(2);
                    let group = parts.next().filter(|group| *group != "core").unwrap_or("");
                    usage_of(group, parts.next()?, resource, &object.value)
                })
                .fold(Quantity::ZERO, Quantity::plus);
            used.insert(resource.clone(), total.canonical().into());
        }
        let status = json!({"hard": hard, "used": used});
        if quota.get("status") == Some(&status) {
            continue;
        }
        let actor = c.actor("resourcequota-controller").await;
        let path = format!(
            "/api/v1/namespaces/{space}/resourcequotas/{}/status",
            name(&quota)
        );
        if let Some(fields) = quota.as_object_mut() {
            fields.insert("status".into(), status);
        }
        let _ = actor.update(&path, quota).await;
    }
    None
}
