//! Names of groups and resources.

use super::{Linter, Severity, nearest_name};
use crate::audit::catalog::{self, Resource, built_in};
use crate::audit::level::Level;
use crate::audit::policy::{GroupResources, Policy, PolicyRule};

pub(super) fn check(linter: &mut Linter<'_>, policy: &Policy) {
    for (at, rule) in policy.rules.iter().enumerate() {
        for (entry_at, entry) in rule.resources.iter().enumerate() {
            let path = format!("rules[{at}].resources[{entry_at}]");
            check_group(linter, entry, &path);
            for (name_at, spec) in entry.resources.iter().enumerate() {
                check_spec(linter, entry, spec, &format!("{path}.resources[{name_at}]"));
            }
        }
        cluster_scoped(linter, rule, at);
        names_without_effect(linter, rule, at);
    }
}

fn group_name(group: &str) -> String {
    if group.is_empty() {
        "the core group (`\"\"`)".to_owned()
    } else {
        format!("group `{group}`")
    }
}

fn known_group(group: &str) -> bool {
    group == "*" || catalog::is_group(group) || catalog::OTHER_GROUPS.contains(&group)
}

fn check_group(linter: &mut Linter<'_>, entry: &GroupResources, path: &str) {
    let group = entry.group.as_str();
    if known_group(group) {
        return;
    }
    let meant = match group {
        "core" | "v1" | "api" => Some(""),
        "rbac" => Some("rbac.authorization.k8s.io"),
        "networking" => Some("networking.k8s.io"),
        "storage" => Some("storage.k8s.io"),
        "authentication" => Some("authentication.k8s.io"),
        "authorization" => Some("authorization.k8s.io"),
        "apps.k8s.io" => Some("apps"),
        "batch.k8s.io" => Some("batch"),
        "policy.k8s.io" => Some("policy"),
        "autoscaling.k8s.io" => Some("autoscaling"),
        _ => nearest_name(
            group,
            built_in()
                .iter()
                .map(|resource| resource.group.as_str())
                .filter(|g| g.len() > 3),
        ),
    };
    match meant {
        Some("") => linter.add(
            "wrong-group",
            Severity::Error,
            &format!("{path}.group"),
            format!("there is no API group `{group}`: the entry never matches"),
            Some("the core group (pods, secrets, configmaps...) is `\"\"`".to_owned()),
        ),
        Some(meant) => linter.add(
            "wrong-group",
            Severity::Error,
            &format!("{path}.group"),
            format!("there is no built-in API group `{group}`: the entry never matches"),
            Some(format!("did you mean `{meant}`?")),
        ),
        // Groups with a dot may be of custom resources.
        None if group.contains('.') && !group.ends_with(".k8s.io") => {}
        None => {
            let hint = (group == "extensions").then(|| {
                "since Kubernetes 1.22 its resources are in apps, networking.k8s.io and policy"
                    .to_owned()
            });
            linter.add(
                "unknown-group",
                Severity::Warning,
                &format!("{path}.group"),
                format!("no built-in resource is in API group `{group}`"),
                hint,
            );
        }
    }
}

/// The resource somebody means by this word: its kind, its singular, a short name, a typing error.
fn meant_by(word: &str) -> Option<&'static Resource> {
    let lower = word.to_ascii_lowercase();
    let all = built_in();
    all.iter()
        .find(|r| r.name == lower)
        .or_else(|| {
            all.iter().find(|r| {
                r.kind.to_ascii_lowercase() == lower
                    || r.singular_name == lower
                    || r.short_names.contains(&lower)
            })
        })
        .or_else(|| {
            let near = nearest_name(
                &lower,
                all.iter()
                    .map(|r| r.name.as_str())
                    .filter(|name| name.len() > 3),
            )?;
            all.iter().find(|r| r.name == near)
        })
}

fn check_spec(linter: &mut Linter<'_>, entry: &GroupResources, spec: &str, path: &str) {
    if spec == "*" {
        return;
    }
    if spec == "*/*" {
        linter.add(
            "unknown-resource",
            Severity::Error,
            path,
            "`*/*` matches nothing",
            Some("`*` matches every resource with all its subresources".to_owned()),
        );
        return;
    }
    let (word, subresource) = match spec.split_once('/') {
        Some((word, subresource)) => (word, Some(subresource)),
        None => (spec, None),
    };
    let group = entry.group.as_str();
    let custom = !(known_group(group) && (group == "*" || catalog::is_group(group)));
    if custom {
        return;
    }
    if word == "*" {
        let known = |name: &str| {
            built_in()
                .iter()
                .any(|resource| resource.subresource(name).is_some())
        };
        if let Some(sub) = subresource
            && !known(sub)
        {
            let message = format!("no built-in resource has a subresource `{sub}`");
            linter.add(
                "unknown-subresource",
                Severity::Warning,
                path,
                message,
                None,
            );
        }
        return;
    }
    let here = built_in()
        .iter()
        .find(|resource| resource.name == word && (group == "*" || resource.group == group));
    if let Some(resource) = here {
        if let Some(sub) = subresource
            && sub != "*"
        {
            check_subresource(linter, resource, sub, spec, path);
        }
        return;
    }
    let elsewhere = catalog::groups_of(word);
    if !elsewhere.is_empty() {
        let right: Vec<String> = elsewhere
            .iter()
            .map(|group| format!("`\"{group}\"`"))
            .collect();
        linter.add(
            "wrong-group",
            Severity::Error,
            path,
            format!(
                "`{word}` is not in {}: the entry never matches it",
                group_name(group)
            ),
            Some(format!("its group is {}", right.join(" or "))),
        );
        return;
    }
    // A wildcard group may mean a custom resource; a built-in group cannot.
    let hint = match meant_by(word) {
        Some(meant) if group == "*" || meant.group == group => {
            Some(format!("did you mean `{}`?", meant.name))
        }
        Some(meant) => Some(format!(
            "did you mean `{}` of {}?",
            meant.name,
            group_name(&meant.group)
        )),
        None => None,
    };
    if group == "*" && hint.is_none() {
        return;
    }
    linter.add(
        "unknown-resource",
        Severity::Error,
        path,
        format!(
            "there is no resource `{word}` in {}: it never matches",
            if group == "*" {
                "any built-in group".to_owned()
            } else {
                group_name(group)
            }
        ),
        hint,
    );
}

fn check_subresource(
    linter: &mut Linter<'_>,
    resource: &Resource,
    sub: &str,
    spec: &str,
    path: &str,
) {
    if resource.subresource(sub).is_some() {
        return;
    }
    let known: Vec<&str> = resource
        .subresources
        .iter()
        .map(|sub| sub.name.as_str())
        .collect();
    let hint = nearest_name(sub, known.iter().copied())
        .or(if sub == "logs" { Some("log") } else { None })
        .map(|meant| format!("did you mean `{}/{meant}`?", resource.name))
        .or_else(|| {
            (!known.is_empty()).then(|| format!("its subresources are {}", known.join(", ")))
        });
    let message = format!("there is no subresource `{spec}`: it never matches");
    linter.add("unknown-subresource", Severity::Error, path, message, hint);
}

/// A rule with namespaces whose resources live outside of namespaces.
fn cluster_scoped(linter: &mut Linter<'_>, rule: &PolicyRule, at: usize) {
    if rule.namespaces.is_empty() || rule.namespaces.iter().any(String::is_empty) {
        return;
    }
    for (entry_at, entry) in rule.resources.iter().enumerate() {
        for (name_at, spec) in entry.resources.iter().enumerate() {
            let word = spec.split('/').next().unwrap_or(spec);
            // A request for one namespace carries that namespace.
            if let Some(resource) = catalog::find(&entry.group, word)
                && !resource.namespaced
                && resource.name != "namespaces"
            {
                linter.add(
                    "cluster-scoped-resource",
                    Severity::Warning,
                    &format!("rules[{at}].resources[{entry_at}].resources[{name_at}]"),
                    format!("`{word}` lives outside of namespaces: with `namespaces` the rule never matches it"),
                    Some("cluster scope is the empty namespace: `namespaces: [\"\"]`".to_owned()),
                );
            }
        }
    }
}

fn names_without_effect(linter: &mut Linter<'_>, rule: &PolicyRule, at: usize) {
    let nameless = ["create", "deletecollection"];
    for (entry_at, entry) in rule.resources.iter().enumerate() {
        if entry.resource_names.is_empty() {
            continue;
        }
        let whole = entry
            .resources
            .iter()
            .all(|spec| !spec.contains('/') && spec != "*");
        if rule.verbs.is_empty() || !whole {
            continue;
        }
        let lost: Vec<String> = rule
            .verbs
            .iter()
            .filter(|verb| nameless.contains(&verb.as_str()))
            .cloned()
            .collect();
        if !lost.is_empty() {
            let all = lost.len() == rule.verbs.len();
            linter.add(
                "names-without-effect",
                if all { Severity::Error } else { Severity::Warning },
                &format!("rules[{at}].resources[{entry_at}].resourceNames"),
                format!(
                    "a request with verb {} has no object name yet: with `resourceNames` the rule never matches it",
                    super::super::explain::names(&lost)
                ),
                None,
            );
        }
    }
    if rule.level == Level::None {
        return;
    }
    for (entry_at, entry) in rule.resources.iter().enumerate() {
        for (name_at, name) in entry.resource_names.iter().enumerate() {
            if name.contains('*') {
                linter.add(
                    "no-wildcard",
                    Severity::Error,
                    &format!("rules[{at}].resources[{entry_at}].resourceNames[{name_at}]"),
                    format!("`{name}` is taken literally: object names have no wildcards"),
                    None,
                );
            }
        }
    }
}
