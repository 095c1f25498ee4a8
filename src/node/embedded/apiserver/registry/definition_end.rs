//! The end of a CustomResourceDefinition: its objects go first, which their finalizers may hold up
//! (`apiextensions-apiserver/pkg/controller/finalizer/crd_finalizer.go`).

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::definitions::{self, FINALIZER, definitions_target, versions};
use super::target::{Target, resource_prefix};
use super::{convert, delete, meta};
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::{self, Status};
use crate::node::embedded::store::{Op, Stored};

/// How long the controller takes to notice: whoever asks right after the deletion still sees the
/// definition, as `kubectl delete` does before it waits.
const NOTICE: Duration = Duration::from_millis(100);

/// How often is looked whether the objects are gone.
const LOOK: Duration = Duration::from_secs(5);

/// Objects of a definition that ends cannot be made any more.
///
/// # Errors
/// 403 for those (`forbidCreateAdmission` of `pkg/apiserver/customresource_handler.go`).
pub(super) fn refuse(target: &Target, name: &str) -> Result<(), Status> {
    let ends = target
        .custom
        .as_ref()
        .is_some_and(|custom| meta::is_deleting(&custom.definition));
    if !ends {
        return Ok(());
    }
    let (group, resource) = (&target.resource.group, &target.resource.name);
    let text = format!(
        "{resource}.{group} \"{name}\" is forbidden: create not allowed while custom resource definition is terminating"
    );
    Err(Status::new(403, "Forbidden", text).with_details(status::details(group, resource, name)))
}

/// Deletes the objects of a definition, then the definition, as soon as nothing is left.
pub(super) async fn finish(state: &Arc<ApiState>, target: &Target, stored: &Stored) {
    let finalizers = meta::finalizers(&stored.value);
    if !finalizers.iter().any(|own| own == FINALIZER) {
        return;
    }
    let mut ops = Vec::new();
    let mut left = false;
    let prefix = prefix(target, stored);
    for object in prefix
        .map(|prefix| state.store.list(&prefix).0)
        .unwrap_or_default()
    {
        if meta::finalizers(&object.value).is_empty() {
            ops.push(Op::Delete {
                key: object.key,
                expected: None,
            });
            continue;
        }
        left = true;
        if !meta::is_deleting(&object.value) {
            let mut value = (*object.value).clone();
            delete::mark(&mut value);
            meta::order(&mut value);
            ops.push(Op::Put {
                key: object.key,
                value: Arc::new(value),
            });
        }
    }
    let mut live = convert::shown(target, stored);
    if left {
        let said = condition(
            &mut live,
            "True",
            "InstanceDeletionInProgress",
            "CustomResource deletion is in progress",
        );
        if said {
            ops.push(Op::Put {
                key: stored.key.clone(),
                value: Arc::new(convert::to_stored(&target.resource, &live)),
            });
        }
        drop(state.store.commit(ops).await);
        look_again(state.clone(), meta::text(&stored.value, "name").to_owned());
        return;
    }
    let others: Vec<String> = finalizers
        .into_iter()
        .filter(|own| own != FINALIZER)
        .collect();
    if others.is_empty() {
        ops.push(Op::Delete {
            key: stored.key.clone(),
            expected: None,
        });
    } else {
        condition(
            &mut live,
            "False",
            "InstanceDeletionCompleted",
            "removed all instances",
        );
        meta::set_finalizers(&mut live, &others);
        ops.push(Op::Put {
            key: stored.key.clone(),
            value: Arc::new(convert::to_stored(&target.resource, &live)),
        });
    }
    drop(state.store.commit(ops).await);
}

/// Goes on with definitions whose end was under way when the server stopped.
pub(super) fn resume(state: &Arc<ApiState>) {
    let Some(target) = definitions_target("", "") else {
        return;
    };
    for stored in state.store.list(&target.prefix()).0 {
        if meta::is_deleting(&stored.value) {
            look_again(state.clone(), meta::text(&stored.value, "name").to_owned());
        }
    }
}

/// Where the objects of a definition are.
fn prefix(target: &Target, stored: &Stored) -> Option<String> {
    let served = versions(target, stored);
    served
        .first()
        .map(|custom| resource_prefix(&custom.resource))
}

/// Sets the condition `Terminating`; whether it is another one than before.
fn condition(definition: &mut Value, status: &str, reason: &str, message: &str) -> bool {
    let Some(conditions) = definition
        .pointer_mut("/status/conditions")
        .and_then(Value::as_array_mut)
    else {
        return false;
    };
    let of_kind = |c: &&mut Value| c.get("type").and_then(Value::as_str) == Some("Terminating");
    let new = json!({
        "type": "Terminating",
        "status": status,
        "lastTransitionTime": meta::now(),
        "reason": reason,
        "message": message
    });
    let Some(old) = conditions.iter_mut().find(of_kind) else {
        conditions.push(new);
        return true;
    };
    if old.get("reason") == new.get("reason") {
        return false;
    }
    let since = old.get("lastTransitionTime").cloned();
    let same = old.get("status") == new.get("status");
    *old = new;
    if let (true, Some(since), Some(fields)) = (same, since, old.as_object_mut()) {
        fields.insert("lastTransitionTime".into(), since);
    }
    true
}

/// Looks at a definition again when an object of it has changed, and after a while.
fn look_again(state: Arc<ApiState>, name: String) {
    if !state.custom.start_waiting(&name) {
        return;
    }
    let looking: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
        let changes = definitions_target(&name, "status")
            .and_then(|target| {
                let stored = state.store.get(&target.key(&name))?;
                prefix(&target, &stored)
            })
            .and_then(|prefix| state.store.watch(&prefix, state.store.revision()).ok());
        let changed = async move {
            match changes {
                Some(mut changes) => drop(changes.next().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = state.shutdown.cancelled() => return,
            () = changed => {}
            () = tokio::time::sleep(LOOK) => {}
        }
        state.custom.stop_waiting(&name);
        definitions::end(&state, &name).await;
    });
    tokio::spawn(looking);
}

/// Begins with the end of a definition that has just been deleted.
pub(super) fn begin(state: Arc<ApiState>, name: String) {
    let ending: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
        tokio::time::sleep(NOTICE).await;
        if !state.shutdown.is_cancelled() {
            definitions::end(&state, &name).await;
        }
    });
    tokio::spawn(ending);
}
