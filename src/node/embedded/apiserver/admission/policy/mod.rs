//! ValidatingAdmissionPolicies (`k8s.io/apiserver/pkg/admission/plugin/policy/validating`): which are asked
//! about a request, what their bindings make of the answers, and what the audit log says of both.

pub(super) mod evaluate;
mod params;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};

use super::{Attributes, matching};
use crate::node::embedded::apiserver::cel::Budget;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

use evaluate::{Annotation, Subject};

const POLICIES: &str = "/registry/admissionregistration.k8s.io/validatingadmissionpolicies/";
const BINDINGS: &str = "/registry/admissionregistration.k8s.io/validatingadmissionpolicybindings/";

/// Key of the annotation about failed validations.
const FAILURE: &str = "validation.policy.admission.k8s.io/validation_failure";

/// At most this many failed validations are told.
const TOLD: usize = 50;

/// At most this much of an annotation of a policy is kept.
const ANNOTATION: usize = 10 << 10;

/// A failed validation, as the annotation tells it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Failure {
    message: String,
    policy: String,
    binding: String,
    expression_index: usize,
    validation_actions: Vec<Value>,
}

/// What a policy refuses, and with which reason.
struct Refusal {
    policy: String,
    binding: Option<String>,
    message: String,
    reason: String,
}

/// Asks the policies that are bound to this.
///
/// # Errors
/// The first refusal.
pub fn validate(
    state: &Arc<ApiState>,
    attributes: &Attributes<'_>,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), Status> {
    let (policies, _) = state.store.list(POLICIES);
    if policies.is_empty() || is_exempt(attributes) {
        return Ok(());
    }
    let (bindings, _) = state.store.list(BINDINGS);
    let mut budget = Budget::default();
    let mut refusals = Vec::new();
    let mut failures = Vec::new();
    let empty = Value::Null;
    for policy in &policies {
        let policy = &policy.value;
        let name = text_at(policy, "/metadata/name");
        let constraints = policy.pointer("/spec/matchConstraints").unwrap_or(&empty);
        if !matching::resources_match(state, constraints, attributes, old, new) {
            continue;
        }
        let subject = Subject {
            state,
            attributes,
            old,
            new,
            namespace: matching::namespace(state, attributes)
                .filter(|_| !attributes.is("", "namespaces", attributes.subresource)),
        };
        let mut annotations: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let own = bindings
            .iter()
            .map(|binding| &binding.value)
            .filter(|binding| text_at(binding, "/spec/policyName") == name);
        for binding in own {
            let resources = binding.pointer("/spec/matchResources").unwrap_or(&empty);
            if !matching::resources_match(state, resources, attributes, old, new) {
                continue;
            }
            let bound = text_at(binding, "/metadata/name");
            let refuse = |message: String, reason: &str| Refusal {
                policy: name.to_owned(),
                binding: Some(bound.to_owned()),
                message,
                reason: reason.to_owned(),
            };
            let params = match params::collect(state, policy, binding, attributes.namespace) {
                Ok(params) => params,
                Err(_) if text_at(policy, "/spec/failurePolicy") == "Ignore" => continue,
                Err(why) => {
                    refusals.push(refuse(format!("failed to configure binding: {why}"), ""));
                    continue;
                }
            };
            for param in &params {
                let verdict = evaluate::evaluate(policy, &subject, param.as_ref(), &mut budget);
                for (index, denial) in verdict.denials {
                    for action in items(binding, "/spec/validationActions") {
                        match action.as_str() {
                            Some("Deny") => {
                                refusals.push(refuse(denial.message.clone(), &denial.reason));
                            }
                            Some("Audit") => failures.push(Failure {
                                message: denial.message.clone(),
                                policy: name.to_owned(),
                                binding: bound.to_owned(),
                                expression_index: index,
                                validation_actions: items(binding, "/spec/validationActions")
                                    .to_vec(),
                            }),
                            Some("Warn") => attributes.warnings.add(format!(
                                "Validation failed for ValidatingAdmissionPolicy '{name}' with binding '{bound}': {}",
                                denial.message
                            )),
                            _ => {}
                        }
                    }
                }
                for annotation in verdict.annotations {
                    match annotation {
                        Annotation::Publish { key, value } => {
                            let values = annotations.entry(key).or_default();
                            let value = shortened(&value).to_owned();
                            if !values.contains(&value) {
                                values.push(value);
                            }
                        }
                        Annotation::Failed(why) => refusals.push(refuse(why, "")),
                    }
                }
            }
        }
        for (key, values) in annotations {
            attributes
                .audit
                .annotate(&format!("{name}/{key}"), &values.join(", "));
        }
    }
    failures.truncate(TOLD);
    if !failures.is_empty()
        && let Ok(text) = serde_json::to_string(&failures)
    {
        attributes.audit.annotate(FAILURE, &text);
    }
    match refusals.first() {
        None => Ok(()),
        Some(first) => Err(status(attributes, old, new, first)),
    }
}

/// Policies are not asked about policies, so that a bad one can be removed.
fn is_exempt(attributes: &Attributes<'_>) -> bool {
    (attributes.resource.group == "admissionregistration.k8s.io"
        && attributes.resource.name.contains("admissionpolic"))
        || matching::is_excluded(attributes)
}

fn shortened(value: &str) -> &str {
    let mut end = value.len().min(ANNOTATION);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value.get(..end).unwrap_or_default()
}

fn status(
    attributes: &Attributes<'_>,
    old: Option<&Value>,
    new: &Value,
    refusal: &Refusal,
) -> Status {
    let policy = &refusal.policy;
    let with = match &refusal.binding {
        Some(binding) => format!(" with binding '{binding}'"),
        None => String::new(),
    };
    let message = format!(
        "ValidatingAdmissionPolicy '{policy}'{with} denied request: {}",
        refusal.message
    );
    let object = old.filter(|_| new.is_null()).unwrap_or(new);
    let mut status = attributes.forbidden(object, &message);
    let (reason, code) = match refusal.reason.as_str() {
        "Forbidden" => ("Forbidden", 403),
        "Unauthorized" => ("Unauthorized", 401),
        "RequestEntityTooLarge" => ("RequestEntityTooLarge", 413),
        _ => ("Invalid", 422),
    };
    status.reason = reason.into();
    status.code = code;
    if let Some(Value::Object(details)) = &mut status.details {
        details.insert("causes".to_owned(), json!([{"message": message}]));
    }
    status
}
