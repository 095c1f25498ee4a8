//! What a policy leaves of a request in a log: level, stages, bodies
//! (`k8s.io/apiserver/pkg/endpoints/filters/audit.go`, `k8s.io/apiserver/pkg/audit/request.go`).

use super::evaluate::{Attributes, evaluate};
use super::level::{Level, Stage};
use super::policy::Policy;

/// What is recorded of a request that the API server answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The level.
    pub level: Level,
    /// The stages of which there is an entry, in the order in which they come.
    pub stages: Vec<Stage>,
    /// Whether the last entry has a `requestObject`; unknown where that depends on the client.
    pub request_body: Option<bool>,
    /// Whether the last entry has a `responseObject`.
    pub response_body: bool,
    /// Index of the rule that decides.
    pub rule: Option<usize>,
}

/// Whether a request goes on for long, so that it has a stage ResponseStarted.
#[must_use]
pub fn is_long(request: &Attributes) -> bool {
    request.resource_request
        && (request.verb == "watch" || is_stream(&request.subresource) || request.verb == "proxy")
}

fn is_stream(subresource: &str) -> bool {
    ["exec", "attach", "portforward", "proxy", "log"].contains(&subresource)
}

/// The stages that a request goes through, in order, if nothing panics.
#[must_use]
pub fn stages(request: &Attributes) -> Vec<Stage> {
    let mut stages = vec![Stage::RequestReceived];
    if is_long(request) {
        stages.push(Stage::ResponseStarted);
    }
    stages.push(Stage::ResponseComplete);
    stages
}

/// Whether a request has a body that is an object; unknown where that depends on the client.
#[must_use]
pub fn sends_body(request: &Attributes) -> Option<bool> {
    if !request.resource_request || is_stream(&request.subresource) {
        return Some(false);
    }
    match request.verb.as_str() {
        "create" | "update" | "patch" => Some(true),
        // Options may be sent as a body, or in the query.
        "delete" | "deletecollection" => None,
        _ => Some(false),
    }
}

/// Whether the answer to a request is an object that can be recorded.
#[must_use]
pub fn answers_with_body(request: &Attributes) -> bool {
    request.resource_request && !is_stream(&request.subresource) && request.verb != "watch"
}

/// What besides the deciding rule matters for the entries of a request, as a number below 16: requests of
/// one kind that the same rule decides have the same stages and kinds of bodies.
#[must_use]
pub fn kind(request: &Attributes) -> u8 {
    let body = match sends_body(request) {
        Some(false) => 0,
        Some(true) => 1,
        None => 2,
    };
    u8::from(is_long(request)) | (u8::from(answers_with_body(request)) << 1) | (body << 2)
}

/// The [`kind`] of requests with this verb and subresource.
#[must_use]
pub fn kind_of(verb: &str, subresource: &str, resource_request: bool) -> u8 {
    kind(&Attributes {
        verb: verb.to_owned(),
        subresource: subresource.to_owned(),
        resource_request,
        ..Attributes::default()
    })
}

/// What a policy leaves of a request.
#[must_use]
pub fn outcome(policy: &Policy, request: &Attributes) -> Outcome {
    let decision = evaluate(policy, request);
    let level = decision.level;
    let stages: Vec<Stage> = stages(request)
        .into_iter()
        .filter(|stage| level != Level::None && !decision.omit_stages.contains(stage))
        .collect();
    // The entry of RequestReceived is written before any body is read.
    let answered = stages.iter().any(|stage| *stage != Stage::RequestReceived);
    Outcome {
        level,
        request_body: if answered && level >= Level::Request {
            sends_body(request)
        } else {
            Some(false)
        },
        response_body: answered && level >= Level::RequestResponse && answers_with_body(request),
        stages,
        rule: decision.rule,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::policy::load;

    fn of(rules: &str, verb: &str, resource: &str, subresource: &str) -> Outcome {
        let text = format!("apiVersion: audit.k8s.io/v1\nkind: Policy\n{rules}");
        let policy = load(text.as_bytes()).unwrap().policy;
        let request = Attributes {
            verb: verb.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            resource_request: true,
            ..Attributes::default()
        };
        outcome(&policy, &request)
    }

    #[test]
    fn bodies_depend_on_level_verb_and_stage() {
        let full = "rules: [{level: RequestResponse}]";
        let request = "rules: [{level: Request}]";
        let bodies = |outcome: Outcome| (outcome.request_body, outcome.response_body);
        assert_eq!(bodies(of(full, "create", "pods", "")), (Some(true), true));
        assert_eq!(
            bodies(of(request, "create", "pods", "")),
            (Some(true), false)
        );
        assert_eq!(bodies(of(request, "get", "pods", "")), (Some(false), false));
        assert_eq!(bodies(of(full, "get", "pods", "")), (Some(false), true));
        assert_eq!(bodies(of(full, "watch", "pods", "")), (Some(false), false));
        assert_eq!(bodies(of(full, "delete", "pods", "")), (None, true));
        assert_eq!(
            bodies(of(full, "create", "pods", "exec")),
            (Some(false), false)
        );
        let early =
            "omitStages: [ResponseStarted, ResponseComplete]\nrules: [{level: RequestResponse}]";
        assert_eq!(
            bodies(of(early, "create", "pods", "")),
            (Some(false), false)
        );
    }

    #[test]
    fn stages_depend_on_how_long_a_request_takes() {
        let names = |outcome: Outcome| {
            let names: Vec<&str> = outcome.stages.iter().map(|stage| stage.name()).collect();
            names.join(" ")
        };
        let all = "rules: [{level: Metadata}]";
        assert_eq!(
            names(of(all, "get", "pods", "")),
            "RequestReceived ResponseComplete"
        );
        assert_eq!(
            names(of(all, "watch", "pods", "")),
            "RequestReceived ResponseStarted ResponseComplete"
        );
        let omitted = "omitStages: [RequestReceived]\nrules: [{level: Metadata}]";
        assert_eq!(
            names(of(omitted, "get", "pods", "exec")),
            "ResponseStarted ResponseComplete"
        );
        assert_eq!(names(of("rules: [{level: None}]", "get", "pods", "")), "");
    }
}
