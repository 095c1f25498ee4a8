//! Admission webhooks (`k8s.io/apiserver/pkg/admission/plugin/webhook`). The node has no network but
//! itself and runs no images, so nobody ever answers: what is seen is what a cluster shows whose webhook
//! is down.

use std::sync::Arc;

use serde_json::{Value, json};

use super::policy::evaluate::{Subject, match_conditions};
use super::{Attributes, matching};
use crate::audit::options::number::quote;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

/// Which of the two kinds of webhooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// They may change the object.
    Mutating,
    /// They may only refuse it.
    Validating,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Kind::Mutating => {
                "/registry/admissionregistration.k8s.io/mutatingwebhookconfigurations/"
            }
            Kind::Validating => {
                "/registry/admissionregistration.k8s.io/validatingwebhookconfigurations/"
            }
        }
    }

    fn failed_open(self) -> &'static str {
        match self {
            Kind::Mutating => "failed-open.mutation.webhook.admission.k8s.io",
            Kind::Validating => "failed-open.validating.webhook.admission.k8s.io",
        }
    }
}

/// Calls the webhooks that want to hear of this.
///
/// # Errors
/// 500 when one that must be asked cannot be.
pub fn call(
    state: &Arc<ApiState>,
    kind: Kind,
    attributes: &Attributes<'_>,
    old: Option<&Value>,
    new: &Value,
) -> Result<(), Status> {
    let (configurations, _) = state.store.list(kind.prefix());
    if configurations.is_empty() || is_exempt(attributes) {
        return Ok(());
    }
    let hooks = configurations
        .iter()
        .flat_map(|configuration| items(&configuration.value, "/webhooks"));
    let mut relevant = 0;
    for (position, hook) in hooks.enumerate() {
        if !wants(state, hook, attributes, old, new)
            || !is_meant(state, hook, attributes, old, new)?
        {
            continue;
        }
        // Mutating webhooks are counted among all, validating ones among those that are called.
        let index = match kind {
            Kind::Mutating => position,
            Kind::Validating => relevant,
        };
        relevant += 1;
        let name = text_at(hook, "/name");
        if attributes.dry_run && !matches!(text_at(hook, "/sideEffects"), "None" | "NoneOnDryRun") {
            let text = format!("admission webhook {} does not support dry run", quote(name));
            return Err(Status::new(400, "BadRequest", text));
        }
        if text_at(hook, "/failurePolicy") == "Ignore" {
            let key = format!("{}/round_0_index_{index}", kind.failed_open());
            attributes.audit.annotate(&key, name);
            continue;
        }
        let text = format!(
            "failed calling webhook {}: failed to call webhook: {}",
            quote(name),
            failure(state, hook)
        );
        return Err(Status::new(
            500,
            "InternalError",
            format!("Internal error occurred: {text}"),
        )
        .with_details(json!({"causes": [{"message": text}]})));
    }
    Ok(())
}

/// What webhooks are never asked about: themselves, so that a bad one can be removed, and objects that
/// are never stored.
fn is_exempt(attributes: &Attributes<'_>) -> bool {
    attributes.resource.group == "admissionregistration.k8s.io" || matching::is_excluded(attributes)
}

/// Whether rules and selectors of a webhook match.
fn wants(
    state: &Arc<ApiState>,
    hook: &Value,
    attributes: &Attributes<'_>,
    old: Option<&Value>,
    new: &Value,
) -> bool {
    items(hook, "/rules")
        .iter()
        .any(|rule| matching::rule_matches(rule, attributes))
        && matching::is_selected(state, hook, attributes, old, new)
}

/// Whether the conditions of a webhook hold (`ShouldCallHook` of `generic/webhook.go`).
///
/// # Errors
/// 403 when that cannot be told, and the webhook must not be passed over.
fn is_meant(
    state: &Arc<ApiState>,
    hook: &Value,
    attributes: &Attributes<'_>,
    old: Option<&Value>,
    new: &Value,
) -> Result<bool, Status> {
    let conditions = items(hook, "/matchConditions");
    if conditions.is_empty() {
        return Ok(true);
    }
    let subject = Subject {
        state,
        attributes,
        old,
        new,
        namespace: None,
    };
    match match_conditions(conditions, &subject) {
        Ok(holds) => Ok(holds),
        Err(_) if text_at(hook, "/failurePolicy") == "Ignore" => Ok(false),
        Err(why) => {
            let object = old.filter(|_| new.is_null()).unwrap_or(new);
            Err(attributes.forbidden(object, why))
        }
    }
}

/// Go's text of the failed request.
fn failure(state: &Arc<ApiState>, hook: &Value) -> String {
    let seconds = hook
        .get("timeoutSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(10);
    let url = text_at(hook, "/clientConfig/url");
    if !url.is_empty() {
        let mark = if url.contains('?') { '&' } else { '?' };
        let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let address = match authority.rsplit_once(':') {
            Some((_, port)) if port.bytes().all(|b| b.is_ascii_digit()) => authority.to_owned(),
            _ => format!("{authority}:{}", if scheme == "http" { 80 } else { 443 }),
        };
        return format!(
            "Post {}: {}",
            quote(&format!("{url}{mark}timeout={seconds}s")),
            unreachable(&address)
        );
    }
    let service = |part: &str| text_at(hook, &format!("/clientConfig/service/{part}"));
    let (namespace, name) = (service("namespace"), service("name"));
    let port = hook
        .pointer("/clientConfig/service/port")
        .and_then(Value::as_i64)
        .unwrap_or(443);
    let path = service("path");
    let slash = if path.starts_with('/') { "" } else { "/" };
    let shown = quote(&format!(
        "https://{name}.{namespace}.svc:{port}{slash}{path}?timeout={seconds}s"
    ));
    let key = format!("/registry/core/services/{namespace}/{name}");
    match state.store.get(&key) {
        None => format!("Post {shown}: service {} not found", quote(name)),
        Some(found) => {
            let address = text_at(&found.value, "/spec/clusterIP");
            format!(
                "Post {shown}: {}",
                unreachable(&format!("{address}:{port}"))
            )
        }
    }
}

/// Nobody listens on the node, and beyond it there is nothing.
fn unreachable(address: &str) -> String {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    if host
        .trim_matches(['[', ']'])
        .parse::<std::net::IpAddr>()
        .is_ok()
        || host == "localhost"
    {
        let address = address.replace("localhost", "127.0.0.1");
        format!("dial tcp {address}: connect: connection refused")
    } else {
        format!("dial tcp: lookup {host} on 10.96.0.10:53: no such host")
    }
}
