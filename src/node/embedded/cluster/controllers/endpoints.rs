//! Endpoints and endpoint slices of services (`pkg/controller/{endpoint,endpointslice}`).

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::Controllers;
use crate::node::embedded::apiserver::admission::service_account::random_suffix;
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::kinds::selector;
use crate::node::embedded::cluster::object::{
    has_condition, is_deleting, name, namespace, now, number, uid,
};

pub(super) async fn sync(c: &mut Controllers, space: &str, service_name: &str) -> Option<Duration> {
    let service = c.cached(&format!("/registry/core/services/{space}/{service_name}"));
    let endpoints_key = format!("/registry/core/endpoints/{space}/{service_name}");
    let Some(service) = service.filter(|service| !is_deleting(service)) else {
        // Slices go with their owner; endpoints have none.
        if c.get(&endpoints_key).is_some() {
            let actor = c.actor("endpoint-controller").await;
            let path = format!("/api/v1/namespaces/{space}/endpoints/{service_name}");
            let _ = actor.delete(&path, None).await;
        }
        return None;
    };
    let wanted = service.pointer("/spec/selector")?.clone();
    if wanted.as_object().is_none_or(Map::is_empty)
        || text_at(&service, "/spec/type") == "ExternalName"
    {
        return None;
    }
    let mut pods: Vec<Value> = c
        .list(&format!("/registry/core/pods/{space}/"))
        .iter()
        .filter(|pod| {
            selector::map_matches(&wanted, pod.value.pointer("/metadata/labels"))
                && !text_at(&pod.value, "/status/podIP").is_empty()
                && !is_deleting(&pod.value)
                && !matches!(text_at(&pod.value, "/status/phase"), "Succeeded" | "Failed")
        })
        .map(|pod| pod.value.as_ref().clone())
        .collect();
    pods.sort_by_key(|pod| text_at(pod, "/status/podIP").to_owned());
    endpoints(c, &service, &endpoints_key, &pods).await;
    slice(c, &service, &pods).await;
    None
}

/// The ports of the service as the pods serve them.
fn ports(service: &Value, pod: Option<&Value>) -> Vec<Value> {
    items(service, "/spec/ports")
        .iter()
        .map(|port| {
            let target = port.get("targetPort").cloned().unwrap_or_default();
            let number = match &target {
                Value::String(wanted) => pod
                    .into_iter()
                    .flat_map(|pod| items(pod, "/spec/containers"))
                    .flat_map(|container| items(container, "/ports"))
                    .find(|own| text_at(own, "/name") == wanted)
                    .map_or_else(
                        || number(port, "/port"),
                        |own| number(own, "/containerPort"),
                    ),
                other => other.as_i64().unwrap_or(0),
            };
            let mut out = Map::new();
            if !text_at(port, "/name").is_empty() {
                out.insert("name".into(), text_at(port, "/name").into());
            }
            out.insert("port".into(), number.into());
            out.insert("protocol".into(), text_at(port, "/protocol").into());
            Value::Object(out)
        })
        .collect()
}

fn address(pod: &Value) -> Value {
    json!({"ip": text_at(pod, "/status/podIP"), "nodeName": text_at(pod, "/spec/nodeName"),
        "targetRef": {"kind": "Pod", "namespace": namespace(pod), "name": name(pod), "uid": uid(pod)}})
}

async fn endpoints(c: &mut Controllers, service: &Value, key: &str, pods: &[Value]) {
    let (ready, waiting): (Vec<&Value>, Vec<&Value>) =
        pods.iter().partition(|pod| has_condition(pod, "Ready"));
    let mut subset = Map::new();
    for (list, pods) in [("addresses", ready), ("notReadyAddresses", waiting)] {
        if !pods.is_empty() {
            subset.insert(list.into(), pods.iter().map(|pod| address(pod)).collect());
        }
    }
    let subsets = if subset.is_empty() {
        Value::Null
    } else {
        subset.insert("ports".into(), ports(service, pods.first()).into());
        json!([subset])
    };
    let current = c.cached(key);
    if let Some(current) = &current
        && current.get("subsets").cloned().unwrap_or_default() == subsets
    {
        return;
    }
    let mut labels: Map<String, Value> = service
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default();
    labels.insert(
        "endpoints.kubernetes.io/managed-by".into(),
        "endpoint-controller".into(),
    );
    if text_at(service, "/spec/clusterIP") == "None" {
        labels.insert("service.kubernetes.io/headless".into(), "".into());
    }
    labels.sort_keys();
    let actor = c.actor("endpoint-controller").await;
    let base = format!("/api/v1/namespaces/{}/endpoints", namespace(service));
    match current {
        Some(mut object) => {
            if let Some(fields) = object.as_object_mut() {
                fields.insert("subsets".into(), subsets);
            }
            let annotations = json!({"endpoints.kubernetes.io/last-change-trigger-time": now()});
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.insert("annotations".into(), annotations);
            }
            let _ = actor
                .update(&format!("{base}/{}", name(service)), object)
                .await;
        }
        None => {
            let object = json!({"kind": "Endpoints", "apiVersion": "v1",
                "metadata": {"name": name(service), "namespace": namespace(service),
                    "labels": labels,
                    "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": now()}},
                "subsets": subsets});
            let _ = actor.create(&base, object).await;
        }
    }
}

async fn slice(c: &mut Controllers, service: &Value, pods: &[Value]) {
    let prefix = format!(
        "/registry/discovery.k8s.io/endpointslices/{}/",
        namespace(service)
    );
    let current = c
        .list(&prefix)
        .iter()
        .find(|slice| {
            slice
                .value
                .pointer("/metadata/labels/kubernetes.io~1service-name")
                .and_then(Value::as_str)
                == Some(name(service))
        })
        .map(super::versioned);
    let endpoints: Vec<Value> = pods
        .iter()
        .map(|pod| {
            let ready = has_condition(pod, "Ready");
            json!({"addresses": [text_at(pod, "/status/podIP")],
                "conditions": {"ready": ready, "serving": ready, "terminating": false},
                "targetRef": {"kind": "Pod", "namespace": namespace(pod), "name": name(pod), "uid": uid(pod)},
                "nodeName": text_at(pod, "/spec/nodeName")})
        })
        .collect();
    let ports: Vec<Value> = if pods.is_empty() {
        Vec::new()
    } else {
        ports(service, pods.first())
            .into_iter()
            .map(|port| {
                json!({"name": text_at(&port, "/name"), "protocol": text_at(&port, "/protocol"),
                    "port": number(&port, "/port")})
            })
            .collect()
    };
    let base = format!(
        "/apis/discovery.k8s.io/v1/namespaces/{}/endpointslices",
        namespace(service)
    );
    match current {
        Some(mut object) => {
            if items(&object, "/endpoints") == endpoints {
                return;
            }
            let actor = c.actor("endpointslice-controller").await;
            let path = format!("{base}/{}", name(&object));
            if let Some(fields) = object.as_object_mut() {
                fields.insert("endpoints".into(), endpoints.into());
                fields.insert("ports".into(), ports.into());
            }
            let _ = actor.update(&path, object).await;
        }
        None => {
            let mut labels: Map<String, Value> = service
                .pointer("/metadata/labels")
                .and_then(Value::as_object)
                .cloned()
                .unwrap_or_default();
            labels.insert(
                "endpointslice.kubernetes.io/managed-by".into(),
                "endpointslice-controller.k8s.io".into(),
            );
            labels.insert("kubernetes.io/service-name".into(), name(service).into());
            labels.sort_keys();
            let actor = c.actor("endpointslice-controller").await;
            let object = json!({"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
                "metadata": {"name": format!("{}-{}", name(service), random_suffix()),
                    "generateName": format!("{}-", name(service)),
                    "namespace": namespace(service), "labels": labels,
                    "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": now()},
                    "ownerReferences": [{"apiVersion": "v1", "kind": "Service", "name": name(service),
                        "uid": uid(service), "controller": true, "blockOwnerDeletion": true}]},
                "addressType": "IPv4", "endpoints": endpoints, "ports": ports});
            let _ = actor.create(&base, object).await;
        }
    }
}
