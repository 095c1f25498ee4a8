//! Addresses and node ports of services (`pkg/registry/core/service/storage/alloc.go`).

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;

use rand::RngExt as _;
use serde_json::{Value, json};

use super::edit::{each, items, text};
use super::field::{FieldError, invalid_status};
use crate::node::embedded::apiserver::state::ApiState;
use crate::node::embedded::apiserver::status::Status;

/// Node ports are taken from here.
const NODE_PORTS: std::ops::RangeInclusive<i64> = 30_000..=32_767;

/// Gives a service what it needs and does not have yet.
///
/// # Errors
/// When what it asks for is taken or outside the range.
pub fn service(state: &Arc<ApiState>, object: &mut Value) -> Result<(), Status> {
    let name = super::edit::text_at(object, "/metadata/name").to_owned();
    let own = format!(
        "/registry/core/services/{}/{name}",
        super::edit::text_at(object, "/metadata/namespace")
    );
    let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) else {
        return Ok(());
    };
    let kind = text(spec, "type").to_owned();
    if kind == "ExternalName" || spec.get("ports").is_none() && kind.is_empty() {
        for key in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if kind == "ExternalName" && text(spec, "clusterIP") != "None" {
                spec.shift_remove(key);
            }
        }
        return Ok(());
    }
    super::edit::default(spec, "ipFamilies", json!(["IPv4"]));
    super::edit::default(spec, "ipFamilyPolicy", "SingleStack");
    let (mut addresses, mut ports) = (HashSet::new(), HashSet::new());
    let (services, _) = state.store.list("/registry/core/services/");
    for service in services.iter().filter(|service| service.key != own) {
        for ip in items(&service.value, "/spec/clusterIPs") {
            addresses.insert(ip.as_str().unwrap_or_default().to_owned());
        }
        for port in items(&service.value, "/spec/ports") {
            ports.extend(port.get("nodePort").and_then(Value::as_i64));
        }
    }
    match text(spec, "clusterIP").to_owned().as_str() {
        "None" => {
            spec.insert("clusterIPs".into(), json!(["None"]));
        }
        "" => {
            if let Some(ip) = free_address(&addresses) {
                spec.insert("clusterIP".into(), ip.clone().into());
                spec.insert("clusterIPs".into(), json!([ip]));
            }
        }
        wanted => {
            let shown = json!([wanted]);
            if !in_range(wanted) {
                let error = FieldError::invalid(
                    "spec.clusterIPs",
                    &shown,
                    format!(
                        "failed to allocate IP {wanted}: the provided IP ({wanted}) is not in the valid range. The range of valid IPs is 10.96.0.0/12"
                    ),
                );
                return Err(invalid_status("", "Service", &name, &[error]));
            }
            if addresses.contains(wanted) {
                let error = FieldError::invalid(
                    "spec.clusterIPs",
                    &shown,
                    format!("failed to allocate IP {wanted}: provided IP is already allocated"),
                );
                return Err(invalid_status("", "Service", &name, &[error]));
            }
        }
    }
    let wants_ports = kind == "NodePort"
        || kind == "LoadBalancer"
            && spec.get("allocateLoadBalancerNodePorts") != Some(&Value::Bool(false));
    if wants_ports {
        let mut failed = None;
        let mut at = 0;
        each(spec, "ports", |port| {
            let wanted = port.get("nodePort").and_then(Value::as_i64).unwrap_or(0);
            if wanted == 0 {
                if let Some(free) = free_port(&ports) {
                    ports.insert(free);
                    port.insert("nodePort".into(), free.into());
                }
            } else if !NODE_PORTS.contains(&wanted) {
                failed.get_or_insert((at, wanted, "provided port is not in the valid range. The range of valid ports is 30000-32767"));
            } else if !ports.insert(wanted) {
                failed.get_or_insert((at, wanted, "provided port is already allocated"));
            }
            at += 1;
        });
        if let Some((at, port, detail)) = failed {
            let error =
                FieldError::invalid(format!("spec.ports[{at}].nodePort"), &port.into(), detail);
            return Err(invalid_status("", "Service", &name, &[error]));
        }
    } else {
        each(spec, "ports", |port| {
            port.shift_remove("nodePort");
        });
    }
    Ok(())
}

fn in_range(ip: &str) -> bool {
    ip.parse::<Ipv4Addr>()
        .is_ok_and(|ip| u32::from(ip) >> 20 == u32::from(Ipv4Addr::new(10, 96, 0, 0)) >> 20)
}

/// Addresses are given at random above the first 256, which are kept for fixed ones.
fn free_address(taken: &HashSet<String>) -> Option<String> {
    let base = u32::from(Ipv4Addr::new(10, 96, 0, 0));
    let mut random = rand::rng();
    (0..1000).find_map(|_| {
        let ip = Ipv4Addr::from(base + random.random_range(256..(1 << 20) - 1)).to_string();
        (!taken.contains(&ip)).then_some(ip)
    })
}

fn free_port(taken: &HashSet<i64>) -> Option<i64> {
    let mut random = rand::rng();
    (0..1000)
        .map(|_| random.random_range(30_086..=32_767))
        .find(|port| !taken.contains(port))
}
