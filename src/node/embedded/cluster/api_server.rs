//! What the API server does with itself over its loopback connection: its identity lease, the endpoints of
//! the service `kubernetes`, the OpenAPI documents it aggregates.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::actor::{Actor, api_is_up};
use super::informers::{self, Trigger};
use super::object::now_micro;
use crate::node::embedded::machine::Machine;

/// How often the identity lease is renewed and the endpoints are looked at.
const INTERVAL: Duration = Duration::from_secs(10);

/// Runs as long as the node.
pub async fn run(machine: Arc<Machine>) {
    let actor = Arc::new(Actor::api_server(&machine));
    let trigger = Trigger {
        prefix: None,
        forgets: true,
    };
    let watches = informers::run(machine.clone(), trigger, || informers::api_server(&actor));
    tokio::join!(watches, work(machine.clone()));
}

async fn work(machine: Arc<Machine>) {
    loop {
        api_is_up(&machine).await;
        let actor = Actor::api_server(&machine);
        let mut served = machine.api.subscribe();
        served.mark_unchanged();
        let mut ticks: u64 = 0;
        let mut interval = tokio::time::interval(INTERVAL / 2);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        interval.tick().await;
        let from = machine.store.revision();
        let Ok(mut services) = machine.store.watch("/registry/core/services/", from) else {
            continue;
        };
        loop {
            tokio::select! {
                // Another API server has another identity.
                _ = served.changed() => break,
                _ = interval.tick() => {
                    ticks += 1;
                    let _ = actor.get("/openapi/v3").await;
                    if ticks.is_multiple_of(2) {
                        round(&machine, &actor).await;
                    }
                }
                change = services.next() => {
                    if !matches!(change, Some(Ok(_))) {
                        break;
                    }
                    record_addresses(&machine, &actor).await;
                }
            }
        }
    }
}

async fn round(machine: &Arc<Machine>, actor: &Actor) {
    let prefix = "/registry/coordination.k8s.io/leases/kube-system/apiserver-";
    if let Some(lease) = machine.store.list(prefix).0.into_iter().next() {
        let mut object = lease.value.as_ref().clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".into(), lease.revision.to_string().into());
        }
        if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
            spec.insert("renewTime".into(), now_micro().into());
        }
        let path = format!(
            "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/{}",
            super::object::name(&lease.value)
        );
        let _ = actor.update(&path, object).await;
    }
    let _ = actor
        .get("/api/v1/namespaces/default/endpoints/kubernetes")
        .await;
    let _ = actor
        .get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
        .await;
}

/// Every address of a service has an IPAddress object (`pkg/registry/core/service/ipallocator`).
async fn record_addresses(machine: &Arc<Machine>, actor: &Actor) {
    let (services, _) = machine.store.list("/registry/core/services/");
    let mut wanted = Vec::new();
    for service in &services {
        let ip = crate::node::embedded::apiserver::kinds::edit::text_at(
            &service.value,
            "/spec/clusterIP",
        );
        if ip.is_empty() || ip == "None" {
            continue;
        }
        wanted.push(ip.to_owned());
        let key = format!("/registry/networking.k8s.io/ipaddresses/{ip}");
        if machine.store.get(&key).is_some() {
            continue;
        }
        let object = json!({"kind": "IPAddress", "apiVersion": "networking.k8s.io/v1",
            "metadata": {"name": ip,
                "labels": {"ipaddress.kubernetes.io/ip-family": "IPv4",
                    "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"}},
            "spec": {"parentRef": {"resource": "services",
                "namespace": super::object::namespace(&service.value),
                "name": super::object::name(&service.value)}}});
        let _ = actor
            .create("/apis/networking.k8s.io/v1/ipaddresses", object)
            .await;
    }
    for address in machine
        .store
        .list("/registry/networking.k8s.io/ipaddresses/")
        .0
    {
        if !wanted
            .iter()
            .any(|ip| ip == super::object::name(&address.value))
        {
            let path = format!(
                "/apis/networking.k8s.io/v1/ipaddresses/{}",
                super::object::name(&address.value)
            );
            let _ = actor.delete(&path, None).await;
        }
    }
}
