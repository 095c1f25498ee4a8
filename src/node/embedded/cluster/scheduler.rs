//! kube-scheduler: finds a node for every pod that has none.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde_json::{Value, json};

use super::actor::{Actor, api_is_up, succeeded};
use super::informers::{self, Trigger};
use super::lease::{Leadership, RENEW};
use super::object::{is_deleting, name, namespace, uid};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::kinds::selector::fulfils;
use crate::node::embedded::machine::Machine;
use crate::node::embedded::process::{Process, Program};
use crate::node::embedded::store::Stored;
use crate::node::embedded::version::KUBERNETES;

/// The scheduler of the control-plane node.
pub struct KubeScheduler {
    machine: Arc<Machine>,
}

impl KubeScheduler {
    /// The program, on this machine.
    #[must_use]
    pub fn new(machine: Arc<Machine>) -> Self {
        Self { machine }
    }
}

impl Program for KubeScheduler {
    fn run(&self, process: Process) -> Pin<Box<dyn Future<Output = i32> + Send>> {
        let machine = self.machine.clone();
        Box::pin(async move {
            let output = process.output.clone();
            let terminate = process.terminate.clone();
            let log = |place: &str, text: &str| {
                output.stderr(&super::controllers::klog('I', place, text, process.pid));
            };
            log(
                "server.go:159",
                &format!("\"Starting Kubernetes Scheduler\" version=\"{KUBERNETES}\""),
            );
            let client = |suffix: &str| Arc::new(client(&machine, suffix));
            let (program, scheduler) = (client(""), client("scheduler"));
            let trigger = Trigger {
                prefix: None,
                forgets: false,
            };
            let watches = informers::run(machine.clone(), trigger, || {
                informers::scheduler(&program, &scheduler, &process.argv)
            });
            tokio::select! {
                () = terminate.cancelled() => 0,
                () = watches => 0,
                () = work(machine.clone(), &log) => 0,
            }
        })
    }
}

fn client(machine: &Arc<Machine>, suffix: &str) -> Actor {
    Actor::component(
        machine,
        "system:kube-scheduler",
        &[],
        "kube-scheduler",
        suffix,
    )
}

async fn work(machine: Arc<Machine>, log: &(dyn Fn(&str, &str) + Sync)) {
    let component = |suffix: &str| client(&machine, suffix);
    let mut leadership = Leadership::new(component("leader-election"), "kube-scheduler");
    let actor = component("scheduler");
    let mut leads = false;
    loop {
        api_is_up(&machine).await;
        let from = machine.store.revision();
        let Ok(mut changes) = machine.store.watch("/registry/core/", from) else {
            continue;
        };
        if leadership.renew().await.is_none() {
            tokio::time::sleep(RENEW).await;
            continue;
        }
        if !leads {
            leads = true;
            log(
                "leaderelection.go:271",
                "\"Successfully acquired lease\" lock=\"kube-system/kube-scheduler\"",
            );
        }
        schedule_all(&machine, &actor).await;
        let mut interval = tokio::time::interval(RENEW);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        interval.tick().await;
        loop {
            tokio::select! {
                _ = interval.tick() => {
                    if leadership.renew().await.is_none() {
                        break;
                    }
                }
                change = changes.next() => {
                    let Some(Ok(change)) = change else { break };
                    if change.key.starts_with("/registry/core/pods/") {
                        let pending = change.after.as_deref().is_some_and(is_pending);
                        // A pod that went makes room, but rooms are not counted here.
                        if pending && machine.store.get(&change.key).is_some_and(|pod| is_pending(&pod.value))
                            && let Some(pod) = machine.store.get(&change.key)
                        {
                            schedule(&machine, &actor, &pod).await;
                        }
                    } else if change.key.starts_with("/registry/core/nodes/") && node_matters(&change.before, &change.after) {
                        schedule_all(&machine, &actor).await;
                    }
                }
            }
        }
    }
}

/// Whether what scheduling looks at changed.
fn node_matters(before: &Option<Arc<Value>>, after: &Option<Arc<Value>>) -> bool {
    let part = |node: &Option<Arc<Value>>| {
        node.as_ref().map(|node| {
            (
                node.get("spec").cloned(),
                node.pointer("/metadata/labels").cloned(),
            )
        })
    };
    part(before) != part(after)
}

fn is_pending(pod: &Value) -> bool {
    text_at(pod, "/spec/nodeName").is_empty()
        && !is_deleting(pod)
        && text_at(pod, "/spec/schedulerName") == "default-scheduler"
        && items(pod, "/spec/schedulingGates").is_empty()
        && !matches!(text_at(pod, "/status/phase"), "Succeeded" | "Failed")
}

async fn schedule_all(machine: &Arc<Machine>, actor: &Actor) {
    for pod in machine.store.list("/registry/core/pods/").0 {
        if is_pending(&pod.value) {
            schedule(machine, actor, &pod).await;
        }
    }
}

async fn schedule(machine: &Arc<Machine>, actor: &Actor, pod: &Stored) {
    let mut pod_value = pod.value.as_ref().clone();
    if let Some(metadata) = pod_value.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".into(), pod.revision.to_string().into());
    }
    let pod = &pod_value;
    let nodes = machine.store.list("/registry/core/nodes/").0;
    let pods = machine.store.list("/registry/core/pods/").0;
    let mut reasons: BTreeMap<String, usize> = BTreeMap::new();
    let mut fitting: Vec<(usize, &str)> = Vec::new();
    for node in &nodes {
        match unfit(pod, &node.value) {
            Some(reason) => *reasons.entry(reason).or_default() += 1,
            None => {
                let load = pods
                    .iter()
                    .filter(|other| text_at(&other.value, "/spec/nodeName") == name(&node.value))
                    .count();
                fitting.push((load, name(&node.value)));
            }
        }
    }
    let (space, pod_name) = (namespace(pod), name(pod));
    match fitting.into_iter().min() {
        Some((_, node)) => {
            let binding = json!({"kind": "Binding", "apiVersion": "v1",
                "metadata": {"name": pod_name, "namespace": space, "uid": uid(pod)},
                "target": {"kind": "Node", "name": node}});
            let path = format!("/api/v1/namespaces/{space}/pods/{pod_name}/binding");
            if succeeded(&actor.create(&path, binding).await) {
                let note = format!("Successfully assigned {space}/{pod_name} to {node}");
                actor
                    .new_event(pod, "Pod", false, "Scheduled", "Binding", &note)
                    .await;
            }
        }
        None => {
            let mut parts: Vec<String> = reasons
                .iter()
                .map(|(reason, count)| format!("{count} {reason}"))
                .collect();
            parts.sort();
            let message = if nodes.is_empty() {
                "no nodes available to schedule pods".to_owned()
            } else {
                format!(
                    "0/{} nodes are available: {}. no new claims to deallocate, preemption: 0/{} nodes are available: {} Preemption is not helpful for scheduling.",
                    nodes.len(),
                    parts.join(", "),
                    nodes.len(),
                    nodes.len()
                )
            };
            let known = items(pod, "/status/conditions").iter().any(|condition| {
                text_at(condition, "/type") == "PodScheduled"
                    && text_at(condition, "/message") == message
            });
            if known {
                return;
            }
            let generation = pod
                .pointer("/metadata/generation")
                .cloned()
                .unwrap_or_default();
            let patch = json!({"status": {"conditions": [{"type": "PodScheduled",
                "observedGeneration": generation, "status": "False",
                "reason": "Unschedulable", "message": message, "lastProbeTime": null,
                "lastTransitionTime": super::object::now()}]}});
            let path = format!("/api/v1/namespaces/{space}/pods/{pod_name}/status");
            let _ = actor.patch(&path, patch).await;
            actor
                .new_event(pod, "Pod", true, "FailedScheduling", "Scheduling", &message)
                .await;
        }
    }
}

/// Why the pod cannot run on the node, as the scheduler's message says it.
#[must_use]
pub fn unfit(pod: &Value, node: &Value) -> Option<String> {
    if node.pointer("/spec/unschedulable") == Some(&Value::Bool(true))
        && !tolerates(
            pod,
            &json!({"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}),
        )
    {
        return Some("node(s) were unschedulable".to_owned());
    }
    for taint in items(node, "/spec/taints") {
        if matches!(text_at(taint, "/effect"), "NoSchedule" | "NoExecute") && !tolerates(pod, taint)
        {
            return Some("node(s) had untolerated taint(s)".to_owned());
        }
    }
    if !selects(pod, node) {
        return Some("node(s) didn't match Pod's node affinity/selector".to_owned());
    }
    None
}

/// Whether a toleration of the pod covers the taint.
#[must_use]
pub fn tolerates(pod: &Value, taint: &Value) -> bool {
    items(pod, "/spec/tolerations").iter().any(|toleration| {
        let (key, effect) = (text_at(toleration, "/key"), text_at(toleration, "/effect"));
        if !effect.is_empty() && effect != text_at(taint, "/effect") {
            return false;
        }
        if !key.is_empty() && key != text_at(taint, "/key") {
            return false;
        }
        match text_at(toleration, "/operator") {
            "Exists" => true,
            _ => !key.is_empty() && text_at(toleration, "/value") == text_at(taint, "/value"),
        }
    })
}

fn selects(pod: &Value, node: &Value) -> bool {
    let labels = node.pointer("/metadata/labels");
    let label = |key: &str| {
        labels
            .and_then(|labels| labels.get(key))
            .and_then(Value::as_str)
    };
    let plain = pod
        .pointer("/spec/nodeSelector")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .all(|(key, value)| label(key) == value.as_str());
    let terms = items(
        pod,
        "/spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution/nodeSelectorTerms",
    );
    plain
        && (terms.is_empty()
            || terms.iter().any(|term| {
                items(term, "/matchExpressions")
                    .iter()
                    .all(|expression| fulfils(expression, label(text_at(expression, "/key"))))
                    && items(term, "/matchFields")
                        .iter()
                        .all(|expression| fulfils(expression, Some(name(node))))
            }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints_keep_pods_away_unless_tolerated() {
        let node = json!({"metadata": {"name": "controlplane"},
            "spec": {"taints": [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]}});
        assert!(unfit(&json!({"spec": {}}), &node).is_some());
        let pod = json!({"spec": {"tolerations": [{"operator": "Exists"}]}});
        assert_eq!(unfit(&pod, &node), None);
    }
}
