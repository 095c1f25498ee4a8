//! DefaultStorageClass, DefaultIngressClass and StorageObjectInUseProtection
//! (`plugin/pkg/admission/{storage,network}`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::Attributes;
use crate::node::embedded::apiserver::kinds::edit::{ensure, text_at};
use crate::node::embedded::apiserver::state::ApiState;

/// Sets default classes and protecting finalizers on new objects.
pub fn admit(state: &Arc<ApiState>, attributes: &Attributes<'_>, object: &mut Value) {
    if attributes.is("", "persistentvolumeclaims", "") {
        protect(object, "kubernetes.io/pvc-protection");
        if object
            .pointer("/spec/storageClassName")
            .is_none_or(Value::is_null)
            && let Some(class) = default_class(
                state,
                "/registry/storage.k8s.io/storageclasses/",
                "/metadata/annotations/storageclass.kubernetes.io~1is-default-class",
            )
            && let Some(fields) = object.as_object_mut()
        {
            ensure(fields, "spec").insert("storageClassName".into(), class.into());
        }
    } else if attributes.is("", "persistentvolumes", "") {
        protect(object, "kubernetes.io/pv-protection");
    } else if attributes.is("networking.k8s.io", "ingresses", "")
        && object
            .pointer("/spec/ingressClassName")
            .is_none_or(Value::is_null)
        && object
            .pointer("/metadata/annotations/kubernetes.io~1ingress.class")
            .is_none()
        && let Some(class) = default_class(
            state,
            "/registry/networking.k8s.io/ingressclasses/",
            "/metadata/annotations/ingressclass.kubernetes.io~1is-default-class",
        )
        && let Some(fields) = object.as_object_mut()
    {
        ensure(fields, "spec").insert("ingressClassName".into(), class.into());
    }
}

/// The newest of the classes marked as default.
fn default_class(state: &Arc<ApiState>, prefix: &str, annotation: &str) -> Option<String> {
    let (classes, _) = state.store.list(prefix);
    classes
        .iter()
        .filter(|class| text_at(&class.value, annotation) == "true")
        .max_by_key(|class| text_at(&class.value, "/metadata/creationTimestamp").to_owned())
        .map(|class| text_at(&class.value, "/metadata/name").to_owned())
}

fn protect(object: &mut Value, finalizer: &str) {
    let Some(fields) = object.as_object_mut() else {
        return;
    };
    let list = ensure(fields, "metadata")
        .entry("finalizers".to_owned())
        .or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut()
        && !list.iter().any(|name| name == finalizer)
    {
        list.push(finalizer.into());
    }
}
