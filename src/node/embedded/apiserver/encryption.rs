//! The file of `--encryption-provider-config`, read and validated
//! (`k8s.io/apiserver/pkg/server/options/encryptionconfig`, `pkg/apis/apiserver/validation`).
//!
//! Objects are stored as they are: who reads the store's file finds no prefix of a provider.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::flags::{absolute, aggregate};
use crate::audit::options::number::quote;
use crate::node::embedded::process::go_error_text;
use crate::node::embedded::runtime::rootfs::Rootfs;
use crate::yaml;

/// Largest file.
const LIMIT: u64 = 1 << 20;
const PROVIDERS: [&str; 5] = ["aescbc", "aesgcm", "identity", "kms", "secretbox"];

/// Checks the file.
///
/// # Errors
/// The real text.
pub fn check(rootfs: &Rootfs, path: &str) -> Result<(), String> {
    let quoted = quote(path);
    let load =
        |reason: String| format!("error while parsing file: error while loading file: {reason}");
    let bytes = rootfs.read(&absolute(path), LIMIT).map_err(|error| {
        let verb = if error.kind() == std::io::ErrorKind::IsADirectory {
            "read"
        } else {
            "open"
        };
        load(format!(
            "error reading encryption provider configuration file {quoted}: {verb} {path}: {}",
            go_error_text(&error)
        ))
    })?;
    if bytes.is_empty() {
        return Err(load(format!(
            "encryption provider configuration file {quoted} is empty"
        )));
    }
    let decode = |reason: String| {
        format!(
            "error while parsing file: error decoding encryption provider configuration file {quoted}: {reason}"
        )
    };
    let value = yaml::to_tree(&bytes)
        .map_err(|error| {
            decode(format!(
                "couldn't get version/kind; json parse error: {error}"
            ))
        })?
        .0
        .to_value();
    let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default();
    let (version, kind) = (text("apiVersion"), text("kind"));
    if kind.is_empty() {
        return Err(decode(format!("Object 'Kind' is missing in '{value}'")));
    }
    if version.is_empty() {
        return Err(decode(format!(
            "Object 'apiVersion' is missing in '{value}'"
        )));
    }
    if version != "apiserver.config.k8s.io/v1" || kind != "EncryptionConfiguration" {
        return Err(decode(format!(
            "no kind {} is registered for version {} in scheme \"pkg/server/options/encryptionconfig/config.go:104\"",
            quote(kind),
            quote(version)
        )));
    }
    let unknown = unknown_providers(&value);
    if !unknown.is_empty() {
        return Err(decode(format!(
            "strict decoding error: {}",
            unknown.join(", ")
        )));
    }
    let errors = validate(&value);
    if errors.is_empty() {
        Ok(())
    } else {
        Err(format!("error while parsing file: {}", aggregate(&errors)))
    }
}

fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

fn unknown_providers(config: &Value) -> Vec<String> {
    let mut out = Vec::new();
    for (i, resource) in items(config, "resources").iter().enumerate() {
        for (j, provider) in items(resource, "providers").iter().enumerate() {
            for key in provider.as_object().into_iter().flat_map(|p| p.keys()) {
                if !PROVIDERS.contains(&key.as_str()) {
                    out.push(format!(
                        "unknown field \"resources[{i}].providers[{j}].{key}\""
                    ));
                }
            }
        }
    }
    out
}

fn validate(config: &Value) -> Vec<String> {
    let resources = items(config, "resources");
    let mut errors = Vec::new();
    if resources.is_empty() {
        errors.push("resources: Required value: at least one resources is required".to_owned());
    }
    for (i, resource) in resources.iter().enumerate() {
        let at = format!("resources[{i}]");
        let names = items(resource, "resources");
        if names.is_empty() {
            errors.push(format!(
                "{at}.resources: Required value: at least one {at}.resources is required"
            ));
        }
        for (j, name) in names.iter().filter_map(Value::as_str).enumerate() {
            let reason = if name.contains(|c: char| c.is_uppercase()) {
                "resource name should not contain capital letters"
            } else if name == "*" {
                "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources"
            } else if name.ends_with(".events.k8s.io") {
                "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file"
            } else if name.ends_with(".extensions") {
                "'extensions' group has been removed and cannot be used for encryption"
            } else {
                continue;
            };
            errors.push(format!(
                "{at}.resources[{j}]: Invalid value: {}: {reason}",
                quote(name)
            ));
        }
        let providers = items(resource, "providers");
        if providers.is_empty() {
            errors.push(format!(
                "{at}.providers: Required value: at least one {at}.providers is required"
            ));
        }
        for (j, provider) in providers.iter().enumerate() {
            validate_provider(provider, &format!("{at}.providers[{j}]"), &mut errors);
        }
    }
    errors
}

fn validate_provider(provider: &Value, at: &str, errors: &mut Vec<String>) {
    let given: Vec<&str> = PROVIDERS
        .into_iter()
        .filter(|name| provider.get(*name).is_some_and(|value| !value.is_null()))
        .collect();
    match given.as_slice() {
        [] => errors.push(format!("{at}: Invalid value: {provider}: provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity")),
        [_] => {}
        _ => errors.push(format!("{at}: Invalid value: {provider}: more than one provider specified in a single element, should split into different list elements")),
    }
    for name in given {
        let sizes: &[usize] = match name {
            "aescbc" | "aesgcm" => &[16, 24, 32],
            "secretbox" => &[32],
            _ => continue,
        };
        let keys = provider
            .get(name)
            .map_or(&[] as &[Value], |value| items(value, "keys"));
        if keys.is_empty() {
            errors.push(format!(
                "{at}.{name}.keys: Required value: at least one keys is required"
            ));
        }
        for (k, key) in keys.iter().enumerate() {
            validate_key(key, &format!("{at}.{name}.keys[{k}]"), sizes, errors);
        }
    }
}

fn validate_key(key: &Value, at: &str, sizes: &[usize], errors: &mut Vec<String>) {
    let text = |field: &str| key.get(field).and_then(Value::as_str).unwrap_or_default();
    if text("name").is_empty() {
        errors.push(format!(
            "{at}.name: Required value: name is a mandatory field for a key"
        ));
    }
    let secret = text("secret");
    if secret.is_empty() {
        errors.push(format!(
            "{at}.secret: Required value: secret is a mandatory field for a key"
        ));
        return;
    }
    match STANDARD.decode(secret) {
        Err(_) => errors.push(format!(
            "{at}.secret: Invalid value: \"REDACTED\": secrets must be base64 encoded"
        )),
        Ok(bytes) if !sizes.contains(&bytes.len()) => {
            let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
            errors.push(format!("{at}.secret: Invalid value: \"REDACTED\": secret is not of the expected length, got {}, expected one of [{}]", bytes.len(), sizes.join(" ")));
        }
        Ok(_) => {}
    }
}
