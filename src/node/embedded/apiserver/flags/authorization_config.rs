//! The file of `--authorization-config` (`pkg/kubeapiserver/authorizer/reload.go`,
//! `k8s.io/apiserver/pkg/apis/apiserver/{load,validation}`).
//!
//! Match conditions are not compiled: a wrong expression is accepted.

use serde_json::Value;

use super::{absolute, aggregate};
use crate::audit::options::number::parse_duration;
use crate::node::embedded::apiserver::kinds::field::FieldError;
use crate::node::embedded::apiserver::kinds::validation::name;
use crate::node::embedded::apiserver::schema::config_file::{INSTALLED, Scheme};
use crate::node::embedded::apiserver::startup::read;
use crate::node::embedded::process::go_error_text;
use crate::node::embedded::runtime::rootfs::Rootfs;

const SCHEME: Scheme = Scheme {
    name: "pkg/apis/apiserver/load/load.go:32",
    versions: INSTALLED,
};

const TYPES: [&str; 6] = [
    "ABAC",
    "AlwaysAllow",
    "AlwaysDeny",
    "Node",
    "RBAC",
    "Webhook",
];

/// Most match conditions of a webhook.
const MOST: usize = 64;

/// The types of the chain of authorizers in the file.
///
/// # Errors
/// The real text.
pub fn modes(rootfs: &Rootfs, path: &str) -> Result<Vec<String>, String> {
    let bytes = read(rootfs, path)?;
    let load =
        |reason: String| format!("failed to load AuthorizationConfiguration from file: {reason}");
    let config = if bytes.is_empty() {
        Value::Null
    } else {
        let file = SCHEME.read(&bytes).map_err(load)?;
        if file.kind != "AuthorizationConfiguration" {
            return Err(load(format!(
                "expected AuthorizationConfiguration, got *apiserver.{}",
                file.kind
            )));
        }
        file.value
    };
    let authorizers = list(&config, "authorizers");
    let mut errors = Vec::new();
    validate(authorizers, rootfs, &mut errors);
    if !errors.is_empty() {
        let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
        return Err(aggregate(&texts));
    }
    let mut types = Vec::new();
    let mut misnamed = Vec::new();
    for authorizer in authorizers {
        let (kind, name) = (text(authorizer, "type"), text(authorizer, "name"));
        let expected = kind.to_lowercase();
        if kind != "Webhook" && name != expected {
            misnamed.push(format!(
                "expected name {expected} for authorizer {kind} instead of {name}"
            ));
        }
        types.push(kind.to_owned());
    }
    if misnamed.is_empty() {
        Ok(types)
    } else {
        Err(aggregate(&misnamed))
    }
}

fn validate(authorizers: &[Value], rootfs: &Rootfs, errors: &mut Vec<FieldError>) {
    if authorizers.is_empty() {
        errors.push(FieldError::required(
            "authorizers",
            "at least one authorization mode must be defined",
        ));
    }
    let (mut types, mut names) = (Vec::new(), Vec::new());
    for (index, authorizer) in authorizers.iter().enumerate() {
        let at = format!("authorizers[{index}]");
        let (kind, called) = (text(authorizer, "type"), text(authorizer, "name"));
        let type_at = format!("{at}.type");
        if kind.is_empty() {
            errors.push(FieldError::required(type_at, ""));
            continue;
        }
        if !TYPES.contains(&kind) {
            errors.push(FieldError::not_supported(type_at, &kind.into(), &TYPES));
            continue;
        }
        if kind != "Webhook" && types.contains(&kind) {
            errors.push(FieldError::duplicate(type_at, &kind.into()));
            continue;
        }
        types.push(kind);
        let name_at = format!("{at}.name");
        let wrong = name::subdomain(called);
        if called.is_empty() {
            errors.push(FieldError::required(name_at, ""));
        } else if names.contains(&called) {
            errors.push(FieldError::duplicate(name_at, &called.into()));
        } else if !wrong.is_empty() {
            errors.push(FieldError::invalid(
                name_at,
                &called.into(),
                format!("authorizer name is invalid: {}", wrong.join(", ")),
            ));
        }
        names.push(called);
        let webhook = authorizer.get("webhook").filter(|value| !value.is_null());
        let webhook_at = format!("{at}.webhook");
        match (kind, webhook) {
            ("Webhook", None) => errors.push(FieldError::required(
                webhook_at,
                "required when type=Webhook",
            )),
            // Its fields are told at the authorizer's path.
            ("Webhook", Some(webhook)) => validate_webhook(webhook, &at, rootfs, errors),
            (_, Some(_)) => errors.push(FieldError::invalid(
                webhook_at,
                &"non-null".into(),
                "may only be specified when type=Webhook",
            )),
            _ => {}
        }
    }
}

fn validate_webhook(webhook: &Value, at: &str, rootfs: &Rootfs, errors: &mut Vec<FieldError>) {
    let nanos = |key: &str| parse_duration(text(webhook, key)).unwrap_or_default();
    let at_key = |key: &str| format!("{at}.{key}");
    match nanos("timeout") {
        0 => errors.push(FieldError::required(at_key("timeout"), "")),
        1..=30_000_000_000 => {}
        _ => errors.push(FieldError::invalid(
            at_key("timeout"),
            &text(webhook, "timeout").into(),
            "must be > 0s and <= 30s",
        )),
    }
    // Zero is the default here, not an error.
    for key in ["authorizedTTL", "unauthorizedTTL"] {
        if nanos(key) < 0 {
            errors.push(FieldError::invalid(
                at_key(key),
                &text(webhook, key).into(),
                "must be > 0s",
            ));
        }
    }
    let mut choice = |key: &str, needed: Option<&str>, known: &[&str]| match text(webhook, key) {
        "" => {
            if let Some(detail) = needed {
                errors.push(FieldError::required(at_key(key), detail));
            }
        }
        other if !known.contains(&other) => {
            errors.push(FieldError::not_supported(at_key(key), &other.into(), known));
        }
        _ => {}
    };
    choice("subjectAccessReviewVersion", Some(""), &["v1", "v1beta1"]);
    let conditions = list(webhook, "matchConditions");
    let needed = (!conditions.is_empty()).then_some("required if match conditions are specified");
    choice("matchConditionSubjectAccessReviewVersion", needed, &["v1"]);
    choice("failurePolicy", Some(""), &["NoOpinion", "Deny"]);
    let connection = webhook.get("connectionInfo").unwrap_or(&Value::Null);
    connection_info(connection, &at_key("connectionInfo"), rootfs, errors);
    if conditions.len() > MOST {
        let many = Value::from(conditions.len());
        let detail = format!("must have at most {MOST} items");
        let mut error = FieldError::invalid(at_key("matchConditions"), &many, detail.as_str());
        error.message = format!("Too many: {many}: {detail}");
        errors.push(error);
        return;
    }
    let mut seen = Vec::new();
    for (index, condition) in conditions.iter().enumerate() {
        let at = format!("{at}.matchConditions[{index}].expression");
        let expression = text(condition, "expression");
        if expression.trim().is_empty() {
            errors.push(FieldError::required(at, ""));
        } else if seen.contains(&expression) {
            errors.push(FieldError::duplicate(at, &expression.into()));
        } else {
            seen.push(expression);
        }
    }
}

fn connection_info(info: &Value, at: &str, rootfs: &Rootfs, errors: &mut Vec<FieldError>) {
    let file_at = format!("{at}.kubeConfigFile");
    let file = info.get("kubeConfigFile").and_then(Value::as_str);
    let reason = match (text(info, "type"), file) {
        ("", _) => {
            errors.push(FieldError::required(format!("{at}.type"), ""));
            return;
        }
        ("InClusterConfig", None) => return,
        ("InClusterConfig", Some(_)) => "can only be set when type=KubeConfigFile".to_owned(),
        ("KubeConfigFile", None | Some("")) => {
            errors.push(FieldError::required(file_at, ""));
            return;
        }
        ("KubeConfigFile", Some(path)) if !path.starts_with('/') => {
            "must be an absolute path".to_owned()
        }
        ("KubeConfigFile", Some(path)) => match rootfs.metadata(&absolute(path)) {
            Err(error) => format!("error loading file: stat {path}: {}", go_error_text(&error)),
            Ok(metadata) if metadata.is_file() => return,
            Ok(_) => "must be a regular file".to_owned(),
        },
        _ => {
            let shown = serde_json::json!({"Type": text(info, "type"), "KubeConfigFile": file});
            errors.push(FieldError::not_supported(
                format!("{at}.type"),
                &shown,
                &["InClusterConfig", "KubeConfigFile"],
            ));
            return;
        }
    };
    errors.push(FieldError::invalid(file_at, &file.into(), reason));
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}
