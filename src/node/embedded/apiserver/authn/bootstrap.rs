//! Bootstrap tokens (`plugin/pkg/auth/authenticator/token/bootstrap`).

use base64::Engine;
use serde_json::Value;

use crate::node::embedded::apiserver::request::UserInfo;
use crate::node::embedded::store::Store;

/// The user of a bootstrap token, if it is a valid one.
#[must_use]
pub fn authenticate(store: &Store, token: &str) -> Option<UserInfo> {
    let (id, secret) = token.split_once('.')?;
    let fits = |text: &str, length: usize| {
        text.len() == length
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
    };
    if !fits(id, 6) || !fits(secret, 16) {
        return None;
    }
    let stored = store.get(&format!(
        "/registry/core/secrets/kube-system/bootstrap-token-{id}"
    ))?;
    let object = &*stored.value;
    if object.get("type").and_then(Value::as_str) != Some("bootstrap.kubernetes.io/token")
        || object.pointer("/metadata/deletionTimestamp").is_some()
    {
        return None;
    }
    let data = |key: &str| -> Option<String> {
        let encoded = object.get("data")?.get(key)?.as_str()?;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(encoded)
            .ok()?;
        String::from_utf8(bytes).ok()
    };
    let same = ring::hmac::verify(
        &ring::hmac::Key::new(ring::hmac::HMAC_SHA256, id.as_bytes()),
        data("token-secret")?.as_bytes(),
        ring::hmac::sign(
            &ring::hmac::Key::new(ring::hmac::HMAC_SHA256, id.as_bytes()),
            secret.as_bytes(),
        )
        .as_ref(),
    )
    .is_ok();
    if !same || data("token-id")? != id {
        return None;
    }
    if let Some(expiration) = data("expiration")
        && expiration
            .parse::<jiff::Timestamp>()
            .is_ok_and(|end| end <= jiff::Timestamp::now())
    {
        return None;
    }
    if data("usage-bootstrap-authentication").as_deref() != Some("true") {
        return None;
    }
    let mut groups = vec!["system:bootstrappers".to_owned()];
    if let Some(extra) = data("auth-extra-groups") {
        groups.extend(
            extra
                .split(',')
                .filter(|group| group.starts_with("system:bootstrappers:"))
                .map(str::to_owned),
        );
    }
    groups.sort();
    groups.dedup();
    Some(UserInfo {
        username: format!("system:bootstrap:{id}"),
        groups,
        ..UserInfo::default()
    })
}
