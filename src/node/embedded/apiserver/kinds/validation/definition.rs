//! CustomResourceDefinitions (`apiextensions-apiserver/pkg/apis/apiextensions/validation`).

use serde_json::{Value, json};

use super::{Errors, name, structural};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = [
    "byte",
    "date",
    "date-time",
    "double",
    "float",
    "int32",
    "int64",
    "password",
];

/// A definition that is created or updated.
pub(super) fn definition(old: Option<&Value>, new: &Value, e: &mut Errors) {
    let group = text_at(new, "/spec/group");
    let own = text_at(new, "/metadata/name");
    if old.is_none() && own != format!("{}.{group}", text_at(new, "/spec/names/plural")) {
        e.invalid(
            "metadata.name",
            &own.into(),
            "must be spec.names.plural+\".\"+spec.group",
        );
    }
    if group.is_empty() {
        e.required("spec.group", "");
    } else {
        let problems = name::subdomain(group);
        if !problems.is_empty() {
            e.invalid("spec.group", &group.into(), problems.join(","));
        } else if !group.contains('.') {
            e.invalid(
                "spec.group",
                &group.into(),
                "should be a domain with at least one dot",
            );
        }
    }
    match text_at(new, "/spec/scope") {
        "" => e.required("spec.scope", ""),
        "Cluster" | "Namespaced" => {}
        other => e.not_supported("spec.scope", &other.into(), &["Cluster", "Namespaced"]),
    }
    versions(new, e);
    names(new.pointer("/spec/names"), "spec.names", true, e);
    let all = items(new, "/spec/versions");
    // What all versions have in common belongs to the definition in the internal version.
    if let (Some(schema), Some(first)) = (common(all, "/schema"), all.first()) {
        let status = first.pointer("/subresources/status").is_some();
        structural::schema(schema.get("openAPIV3Schema"), "spec.validation", status, e);
    }
    if let Some(subresources) = common(all, "/subresources") {
        scale(subresources, "spec.subresources", e);
    }
    if let Some(columns) = common(all, "/additionalPrinterColumns") {
        self::columns(columns, "spec.additionalPrinterColumns", e);
    }
    conversion(new, e);
    names(
        new.pointer("/status/acceptedNames"),
        "status.acceptedNames",
        false,
        e,
    );
    stored_versions(new, e);
    approval(group, new, e);
    if new.pointer("/spec/preserveUnknownFields") == Some(&Value::Bool(true)) {
        e.invalid(
            "spec.preserveUnknownFields",
            &true.into(),
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        );
    }
}

/// What every version has, if it is the same.
fn common<'v>(versions: &'v [Value], pointer: &str) -> Option<&'v Value> {
    let first = versions.first()?.pointer(pointer)?;
    versions
        .iter()
        .all(|version| version.pointer(pointer) == Some(first))
        .then_some(first)
}

fn versions(new: &Value, e: &mut Errors) {
    let all = items(new, "/spec/versions");
    for (at, version) in all.iter().enumerate() {
        if version.pointer("/schema/openAPIV3Schema").is_none() {
            e.required(&format!("spec.versions[{at}].schema.openAPIV3Schema"), "");
        }
    }
    let shared = |pointer: &str| common(all, pointer).is_some();
    let mut seen: Vec<&str> = Vec::new();
    let mut unique = true;
    for (at, version) in all.iter().enumerate() {
        let path = format!("spec.versions[{at}]");
        let own = text_at(version, "/name");
        unique &= !seen.contains(&own);
        seen.push(own);
        let problems = name::rfc1035(own);
        if !problems.is_empty() {
            e.invalid(&format!("{path}.name"), &own.into(), problems.join(","));
        }
        deprecation(version, &path, e);
        let status = version.pointer("/subresources/status").is_some();
        if !shared("/schema") {
            structural::schema(
                version.pointer("/schema/openAPIV3Schema"),
                &format!("{path}.schema"),
                status,
                e,
            );
        }
        if let Some(subresources) = version
            .get("subresources")
            .filter(|_| !shared("/subresources"))
        {
            scale(subresources, &format!("{path}.subresources"), e);
        }
        if let Some(columns) = version
            .get("additionalPrinterColumns")
            .filter(|_| !shared("/additionalPrinterColumns"))
        {
            self::columns(columns, &format!("{path}.additionalPrinterColumns"), e);
        }
    }
    let shown = shown(all);
    if !unique {
        e.invalid("spec.versions", &shown, "must contain unique version names");
    }
    let storage = |version: &&Value| version.get("storage") == Some(&Value::Bool(true));
    if all.iter().filter(storage).count() != 1 {
        e.invalid(
            "spec.versions",
            &shown,
            "must have exactly one version marked as storage version",
        );
    }
    let first = all.first().map_or("", |version| text_at(version, "/name"));
    let problems = name::rfc1035(first);
    if !first.is_empty() && !problems.is_empty() {
        e.invalid("spec.version", &first.into(), problems.join(","));
    }
}

/// Versions as the internal struct; what is common to all is not in them.
fn shown(all: &[Value]) -> Value {
    let own = |version: &Value, pointer: &str| {
        if common(all, pointer).is_some() {
            return Value::Null;
        }
        version.pointer(pointer).cloned().unwrap_or_default()
    };
    all.iter()
        .map(|version| {
            json!({
                "Name": text_at(version, "/name"),
                "Served": version.get("served") == Some(&Value::Bool(true)),
                "Storage": version.get("storage") == Some(&Value::Bool(true)),
                "Deprecated": version.get("deprecated") == Some(&Value::Bool(true)),
                "DeprecationWarning": own(version, "/deprecationWarning"),
                "Schema": own(version, "/schema"),
                "Subresources": own(version, "/subresources"),
                "AdditionalPrinterColumns": own(version, "/additionalPrinterColumns"),
                "SelectableFields": own(version, "/selectableFields"),
            })
        })
        .collect()
}

fn deprecation(version: &Value, path: &str, e: &mut Errors) {
    let Some(warning) = version.get("deprecationWarning").and_then(Value::as_str) else {
        return;
    };
    let path = format!("{path}.deprecationWarning");
    let mut say = |text: &str| e.invalid(&path, &warning.into(), text);
    if version.get("deprecated") != Some(&Value::Bool(true)) {
        return say("can only be set for deprecated versions");
    }
    if warning.len() > 256 {
        say("must be <= 256 characters long");
    }
    if warning.is_empty() {
        say("must not be an empty string");
    }
    if let Some((at, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        say(&format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        ));
    }
}

fn names(names: Option<&Value>, path: &str, required: bool, e: &mut Errors) {
    let empty = Value::Null;
    let names = names.unwrap_or(&empty);
    let text = |key: &str| text_at(names, &format!("/{key}"));
    if required {
        for key in ["plural", "singular", "kind", "listKind"] {
            if text(key).is_empty() {
                e.required(&format!("{path}.{key}"), "");
            }
        }
    }
    for key in ["plural", "singular", "kind", "listKind"] {
        let own = text(key);
        let mixed = key.ends_with("ind");
        let problems = if mixed {
            name::rfc1035(&own.to_lowercase())
        } else {
            name::rfc1035(own)
        };
        if !own.is_empty() && !problems.is_empty() {
            let before = if mixed {
                "may have mixed case, but should otherwise match: "
            } else {
                ""
            };
            e.invalid(
                &format!("{path}.{key}"),
                &own.into(),
                format!("{before}{}", problems.join(",")),
            );
        }
    }
    let list = |key: &str, e: &mut Errors| {
        for (at, own) in items(names, &format!("/{key}")).iter().enumerate() {
            let problems = name::rfc1035(own.as_str().unwrap_or_default());
            if !problems.is_empty() {
                e.invalid(&format!("{path}.{key}[{at}]"), own, problems.join(","));
            }
        }
    };
    list("shortNames", e);
    if !text("kind").is_empty() && text("kind") == text("listKind") {
        e.invalid(
            &format!("{path}.listKind"),
            &text("listKind").into(),
            "kind and listKind may not be the same",
        );
    }
    list("categories", e);
}

fn columns(columns: &Value, path: &str, e: &mut Errors) {
    for (at, column) in columns.as_array().into_iter().flatten().enumerate() {
        let path = format!("{path}[{at}]");
        if text_at(column, "/name").is_empty() {
            e.required(&format!("{path}.name"), "");
        }
        let one_of = format!("must be one of {}", COLUMN_TYPES.join(","));
        match text_at(column, "/type") {
            "" => e.required(&format!("{path}.type"), &one_of),
            own if !COLUMN_TYPES.contains(&own) => {
                e.invalid(&format!("{path}.type"), &own.into(), one_of);
            }
            _ => {}
        }
        let format = text_at(column, "/format");
        if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
            e.invalid(
                &format!("{path}.format"),
                &format.into(),
                format!("must be one of {}", COLUMN_FORMATS.join(",")),
            );
        }
        match text_at(column, "/jsonPath") {
            "" => e.required(&format!("{path}.JSONPath"), ""),
            own => {
                simple_path(own, &format!("{path}.JSONPath"), e);
            }
        }
    }
}

/// Gives whether it is one.
fn simple_path(own: &str, path: &str, e: &mut Errors) -> bool {
    if own.starts_with('.') {
        return true;
    }
    e.invalid(
        path,
        &own.into(),
        "must be a simple json path starting with .",
    );
    false
}

fn scale(subresources: &Value, path: &str, e: &mut Errors) {
    let Some(scale) = subresources.get("scale").filter(|scale| scale.is_object()) else {
        return;
    };
    for (key, below) in [
        ("specReplicasPath", ".spec."),
        ("statusReplicasPath", ".status."),
    ] {
        let path = format!("{path}.scale.{key}");
        match text_at(scale, &format!("/{key}")) {
            "" => e.required(&path, ""),
            own if simple_path(own, &path, e) && !own.starts_with(below) => e.invalid(
                &path,
                &own.into(),
                format!(
                    "should be a json path under {}",
                    below.trim_end_matches('.')
                ),
            ),
            _ => {}
        }
    }
    let own = text_at(scale, "/labelSelectorPath");
    let path = format!("{path}.scale.labelSelectorPath");
    if !own.is_empty()
        && simple_path(own, &path, e)
        && !own.starts_with(".spec.")
        && !own.starts_with(".status.")
    {
        e.invalid(
            &path,
            &own.into(),
            "should be a json path under either .spec or .status",
        );
    }
}

fn conversion(new: &Value, e: &mut Errors) {
    let Some(conversion) = new
        .pointer("/spec/conversion")
        .filter(|conversion| conversion.is_object())
    else {
        return;
    };
    let webhook = conversion
        .get("webhook")
        .filter(|webhook| webhook.is_object());
    match text_at(conversion, "/strategy") {
        "" => e.required("spec.conversion.strategy", ""),
        "None" => {
            if webhook.is_some_and(|webhook| webhook.get("clientConfig").is_some()) {
                e.forbidden(
                    "spec.conversion.webhookClientConfig",
                    "should not be set when strategy is not set to Webhook",
                );
            }
        }
        "Webhook" => {
            let client = webhook.and_then(|webhook| webhook.get("clientConfig"));
            match client {
                None => e.required(
                    "spec.conversion.webhookClientConfig",
                    "required when strategy is set to Webhook",
                ),
                Some(client) if client.get("url").is_some() == client.get("service").is_some() => e
                    .required(
                        "spec.conversion.webhookClientConfig",
                        "exactly one of url or service is required",
                    ),
                Some(_) => {}
            }
            let reviews = webhook.map_or(&[][..], |webhook| {
                items(webhook, "/conversionReviewVersions")
            });
            if reviews.is_empty() {
                e.required("spec.conversion.conversionReviewVersions", "");
            } else if !reviews
                .iter()
                .any(|version| version == "v1" || version == "v1beta1")
            {
                e.invalid(
                    "spec.conversion.conversionReviewVersions",
                    &json!(reviews),
                    "must include at least one of v1, v1beta1",
                );
            }
        }
        other => e.not_supported(
            "spec.conversion.strategy",
            &other.into(),
            &["None", "Webhook"],
        ),
    }
}

fn stored_versions(new: &Value, e: &mut Errors) {
    let stored = items(new, "/status/storedVersions");
    if stored.is_empty() {
        e.invalid(
            "status.storedVersions",
            &Value::Null,
            "must have at least one stored version",
        );
        return;
    }
    let all = items(new, "/spec/versions");
    for version in all {
        let own = text_at(version, "/name");
        if version.get("storage") == Some(&Value::Bool(true)) && !stored.iter().any(|v| v == own) {
            e.invalid(
                "status.storedVersions",
                &json!(stored),
                format!("must have the storage version {own}"),
            );
        }
    }
    for (at, own) in stored.iter().enumerate() {
        let own = own.as_str().unwrap_or_default();
        if !all.iter().any(|version| text_at(version, "/name") == own) {
            e.invalid(
                &format!("status.storedVersions[{at}]"),
                &own.into(),
                format!(
                    "missing from spec.versions; {own} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {own} and removes {own} from status.storedVersions"
                ),
            );
        }
    }
}

/// Groups of the project need an approval.
fn approval(group: &str, new: &Value, e: &mut Errors) {
    let protected = ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group == *domain || group.ends_with(&format!(".{domain}")));
    let key = "api-approved.kubernetes.io";
    let given = new
        .pointer("/metadata/annotations")
        .and_then(|all| all.get(key))
        .and_then(Value::as_str)
        .unwrap_or_default();
    if !protected || given.starts_with("unapproved") {
        return;
    }
    let path = format!("metadata.annotations[{key}]");
    if given.is_empty() {
        e.required(
            &path,
            "protected groups must have approval annotation \"api-approved.kubernetes.io\", see https://github.com/kubernetes/enhancements/pull/1111",
        );
    } else if !given.contains("://") {
        e.invalid(
            &path,
            &given.into(),
            "protected groups must have approval annotation \"api-approved.kubernetes.io\" with either a URL or a reason starting with \"unapproved\", see https://github.com/kubernetes/enhancements/pull/1111",
        );
    }
}
