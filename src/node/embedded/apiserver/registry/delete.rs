//! Deleting an object (`pkg/endpoints/handlers/delete.go`, `pkg/registry/rest/delete.go`,
//! `pkg/registry/generic/registry/store.go`).

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::form::Form;
use super::options::DeleteOptions;
use super::target::Target;
use super::{body, convert, meta};
use crate::node::embedded::apiserver::admission::{self, Attributes, Operation};
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult};
use crate::node::embedded::apiserver::kinds;
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::schema::{self, FieldValidation};
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;
use crate::node::embedded::store::{Op, StoreError, Stored};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

pub(super) async fn serve(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
) -> ApiResult {
    let form = Form::of(request)?;
    let options = read_options(target, request)?;
    warn_about_jobs(target, request, &options);
    let (answer, deleted) = delete(state, target, request, &options).await?;
    let answer = if answer.get("kind").and_then(Value::as_str) == Some("Status") {
        answer
    } else {
        form.object(target, request, answer)?
    };
    let accepted = !deleted && options.orphan_dependents == Some(false);
    Ok(ApiResponse::object(
        if accepted { 202 } else { 200 },
        answer,
    ))
}

/// DeleteOptions of the body, or of the query when there is none.
pub(super) fn read_options(target: &Target, request: &ApiRequest) -> Result<DeleteOptions, Status> {
    if request.body.is_empty() {
        return DeleteOptions::from_query(request);
    }
    body::check_media_type(target, request)?;
    let content_type = request.header("content-type").unwrap_or("");
    let decoded = schema::decode(
        "",
        "v1",
        "DeleteOptions",
        content_type,
        &request.body,
        FieldValidation::Ignore,
    )
    .map_err(|error| super::bad_request(error.cause()))?;
    let mut object = decoded.value;
    if request.audit.wants_request() {
        // The handler records the internal type.
        let mut recorded = Map::new();
        recorded.insert("kind".into(), "DeleteOptions".into());
        recorded.insert("apiVersion".into(), "meta.k8s.io/__internal".into());
        if let Some(map) = object.as_object() {
            for (key, value) in map {
                if key != "kind" && key != "apiVersion" {
                    recorded.insert(key.clone(), value.clone());
                }
            }
        }
        request
            .audit
            .with(|draft| draft.request_object = Some(Value::Object(recorded).into()));
    }
    if let Some(map) = object.as_object_mut() {
        map.shift_remove("kind");
        map.shift_remove("apiVersion");
    }
    DeleteOptions::from_object(object)
}

/// Jobs leave their pods behind by default, and the server says so.
fn warn_about_jobs(target: &Target, request: &ApiRequest, options: &DeleteOptions) {
    if target.resource.name == "jobs"
        && target.resource.group == "batch"
        && options.propagation.is_none()
        && options.orphan_dependents.is_none()
    {
        request.warnings.add("child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning");
    }
}

/// Deletes an object, or marks it as being deleted. Gives the answer, and whether it is gone.
pub(super) async fn delete(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
    options: &DeleteOptions,
) -> Result<(Value, bool), Status> {
    loop {
        let stored = state
            .store
            .get(&target.key(&target.name))
            .ok_or_else(|| target.not_found(&target.name))?;
        let live = convert::shown(target, &stored);
        admit(state, target, request, options, &live).await?;
        preconditions(target, options, &live)?;
        kinds::prepare_delete(state, &target.resource, &live, &options.object)?;
        match plan(target, &live, options) {
            Plan::Nothing => return Ok((answer(target, live), false)),
            Plan::Keep(object) => {
                let value = convert::to_stored(&target.resource, &object);
                if value == *stored.value {
                    return Ok((live, false));
                }
                if options.dry_run {
                    return Ok((object, false));
                }
                match state
                    .store
                    .update(&stored.key, Some(stored.revision), value)
                    .await
                {
                    Ok(stored) => return Ok((convert::shown(target, &stored), false)),
                    Err(StoreError::Conflict(_)) => {}
                    Err(error) => return Err(target.store_error(&target.name, &error)),
                }
            }
            Plan::Delete(marked) => {
                if options.dry_run {
                    return Ok((answer(target, *marked.unwrap_or(Box::new(live))), true));
                }
                match remove(state, target, &stored, marked.as_deref()).await {
                    Ok(gone) => {
                        return Ok((answer(target, convert::shown(target, &gone)), true));
                    }
                    Err(StoreError::Conflict(_)) => {}
                    Err(error) => return Err(target.store_error(&target.name, &error)),
                }
            }
        }
    }
}

async fn admit(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
    options: &DeleteOptions,
    live: &Value,
) -> Result<(), Status> {
    let attributes = Attributes {
        operation: Operation::Delete,
        resource: &target.resource,
        subresource: &target.subresource,
        namespace: &target.namespace,
        name: &target.name,
        user: &request.user,
        dry_run: options.dry_run,
        warnings: &request.warnings,
        audit: &request.audit,
    };
    admission::admit(state, &attributes, Some(live), &mut Value::Null).await
}

/// Removes an object; one that was marked first is seen marked by watches.
async fn remove(
    state: &ApiState,
    target: &Target,
    stored: &Stored,
    marked: Option<&Value>,
) -> Result<Stored, StoreError> {
    let Some(marked) = marked else {
        return state.store.delete(&stored.key, Some(stored.revision)).await;
    };
    let value = convert::to_stored(&target.resource, marked);
    let mut done = state
        .store
        .commit(vec![
            Op::Update {
                key: stored.key.clone(),
                expected: Some(stored.revision),
                value: Arc::new(value),
            },
            Op::Delete {
                key: stored.key.clone(),
                expected: None,
            },
        ])
        .await?;
    done.pop().ok_or(StoreError::NotFound)
}

fn preconditions(target: &Target, options: &DeleteOptions, live: &Value) -> Result<(), Status> {
    let resource = &target.resource;
    // The kind stands where other conflicts have the resource.
    let conflict = |why: String| {
        let mut status = target.conflict(&target.name, &why);
        let kind =
            crate::node::embedded::apiserver::status::qualified(&resource.group, &resource.kind);
        status.message = format!(
            "Operation cannot be fulfilled on {kind} \"{}\": {why}",
            target.name
        );
        status.details = Some(crate::node::embedded::apiserver::status::details(
            &resource.group,
            &resource.kind,
            &target.name,
        ));
        status
    };
    let uid = meta::text(live, "uid");
    if let Some(want) = &options.precondition_uid
        && want != uid
    {
        return Err(conflict(format!(
            "the UID in the precondition ({want}) does not match the UID in record ({uid}). The object might have been deleted and then recreated"
        )));
    }
    let version = meta::text(live, "resourceVersion");
    if let Some(want) = &options.precondition_version
        && want != version
    {
        return Err(conflict(format!(
            "the ResourceVersion in the precondition ({want}) does not match the ResourceVersion in record ({version}). The object might have been modified"
        )));
    }
    Ok(())
}

/// What a deletion does.
enum Plan {
    /// The object is being deleted already, and not faster than before.
    Nothing,
    /// The object stays, marked.
    Keep(Value),
    /// The object goes, perhaps marked first.
    Delete(Option<Box<Value>>),
}

fn plan(target: &Target, live: &Value, options: &DeleteOptions) -> Plan {
    let resource = &target.resource;
    match (resource.group.as_str(), resource.name.as_str()) {
        ("", "namespaces") => return plan_namespace(live, options, target),
        ("apiextensions.k8s.io", "customresourcedefinitions") => {
            return plan_definition(live);
        }
        _ => {}
    }
    let mut object = live.clone();
    let graceful = if resource.group.is_empty() && resource.name == "pods" {
        match mark_pod(&mut object, options) {
            Grace::Pending => return Plan::Nothing,
            Grace::Marked(seconds) => Some(seconds),
            Grace::None => None,
        }
    } else {
        None
    };
    let finalizers = garbage_finalizers(target, &object, options);
    meta::set_finalizers(&mut object, &finalizers);
    if !finalizers.is_empty() {
        if graceful.is_none() {
            mark(&mut object);
        }
        meta::order(&mut object);
        return Plan::Keep(object);
    }
    meta::order(&mut object);
    match graceful {
        Some(seconds) if seconds > 0 => Plan::Keep(object),
        Some(_) => Plan::Delete(Some(Box::new(object))),
        None => Plan::Delete(None),
    }
}

/// Marks an object that waits for finalizers (`markAsDeleting`).
pub(super) fn mark(object: &mut Value) {
    if !meta::is_deleting(object) {
        bump_generation(object);
        meta::set(object, "deletionTimestamp", meta::now());
    }
    meta::set(object, "deletionGracePeriodSeconds", 0);
}

fn bump_generation(object: &mut Value) {
    if let Some(generation) = object
        .pointer("/metadata/generation")
        .and_then(Value::as_i64)
        .filter(|generation| *generation > 0)
    {
        meta::set(object, "generation", generation + 1);
    }
}

/// What became of a graceful deletion.
enum Grace {
    None,
    Pending,
    Marked(i64),
}

/// Graceful deletion of a pod (`BeforeDelete`, `podStrategy.CheckGracefulDelete`).
fn mark_pod(pod: &mut Value, options: &DeleteOptions) -> Grace {
    let asked = options
        .grace_period
        .map(|seconds| if seconds < 0 { 1 } else { seconds });
    let now = jiff::Timestamp::now();
    if meta::is_deleting(pod) {
        let current = pod
            .pointer("/metadata/deletionGracePeriodSeconds")
            .and_then(Value::as_i64)
            .unwrap_or(0);
        if current == 0 {
            return Grace::None;
        }
        let Some(mut period) = asked.filter(|seconds| *seconds < current) else {
            return Grace::Pending;
        };
        let old: jiff::Timestamp = meta::text(pod, "deletionTimestamp").parse().unwrap_or(now);
        let mut end = old - jiff::SignedDuration::from_secs(current)
            + jiff::SignedDuration::from_secs(period);
        if end < now {
            end = now;
            if period != 0 {
                period = 1;
            }
        }
        meta::set(pod, "deletionTimestamp", meta::timestamp(end));
        meta::set(pod, "deletionGracePeriodSeconds", period);
        return Grace::Marked(period);
    }
    let mut period = asked.unwrap_or_else(|| {
        pod.pointer("/spec/terminationGracePeriodSeconds")
            .and_then(Value::as_i64)
            .unwrap_or(30)
    });
    let phase = pod
        .pointer("/status/phase")
        .and_then(Value::as_str)
        .unwrap_or("");
    let scheduled = pod
        .pointer("/spec/nodeName")
        .and_then(Value::as_str)
        .is_some_and(|node| !node.is_empty());
    if !scheduled || matches!(phase, "Failed" | "Succeeded") {
        period = 0;
    }
    if period < 0 {
        period = 1;
    }
    // Far beyond any real grace period; keeps the arithmetic of times within its range.
    let period = period.min(100 * 365 * 24 * 3600);
    bump_generation(pod);
    meta::set(
        pod,
        "deletionTimestamp",
        meta::timestamp(now + jiff::SignedDuration::from_secs(period)),
    );
    meta::set(pod, "deletionGracePeriodSeconds", period);
    Grace::Marked(period)
}

/// The finalizers an object has after a deletion was asked for (`deletionFinalizersForGarbageCollection`).
fn garbage_finalizers(target: &Target, object: &Value, options: &DeleteOptions) -> Vec<String> {
    let current = meta::finalizers(object);
    if target.resource.name == "events" {
        return current;
    }
    let has = |name: &str| current.iter().any(|f| f == name);
    let policy = options.propagation.as_deref();
    let orphan = match (options.orphan_dependents, policy) {
        (Some(orphan), _) => orphan,
        (None, Some(policy)) => policy == "Orphan",
        (None, None) => current
            .iter()
            .find_map(|f| match f.as_str() {
                ORPHAN => Some(true),
                FOREGROUND => Some(false),
                _ => None,
            })
            .unwrap_or_else(|| orphans_by_default(target)),
    };
    let foreground = match (options.orphan_dependents, policy) {
        (Some(_), _) => false,
        (None, Some(policy)) => policy == "Foreground",
        (None, None) => has(FOREGROUND),
    };
    let mut new: Vec<String> = current
        .iter()
        .filter(|f| *f != ORPHAN && *f != FOREGROUND)
        .cloned()
        .collect();
    if orphan {
        new.push(ORPHAN.to_owned());
    }
    if foreground {
        new.push(FOREGROUND.to_owned());
    }
    let same = new.len() == current.len() && new.iter().all(|f| has(f));
    if same { current } else { new }
}

/// Kinds whose dependents stay unless the client says otherwise.
fn orphans_by_default(target: &Target) -> bool {
    matches!(
        (
            target.resource.group.as_str(),
            target.resource.name.as_str()
        ),
        ("", "replicationcontrollers") | ("batch", "jobs")
    )
}

/// A namespace stays until its content is gone (`pkg/registry/core/namespace/storage`).
fn plan_namespace(live: &Value, options: &DeleteOptions, target: &Target) -> Plan {
    let mut object = live.clone();
    let held = object
        .pointer("/spec/finalizers")
        .and_then(Value::as_array)
        .is_some_and(|list| !list.is_empty());
    if !meta::is_deleting(&object) {
        meta::set(&mut object, "deletionTimestamp", meta::now());
        let finalizers = garbage_finalizers(target, &object, options);
        meta::set_finalizers(&mut object, &finalizers);
        if let Some(map) = object.as_object_mut() {
            let status = map.entry("status").or_insert_with(|| json!({}));
            if let Some(status) = status.as_object_mut() {
                status.insert("phase".into(), "Terminating".into());
            }
        }
        meta::order(&mut object);
        if held || !finalizers.is_empty() {
            return Plan::Keep(object);
        }
        return Plan::Delete(Some(Box::new(object)));
    }
    if held || !meta::finalizers(&object).is_empty() {
        return Plan::Keep(object);
    }
    Plan::Delete(None)
}

/// A definition stays until its objects are gone (`apiextensions-apiserver`'s `customresourcedefinition/etcd.go`).
fn plan_definition(live: &Value) -> Plan {
    let mut object = live.clone();
    if !meta::is_deleting(&object) {
        let now = meta::now();
        meta::set(&mut object, "deletionTimestamp", now.clone());
        let mut finalizers = meta::finalizers(&object);
        if !finalizers
            .iter()
            .any(|f| f == super::definitions::FINALIZER)
        {
            finalizers.push(super::definitions::FINALIZER.to_owned());
        }
        meta::set_finalizers(&mut object, &finalizers);
        if let Some(conditions) = object
            .pointer_mut("/status/conditions")
            .and_then(Value::as_array_mut)
        {
            conditions.push(json!({
                "type": "Terminating",
                "status": "True",
                "lastTransitionTime": now,
                "reason": "InstanceDeletionPending",
                "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon"
            }));
        }
    }
    meta::order(&mut object);
    Plan::Keep(object)
}

/// The answer to a deletion: some kinds give the object back, most a Status.
fn answer(target: &Target, object: Value) -> Value {
    let resource = &target.resource;
    let returns_object = matches!(
        (resource.group.as_str(), resource.name.as_str()),
        (
            "",
            "pods"
                | "services"
                | "namespaces"
                | "serviceaccounts"
                | "resourcequotas"
                | "podtemplates"
                | "persistentvolumes"
                | "persistentvolumeclaims"
        ) | (
            "storage.k8s.io",
            "storageclasses" | "volumeattachments" | "csidrivers" | "csinodes"
        ) | (
            "resource.k8s.io",
            "deviceclasses" | "resourceclaims" | "resourceclaimtemplates" | "resourceslices"
        )
    );
    if returns_object {
        return object;
    }
    let mut details = crate::node::embedded::apiserver::status::details(
        &resource.group,
        &resource.name,
        meta::text(&object, "name"),
    );
    let uid = meta::text(&object, "uid");
    if let Some(details) = details.as_object_mut()
        && !uid.is_empty()
    {
        details.insert("uid".into(), uid.into());
    }
    json!({
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Success",
        "details": details
    })
}
