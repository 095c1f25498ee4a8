//! Users, groups and namespaces.

use super::{Linter, Severity};
use crate::audit::policy::Policy;

pub(super) fn check(linter: &mut Linter<'_>, policy: &Policy) {
    for (at, rule) in policy.rules.iter().enumerate() {
        for (index, user) in rule.users.iter().enumerate() {
            check_user(linter, user, &format!("rules[{at}].users[{index}]"));
        }
        for (index, group) in rule.user_groups.iter().enumerate() {
            check_group(linter, group, &format!("rules[{at}].userGroups[{index}]"));
        }
        for (index, namespace) in rule.namespaces.iter().enumerate() {
            let path = format!("rules[{at}].namespaces[{index}]");
            if namespace.contains('*') {
                let message =
                    format!("`{namespace}` is taken literally: namespaces have no wildcards");
                let hint = "leave `namespaces` out to match every namespace".to_owned();
                linter.add("no-wildcard", Severity::Error, &path, message, Some(hint));
            } else if !is_namespace(namespace) {
                let message =
                    format!("`{namespace}` cannot be the name of a namespace: it never matches");
                linter.add("invalid-namespace", Severity::Error, &path, message, None);
            }
        }
    }
}

/// A DNS label, or nothing for cluster scope.
fn is_namespace(name: &str) -> bool {
    name.is_empty()
        || (name.len() <= 63
            && !name.starts_with('-')
            && !name.ends_with('-')
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'))
}

fn check_user(linter: &mut Linter<'_>, user: &str, path: &str) {
    let well_formed = |rest: &str| {
        let mut parts = rest.split(':');
        matches!((parts.next(), parts.next(), parts.next()), (Some(a), Some(b), None) if !a.is_empty() && !b.is_empty())
    };
    let (id, message, hint) = if user.contains('*') {
        (
            "no-wildcard",
            format!("`{user}` is taken literally: user names have no wildcards"),
            "match a kind of users by its group, such as `system:nodes` or `system:serviceaccounts:NAMESPACE`",
        )
    } else if user
        .strip_prefix("system:serviceaccount:")
        .is_some_and(|rest| !well_formed(rest))
    {
        (
            "user-form",
            format!("`{user}` is not the name of a service account: it never matches"),
            "a service account is `system:serviceaccount:NAMESPACE:NAME`",
        )
    } else if user.starts_with("system:serviceaccounts") || is_group_only(user) {
        (
            "user-form",
            format!("`{user}` is a group: no user has this name"),
            "put it into `userGroups`",
        )
    } else if user.starts_with("serviceaccount:")
        || user.starts_with("system:serviceAccount:")
        || user.starts_with("system:sa:")
        || user.starts_with("sa:")
    {
        (
            "user-form",
            format!(
                "`{user}` looks like a service account, but no service account has this user name"
            ),
            "a service account is `system:serviceaccount:NAMESPACE:NAME`",
        )
    } else if user == "system:node" || user == "system:kubelet" || user == "kubelet" {
        (
            "user-form",
            format!("`{user}` is not the user of a kubelet"),
            "a kubelet is `system:node:NODENAME`; all of them are in the group `system:nodes`",
        )
    } else {
        return;
    };
    linter.add(id, Severity::Error, path, message, Some(hint.to_owned()));
}

fn is_group_only(name: &str) -> bool {
    matches!(
        name,
        "system:authenticated"
            | "system:unauthenticated"
            | "system:masters"
            | "system:nodes"
            | "system:bootstrappers"
            | "kubeadm:cluster-admins"
    )
}

fn check_group(linter: &mut Linter<'_>, group: &str, path: &str) {
    let user = [
        "system:anonymous",
        "kubernetes-admin",
        "system:apiserver",
        "system:kube-scheduler",
        "system:kube-controller-manager",
        "system:kube-proxy",
    ];
    let (id, message, hint) = if group.contains('*') {
        (
            "no-wildcard",
            format!("`{group}` is taken literally: groups have no wildcards"),
            "every authenticated user is in `system:authenticated`",
        )
    } else if group.starts_with("system:serviceaccount:")
        || group.starts_with("system:node:")
        || user.contains(&group)
    {
        (
            "group-form",
            format!("`{group}` is a user name: no group has this name"),
            "put it into `users`",
        )
    } else if group == "system:node" {
        (
            "group-form",
            format!("there is no group `{group}`"),
            "kubelets are in the group `system:nodes`",
        )
    } else {
        return;
    };
    linter.add(id, Severity::Error, path, message, Some(hint.to_owned()));
}
