//! The document itself: unknown and repeated fields, further documents, values the loader refuses.

use super::{Linter, Severity, nearest_name};
use crate::audit::level::{Level, Stage};
use crate::audit::policy::{Inspection, StrictField};
use crate::yaml::Span;

const POLICY_FIELDS: [&str; 6] = [
    "apiVersion",
    "kind",
    "metadata",
    "omitStages",
    "omitManagedFields",
    "rules",
];

const RULE_FIELDS: [&str; 9] = [
    "level",
    "users",
    "userGroups",
    "verbs",
    "resources",
    "namespaces",
    "nonResourceURLs",
    "omitStages",
    "omitManagedFields",
];

const GROUP_FIELDS: [&str; 3] = ["group", "resources", "resourceNames"];

pub(super) fn check(linter: &mut Linter<'_>, inspection: &Inspection, bytes: &[u8]) {
    for field in &inspection.strict {
        if field.duplicate {
            let message = format!("`{}` is set twice: the last one counts", field.path);
            linter.add_at(
                "duplicate-key",
                Severity::Warning,
                &field.path,
                Some(field.span),
                message,
                None,
            );
        } else {
            unknown_field(linter, field);
        }
    }
    for text in inspection.duplicate_keys.iter().take(200) {
        // `line 3: key "kind" already set in map`
        let line = text
            .split([' ', ':'])
            .nth(1)
            .and_then(|line| line.parse().ok());
        let key = text
            .split(": key ")
            .nth(1)
            .and_then(|rest| rest.strip_suffix(" already set in map"));
        let message = format!(
            "the key {} is set twice: the last one counts",
            key.unwrap_or("here")
        );
        let span = line.map(|line| Span { line, column: 1 });
        linter.add_at("duplicate-key", Severity::Warning, "", span, message, None);
    }
    refused_values(linter, inspection);
    if let Some(line) = second_document(bytes) {
        let message = "only the first YAML document is read: everything from here on is ignored";
        let span = Some(Span { line, column: 1 });
        linter.add_at("extra-document", Severity::Warning, "", span, message, None);
    }
}

fn unknown_field(linter: &mut Linter<'_>, field: &StrictField) {
    let (parent, name) = field.path.rsplit_once('.').unwrap_or(("", &field.path));
    let in_rule = parent.starts_with("rules[") && !parent.contains('.');
    let in_group = parent.starts_with("rules[") && parent.contains(".resources[");
    let known: &[&str] = if parent.is_empty() {
        &POLICY_FIELDS
    } else if in_rule {
        &RULE_FIELDS
    } else if in_group {
        &GROUP_FIELDS
    } else {
        &[]
    };
    let meant = known_mistake(name, in_rule, in_group)
        .or_else(|| nearest_name(name, known.iter().copied()));
    let effect = match meant {
        Some("users" | "userGroups") if in_rule => ": the rule applies to every user",
        Some("verbs") if in_rule => ": the rule applies to every verb",
        Some("namespaces") if in_rule => ": the rule applies to every namespace",
        Some("resources") if in_rule => ": the rule applies to every resource and every URL",
        Some("nonResourceURLs") if in_rule => ": the rule applies to every URL and every resource",
        Some("group") if in_group => ": the entry is about the core group",
        Some("resources") if in_group => ": the entry is about every resource of the group",
        Some("resourceNames") if in_group => ": the entry is about objects of any name",
        Some("omitStages") => ": no stage is left out",
        _ => "",
    };
    // An ignored condition widens a rule without a word.
    let severity = if effect.is_empty() {
        Severity::Warning
    } else {
        Severity::Error
    };
    let message = format!("unknown field `{}` is ignored{effect}", field.path);
    let hint = match (meant, known) {
        (Some(meant), _) => Some(format!("did you mean `{meant}`?")),
        (None, []) => None,
        (None, known) => Some(format!("the fields here are {}", known.join(", "))),
    };
    linter.add_at(
        "unknown-field",
        severity,
        &field.path,
        Some(field.span),
        message,
        hint,
    );
}

/// Names that people bring along from RBAC and elsewhere.
fn known_mistake(name: &str, in_rule: bool, in_group: bool) -> Option<&'static str> {
    let lower = name.to_ascii_lowercase();
    Some(match lower.as_str() {
        "user" | "username" | "usernames" | "subjects" if in_rule => "users",
        "group" | "groups" | "usergroup" if in_rule => "userGroups",
        "verb" if in_rule => "verbs",
        "namespace" | "ns" if in_rule => "namespaces",
        "resource" | "apigroups" | "apigroup" | "resourcename" | "resourcenames" if in_rule => {
            "resources"
        }
        "nonresourceurl" | "nonresourceurls" | "urls" | "paths" | "nonresources" if in_rule => {
            "nonResourceURLs"
        }
        "resource" if in_group => "resources",
        "apigroup" | "apigroups" | "groups" if in_group => "group",
        "resourcename" | "names" | "name" if in_group => "resourceNames",
        "stage" | "stages" | "omitstage" => "omitStages",
        _ => return None,
    })
}

/// A value the loader refuses, with the value that was probably meant.
fn refused_values(linter: &mut Linter<'_>, inspection: &Inspection) {
    let Some(tree) = &inspection.tree else {
        return;
    };
    for error in inspection.field_errors.iter().take(200) {
        let value = tree
            .at(&error.path)
            .and_then(|id| tree.text(id))
            .unwrap_or_default();
        let (id, hint) = if error.path.ends_with(".level") {
            let level = Level::ALL.map(Level::name);
            let meant = nearest_name(value.trim(), level).or(
                match value.trim().to_ascii_lowercase().as_str() {
                    "nothing" | "off" | "never" => Some("None"),
                    "all" | "full" | "response" => Some("RequestResponse"),
                    "body" => Some("Request"),
                    _ => None,
                },
            );
            let text = match meant {
                Some(meant) => format!("did you mean `{meant}`? levels are case-sensitive"),
                None => format!("the levels are {}", level.join(", ")),
            };
            (
                if value.is_empty() {
                    "missing-level"
                } else {
                    "unknown-level"
                },
                Some(text),
            )
        } else if error.path.contains("omitStages[") {
            let meant = nearest_name(value, Stage::ALL.map(Stage::name));
            (
                "unknown-stage",
                meant.map(|meant| format!("did you mean `{meant}`?")),
            )
        } else if error.path.ends_with(".group") {
            match value.split_once('/') {
                Some(("", _)) | None => ("invalid-group", None),
                Some((group, version)) => (
                    "version-in-group",
                    Some(format!(
                        "leave out the version: `{group}` instead of `{group}/{version}`"
                    )),
                ),
            }
        } else if error.path.ends_with(".resourceNames") {
            (
                "names-without-resources",
                Some("say which resources the names are of".to_owned()),
            )
        } else if error.path.ends_with(".nonResourceURLs") {
            (
                "mixed-rule",
                Some("split the rule in two: one for the resources, one for the URLs".to_owned()),
            )
        } else {
            ("invalid-url", None)
        };
        let message = super::super::policy::short_text(error);
        linter.add(id, Severity::Error, &error.path, message, hint);
    }
}

/// The line of the `---` that ends the first document, if more follows.
fn second_document(bytes: &[u8]) -> Option<usize> {
    if crate::yaml::looks_like_json(bytes) {
        return None;
    }
    let text = String::from_utf8_lossy(bytes);
    let mut content = false;
    let mut ended = None;
    for (at, line) in text.lines().enumerate() {
        let blank =
            line.trim().is_empty() || line.trim_start().starts_with('#') || line.starts_with('%');
        let marker = line == "---" || line.starts_with("--- ");
        if marker {
            if content || ended.is_some() {
                ended.get_or_insert(at + 1);
                content = false;
            }
        } else if !blank && line != "..." {
            if ended.is_some() {
                return ended;
            }
            content = true;
        }
    }
    None
}
