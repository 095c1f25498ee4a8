//! What one policy says of one request (`plugin/policy/validating/validator.go`,
//! `plugin/webhook/matchconditions/matcher.go`, `plugin/cel/composition.go`).

use std::sync::Arc;

use serde_json::{Value, json};

use super::super::{Attributes, matching};
use crate::node::embedded::apiserver::authz;
use crate::node::embedded::apiserver::cel::{Budget, Expression, Outcome, Scope, policy_variables};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::state::ApiState;

/// Longest message an expression may give, in bytes (`MaxEvaluatedMessageExpressionSizeBytes`).
const MESSAGE: usize = 5 << 10;

/// The request a policy is asked about.
pub(in super::super) struct Subject<'a> {
    pub state: &'a Arc<ApiState>,
    pub attributes: &'a Attributes<'a>,
    pub old: Option<&'a Value>,
    /// `Null` for deletions.
    pub new: &'a Value,
    pub namespace: Option<Arc<Value>>,
}

/// A validation that failed.
pub(super) struct Denial {
    pub message: String,
    /// Reason of the Status; empty for `Invalid`.
    pub reason: String,
}

/// An annotation of the audit entry.
pub(super) enum Annotation {
    /// To be written.
    Publish { key: String, value: String },
    /// It has no value, and the policy is to fail then.
    Failed(String),
}

/// What a policy says.
#[derive(Default)]
pub(super) struct Verdict {
    /// With the position of the validation.
    pub denials: Vec<(usize, Denial)>,
    pub annotations: Vec<Annotation>,
}

struct Evaluation<'a> {
    known: Vec<&'static str>,
    scope: Scope,
    budget: &'a mut Budget,
}

impl Evaluation<'_> {
    /// The value of an expression, or the text a policy fails with.
    fn of(&mut self, text: &str) -> Result<Outcome, String> {
        let expression = Expression::compile(text, &self.known)
            .map_err(|issues| format!("compilation error: compilation failed: {issues}"))?;
        expression
            .evaluate(&self.scope, self.budget)
            .map_err(|why| format!("expression '{text}' resulted in error: {why}"))
    }
}

/// What every expression about a request can name.
fn scope(subject: &Subject<'_>) -> Scope {
    let mut scope = Scope::default();
    scope.set("object", subject.new);
    scope.set("oldObject", subject.old.unwrap_or(&Value::Null));
    scope.set("request", &request(subject.attributes));
    scope.set("namespaceObject", &shown_namespace(subject));
    let (state, attributes) = (subject.state.clone(), subject.attributes);
    scope.set_authorizer(
        Arc::new(move |user, asked| authz::authorize(&state, user, asked)),
        attributes.user.clone(),
        authz::Attributes {
            namespace: attributes.namespace.to_owned(),
            group: attributes.resource.group.clone(),
            version: attributes.resource.version.clone(),
            resource: attributes.resource.name.clone(),
            subresource: attributes.subresource.to_owned(),
            name: attributes.name.to_owned(),
            ..authz::Attributes::default()
        },
    );
    scope
}

/// Whether the conditions of a webhook hold (`matchConditions`).
///
/// # Errors
/// The texts of those that cannot be told, when none is false.
pub(in super::super) fn match_conditions(
    all: &[Value],
    subject: &Subject<'_>,
) -> Result<bool, String> {
    let mut evaluation = Evaluation {
        known: vec![
            "object",
            "oldObject",
            "request",
            "namespaceObject",
            "authorizer",
        ],
        scope: scope(subject),
        budget: &mut Budget::default(),
    };
    conditions(all, &mut evaluation)
}

/// Asks a policy, with one of its parameters.
pub(super) fn evaluate(
    policy: &Value,
    subject: &Subject<'_>,
    param: Option<&Value>,
    budget: &mut Budget,
) -> Verdict {
    let ignores = text_at(policy, "/spec/failurePolicy") == "Ignore";
    let has_params = policy
        .pointer("/spec/paramKind")
        .is_some_and(|kind| !kind.is_null());
    let mut scope = scope(subject);
    scope.set("variables", &json!({}));
    scope.set("params", param.unwrap_or(&Value::Null));
    let mut evaluation = Evaluation {
        known: policy_variables(has_params),
        scope,
        budget,
    };
    for variable in items(policy, "/spec/variables") {
        let text = text_at(variable, "/expression");
        let outcome = Expression::compile(text, &evaluation.known)
            .and_then(|expression| expression.evaluate(&evaluation.scope, evaluation.budget));
        evaluation
            .scope
            .add_variable(text_at(variable, "/name"), outcome);
    }
    let mut verdict = Verdict::default();
    match conditions(items(policy, "/spec/matchConditions"), &mut evaluation) {
        Ok(true) => {}
        Ok(false) => return verdict,
        Err(_) if ignores => return verdict,
        Err(message) => {
            verdict.denials.push((0, Denial::of_failure(message)));
            return verdict;
        }
    }
    for (index, validation) in items(policy, "/spec/validations").iter().enumerate() {
        match evaluation.of(text_at(validation, "/expression")) {
            Ok(outcome) if outcome.is_true() => {}
            Ok(_) => {
                let denial = Denial {
                    message: message(validation, &mut evaluation),
                    reason: text_at(validation, "/reason").to_owned(),
                };
                verdict.denials.push((index, denial));
            }
            Err(_) if ignores => {}
            Err(why) => verdict.denials.push((index, Denial::of_failure(why))),
        }
    }
    for annotation in items(policy, "/spec/auditAnnotations") {
        let text = text_at(annotation, "/valueExpression");
        let found = match evaluation.of(text) {
            Ok(outcome) if outcome.is_null() => None,
            Ok(outcome) => match outcome.as_str().map(str::trim) {
                Some("") => None,
                Some(value) => Some(Annotation::Publish {
                    key: text_at(annotation, "/key").to_owned(),
                    value: value.to_owned(),
                }),
                None => Some(Annotation::Failed(format!(
                    "valueExpression '{text}' resulted in unsupported return type: {}. Return type must be either string or null.",
                    outcome.type_name()
                ))),
            },
            Err(_) if ignores => None,
            Err(why) => Some(Annotation::Failed(why)),
        };
        verdict.annotations.extend(found);
    }
    verdict
}

impl Denial {
    fn of_failure(message: String) -> Self {
        Self {
            message,
            reason: String::new(),
        }
    }
}

/// Whether all `matchConditions` hold; one that does not decides, whatever else failed.
fn conditions(all: &[Value], evaluation: &mut Evaluation<'_>) -> Result<bool, String> {
    let mut failed = Vec::new();
    for condition in all {
        match evaluation.of(text_at(condition, "/expression")) {
            Ok(outcome) if outcome.is_false() => return Ok(false),
            Ok(_) => {}
            Err(why) => failed.push(why),
        }
    }
    match failed.as_slice() {
        [] => Ok(true),
        [one] => Err(one.clone()),
        several => Err(format!("[{}]", several.join(", "))),
    }
}

/// The message of a validation that failed.
fn message(validation: &Value, evaluation: &mut Evaluation<'_>) -> String {
    let text = text_at(validation, "/messageExpression");
    if !text.is_empty()
        && let Ok(outcome) = evaluation.of(text)
        && let Some(said) = outcome.as_str().map(str::trim)
        && !said.is_empty()
        && said.len() <= MESSAGE
        && !said.contains('\n')
    {
        return said.to_owned();
    }
    match text_at(validation, "/message").trim() {
        "" => format!(
            "failed expression: {}",
            text_at(validation, "/expression").trim()
        ),
        said => said.to_owned(),
    }
}

/// `request`: an AdmissionRequest without its objects.
fn request(attributes: &Attributes<'_>) -> Value {
    let resource = attributes.resource;
    let kind = match resource.body_kind(attributes.subresource) {
        Some((group, version, kind)) => {
            json!({"group": group, "version": version, "kind": kind})
        }
        None => {
            json!({"group": resource.group, "version": resource.version, "kind": resource.kind})
        }
    };
    let named =
        json!({"group": resource.group, "version": resource.version, "resource": resource.name});
    let user = attributes.user;
    let mut request = json!({
        "uid": "",
        "kind": kind,
        "resource": named,
        "requestKind": kind,
        "requestResource": named,
        "operation": matching::operation_name(attributes.operation),
        "userInfo": {"username": user.username, "groups": user.groups, "extra": user.extra},
        "dryRun": attributes.dry_run,
        "options": {},
    });
    for (key, text) in [
        ("subResource", attributes.subresource),
        ("requestSubResource", attributes.subresource),
        ("name", attributes.name),
        ("namespace", attributes.namespace),
    ] {
        if !text.is_empty() {
            set(&mut request, key, text);
        }
    }
    if let Some(info) = request.get_mut("userInfo").filter(|_| !user.uid.is_empty()) {
        set(info, "uid", &user.uid);
    }
    request
}

fn set(object: &mut Value, key: &str, text: &str) {
    if let Value::Object(map) = object {
        map.insert(key.to_owned(), json!(text));
    }
}

/// `namespaceObject`: what policies may see of the namespace.
fn shown_namespace(subject: &Subject<'_>) -> Value {
    let Some(namespace) = &subject.namespace else {
        return Value::Null;
    };
    let mut shown = Value::clone(namespace);
    if let Some(Value::Object(metadata)) = shown.get_mut("metadata") {
        metadata.remove("managedFields");
        metadata.remove("ownerReferences");
    }
    shown
}
