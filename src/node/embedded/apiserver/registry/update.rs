//! Replacing an object (`pkg/endpoints/handlers/update.go`, `pkg/registry/rest/update.go`,
//! `pkg/registry/generic/registry/store.go`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::form::Form;
use super::options::WriteOptions;
use super::target::Target;
use super::{body, convert, create, generation, meta, size};
use crate::node::embedded::apiserver::admission::{self, Attributes, Operation};
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult};
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;
use crate::node::embedded::apiserver::{kinds, managed_fields};
use crate::node::embedded::store::{StoreError, Stored};

pub(super) async fn serve(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
) -> ApiResult {
    let form = Form::of(request)?;
    let options = WriteOptions::read(request, "UpdateOptions", false)?;
    let mut sent = body::read(target, request, &options)?;
    body::match_namespace(target, &mut sent)?;
    body::match_name(target, &mut sent)?;
    let manager = options.manager(request);
    loop {
        let Some(stored) = state.store.get(&target.key(&target.name)) else {
            if !creates_on_update(target) {
                return Err(target.not_found(&target.name));
            }
            let mut object = sent.clone();
            meta::remove(&mut object, "resourceVersion");
            meta::remove(&mut object, "uid");
            managed_fields::update(target, None, &mut object, &manager);
            let created = create::persist(state, target, request, &options, object).await?;
            return Ok(ApiResponse::object(
                201,
                form.object(target, request, created)?,
            ));
        };
        let live = convert::shown(target, &stored);
        same_uid(target, &live, &sent)?;
        let mut new = sent.clone();
        managed_fields::update(target, Some(&live), &mut new, &manager);
        let change = Change {
            stored: &stored,
            live: &live,
            new,
            retry: Retry::Unconditional,
        };
        match commit(state, target, request, &options, change).await? {
            Committed::Object(object) => {
                return Ok(ApiResponse::object(
                    200,
                    form.object(target, request, object)?,
                ));
            }
            Committed::Changed => {}
        }
    }
}

/// A uid in the body is a precondition.
fn same_uid(target: &Target, live: &Value, sent: &Value) -> Result<(), Status> {
    let (have, want) = (meta::text(live, "uid"), meta::text(sent, "uid"));
    if want.is_empty() || have == want {
        return Ok(());
    }
    Err(target.conflict(
        &target.name,
        &format!(
            "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {want}, UID in object meta: {have}",
            target.etcd_key(&target.name)
        ),
    ))
}

/// When a write that lost a race may start again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::node::embedded::apiserver) enum Retry {
    /// When the client named no version.
    Unconditional,
    /// Always: the version in the object is the one the server put there.
    Always,
}

/// A new state for an object.
pub(in crate::node::embedded::apiserver) struct Change<'a> {
    /// The object as it is stored.
    pub(in crate::node::embedded::apiserver) stored: &'a Stored,
    /// The same as the client sees it.
    pub(in crate::node::embedded::apiserver) live: &'a Value,
    /// What it is to become.
    pub(in crate::node::embedded::apiserver) new: Value,
    /// What to do when somebody else was faster.
    pub(in crate::node::embedded::apiserver) retry: Retry,
}

/// The result of [`commit`].
pub(in crate::node::embedded::apiserver) enum Committed {
    /// Done; the object as the client sees it.
    Object(Value),
    /// Somebody else was faster, and the client named no version: start again from the new object.
    Changed,
}

/// Admits, prepares, validates and stores the new state of an object.
pub(in crate::node::embedded::apiserver) async fn commit(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
    options: &WriteOptions,
    change: Change<'_>,
) -> Result<Committed, Status> {
    let Change {
        stored,
        live,
        mut new,
        retry,
    } = change;
    let attributes = Attributes {
        operation: Operation::Update,
        resource: &target.resource,
        subresource: &target.subresource,
        namespace: &target.namespace,
        name: &target.name,
        user: &request.user,
        dry_run: options.dry_run,
        warnings: &request.warnings,
        audit: &request.audit,
    };
    create::dedup_owners(request, &mut new);
    admission::admit(state, &attributes, Some(live), &mut new).await?;
    managed_fields::keep_times(live, &mut new);
    let version = meta::text(&new, "resourceVersion").to_owned();
    let unconditional = version.is_empty() || version == "0";
    if unconditional && !updates_unconditionally(target) {
        return Err(version_required(target));
    }
    if !unconditional && version != stored.revision.to_string() {
        return Err(target.modified(&target.name));
    }
    let again = unconditional || retry == Retry::Always;
    keep_system_fields(live, &mut new);
    kinds::prepare_update(state, &target.resource, &target.subresource, live, &mut new)?;
    generation::updated(target, live, &mut new);
    meta::order(&mut new);
    create::invalid(state, target, &target.name, Some(live), &new)?;
    for warning in kinds::warnings(&target.resource, Some(live), &new) {
        request.warnings.add(warning);
    }
    admission::validate(state, &attributes, Some(live), &new).await?;
    kinds::allocate(state, &target.resource, &mut new)?;
    let mut value = convert::to_stored(&target.resource, &new);
    let shown = |revision, value| {
        convert::shown(
            target,
            &Stored {
                key: stored.key.clone(),
                value,
                revision,
            },
        )
    };
    if value == *stored.value {
        return Ok(Committed::Object(live.clone()));
    }
    if options.dry_run {
        return Ok(Committed::Object(shown(stored.revision, Arc::new(value))));
    }
    if meta::is_deleting(&new) && is_finished(target, &new) {
        // The last finalizer went: the object goes too. The client gets it as it asked for it.
        return match state.store.delete(&stored.key, Some(stored.revision)).await {
            Ok(_) | Err(StoreError::NotFound) => {
                Ok(Committed::Object(shown(stored.revision, Arc::new(value))))
            }
            Err(StoreError::Conflict(_)) if again => Ok(Committed::Changed),
            Err(error) => Err(target.store_error(&target.name, &error)),
        };
    }
    size::fit(target, &stored.key, &mut value)?;
    match state
        .store
        .update(&stored.key, Some(stored.revision), value)
        .await
    {
        Ok(stored) => Ok(Committed::Object(convert::shown(target, &stored))),
        Err(StoreError::Conflict(_) | StoreError::NotFound) if again => Ok(Committed::Changed),
        Err(error) => Err(target.store_error(&target.name, &error)),
    }
}

/// Whether nothing holds the object back from its deletion any more.
fn is_finished(target: &Target, object: &Value) -> bool {
    if !meta::finalizers(object).is_empty() {
        return false;
    }
    if target.resource.name == "namespaces" && target.resource.group.is_empty() {
        return object
            .pointer("/spec/finalizers")
            .and_then(Value::as_array)
            .is_none_or(Vec::is_empty);
    }
    object
        .pointer("/metadata/deletionGracePeriodSeconds")
        .is_none_or(|grace| grace.as_i64().unwrap_or(0) == 0)
}

/// What an update cannot change (`BeforeUpdate` of `pkg/registry/rest/update.go`).
fn keep_system_fields(live: &Value, new: &mut Value) {
    if meta::text(new, "uid").is_empty() {
        meta::set(new, "uid", meta::text(live, "uid"));
    }
    // Changes of the creation time are ignored.
    meta::set(
        new,
        "creationTimestamp",
        meta::text(live, "creationTimestamp"),
    );
    for field in ["deletionTimestamp", "deletionGracePeriodSeconds"] {
        let old = live.get("metadata").and_then(|meta| meta.get(field));
        match old {
            Some(old) if !old.is_null() => meta::set(new, field, old.clone()),
            _ => {
                meta::remove(new, field);
            }
        }
    }
    let generation = live.pointer("/metadata/generation").cloned();
    match generation {
        Some(generation) => meta::set(new, "generation", generation),
        None => {
            meta::remove(new, "generation");
        }
    }
    meta::remove(new, "selfLink");
}

fn version_required(target: &Target) -> Status {
    let resource = &target.resource;
    let error = kinds::FieldError::invalid(
        "metadata.resourceVersion",
        &json!(0),
        "must be specified for an update",
    );
    // The real server names the resource here where others name the kind.
    kinds::invalid_status(&resource.group, &resource.name, &target.name, &[error])
}

/// `AllowUnconditionalUpdate` of the strategies in kubernetes/kubernetes `pkg/registry`.
fn updates_unconditionally(target: &Target) -> bool {
    if target.custom.is_some() {
        return false;
    }
    !matches!(
        target.resource.name.as_str(),
        "customresourcedefinitions"
            | "apiservices"
            | "leases"
            | "leasecandidates"
            | "csidrivers"
            | "csinodes"
            | "volumeattachments"
            | "mutatingwebhookconfigurations"
            | "validatingwebhookconfigurations"
            | "validatingadmissionpolicies"
            | "validatingadmissionpolicybindings"
            | "mutatingadmissionpolicies"
            | "mutatingadmissionpolicybindings"
            | "runtimeclasses"
            | "storageversions"
    )
}

/// `AllowCreateOnUpdate` of the strategies in kubernetes/kubernetes `pkg/registry`.
fn creates_on_update(target: &Target) -> bool {
    target.subresource.is_empty()
        && matches!(
            target.resource.name.as_str(),
            "leases"
                | "endpoints"
                | "events"
                | "services"
                | "limitranges"
                | "clusterroles"
                | "clusterrolebindings"
                | "roles"
                | "rolebindings"
        )
        && target.custom.is_none()
}
