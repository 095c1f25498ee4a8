//! The file of `--authorization-config` (`pkg/kubeapiserver/authorizer/reload.go`,
//! `k8s.io/apiserver/pkg/apis/apiserver/validation`).

use serde_json::Value;

use super::absolute;
use crate::audit::options::number::quote;
use crate::node::embedded::process::go_error_text;
use crate::node::embedded::runtime::rootfs::Rootfs;
use crate::yaml;

/// Largest file.
const LIMIT: u64 = 1 << 20;

/// The types of the chain of authorizers in the file.
///
/// # Errors
/// The real text.
pub fn modes(rootfs: &Rootfs, path: &str) -> Result<Vec<String>, String> {
    let bytes = rootfs
        .read(&absolute(path), LIMIT)
        .map_err(|error| format!("open {path}: {}", go_error_text(&error)))?;
    let load =
        |reason: String| format!("failed to load AuthorizationConfiguration from file: {reason}");
    if bytes.is_empty() {
        return Err(load("empty config data".to_owned()));
    }
    let tree = yaml::to_tree(&bytes)
        .map_err(|error| load(format!("error converting YAML to JSON: {error}")))?
        .0;
    let value = tree.to_value();
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if kind.is_empty() {
        return Err(load(format!("Object 'Kind' is missing in '{}'", value)));
    }
    if version.is_empty() {
        return Err(load(format!(
            "Object 'apiVersion' is missing in '{}'",
            value
        )));
    }
    let known = ["v1", "v1beta1", "v1alpha1"]
        .iter()
        .any(|v| version == format!("apiserver.config.k8s.io/{v}"));
    if !known || kind != "AuthorizationConfiguration" {
        return Err(load(format!(
            "no kind {} is registered for version {} in scheme \"k8s.io/apiserver/pkg/apis/apiserver/load/load.go:36\"",
            quote(kind),
            quote(version)
        )));
    }
    let authorizers = value
        .get("authorizers")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if authorizers.is_empty() {
        return Err(
            "authorizers: Required value: at least one authorization mode must be defined"
                .to_owned(),
        );
    }
    let mut errors = Vec::new();
    let mut types = Vec::new();
    for (index, authorizer) in authorizers.iter().enumerate() {
        let of = |key: &str| {
            let text = authorizer.get(key).and_then(Value::as_str);
            text.unwrap_or_default().to_owned()
        };
        let kind = of("type");
        let at = format!("authorizers[{index}]");
        if kind.is_empty() {
            errors.push(format!("{at}.type: Required value"));
        } else if ![
            "ABAC",
            "AlwaysAllow",
            "AlwaysDeny",
            "Node",
            "RBAC",
            "Webhook",
        ]
        .contains(&kind.as_str())
        {
            errors.push(format!("{at}.type: Unsupported value: {}: supported values: \"ABAC\", \"AlwaysAllow\", \"AlwaysDeny\", \"Node\", \"RBAC\", \"Webhook\"", quote(&kind)));
        } else if kind != "Webhook" && types.contains(&kind) {
            errors.push(format!("{at}.type: Duplicate value: {}", quote(&kind)));
        }
        if of("name").is_empty() {
            errors.push(format!("{at}.name: Required value"));
        }
        types.push(kind);
    }
    if errors.is_empty() {
        Ok(types)
    } else {
        Err(super::aggregate(&errors))
    }
}
