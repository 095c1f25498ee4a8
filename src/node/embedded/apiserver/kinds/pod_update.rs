//! Which part of a pod each of its subresources may change, and what pods say to the rest
//! (`ValidatePodUpdate`, `ValidatePodEphemeralContainersUpdate`, `ValidatePodResize`).

use serde_json::Value;

use super::edit::{ensure, text_at};
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
        "ephemeralcontainers" => {
            let wanted = new.pointer("/spec/ephemeralContainers").cloned();
            restore(old, new);
            let (Some(Value::Array(wanted)), Some(fields)) = (wanted, new.as_object_mut()) else {
                return Ok(());
            };
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
