//! Secrets, config maps, nodes, events, RBAC, signing requests, webhooks and admission policies.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Errors, name};
use crate::node::embedded::apiserver::cel::{Expression, policy_variables};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};

/// Secrets (`ValidateSecret`).
pub fn secret(old: Option<&Value>, new: &Value, e: &mut Errors) {
    let data = new.get("data").and_then(Value::as_object);
    let mut size = 0;
    for (key, value) in data.into_iter().flatten() {
        for problem in name::config_map_key(key) {
            e.invalid(&format!("data[{key}]"), &key.as_str().into(), problem);
        }
        size += value.as_str().map_or(0, |text| text.len() / 4 * 3);
    }
    if size > 1024 * 1024 {
        e.push(crate::node::embedded::apiserver::kinds::FieldError::too_long("data", 1024 * 1024));
    }
    let has = |key: &str| data.is_some_and(|data| data.contains_key(key));
    let text = |key: &str| {
        data.and_then(|data| data.get(key))
            .and_then(Value::as_str)
            .and_then(|text| STANDARD.decode(text).ok())
            .unwrap_or_default()
    };
    match text_at(new, "/type") {
        "kubernetes.io/service-account-token"
            if new
                .pointer("/metadata/annotations/kubernetes.io~1service-account.name")
                .is_none_or(|value| value == "") =>
        {
            e.required(
                "metadata.annotations[kubernetes.io/service-account.name]",
                "",
            );
        }
        "kubernetes.io/dockercfg" => json_key(".dockercfg", &has, &text, e),
        "kubernetes.io/dockerconfigjson" => json_key(".dockerconfigjson", &has, &text, e),
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            e.required("data[username]", "");
            e.required("data[password]", "");
        }
        "kubernetes.io/ssh-auth" if text("ssh-privatekey").is_empty() => {
            e.required("data[ssh-privatekey]", "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if !has(key) {
                    e.required(&format!("data[{key}]"), "");
                }
            }
        }
        _ => {}
    }
    if let Some(old) = old {
        e.immutable("type", old.get("type"), new.get("type"));
        kept(old, new, &["data"], e);
    }
}

fn json_key(key: &str, has: &dyn Fn(&str) -> bool, text: &dyn Fn(&str) -> Vec<u8>, e: &mut Errors) {
    if !has(key) {
        e.required(&format!("data[{key}]"), "");
    } else if let Err(error) = serde_json::from_slice::<Value>(&text(key)) {
        let problem = if error.is_eof() {
            "unexpected end of JSON input".to_owned()
        } else {
            error.to_string()
        };
        e.invalid(
            &format!("data[{key}]"),
            &"<secret contents redacted>".into(),
            problem,
        );
    }
}

/// What `immutable: true` keeps from changing.
fn kept(old: &Value, new: &Value, fields: &[&str], e: &mut Errors) {
    if old.get("immutable") != Some(&Value::Bool(true)) {
        return;
    }
    if new.get("immutable") != Some(&Value::Bool(true)) {
        e.forbidden("immutable", "field is immutable when `immutable` is set");
    }
    for field in fields {
        if old.get(*field) != new.get(*field) {
            e.forbidden(field, "field is immutable when `immutable` is set");
        }
    }
}

/// Config maps (`ValidateConfigMap`).
pub fn config_map(old: Option<&Value>, new: &Value, e: &mut Errors) {
    let mut size = 0;
    for list in ["data", "binaryData"] {
        for (key, value) in new
            .get(list)
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            for problem in name::config_map_key(key) {
                e.invalid(&format!("{list}[{key}]"), &key.as_str().into(), problem);
            }
            if list == "data"
                && new
                    .pointer("/binaryData")
                    .is_some_and(|data| data.get(key).is_some())
            {
                e.invalid(
                    &format!("data[{key}]"),
                    &key.as_str().into(),
                    "duplicate of key present in binaryData",
                );
            }
            size += value.as_str().map_or(0, str::len);
        }
    }
    if size > 1024 * 1024 {
        e.push(crate::node::embedded::apiserver::kinds::FieldError::too_long("", 1024 * 1024));
    }
    if let Some(old) = old {
        kept(old, new, &["data", "binaryData"], e);
    }
}

/// Nodes.
pub fn node(new: &Value, e: &mut Errors) {
    for (at, taint) in items(new, "/spec/taints").iter().enumerate() {
        let path = format!("metadata.taints[{at}]");
        let key = text_at(taint, "/key");
        for problem in name::qualified(key) {
            e.invalid(&format!("{path}.key"), &key.into(), problem);
        }
        match text_at(taint, "/effect") {
            "" => e.required(&format!("{path}.effect"), ""),
            "NoSchedule" | "PreferNoSchedule" | "NoExecute" => {}
            other => e.not_supported(
                &format!("{path}.effect"),
                &other.into(),
                &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            ),
        }
    }
}

/// Events (`pkg/apis/core/validation/events.go`).
pub fn event(new: &Value, e: &mut Errors) {
    let space = text_at(new, "/metadata/namespace");
    let about = match text_at(new, "/involvedObject/namespace") {
        "" => text_at(new, "/regarding/namespace"),
        own => own,
    };
    if about.is_empty() {
        if !space.is_empty() && space != "default" {
            e.invalid(
                "involvedObject.namespace",
                &about.into(),
                "does not match event.namespace",
            );
        }
    } else if about != space {
        e.invalid(
            "involvedObject.namespace",
            &about.into(),
            "does not match event.namespace",
        );
    }
}

/// Roles (`pkg/apis/rbac/validation`).
pub fn role(new: &Value, cluster: bool, e: &mut Errors) {
    for (at, rule) in items(new, "/rules").iter().enumerate() {
        let path = format!("rules[{at}]");
        let list = |key: &str| items(rule, &format!("/{key}"));
        if list("verbs").is_empty() {
            e.required(
                &format!("{path}.verbs"),
                "verbs must contain at least one value",
            );
        }
        if !list("nonResourceURLs").is_empty() {
            if !cluster {
                e.invalid(
                    &format!("{path}.nonResourceURLs"),
                    &json!(list("nonResourceURLs")),
                    "namespaced rules cannot apply to non-resource URLs",
                );
            }
            if !list("apiGroups").is_empty()
                || !list("resources").is_empty()
                || !list("resourceNames").is_empty()
            {
                e.invalid(
                    &format!("{path}.nonResourceURLs"),
                    &json!(list("nonResourceURLs")),
                    "rules cannot apply to both regular resources and non-resource URLs",
                );
            }
            continue;
        }
        if list("apiGroups").is_empty() {
            e.required(
                &format!("{path}.apiGroups"),
                "resource rules must supply at least one api group",
            );
        }
        if list("resources").is_empty() {
            e.required(
                &format!("{path}.resources"),
                "resource rules must supply at least one resource",
            );
        }
    }
}

/// Role bindings.
pub fn role_binding(old: Option<&Value>, new: &Value, cluster: bool, e: &mut Errors) {
    let group = text_at(new, "/roleRef/apiGroup");
    if group != "rbac.authorization.k8s.io" {
        e.not_supported(
            "roleRef.apiGroup",
            &group.into(),
            &["rbac.authorization.k8s.io"],
        );
    }
    let kind = text_at(new, "/roleRef/kind");
    let kinds: &[&str] = if cluster {
        &["ClusterRole"]
    } else {
        &["ClusterRole", "Role"]
    };
    if !kinds.contains(&kind) {
        e.not_supported("roleRef.kind", &kind.into(), kinds);
    }
    let role = text_at(new, "/roleRef/name");
    if role.is_empty() {
        e.required("roleRef.name", "");
    } else {
        for problem in name::path_segment(role) {
            e.invalid("roleRef.name", &role.into(), problem);
        }
    }
    for (at, subject) in items(new, "/subjects").iter().enumerate() {
        let path = format!("subjects[{at}]");
        let own = text_at(subject, "/name");
        if own.is_empty() {
            e.required(&format!("{path}.name"), "");
        }
        let group = text_at(subject, "/apiGroup");
        match text_at(subject, "/kind") {
            "ServiceAccount" => {
                if !own.is_empty() {
                    for problem in name::subdomain(own) {
                        e.invalid(&format!("{path}.name"), &own.into(), problem);
                    }
                }
                if !group.is_empty() {
                    e.not_supported(&format!("{path}.apiGroup"), &group.into(), &[""]);
                }
                if cluster && text_at(subject, "/namespace").is_empty() {
                    e.required(&format!("{path}.namespace"), "");
                }
            }
            "User" | "Group" => {
                if group != "rbac.authorization.k8s.io" {
                    e.not_supported(
                        &format!("{path}.apiGroup"),
                        &group.into(),
                        &["rbac.authorization.k8s.io"],
                    );
                }
            }
            other => e.not_supported(
                &format!("{path}.kind"),
                &other.into(),
                &["ServiceAccount", "User", "Group"],
            ),
        }
    }
    if let Some(old) = old
        && old.get("roleRef") != new.get("roleRef")
    {
        let shown = json!({"APIGroup": group, "Kind": kind, "Name": role});
        e.invalid("roleRef", &shown, "cannot change roleRef");
    }
}

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// Certificate signing requests.
pub fn signing_request(old: Option<&Value>, new: &Value, e: &mut Errors) {
    if let Some(old) = old {
        decisions(old, new, e);
        return;
    }
    let request = text_at(new, "/spec/request");
    let pem = STANDARD.decode(request).unwrap_or_default();
    if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE REQUEST-----") {
        e.invalid(
            "spec.request",
            &request.into(),
            "PEM block type must be CERTIFICATE REQUEST",
        );
    }
    let usages = items(new, "/spec/usages");
    if usages.is_empty() {
        e.required("spec.usages", "");
    }
    for (at, usage) in usages.iter().enumerate() {
        e.one_of(&format!("spec.usages[{at}]"), Some(usage), &USAGES);
    }
    let signer = text_at(new, "/spec/signerName");
    if signer.is_empty() {
        e.required("spec.signerName", "");
    } else if signer == "kubernetes.io/legacy-unknown" {
        e.invalid(
            "spec.signerName",
            &signer.into(),
            "the legacy signerName is not allowed via this API version",
        );
    } else if !signer.split_once('/').is_some_and(|(domain, path)| {
        domain.contains('.') && name::subdomain(domain).is_empty() && !path.is_empty()
    }) {
        e.invalid(
            "spec.signerName",
            &signer.into(),
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        );
    }
    if let Some(seconds) = new
        .pointer("/spec/expirationSeconds")
        .and_then(Value::as_i64)
        && seconds < 600
    {
        e.invalid(
            "spec.expirationSeconds",
            &seconds.into(),
            "may not specify a duration less than 600 seconds (10 minutes)",
        );
    }
}

/// Approvals and denials (`ValidateCertificateSigningRequestApprovalUpdate`).
fn decisions(old: &Value, new: &Value, e: &mut Errors) {
    let has = |object: &Value, kind: &str| {
        items(object, "/status/conditions")
            .iter()
            .any(|condition| text_at(condition, "/type") == kind)
    };
    for kind in ["Approved", "Denied", "Failed"] {
        if has(old, kind) && !has(new, kind) {
            e.forbidden(
                "status.conditions",
                format!("updates may not remove a condition of type \"{kind}\""),
            );
        }
    }
    if has(new, "Approved")
        && has(new, "Denied")
        && let Some(at) = items(new, "/status/conditions")
            .iter()
            .rposition(|condition| matches!(text_at(condition, "/type"), "Approved" | "Denied"))
    {
        let second = items(new, "/status/conditions")
            .get(at)
            .map_or("", |condition| text_at(condition, "/type"));
        e.invalid(
            "status.conditions",
            &second.into(),
            "Approved and Denied conditions are mutually exclusive",
        );
    }
    let certificate = text_at(new, "/status/certificate");
    if certificate != text_at(old, "/status/certificate") && !certificate.is_empty() {
        let pem = STANDARD.decode(certificate).unwrap_or_default();
        if !String::from_utf8_lossy(&pem).contains("-----BEGIN CERTIFICATE-----") {
            e.invalid(
                "status.certificate",
                &"<certificate data>".into(),
                "must contain at least one CERTIFICATE PEM block",
            );
        }
    }
}

/// Webhook configurations.
pub fn webhooks(new: &Value, e: &mut Errors) {
    for (at, webhook) in items(new, "/webhooks").iter().enumerate() {
        let path = format!("webhooks[{at}]");
        let own = text_at(webhook, "/name");
        if own.split('.').count() < 3 {
            e.invalid(
                &format!("{path}.name"),
                &own.into(),
                "should be a domain with at least three segments separated by dots",
            );
        }
        let versions = items(webhook, "/admissionReviewVersions");
        if versions.is_empty() {
            e.required(
                &format!("{path}.admissionReviewVersions"),
                "must specify one of v1, v1beta1",
            );
        } else if !versions
            .iter()
            .any(|version| version == "v1" || version == "v1beta1")
        {
            e.invalid(
                &format!("{path}.admissionReviewVersions"),
                &json!(versions),
                "must include at least one of v1, v1beta1",
            );
        }
        for (at, rule) in items(webhook, "/rules").iter().enumerate() {
            webhook_rule(rule, &format!("{path}.rules[{at}]"), e);
        }
        e.one_of(
            &format!("{path}.failurePolicy"),
            webhook.get("failurePolicy"),
            &["Fail", "Ignore"],
        );
        e.one_of(
            &format!("{path}.matchPolicy"),
            webhook.get("matchPolicy"),
            &["Equivalent", "Exact"],
        );
        match text_at(webhook, "/sideEffects") {
            "" => e.required(
                &format!("{path}.sideEffects"),
                "must specify one of None, NoneOnDryRun",
            ),
            "None" | "NoneOnDryRun" => {}
            other => e.not_supported(
                &format!("{path}.sideEffects"),
                &other.into(),
                &["None", "NoneOnDryRun"],
            ),
        }
        if let Some(timeout) = webhook.get("timeoutSeconds").and_then(Value::as_i64)
            && !(1..=30).contains(&timeout)
        {
            e.invalid(
                &format!("{path}.timeoutSeconds"),
                &timeout.into(),
                "the timeout value must be between 1 and 30 seconds",
            );
        }
        for key in ["namespaceSelector", "objectSelector"] {
            super::selector(webhook.get(key), &format!("{path}.{key}"), e);
        }
        let url = text_at(webhook, "/clientConfig/url");
        let service = webhook
            .pointer("/clientConfig/service")
            .is_some_and(|service| !service.is_null());
        if url.is_empty() != service {
            e.required(
                &format!("{path}.clientConfig"),
                "exactly one of url or service is required",
            );
        } else if !url.is_empty() && !url.starts_with("https://") {
            let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
            e.invalid(
                &format!("{path}.clientConfig.url"),
                &scheme.into(),
                "'https' is the only allowed URL scheme; desired format: https://host[/path]",
            );
        }
    }
}

fn webhook_rule(rule: &Value, path: &str, e: &mut Errors) {
    let operations = items(rule, "/operations");
    if operations.is_empty() {
        e.required(&format!("{path}.operations"), "");
    }
    for (at, operation) in operations.iter().enumerate() {
        e.one_of(
            &format!("{path}.operations[{at}]"),
            Some(operation),
            &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"],
        );
    }
    for (key, what) in [("apiGroups", "API groups"), ("apiVersions", "API versions")] {
        let list = items(rule, &format!("/{key}"));
        if list.is_empty() {
            e.required(&format!("{path}.{key}"), "");
        } else if list.len() > 1 && list.iter().any(|item| item == "*") {
            e.invalid(
                &format!("{path}.{key}"),
                &json!(list),
                format!("if '*' is present, must not specify other {what}"),
            );
        }
    }
    if items(rule, "/resources").is_empty() {
        e.required(&format!("{path}.resources"), "");
    }
}

/// Admission policies. Types of expressions are not checked.
pub fn admission_policy(new: &Value, e: &mut Errors) {
    if new
        .pointer("/spec/matchConstraints")
        .is_none_or(Value::is_null)
    {
        e.required("spec.matchConstraints", "");
    } else if items(new, "/spec/matchConstraints/resourceRules").is_empty() {
        e.required("spec.matchConstraints.resourceRules", "");
    }
    if text_at(new, "/kind").starts_with("Validating")
        && items(new, "/spec/validations").is_empty()
        && items(new, "/spec/auditAnnotations").is_empty()
    {
        for list in ["validations", "auditAnnotations"] {
            e.required(
                &format!("spec.{list}"),
                "validations or auditAnnotations must contain at least one item",
            );
        }
    }
    expressions(new, e);
}

/// The expressions of an admission policy compile.
fn expressions(policy: &Value, e: &mut Errors) {
    let has_params = policy
        .pointer("/spec/paramKind")
        .is_some_and(|kind| !kind.is_null());
    let known = policy_variables(has_params);
    let lists: [(&str, &str, &[&str]); 5] = [
        ("variables", "expression", &[]),
        ("matchConditions", "expression", &["bool"]),
        ("validations", "expression", &["bool"]),
        ("validations", "messageExpression", &["string"]),
        (
            "auditAnnotations",
            "valueExpression",
            &["string", "null_type"],
        ),
    ];
    for (list, key, wanted) in lists {
        for (at, item) in items(policy, &format!("/spec/{list}")).iter().enumerate() {
            let text = text_at(item, &format!("/{key}"));
            let path = format!("spec.{list}[{at}].{key}");
            if text.trim().is_empty() {
                if key != "messageExpression" {
                    e.required(&path, &format!("{key} is not specified"));
                }
                continue;
            }
            let compiled = Expression::compile(text, &known)
                .map_err(|issues| format!("compilation failed: {issues}"))
                .and_then(|expression| match wanted {
                    [] => Ok(()),
                    wanted => expression.gives(wanted),
                });
            if let Err(why) = compiled {
                e.invalid(&path, &text.into(), why);
            }
        }
    }
}

/// Bindings of admission policies.
pub fn policy_binding(new: &Value, e: &mut Errors) {
    if text_at(new, "/spec/policyName").is_empty() {
        e.required("spec.policyName", "");
    }
    if text_at(new, "/kind").starts_with("Validating")
        && items(new, "/spec/validationActions").is_empty()
    {
        e.required(
            "spec.validationActions",
            "at least one validation action is required",
        );
    }
}
