//! Services, ingresses, network policies, endpoint slices (`pkg/apis/{core,networking,discovery}/validation`).

use std::net::IpAddr;

use serde_json::{Value, json};

use super::{Errors, name};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};

/// Services.
pub fn service(old: Option<&Value>, new: &Value, e: &mut Errors) {
    let kind = text_at(new, "/spec/type");
    let headless = text_at(new, "/spec/clusterIP") == "None";
    let ports = items(new, "/spec/ports");
    if ports.is_empty() && !headless && kind != "ExternalName" {
        e.required("spec.ports", "");
    }
    if kind == "ExternalName" {
        let external = text_at(new, "/spec/externalName");
        if external.is_empty() {
            e.required("spec.externalName", "");
        } else {
            for problem in name::subdomain(external.trim_end_matches('.')) {
                e.invalid("spec.externalName", &external.into(), problem);
            }
        }
    }
    let mut names = Vec::new();
    let mut seen: Vec<(String, i64)> = Vec::new();
    for (at, port) in ports.iter().enumerate() {
        let path = format!("spec.ports[{at}]");
        let own = text_at(port, "/name");
        if own.is_empty() && ports.len() > 1 {
            e.required(&format!("{path}.name"), "");
        } else if !own.is_empty() {
            for problem in name::label(own) {
                e.invalid(&format!("{path}.name"), &own.into(), problem);
            }
            if names.contains(&own) {
                e.duplicate(&format!("{path}.name"), &own.into());
            }
            names.push(own);
        }
        let number = port.get("port").and_then(Value::as_i64).unwrap_or(0);
        if !(1..=65535).contains(&number) {
            e.invalid(
                &format!("{path}.port"),
                &number.into(),
                "must be between 1 and 65535, inclusive",
            );
        }
        e.one_of(
            &format!("{path}.protocol"),
            port.get("protocol"),
            &["SCTP", "TCP", "UDP"],
        );
        match port.get("targetPort") {
            Some(Value::String(target)) => {
                for problem in name::port_name(target) {
                    e.invalid(
                        &format!("{path}.targetPort"),
                        &target.as_str().into(),
                        problem,
                    );
                }
            }
            Some(target) if !target.as_i64().is_some_and(|n| (1..=65535).contains(&n)) => {
                e.invalid(
                    &format!("{path}.targetPort"),
                    target,
                    "must be between 1 and 65535, inclusive",
                );
            }
            _ => {}
        }
        let key = (text_at(port, "/protocol").to_owned(), number);
        if seen.contains(&key) {
            e.duplicate(&path, &json!({"protocol": key.0, "port": key.1}));
        }
        seen.push(key);
    }
    super::meta::labels(new.pointer("/spec/selector"), "spec.selector", e);
    e.one_of(
        "spec.sessionAffinity",
        new.pointer("/spec/sessionAffinity"),
        &["ClientIP", "None"],
    );
    cluster_ips(old, new, e);
    for (at, ip) in items(new, "/spec/externalIPs").iter().enumerate() {
        for problem in name::ip(ip.as_str().unwrap_or_default()) {
            e.invalid(&format!("spec.externalIPs[{at}]"), ip, problem);
        }
    }
    e.one_of(
        "spec.type",
        new.pointer("/spec/type"),
        &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
    );
    let external =
        matches!(kind, "NodePort" | "LoadBalancer") || !items(new, "/spec/externalIPs").is_empty();
    if let Some(policy) = new
        .pointer("/spec/externalTrafficPolicy")
        .filter(|value| !value.is_null())
    {
        if !external {
            e.invalid(
                "spec.externalTrafficPolicy",
                policy,
                "may only be set for externally-accessible services",
            );
        } else {
            e.one_of(
                "spec.externalTrafficPolicy",
                Some(policy),
                &["Cluster", "Local"],
            );
        }
    }
    e.one_of(
        "spec.internalTrafficPolicy",
        new.pointer("/spec/internalTrafficPolicy"),
        &["Cluster", "Local"],
    );
}

fn cluster_ips(old: Option<&Value>, new: &Value, e: &mut Errors) {
    let ips = items(new, "/spec/clusterIPs");
    let first = text_at(new, "/spec/clusterIP");
    let shown = json!(ips);
    e.one_of(
        "spec.ipFamilyPolicy",
        new.pointer("/spec/ipFamilyPolicy"),
        &["PreferDualStack", "RequireDualStack", "SingleStack"],
    );
    if first.is_empty() && !ips.is_empty() {
        e.invalid(
            "spec.clusterIPs",
            &shown,
            "must be empty when `clusterIP` is not specified",
        );
    }
    if let Some(listed) = ips.first()
        && !first.is_empty()
        && listed.as_str() != Some(first)
    {
        e.invalid(
            "spec.clusterIPs",
            &shown,
            "first value must match `clusterIP`",
        );
    }
    for (at, ip) in ips.iter().enumerate() {
        let text = ip.as_str().unwrap_or_default();
        if at == 0 && text == "None" {
            continue;
        }
        for problem in name::ip(text) {
            e.invalid(&format!("spec.clusterIPs[{at}]"), ip, problem);
        }
    }
    let families: Vec<bool> = ips
        .iter()
        .filter_map(|ip| ip.as_str()?.parse::<IpAddr>().ok())
        .map(|ip| ip.is_ipv4())
        .collect();
    if families.len() == 2 && families.first() == families.last() {
        e.invalid(
            "spec.clusterIPs",
            &shown,
            "may specify no more than one IP for each IP family",
        );
    }
    if let Some(old) = old {
        let before = items(old, "/spec/clusterIPs");
        let keeps = text_at(old, "/spec/type") != "ExternalName"
            && text_at(new, "/spec/type") != "ExternalName";
        if keeps && !before.is_empty() && before.first() != ips.first() {
            e.invalid("spec.clusterIPs[0]", &shown, "may not change once set");
        }
    }
}

/// Ingresses.
pub fn ingress(new: &Value, e: &mut Errors) {
    let rules = items(new, "/spec/rules");
    if let Some(backend) = new
        .pointer("/spec/defaultBackend")
        .filter(|value| !value.is_null())
    {
        self::backend(backend, "spec.defaultBackend", e);
    } else if rules.is_empty() {
        e.invalid(
            "spec",
            &new.get("spec").cloned().unwrap_or_default(),
            "either `defaultBackend` or `rules` must be specified",
        );
    }
    for (at, rule) in rules.iter().enumerate() {
        let path = format!("spec.rules[{at}]");
        let host = text_at(rule, "/host");
        if !host.is_empty() {
            let problems = if host.contains('*') {
                name::wildcard(host)
            } else {
                name::subdomain(host)
            };
            for problem in problems {
                e.invalid(&format!("{path}.host"), &host.into(), problem);
            }
        }
        let Some(http) = rule.get("http").filter(|http| !http.is_null()) else {
            continue;
        };
        let paths = items(http, "/paths");
        if paths.is_empty() {
            e.required(&format!("{path}.http.paths"), "");
        }
        for (at, one) in paths.iter().enumerate() {
            let path = format!("{path}.http.paths[{at}]");
            match one.get("pathType").and_then(Value::as_str) {
                None => e.required(&format!("{path}.pathType"), "pathType must be specified"),
                Some("Exact" | "Prefix") => {
                    let text = text_at(one, "/path");
                    if !text.starts_with('/') {
                        e.invalid(
                            &format!("{path}.path"),
                            &text.into(),
                            "must be an absolute path",
                        );
                    }
                }
                Some("ImplementationSpecific") => {}
                Some(other) => e.not_supported(
                    &format!("{path}.pathType"),
                    &other.into(),
                    &["Exact", "ImplementationSpecific", "Prefix"],
                ),
            }
            let empty = Value::Null;
            backend(
                one.get("backend").unwrap_or(&empty),
                &format!("{path}.backend"),
                e,
            );
        }
    }
}

fn backend(backend: &Value, path: &str, e: &mut Errors) {
    let Some(service) = backend.get("service").filter(|service| !service.is_null()) else {
        if backend.get("resource").is_none_or(Value::is_null) {
            e.required(path, "resource or service backend is required");
        }
        return;
    };
    let own = text_at(service, "/name");
    if own.is_empty() {
        e.required(&format!("{path}.service.name"), "");
    } else {
        for problem in name::label(own) {
            e.invalid(&format!("{path}.service.name"), &own.into(), problem);
        }
    }
    let number = service
        .pointer("/port/number")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let port = text_at(service, "/port/name");
    if number == 0 && port.is_empty() {
        e.required(path, "port name or number is required");
    } else if number != 0 && !port.is_empty() {
        e.invalid(
            path,
            &json!(null),
            "cannot set both port name & port number",
        );
    } else if number != 0 && !(1..=65535).contains(&number) {
        e.invalid(
            &format!("{path}.service.port.number"),
            &number.into(),
            "must be between 1 and 65535, inclusive",
        );
    }
}

/// Network policies.
pub fn network_policy(new: &Value, e: &mut Errors) {
    super::selector(new.pointer("/spec/podSelector"), "spec.podSelector", e);
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for (at, rule) in items(new, &format!("/spec/{direction}")).iter().enumerate() {
            for (number, peer) in items(rule, &format!("/{peers}")).iter().enumerate() {
                self::peer(
                    peer,
                    &format!("spec.{direction}[{at}].{peers}[{number}]"),
                    e,
                );
            }
        }
    }
    let types = items(new, "/spec/policyTypes");
    if types.len() > 2 {
        e.invalid(
            "spec.policyTypes",
            &json!(types),
            "may not specify more than two policyTypes",
        );
        return;
    }
    for (at, kind) in types.iter().enumerate() {
        e.one_of(
            &format!("spec.policyTypes[{at}]"),
            Some(kind),
            &["Ingress", "Egress"],
        );
    }
}

fn peer(peer: &Value, path: &str, e: &mut Errors) {
    let set = |key: &str| peer.get(key).is_some_and(|value| !value.is_null());
    let mut peers = 0;
    for key in ["podSelector", "namespaceSelector"] {
        if set(key) {
            peers += 1;
            super::selector(peer.get(key), &format!("{path}.{key}"), e);
        }
    }
    if let Some(block) = peer.get("ipBlock").filter(|block| !block.is_null()) {
        let range = text_at(block, "/cidr");
        if range.is_empty() {
            e.required(&format!("{path}.ipBlock.cidr"), "");
        } else {
            for problem in name::cidr(range) {
                e.invalid(&format!("{path}.ipBlock.cidr"), &range.into(), problem);
            }
        }
        for (at, except) in items(block, "/except").iter().enumerate() {
            let text = except.as_str().unwrap_or_default();
            let path = format!("{path}.ipBlock.except[{at}]");
            let problems = name::cidr(text);
            if problems.is_empty() && !strict_subset(text, range) {
                e.invalid(&path, except, "must be a strict subset of `cidr`");
            }
            for problem in problems {
                e.invalid(&path, except, problem);
            }
        }
        if peers > 0 {
            e.forbidden(path, "may not specify both ipBlock and another peer");
        }
        peers += 1;
    }
    if peers == 0 {
        e.required(path, "must specify a peer");
    }
}

fn strict_subset(inner: &str, outer: &str) -> bool {
    let parse = |text: &str| -> Option<(u128, u32, u32)> {
        let (address, bits) = text.split_once('/')?;
        let bits: u32 = bits.parse().ok()?;
        Some(match address.parse::<IpAddr>().ok()? {
            IpAddr::V4(ip) => (u128::from(u32::from(ip)), bits, 32),
            IpAddr::V6(ip) => (u128::from(ip), bits, 128),
        })
    };
    let (Some((small, inner_bits, width)), Some((big, outer_bits, other))) =
        (parse(inner), parse(outer))
    else {
        return false;
    };
    let shift = width.saturating_sub(outer_bits);
    let same = if shift >= 128 {
        true
    } else {
        small >> shift == big >> shift
    };
    width == other && inner_bits > outer_bits && same
}

/// Ingress classes.
pub fn ingress_class(old: Option<&Value>, new: &Value, e: &mut Errors) {
    let controller = text_at(new, "/spec/controller");
    if controller.is_empty() {
        e.required("spec.controller", "");
    } else if !controller
        .split_once('/')
        .is_some_and(|(domain, path)| name::subdomain(domain).is_empty() && !path.is_empty())
    {
        e.invalid(
            "spec.controller",
            &controller.into(),
            "must be a domain-prefixed path (such as \"acme.io/foo\")",
        );
    }
    if let Some(old) = old {
        e.immutable(
            "spec.controller",
            old.pointer("/spec/controller"),
            new.pointer("/spec/controller"),
        );
    }
}

/// Service CIDRs.
pub fn service_cidr(new: &Value, e: &mut Errors) {
    let all = items(new, "/spec/cidrs");
    if all.is_empty() {
        e.required("spec.cidrs", "at least one CIDR required");
    }
    for (at, range) in all.iter().enumerate() {
        for problem in name::cidr(range.as_str().unwrap_or_default()) {
            e.invalid(&format!("spec.cidrs[{at}]"), range, problem);
        }
    }
}

/// Endpoint slices.
pub fn endpoint_slice(old: Option<&Value>, new: &Value, e: &mut Errors) {
    match text_at(new, "/addressType") {
        "" => e.required("addressType", ""),
        "FQDN" | "IPv4" | "IPv6" => {}
        other => e.not_supported("addressType", &other.into(), &["FQDN", "IPv4", "IPv6"]),
    }
    if let Some(old) = old {
        e.immutable(
            "addressType",
            old.get("addressType"),
            new.get("addressType"),
        );
    }
}
