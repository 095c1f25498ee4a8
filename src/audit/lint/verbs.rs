//! Verbs.

use super::{Linter, Severity, nearest_name};
use crate::audit::catalog::{RESOURCE_VERBS, URL_VERBS};
use crate::audit::evaluate::resource_matches;
use crate::audit::policy::{Policy, PolicyRule};

pub(super) fn check(linter: &mut Linter<'_>, policy: &Policy) {
    for (at, rule) in policy.rules.iter().enumerate() {
        for (verb_at, verb) in rule.verbs.iter().enumerate() {
            check_verb(linter, rule, verb, &format!("rules[{at}].verbs[{verb_at}]"));
        }
        exec_verb(linter, rule, at);
    }
}

fn check_verb(linter: &mut Linter<'_>, rule: &PolicyRule, verb: &str, path: &str) {
    let for_urls = !rule.non_resource_urls.is_empty();
    let for_resources = !(rule.resources.is_empty() && rule.namespaces.is_empty());
    let on_urls = URL_VERBS.contains(&verb) || verb == "options";
    let on_resources = RESOURCE_VERBS.contains(&verb);
    if (on_resources && !for_urls) || (on_urls && !for_resources) {
        return;
    }
    let meant = match verb.to_ascii_lowercase().as_str() {
        "*" | "all" | "any" => "leave `verbs` out to match every verb: there is no wildcard",
        "read" | "view" => "reads are `get`, `list` and `watch`",
        "write" | "modify" | "change" | "edit" => {
            "writes are `create`, `update`, `patch`, `delete` and `deletecollection`"
        }
        "exec" | "attach" | "portforward" | "port-forward" => {
            "the verb of exec, attach and port-forward is `get` (`create` from older clients), on the resource `pods/exec`"
        }
        "log" | "logs" => "reading a log is `get` on the resource `pods/log`",
        "proxy" | "connect" => {
            "requests through a proxy have the verb of their HTTP method, on the resource `pods/proxy`"
        }
        "post" if for_resources => "a POST is `create`",
        "put" | "replace" if for_resources => "a PUT is `update`",
        "apply" => "apply sends `patch` (and `create`)",
        "use" | "bind" | "escalate" | "approve" | "sign" | "attest" | "impersonate" => {
            "this verb exists in RBAC only; no request has it"
        }
        "create" | "list" | "watch" | "update" | "deletecollection" if for_urls => {
            "requests that are not for resources have their HTTP method as verb: get, post, put, patch, delete, head"
        }
        lower => {
            let known = RESOURCE_VERBS.iter().chain(if for_resources {
                [].iter()
            } else {
                URL_VERBS.iter()
            });
            let hint =
                nearest_name(lower, known.copied()).map(|meant| format!("did you mean `{meant}`?"));
            report(linter, verb, path, hint);
            return;
        }
    };
    report(linter, verb, path, Some(meant.to_owned()));
}

fn report(linter: &mut Linter<'_>, verb: &str, path: &str, hint: Option<String>) {
    let message = format!("no request this rule is about has the verb `{verb}`: it never matches");
    linter.add("unknown-verb", Severity::Error, path, message, hint);
}

/// A rule for exec that waits for `create`.
fn exec_verb(linter: &mut Linter<'_>, rule: &PolicyRule, at: usize) {
    let has = |verb: &str| rule.verbs.iter().any(|known| known == verb);
    if !has("create") || has("get") {
        return;
    }
    for (entry_at, entry) in rule.resources.iter().enumerate() {
        if !(entry.group.is_empty() || entry.group == "*") {
            continue;
        }
        for (name_at, spec) in entry.resources.iter().enumerate() {
            let streams = ["exec", "attach", "portforward"];
            let explicit = spec.contains('/');
            if let Some(sub) = streams
                .iter()
                .find(|sub| explicit && resource_matches(spec, "pods", sub))
            {
                linter.add(
                    "exec-verb",
                    Severity::Warning,
                    &format!("rules[{at}].resources[{entry_at}].resources[{name_at}]"),
                    format!("kubectl {sub} sends the verb `get` since 1.31 (websockets): `create` alone misses it",
                        sub = if *sub == "portforward" { "port-forward" } else { sub }),
                    Some("add `get` to `verbs`".to_owned()),
                );
                return;
            }
        }
    }
}
