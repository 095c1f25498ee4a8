//! The kubelet's dealings with the API server, for pods that are not static: it makes their containers
//! "run", ends them, and reports itself. No image is pulled and nothing is executed.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

mod ephemeral;

use super::actor::{Actor, api_is_up};
use super::informers::{self, Trigger};
use super::lease::renew_node;
use super::object::{is_deleting, name, namespace, now, uid};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::machine::Machine;
use crate::node::embedded::pace::Pace;
use crate::node::embedded::store::Stored;

/// How often the node's lease is renewed.
const LEASE: Duration = Duration::from_secs(10);
/// The node's status is reported every so many leases (five minutes).
const STATUS_EVERY: u64 = 30;

/// The agent of one node.
struct Agent {
    machine: Arc<Machine>,
    actor: Actor,
    node: String,
    /// Number of the node: its pods' network.
    number: u8,
    /// Pods that are being started or ended by a task of their own.
    busy: Arc<std::sync::Mutex<HashSet<String>>>,
}

/// Runs as long as the node.
pub async fn run(machine: Arc<Machine>, node: String, number: u8) {
    let user = format!("system:node:{node}");
    let actor = Actor::component(&machine, &user, &["system:nodes"], "kubelet", "");
    let agent = Arc::new(Agent {
        actor,
        node,
        number,
        busy: Arc::default(),
        machine: machine.clone(),
    });
    let kubelet = Arc::new(agent.actor.clone());
    let trigger = Trigger {
        prefix: Some("/registry/core/pods/"),
        forgets: false,
    };
    let watches = informers::run(machine.clone(), trigger, || {
        informers::node(&machine, &kubelet, &agent.node)
    });
    tokio::join!(watches, work(machine.clone(), agent.clone()));
}

async fn work(machine: Arc<Machine>, agent: Arc<Agent>) {
    loop {
        api_is_up(&machine).await;
        let from = machine.store.revision();
        let Ok(mut changes) = machine.store.watch("/registry/core/pods/", from) else {
            continue;
        };
        agent.report().await;
        for pod in machine.store.list("/registry/core/pods/").0 {
            agent.look_at(&pod);
        }
        let mut served = machine.api.subscribe();
        served.mark_unchanged();
        let mut exits = machine.containers.exits();
        let mut interval = tokio::time::interval(LEASE);
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        interval.tick().await;
        let mut ticks: u64 = 0;
        loop {
            tokio::select! {
                _ = served.changed() => break,
                _ = interval.tick() => {
                    ticks += 1;
                    renew_node(&agent.actor, &agent.node).await;
                    if ticks.is_multiple_of(STATUS_EVERY) {
                        agent.heartbeat().await;
                    }
                }
                exit = exits.recv() => {
                    if let Ok(exit) = exit {
                        agent.exited(&exit).await;
                    }
                }
                change = changes.next() => {
                    let Some(Ok(change)) = change else { break };
                    if let Some(pod) = machine.store.get(&change.key) {
                        agent.look_at(&pod);
                    }
                }
            }
        }
    }
}

impl Agent {
    fn wait(&self, real: Duration) -> Duration {
        self.machine.pace.scale(real)
    }

    /// Says that the node is there, at start.
    async fn report(&self) {
        renew_node(&self.actor, &self.node).await;
        self.heartbeat().await;
    }

    /// PATCH of the node's conditions.
    async fn heartbeat(&self) {
        let key = format!("/registry/core/nodes/{}", self.node);
        let Some(node) = self.machine.store.get(&key) else {
            return;
        };
        let conditions: Vec<Value> = items(&node.value, "/status/conditions")
            .iter()
            .map(|condition| json!({"type": text_at(condition, "/type"), "lastHeartbeatTime": now()}))
            .collect();
        let patch = json!({"status": {"conditions": conditions}});
        let path = format!("/api/v1/nodes/{}/status?timeout=10s", self.node);
        let _ = self.actor.patch(&path, patch).await;
    }

    /// Does what a pod needs, in a task of its own.
    fn look_at(self: &Arc<Self>, pod: &Stored) {
        let value = &pod.value;
        if text_at(value, "/spec/nodeName") != self.node {
            return;
        }
        let mirror = value
            .pointer("/metadata/annotations/kubernetes.io~1config.mirror")
            .is_some();
        let deleting = is_deleting(value);
        let starts = text_at(value, "/status/phase") == "Pending" && !deleting && !mirror;
        if !starts && !deleting {
            if text_at(value, "/status/phase") == "Running"
                && !ephemeral::unstarted(value).is_empty()
            {
                self.start_ephemeral(pod);
            }
            return;
        }
        let Ok(mut busy) = self.busy.lock() else {
            return;
        };
        if !busy.insert(format!("{}{deleting}", uid(value))) {
            return;
        }
        drop(busy);
        let (agent, pod) = (Arc::clone(self), pod.clone());
        tokio::spawn(async move {
            if deleting {
                agent.end(&pod).await;
            } else {
                agent.start(&pod).await;
            }
            if let Ok(mut busy) = agent.busy.lock() {
                busy.remove(&format!("{}{deleting}", uid(&pod.value)));
            }
        });
    }

    fn status_path(pod: &Value) -> String {
        format!(
            "/api/v1/namespaces/{}/pods/{}/status",
            namespace(pod),
            name(pod)
        )
    }

    async fn event(&self, pod: &Stored, warning: bool, reason: &str, message: &str) {
        let mut value = pod.value.as_ref().clone();
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.insert("resourceVersion".into(), pod.revision.to_string().into());
        }
        self.actor
            .event(&value, "v1", "Pod", warning, reason, message, "kubelet")
            .await;
    }

    /// What keeps the pod from starting: volumes that are not there.
    fn missing_volume(&self, pod: &Value) -> Option<String> {
        items(pod, "/spec/volumes").iter().find_map(|volume| {
            let (plural, name, optional) = if let Some(secret) = volume.get("secret") {
                (
                    "secrets",
                    text_at(secret, "/secretName"),
                    secret.get("optional"),
                )
            } else if let Some(map) = volume.get("configMap") {
                ("configmaps", text_at(map, "/name"), map.get("optional"))
            } else {
                return None;
            };
            let key = format!("/registry/core/{plural}/{}/{name}", namespace(pod));
            if optional == Some(&Value::Bool(true)) || self.machine.store.get(&key).is_some() {
                return None;
            }
            let kind = plural.trim_end_matches('s');
            Some(format!(
                "MountVolume.SetUp failed for volume \"{}\" : {kind} \"{name}\" not found",
                text_at(volume, "/name")
            ))
        })
    }

    /// Takes the pod from Pending to Running (or to its end).
    async fn start(&self, pod: &Stored) {
        let value = pod.value.as_ref();
        if let Some(message) = self.missing_volume(value) {
            self.event(pod, true, "FailedMount", &message).await;
            // The real kubelet looks again, ever less often; here the objects are asked for until there.
            loop {
                tokio::time::sleep(Duration::from_secs(2)).await;
                match self.machine.store.get(&pod.key) {
                    Some(now) if !is_deleting(&now.value) => {}
                    _ => return,
                }
                if self.missing_volume(value).is_none() {
                    break;
                }
            }
        }
        tokio::time::sleep(self.wait(Duration::from_millis(1200))).await;
        let Some(current) = self.machine.store.get(&pod.key) else {
            return;
        };
        if is_deleting(&current.value) || uid(&current.value) != uid(value) {
            return;
        }
        let ip = self.address(value);
        let started = now();
        let mut statuses = Vec::new();
        let mut running = false;
        let mut longest: Option<u64> = None;
        let mut code = 0;
        for container in items(value, "/spec/containers") {
            let image = text_at(container, "/image");
            let text = format!(
                "Container image \"{image}\" already present on machine and can be accessed by the pod"
            );
            self.event(pod, false, "Pulled", &text).await;
            self.event(pod, false, "Created", "Container created").await;
            self.event(pod, false, "Started", "Container started").await;
            match life(container) {
                Life::Ends { seconds, code: own } => {
                    longest = Some(longest.unwrap_or(0).max(seconds));
                    code = code.max(own);
                }
                Life::Serves => running = true,
            }
            statuses.push(container_status(
                container,
                json!({"running": {"startedAt": started}}),
                true,
            ));
        }
        let inits: Vec<Value> = items(value, "/spec/initContainers")
            .iter()
            .map(|container| {
                let state = json!({"terminated": {"exitCode": 0, "reason": "Completed",
                    "startedAt": started, "finishedAt": started}});
                container_status(container, state, true)
            })
            .collect();
        let mut status = json!({
            "phase": "Running",
            "conditions": conditions(true, ""),
            "hostIP": self.host_address(), "hostIPs": [{"ip": self.host_address()}],
            "podIP": ip, "podIPs": [{"ip": ip}],
            "startTime": started,
            "containerStatuses": statuses,
        });
        if let Some(fields) = status.as_object_mut()
            && !inits.is_empty()
        {
            fields.insert("initContainerStatuses".into(), inits.into());
        }
        let _ = self
            .actor
            .patch(
                &Self::status_path(value),
                json!({"metadata": {"uid": uid(value)}, "status": status}),
            )
            .await;
        if running {
            return;
        }
        if let Some(seconds) = longest {
            let real = Duration::from_secs(seconds.max(1));
            let wait = match self.machine.pace {
                Pace::Real => real,
                Pace::Fast => self.wait(real).min(Duration::from_secs(2)),
            };
            tokio::time::sleep(wait).await;
            self.finish(pod, &started, code).await;
        }
    }

    /// The containers ended by themselves.
    async fn finish(&self, pod: &Stored, started: &str, code: i64) {
        let Some(current) = self.machine.store.get(&pod.key) else {
            return;
        };
        if is_deleting(&current.value) || uid(&current.value) != uid(&pod.value) {
            return;
        }
        let value = current.value.as_ref();
        let policy = text_at(value, "/spec/restartPolicy");
        let over = policy == "Never" || policy == "OnFailure" && code == 0;
        let reason = if code == 0 { "Completed" } else { "Error" };
        let known = items(value, "/status/containerStatuses");
        let statuses: Vec<Value> = items(value, "/spec/containers")
            .iter()
            .map(|container| {
                let own = text_at(container, "/name");
                let id = known
                    .iter()
                    .find(|status| text_at(status, "/name") == own)
                    .map_or("", |status| text_at(status, "/containerID"));
                let ended = json!({"terminated": {"exitCode": code, "reason": reason,
                    "startedAt": started, "finishedAt": now(), "containerID": id}});
                let mut status = if over {
                    container_status(container, ended, false)
                } else {
                    let message = format!(
                        "back-off 10s restarting failed container={} pod={}_{}({})",
                        text_at(container, "/name"),
                        name(value),
                        namespace(value),
                        uid(value)
                    );
                    let mut status = container_status(
                        container,
                        json!({"waiting": {"reason": "CrashLoopBackOff", "message": message}}),
                        false,
                    );
                    if let Some(fields) = status.as_object_mut() {
                        fields.insert("lastState".into(), ended);
                        fields.insert("restartCount".into(), 1.into());
                    }
                    status
                };
                if let Some(fields) = status.as_object_mut() {
                    fields.insert("containerID".into(), id.into());
                }
                status
            })
            .collect();
        let phase = match (over, code) {
            (false, _) => "Running",
            (true, 0) => "Succeeded",
            (true, _) => "Failed",
        };
        let why = if phase == "Succeeded" {
            "PodCompleted"
        } else {
            "ContainersNotReady"
        };
        let status = json!({"phase": phase, "conditions": conditions(false, why), "containerStatuses": statuses});
        let _ = self
            .actor
            .patch(&Self::status_path(value), json!({"status": status}))
            .await;
        if !over {
            let first = items(value, "/spec/containers")
                .first()
                .map_or("", |c| text_at(c, "/name"));
            let text = format!(
                "Back-off restarting failed container {first} in pod {}_{}({})",
                name(value),
                namespace(value),
                uid(value)
            );
            self.event(&current, true, "BackOff", &text).await;
        }
    }

    /// Ends the pod and takes it away.
    async fn end(&self, pod: &Stored) {
        let value = pod.value.as_ref();
        let mirror = value
            .pointer("/metadata/annotations/kubernetes.io~1config.mirror")
            .is_some();
        if !mirror && text_at(value, "/status/phase") == "Running" {
            for _ in items(value, "/spec/containers") {
                self.event(pod, false, "Killing", "Stopping container")
                    .await;
            }
            let grace = value
                .pointer("/metadata/deletionGracePeriodSeconds")
                .and_then(Value::as_u64)
                .unwrap_or(30);
            // Servers end at once when asked to; a shell that sleeps is killed when its time is over.
            let obeys = items(value, "/spec/containers")
                .iter()
                .all(|container| items(container, "/command").is_empty());
            let real = if obeys {
                Duration::from_secs(1)
            } else {
                Duration::from_secs(grace)
            };
            tokio::time::sleep(self.wait(real)).await;
            let ended = |container: &Value| {
                container_status(
                    container,
                    json!({"terminated": {"exitCode": if obeys { 0 } else { 137 },
                        "reason": if obeys { "Completed" } else { "Error" },
                        "startedAt": text_at(value, "/status/startTime"), "finishedAt": now()}}),
                    false,
                )
            };
            let statuses: Vec<Value> = items(value, "/spec/containers").iter().map(ended).collect();
            let status = json!({"phase": if obeys { "Succeeded" } else { "Failed" },
                "conditions": conditions(false, "PodCompleted"), "containerStatuses": statuses});
            let _ = self
                .actor
                .patch(&Self::status_path(value), json!({"status": status}))
                .await;
        }
        let options = json!({"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
            "preconditions": {"uid": uid(value)}});
        let path = format!(
            "/api/v1/namespaces/{}/pods/{}",
            namespace(value),
            name(value)
        );
        for _ in 0..5 {
            match self.actor.delete(&path, Some(options.clone())).await {
                Some((code, _)) if code < 500 => return,
                _ => tokio::time::sleep(Duration::from_millis(500)).await,
            }
        }
    }

    fn host_address(&self) -> String {
        let key = format!("/registry/core/nodes/{}", self.node);
        self.machine
            .store
            .get(&key)
            .and_then(|node| {
                items(&node.value, "/status/addresses")
                    .iter()
                    .find(|address| text_at(address, "/type") == "InternalIP")
                    .map(|address| text_at(address, "/address").to_owned())
            })
            .unwrap_or_else(|| self.machine.node_ip.clone())
    }

    /// An address of the node's pod network that no pod has.
    fn address(&self, pod: &Value) -> String {
        if pod.pointer("/spec/hostNetwork") == Some(&Value::Bool(true)) {
            return self.host_address();
        }
        let taken: HashSet<String> = self
            .machine
            .store
            .list("/registry/core/pods/")
            .0
            .iter()
            .map(|pod| text_at(&pod.value, "/status/podIP").to_owned())
            .collect();
        // The uid spreads pods that start at the same time.
        let start = uid(pod).bytes().fold(0_u32, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u32::from(byte))
        }) % 250;
        (0..250)
            .map(|step| format!("10.244.{}.{}", self.number, 4 + (start + step) % 250))
            .find(|ip| !taken.contains(ip))
            .unwrap_or_else(|| format!("10.244.{}.254", self.number))
    }
}

/// How a container lives.
enum Life {
    /// It serves until it is told to end.
    Serves,
    /// It ends by itself.
    Ends {
        /// After this long.
        seconds: u64,
        /// With this exit code.
        code: i64,
    },
}

/// Guesses from image and command.
fn life(container: &Value) -> Life {
    let words: Vec<&str> = items(container, "/command")
        .iter()
        .chain(items(container, "/args"))
        .filter_map(Value::as_str)
        .collect();
    let image = text_at(container, "/image");
    let base = image.rsplit('/').next().unwrap_or(image);
    let base = base.split([':', '@']).next().unwrap_or(base);
    if words.is_empty() {
        // These images start a shell, which ends without a terminal.
        let shell = matches!(
            base,
            "busybox" | "alpine" | "ubuntu" | "debian" | "bash" | "hello-world"
        );
        let waits = container.get("stdin") == Some(&Value::Bool(true));
        return if shell && !waits {
            Life::Ends {
                seconds: 1,
                code: 0,
            }
        } else {
            Life::Serves
        };
    }
    if container.get("stdin") == Some(&Value::Bool(true)) && reads(&words) {
        return Life::Serves;
    }
    let text = words.join(" ");
    let forever = [
        "while true",
        "while :",
        "infinity",
        "tail -f",
        "sleep 1d",
        "sleep 1h",
        "nginx",
        "server",
        "httpd",
        "daemon off",
    ];
    if forever.iter().any(|pattern| text.contains(pattern)) {
        return Life::Serves;
    }
    let ends = [
        "sh", "bash", "ash", "echo", "sleep", "date", "perl", "true", "false", "env", "printenv",
        "cat", "ls", "curl", "wget", "kubectl",
    ];
    let program = words
        .first()
        .and_then(|word| word.rsplit('/').next())
        .unwrap_or_default();
    if !ends.contains(&program) {
        return Life::Serves;
    }
    let seconds = text
        .split("sleep ")
        .skip(1)
        .filter_map(|rest| {
            let number: String = rest.chars().take_while(char::is_ascii_digit).collect();
            number.parse::<u64>().ok()
        })
        .sum::<u64>();
    let code = exit_code(&text).unwrap_or(i64::from(program == "false"));
    if seconds >= 600 {
        Life::Serves
    } else {
        Life::Ends { seconds, code }
    }
}

/// Whether a program goes on for as long as its open input does; what is typed there says how it ends.
fn reads(words: &[&str]) -> bool {
    let Some((program, rest)) = words.split_first() else {
        return false;
    };
    let is_flag = |word: &&str| word.starts_with('-') && !word.contains('c');
    match program.rsplit('/').next().unwrap_or_default() {
        "sh" | "bash" | "ash" | "dash" => rest.iter().all(is_flag),
        "cat" => rest.is_empty(),
        _ => false,
    }
}

/// The exit code that a script ends with, if its last command says one.
fn exit_code(script: &str) -> Option<i64> {
    let (before, code) = script.trim_end().rsplit_once(' ')?;
    let before = before.trim_end().strip_suffix("exit")?;
    let is_command =
        before.ends_with(char::is_whitespace) || before.ends_with([';', '&', '|', '{']);
    let code: u8 = code.parse().ok().filter(|_| is_command)?;
    Some(i64::from(code))
}

fn container_status(container: &Value, state: Value, ready: bool) -> Value {
    let image = text_at(container, "/image");
    let image = if image.contains('/') {
        image.to_owned()
    } else {
        format!("docker.io/library/{image}")
    };
    let running = state.get("running").is_some();
    json!({
        "name": text_at(container, "/name"),
        "state": state, "lastState": {}, "ready": ready, "restartCount": 0,
        "image": image,
        "imageID": format!("{image}@sha256:{}", digest(&image)),
        "containerID": format!("containerd://{}", digest(&format!("{}{}", uuid::Uuid::new_v4(), text_at(container, "/name")))),
        "started": running,
    })
}

fn digest(text: &str) -> String {
    use sha2::Digest as _;
    sha2::Sha256::digest(text)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn conditions(ready: bool, reason: &str) -> Value {
    let time = now();
    let all: Vec<Value> = [
        "PodReadyToStartContainers",
        "Initialized",
        "Ready",
        "ContainersReady",
    ]
    .iter()
    .map(|kind| {
        let always = *kind == "Initialized";
        let on = ready || always;
        let mut condition = json!({"type": kind, "status": if on { "True" } else { "False" },
                "lastProbeTime": null, "lastTransitionTime": time});
        if !on
            && !reason.is_empty()
            && *kind != "PodReadyToStartContainers"
            && let Some(fields) = condition.as_object_mut()
        {
            fields.insert("reason".into(), reason.into());
        }
        condition
    })
    .collect();
    all.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_with_an_open_input_waits_for_it() {
        let serves = |command: Value, stdin: bool| {
            let container = json!({"image": "busybox", "command": command, "stdin": stdin});
            matches!(life(&container), Life::Serves)
        };
        assert!(serves(json!(["sh"]), true));
        assert!(serves(json!(["/bin/bash", "-i"]), true));
        assert!(!serves(json!(["sh"]), false));
        assert!(!serves(json!(["sh", "-c", "exit 3"]), true));
        assert!(!serves(json!(["echo", "a"]), true));
    }

    #[test]
    fn a_script_ends_with_what_it_says_last() {
        for (script, code) in [
            ("sh -c echo out; exit 4", Some(4)),
            ("sh -c exit 0", Some(0)),
            ("sh -c exit 300", None),
            ("sh -c echo noexit 3", None),
            ("sh -c date", None),
        ] {
            assert_eq!(exit_code(script), code, "{script}");
        }
    }
}
