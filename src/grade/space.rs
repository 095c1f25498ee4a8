//! The requests over which policies are compared.

use std::collections::BTreeSet;

use crate::audit::evaluate::Attributes;
use crate::audit::policy::Policy;
use crate::scenario::definition::PolicyGoal;

/// A request for every class the policies can tell apart, plain ones first.
#[must_use]
pub fn requests(policies: &[&Policy], goal: &PolicyGoal) -> Vec<Attributes> {
    let mut users: Vec<(String, Vec<String>)> = vec![(
        "kubernetes-admin".into(),
        vec!["kubeadm:cluster-admins".into()],
    )];
    users.extend(goal.users.iter().map(|user| (user.clone(), Vec::new())));
    let mut namespaces: BTreeSet<String> = goal.namespaces.iter().cloned().collect();
    namespaces.extend(["default".into(), "kube-system".into(), String::new()]);
    let mut verbs: BTreeSet<String> = [
        "get",
        "list",
        "watch",
        "create",
        "update",
        "patch",
        "delete",
        "deletecollection",
    ]
    .map(str::to_owned)
    .into();
    let mut resources: BTreeSet<(String, String, String)> = [
        ("", "configmaps", ""),
        ("", "secrets", ""),
        ("", "pods", ""),
        ("", "pods", "log"),
        ("", "pods", "exec"),
        ("", "pods", "status"),
        ("", "services", ""),
        ("apps", "deployments", ""),
        ("apps", "deployments", "scale"),
        ("batch", "jobs", ""),
    ]
    .map(|(a, b, c)| (a.to_owned(), b.to_owned(), c.to_owned()))
    .into();
    let mut names: BTreeSet<String> = ["example".to_owned()].into();
    let mut paths: BTreeSet<String> = ["/healthz", "/version", "/readyz", "/metrics"]
        .map(str::to_owned)
        .into();
    for rule in policies.iter().flat_map(|policy| &policy.rules) {
        users.extend(rule.users.iter().map(|user| (user.clone(), Vec::new())));
        users.extend(
            rule.user_groups
                .iter()
                .map(|group| ("someone".to_owned(), vec![group.clone()])),
        );
        namespaces.extend(rule.namespaces.iter().cloned());
        verbs.extend(rule.verbs.iter().filter(|verb| *verb != "*").cloned());
        for group in &rule.resources {
            names.extend(group.resource_names.iter().cloned());
            for resource in &group.resources {
                let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
                let resource = if resource == "*" { "pods" } else { resource };
                let subresource = if subresource == "*" {
                    "status"
                } else {
                    subresource
                };
                let api_group = if group.group == "*" { "" } else { &group.group };
                resources.insert((api_group.into(), resource.into(), subresource.into()));
            }
            if group.resources.is_empty() {
                resources.insert((group.group.clone(), "examples".into(), String::new()));
            }
        }
        paths.extend(
            rule.non_resource_urls
                .iter()
                .map(|path| path.replace('*', "x")),
        );
    }
    users.dedup();
    let mut all = Vec::new();
    for (user, groups) in &users {
        let mut groups = groups.clone();
        groups.push("system:authenticated".into());
        for namespace in &namespaces {
            for (api_group, resource, subresource) in &resources {
                for verb in &verbs {
                    for name in &names {
                        let named = !matches!(verb.as_str(), "list" | "watch" | "deletecollection")
                            && (verb != "create" || !subresource.is_empty());
                        all.push(Attributes {
                            user: Some(user.clone()),
                            groups: groups.clone(),
                            verb: verb.clone(),
                            namespace: namespace.clone(),
                            api_group: api_group.clone(),
                            api_version: "v1".into(),
                            resource: resource.clone(),
                            subresource: subresource.clone(),
                            name: if named { name.clone() } else { String::new() },
                            path: String::new(),
                            resource_request: true,
                        });
                        if !named {
                            break;
                        }
                    }
                }
            }
        }
        for path in &paths {
            all.push(Attributes {
                user: Some(user.clone()),
                groups: groups.clone(),
                verb: "get".into(),
                path: path.clone(),
                ..Attributes::default()
            });
        }
    }
    all
}
