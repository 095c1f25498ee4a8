//! Strategic merge patch (`k8s.io/apimachinery/pkg/util/strategicpatch/patch.go`).

use std::fmt;

use serde_json::{Map, Value};

use super::super::registry::{Target, bad_request, plain_error};
use super::super::schema::{self, FieldInfo, TypeRef};
use super::super::status::Status;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const ORDER: &str = "$setElementOrder/";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";

/// Why a patch cannot be applied.
enum Failure {
    /// The patch is malformed: 400.
    Format(&'static str),
    /// Anything else Go reports as a plain error: 500.
    Plain(String),
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Format(text) => bad_request(text),
            Failure::Plain(text) => plain_error(text),
        }
    }
}

const BAD_PRIMITIVE_LIST: Failure = Failure::Format("invalid patch format of primitive list");
const BAD_RETAIN_KEYS: Failure = Failure::Format("invalid patch format of retainKeys");

type Object = Map<String, Value>;

/// Applies the patch to an object of a built-in kind.
pub(super) fn patch(target: &Target, live: &Value, patch: &Value) -> Result<Value, Status> {
    let resource = &target.resource;
    let root = schema::root(&resource.group, &resource.version, &resource.kind);
    let (Value::Object(original), Value::Object(patch)) = (live.clone(), patch.clone()) else {
        return Err(bad_request("invalid JSON document"));
    };
    let merged = merge_map(original, patch, root)?;
    Ok(Value::Object(merged))
}

fn merge_map(
    mut original: Object,
    mut patch: Object,
    ty: Option<TypeRef>,
) -> Result<Object, Failure> {
    if let Some(directive) = patch.get(DIRECTIVE).cloned() {
        return match directive.as_str() {
            Some("replace") => {
                patch.shift_remove(DIRECTIVE);
                Ok(patch)
            }
            Some("delete") => Ok(Object::new()),
            _ => Err(bad_type(&directive, &patch)),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    order_lists(&mut original, &mut patch, ty)?;
    for (key, value) in patch {
        let (key, deletes) = match key.strip_prefix(DELETE_FROM) {
            Some(key) => (key.to_owned(), true),
            None => (key, false),
        };
        if value.is_null() {
            original.shift_remove(&key);
            continue;
        }
        if deletes && !value.is_array() {
            return Err(BAD_PRIMITIVE_LIST);
        }
        let info = ty.and_then(|ty| info(ty, &key));
        let Some(slot) = original.get_mut(&key) else {
            if !deletes && let Some(value) = without_directives(without_nulls(value)) {
                original.insert(key, value);
            }
            continue;
        };
        match (slot.take(), value) {
            (Value::Object(old), Value::Object(new)) => {
                let replaced = info.is_some_and(|i| i.patch_strategy == "replace");
                *slot = Value::Object(if replaced {
                    new
                } else {
                    merge_map(old, new, value_type(ty, info.as_ref()))?
                });
            }
            (Value::Array(old), Value::Array(new)) => {
                *slot = Value::Array(merge_list(old, new, info.as_ref(), deletes)?);
            }
            (old, new) => {
                if deletes {
                    *slot = old;
                } else if let Some(new) = without_directives(without_nulls(new)) {
                    *slot = new;
                } else {
                    original.shift_remove(&key);
                }
            }
        }
    }
    Ok(original)
}

/// What the type says of a key: a field of a struct. Values of maps have no information of their own.
fn info(ty: TypeRef, key: &str) -> Option<FieldInfo> {
    ty.field(key)
}

/// The type below a key.
fn value_type(parent: Option<TypeRef>, info: Option<&FieldInfo>) -> Option<TypeRef> {
    match info {
        Some(info) => Some(info.ty),
        // A map: its values are of one type.
        None => parent.and_then(TypeRef::element),
    }
}

fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), Failure> {
    let Some(keys) = patch.shift_remove(RETAIN_KEYS) else {
        return Ok(());
    };
    let keys = keys.as_array().ok_or(BAD_RETAIN_KEYS)?;
    let named = |key: &str| keys.iter().any(|k| k.as_str() == Some(key));
    for (key, value) in patch.iter() {
        if !value.is_null()
            && !key.starts_with(DELETE_FROM)
            && !key.starts_with(ORDER)
            && !named(key)
        {
            return Err(BAD_RETAIN_KEYS);
        }
    }
    original.retain(|key, _| named(key));
    Ok(())
}

/// Lists whose order the patch gives (`mergePatchIntoOriginal`).
fn order_lists(
    original: &mut Object,
    patch: &mut Object,
    ty: Option<TypeRef>,
) -> Result<(), Failure> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|key| key.starts_with(ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let Some(order) = patch.shift_remove(&directive) else {
            continue;
        };
        let Value::Array(order) = order else {
            return Err(Failure::Plain(format!(
                "expected a []interface {{}}, but received a {}",
                go_type(&order)
            )));
        };
        let key = directive.strip_prefix(ORDER).unwrap_or_default();
        let list = |value: Option<&Value>| match value {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list.clone())),
            Some(other) => Err(Failure::Plain(format!(
                "expected a []interface {{}}, but received a {}",
                go_type(other)
            ))),
        };
        let old = list(original.get(key))?;
        let new = list(patch.get(key).filter(|value| !value.is_null()))?;
        let info = ty.and_then(|ty| info(ty, key));
        let merge_key = info.and_then(|i| i.merge_key);
        check_order(new.as_deref().unwrap_or_default(), &order, merge_key)?;
        let merged = match (&old, new) {
            (None, None) => continue,
            (Some(old), None) => old.clone(),
            (None, Some(new)) => match without_directives(Value::Array(new)) {
                Some(Value::Array(list)) => list,
                _ => continue,
            },
            (Some(old), Some(new)) => merge_list(old.clone(), new, info.as_ref(), false)?,
        };
        let server_order = old.unwrap_or_default();
        let ordered = enforce_order(merged, &order, &server_order, merge_key)?;
        patch.shift_remove(key);
        original.insert(key.to_owned(), Value::Array(ordered));
    }
    Ok(())
}

/// The items of the patch must come in the order the directive gives.
fn check_order(patch: &[Value], order: &[Value], merge_key: Option<&str>) -> Result<(), Failure> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut wanted = patch
        .iter()
        .filter(|item| item.get(DIRECTIVE).is_none())
        .peekable();
    for place in order {
        let Some(item) = wanted.peek() else { break };
        let same = match merge_key {
            Some(key) => match (item.get(key), place.get(key)) {
                (Some(a), Some(b)) => a == b,
                (None, _) => return Err(no_merge_key(item, key)),
                (_, None) => return Err(no_merge_key(place, key)),
            },
            None => **item == *place,
        };
        if same {
            wanted.next();
        }
    }
    if wanted.peek().is_none() {
        return Ok(());
    }
    Err(Failure::Plain(format!(
        "The order in patch list:\n{}\n doesn't match $setElementOrder list:\n{}\n",
        GoList(patch),
        GoList(order)
    )))
}

fn merge_list(
    old: Vec<Value>,
    new: Vec<Value>,
    info: Option<&FieldInfo>,
    deletes: bool,
) -> Result<Vec<Value>, Failure> {
    let merges = info.is_some_and(FieldInfo::merges);
    if !merges && !deletes {
        return Ok(new);
    }
    if old.is_empty() && new.is_empty() {
        return Ok(old);
    }
    let maps = old.iter().chain(&new).any(Value::is_object);
    if maps && old.iter().chain(&new).any(|item| !item.is_object()) {
        return Err(Failure::Plain(
            "list element types are not identical".to_owned(),
        ));
    }
    if !maps {
        if deletes {
            return Ok(old.into_iter().filter(|item| !new.contains(item)).collect());
        }
        let mut merged: Vec<Value> = Vec::new();
        for item in old.iter().chain(&new) {
            if !merged.contains(item) {
                merged.push(item.clone());
            }
        }
        return enforce_order(merged, &new, &old, None);
    }
    let Some(key) = info.and_then(|i| i.merge_key) else {
        return Err(Failure::Plain(
            "cannot merge lists without merge key for ".to_owned(),
        ));
    };
    let element = info.and_then(|i| i.ty.element());
    let (mut merged, new) = special_elements(old, new, key)?;
    let before = merged.clone();
    for item in &new {
        let Some(value) = item.get(key) else {
            return Err(no_merge_key(item, key));
        };
        let place = merged.iter().position(|m| m.get(key) == Some(value));
        match place.and_then(|at| merged.get_mut(at)) {
            Some(slot) => {
                if let (Value::Object(old), Value::Object(new)) = (slot.take(), item.clone()) {
                    *slot = Value::Object(merge_map(old, new, element)?);
                }
            }
            None => merged.push(item.clone()),
        }
    }
    let ordered = enforce_order(merged, &new, &before, Some(key))?;
    Ok(ordered)
}

/// Handles `$patch` items of a list: gives the list to merge into and the items to merge.
fn special_elements(
    mut old: Vec<Value>,
    new: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), Failure> {
    let mut rest = Vec::new();
    let mut replace = false;
    for item in new {
        let Some(directive) = item.get(DIRECTIVE) else {
            rest.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let Some(value) = item.get(key) else {
                    return Err(no_merge_key(&item, key));
                };
                old.retain(|o| o.get(key) != Some(value));
            }
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(Failure::Plain(
                    "merging lists cannot yet be specified in the patch".to_owned(),
                ));
            }
            _ => {
                let directive = directive.clone();
                let map = item.as_object().cloned().unwrap_or_default();
                return Err(bad_type(&directive, &map));
            }
        }
    }
    Ok(if replace {
        (rest, Vec::new())
    } else {
        (old, rest)
    })
}

/// Items of the patch in its order, the others in the server's, merged (`normalizeElementOrder`).
fn enforce_order(
    merged: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    merge_key: Option<&str>,
) -> Result<Vec<Value>, Failure> {
    let index = |list: &[Value], item: &Value| {
        list.iter().position(|other| match merge_key {
            Some(key) => other.get(key) == item.get(key),
            None => other == item,
        })
    };
    if let Some(key) = merge_key
        && let Some(item) = merged.iter().find(|item| item.get(key).is_none())
    {
        return Err(no_merge_key(item, key));
    }
    let (mut patch, mut server): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| index(patch_order, item).is_some());
    patch.sort_by_key(|item| index(patch_order, item));
    server.sort_by_key(|item| index(server_order, item).unwrap_or(usize::MAX));
    let mut out = Vec::with_capacity(patch.len() + server.len());
    let mut left = server.into_iter().peekable();
    let mut right = patch.into_iter().peekable();
    loop {
        match (left.peek(), right.peek()) {
            (None, None) => break,
            (Some(_), None) => out.extend(left.next()),
            (None, Some(_)) => out.extend(right.next()),
            (Some(l), Some(r)) => {
                let before = match (index(server_order, l), index(server_order, r)) {
                    (Some(l), Some(r)) => l < r,
                    _ => false,
                };
                if before {
                    out.extend(left.next());
                } else {
                    out.extend(right.next());
                }
            }
        }
    }
    Ok(out)
}

/// `removeDirectives`: `None` when the value itself is one.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) => {
            if map.contains_key(DIRECTIVE) {
                return None;
            }
            Some(Value::Object(
                map.into_iter()
                    .filter_map(|(key, value)| Some((key, without_directives(value)?)))
                    .collect(),
            ))
        }
        Value::Array(list) => Some(Value::Array(
            list.into_iter().filter_map(without_directives).collect(),
        )),
        other => Some(other),
    }
}

/// Nulls of a patch that meet nothing are left out (`discardNullValuesFromPatch`).
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.into_iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key, without_nulls(value)))
                .collect(),
        ),
        Value::Array(list) => Value::Array(list.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

fn bad_type(directive: &Value, patch: &Object) -> Failure {
    Failure::Plain(format!(
        "unknown patch type: {} in map: {}",
        GoValue(directive),
        GoMap(patch)
    ))
}

fn no_merge_key(item: &Value, key: &str) -> Failure {
    Failure::Plain(format!(
        "map: {} does not contain declared merge key: {key}",
        GoValue(item)
    ))
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// A value as Go's `%v` prints it: `map[a:1 b:[x y]]`.
pub(super) struct GoValue<'a>(pub(super) &'a Value);

struct GoMap<'a>(&'a Object);

struct GoList<'a>(&'a [Value]);

impl fmt::Display for GoValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("<nil>"),
            Value::String(text) => f.write_str(text),
            Value::Array(list) => GoList(list).fmt(f),
            Value::Object(map) => GoMap(map).fmt(f),
            other => write!(f, "{other}"),
        }
    }
}

impl fmt::Display for GoMap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut entries: Vec<(&String, &Value)> = self.0.iter().collect();
        entries.sort_by_key(|(key, _)| *key);
        f.write_str("map[")?;
        for (index, (key, value)) in entries.into_iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            write!(f, "{key}:{}", GoValue(value))?;
        }
        f.write_str("]")
    }
}

impl fmt::Display for GoList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[")?;
        for (index, value) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            GoValue(value).fmt(f)?;
        }
        f.write_str("]")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(live: Value, change: Value) -> Result<Value, String> {
        let root = schema::root("", "v1", "Pod");
        let (Value::Object(live), Value::Object(change)) = (live, change) else {
            panic!("objects");
        };
        merge_map(live, change, root)
            .map(Value::Object)
            .map_err(|failure| Status::from(failure).message)
    }

    #[test]
    fn lists_merge_by_key_delete_replace_and_keep_the_given_order() {
        let live = json!({"spec": {"containers": [
            {"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]},
            {"name": "b", "image": "1"}]}});
        let out = pod(live.clone(), json!({"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3"}]}})).unwrap();
        assert_eq!(
            out["spec"]["containers"],
            json!([live["spec"]["containers"][0], {"name": "b", "image": "2"}, {"name": "c", "image": "3"}])
        );
        let out = pod(live.clone(), json!({"spec": {"containers": [{"name": "a", "env": [{"name": "X", "$patch": "delete"}]}, {"name": "b", "$patch": "delete"}]}})).unwrap();
        assert_eq!(
            out["spec"]["containers"],
            json!([{"name": "a", "image": "1", "env": [{"name": "Y", "value": "2"}]}])
        );
        let out = pod(
            live.clone(),
            json!({"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}),
        )
        .unwrap();
        assert_eq!(out["spec"]["containers"][0]["name"], "b");
        let out = pod(
            live,
            json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z", "image": "9"}]}}),
        )
        .unwrap();
        assert_eq!(
            out["spec"]["containers"],
            json!([{"name": "z", "image": "9"}])
        );
    }

    #[test]
    fn primitive_lists_and_maps() {
        let live = json!({"metadata": {"finalizers": ["a", "b"], "labels": {"x": "1", "y": "2"}}});
        let out = pod(live.clone(), json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"], "labels": {"x": null, "z": "3"}}})).unwrap();
        assert_eq!(
            out,
            json!({"metadata": {"finalizers": ["b"], "labels": {"y": "2", "z": "3"}}})
        );
        let out = pod(live, json!({"metadata": {"finalizers": ["c"], "labels": {"$patch": "replace", "only": "me"}}})).unwrap();
        assert_eq!(out["metadata"]["labels"], json!({"only": "me"}));
        assert_eq!(out["metadata"]["finalizers"].as_array().unwrap().len(), 3);
    }

    #[test]
    fn errors_have_the_real_texts() {
        let live =
            json!({"spec": {"containers": [{"name": "a"}]}, "metadata": {"finalizers": ["q"]}});
        for (change, text) in [
            (
                json!({"spec": {"containers": [{"image": "no-name"}]}}),
                "map: map[image:no-name] does not contain declared merge key: name",
            ),
            (
                json!({"spec": {"containers": [{"name": "main", "$patch": "bogus"}]}}),
                "unknown patch type: bogus in map: map[$patch:bogus name:main]",
            ),
            (
                json!({"metadata": {"$setElementOrder/finalizers": ["b", "a"], "finalizers": ["a.io/1"]}}),
                "The order in patch list:\n[a.io/1]\n doesn't match $setElementOrder list:\n[b a]\n",
            ),
        ] {
            assert_eq!(pod(live.clone(), change).unwrap_err(), text);
        }
    }
}
