//! Why a request is decided as it is: the rule that matches, and what each earlier rule lacks.

use serde::Serialize;

use super::evaluate::{Attributes, Decision, Mismatch, evaluate, mismatch};
use super::level::Level;
use super::policy::{Policy, PolicyRule};

/// Why a request is decided as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// The decision.
    pub decision: Decision,
    /// The rules that were looked at, up to the one that matches.
    pub rules: Vec<Verdict>,
    /// What the decision means, in a sentence.
    pub summary: String,
}

/// What a rule says to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Verdict {
    /// Index of the rule.
    pub rule: usize,
    /// Its level.
    pub level: Level,
    /// The first condition that fails; nothing when the rule matches.
    pub mismatch: Option<Mismatch>,
    /// The same in words.
    pub why: String,
}

/// Explains the decision for a request.
#[must_use]
pub fn explain(policy: &Policy, request: &Attributes) -> Explanation {
    let decision = evaluate(policy, request);
    let looked_at = decision.rule.map_or(policy.rules.len(), |rule| rule + 1);
    let rules = policy
        .rules
        .iter()
        .take(looked_at)
        .enumerate()
        .map(|(at, rule)| {
            let mismatch = mismatch(rule, request);
            Verdict {
                rule: at,
                level: rule.level,
                mismatch,
                why: match mismatch {
                    None => why_matches(rule),
                    Some(mismatch) => why_not(rule, request, mismatch),
                },
            }
        })
        .collect();
    Explanation {
        summary: summary(&decision),
        decision,
        rules,
    }
}

fn summary(decision: &Decision) -> String {
    let Some(rule) = decision.rule else {
        return "no rule matches: the request is not logged".to_owned();
    };
    let what = match decision.level {
        Level::None => "the request is not logged",
        Level::Metadata => "the request is logged without bodies",
        Level::Request => "the request is logged with the request body, if it has one",
        Level::RequestResponse => "the request is logged with the request and response bodies",
    };
    let mut text = format!(
        "rules[{rule}] matches first: level {}, {what}",
        decision.level.name()
    );
    if decision.level != Level::None && !decision.omit_stages.is_empty() {
        let stages: Vec<&str> = decision
            .omit_stages
            .iter()
            .map(|stage| stage.name())
            .collect();
        text.push_str(&format!("; not at {}", stages.join(", ")));
    }
    text
}

/// A list for a message: `a`, `b` or 3 more.
pub(super) fn names(list: &[String]) -> String {
    let shown: Vec<String> = list
        .iter()
        .take(4)
        .map(|name| format!("`{name}`"))
        .collect();
    let more = list.len().saturating_sub(shown.len());
    match (shown.as_slice(), more) {
        ([], _) => "nothing".to_owned(),
        (shown, 0) => shown.join(", "),
        (shown, more) => format!("{} and {more} more", shown.join(", ")),
    }
}

fn why_matches(rule: &PolicyRule) -> String {
    let mut conditions = Vec::new();
    for (name, list) in [
        ("users", &rule.users),
        ("userGroups", &rule.user_groups),
        ("verbs", &rule.verbs),
        ("namespaces", &rule.namespaces),
        ("nonResourceURLs", &rule.non_resource_urls),
    ] {
        if !list.is_empty() {
            conditions.push(name);
        }
    }
    if !rule.resources.is_empty() {
        conditions.push("resources");
    }
    if conditions.is_empty() {
        return "matches: the rule has no condition".to_owned();
    }
    format!("matches: {}", conditions.join(", "))
}

fn why_not(rule: &PolicyRule, request: &Attributes, mismatch: Mismatch) -> String {
    let resource = if request.subresource.is_empty() {
        request.resource.clone()
    } else {
        format!("{}/{}", request.resource, request.subresource)
    };
    match mismatch {
        Mismatch::User => match &request.user {
            Some(user) => format!("user `{user}` is not in users: {}", names(&rule.users)),
            None => "the request has no user".to_owned(),
        },
        Mismatch::Group => format!(
            "none of the groups {} is in userGroups: {}",
            names(&request.groups),
            names(&rule.user_groups)
        ),
        Mismatch::Verb => format!(
            "verb `{}` is not in verbs: {}",
            request.verb,
            names(&rule.verbs)
        ),
        Mismatch::NotAResource => format!(
            "the rule is about resources, `{}` is a URL outside of the API resources",
            request.path
        ),
        Mismatch::Namespace => {
            let place = if request.namespace.is_empty() {
                "the request is outside of any namespace, and \"\"".to_owned()
            } else {
                format!("namespace `{}`", request.namespace)
            };
            format!("{place} is not in namespaces: {}", names(&rule.namespaces))
        }
        Mismatch::ApiGroup => {
            let groups: Vec<String> = rule
                .resources
                .iter()
                .map(|entry| entry.group.clone())
                .collect();
            let group = if request.api_group.is_empty() {
                "the core API group, \"\",".to_owned()
            } else {
                format!("API group `{}`", request.api_group)
            };
            format!("{group} is not in resources: {}", names(&groups))
        }
        Mismatch::Resource => format!(
            "resource `{resource}` is not in resources: {}",
            listed(rule, request)
        ),
        Mismatch::Subresource => format!(
            "`{resource}` is not in resources: `{}` does not cover its subresources",
            request.resource
        ),
        Mismatch::ResourceName => {
            let object = if request.name.is_empty() {
                "the request names no object, which".to_owned()
            } else {
                format!("object name `{}`", request.name)
            };
            format!("{object} is not in resourceNames")
        }
        Mismatch::NotAUrl => {
            "the rule is about nonResourceURLs, the request is for a resource".to_owned()
        }
        Mismatch::Path => format!(
            "path `{}` is not in nonResourceURLs: {}",
            request.path,
            names(&rule.non_resource_urls)
        ),
    }
}

fn listed(rule: &PolicyRule, request: &Attributes) -> String {
    let listed: Vec<String> = rule
        .resources
        .iter()
        .filter(|entry| entry.group == request.api_group || entry.group == "*")
        .flat_map(|entry| entry.resources.clone())
        .collect();
    names(&listed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::policy::load;

    #[test]
    fn each_earlier_rule_says_what_it_lacks() {
        let policy = load(
            b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n\
            - {level: None, users: [bob]}\n\
            - {level: None, nonResourceURLs: ['/healthz*']}\n\
            - {level: Request, resources: [{resources: [pods]}]}\n\
            - {level: Request, resources: [{group: apps}]}\n\
            - {level: None, namespaces: [dev], verbs: [get]}\n\
            - {level: Metadata, resources: [{resources: ['pods/*']}]}\n\
            - {level: None}\n",
        )
        .unwrap()
        .policy;
        let request = Attributes {
            user: Some("jane".to_owned()),
            verb: "get".to_owned(),
            namespace: "prod".to_owned(),
            resource: "pods".to_owned(),
            subresource: "exec".to_owned(),
            name: "web".to_owned(),
            resource_request: true,
            ..Attributes::default()
        };
        let explanation = explain(&policy, &request);
        let why: Vec<&str> = explanation
            .rules
            .iter()
            .map(|rule| rule.why.as_str())
            .collect();
        assert_eq!(
            why,
            [
                "user `jane` is not in users: `bob`",
                "the rule is about nonResourceURLs, the request is for a resource",
                "`pods/exec` is not in resources: `pods` does not cover its subresources",
                "the core API group, \"\", is not in resources: `apps`",
                "namespace `prod` is not in namespaces: `dev`",
                "matches: resources",
            ]
        );
        assert_eq!(
            explanation.summary,
            "rules[5] matches first: level Metadata, the request is logged without bodies"
        );
    }
}
