//! Nobody grants what they do not hold (`pkg/registry/rbac/*/policybased/storage.go`,
//! `pkg/registry/rbac/validation/rule.go`).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::{Attributes, Operation, forbidden};
use crate::node::embedded::apiserver::authz::{self, Rule};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Refuses roles and bindings that give more than the user has.
///
/// # Errors
/// 403, or 404 when the role of a binding does not exist.
pub fn check(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    new: &Value,
) -> Result<(), Status> {
    if attributes.resource.group != GROUP
        || !matches!(attributes.operation, Operation::Create | Operation::Update)
        || attributes
            .user
            .groups
            .iter()
            .any(|group| group == "system:masters")
    {
        return Ok(());
    }
    let name = match attributes.name {
        "" => text_at(new, "/metadata/name"),
        name => name,
    };
    let refuse = |why: String| Err(forbidden(GROUP, &attributes.resource.name, name, why));
    let allowed = |verb: &str, resource: &str, name: &str| {
        let request = authz::Attributes {
            verb: verb.to_owned(),
            namespace: attributes.namespace.to_owned(),
            group: GROUP.to_owned(),
            version: "*".to_owned(),
            resource: resource.to_owned(),
            name: name.to_owned(),
            is_resource: true,
            ..Default::default()
        };
        authz::authorize(state, attributes.user, &request).allowed
    };
    let granted: Vec<Rule> = match attributes.resource.name.as_str() {
        "roles" | "clusterroles" => {
            if allowed("escalate", &attributes.resource.name, name) {
                return Ok(());
            }
            if new
                .get("aggregationRule")
                .is_some_and(|rule| !rule.is_null())
            {
                let everything = vec![
                    Rule {
                        verbs: star(),
                        api_groups: star(),
                        resources: star(),
                        ..Default::default()
                    },
                    Rule {
                        verbs: star(),
                        non_resource_urls: star(),
                        ..Default::default()
                    },
                ];
                let held = state.rbac.rules_for(&state.store, attributes.user, "").0;
                if !missing(&held, &everything).is_empty() {
                    return refuse(
                        "must have cluster-admin privileges to use the aggregationRule".to_owned(),
                    );
                }
            }
            items(new, "/rules").iter().map(rule).collect()
        }
        "rolebindings" | "clusterrolebindings" => {
            let (kind, role) = (text_at(new, "/roleRef/kind"), text_at(new, "/roleRef/name"));
            let (plural, key) = match kind {
                "Role" => (
                    "roles",
                    format!("/registry/{GROUP}/roles/{}/{role}", attributes.namespace),
                ),
                "ClusterRole" => (
                    "clusterroles",
                    format!("/registry/{GROUP}/clusterroles/{role}"),
                ),
                other => {
                    return Err(Status::new(
                        500,
                        "",
                        format!("unsupported role reference kind: \"{other}\""),
                    ));
                }
            };
            if allowed("bind", plural, role) {
                return Ok(());
            }
            match state.store.get(&key) {
                Some(role) => items(&role.value, "/rules").iter().map(rule).collect(),
                None => return Err(Status::not_found(GROUP, &attributes.resource.name, name)),
            }
        }
        _ => return Ok(()),
    };
    let held = state
        .rbac
        .rules_for(&state.store, attributes.user, attributes.namespace)
        .0;
    let missing = missing(&held, &granted);
    if missing.is_empty() {
        return Ok(());
    }
    let texts: BTreeSet<String> = compact(missing).iter().map(show).collect();
    let texts: Vec<String> = texts.into_iter().collect();
    refuse(format!(
        "user \"{}\" (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        attributes.user.username,
        list(&attributes.user.groups),
        texts.join("\n")
    ))
}

fn star() -> Vec<String> {
    vec!["*".to_owned()]
}

/// A rule of a role.
#[must_use]
pub fn rule(value: &Value) -> Rule {
    let strings = |key: &str| {
        items(value, &format!("/{key}"))
            .iter()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect()
    };
    Rule {
        verbs: strings("verbs"),
        api_groups: strings("apiGroups"),
        resources: strings("resources"),
        resource_names: strings("resourceNames"),
        non_resource_urls: strings("nonResourceURLs"),
    }
}

/// The single permissions of `granted` that no rule of `held` covers.
fn missing(held: &[Rule], granted: &[Rule]) -> Vec<Rule> {
    granted
        .iter()
        .flat_map(break_down)
        .filter(|single| !held.iter().any(|own| covers(own, single)))
        .collect()
}

fn break_down(rule: &Rule) -> Vec<Rule> {
    let mut all = Vec::new();
    for group in &rule.api_groups {
        for resource in &rule.resources {
            for verb in &rule.verbs {
                let single = |names: Vec<String>| Rule {
                    verbs: vec![verb.clone()],
                    api_groups: vec![group.clone()],
                    resources: vec![resource.clone()],
                    resource_names: names,
                    ..Default::default()
                };
                if rule.resource_names.is_empty() {
                    all.push(single(Vec::new()));
                } else {
                    all.extend(
                        rule.resource_names
                            .iter()
                            .map(|name| single(vec![name.clone()])),
                    );
                }
            }
        }
    }
    for url in &rule.non_resource_urls {
        for verb in &rule.verbs {
            all.push(Rule {
                verbs: vec![verb.clone()],
                non_resource_urls: vec![url.clone()],
                ..Default::default()
            });
        }
    }
    all
}

fn covers(own: &Rule, single: &Rule) -> bool {
    let has = |list: &[String], all: &[String]| {
        list.iter().any(|item| item == "*") || all.iter().all(|item| list.contains(item))
    };
    if !has(&own.verbs, &single.verbs) {
        return false;
    }
    if !single.non_resource_urls.is_empty() {
        return single.non_resource_urls.iter().all(|url| {
            own.non_resource_urls.iter().any(|owned| {
                owned == "*"
                    || owned == url
                    || owned
                        .strip_suffix('*')
                        .is_some_and(|prefix| url.starts_with(prefix))
            })
        });
    }
    let resources = single.resources.iter().all(|resource| {
        own.resources.iter().any(|owned| {
            owned == "*"
                || owned == resource
                || owned.strip_prefix("*/").is_some_and(|sub| {
                    resource
                        .split_once('/')
                        .is_some_and(|(_, own_sub)| own_sub == sub)
                })
        })
    });
    let names = own.resource_names.is_empty()
        || !single.resource_names.is_empty()
            && single
                .resource_names
                .iter()
                .all(|name| own.resource_names.contains(name));
    has(&own.api_groups, &single.api_groups) && resources && names
}

/// Puts the verbs of the same resource together (`CompactRules`).
fn compact(rules: Vec<Rule>) -> Vec<Rule> {
    let mut all: Vec<Rule> = Vec::new();
    for rule in rules {
        let same = all.iter_mut().find(|own| {
            rule.non_resource_urls.is_empty()
                && own.api_groups == rule.api_groups
                && own.resources == rule.resources
                && own.resource_names == rule.resource_names
                && own.non_resource_urls.is_empty()
        });
        match same {
            Some(own) => {
                for verb in rule.verbs {
                    if !own.verbs.contains(&verb) {
                        own.verbs.push(verb);
                    }
                }
            }
            None => all.push(rule),
        }
    }
    all
}

fn list(items: &[String]) -> String {
    let quoted: Vec<String> = items.iter().map(|item| format!("\"{item}\"")).collect();
    format!("[{}]", quoted.join(" "))
}

/// `{APIGroups:[""], Resources:["pods"], Verbs:["get"]}`.
fn show(rule: &Rule) -> String {
    let mut parts = Vec::new();
    for (name, values) in [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("ResourceNames", &rule.resource_names),
        ("Verbs", &rule.verbs),
    ] {
        if !values.is_empty() {
            parts.push(format!("{name}:{}", list(values)));
        }
    }
    format!("{{{}}}", parts.join(", "))
}
