//! Who manages the replicas of an object, as its scale shows it and back
//! (`k8s.io/apimachinery/pkg/util/managedfields/scalehandler.go`).

use serde_json::{Map, Value, json};

use crate::node::embedded::apiserver::kinds::edit::{items, text_at};

const REPLICAS: &str = "/fieldsV1/f:spec/f:replicas";
const SCALE: &str = "autoscaling/v1";

/// The entries of an object that own its replicas, as entries of its scale.
pub(super) fn of_scale(object: &Value) -> Vec<Value> {
    items(object, "/metadata/managedFields")
        .iter()
        .filter(|entry| entry.pointer(REPLICAS).is_some())
        .map(|entry| with(entry, SCALE))
        .collect()
}

/// The same entry for the replicas alone, in another version.
fn with(entry: &Value, api_version: &str) -> Value {
    let mut entry = entry.clone();
    if let Some(fields) = entry.as_object_mut() {
        fields.insert("apiVersion".into(), api_version.into());
        fields.insert("fieldsV1".into(), json!({"f:spec": {"f:replicas": {}}}));
    }
    entry
}

fn is_same(one: &Value, other: &Value) -> bool {
    ["/manager", "/operation", "/subresource"]
        .iter()
        .all(|key| text_at(one, key) == text_at(other, key))
}

/// Puts the owners of a scale back among those of the object: who lost the replicas keeps the rest.
pub(super) fn of_parent(metadata: &mut Map<String, Value>, scale: &Value, api_version: &str) {
    let mut owners: Vec<Value> = items(scale, "/metadata/managedFields")
        .iter()
        .filter(|entry| entry.pointer(REPLICAS).is_some())
        .cloned()
        .collect();
    let mut entries = metadata
        .get("managedFields")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    for entry in &mut entries {
        if entry.pointer(REPLICAS).is_none() {
            continue;
        }
        match owners.iter().position(|owner| is_same(owner, entry)) {
            Some(at) => {
                owners.remove(at);
            }
            None => lose(entry),
        }
    }
    entries.retain(|entry| {
        entry
            .get("fieldsV1")
            .and_then(Value::as_object)
            .is_some_and(|fields| !fields.is_empty())
    });
    entries.extend(owners.iter().map(|owner| with(owner, api_version)));
    if entries.is_empty() {
        metadata.shift_remove("managedFields");
    } else {
        metadata.insert("managedFields".into(), entries.into());
    }
}

fn lose(entry: &mut Value) {
    let Some(fields) = entry.get_mut("fieldsV1").and_then(Value::as_object_mut) else {
        return;
    };
    if let Some(spec) = fields.get_mut("f:spec").and_then(Value::as_object_mut) {
        spec.shift_remove("f:replicas");
        if spec.is_empty() {
            fields.shift_remove("f:spec");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_scales_takes_the_replicas_and_leaves_the_rest() {
        let owner = json!({"manager": "a", "operation": "Update", "apiVersion": "apps/v1",
            "fieldsV1": {"f:spec": {"f:replicas": {}, "f:paused": {}}}});
        let object = json!({"metadata": {"managedFields": [owner]}});
        let shown = of_scale(&object);
        assert_eq!(shown[0]["apiVersion"], SCALE);
        assert_eq!(shown[0]["fieldsV1"], json!({"f:spec": {"f:replicas": {}}}));
        let mut metadata = object["metadata"].as_object().unwrap().clone();
        let scale = json!({"metadata": {"managedFields": [{"manager": "b", "operation": "Apply",
            "apiVersion": SCALE, "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]}});
        of_parent(&mut metadata, &scale, "apps/v1");
        let entries = &metadata["managedFields"];
        assert_eq!(entries[0]["fieldsV1"], json!({"f:spec": {"f:paused": {}}}));
        assert_eq!(entries[1]["manager"], "b");
        assert_eq!(entries[1]["apiVersion"], "apps/v1");
    }
}
