//! PodSecurity (`k8s.io/pod-security-admission`): the Pod Security Standards, by labels of the namespace.

pub mod checks;

use std::sync::Arc;

use serde_json::Value;

use super::{Attributes, Operation};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::kinds::field::{FieldError, invalid_status};
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

/// A level of the standards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Everything goes.
    Privileged,
    /// No known privilege escalation.
    Baseline,
    /// Hardened.
    Restricted,
}

impl Level {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "privileged" => Some(Level::Privileged),
            "baseline" => Some(Level::Baseline),
            "restricted" => Some(Level::Restricted),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Level::Privileged => "privileged",
            Level::Baseline => "baseline",
            Level::Restricted => "restricted",
        }
    }
}

/// A level in the version of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LevelVersion {
    /// Level.
    pub level: Level,
    /// Minor version; `None` is the latest.
    pub minor: Option<u32>,
}

impl std::fmt::Display for LevelVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.minor {
            Some(minor) => write!(f, "{}:v1.{minor}", self.level.name()),
            None => write!(f, "{}:latest", self.level.name()),
        }
    }
}

/// `latest` or `v1.30`; the inner `None` is the latest.
fn parse_version(text: &str) -> Option<Option<u32>> {
    if text == "latest" {
        return Some(None);
    }
    let minor = text.strip_prefix("v1.")?;
    if minor.is_empty() || minor.len() > 1 && minor.starts_with('0') {
        return None;
    }
    minor.parse().ok().map(Some)
}

/// The level of a mode (`enforce`, `audit`, `warn`) of a namespace; wrong labels count as the real
/// evaluator counts them: a bad level of `enforce` is restricted, of the others privileged.
fn level(namespace: &Value, mode: &str) -> LevelVersion {
    let label = |suffix: &str| {
        namespace
            .pointer(&format!(
                "/metadata/labels/pod-security.kubernetes.io~1{mode}{suffix}"
            ))
            .and_then(Value::as_str)
    };
    let level = match label("") {
        None => Level::Privileged,
        Some(text) => Level::parse(text).unwrap_or(if mode == "enforce" {
            Level::Restricted
        } else {
            Level::Privileged
        }),
    };
    LevelVersion {
        level,
        minor: label("-version").and_then(parse_version).flatten(),
    }
}

/// The level to warn at: without a label of its own, the one that is enforced.
fn warn_level(namespace: &Value) -> LevelVersion {
    let label = |suffix: &str| {
        namespace
            .pointer(&format!(
                "/metadata/labels/pod-security.kubernetes.io~1{suffix}"
            ))
            .and_then(Value::as_str)
    };
    let own = level(namespace, "warn");
    let enforced = label("enforce").and_then(Level::parse);
    match enforced {
        Some(enforced) if label("warn").is_none() && enforced > Level::Privileged => LevelVersion {
            level: enforced,
            minor: match label("warn-version") {
                Some(_) => own.minor,
                None => level(namespace, "enforce").minor,
            },
        },
        _ => own,
    }
}

/// Errors of the labels themselves.
fn label_errors(namespace: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for mode in ["enforce", "audit", "warn"] {
        let key = format!("pod-security.kubernetes.io/{mode}");
        let label = |key: &str| {
            namespace
                .pointer(&format!("/metadata/labels/{}", key.replace('/', "~1")))
                .and_then(Value::as_str)
        };
        if let Some(text) = label(&key)
            && Level::parse(text).is_none()
        {
            errors.push(FieldError::invalid(
                format!("metadata.labels[{key}]"),
                &text.into(),
                "must be one of privileged, baseline, restricted",
            ));
        }
        let key = format!("{key}-version");
        if let Some(text) = label(&key)
            && parse_version(text).is_none()
        {
            errors.push(FieldError::invalid(
                format!("metadata.labels[{key}]"),
                &text.into(),
                "must be \"latest\" or \"v1.x\"",
            ));
        }
    }
    errors
}

/// Judges pods, warns about templates, checks the labels of namespaces.
///
/// # Errors
/// 403 for a pod that violates the enforced level, 422 for wrong labels.
pub fn validate(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), Status> {
    if !matches!(attributes.operation, Operation::Create | Operation::Update) {
        return Ok(());
    }
    let (group, resource) = (
        attributes.resource.group.as_str(),
        attributes.resource.name.as_str(),
    );
    if attributes.is("", "namespaces", "") {
        return namespace(state, attributes, old, new);
    }
    let template = match (group, resource) {
        ("", "pods") => {
            if !matches!(
                attributes.subresource,
                "" | "ephemeralcontainers" | "resize"
            ) {
                return Ok(());
            }
            return pod(state, attributes, old, new);
        }
        _ if !attributes.subresource.is_empty() => return Ok(()),
        ("", "podtemplates") => "/template/spec",
        ("", "replicationcontrollers") | ("apps", _) | ("batch", "jobs") => "/spec/template/spec",
        ("batch", "cronjobs") => "/spec/jobTemplate/spec/template/spec",
        _ => return Ok(()),
    };
    let Some(spec) = new.pointer(template) else {
        return Ok(());
    };
    let Some(namespace) = namespace_of(state, attributes) else {
        return Ok(());
    };
    let metadata = new.pointer(template.trim_end_matches("/spec"));
    let (audit, warn) = (level(&namespace, "audit"), warn_level(&namespace));
    let errors = label_errors(&namespace);
    if audit.level == Level::Privileged && warn.level == Level::Privileged && errors.is_empty() {
        return Ok(());
    }
    annotate_errors(attributes, &errors);
    if let Some(text) = violation(&audit, metadata, spec) {
        attributes.audit.annotate(
            "pod-security.kubernetes.io/audit-violations",
            &format!("would violate PodSecurity \"{audit}\": {text}"),
        );
    }
    if let Some(text) = violation(&warn, metadata, spec) {
        attributes
            .warnings
            .add(format!("would violate PodSecurity \"{warn}\": {text}"));
    }
    Ok(())
}

fn namespace_of(state: &Arc<ApiState>, attributes: &Attributes<'_>) -> Option<Arc<Value>> {
    let key = format!("/registry/core/namespaces/{}", attributes.namespace);
    state.store.get(&key).map(|stored| stored.value)
}

/// `details of every violated check`, or `None`.
fn violation(level: &LevelVersion, object: Option<&Value>, spec: &Value) -> Option<String> {
    let all = checks::violations(level, object, spec);
    if all.is_empty() {
        return None;
    }
    let texts: Vec<String> = all
        .iter()
        .map(|violation| {
            if violation.detail.is_empty() {
                violation.reason.clone()
            } else {
                format!("{} ({})", violation.reason, violation.detail)
            }
        })
        .collect();
    Some(texts.join(", "))
}

/// Whether an update is judged again (`isSignificantPodUpdate`): other containers, or other images.
fn is_significant(old: &Value, new: &Value) -> bool {
    let images = |pod: &Value, list: &str| -> Vec<String> {
        items(pod, list)
            .iter()
            .map(|container| text_at(container, "/image").to_owned())
            .collect()
    };
    ["/spec/containers", "/spec/initContainers"]
        .iter()
        .any(|list| images(old, list) != images(new, list))
        || items(new, "/spec/ephemeralContainers").iter().any(|own| {
            items(old, "/spec/ephemeralContainers")
                .iter()
                .find(|before| text_at(before, "/name") == text_at(own, "/name"))
                .is_none_or(|before| text_at(before, "/image") != text_at(own, "/image"))
        })
}

/// What is wrong with the labels is said in the audit event of every pod that is judged by them.
fn annotate_errors(attributes: &Attributes<'_>, errors: &[FieldError]) {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    let text = match texts.as_slice() {
        [] => return,
        [one] => one.clone(),
        _ => format!("[{}]", texts.join(", ")),
    };
    attributes.audit.annotate(
        "pod-security.kubernetes.io/error",
        &format!("Failed to parse policy: {text}"),
    );
}

fn pod(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), Status> {
    let Some(namespace) = namespace_of(state, attributes) else {
        return Ok(());
    };
    let errors = label_errors(&namespace);
    let lenient = [
        level(&namespace, "enforce"),
        level(&namespace, "audit"),
        warn_level(&namespace),
    ]
    .iter()
    .all(|level| level.level == Level::Privileged);
    if lenient && errors.is_empty() {
        attributes.audit.annotate(
            "pod-security.kubernetes.io/enforce-policy",
            "privileged:latest",
        );
        return Ok(());
    }
    if old.is_some_and(|old| !is_significant(old, new)) {
        return Ok(());
    }
    annotate_errors(attributes, &errors);
    let empty = Value::Null;
    let spec = new.get("spec").unwrap_or(&empty);
    let enforce = level(&namespace, "enforce");
    attributes.audit.annotate(
        "pod-security.kubernetes.io/enforce-policy",
        &enforce.to_string(),
    );
    let enforced = violation(&enforce, Some(new), spec);
    let audit = level(&namespace, "audit");
    if let Some(text) = violation(&audit, Some(new), spec) {
        attributes.audit.annotate(
            "pod-security.kubernetes.io/audit-violations",
            &format!("would violate PodSecurity \"{audit}\": {text}"),
        );
    }
    if let Some(text) = enforced {
        return Err(
            attributes.forbidden(new, format!("violates PodSecurity \"{enforce}\": {text}"))
        );
    }
    let warn = warn_level(&namespace);
    if let Some(text) = violation(&warn, Some(new), spec) {
        attributes
            .warnings
            .add(format!("would violate PodSecurity \"{warn}\": {text}"));
    }
    Ok(())
}

fn namespace(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), Status> {
    let errors = label_errors(new);
    let name = text_at(new, "/metadata/name");
    let known = old.map(label_errors).unwrap_or_default();
    if !errors.is_empty() && errors != known {
        return Err(invalid_status("", "Namespace", name, &errors));
    }
    let Some(old) = old else {
        return Ok(());
    };
    let (before, after) = (level(old, "enforce"), level(new, "enforce"));
    // Nothing to say when the level is privileged or not stricter than before.
    if before == after
        || after.level == Level::Privileged
        || after.minor == before.minor && after.level <= before.level
    {
        return Ok(());
    }
    let prefix = format!("/registry/core/pods/{name}/");
    let mut groups: Vec<(String, Vec<String>)> = Vec::new();
    for stored in state.store.list(&prefix).0 {
        let empty = Value::Null;
        let spec = stored.value.get("spec").unwrap_or(&empty);
        let reasons: Vec<String> = checks::violations(&after, Some(&stored.value), spec)
            .into_iter()
            .map(|violation| violation.reason)
            .collect();
        if reasons.is_empty() {
            continue;
        }
        let text = reasons.join(", ");
        let pod = text_at(&stored.value, "/metadata/name").to_owned();
        match groups.iter_mut().find(|(own, _)| *own == text) {
            Some((_, pods)) => pods.push(pod),
            None => groups.push((text, vec![pod])),
        }
    }
    if groups.is_empty() {
        return Ok(());
    }
    attributes.warnings.add(format!(
        "existing pods in namespace \"{name}\" violate the new PodSecurity enforce level \"{after}\""
    ));
    // Equal ones together, then in the order of the whole text.
    let mut lines = Vec::new();
    for (text, pods) in groups {
        let first = pods.iter().min().map(String::as_str).unwrap_or_default();
        let line = match pods.len() {
            1 => format!("{first}: {text}"),
            2 => format!("{first} (and 1 other pod): {text}"),
            n => format!("{first} (and {} other pods): {text}", n - 1),
        };
        lines.push(line);
    }
    lines.sort_unstable();
    for line in lines {
        attributes.warnings.add(line);
    }
    Ok(())
}
