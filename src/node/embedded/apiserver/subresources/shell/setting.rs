//! What the kubelet sets up for a container: its environment and the files of its volumes.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::node::embedded::apiserver::authn::tokens::TokenRequest;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::state::ApiState;

/// The environment of a container.
pub(super) fn environment(
    state: &Arc<ApiState>,
    pod: &Value,
    spec: &Value,
    namespace: &str,
    hostname: &str,
) -> Vec<(String, String)> {
    let mut all = vec![
        (
            "PATH".to_owned(),
            "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        ),
        ("HOSTNAME".to_owned(), hostname.to_owned()),
    ];
    for variable in items(spec, "/env") {
        let value = match variable.get("valueFrom") {
            None => text_at(variable, "/value").to_owned(),
            Some(source) => referenced(state, pod, source, namespace).unwrap_or_default(),
        };
        all.push((text_at(variable, "/name").to_owned(), value));
    }
    for source in items(spec, "/envFrom") {
        let (kind, name) = match source.get("secretRef") {
            Some(reference) => ("secrets", text_at(reference, "/name")),
            None => ("configmaps", text_at(source, "/configMapRef/name")),
        };
        all.extend(data(state, kind, namespace, name));
    }
    if pod.pointer("/spec/enableServiceLinks") != Some(&Value::Bool(false)) {
        let mine = format!("/registry/core/services/{namespace}/");
        let born = text_at(pod, "/metadata/creationTimestamp");
        for service in state.store.list(&mine).0 {
            let is_older = text_at(&service.value, "/metadata/creationTimestamp") <= born;
            if is_older && text_at(&service.value, "/metadata/name") != "kubernetes" {
                all.extend(service_variables(&service.value));
            }
        }
    }
    // The API server's service is known in every namespace.
    let api = "/registry/core/services/default/kubernetes";
    if let Some(service) = state.store.get(api) {
        all.extend(service_variables(&service.value));
    }
    all.push(("HOME".to_owned(), "/root".to_owned()));
    all
}

/// Where a service is, as variables (`pkg/kubelet/envvars/envvars.go`).
fn service_variables(service: &Value) -> Vec<(String, String)> {
    let ip = text_at(service, "/spec/clusterIP");
    let ports = items(service, "/spec/ports");
    let number = |port: &Value| port.get("port").map_or_else(String::new, Value::to_string);
    let (false, Some(first)) = (matches!(ip, "" | "None"), ports.first()) else {
        return Vec::new();
    };
    let upper = |text: &str| text.to_uppercase().replace('-', "_");
    let name = upper(text_at(service, "/metadata/name"));
    let mut all = vec![
        (format!("{name}_SERVICE_HOST"), ip.to_owned()),
        (format!("{name}_SERVICE_PORT"), number(first)),
    ];
    for port in ports {
        let own = text_at(port, "/name");
        if !own.is_empty() {
            all.push((format!("{name}_SERVICE_PORT_{}", upper(own)), number(port)));
        }
    }
    for (at, port) in ports.iter().enumerate() {
        let protocol = match text_at(port, "/protocol") {
            "" => "TCP",
            protocol => protocol,
        };
        let lower = protocol.to_lowercase();
        let number = number(port);
        let address = format!("{lower}://{ip}:{number}");
        if at == 0 {
            all.push((format!("{name}_PORT"), address.clone()));
        }
        let prefix = format!("{name}_PORT_{number}_{protocol}");
        all.extend([
            (prefix.clone(), address),
            (format!("{prefix}_PROTO"), lower),
            (format!("{prefix}_PORT"), number),
            (format!("{prefix}_ADDR"), ip.to_owned()),
        ]);
    }
    all
}

fn referenced(
    state: &Arc<ApiState>,
    pod: &Value,
    source: &Value,
    namespace: &str,
) -> Option<String> {
    if let Some(reference) = source.get("secretKeyRef") {
        let key = text_at(reference, "/key");
        return data(state, "secrets", namespace, text_at(reference, "/name"))
            .into_iter()
            .find(|(own, _)| own == key)
            .map(|(_, value)| value);
    }
    if let Some(reference) = source.get("configMapKeyRef") {
        let key = text_at(reference, "/key");
        return data(state, "configmaps", namespace, text_at(reference, "/name"))
            .into_iter()
            .find(|(own, _)| own == key)
            .map(|(_, value)| value);
    }
    let path = text_at(source, "/fieldRef/fieldPath");
    let pointer = format!("/{}", path.replace('.', "/"));
    Some(text_at(pod, &pointer).to_owned())
}

/// Keys and values of a secret or config map.
fn data(state: &Arc<ApiState>, plural: &str, namespace: &str, name: &str) -> Vec<(String, String)> {
    let Some(object) = state
        .store
        .get(&format!("/registry/core/{plural}/{namespace}/{name}"))
    else {
        return Vec::new();
    };
    object
        .value
        .get("data")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| {
            let text = value.as_str().unwrap_or_default();
            let text = if plural == "secrets" {
                String::from_utf8_lossy(&STANDARD.decode(text).unwrap_or_default()).into_owned()
            } else {
                text.to_owned()
            };
            (key.clone(), text)
        })
        .collect()
}

/// The files of a volume.
pub(super) fn volume_files(
    state: &Arc<ApiState>,
    pod: &Value,
    volume: &Value,
    namespace: &str,
) -> Vec<(String, String)> {
    if let Some(secret) = volume.get("secret") {
        return data(state, "secrets", namespace, text_at(secret, "/secretName"));
    }
    if let Some(map) = volume.get("configMap") {
        return data(state, "configmaps", namespace, text_at(map, "/name"));
    }
    let mut all = Vec::new();
    for source in items(volume, "/projected/sources") {
        if let Some(token) = source.get("serviceAccountToken") {
            let path = text_at(token, "/path").to_owned();
            all.extend(account_token(state, pod, token, namespace).map(|token| (path, token)));
        }
        if let Some(map) = source.get("configMap") {
            all.extend(data(state, "configmaps", namespace, text_at(map, "/name")));
        }
        if let Some(secret) = source.get("secret") {
            all.extend(data(state, "secrets", namespace, text_at(secret, "/name")));
        }
        for item in items(source, "/downwardAPI/items") {
            let pointer = format!(
                "/{}",
                text_at(item, "/fieldRef/fieldPath").replace('.', "/")
            );
            all.push((
                text_at(item, "/path").to_owned(),
                text_at(pod, &pointer).to_owned(),
            ));
        }
    }
    all
}

/// A token as the kubelet would have put it there.
fn account_token(
    state: &Arc<ApiState>,
    pod: &Value,
    source: &Value,
    namespace: &str,
) -> Option<String> {
    let account = text_at(pod, "/spec/serviceAccountName");
    let object = state.store.get(&format!(
        "/registry/core/serviceaccounts/{namespace}/{account}"
    ))?;
    let node = text_at(pod, "/spec/nodeName").to_owned();
    let node_uid = state
        .store
        .get(&format!("/registry/core/nodes/{node}"))
        .map(|node| text_at(&node.value, "/metadata/uid").to_owned())
        .unwrap_or_default();
    let audience = text_at(source, "/audience");
    state
        .tokens
        .issue(&TokenRequest {
            namespace: namespace.to_owned(),
            service_account: account.to_owned(),
            service_account_uid: text_at(&object.value, "/metadata/uid").to_owned(),
            audiences: if audience.is_empty() {
                Vec::new()
            } else {
                vec![audience.to_owned()]
            },
            expiration_seconds: source
                .get("expirationSeconds")
                .and_then(Value::as_i64)
                .unwrap_or(3607),
            bound: Some((
                "Pod".to_owned(),
                text_at(pod, "/metadata/name").to_owned(),
                text_at(pod, "/metadata/uid").to_owned(),
            )),
            node: Some((node, node_uid)),
        })
        .ok()
        .map(|issued| issued.token)
}
