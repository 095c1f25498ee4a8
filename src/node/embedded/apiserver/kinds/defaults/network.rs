//! Defaults of services, endpoints and network policies
//! (`pkg/apis/{core,discovery,networking}/v1/defaults.go`).

use serde_json::{Value, json};

use crate::node::embedded::apiserver::kinds::edit::{
    Object, child, default, default_text, each, ensure, text,
};

/// `SetDefaults_Service`.
pub fn service(object: &mut Object) {
    let spec = ensure(object, "spec");
    default_text(spec, "sessionAffinity", "None");
    match text(spec, "sessionAffinity") {
        "None" => {
            spec.shift_remove("sessionAffinityConfig");
        }
        "ClientIP" => {
            let config = ensure(ensure(spec, "sessionAffinityConfig"), "clientIP");
            default(config, "timeoutSeconds", 10_800);
        }
        _ => {}
    }
    default_text(spec, "type", "ClusterIP");
    each(spec, "ports", |port| {
        default_text(port, "protocol", "TCP");
        let number = port.get("port").cloned().unwrap_or(json!(0));
        if port
            .get("targetPort")
            .is_none_or(|t| t.is_null() || *t == json!(0) || *t == json!(""))
        {
            port.insert("targetPort".into(), number);
        }
    });
    let kind = text(spec, "type").to_owned();
    let external = matches!(kind.as_str(), "NodePort" | "LoadBalancer")
        || kind == "ClusterIP"
            && spec
                .get("externalIPs")
                .and_then(Value::as_array)
                .is_some_and(|ips| !ips.is_empty());
    if external {
        default_text(spec, "externalTrafficPolicy", "Cluster");
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer" | "ClusterIP") {
        default(spec, "internalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        default(spec, "allocateLoadBalancerNodePorts", true);
    }
}

/// `SetDefaults_Endpoints`.
pub fn endpoints(object: &mut Object) {
    each(object, "subsets", |subset| {
        each(subset, "ports", |port| {
            default_text(port, "protocol", "TCP")
        });
    });
}

/// `SetDefaults_EndpointPort`.
pub fn endpoint_slice(object: &mut Object) {
    each(object, "ports", |port| {
        default(port, "name", "");
        default(port, "protocol", "TCP");
    });
}

/// `SetDefaults_NetworkPolicy`.
pub fn network_policy(object: &mut Object) {
    let spec = ensure(object, "spec");
    for direction in ["ingress", "egress"] {
        each(spec, direction, |rule| {
            each(rule, "ports", |port| default(port, "protocol", "TCP"));
        });
    }
    let egress = spec
        .get("egress")
        .and_then(Value::as_array)
        .is_some_and(|rules| !rules.is_empty());
    if spec
        .get("policyTypes")
        .and_then(Value::as_array)
        .is_none_or(Vec::is_empty)
    {
        let types = if egress {
            json!(["Ingress", "Egress"])
        } else {
            json!(["Ingress"])
        };
        spec.insert("policyTypes".into(), types);
    }
}

/// `SetDefaults_IngressClass`.
pub fn ingress_class(object: &mut Object) {
    if let Some(parameters) = child(ensure(object, "spec"), "parameters") {
        default(parameters, "scope", "Cluster");
    }
}
