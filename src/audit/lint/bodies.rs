//! Bodies: those that should not be in a log, and those that do not exist.

use super::{Linter, Severity};
use crate::audit::compare::{Scope, representatives};
use crate::audit::evaluate::evaluate;
use crate::audit::level::Level;
use crate::audit::policy::{GroupResources, Policy, PolicyRule};

pub(super) fn check(linter: &mut Linter<'_>, policy: &Policy) {
    sensitive(linter, policy);
    for (at, rule) in policy.rules.iter().enumerate() {
        let reads = ["get", "list", "watch"];
        let only_reads =
            !rule.verbs.is_empty() && rule.verbs.iter().all(|verb| reads.contains(&verb.as_str()));
        let on_resources = !(rule.resources.is_empty() && rule.namespaces.is_empty());
        if rule.level == Level::Request && only_reads && on_resources {
            linter.add(
                "no-request-body",
                Severity::Info,
                &format!("rules[{at}].level"),
                "reads have no request body: `Request` records no more of them than `Metadata`",
                Some("the objects that are read are in the response: `RequestResponse`".to_owned()),
            );
        }
        let stages = crate::audit::level::Stage::ALL;
        let omitted =
            |stage| policy.omit_stages.contains(stage) || rule.omit_stages.contains(stage);
        if rule.level != Level::None && stages.iter().all(omitted) {
            linter.add(
                "every-stage-omitted",
                Severity::Error,
                &format!("rules[{at}].level"),
                "every stage is left out: what the rule matches is not logged at all",
                None,
            );
        }
    }
}

/// Resources whose bodies are, or may be, confidential.
const SENSITIVE: [(&str, &str, &str); 4] = [
    ("", "secrets", "secrets"),
    ("", "configmaps", "configmaps (they often hold credentials)"),
    ("", "serviceaccounts/token", "service account tokens"),
    (
        "authentication.k8s.io",
        "tokenreviews",
        "token reviews (the token is in the request)",
    ),
];

fn sensitive(linter: &mut Linter<'_>, policy: &Policy) {
    for (group, resource, what) in SENSITIVE {
        let scope = Scope {
            within: vec![PolicyRule {
                level: Level::None,
                users: Vec::new(),
                user_groups: Vec::new(),
                verbs: Vec::new(),
                resources: vec![GroupResources {
                    group: group.to_owned(),
                    resources: vec![resource.to_owned()],
                    resource_names: Vec::new(),
                }],
                namespaces: Vec::new(),
                non_resource_urls: Vec::new(),
                omit_stages: Vec::new(),
                omit_managed_fields: None,
            }],
            limit: super::coverage::LIMIT,
            ..Scope::default()
        };
        for request in representatives(&[policy], &scope) {
            let decision = evaluate(policy, &request);
            let Some(rule) = decision.rule else { continue };
            let writes = matches!(request.verb.as_str(), "create" | "update" | "patch");
            let leaks = decision.level == Level::RequestResponse
                || (decision.level == Level::Request && writes);
            let id = if resource == "configmaps" {
                "configmap-bodies"
            } else {
                "secret-bodies"
            };
            let known = linter.findings.iter().any(|finding| {
                finding.id == id && finding.rule == Some(rule) && finding.message.contains(what)
            });
            if leaks && !known {
                let severity = if resource == "configmaps" {
                    Severity::Info
                } else {
                    Severity::Warning
                };
                linter.add(
                    id,
                    severity,
                    &format!("rules[{rule}].level"),
                    format!(
                        "the bodies of {what} are written to the log (verb `{}`)",
                        request.verb
                    ),
                    Some(format!(
                        "put a rule with level Metadata for `{resource}` before this one"
                    )),
                );
            }
        }
    }
}
