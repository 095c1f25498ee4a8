//! Validation of an authenticator of JSON Web Tokens (`k8s.io/apiserver/pkg/apis/apiserver/validation/validation.go`).
//!
//! Expressions are not compiled: a wrong one is accepted.

use serde_json::Value;

use super::{list, text};
use crate::node::embedded::apiserver::authn::certificate::ClientCa;
use crate::node::embedded::apiserver::flags::url;
use crate::node::embedded::apiserver::kinds::field::FieldError;
use crate::node::embedded::apiserver::kinds::validation::name;

type Errors = Vec<FieldError>;

const BOTH: &str = "claim and expression can't both be set";
const NEITHER: &str = "claim or expression is required";
const HTTP_PATH: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";

/// Validates an authenticator at this path.
pub(super) fn validate(authenticator: &Value, at: &str, errors: &mut Errors) {
    let part = |key: &str| authenticator.get(key).unwrap_or(&Value::Null);
    issuer(part("issuer"), &format!("{at}.issuer"), errors);
    let rules = list(authenticator, "claimValidationRules");
    claim_rules(rules, &format!("{at}.claimValidationRules"), errors);
    let verified = rules
        .iter()
        .any(|rule| uses(text(rule, "expression"), "email_verified"));
    mappings(
        part("claimMappings"),
        &format!("{at}.claimMappings"),
        verified,
        errors,
    );
    let mut seen = Vec::new();
    for (index, rule) in list(authenticator, "userValidationRules")
        .iter()
        .enumerate()
    {
        let at = format!("{at}.userValidationRules[{index}].expression");
        let expression = text(rule, "expression");
        if expression.is_empty() {
            errors.push(FieldError::required(at, ""));
        } else if seen.contains(&expression) {
            errors.push(FieldError::duplicate(at, &expression.into()));
        } else {
            seen.push(expression);
        }
    }
}

fn issuer(issuer: &Value, at: &str, errors: &mut Errors) {
    let location = text(issuer, "url");
    if location.is_empty() {
        errors.push(FieldError::required(format!("{at}.url"), ""));
    } else {
        https(location, &format!("{at}.url"), errors);
    }
    let discovery = text(issuer, "discoveryURL");
    if !discovery.is_empty() {
        let at = format!("{at}.discoveryURL");
        if !location.is_empty() && location.trim_end_matches('/') == discovery.trim_end_matches('/')
        {
            errors.push(FieldError::invalid(
                at.as_str(),
                &discovery.into(),
                "discoveryURL must be different from URL",
            ));
        }
        https(discovery, &at, errors);
    }
    audiences(issuer, at, errors);
    let authority = text(issuer, "certificateAuthority");
    if !authority.is_empty()
        && let Err(reason) = ClientCa::from_pem(authority.as_bytes())
    {
        errors.push(FieldError::invalid(
            format!("{at}.certificateAuthority"),
            &"<omitted>".into(),
            reason.to_string(),
        ));
    }
    let egress = text(issuer, "egressSelectorType");
    if !["", "controlplane", "cluster"].contains(&egress) {
        errors.push(FieldError::invalid(
            format!("{at}.egressSelectorType"),
            &egress.into(),
            "egress selector must be either controlplane or cluster",
        ));
    }
}

fn https(location: &str, at: &str, errors: &mut Errors) {
    let mut refuse = |reason: &str| {
        errors.push(FieldError::invalid(at, &location.into(), reason));
    };
    let scheme = match url::scheme(location) {
        Ok(scheme) => scheme,
        Err(reason) => return refuse(&reason),
    };
    if scheme != "https" {
        refuse("URL scheme must be https");
    }
    let (rest, fragment) = location.split_once('#').unwrap_or((location, ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = rest
        .split_once("//")
        .map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
    if authority.contains('@') {
        refuse("URL must not contain a username or password");
    }
    if !query.is_empty() {
        refuse("URL must not contain a query");
    }
    if !fragment.is_empty() {
        refuse("URL must not contain a fragment");
    }
}

fn audiences(issuer: &Value, at: &str, errors: &mut Errors) {
    let policy = text(issuer, "audienceMatchPolicy");
    let policy_at = format!("{at}.audienceMatchPolicy");
    let at = format!("{at}.audiences");
    let audiences = list(issuer, "audiences");
    if audiences.is_empty() {
        let detail = format!("at least one {at} is required");
        errors.push(FieldError::required(at, &detail));
        return;
    }
    let mut seen = Vec::new();
    for (index, audience) in audiences.iter().enumerate() {
        let at = format!("{at}[{index}]");
        if audience.as_str() == Some("") {
            errors.push(FieldError::required(at.as_str(), ""));
        }
        if seen.contains(&audience) {
            errors.push(FieldError::duplicate(at, audience));
        }
        seen.push(audience);
    }
    let detail = match (audiences.len(), policy) {
        (_, "MatchAny") | (1, "") => return,
        (1, _) => "audienceMatchPolicy must be empty or MatchAny for single audience",
        _ => "audienceMatchPolicy must be MatchAny for multiple audiences",
    };
    errors.push(FieldError::invalid(policy_at, &policy.into(), detail));
}

fn claim_rules(rules: &[Value], at: &str, errors: &mut Errors) {
    let (mut claims, mut expressions) = (Vec::new(), Vec::new());
    for (index, rule) in rules.iter().enumerate() {
        let at = format!("{at}[{index}]");
        let (claim, expression) = (text(rule, "claim"), text(rule, "expression"));
        let forbidden = |field: &str, with: &str| {
            let value = text(rule, field);
            (!value.is_empty()).then(|| {
                FieldError::invalid(
                    format!("{at}.{field}"),
                    &value.into(),
                    format!("may not be specified when {with} is set"),
                )
            })
        };
        match (claim, expression) {
            ("", "") => errors.push(FieldError::required(at, NEITHER)),
            (claim, "") => {
                errors.extend(forbidden("message", "claim"));
                if claims.contains(&claim) {
                    errors.push(FieldError::duplicate(format!("{at}.claim"), &claim.into()));
                }
                claims.push(claim);
            }
            ("", expression) => {
                errors.extend(forbidden("requiredValue", "expression"));
                if expressions.contains(&expression) {
                    errors.push(FieldError::duplicate(
                        format!("{at}.expression"),
                        &expression.into(),
                    ));
                }
                expressions.push(expression);
            }
            (claim, _) => errors.push(FieldError::invalid(at, &claim.into(), BOTH)),
        }
    }
}

fn mappings(mappings: &Value, at: &str, verified: bool, errors: &mut Errors) {
    let part = |key: &str| mappings.get(key).unwrap_or(&Value::Null);
    prefixed(part("username"), &format!("{at}.username"), true, errors);
    prefixed(part("groups"), &format!("{at}.groups"), false, errors);
    let uid = part("uid");
    if !text(uid, "claim").is_empty() && !text(uid, "expression").is_empty() {
        errors.push(FieldError::invalid(format!("{at}.uid"), &"".into(), BOTH));
    }
    let extra = list(mappings, "extra");
    let mut seen = Vec::new();
    for (index, mapping) in extra.iter().enumerate() {
        let key = text(mapping, "key");
        let key_at = format!("{at}.extra[{index}].key");
        extra_key(key, &key_at, errors);
        if seen.contains(&key) {
            errors.push(FieldError::duplicate(key_at, &key.into()));
            continue;
        }
        seen.push(key);
        if text(mapping, "valueExpression").is_empty() {
            errors.push(FieldError::required(
                format!("{at}.extra[{index}].valueExpression"),
                "",
            ));
        }
    }
    let username = text(part("username"), "expression");
    let verified = verified
        || uses(username, "email_verified")
        || extra
            .iter()
            .any(|mapping| uses(text(mapping, "valueExpression"), "email_verified"));
    if uses(username, "email") && !verified {
        errors.push(FieldError::invalid(
            format!("{at}.username.expression"),
            &username.into(),
            "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression",
        ));
    }
}

fn prefixed(mapping: &Value, at: &str, required: bool, errors: &mut Errors) {
    let prefix = mapping.get("prefix").filter(|prefix| !prefix.is_null());
    match (text(mapping, "claim"), text(mapping, "expression")) {
        ("", "") if required => errors.push(FieldError::required(at, NEITHER)),
        ("", "") => {}
        ("", _) => {
            if let Some(prefix) = prefix {
                errors.push(FieldError::invalid(
                    format!("{at}.prefix"),
                    prefix,
                    "may not be specified when expression is set",
                ));
            }
        }
        (_, "") => {
            if prefix.is_none() {
                errors.push(FieldError::required(
                    format!("{at}.prefix"),
                    "prefix is required when claim is set. It can be set to an empty string to disable prefixing",
                ));
            }
        }
        _ => errors.push(FieldError::invalid(at, &"".into(), BOTH)),
    }
}

fn extra_key(key: &str, at: &str, errors: &mut Errors) {
    let mut refuse = |value: &str, reason: &str| {
        errors.push(FieldError::invalid(at, &value.into(), reason));
    };
    let (host, path) = key.split_once('/').unwrap_or((key, ""));
    if key.is_empty() {
        errors.push(FieldError::required(at, ""));
        return;
    }
    if host.is_empty() || path.is_empty() {
        refuse(
            key,
            "must be a domain-prefixed path (such as \"acme.io/foo\")",
        );
    } else {
        for reason in name::subdomain(host) {
            refuse(host, &reason);
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
        if !path.chars().all(allowed) {
            refuse(
                path,
                &format!("Invalid path (regex used for validation is '{HTTP_PATH}')"),
            );
        }
    }
    if key != key.to_lowercase() {
        refuse(key, "must be lowercase");
    }
    let reserved = |domain: &str| host == domain || host.ends_with(&format!(".{domain}"));
    if key.contains('/') && (reserved("kubernetes.io") || reserved("k8s.io")) {
        refuse(
            key,
            "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use",
        );
    }
}

/// Whether an expression reads this claim, `claims.NAME`.
fn uses(expression: &str, claim: &str) -> bool {
    let needle = format!("claims.{claim}");
    expression.match_indices(&needle).any(|(at, found)| {
        let after = expression.get(at + found.len()..).unwrap_or_default();
        !after.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
    })
}
