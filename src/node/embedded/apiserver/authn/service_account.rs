//! Authentication with service-account tokens (`pkg/serviceaccount/{claims,legacy,jwt}.go`).

use std::collections::BTreeMap;

use serde_json::Value;

use super::tokens::Tokens;
use crate::node::embedded::apiserver::request::UserInfo;
use crate::node::embedded::apiserver::state::ApiState;

const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// Clock difference that is tolerated (`jwt.DefaultLeeway`).
const LEEWAY: i64 = 60;

/// A list as Go's `%q` prints it.
fn go_list(items: &[String]) -> String {
    let quoted: Vec<String> = items
        .iter()
        .map(|item| crate::audit::options::number::quote(item))
        .collect();
    format!("[{}]", quoted.join(" "))
}

/// The user of a service-account token, and the wanted audiences it is good for; `None` when the
/// token is of another issuer or no JWT at all.
///
/// # Errors
/// The real text when such a token is refused.
pub fn authenticate(
    state: &ApiState,
    token: &str,
    wanted: &[String],
) -> Result<Option<(UserInfo, Vec<String>)>, String> {
    let Some(claimed) = Tokens::claimed(token) else {
        return Ok(None);
    };
    let issuer = claimed.get("iss").and_then(Value::as_str).unwrap_or("");
    let legacy = issuer == LEGACY_ISSUER;
    if !legacy && !state.tokens.knows_issuer(issuer) {
        return Ok(None);
    }
    let claims = state.tokens.verify(token)?.0;
    let audiences: Vec<String> = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => many
            .iter()
            .filter_map(|v| v.as_str().map(str::to_owned))
            .collect(),
        // Legacy tokens are for the API itself.
        _ => state.flags.api_audiences(),
    };
    let fitting: Vec<String> = wanted
        .iter()
        .filter(|audience| audiences.contains(audience))
        .cloned()
        .collect();
    if fitting.is_empty() && !wanted.is_empty() {
        return Err(format!(
            "token audiences {} is invalid for the target audiences {}",
            go_list(&audiences),
            go_list(wanted)
        ));
    }
    let user = if legacy {
        legacy_user(state, &claims, token)?
    } else {
        bound_user(state, &claims)?
    };
    Ok(Some((user, fitting)))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// An object that a token depends on: it must exist with this UID and not be long deleted.
fn alive(state: &ApiState, key: &str, uid: &str) -> bool {
    let Some(stored) = state.store.get(key) else {
        return false;
    };
    if text(&stored.value, "/metadata/uid") != uid {
        return false;
    }
    let deleted = text(&stored.value, "/metadata/deletionTimestamp");
    deleted.parse::<jiff::Timestamp>().map_or(true, |at| {
        at.as_second() + LEEWAY >= jiff::Timestamp::now().as_second()
    })
}

fn bound_user(state: &ApiState, claims: &Value) -> Result<UserInfo, String> {
    let now = jiff::Timestamp::now().as_second();
    let number = |name: &str| claims.get(name).and_then(Value::as_i64);
    if number("exp").is_some_and(|exp| now - LEEWAY > exp) {
        return Err("service account token has expired".to_owned());
    }
    if number("nbf").is_some_and(|nbf| now + LEEWAY < nbf) {
        return Err("service account token is not valid yet".to_owned());
    }
    let Some(private) = claims.get("kubernetes.io") else {
        return Err(
            "service account token claims could not be validated due to unexpected private claim"
                .to_owned(),
        );
    };
    let namespace = text(private, "/namespace");
    let name = text(private, "/serviceaccount/name");
    let uid = text(private, "/serviceaccount/uid");
    let account = format!("/registry/core/serviceaccounts/{namespace}/{name}");
    let invalidated = || Err("service account token has been invalidated".to_owned());
    match state.store.get(&account) {
        None => return Err(format!("serviceaccounts \"{name}\" not found")),
        Some(stored) if text(&stored.value, "/metadata/uid") != uid => {
            return Err(format!(
                "service account UID ({}) does not match claim ({uid})",
                text(&stored.value, "/metadata/uid")
            ));
        }
        Some(_) if !alive(state, &account, uid) => return invalidated(),
        Some(_) => {}
    }
    let mut extra = BTreeMap::new();
    let mut add = |key: &str, value: &str| {
        extra.insert(
            format!("authentication.kubernetes.io/{key}"),
            vec![value.to_owned()],
        );
    };
    add("credential-id", &format!("JTI={}", text(claims, "/jti")));
    for (kind, resource, namespaced) in [
        ("secret", "secrets", true),
        ("pod", "pods", true),
        ("node", "nodes", false),
    ] {
        let Some(reference) = private.get(kind) else {
            continue;
        };
        let (name, uid) = (text(reference, "/name"), text(reference, "/uid"));
        let key = if namespaced {
            format!("/registry/core/{resource}/{namespace}/{name}")
        } else {
            format!("/registry/core/{resource}/{name}")
        };
        // The node of a pod's token is informational; only a token bound to the node needs it.
        let informational = kind == "node" && private.get("pod").is_some();
        if !informational && !alive(state, &key, uid) {
            return invalidated();
        }
        if kind != "secret" {
            add(&format!("{kind}-name"), name);
            add(&format!("{kind}-uid"), uid);
        }
    }
    Ok(account_user(namespace, name, uid, extra))
}

fn legacy_user(state: &ApiState, claims: &Value, token: &str) -> Result<UserInfo, String> {
    let claim = |name: &str| {
        claims
            .get(format!("kubernetes.io/serviceaccount/{name}"))
            .and_then(Value::as_str)
            .unwrap_or("")
    };
    let (namespace, secret) = (claim("namespace"), claim("secret.name"));
    let (name, uid) = (claim("service-account.name"), claim("service-account.uid"));
    if namespace.is_empty() || secret.is_empty() || name.is_empty() || uid.is_empty() {
        return Err("claims are incomplete".to_owned());
    }
    let invalidated = || "service account token has been invalidated".to_owned();
    let stored = state
        .store
        .get(&format!("/registry/core/secrets/{namespace}/{secret}"))
        .ok_or_else(invalidated)?;
    let recorded = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD
            .decode(text(&stored.value, "/data/token"))
            .unwrap_or_default()
    };
    if recorded != token.as_bytes() {
        return Err(invalidated());
    }
    let account = format!("/registry/core/serviceaccounts/{namespace}/{name}");
    if !alive(state, &account, uid) {
        return Err(invalidated());
    }
    Ok(account_user(namespace, name, uid, BTreeMap::new()))
}

fn account_user(
    namespace: &str,
    name: &str,
    uid: &str,
    extra: BTreeMap<String, Vec<String>>,
) -> UserInfo {
    UserInfo {
        username: format!("system:serviceaccount:{namespace}:{name}"),
        uid: uid.to_owned(),
        groups: vec![
            "system:serviceaccounts".to_owned(),
            format!("system:serviceaccounts:{namespace}"),
        ],
        extra,
    }
}
