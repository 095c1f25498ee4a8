//! Rules as a whole: which ones never decide anything, what is not covered.

use super::{Linter, Severity};
use crate::audit::catalog;
use crate::audit::compare::{Coverage, Scope, Space, coverage};
use crate::audit::evaluate::{Attributes, evaluate};
use crate::audit::level::{Level, Stage};
use crate::audit::policy::{Policy, PolicyRule};

pub(super) fn check(linter: &mut Linter<'_>, policy: &Policy) {
    let everything: Vec<usize> = positions(policy, is_catch_all);
    if let Some(&first) = everything.first() {
        let last = policy.rules.len().saturating_sub(1);
        if first < last {
            let message = format!(
                "rules[{first}] matches every request: the rules after it are never reached"
            );
            let hint = "move it to the end".to_owned();
            linter.add(
                "catch-all-not-last",
                Severity::Error,
                &format!("rules[{first}]"),
                message,
                Some(hint),
            );
        }
    } else {
        let message = "requests that no rule matches are not logged: there is no rule for everything else at the end";
        let hint =
            "add `- level: Metadata` (or `- level: None` to say so) as the last rule".to_owned();
        linter.add(
            "missing-catch-all",
            Severity::Info,
            "rules",
            message,
            Some(hint),
        );
    }
    never_decide(linter, policy);
    subresources(linter, policy);
    request_received(linter, policy);
}

fn positions(policy: &Policy, wanted: impl Fn(&PolicyRule) -> bool) -> Vec<usize> {
    policy
        .rules
        .iter()
        .enumerate()
        .filter(|(_, rule)| wanted(rule))
        .map(|(at, _)| at)
        .collect()
}

/// Whether a rule has no condition at all.
fn is_catch_all(rule: &PolicyRule) -> bool {
    rule.users.is_empty()
        && rule.user_groups.is_empty()
        && rule.verbs.is_empty()
        && rule.resources.is_empty()
        && rule.namespaces.is_empty()
        && rule.non_resource_urls.is_empty()
}

/// Larger policies are not walked through: nobody waits for a linter.
pub(super) const LIMIT: usize = 3_000_000;

fn never_decide(linter: &mut Linter<'_>, policy: &Policy) {
    let possible = Scope {
        limit: LIMIT,
        ..Scope::default()
    };
    let any = Scope {
        space: Space::Any,
        ..possible.clone()
    };
    let (Ok(possible), Ok(any)) = (coverage(policy, &possible), coverage(policy, &any)) else {
        let message = "the policy is too large to look for rules that never decide anything";
        linter.add("too-large", Severity::Info, "rules", message, None);
        return;
    };
    for (at, (possible, any)) in possible.iter().zip(&any).enumerate() {
        let path = format!("rules[{at}]");
        if possible.decides {
            continue;
        }
        if !possible.matches && any.decides {
            if !already_explained(linter, at) {
                let message = format!("rules[{at}] matches no request that can occur");
                linter.add("matches-nothing", Severity::Warning, &path, message, None);
            }
            continue;
        }
        let seen = if possible.matches { possible } else { any };
        if !seen.hidden_by.is_empty() {
            shadowed(linter, policy, at, seen);
        }
    }
}

fn shadowed(linter: &mut Linter<'_>, policy: &Policy, at: usize, seen: &Coverage) {
    let level = |rule: usize| policy.rules.get(rule).map(|rule| rule.level);
    let same = seen
        .hidden_by
        .iter()
        .all(|hiding| level(*hiding) == level(at));
    let hiding: Vec<String> = seen
        .hidden_by
        .iter()
        .map(|rule| format!("rules[{rule}]"))
        .collect();
    let shown = hiding
        .get(..hiding.len().min(5))
        .unwrap_or_default()
        .join(", ");
    let message = format!(
        "rules[{at}] never decides anything: every request it matches is decided by {shown}{} before{}",
        if hiding.len() > 5 { " and others" } else { "" },
        if same { ", at the same level" } else { "" }
    );
    let hint = seen.example.as_ref().map(|example| {
        let decision = evaluate(policy, example);
        let rule = decision.rule.unwrap_or_default();
        let level = decision.level.name();
        if same {
            "leave it out".to_owned()
        } else {
            format!(
                "{} is decided by rules[{rule}], level {level}; move rules[{at}] before it",
                describe(example)
            )
        }
    });
    let severity = if same {
        Severity::Info
    } else {
        Severity::Error
    };
    linter.add(
        "shadowed-rule",
        severity,
        &format!("rules[{at}]"),
        message,
        hint,
    );
}

/// Whether another finding says why a rule matches nothing.
fn already_explained(linter: &Linter<'_>, rule: usize) -> bool {
    [
        "unknown-verb",
        "unknown-resource",
        "unknown-subresource",
        "wrong-group",
        "unknown-group",
        "user-form",
        "group-form",
        "no-wildcard",
        "invalid-namespace",
        "resource-url",
        "url-query",
        "names-without-effect",
        "cluster-scoped-resource",
    ]
    .iter()
    .any(|id| linter.has(id, rule))
}

/// A request in a few words.
pub(super) fn describe(request: &Attributes) -> String {
    let user = request.user.as_deref().unwrap_or("nobody");
    if !request.resource_request {
        return format!("`{} {}` by {user}", request.verb, request.path);
    }
    let mut what = request.resource.clone();
    if !request.subresource.is_empty() {
        what.push('/');
        what.push_str(&request.subresource);
    }
    if !request.name.is_empty() {
        what.push(' ');
        what.push_str(&request.name);
    }
    let place = if request.namespace.is_empty() {
        String::new()
    } else {
        format!(" in {}", request.namespace)
    };
    format!("`{} {what}`{place} by {user}", request.verb)
}

/// Subresources that matter and that a rule for their parent does not cover.
const SUBRESOURCES: [(&str, &str); 7] = [
    ("pods", "exec"),
    ("pods", "attach"),
    ("pods", "portforward"),
    ("pods", "log"),
    ("pods", "ephemeralcontainers"),
    ("serviceaccounts", "token"),
    ("services", "proxy"),
];

fn subresources(linter: &mut Linter<'_>, policy: &Policy) {
    if policy.rules.len() > 1000 {
        return;
    }
    for (at, rule) in policy.rules.iter().enumerate() {
        for (entry_at, entry) in rule.resources.iter().enumerate() {
            if !(entry.group.is_empty() || entry.group == "*") {
                continue;
            }
            for (name_at, spec) in entry.resources.iter().enumerate() {
                let mut lost = Vec::new();
                for (parent, sub) in SUBRESOURCES {
                    if spec == parent
                        && let Some(level) = decided_otherwise(policy, at, rule, parent, sub)
                    {
                        lost.push((format!("{parent}/{sub}"), level));
                    }
                }
                let Some((_, level)) = lost.first().cloned() else {
                    continue;
                };
                let names: Vec<String> = lost
                    .into_iter()
                    .filter(|(_, other)| *other == level)
                    .map(|(name, _)| format!("`{name}`"))
                    .collect();
                linter.add(
                    "subresource-trap",
                    Severity::Info,
                    &format!("rules[{at}].resources[{entry_at}].resources[{name_at}]"),
                    format!(
                        "`{spec}` does not cover its subresources: {} {} logged at level {}",
                        names.join(", "),
                        if names.len() == 1 { "is" } else { "are" },
                        level.name()
                    ),
                    Some(format!("name the subresources that matter, or `{spec}/*` for all of them with `{spec}` itself")),
                );
            }
        }
    }
}

/// The level of a subresource, if another rule decides it at another level than this rule the parent.
fn decided_otherwise(
    policy: &Policy,
    at: usize,
    rule: &PolicyRule,
    parent: &str,
    sub: &str,
) -> Option<Level> {
    let known = &catalog::find("", parent)?.subresource(sub)?.verbs;
    let verb = known
        .iter()
        .find(|verb| rule.verbs.is_empty() || rule.verbs.contains(verb))?
        .clone();
    let user = rule
        .users
        .first()
        .cloned()
        .unwrap_or_else(|| "jane".to_owned());
    let mut groups = rule.user_groups.clone();
    groups.push("system:authenticated".to_owned());
    let mut request = Attributes {
        user: Some(user),
        groups,
        verb,
        namespace: rule
            .namespaces
            .first()
            .cloned()
            .unwrap_or_else(|| "default".to_owned()),
        api_version: "v1".to_owned(),
        resource: parent.to_owned(),
        name: rule
            .resources
            .iter()
            .find_map(|entry| entry.resource_names.first().cloned())
            .unwrap_or_else(|| "web".to_owned()),
        resource_request: true,
        ..Attributes::default()
    };
    if evaluate(policy, &request).rule != Some(at) {
        return None;
    }
    sub.clone_into(&mut request.subresource);
    let decision = evaluate(policy, &request);
    // A rule that names the subresource shows that somebody thought of it.
    let on_purpose = decision
        .rule
        .and_then(|rule| policy.rules.get(rule))
        .is_some_and(|rule| {
            rule.resources
                .iter()
                .any(|entry| !entry.resources.is_empty())
        });
    (decision.level < rule.level && !on_purpose).then_some(decision.level)
}

fn request_received(linter: &mut Linter<'_>, policy: &Policy) {
    let received = Stage::RequestReceived;
    let written = policy.rules.iter().any(|rule| {
        rule.level != Level::None
            && !rule.omit_stages.contains(&received)
            && !policy.omit_stages.contains(&received)
    });
    if written {
        linter.add(
            "request-received",
            Severity::Info,
            "omitStages",
            "each request is logged twice: when it arrives (RequestReceived, without outcome) and when it is answered",
            Some("`omitStages: [\"RequestReceived\"]` at the top halves the log".to_owned()),
        );
    }
}
