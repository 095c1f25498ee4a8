//! Creating an object (`pkg/endpoints/handlers/create.go`, `pkg/registry/rest/create.go`).

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use rand::RngExt as _;
use serde_json::Value;

use super::form::Form;
use super::options::WriteOptions;
use super::target::Target;
use super::{body, convert, definition_end, generation, meta, plain_error, size};
use crate::node::embedded::apiserver::admission::{self, Attributes, Operation};
use crate::node::embedded::apiserver::api::{ApiResponse, ApiResult};
use crate::node::embedded::apiserver::request::ApiRequest;
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;
use crate::node::embedded::apiserver::{kinds, managed_fields};
use crate::node::embedded::store::StoreError;

/// Generated names are tried this often before the clash is reported.
const NAME_ATTEMPTS: usize = 8;
/// Letters and digits of generated names: none that could spell a word (`apimachinery/pkg/util/rand`).
const NAME_ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Length of the generated part.
const NAME_SUFFIX: usize = 5;
/// Longest generated name.
const NAME_LENGTH: usize = 63;

pub(super) async fn serve(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
) -> ApiResult {
    let form = Form::of(request)?;
    let options = WriteOptions::read(request, "CreateOptions", false)?;
    let mut object = body::read(target, request, &options)?;
    body::match_namespace(target, &mut object)?;
    dedup_owners(request, &mut object);
    let manager = options.manager(request);
    managed_fields::update(target, None, &mut object, &manager);
    let created = persist(state, target, request, &options, object).await?;
    Ok(ApiResponse::object(
        201,
        form.object(target, request, created)?,
    ))
}

/// Admits, prepares, validates and stores a new object; gives it as the client sees it.
pub(in crate::node::embedded::apiserver) async fn persist(
    state: &Arc<ApiState>,
    target: &Target,
    request: &ApiRequest,
    options: &WriteOptions,
    mut object: Value,
) -> Result<Value, Status> {
    let given_name = meta::text(&object, "name").to_owned();
    let attributes = Attributes {
        operation: Operation::Create,
        resource: &target.resource,
        subresource: &target.subresource,
        namespace: &target.namespace,
        name: &given_name,
        user: &request.user,
        dry_run: options.dry_run,
        warnings: &request.warnings,
        audit: &request.audit,
    };
    definition_end::refuse(target, &given_name)?;
    admission::admit(state, &attributes, None, &mut object).await?;
    let generate = meta::text(&object, "name").is_empty();
    let base = meta::text(&object, "generateName").to_owned();
    for system in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        meta::remove(&mut object, system);
    }
    let mut attempt = 0;
    loop {
        attempt += 1;
        let mut object = object.clone();
        if generate && !base.is_empty() {
            meta::set(&mut object, "name", generated_name(&base));
        }
        meta::set(&mut object, "uid", uuid::Uuid::new_v4().to_string());
        meta::set(&mut object, "creationTimestamp", meta::now());
        meta::order(&mut object);
        let follows = job_labels_follow(target, &object);
        kinds::prepare_create(state, &target.resource, &request.user, &mut object)?;
        if follows && let Some(labels) = object.pointer("/spec/template/metadata/labels").cloned() {
            meta::set(&mut object, "labels", labels);
        }
        generation::created(target, &mut object);
        meta::order(&mut object);
        let name = meta::text(&object, "name").to_owned();
        invalid(state, target, &name, None, &object)?;
        for warning in kinds::warnings(&target.resource, None, &object) {
            request.warnings.add(warning);
        }
        let version = meta::text(&object, "resourceVersion");
        if !version.is_empty() && version != "0" {
            return Err(plain_error(
                "resourceVersion should not be set on objects to be created",
            ));
        }
        admission::validate(state, &attributes, None, &object).await?;
        kinds::allocate(state, &target.resource, &mut object)?;
        let key = target.key(&name);
        if options.dry_run {
            if state.store.get(&key).is_some() {
                return Err(target.already_exists(&name));
            }
            meta::remove(&mut object, "resourceVersion");
            meta::order(&mut object);
            return Ok(object);
        }
        let mut value = convert::to_stored(&target.resource, &object);
        size::fit(target, &key, &mut value)?;
        match state.store.create(&key, value).await {
            Ok(stored) => return Ok(convert::shown(target, &stored)),
            Err(StoreError::Exists) if generate && attempt < NAME_ATTEMPTS => {}
            Err(error) => return Err(target.store_error(&name, &error)),
        }
    }
}

/// Owners that are named twice are kept once, with a warning (`dedupOwnerReferencesAndAddWarning` of
/// `pkg/endpoints/handlers/create.go`).
pub(super) fn dedup_owners(request: &ApiRequest, object: &mut Value) {
    let Some(owners) = object
        .pointer_mut("/metadata/ownerReferences")
        .and_then(Value::as_array_mut)
    else {
        return;
    };
    let uid = |owner: &Value| owner.get("uid").and_then(Value::as_str).map(str::to_owned);
    // The first owner of each uid, by its place.
    let mut first: HashMap<Option<String>, usize> = HashMap::new();
    let mut kept: Vec<Value> = Vec::new();
    let mut twice: BTreeSet<String> = BTreeSet::new();
    for owner in owners.drain(..) {
        let place = *first.entry(uid(&owner)).or_insert(kept.len());
        if kept.get(place) == Some(&owner) {
            twice.extend(uid(&owner));
        } else {
            kept.push(owner);
        }
    }
    *owners = kept;
    if !twice.is_empty() {
        let twice: Vec<String> = twice.into_iter().collect();
        request.warnings.add(format!(
            ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {}",
            twice.join(", ")
        ));
    }
}

/// Whether the labels of a job become those of its pods: when it has none of its own, or got those of the
/// template by default (Go shares the map then).
fn job_labels_follow(target: &Target, object: &Value) -> bool {
    if target.resource.group != "batch" || target.resource.name != "jobs" {
        return false;
    }
    let own = object.pointer("/metadata/labels");
    own.is_none() || own == object.pointer("/spec/template/metadata/labels")
}

/// 422 if the object is not valid.
pub(super) fn invalid(
    state: &ApiState,
    target: &Target,
    name: &str,
    old: Option<&Value>,
    object: &Value,
) -> Result<(), Status> {
    let mut errors = match &target.custom {
        Some(_) => crate::node::embedded::apiserver::patch::custom::validate(target, old, object),
        None => kinds::validate(&target.resource, &target.subresource, old, object),
    };
    let is_update_of_pod = old.is_some() && target.resource.kind == "Pod";
    if !is_update_of_pod && !state.flags.line.bool("allow-privileged") {
        errors.extend(kinds::validation::privileged::refuse(
            &target.resource.kind,
            object,
        ));
    }
    if let Some(old) = old.filter(|_| super::definitions::are(target)) {
        errors.extend(super::definitions::immutable(old, object));
    }
    if errors.is_empty() {
        return Ok(());
    }
    for error in &mut errors {
        // An error of the object as a whole.
        if error.field.is_empty() {
            "[]".clone_into(&mut error.field);
        }
    }
    let kind = match object.get("kind").and_then(Value::as_str) {
        Some(kind) if target.custom.is_some() && !kind.is_empty() => kind,
        _ => &target.resource.kind,
    };
    Err(kinds::invalid_status(
        &target.resource.group,
        kind,
        name,
        &errors,
    ))
}

/// A name for `generateName` (`pkg/storage/names/generate.go`).
fn generated_name(base: &str) -> String {
    let longest = NAME_LENGTH - NAME_SUFFIX;
    let mut name: String = base.chars().take(longest).collect();
    let mut random = rand::rng();
    for _ in 0..NAME_SUFFIX {
        let index = random.random_range(0..NAME_ALPHABET.len());
        if let Some(byte) = NAME_ALPHABET.get(index) {
            name.push(char::from(*byte));
        }
    }
    name
}
