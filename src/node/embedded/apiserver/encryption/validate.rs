//! Validation of an encryption configuration
//! (`k8s.io/apiserver/pkg/apis/apiserver/validation/validation_encryption.go`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{GroupResource, items, text};
use crate::audit::options::number::{parse_duration, quote};
use crate::node::embedded::apiserver::flags::url;
use crate::node::embedded::apiserver::kinds::field::FieldError;

type Errors = Vec<FieldError>;

/// Lengths of keys in bytes.
const AES: &[usize] = &[16, 24, 32];
const SECRETBOX: &[usize] = &[32];

/// Validates a configuration whose defaults are set; `reload` is `--encryption-provider-config-automatic-reload`.
pub(super) fn validate(config: &Value, reload: bool) -> Errors {
    let mut errors = Vec::new();
    let resources = items(config, "resources");
    if resources.is_empty() {
        let detail = "at least one resources is required";
        errors.push(FieldError::required("resources", detail));
    }
    let mut kms_names = Vec::new();
    for (index, resource) in resources.iter().enumerate() {
        let names_at = format!("resources[{index}].resources");
        let providers_at = format!("resources[{index}].providers");
        let names = items(resource, "resources");
        if names.is_empty() {
            let detail = format!("at least one {names_at} is required");
            errors.push(FieldError::required(names_at.as_str(), &detail));
        }
        overlaps(names, &names_at, &mut errors);
        for (index, name) in names.iter().enumerate() {
            if let Some(reason) = bad_name(name.as_str().unwrap_or_default()) {
                errors.push(FieldError::invalid(
                    format!("{names_at}[{index}]"),
                    name,
                    reason,
                ));
            }
        }
        let providers = items(resource, "providers");
        if providers.is_empty() {
            let detail = format!("at least one {providers_at} is required");
            errors.push(FieldError::required(providers_at.as_str(), &detail));
        }
        for (index, provider) in providers.iter().enumerate() {
            let at = format!("{providers_at}[{index}]");
            validate_provider(provider, &at, reload, &mut kms_names, &mut errors);
        }
    }
    errors
}

fn overlaps(names: &[Value], at: &str, errors: &mut Errors) {
    let parsed: Vec<GroupResource<'_>> = names
        .iter()
        .map(|name| GroupResource::parse(name.as_str().unwrap_or_default()))
        .collect();
    let (mut twice, mut overlap) = (false, false);
    for (i, one) in parsed.iter().enumerate() {
        for (j, other) in parsed.iter().enumerate() {
            if i == j {
                continue;
            }
            // The first pair that is the same is not looked at further.
            if one == other && !twice {
                twice = true;
                continue;
            }
            overlap |= *one == GroupResource::ANY
                || one.group == other.group && (one.resource == "*" || other.resource == "*");
        }
    }
    for (found, reason) in [
        (
            twice,
            "the same resource cannot be specified multiple times",
        ),
        (
            overlap,
            "using overlapping resources such as 'secrets' and '*.' in the same resource list is not allowed as they will be masked",
        ),
    ] {
        if found {
            errors.push(FieldError::invalid(at, &names.into(), reason));
        }
    }
}

fn bad_name(name: &str) -> Option<&'static str> {
    let parsed = GroupResource::parse(name);
    if name.to_lowercase() != name {
        return Some("resource name should not contain capital letters");
    }
    match (name, parsed.group) {
        ("*", _) => Some(
            "use '*.' to encrypt all the resources from core API group or *.* to encrypt all resources",
        ),
        ("apiserveripinfo" | "serviceipallocations" | "servicenodeportallocations", _) => {
            Some("resources which do not have REST API/s cannot be encrypted")
        }
        (_, "events.k8s.io") => Some(
            "'*.events.k8s.io' objects are stored using the 'events' API group in etcd. Use 'events' instead in the config file",
        ),
        (_, "extensions") => {
            Some("'extensions' group has been removed and cannot be used for encryption")
        }
        (_, "*") if parsed.resource != "*" => {
            Some("encrypting the same resource across groups is not supported")
        }
        _ => None,
    }
}

fn validate_provider<'a>(
    provider: &'a Value,
    at: &str,
    reload: bool,
    kms_names: &mut Vec<&'a str>,
    errors: &mut Errors,
) {
    let part = |key: &str| provider.get(key).filter(|value| !value.is_null());
    let names = ["kms", "aesgcm", "aescbc", "secretbox", "identity"];
    let given = names.iter().filter(|name| part(name).is_some()).count();
    let reason = match given {
        0 => Some(
            "provider does not contain any of the expected providers: KMS, AESGCM, AESCBC, Secretbox, Identity",
        ),
        1 => None,
        _ => Some(
            "more than one provider specified in a single element, should split into different list elements",
        ),
    };
    if let Some(reason) = reason {
        errors.push(FieldError::invalid(at, &internal(provider), reason));
    }
    if let Some(kms) = part("kms") {
        validate_kms(kms, &format!("{at}.kms"), reload, kms_names, errors);
        kms_names.push(text(kms, "name"));
        return;
    }
    for (name, lengths) in [("aesgcm", AES), ("aescbc", AES), ("secretbox", SECRETBOX)] {
        if let Some(settings) = part(name) {
            let at = format!("{at}.{name}.keys");
            validate_keys(items(settings, "keys"), &at, lengths, errors);
            return;
        }
    }
}

/// A provider as the internal type shows it, whose fields have no names of their own in JSON.
fn internal(provider: &Value) -> Value {
    let part = |key: &str| provider.get(key).filter(|value| !value.is_null());
    let keys = |key: &str| {
        part(key).map(|settings| {
            let keys = settings.get("keys").and_then(Value::as_array);
            let keys = keys.map(|keys| {
                keys.iter()
                    .map(|key| json!({"Name": text(key, "name"), "Secret": text(key, "secret")}))
                    .collect::<Vec<Value>>()
            });
            json!({ "Keys": keys })
        })
    };
    let kms = part("kms").map(|kms| {
        json!({
            "APIVersion": text(kms, "apiVersion"), "Name": text(kms, "name"),
            "CacheSize": kms.get("cachesize"), "Endpoint": text(kms, "endpoint"),
            "Timeout": kms.get("timeout"),
        })
    });
    json!({
        "AESGCM": keys("aesgcm"), "AESCBC": keys("aescbc"), "Secretbox": keys("secretbox"),
        "Identity": part("identity").map(|_| json!({})), "KMS": kms,
    })
}

fn validate_keys(keys: &[Value], at: &str, lengths: &[usize], errors: &mut Errors) {
    if keys.is_empty() {
        errors.push(FieldError::required(at, "at least one keys is required"));
    }
    for (index, key) in keys.iter().enumerate() {
        let at = |field: &str| format!("{at}[{index}].{field}");
        let mandatory = |field: &str| format!("{field} is a mandatory field for a key");
        if text(key, "name").is_empty() {
            errors.push(FieldError::required(at("name"), &mandatory("name")));
        }
        let secret = text(key, "secret");
        if secret.is_empty() {
            errors.push(FieldError::required(at("secret"), &mandatory("secret")));
            continue;
        }
        // Go's decoder passes over line breaks.
        let bare: String = secret
            .chars()
            .filter(|c| !matches!(c, '\r' | '\n'))
            .collect();
        let reason = match STANDARD.decode(bare) {
            Err(_) => "secrets must be base64 encoded".to_owned(),
            Ok(bytes) if lengths.contains(&bytes.len()) => continue,
            Ok(bytes) => {
                let lengths: Vec<String> = lengths.iter().map(usize::to_string).collect();
                format!(
                    "secret is not of the expected length, got {}, expected one of [{}]",
                    bytes.len(),
                    lengths.join(" ")
                )
            }
        };
        errors.push(FieldError::invalid(
            at("secret"),
            &"REDACTED".into(),
            reason,
        ));
    }
}

fn validate_kms(kms: &Value, at: &str, reload: bool, names: &[&str], errors: &mut Errors) {
    let field = |key: &str| format!("{at}.{key}");
    let (name, version) = (text(kms, "name"), text(kms, "apiVersion"));
    let shown = Value::from(name);
    if name.is_empty() {
        let detail = "name is a mandatory field for a provider";
        errors.push(FieldError::required(field("name"), detail));
    }
    if version != "v1" && name.contains(':') {
        let reason = format!("invalid KMS provider name {name}, must not contain ':'");
        errors.push(FieldError::invalid(field("name"), &shown, reason));
    }
    if (reload || version != "v1") && names.contains(&name) {
        let reason = format!("duplicate KMS provider name {name}, names must be unique");
        errors.push(FieldError::invalid(field("name"), &shown, reason));
    }
    let timeout = text(kms, "timeout");
    if parse_duration(timeout).unwrap_or_default() <= 0 {
        errors.push(FieldError::invalid(
            field("timeout"),
            &timeout.into(),
            "timeout should be a positive value",
        ));
    }
    let endpoint = text(kms, "endpoint");
    let reason = match url::scheme(endpoint) {
        _ if endpoint.is_empty() => "endpoint is a mandatory field for a kms".to_owned(),
        Err(reason) => format!("invalid endpoint for kms provider, error: {reason}"),
        Ok(scheme) if scheme == "unix" => String::new(),
        Ok(scheme) => format!(
            "unsupported scheme {} for KMS provider, only unix is supported",
            quote(&scheme)
        ),
    };
    if !reason.is_empty() {
        errors.push(FieldError::invalid(
            field("endpoint"),
            &endpoint.into(),
            reason,
        ));
    }
    if let Some(size) = kms.get("cachesize").and_then(Value::as_i64) {
        let reason = match (version, size) {
            ("v1", 0) => "cachesize should be a positive value, or negative to disable",
            ("v1", _) => "",
            _ => "cachesize is not supported in v2",
        };
        if !reason.is_empty() {
            errors.push(FieldError::invalid(
                field("cachesize"),
                &size.into(),
                reason,
            ));
        }
    }
    if version != "v1" && version != "v2" {
        errors.push(FieldError::invalid(
            field("apiVersion"),
            &version.into(),
            "unsupported apiVersion apiVersion for KMS provider, only v1 and v2 are supported",
        ));
    }
}
