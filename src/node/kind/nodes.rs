//! Labels, annotations and taints of nodes, put back between labs. The rest of a node is its kubelet's.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The collection.
pub const COLLECTION: &str = "/api/v1/nodes";
/// Taints that controllers put on nodes and take away.
const BY_CONTROLLERS: &str = "node.kubernetes.io/";

/// JSON merge patches, by path, after which the nodes have what people put on them before, and nothing else.
#[must_use]
pub fn patches(
    before: &BTreeMap<String, Value>,
    now: &BTreeMap<String, Value>,
) -> Vec<(String, Value)> {
    before
        .iter()
        .filter(|(path, _)| path.starts_with(COLLECTION))
        .filter_map(|(path, old)| Some((path.clone(), patch(old, now.get(path)?)?)))
        .collect()
}

fn patch(before: &Value, now: &Value) -> Option<Value> {
    let mut metadata = Map::new();
    for field in ["labels", "annotations"] {
        let changes = merge(
            before.pointer(&format!("/metadata/{field}")),
            now.pointer(&format!("/metadata/{field}")),
        );
        if !changes.is_empty() {
            metadata.insert(field.to_owned(), changes.into());
        }
    }
    let mut spec = Map::new();
    let (old, new) = (taints(before), taints(now));
    let own = |all: &[Value]| all.iter().filter(|one| !automatic(one)).cloned().collect();
    let wanted: Vec<Value> = own(&old);
    let there: Vec<Value> = own(&new);
    if wanted != there {
        let kept = new.into_iter().filter(automatic);
        spec.insert(
            "taints".to_owned(),
            wanted.into_iter().chain(kept).collect::<Vec<_>>().into(),
        );
    }
    let cordoned = |node: &Value| node.pointer("/spec/unschedulable") == Some(&Value::Bool(true));
    if cordoned(before) != cordoned(now) {
        let unschedulable = cordoned(before).then_some(true);
        spec.insert("unschedulable".to_owned(), json!(unschedulable));
    }
    let mut patch = Map::new();
    for (field, changes) in [("metadata", metadata), ("spec", spec)] {
        if !changes.is_empty() {
            patch.insert(field.to_owned(), changes.into());
        }
    }
    (!patch.is_empty()).then(|| patch.into())
}

fn taints(node: &Value) -> Vec<Value> {
    let taints = node.pointer("/spec/taints").and_then(Value::as_array);
    taints.cloned().unwrap_or_default()
}

fn automatic(taint: &Value) -> bool {
    let key = taint.get("key").and_then(Value::as_str);
    key.is_some_and(|key| key.starts_with(BY_CONTROLLERS))
}

/// What makes the second mapping the first: values to set, and null for what is too much.
fn merge(before: Option<&Value>, now: Option<&Value>) -> Map<String, Value> {
    let empty = Map::new();
    let fields = |value: Option<&Value>| value.and_then(Value::as_object).cloned();
    let before = fields(before).unwrap_or_else(|| empty.clone());
    let now = fields(now).unwrap_or(empty);
    let set = before
        .iter()
        .filter(|(name, value)| now.get(*name) != Some(*value))
        .map(|(name, value)| (name.clone(), value.clone()));
    let gone = now
        .keys()
        .filter(|name| !before.contains_key(*name))
        .map(|name| (name.clone(), Value::Null));
    set.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_put_on_a_node_is_put_back() {
        let control =
            json!({"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"});
        let pressure = json!({"key": "node.kubernetes.io/disk-pressure", "effect": "NoSchedule"});
        let mine = json!({"key": "mine", "effect": "NoExecute"});
        let before = json!({
            "metadata": {"labels": {"a": "1", "b": "2"}, "annotations": {"x": "1"}},
            "spec": {"podCIDR": "10.244.0.0/24", "taints": [control]},
        });
        assert_eq!(patch(&before, &before), None);
        let now = json!({
            "metadata": {"labels": {"a": "2", "c": "3"}, "annotations": {"x": "1"}},
            "spec": {"podCIDR": "10.244.0.0/24", "taints": [pressure, mine], "unschedulable": true},
        });
        assert_eq!(
            patch(&before, &now),
            Some(json!({
                "metadata": {"labels": {"a": "1", "b": "2", "c": null}},
                "spec": {"taints": [control, pressure], "unschedulable": null},
            }))
        );
        // What only controllers change is theirs.
        let mut pressed = before.clone();
        pressed["spec"]["taints"] = json!([control, pressure]);
        assert_eq!(patch(&before, &pressed), None);
    }
}
