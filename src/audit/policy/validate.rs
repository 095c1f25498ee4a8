//! Validation of a policy (`k8s.io/apiserver/pkg/apis/audit/validation/validation.go`).

use super::decode::{RawPolicy, RawRule};
use super::{GroupResources, Policy, PolicyRule};
use crate::audit::level::{Level, Stage};
use crate::yaml::go::{json_string, quote};

/// Turns what was decoded into a policy, or gives every error, aggregated as the loader prints them.
pub(super) fn validate(raw: &RawPolicy) -> Result<Policy, String> {
    let mut errors = Vec::new();
    stages(&raw.omit_stages, "omitStages", &mut errors);
    for (at, rule) in raw.rules.iter().enumerate() {
        validate_rule(rule, &format!("rules[{at}]"), &mut errors);
    }
    if let Some(text) = aggregate(errors) {
        return Err(text);
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
fn aggregate(errors: Vec<String>) -> Option<String> {
    let mut unique: Vec<String> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for error in errors {
        if seen.insert(error.clone()) {
            unique.push(error);
        }
    }
    match unique.as_slice() {
        [] => None,
        [one] => Some(one.clone()),
        many => Some(format!("[{}]", many.join(", "))),
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

fn validate_rule(rule: &RawRule, path: &str, errors: &mut Vec<String>) {
    if rule.level.is_empty() {
        errors.push(format!("{path}.level: Required value"));
    } else if level(&rule.level).is_none() {
        let supported: Vec<String> = Level::ALL.iter().map(|level| quote(level.name())).collect();
        errors.push(format!(
            "{path}.level: Unsupported value: {}: supported values: {}",
            // A level is not a plain string in Go, so its value is printed as JSON.
            json_string(&rule.level),
            supported.join(", ")
        ));
    }
    non_resource_urls(&rule.non_resource_urls, path, errors);
    resources(&rule.resources, path, errors);
    stages(&rule.omit_stages, &format!("{path}.omitStages"), errors);
    if !rule.non_resource_urls.is_empty()
        && !(rule.resources.is_empty() && rule.namespaces.is_empty())
    {
        errors.push(format!(
            "{path}.nonResourceURLs: Invalid value: {}: rules cannot apply to both regular resources and non-resource URLs",
            json_list(&rule.non_resource_urls)
        ));
    }
}

fn json_list(texts: &[String]) -> String {
    let texts: Vec<String> = texts.iter().map(|text| json_string(text)).collect();
    format!("[{}]", texts.join(","))
}

fn non_resource_urls(urls: &[String], path: &str, errors: &mut Vec<String>) {
    for (at, url) in urls.iter().enumerate() {
        if url == "*" {
            continue;
        }
        let mut invalid = |detail: &str| {
            errors.push(format!(
                "{path}.nonResourceURLs[{at}]: Invalid value: {}: {detail}",
                quote(url)
            ));
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

fn resources(resources: &[GroupResources], path: &str, errors: &mut Vec<String>) {
    for entry in resources {
        if !(entry.group.is_empty() || entry.group == "*") {
            let problems = subdomain_problems(&entry.group);
            if !problems.is_empty() {
                errors.push(format!(
                    "{path}.resources.group: Invalid value: {}: {}",
                    quote(&entry.group),
                    problems.join(",")
                ));
            }
        }
        if !entry.resource_names.is_empty() && entry.resources.is_empty() {
            errors.push(format!(
                "{path}.resources.resourceNames: Invalid value: {}: using resourceNames requires at least one resource",
                json_list(&entry.resource_names)
            ));
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

fn stages(texts: &[String], path: &str, errors: &mut Vec<String>) {
    for (at, text) in texts.iter().enumerate() {
        if stage(text).is_none() {
            let allowed: Vec<&str> = Stage::ALL.iter().map(|stage| stage.name()).collect();
            errors.push(format!(
                "{path}[{at}]: Invalid value: {}: allowed stages are {}",
                quote(text),
                allowed.join(",")
            ));
        }
    }
}
