//! Which part of a pod each of its subresources may change, and what pods say to the rest
//! (`ValidatePodUpdate`, `ValidatePodEphemeralContainersUpdate`, `ValidatePodResize`).

use serde_json::Value;

use super::edit::{ensure, items, text_at};
use super::field::{FieldError, invalid_status};
use crate::node::embedded::apiserver::status::Status;

/// Takes over what the subresource may not change, refuses what it must not.
///
/// # Errors
/// 422.
pub fn restrict(subresource: &str, old: &Value, new: &mut Value) -> Result<(), Status> {
    let name = text_at(old, "/metadata/name").to_owned();
    let refuse = |errors: &[FieldError]| Err(invalid_status("", "Pod", &name, errors));
    match subresource {
        "" => {
            if items(old, "/spec/ephemeralContainers") != items(new, "/spec/ephemeralContainers") {
                return refuse(&[FieldError::forbidden(
                    "spec",
                    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
                )]);
            }
            let resources = |pod: &Value| -> Vec<Option<Value>> {
                items(pod, "/spec/containers")
                    .iter()
                    .map(|container| container.get("resources").cloned())
                    .collect()
            };
            let before = resources(old);
            if before.len() == resources(new).len() && before != resources(new) {
                return refuse(&[FieldError::forbidden(
                    "spec",
                    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
                )]);
            }
            Ok(())
        }
        "ephemeralcontainers" => {
            let wanted = new.pointer("/spec/ephemeralContainers").cloned();
            restore(old, new);
            let (Some(Value::Array(wanted)), Some(fields)) = (wanted, new.as_object_mut()) else {
                return Ok(());
            };
            for own in items(old, "/spec/ephemeralContainers") {
                let own_name = text_at(own, "/name");
                match wanted
                    .iter()
                    .find(|other| text_at(other, "/name") == own_name)
                {
                    Some(same) if same == own => {}
                    Some(_) => {
                        return refuse(&[FieldError::forbidden(
                            "spec.ephemeralContainers",
                            format!(
                                "existing ephemeral containers \"{own_name}\" may not be changed\n"
                            ),
                        )]);
                    }
                    None => {
                        return refuse(&[FieldError::forbidden(
                            "spec.ephemeralContainers",
                            format!(
                                "existing ephemeral containers \"{own_name}\" may not be removed\n"
                            ),
                        )]);
                    }
                }
            }
            ensure(fields, "spec").insert("ephemeralContainers".into(), wanted.into());
            Ok(())
        }
        "resize" => {
            // The simulated nodes do not resize.
            let mut errors = Vec::new();
            let class = super::strategy::qos_class(old.get("spec"));
            if super::strategy::qos_class(new.get("spec")) != class {
                errors.push(FieldError::invalid(
                    "spec",
                    &class.into(),
                    "Pod QOS Class may not change as a result of resizing",
                ));
            }
            errors.push(FieldError::forbidden(
                "spec",
                "Pod running on node without support for resize",
            ));
            refuse(&errors)
        }
        _ => Ok(()),
    }
}

fn restore(old: &Value, new: &mut Value) {
    if let (Some(fields), Some(before)) = (new.as_object_mut(), old.as_object()) {
        for key in ["spec", "status"] {
            match before.get(key) {
                Some(value) => {
                    fields.insert(key.into(), value.clone());
                }
                None => {
                    fields.shift_remove(key);
                }
            }
        }
    }
}
