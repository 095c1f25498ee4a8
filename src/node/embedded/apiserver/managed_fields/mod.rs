//! Who manages which fields of an object (`k8s.io/apimachinery/pkg/util/managedfields`), and the
//! merge of server-side apply (`sigs.k8s.io/structured-merge-diff` merge/update.go).

mod entries;
mod path;
mod shape;
mod typed;

use serde_json::{Value, json};

use super::registry::{self, Target, bad_request, meta, plain_error};
use super::schema;
use super::status::Status;
use entries::{Entry, Managed, Manager};
use path::{Element, Set};
use shape::Shape;
use typed::Comparison;

/// At most this many `Update` managers are told apart.
const UPDATE_MANAGERS: usize = 10;
/// Owner of what was there before an object was applied for the first time.
const BEFORE_APPLY: &str = "before-first-apply";
/// Owner of changes too old to keep apart.
const ANCIENT: &str = "ancient-changes";
/// What `kubectl apply` (client side) leaves on an object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What the merge must know of the target.
struct Context<'a> {
    shape: Shape<'a>,
    api_version: String,
    subresource: &'a str,
    ignored: Set,
}

impl<'a> Context<'a> {
    fn of(target: &'a Target) -> Self {
        let resource = &target.resource;
        let shape = match &target.custom {
            Some(custom) => custom
                .version
                .pointer("/schema/openAPIV3Schema")
                .map_or(Shape::Deduced, |schema| Shape::Custom(schema, true)),
            None => Shape::built_in(&resource.group, &resource.version, &resource.kind),
        };
        Self {
            shape,
            api_version: resource.api_version(),
            subresource: &target.subresource,
            ignored: ignored(target),
        }
    }

    fn manager(&self, name: &str, applies: bool) -> Manager {
        Manager {
            name: if name.is_empty() { "unknown" } else { name }.to_owned(),
            applies,
            api_version: if applies {
                String::new()
            } else {
                self.api_version.clone()
            },
            subresource: self.subresource.to_owned(),
        }
    }
}

/// Fields that the strategy of the (sub)resource resets, so that nobody comes to own them
/// (`GetResetFields` in kubernetes/kubernetes `pkg/registry`).
fn ignored(target: &Target) -> Set {
    let resource = &target.resource;
    match target.subresource.as_str() {
        "" if resource.name == "certificatesigningrequests" => {
            Set::of_fields(&[&["spec"], &["status"]])
        }
        "approval" => Set::of_fields(&[&["spec"]]),
        "" if resource.subresource("status").is_some() => Set::of_fields(&[&["status"]]),
        "status" => match (resource.group.as_str(), resource.name.as_str()) {
            _ if target.custom.is_some() => Set::of_fields(&[&["metadata"], &["spec"]]),
            ("apiextensions.k8s.io", _) => Set::of_fields(&[&["metadata"], &["spec"]]),
            ("apps", "deployments") => Set::of_fields(&[&["spec"], &["metadata", "labels"]]),
            ("", "pods") => Set::of_fields(&[
                &["spec"],
                &["metadata", "deletionTimestamp"],
                &["metadata", "ownerReferences"],
            ]),
            _ => Set::of_fields(&[&["spec"]]),
        },
        _ => Set::default(),
    }
}

/// Paths that nobody owns (`stripmeta.go`).
fn stripped() -> Set {
    Set::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
}

/// An object with nothing in it, as Go writes a new struct.
fn zero(target: &Target) -> Value {
    let resource = &target.resource;
    let mut object = json!({"kind": resource.kind, "apiVersion": resource.api_version()});
    if target.custom.is_none() {
        schema::normalise(
            &resource.group,
            &resource.version,
            &resource.kind,
            &mut object,
        );
    }
    object
}

/// Records that `manager` created (`live` is `None`) or updated an object.
pub(super) fn update(target: &Target, live: Option<&Value>, new: &mut Value, manager: &str) {
    let context = Context::of(target);
    let given = meta::remove(new, "managedFields");
    let before = live.and_then(|live| live.pointer("/metadata/managedFields"));
    let managed = if !target.subresource.is_empty() {
        // A subresource cannot set managed fields.
        Managed::decode(before).unwrap_or_default()
    } else if given.as_ref().is_some_and(is_reset) {
        Managed::default()
    } else {
        Managed::decode(given.as_ref())
            .filter(|managed| !managed.is_empty())
            .or_else(|| Managed::decode(before))
            .unwrap_or_default()
    };
    // Objects that were never tracked stay so.
    if managed.is_empty() && live.is_some() {
        return;
    }
    let old = match live {
        Some(live) => without_managed(live),
        None => zero(target),
    };
    let managed = context.update(&old, new, managed, &context.manager(manager, false));
    store(new, &managed);
}

/// `managedFields: [{}]` asks to forget everything.
fn is_reset(given: &Value) -> bool {
    match given.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([one]) => one.as_object().is_some_and(|map| {
            map.values()
                .all(|v| v.is_null() || v.as_str().is_some_and(str::is_empty))
        }),
        _ => false,
    }
}

fn without_managed(object: &Value) -> Value {
    let mut object = object.clone();
    meta::remove(&mut object, "managedFields");
    object
}

fn store(object: &mut Value, managed: &Managed) {
    meta::remove(object, "managedFields");
    let entries = managed.encode();
    if !entries.is_empty() {
        meta::set(object, "managedFields", entries);
    }
}

/// Undoes changes of times alone (`fieldmanager/equality.go`).
pub(super) fn keep_times(live: &Value, new: &mut Value) {
    let pointer = "/metadata/managedFields";
    let (Some(old), Some(now)) = (live.pointer(pointer), new.pointer(pointer)) else {
        return;
    };
    if old == now {
        return;
    }
    let timeless = |entries: &Value| {
        let mut entries = entries.clone();
        if let Some(list) = entries.as_array_mut() {
            for entry in list {
                if let Some(entry) = entry.as_object_mut() {
                    entry.shift_remove("time");
                }
            }
        }
        entries
    };
    if timeless(old) == timeless(now) && without_managed(live) == without_managed(new) {
        let old = old.clone();
        meta::set(new, "managedFields", old);
    }
}

/// Conflicts: who else owns which of the applied fields.
type Conflicts = Vec<(Manager, Vec<Element>)>;

impl Context<'_> {
    /// The managers after an update (`managedFieldsUpdater.Update` and below).
    fn update(&self, old: &Value, new: &Value, managed: Managed, manager: &Manager) -> Managed {
        let comparison = typed::compare(self.shape, old, new).without(&self.ignored);
        let mut managed = managed;
        take(&mut managed, &comparison, None);
        let taken = comparison
            .added
            .union(&comparison.modified)
            .difference(&comparison.removed)
            .recursive_difference(&self.ignored)
            .difference(&stripped());
        if !taken.is_empty() {
            let set = match managed.get(manager) {
                Some(previous) => taken.union(&previous.set),
                None => taken,
            };
            managed.insert(
                manager.clone(),
                Entry {
                    set,
                    api_version: self.api_version.clone(),
                    time: Some(meta::now()),
                },
            );
        }
        managed.cap(UPDATE_MANAGERS, ANCIENT);
        managed
    }

    /// Applies a configuration. Gives the merged object (`None` when nothing changes) and the managers.
    fn apply(
        &self,
        live: &Value,
        applied: &Value,
        managed: &Managed,
        manager: &Manager,
        force: bool,
    ) -> Result<(Option<Value>, Managed), Conflicts> {
        let mut managed = managed.clone();
        let last = managed.get(manager).map(|entry| entry.set.clone());
        let merged =
            typed::merge(self.shape, Some(live), Some(applied)).unwrap_or_else(|| live.clone());
        let set = typed::field_set(self.shape, applied).recursive_difference(&self.ignored);
        let time = managed.get(manager).and_then(|entry| entry.time.clone());
        managed.insert(
            manager.clone(),
            Entry {
                set,
                api_version: self.api_version.clone(),
                time,
            },
        );
        let new = match &last {
            Some(last) if !last.is_empty() => self.prune(merged, &managed, last),
            _ => merged,
        };
        let comparison = typed::compare(self.shape, live, &new).without(&self.ignored);
        if !force {
            let conflicts = conflicts(&managed, &comparison, manager);
            if !conflicts.is_empty() {
                return Err(conflicts);
            }
        }
        take(&mut managed, &comparison, Some(manager));
        if let Some(entry) = managed.remove(manager) {
            let set = entry.set.difference(&stripped());
            if !set.is_empty() {
                managed.insert(manager.clone(), Entry { set, ..entry });
            }
        }
        if comparison.is_same() {
            return Ok((None, managed));
        }
        if let Some(entry) = managed.get_mut(manager) {
            entry.time = Some(meta::now());
        }
        Ok((Some(new), managed))
    }

    /// Whether a path ends in a declared field.
    fn is_named(&self, path: &[Element]) -> bool {
        let Some((Element::Field(name), before)) = path.split_last() else {
            return false;
        };
        let mut shape = self.shape;
        for element in before {
            match shape.at(element) {
                Some(below) => shape = below,
                None => return false,
            }
        }
        shape.declares(name)
    }

    fn named(&self, set: &Set) -> Set {
        set.with_members(&|path| self.is_named(path))
    }

    /// Removes what the manager applied before and no longer does, unless others own it.
    fn prune(&self, merged: Value, managed: &Managed, last: &Set) -> Value {
        let shape = self.shape;
        let pruned = typed::remove(shape, &merged, &self.named(last));
        let owned = managed
            .entries()
            .fold(Set::default(), |all, entry| all.union(&entry.set));
        let fields = |value: &Value| self.named(&typed::field_set(shape, value));
        // What somebody owns comes back.
        let gone = fields(&merged).difference(&fields(&pruned).union(&self.named(&owned)));
        let pruned = typed::remove(shape, &merged, &gone);
        // What the manager had not applied comes back too.
        let gone = fields(&merged)
            .difference(&fields(&pruned))
            .intersection(&self.named(last));
        typed::remove(shape, &merged, &gone)
    }
}

fn conflicts(managed: &Managed, comparison: &Comparison, manager: &Manager) -> Conflicts {
    let changed = comparison.modified.union(&comparison.added);
    managed
        .iter()
        .filter(|(other, _)| *other != manager)
        .flat_map(|(other, entry)| {
            entry
                .set
                .intersection(&changed)
                .paths()
                .into_iter()
                .map(|path| (other.clone(), path))
        })
        .collect()
}

/// What changed no longer belongs to the others.
fn take(managed: &mut Managed, comparison: &Comparison, except: Option<&Manager>) {
    let changed = comparison.modified.union(&comparison.added);
    managed.retain(|manager, entry| {
        if except != Some(manager) {
            let lost = entry.set.intersection(&changed);
            entry.set = entry.set.difference(&lost).difference(&comparison.removed);
        }
        !entry.set.is_empty()
    });
}

/// Applies a configuration to an object, or makes one.
///
/// # Errors
/// Conflicts, or what is wrong with the configuration.
pub(super) fn apply(
    target: &Target,
    live: Option<&Value>,
    applied: &Value,
    manager: &str,
    force: bool,
) -> Result<Value, Status> {
    let context = Context::of(target);
    let resource = &target.resource;
    if applied
        .pointer("/metadata/managedFields")
        .is_some_and(|fields| !fields.is_null())
    {
        return Err(bad_request("metadata.managedFields must be nil"));
    }
    typed::validate(context.shape, applied).map_err(|error| {
        plain_error(format!(
            "failed to create typed patch object ({}/{}; {}, Kind={}): {error}",
            meta::text(applied, "namespace"),
            meta::text(applied, "name"),
            resource.api_version(),
            resource.kind
        ))
    })?;
    let old = live.map_or_else(|| zero(target), without_managed);
    let mut managed =
        Managed::decode(live.and_then(|live| live.pointer("/metadata/managedFields")))
            .unwrap_or_default();
    if managed.is_empty() && live.is_some() {
        let before = context.manager(BEFORE_APPLY, false);
        managed = context.update(&zero(target), &old, managed, &before);
    }
    let id = context.manager(manager, true);
    let result = match context.apply(&old, applied, &managed, &id, force) {
        Err(conflicts) if manager == "kubectl" => {
            // Fields of a client-side apply are taken over silently.
            let allowed = last_applied(&context, &old);
            let left: Conflicts = conflicts
                .into_iter()
                .filter(|(_, path)| !allowed.as_ref().is_some_and(|set| set.has(path)))
                .collect();
            if left.is_empty() {
                context.apply(&old, applied, &managed, &id, true)
            } else {
                Err(left)
            }
        }
        other => other,
    };
    let (merged, managed) = result.map_err(|conflicts| conflict_status(&conflicts))?;
    let mut object = merged.unwrap_or(old);
    if manager == "kubectl" && !last_applied_text(&object).is_empty() {
        let mut configuration = applied.clone();
        if let Some(annotations) = configuration
            .pointer_mut("/metadata/annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.shift_remove(LAST_APPLIED);
        }
        registry::sort(&mut configuration);
        if let Some(annotations) = object
            .pointer_mut("/metadata/annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.insert(LAST_APPLIED.to_owned(), format!("{configuration}\n").into());
        }
    }
    store(&mut object, &managed);
    Ok(object)
}

fn last_applied_text(object: &Value) -> &str {
    object
        .get("metadata")
        .and_then(|meta| meta.get("annotations"))
        .and_then(|annotations| annotations.get(LAST_APPLIED))
        .and_then(Value::as_str)
        .unwrap_or("")
}

/// The fields that the last client-side apply set and that are still so.
fn last_applied(context: &Context<'_>, live: &Value) -> Option<Set> {
    let configuration: Value = serde_json::from_str(last_applied_text(live)).ok()?;
    if configuration.get("apiVersion").and_then(Value::as_str) != Some(&context.api_version) {
        return None;
    }
    typed::validate(context.shape, &configuration).ok()?;
    let comparison = typed::compare(context.shape, &configuration, live);
    Some(
        typed::field_set(context.shape, &configuration)
            .difference(&comparison.modified)
            .difference(&comparison.added)
            .difference(&comparison.removed),
    )
}

/// The 409 of an apply (`conflict.go`).
fn conflict_status(conflicts: &Conflicts) -> Status {
    let causes: Vec<Value> = conflicts
        .iter()
        .map(|(manager, path)| {
            json!({
                "reason": "FieldManagerConflict",
                "message": format!("conflict with {}", manager.shown()),
                "field": path::show(path)
            })
        })
        .collect();
    let message = if let [(manager, path)] = conflicts.as_slice() {
        format!(
            "Apply failed with 1 conflict: conflict with {}: {}",
            manager.shown(),
            path::show(path)
        )
    } else {
        let mut managers: Vec<&Manager> = conflicts.iter().map(|(manager, _)| manager).collect();
        managers.sort_by_key(|manager| manager.identifier());
        managers.dedup();
        let mut lines = Vec::new();
        for manager in managers {
            lines.push(format!("conflicts with {}:", manager.shown()));
            for (other, path) in conflicts {
                if other == manager {
                    lines.push(format!("- {}", path::show(path)));
                }
            }
        }
        format!(
            "Apply failed with {} conflicts: {}",
            conflicts.len(),
            lines.join("\n")
        )
    };
    Status::new(409, "Conflict", message).with_details(json!({ "causes": causes }))
}
