//! The objects a lab's cluster starts with: what `kubeadm init`, its add-ons, one joined worker and the
//! controllers leave behind.
//!
//! The objects are those of a real cluster (`fixtures/golden/http/data/base-objects.json.gz`), made this
//! lab's own: its certificates and addresses, fresh uids, times around the lab's start.

use std::collections::HashMap;
use std::io::Read as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

/// What the initial objects must say about this lab.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Address of the control-plane node.
    pub node_ip: String,
    /// Address of the worker.
    pub worker_ip: String,
    /// The API server's URL in `cluster-info`.
    pub server: String,
    /// The cluster CA's certificate (PEM, with a final line break).
    pub ca_pem: String,
    /// The front-proxy CA's certificate (PEM, with a final line break).
    pub front_proxy_ca_pem: String,
    /// When the lab's cluster came up.
    pub now: Timestamp,
}

/// Address of the control-plane node in the recorded objects.
const RECORDED_NODE_IP: &str = "192.168.49.2";
/// Address of the worker in the recorded objects.
const RECORDED_WORKER_IP: &str = "192.168.49.3";
/// The server's URL in the recorded `cluster-info`.
const RECORDED_SERVER: &str = "https://127.0.0.1:6443";
/// Second of the first recorded write (2026-11-22T15:33:24Z).
const RECORDED_START: i64 = 1_795_361_604;
/// How old the cluster is when the lab starts.
const CLUSTER_AGE: SignedDuration = SignedDuration::from_secs(60);

static BASE: &[u8] = include_bytes!("../../../../fixtures/golden/http/data/base-objects.json.gz");

/// The initial objects, oldest first, without `metadata.resourceVersion`.
#[must_use]
pub fn objects(facts: &Facts) -> Vec<Value> {
    entries(facts)
        .into_iter()
        .map(|(_, object)| object)
        .collect()
}

/// The initial objects with their keys in the store, oldest first.
#[must_use]
pub fn entries(facts: &Facts) -> Vec<(String, Value)> {
    let recorded = recorded();
    let Some(Value::Object(lists)) = recorded.get("objects") else {
        return Vec::new();
    };
    let mut rewrite = Rewrite::new(facts, lists);
    let mut found: Vec<(u64, String, Value)> = Vec::new();
    for (path, items) in lists {
        // Component statuses are computed, never stored.
        if path.ends_with("/componentstatuses") {
            continue;
        }
        let Some(prefix) = key_prefix(path) else {
            continue;
        };
        for item in items.as_array().into_iter().flatten() {
            let mut object = item.clone();
            rewrite.value(&mut object);
            let version = object
                .get_mut("metadata")
                .and_then(Value::as_object_mut)
                .and_then(|metadata| metadata.shift_remove("resourceVersion"))
                .and_then(|version| version.as_str()?.parse().ok())
                .unwrap_or(0);
            let object = type_first(object);
            found.push((version, key(&prefix, &object), object));
        }
    }
    found.sort_by_key(|(version, _, _)| *version);
    let mut entries: Vec<(String, Value)> = found
        .into_iter()
        .map(|(_, key, object)| (key, object))
        .collect();
    sign_cluster_info(&mut entries);
    entries
}

fn recorded() -> Value {
    let mut text = Vec::with_capacity(340_000);
    let read = flate2::read::GzDecoder::new(BASE).read_to_end(&mut text);
    debug_assert!(read.is_ok(), "the built-in objects are readable");
    serde_json::from_slice(&text).unwrap_or_default()
}

/// `/apis/apps/v1/deployments` → `/registry/apps/deployments/`.
fn key_prefix(list_path: &str) -> Option<String> {
    let mut parts = list_path.trim_start_matches('/').split('/');
    let (group, resource) = match parts.next()? {
        "api" => ("core", parts.nth(1)?),
        _ => {
            let group = parts.next()?;
            (group, parts.nth(1)?)
        }
    };
    Some(format!("/registry/{group}/{resource}/"))
}

fn key(prefix: &str, object: &Value) -> String {
    let name = object.pointer("/metadata/name").and_then(Value::as_str);
    let namespace = object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str);
    match namespace {
        Some(namespace) => format!("{prefix}{namespace}/{}", name.unwrap_or_default()),
        None => format!("{prefix}{}", name.unwrap_or_default()),
    }
}

/// `kind` and `apiVersion` in front, as the API writes objects.
fn type_first(object: Value) -> Value {
    let Value::Object(mut fields) = object else {
        return object;
    };
    let mut ordered = Map::new();
    for name in ["kind", "apiVersion"] {
        if let Some(value) = fields.shift_remove(name) {
            ordered.insert(name.to_owned(), value);
        }
    }
    ordered.append(&mut fields);
    Value::Object(ordered)
}

/// Turns recorded strings into this lab's.
struct Rewrite {
    uids: HashMap<String, String>,
    texts: Vec<(String, String)>,
    start: Timestamp,
    now: Timestamp,
}

impl Rewrite {
    fn new(facts: &Facts, lists: &Map<String, Value>) -> Self {
        let mut texts = Vec::new();
        let authentication = find(
            lists,
            "/api/v1/configmaps",
            "extension-apiserver-authentication",
        );
        let certificate = |name: &str| {
            authentication
                .and_then(|map| map.pointer(&format!("/data/{name}")))
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        if let Some(recorded) = certificate("client-ca-file") {
            texts.push((STANDARD.encode(&recorded), STANDARD.encode(&facts.ca_pem)));
            texts.push((recorded, facts.ca_pem.clone()));
        }
        if let Some(recorded) = certificate("requestheader-client-ca-file") {
            texts.push((recorded, facts.front_proxy_ca_pem.clone()));
        }
        texts.push((RECORDED_SERVER.to_owned(), facts.server.clone()));
        texts.push((RECORDED_NODE_IP.to_owned(), facts.node_ip.clone()));
        texts.push((RECORDED_WORKER_IP.to_owned(), facts.worker_ip.clone()));
        Self {
            uids: HashMap::new(),
            texts,
            start: facts.now.checked_sub(CLUSTER_AGE).unwrap_or(facts.now),
            now: facts.now,
        }
    }

    fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => {
                if let Some(new) = self.text(text) {
                    *text = new;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(item)),
            Value::Object(fields) => {
                // Managed fields name owners by uid, addresses by value, in keys.
                if fields.keys().any(|key| self.text(key).is_some()) {
                    *fields = std::mem::take(fields)
                        .into_iter()
                        .map(|(key, value)| (self.text(&key).unwrap_or(key), value))
                        .collect();
                }
                fields.values_mut().for_each(|value| self.value(value));
            }
            _ => {}
        }
    }

    /// The new text, if it changes.
    fn text(&mut self, text: &str) -> Option<String> {
        if text.len() < 9 || text.starts_with("f:") {
            return None;
        }
        if text.len() == 36 && is_uid(text) {
            return Some(self.uid(text));
        }
        if text.starts_with("2026-11-22") {
            return self.time(text);
        }
        if let Some((before, uid)) = text
            .strip_suffix("\"}")
            .and_then(|rest| rest.strip_prefix("k:{\"uid\":\""))
            .map(|uid| ("k:{\"uid\":\"", uid))
        {
            let uid = self.uid(uid);
            return Some(format!("{before}{uid}\"}}"));
        }
        // Identities of lease holders end in a uid: `controlplane_UID`.
        if let Some((before, uid)) = text.rsplit_once('_')
            && is_uid(uid)
        {
            let uid = self.uid(uid);
            return Some(format!("{before}_{uid}"));
        }
        let mut new: Option<String> = None;
        for (old, fresh) in &self.texts {
            let current = new.as_deref().unwrap_or(text);
            if current.len() >= old.len() && current.contains(old.as_str()) {
                new = Some(current.replace(old.as_str(), fresh));
            }
        }
        new
    }

    fn uid(&mut self, recorded: &str) -> String {
        self.uids
            .entry(recorded.to_owned())
            .or_insert_with(|| uuid::Uuid::new_v4().to_string())
            .clone()
    }

    /// The same distance from the start of the cluster; what was recorded long after is now.
    fn time(&self, recorded: &str) -> Option<String> {
        if recorded.len() == 10 {
            return Some(self.now.strftime("%Y-%m-%d").to_string());
        }
        let time: Timestamp = recorded.parse().ok()?;
        let start = Timestamp::from_second(RECORDED_START).ok()?;
        let moved = self.start.checked_add(time.duration_since(start)).ok()?;
        let moved = moved.min(self.now);
        Some(if recorded.contains('.') {
            moved.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()
        } else {
            moved.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
        })
    }
}

fn is_uid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn find<'a>(lists: &'a Map<String, Value>, path: &str, name: &str) -> Option<&'a Value> {
    lists
        .get(path)?
        .as_array()?
        .iter()
        .find(|item| item.pointer("/metadata/name").and_then(Value::as_str) == Some(name))
}

/// Signs `cluster-info` with the bootstrap token, as the bootstrap signer does
/// (`k8s.io/cluster-bootstrap/token/jws/jws.go`): the kubeconfig changed, so must the signature.
fn sign_cluster_info(entries: &mut [(String, Value)]) {
    let secret = |name: &str| {
        entries
            .iter()
            .find(|(key, _)| key.contains("/secrets/kube-system/bootstrap-token-"))
            .and_then(|(_, object)| object.pointer(&format!("/data/{name}")))
            .and_then(Value::as_str)
            .and_then(|text| STANDARD.decode(text).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
    };
    let (Some(id), Some(key)) = (secret("token-id"), secret("token-secret")) else {
        return;
    };
    let Some(data) = entries
        .iter_mut()
        .find(|(key, _)| key == "/registry/core/configmaps/kube-public/cluster-info")
        .and_then(|(_, object)| object.get_mut("data"))
        .and_then(Value::as_object_mut)
    else {
        return;
    };
    let Some(content) = data.get("kubeconfig").and_then(Value::as_str) else {
        return;
    };
    let signature = detached_signature(content, &id, &key);
    data.insert(format!("jws-kubeconfig-{id}"), signature.into());
}

/// A JWS with its payload left out, HMAC SHA-256.
#[must_use]
pub fn detached_signature(content: &str, token_id: &str, token_secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!("{{\"alg\":\"HS256\",\"kid\":\"{token_id}\"}}"));
    let payload = URL_SAFE_NO_PAD.encode(content);
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, token_secret.as_bytes());
    let tag = ring::hmac::sign(&key, format!("{header}.{payload}").as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> Facts {
        Facts {
            node_ip: "172.30.1.2".into(),
            worker_ip: "172.30.2.2".into(),
            server: "https://172.30.1.2:6443".into(),
            ca_pem: "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
            front_proxy_ca_pem: "-----BEGIN CERTIFICATE-----\nBBBB\n-----END CERTIFICATE-----\n"
                .into(),
            now: "2027-01-02T03:04:05Z".parse().unwrap(),
        }
    }

    fn get<'a>(entries: &'a [(String, Value)], key: &str) -> &'a Value {
        &entries.iter().find(|(k, _)| k == key).unwrap().1
    }

    #[test]
    fn the_recorded_signature_is_reproduced() {
        let recorded = recorded();
        let lists = recorded["objects"].as_object().unwrap();
        let info = find(lists, "/api/v1/configmaps", "cluster-info").unwrap();
        let signature = detached_signature(
            info["data"]["kubeconfig"].as_str().unwrap(),
            "abcdef",
            "0123456789abcdef",
        );
        assert_eq!(info["data"]["jws-kubeconfig-abcdef"], signature);
    }

    #[test]
    fn nothing_of_the_recorded_cluster_is_left() {
        let entries = entries(&facts());
        let text = serde_json::to_string(&entries).unwrap();
        for old in [
            "192.168.49.",
            "2026-11-22",
            "MIIDGzCC",
            "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCk1JSUR",
        ] {
            assert!(!text.contains(old), "{old}");
        }
        assert_eq!(
            entries.len(),
            292 - 3,
            "every recorded object but component statuses"
        );
    }

    #[test]
    fn owners_still_own() {
        let entries = entries(&facts());
        let node = get(&entries, "/registry/core/nodes/controlplane");
        let lease = get(
            &entries,
            "/registry/coordination.k8s.io/leases/kube-node-lease/controlplane",
        );
        assert_eq!(
            lease["metadata"]["ownerReferences"][0]["uid"],
            node["metadata"]["uid"]
        );
        assert_eq!(
            node["metadata"]["creationTimestamp"],
            "2027-01-02T03:03:21Z"
        );
    }

    #[test]
    fn two_labs_share_no_uid() {
        let (a, b) = (entries(&facts()), entries(&facts()));
        assert_ne!(
            get(&a, "/registry/core/namespaces/default")["metadata"]["uid"],
            get(&b, "/registry/core/namespaces/default")["metadata"]["uid"]
        );
    }
}
