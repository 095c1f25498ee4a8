//! Privileged containers where `--allow-privileged` is false
//! (`ValidateSecurityContext` of `pkg/apis/core/validation`).

use serde_json::Value;

use crate::node::embedded::apiserver::kinds::field::FieldError;

/// Where the pod is within an object of each kind.
const PODS: [(&[&str], &str); 3] = [
    (&["Pod"], "/spec"),
    (
        &[
            "DaemonSet",
            "Deployment",
            "Job",
            "ReplicaSet",
            "ReplicationController",
            "StatefulSet",
        ],
        "/spec/template/spec",
    ),
    (&["CronJob"], "/spec/jobTemplate/spec/template/spec"),
];

/// The privileged containers of an object of this kind.
#[must_use]
pub fn refuse(kind: &str, object: &Value) -> Vec<FieldError> {
    let Some((_, at)) = PODS.iter().find(|(kinds, _)| kinds.contains(&kind)) else {
        return Vec::new();
    };
    let mut errors = Vec::new();
    for field in ["initContainers", "containers"] {
        let containers = object.pointer(&format!("{at}/{field}"));
        let containers = containers.and_then(Value::as_array).into_iter().flatten();
        for (number, container) in containers.enumerate() {
            if container.pointer("/securityContext/privileged") == Some(&Value::Bool(true)) {
                let path = at.trim_start_matches('/').replace('/', ".");
                errors.push(FieldError::forbidden(
                    format!("{path}.{field}[{number}].securityContext.privileged"),
                    "disallowed by cluster policy",
                ));
            }
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::refuse;

    #[test]
    fn only_privileged_containers_are_refused() {
        let containers =
            json!([{"name": "a"}, {"name": "b", "securityContext": {"privileged": true}}]);
        let pod = json!({"spec": {"containers": containers}});
        assert_eq!(refuse("Pod", &pod).len(), 1);
        assert_eq!(
            refuse("Deployment", &json!({"spec": {"template": pod}})).len(),
            1
        );
        assert!(refuse("Secret", &pod).is_empty());
    }
}
