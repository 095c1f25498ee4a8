//! Binding of claims to volumes (`pkg/controller/volume/persistentvolume`); nothing is provisioned.

use std::time::Duration;

use serde_json::{Value, json};

use super::Controllers;
use crate::node::embedded::apiserver::kinds::edit::{ensure, items, text_at};
use crate::node::embedded::apiserver::kinds::quantity::Quantity;
use crate::node::embedded::cluster::actor::succeeded;
use crate::node::embedded::cluster::object::{is_deleting, name, uid};

pub(super) async fn sync(c: &mut Controllers, space: &str) -> Option<Duration> {
    for stored in c.list(&format!("/registry/core/persistentvolumeclaims/{space}/")) {
        let claim = super::versioned(&stored);
        if text_at(&claim, "/status/phase") == "Bound" || is_deleting(&claim) {
            continue;
        }
        let size = Quantity::parse(text_at(&claim, "/spec/resources/requests/storage"));
        let mut fitting: Vec<Value> = c
            .list("/registry/core/persistentvolumes/")
            .iter()
            .map(super::versioned)
            .filter(|volume| {
                let bound = volume.pointer("/spec/claimRef");
                let free = bound.is_none_or(|reference| {
                    text_at(reference, "/name") == name(&claim)
                        && text_at(reference, "/namespace") == space
                        && (text_at(reference, "/uid").is_empty()
                            || text_at(reference, "/uid") == uid(&claim))
                });
                let modes = items(&claim, "/spec/accessModes")
                    .iter()
                    .all(|mode| items(volume, "/spec/accessModes").contains(mode));
                let capacity = Quantity::parse(text_at(volume, "/spec/capacity/storage"));
                let wanted = text_at(&claim, "/spec/volumeName");
                free && modes
                    && capacity >= size
                    && text_at(volume, "/spec/storageClassName")
                        == text_at(&claim, "/spec/storageClassName")
                    && (wanted.is_empty() || wanted == name(volume))
            })
            .collect();
        fitting.sort_by_key(|volume| {
            Quantity::parse(text_at(volume, "/spec/capacity/storage")).map(Quantity::nano)
        });
        let Some(mut volume) = fitting.into_iter().next() else {
            continue;
        };
        let actor = c.actor("persistent-volume-binder").await;
        let volume_name = name(&volume).to_owned();
        if let Some(fields) = volume.as_object_mut() {
            ensure(fields, "spec").insert(
                "claimRef".into(),
                json!({"kind": "PersistentVolumeClaim", "namespace": space, "name": name(&claim),
                    "uid": uid(&claim), "apiVersion": "v1",
                    "resourceVersion": text_at(&claim, "/metadata/resourceVersion")}),
            );
        }
        let path = format!("/api/v1/persistentvolumes/{volume_name}");
        let Some((200, mut volume)) = actor.update(&path, volume).await else {
            continue;
        };
        let capacity = volume
            .pointer("/spec/capacity")
            .cloned()
            .unwrap_or_default();
        if let Some(fields) = volume.as_object_mut() {
            ensure(fields, "status").insert("phase".into(), "Bound".into());
        }
        let _ = actor.update(&format!("{path}/status"), volume).await;
        let mut bound = claim;
        if let Some(fields) = bound.as_object_mut() {
            ensure(fields, "spec").insert("volumeName".into(), volume_name.into());
            let annotations = ensure(ensure(fields, "metadata"), "annotations");
            annotations.insert("pv.kubernetes.io/bind-completed".into(), "yes".into());
            annotations.insert("pv.kubernetes.io/bound-by-controller".into(), "yes".into());
        }
        let path = format!(
            "/api/v1/namespaces/{space}/persistentvolumeclaims/{}",
            name(&bound)
        );
        let answer = actor.update(&path, bound).await;
        if !succeeded(&answer) {
            continue;
        }
        let Some((_, mut bound)) = answer else {
            continue;
        };
        let modes = bound
            .pointer("/spec/accessModes")
            .cloned()
            .unwrap_or_default();
        if let Some(fields) = bound.as_object_mut() {
            fields.insert(
                "status".into(),
                json!({"phase": "Bound", "accessModes": modes, "capacity": capacity}),
            );
        }
        let _ = actor.update(&format!("{path}/status"), bound).await;
    }
    None
}
