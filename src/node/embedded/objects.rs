//! Objects that a setup changes before its node runs for the first time.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::apiserver::catalog::{self, Resource};
use super::store::{Op, Store};
use crate::node::ObjectChange;

/// Directory of changes that wait for the node's next start, within the state directory.
const OBJECTS: &str = "objects";

/// Leaves changes for the next start of the node, which makes them once.
///
/// # Errors
/// When the file cannot be written.
pub fn leave(state_dir: &Path, changes: &[ObjectChange]) -> io::Result<()> {
    let dir = state_dir.join(OBJECTS);
    fs::create_dir_all(&dir)?;
    let number = fs::read_dir(&dir)?.count();
    let mut out = tempfile::NamedTempFile::new_in(state_dir)?;
    serde_json::to_writer(&mut out, changes)?;
    out.persist(dir.join(format!("{number:04}.json")))
        .map_err(|error| error.error)?;
    Ok(())
}

/// The changes that were left, by the name of their file.
///
/// # Errors
/// When a file cannot be read or is not understood.
pub fn left(state_dir: &Path) -> io::Result<Vec<(String, Vec<ObjectChange>)>> {
    let mut found = Vec::new();
    let entries = match fs::read_dir(state_dir.join(OBJECTS)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let changes = serde_json::from_slice::<Vec<Value>>(&fs::read(entry.path())?)?
            .into_iter()
            .map(|change| match change.get("kind") {
                // Labs of earlier versions: an object to create.
                Some(_) => Ok(ObjectChange::Put(change)),
                None => serde_json::from_value(change),
            })
            .collect::<Result<_, _>>()?;
        found.push((entry.file_name().to_string_lossy().into_owned(), changes));
    }
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

/// The write that makes a change; none where there is nothing to change.
pub fn op(store: &Store, change: ObjectChange) -> Option<Op> {
    let key = object_key(change.object())?;
    match change {
        ObjectChange::Put(object) => Some(Op::Put {
            key,
            value: Arc::new(as_stored(object)),
        }),
        ObjectChange::Patch(patch) => {
            let mut value = (*store.get(&key)?.value).clone();
            json_patch::merge(&mut value, &patch);
            Some(Op::Put {
                key,
                value: Arc::new(value),
            })
        }
        ObjectChange::Delete(_) => {
            store.get(&key)?;
            Some(Op::Delete {
                key,
                expected: None,
            })
        }
    }
}

/// The built-in resource an object is of.
fn resource_of(object: &Value) -> Option<&'static Resource> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let (group, version) = match text("/apiVersion")?.split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", text("/apiVersion")?),
    };
    catalog::find_kind(group, version, text("/kind")?)
}

/// Namespace of an object of this resource, `default` where it names none.
fn namespace_of<'a>(resource: &Resource, object: &'a Value) -> Option<&'a str> {
    resource.namespaced.then(|| {
        object
            .pointer("/metadata/namespace")
            .and_then(Value::as_str)
            .unwrap_or("default")
    })
}

/// The URL path of the collection an object belongs to.
#[must_use]
pub fn collection_path(object: &Value) -> Option<String> {
    let resource = resource_of(object)?;
    let prefix = if resource.group.is_empty() {
        format!("/api/{}", resource.version)
    } else {
        format!("/apis/{}/{}", resource.group, resource.version)
    };
    Some(match namespace_of(resource, object) {
        Some(namespace) => format!("{prefix}/namespaces/{namespace}/{}", resource.name),
        None => format!("{prefix}/{}", resource.name),
    })
}

/// The key of an object in the store.
fn object_key(object: &Value) -> Option<String> {
    let resource = resource_of(object)?;
    let group = match resource.group.as_str() {
        "" => "core",
        group => group,
    };
    let name = object.pointer("/metadata/name").and_then(Value::as_str)?;
    Some(match namespace_of(resource, object) {
        Some(namespace) => format!("/registry/{group}/{}/{namespace}/{name}", resource.name),
        None => format!("/registry/{group}/{}/{name}", resource.name),
    })
}

/// An object as the API server would have stored it when it was created.
fn as_stored(mut object: Value) -> Value {
    let resource = resource_of(&object);
    let namespace = resource
        .and_then(|resource| namespace_of(resource, &object))
        .map(str::to_owned);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(namespace) = namespace {
            metadata.insert("namespace".to_owned(), namespace.into());
        }
        metadata.shift_remove("resourceVersion");
        metadata
            .entry("uid")
            .or_insert_with(|| uuid::Uuid::new_v4().to_string().into());
        metadata.entry("creationTimestamp").or_insert_with(|| {
            jiff::Timestamp::now()
                .strftime("%Y-%m-%dT%H:%M:%SZ")
                .to_string()
                .into()
        });
    }
    object
}
