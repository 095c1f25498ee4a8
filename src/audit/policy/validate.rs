//! Validation of a policy (`k8s.io/apiserver/pkg/apis/audit/validation/validation.go`).

use super::decode::{RawPolicy, RawRule};
use super::{GroupResources, Policy, PolicyRule};
use crate::audit::level::{Level, Stage};
use crate::yaml::go::{json_string, quote};

/// A field error: its text, and the path of the field as a reader would look for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldError {
    /// The text: `rules[0].level: Required value`.
    pub text: String,
    /// Path of the value that is wrong.
    pub path: String,
}

/// The real validation lists every error; of an absurd policy this many are enough.
const MAX_ERRORS: usize = 10_000;

/// Turns what was decoded into a policy, or gives every error.
pub(super) fn validate(raw: &RawPolicy) -> Result<Policy, Vec<FieldError>> {
    let mut errors = Vec::new();
    stages(&raw.omit_stages, "omitStages", &mut errors);
    for (at, rule) in raw.rules.iter().enumerate() {
        if errors.len() >= MAX_ERRORS {
            break;
        }
        validate_rule(rule, &format!("rules[{at}]"), &mut errors);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Policy {
        rules: raw.rules.iter().map(convert).collect(),
        omit_stages: raw
            .omit_stages
            .iter()
            .filter_map(|text| stage(text))
            .collect(),
        omit_managed_fields: raw.omit_managed_fields,
    })
}

/// The text of an aggregate: each message once, in brackets when there are several.
pub(super) fn aggregate(errors: &[FieldError]) -> String {
    let mut seen = std::collections::HashSet::new();
    let unique: Vec<&str> = errors
        .iter()
        .map(|error| error.text.as_str())
        .filter(|text| seen.insert(*text))
        .collect();
    match unique.as_slice() {
        [one] => (*one).to_owned(),
        many => format!("[{}]", many.join(", ")),
    }
}

fn convert(rule: &RawRule) -> PolicyRule {
    PolicyRule {
        level: level(&rule.level).unwrap_or(Level::None),
        users: rule.users.clone(),
        user_groups: rule.user_groups.clone(),
        verbs: rule.verbs.clone(),
        resources: rule.resources.clone(),
        namespaces: rule.namespaces.clone(),
        non_resource_urls: rule.non_resource_urls.clone(),
        omit_stages: rule
            .omit_stages
            .iter()
            .filter_map(|text| stage(text))
            .collect(),
        omit_managed_fields: rule.omit_managed_fields,
    }
}

fn level(text: &str) -> Option<Level> {
    Level::ALL.into_iter().find(|level| level.name() == text)
}

fn stage(text: &str) -> Option<Stage> {
    Stage::ALL.into_iter().find(|stage| stage.name() == text)
}

fn validate_rule(rule: &RawRule, path: &str, errors: &mut Vec<FieldError>) {
    if rule.level.is_empty() {
        errors.push(FieldError {
            text: format!("{path}.level: Required value"),
            path: format!("{path}.level"),
        });
    } else if level(&rule.level).is_none() {
        let supported: Vec<String> = Level::ALL.iter().map(|level| quote(level.name())).collect();
        // A level is not a plain string in Go, so its value is printed as JSON.
        let (value, supported) = (json_string(&rule.level), supported.join(", "));
        errors.push(FieldError {
            text: format!(
                "{path}.level: Unsupported value: {value}: supported values: {supported}"
            ),
            path: format!("{path}.level"),
        });
    }
    non_resource_urls(&rule.non_resource_urls, path, errors);
    resources(&rule.resources, path, errors);
    stages(&rule.omit_stages, &format!("{path}.omitStages"), errors);
    let about_resources = !(rule.resources.is_empty() && rule.namespaces.is_empty());
    if about_resources && !rule.non_resource_urls.is_empty() {
        errors.push(FieldError {
            text: format!(
                "{path}.nonResourceURLs: Invalid value: {}: rules cannot apply to both regular resources and non-resource URLs",
                json_list(&rule.non_resource_urls)
            ),
            path: format!("{path}.nonResourceURLs"),
        });
    }
}

fn json_list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| json_string(text)).collect();
    format!("[{}]", texts.join(","))
}

fn non_resource_urls(urls: &[String], path: &str, errors: &mut Vec<FieldError>) {
    for (at, url) in urls.iter().enumerate() {
        if errors.len() >= MAX_ERRORS {
            break;
        }
        if url == "*" {
            continue;
        }
        let mut invalid = |detail: &str| {
            let path = format!("{path}.nonResourceURLs[{at}]");
            errors.push(FieldError {
                text: format!("{path}: Invalid value: {}: {detail}", quote(url)),
                path,
            });
        };
        if !url.starts_with('/') {
            invalid("non-resource URL rules must begin with a '/' character");
        }
        // A star in any place but the last byte.
        let head = url
            .as_bytes()
            .split_last()
            .map(|(_, head)| head)
            .unwrap_or_default();
        if head.contains(&b'*') {
            invalid("non-resource URL wildcards '*' must be the final character of the rule");
        }
    }
}

fn resources(resources: &[GroupResources], path: &str, errors: &mut Vec<FieldError>) {
    for (at, entry) in resources.iter().enumerate() {
        if errors.len() >= MAX_ERRORS {
            break;
        }
        if !(entry.group.is_empty() || entry.group == "*") {
            let problems = subdomain_problems(&entry.group);
            if !problems.is_empty() {
                // The real path does not say which entry; ours does.
                let (group, problems) = (quote(&entry.group), problems.join(","));
                errors.push(FieldError {
                    text: format!("{path}.resources.group: Invalid value: {group}: {problems}"),
                    path: format!("{path}.resources[{at}].group"),
                });
            }
        }
        if !entry.resource_names.is_empty() && entry.resources.is_empty() {
            errors.push(FieldError {
                text: format!(
                    "{path}.resources.resourceNames: Invalid value: {}: using resourceNames requires at least one resource",
                    json_list(&entry.resource_names)
                ),
                path: format!("{path}.resources[{at}].resourceNames"),
            });
        }
    }
}

/// `IsDNS1123Subdomain` (`k8s.io/apimachinery/pkg/util/validation`).
fn subdomain_problems(name: &str) -> Vec<&'static str> {
    let mut problems = Vec::new();
    if name.len() > 253 {
        problems.push("must be no more than 253 characters");
    }
    let label_ok = |label: &str| {
        let bytes = label.as_bytes();
        let edge =
            |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        edge(bytes.first())
            && edge(bytes.last())
            && bytes
                .iter()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
    };
    if !name.split('.').all(label_ok) {
        problems.push(
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        );
    }
    problems
}

fn stages(texts: &[String], path: &str, errors: &mut Vec<FieldError>) {
    for (at, text) in texts.iter().enumerate() {
        if stage(text).is_none() && errors.len() < MAX_ERRORS {
            let allowed: Vec<&str> = Stage::ALL.iter().map(|stage| stage.name()).collect();
            let path = format!("{path}[{at}]");
            errors.push(FieldError {
                text: format!(
                    "{path}: Invalid value: {}: allowed stages are {}",
                    quote(text),
                    allowed.join(",")
                ),
                path,
            });
        }
    }
}
