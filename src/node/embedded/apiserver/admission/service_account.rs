//! ServiceAccount (`plugin/pkg/admission/serviceaccount/admission.go`): every pod runs as an account, and
//! gets a token of it.

use std::sync::Arc;

use rand::RngExt as _;
use serde_json::{Value, json};

use super::Attributes;
use crate::node::embedded::apiserver::kinds::edit::{
    default_text, each, ensure, items, text, text_at,
};
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

/// Where containers find their token.
const MOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Sets the account and mounts its token.
///
/// # Errors
/// 403 when the account does not exist.
pub fn admit(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    pod: &mut Value,
) -> Result<(), Status> {
    // Mirror pods have no account (and may not ask for one).
    if pod
        .pointer("/metadata/annotations/kubernetes.io~1config.mirror")
        .is_some()
    {
        if !text_at(pod, "/spec/serviceAccountName").is_empty() {
            return Err(
                attributes.forbidden(pod, "a mirror pod may not reference service accounts")
            );
        }
        return Ok(());
    }
    let Some(fields) = pod.as_object_mut() else {
        return Ok(());
    };
    let spec = ensure(fields, "spec");
    default_text(spec, "serviceAccountName", "default");
    let name = text(spec, "serviceAccountName").to_owned();
    spec.insert("serviceAccount".into(), name.clone().into());
    let key = format!(
        "/registry/core/serviceaccounts/{}/{name}",
        attributes.namespace
    );
    let Some(account) = state.store.get(&key) else {
        let why = format!(
            "error looking up service account {}/{name}: serviceaccount \"{name}\" not found",
            attributes.namespace
        );
        return Err(attributes.forbidden(pod, why));
    };
    let Some(spec) = pod.get_mut("spec").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    let automount = spec
        .get("automountServiceAccountToken")
        .or_else(|| account.value.get("automountServiceAccountToken"))
        .and_then(Value::as_bool)
        .unwrap_or(true);
    if automount {
        mount_token(spec);
    }
    if spec
        .get("imagePullSecrets")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
    {
        let secrets = items(&account.value, "/imagePullSecrets");
        if !secrets.is_empty() {
            spec.insert("imagePullSecrets".into(), secrets.to_vec().into());
        }
    }
    Ok(())
}

fn mount_token(spec: &mut crate::node::embedded::apiserver::kinds::edit::Object) {
    let existing = spec
        .get("volumes")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|volume| text_at(volume, "/name"))
        .find(|name| name.starts_with("kube-api-access-"))
        .map(str::to_owned);
    let name = existing
        .clone()
        .unwrap_or_else(|| format!("kube-api-access-{}", random_suffix()));
    let mut needed = false;
    for list in ["initContainers", "containers"] {
        each(spec, list, |container| {
            let mounts = container
                .entry("volumeMounts".to_owned())
                .or_insert_with(|| json!([]));
            let Some(mounts) = mounts.as_array_mut() else {
                return;
            };
            if mounts
                .iter()
                .any(|mount| text_at(mount, "/mountPath") == MOUNT_PATH)
            {
                return;
            }
            mounts.push(json!({"name": name, "readOnly": true, "mountPath": MOUNT_PATH}));
            needed = true;
        });
    }
    if !needed || existing.is_some() {
        return;
    }
    let volumes = spec
        .entry("volumes".to_owned())
        .or_insert_with(|| json!([]));
    if let Some(volumes) = volumes.as_array_mut() {
        volumes.push(json!({
            "name": name,
            "projected": {
                "sources": [
                    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                    {"configMap": {"name": "kube-root-ca.crt",
                        "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                    {"downwardAPI": {"items": [{"path": "namespace",
                        "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}},
                ],
                "defaultMode": 420,
            },
        }));
    }
}

/// Five characters as generated names have them (`k8s.io/apimachinery/pkg/util/rand`).
#[must_use]
pub fn random_suffix() -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut random = rand::rng();
    (0..5)
        .filter_map(|_| LETTERS.get(random.random_range(0..LETTERS.len())))
        .map(|byte| char::from(*byte))
        .collect()
}
