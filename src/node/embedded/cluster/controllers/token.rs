//! Secrets that hold the token of a service account (`pkg/controller/serviceaccount/tokens_controller.go`): filled
//! when there is such an account, deleted when there is none.

use std::io::Read as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};

use super::Controllers;
use crate::node::embedded::apiserver::authn::tokens::Tokens;
use crate::node::embedded::apiserver::kinds::edit::text_at;
use crate::node::embedded::cluster::actor::Actor;
use crate::node::embedded::cluster::object::{is_deleting, name, uid};
use crate::node::embedded::confine::Confined;

const NAME: &str = "/metadata/annotations/kubernetes.io~1service-account.name";
/// The issuer of tokens that never expire.
const ISSUER: &str = "kubernetes/serviceaccount";
/// Largest key read; the file is the learner's.
const KEY: u64 = 64 << 10;

/// Whether a secret is to hold a token.
pub(super) fn is_one(secret: &Value) -> bool {
    text_at(secret, "/type") == "kubernetes.io/service-account-token"
}

/// Names of the secrets that are to hold a token of this account.
pub(super) fn of_account(c: &Controllers, namespace: &str, account: &str) -> Vec<String> {
    c.list(&format!("/registry/core/secrets/{namespace}/"))
        .iter()
        .filter(|secret| is_one(&secret.value) && text_at(&secret.value, NAME) == account)
        .map(|secret| name(&secret.value).to_owned())
        .collect()
}

pub(super) async fn sync(c: &mut Controllers, namespace: &str, secret: &str) -> Option<Duration> {
    let object = c.cached(&format!("/registry/core/secrets/{namespace}/{secret}"))?;
    if !is_one(&object) || is_deleting(&object) {
        return None;
    }
    let actor = Actor::component(
        &c.machine,
        "system:kube-controller-manager",
        &[],
        "kube-controller-manager",
        "tokens-controller",
    );
    let path = format!("/api/v1/namespaces/{namespace}/secrets/{secret}");
    let account = text_at(&object, NAME);
    let account = c.get(&format!(
        "/registry/core/serviceaccounts/{namespace}/{account}"
    ));
    let wanted = text_at(
        &object,
        "/metadata/annotations/kubernetes.io~1service-account.uid",
    );
    let account = account.filter(|account| wanted.is_empty() || wanted == uid(&account.value));
    let Some(account) = account else {
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1",
            "preconditions": {"uid": uid(&object)}});
        let _ = actor.delete(&path, Some(options)).await;
        return None;
    };
    let mut filled = object.clone();
    let data = data_of(&mut filled)?;
    let encoded = |text: &[u8]| Value::from(STANDARD.encode(text));
    if !data.contains_key("namespace") {
        data.insert("namespace".into(), encoded(namespace.as_bytes()));
    }
    if !data.contains_key("ca.crt") {
        let ca = file(c, "/etc/kubernetes/pki/ca.crt")?;
        data.insert("ca.crt".into(), encoded(&ca));
    }
    if !data.contains_key("token") {
        let key = file(c, "/etc/kubernetes/pki/sa.key")?;
        let account = &account.value;
        let claims = json!({
            "iss": ISSUER,
            "kubernetes.io/serviceaccount/namespace": namespace,
            "kubernetes.io/serviceaccount/secret.name": secret,
            "kubernetes.io/serviceaccount/service-account.name": name(account),
            "kubernetes.io/serviceaccount/service-account.uid": uid(account),
            "sub": format!("system:serviceaccount:{namespace}:{}", name(account)),
        });
        let tokens = Tokens::new(vec![ISSUER.to_owned()], Vec::new(), Some(&key), &[], false);
        let token = tokens.and_then(|tokens| tokens.sign(&claims)).ok()?;
        data.insert("token".into(), encoded(token.as_bytes()));
    }
    data.sort_keys();
    if let Some(annotations) = filled
        .pointer_mut("/metadata/annotations")
        .and_then(Value::as_object_mut)
    {
        annotations.insert(
            "kubernetes.io/service-account.uid".into(),
            uid(&account.value).into(),
        );
        annotations.sort_keys();
    }
    if filled != object {
        let answer = actor.update(&path, filled).await;
        if answer.is_none_or(|(code, _)| code >= 300) {
            return Some(Duration::from_secs(1));
        }
    }
    None
}

fn data_of(secret: &mut Value) -> Option<&mut Map<String, Value>> {
    let data = secret
        .as_object_mut()?
        .entry("data")
        .or_insert_with(|| json!({}));
    if data.is_null() {
        *data = json!({});
    }
    data.as_object_mut()
}

/// A file of the node.
pub(super) fn file(c: &Controllers, path: &str) -> Option<Vec<u8>> {
    let file = Confined::new(&c.machine.node_root).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut content = Vec::new();
    file.take(KEY).read_to_end(&mut content).ok()?;
    Some(content)
}
