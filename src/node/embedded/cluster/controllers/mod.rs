//! kube-controller-manager: one worker that follows every change and brings the cluster in line.

mod budget;
mod certificate;
mod claim;
mod cron_job;
mod daemon_set;
mod deployment;
mod endpoints;
mod garbage;
mod job;
mod namespace;
mod node;
mod quota;
mod replica_set;
mod role;
mod stateful_set;
mod token;

use std::collections::{HashMap, HashSet, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::actor::{Actor, api_is_up};
use super::informers::{self, Trigger};
use super::lease::{Leadership, RENEW};
use super::object::{controller_of, is_deleting, uid};
use crate::node::embedded::apiserver::kinds::edit::{items, text_at};
use crate::node::embedded::apiserver::kinds::selector;
use crate::node::embedded::machine::Machine;
use crate::node::embedded::process::{Process, Program};
use crate::node::embedded::store::{Change, Stored};
use crate::node::embedded::version::KUBERNETES;

/// Line of a component's log (`k8s.io/klog`).
#[must_use]
pub fn klog(level: char, place: &str, text: &str, pid: u32) -> String {
    let time = jiff::Timestamp::now().strftime("%m%d %H:%M:%S.%6f");
    format!("{level}{time} {pid:>7} {place}] {text}")
}

/// The controller manager of the control-plane node.
pub struct KubeControllerManager {
    machine: Arc<Machine>,
}

impl KubeControllerManager {
    /// The program, on this machine.
    #[must_use]
    pub fn new(machine: Arc<Machine>) -> Self {
        Self { machine }
    }
}

impl Program for KubeControllerManager {
    fn run(&self, process: Process) -> Pin<Box<dyn Future<Output = i32> + Send>> {
        let machine = self.machine.clone();
        Box::pin(async move {
            let output = process.output.clone();
            let terminate = process.terminate.clone();
            let log = move |place: &str, text: &str| {
                output.stderr(&klog('I', place, text, process.pid));
            };
            log(
                "controllermanager.go:189",
                &format!("\"Starting\" version=\"{KUBERNETES}\""),
            );
            let leads = CancellationToken::new();
            tokio::select! {
                () = terminate.cancelled() => 0,
                () = watch(&machine, &process.argv, &leads) => 0,
                () = work(machine.clone(), &log, &leads) => 0,
            }
        })
    }
}

fn client(machine: &Arc<Machine>, suffix: &str) -> Actor {
    let user = "system:kube-controller-manager";
    Actor::component(machine, user, &[], "kube-controller-manager", suffix)
}

/// Its informers, from when it leads.
async fn watch(machine: &Arc<Machine>, argv: &[String], leads: &CancellationToken) {
    leads.cancelled().await;
    let client = |suffix: &str| Arc::new(client(machine, suffix));
    let clients = informers::Controllers {
        program: client(""),
        shared: client("shared-informers"),
        metadata: client("metadata-informers"),
    };
    let trigger = Trigger {
        prefix: Some("/registry/apiextensions.k8s.io/customresourcedefinitions/"),
        forgets: false,
    };
    let wanted = || informers::controllers(machine, &clients, argv);
    informers::run(machine.clone(), trigger, wanted).await;
}

/// Something to be brought in line.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Item {
    Deployment(String, String),
    ReplicaSet(String, String),
    ReplicationController(String, String),
    StatefulSet(String, String),
    DaemonSet(String, String),
    Job(String, String),
    CronJob(String, String),
    Service(String, String),
    Namespace(String),
    Node(String),
    /// An owner that is gone, by uid.
    Gone(String),
    /// An object that waits for a deletion policy, by key.
    Finalizing(String),
    ClusterRoles,
    Quotas(String),
    Budgets(String),
    Claims(String),
    /// A secret that is to hold a token.
    AccountToken(String, String),
    Certificate(String),
}

async fn work(
    machine: Arc<Machine>,
    log: &(dyn Fn(&str, &str) + Sync),
    leading: &CancellationToken,
) {
    let component = |suffix: &str| client(&machine, suffix);
    let mut leadership = Leadership::new(component("leader-election"), "kube-controller-manager");
    let mut controllers = Controllers {
        machine: machine.clone(),
        manager: component("kube-controller-manager"),
        actors: HashMap::new(),
        queue: VecDeque::new(),
        queued: HashSet::new(),
        delayed: Vec::new(),
        failures: HashMap::new(),
    };
    let mut leads = false;
    loop {
        api_is_up(&machine).await;
        let from = machine.store.revision();
        let Ok(mut changes) = machine.store.watch("/registry/", from) else {
            continue;
        };
        let Some(lease) = leadership.renew().await else {
            tokio::time::sleep(RENEW).await;
            continue;
        };
        if !leads {
            leads = true;
            leading.cancel();
            log(
                "leaderelection.go:271",
                "\"Successfully acquired lease\" lock=\"kube-system/kube-controller-manager\"",
            );
            let message = format!("{} became leader", leadership.identity());
            component("leader-election")
                .event(
                    &lease,
                    "coordination.k8s.io/v1",
                    "Lease",
                    false,
                    "LeaderElection",
                    &message,
                    "kube-controller-manager",
                )
                .await;
        }
        controllers.everything();
        controllers.drain().await;
        let mut renewal = tokio::time::interval(RENEW);
        renewal.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        renewal.tick().await;
        let mut ticks: u64 = 0;
        loop {
            let next = controllers.next_due();
            tokio::select! {
                _ = renewal.tick() => {
                    ticks += 1;
                    if leadership.renew().await.is_none() {
                        break;
                    }
                    if ticks.is_multiple_of(15) {
                        controllers.discover().await;
                    }
                    if ticks.is_multiple_of(5) {
                        controllers.tick_cron_jobs();
                        controllers.drain().await;
                    }
                }
                () = tokio::time::sleep_until(next.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600))), if next.is_some() => {
                    controllers.take_due();
                    controllers.drain().await;
                }
                change = changes.next() => {
                    let Some(Ok(change)) = change else { break };
                    controllers.notice(&change);
                    while let Ok(Some(change)) = changes.try_next() {
                        controllers.notice(&change);
                    }
                    controllers.drain().await;
                }
            }
        }
    }
}

/// The state of the controllers.
struct Controllers {
    machine: Arc<Machine>,
    manager: Actor,
    actors: HashMap<&'static str, Actor>,
    queue: VecDeque<Item>,
    queued: HashSet<Item>,
    delayed: Vec<(Instant, Item)>,
    failures: HashMap<Item, u32>,
}

impl Controllers {
    /// The actor of a controller; the first use gets its token, as the real one does.
    async fn actor(&mut self, account: &'static str) -> Actor {
        if let Some(actor) = self.actors.get(account) {
            return actor.clone();
        }
        let path = format!("/api/v1/namespaces/kube-system/serviceaccounts/{account}");
        let _ = self.manager.get(&path).await;
        let request = json!({"kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": account, "namespace": "kube-system"},
            "spec": {"audiences": null, "expirationSeconds": 3600, "boundObjectRef": null}});
        let _ = self.manager.create(&format!("{path}/token"), request).await;
        let actor = Actor::controller(&self.machine, account);
        self.actors.insert(account, actor.clone());
        actor
    }

    fn get(&self, key: &str) -> Option<Stored> {
        self.machine.store.get(key)
    }

    fn list(&self, prefix: &str) -> Vec<Stored> {
        self.machine.store.list(prefix).0
    }

    fn enqueue(&mut self, item: Item) {
        if self.queued.insert(item.clone()) {
            self.queue.push_back(item);
        }
    }

    fn later(&mut self, after: Duration, item: Item) {
        self.delayed.push((Instant::now() + after, item));
    }

    fn next_due(&self) -> Option<Instant> {
        self.delayed.iter().map(|(due, _)| *due).min()
    }

    fn take_due(&mut self) {
        let now = Instant::now();
        let due: Vec<Item> = self
            .delayed
            .extract_if(.., |(due, _)| *due <= now)
            .map(|(_, item)| item)
            .collect();
        for item in due {
            self.enqueue(item);
        }
    }

    /// What a watch would list at the start.
    fn everything(&mut self) {
        type Make = fn(String, String) -> Item;
        let kinds: [(&str, Make); 10] = [
            ("apps/deployments", Item::Deployment),
            ("apps/replicasets", Item::ReplicaSet),
            ("core/replicationcontrollers", Item::ReplicationController),
            ("apps/statefulsets", Item::StatefulSet),
            ("apps/daemonsets", Item::DaemonSet),
            ("batch/jobs", Item::Job),
            ("batch/cronjobs", Item::CronJob),
            ("core/services", Item::Service),
            (
                "certificates.k8s.io/certificatesigningrequests",
                |_, name| Item::Certificate(name),
            ),
            ("policy/poddisruptionbudgets", |space, _| {
                Item::Budgets(space)
            }),
        ];
        for (path, item) in kinds {
            for stored in self.list(&format!("/registry/{path}/")) {
                let (space, name) = (
                    super::object::namespace(&stored.value).to_owned(),
                    super::object::name(&stored.value).to_owned(),
                );
                self.enqueue(item(space, name));
            }
        }
        for stored in self.list("/registry/core/nodes/") {
            self.enqueue(Item::Node(super::object::name(&stored.value).to_owned()));
        }
        for stored in self.list("/registry/core/namespaces/") {
            self.enqueue(Item::Namespace(
                super::object::name(&stored.value).to_owned(),
            ));
        }
        for stored in self.list("/registry/") {
            if is_deleting(&stored.value)
                && !items(&stored.value, "/metadata/finalizers").is_empty()
            {
                self.enqueue(Item::Finalizing(stored.key.clone()));
            }
        }
        self.enqueue(Item::ClusterRoles);
    }

    /// Turns a change into work.
    fn notice(&mut self, change: &Change) {
        let mut parts = change.key.split('/').skip(2);
        let (Some(group), Some(resource)) = (parts.next(), parts.next()) else {
            return;
        };
        let rest: Vec<&str> = parts.collect();
        let (space, name) = match rest.as_slice() {
            [space, name] => ((*space).to_owned(), (*name).to_owned()),
            [name] => (String::new(), (*name).to_owned()),
            _ => return,
        };
        let either = change.after.as_ref().or(change.before.as_ref());
        if change.after.is_none()
            && let Some(before) = &change.before
            && !matches!(resource, "events" | "leases")
        {
            self.enqueue(Item::Gone(uid(before).to_owned()));
        }
        if let Some(after) = &change.after
            && is_deleting(after)
            && !items(after, "/metadata/finalizers").is_empty()
        {
            self.enqueue(Item::Finalizing(change.key.clone()));
        }
        match (group, resource) {
            ("apps", "deployments") => self.enqueue(Item::Deployment(space.clone(), name)),
            ("apps", "replicasets") => {
                self.enqueue(Item::ReplicaSet(space.clone(), name));
                if let Some(owner) = either.and_then(|object| controller_of(object)) {
                    self.enqueue(Item::Deployment(
                        space.clone(),
                        text_at(owner, "/name").to_owned(),
                    ));
                }
            }
            ("core", "replicationcontrollers") => {
                self.enqueue(Item::ReplicationController(space.clone(), name));
            }
            ("apps", "statefulsets") => self.enqueue(Item::StatefulSet(space.clone(), name)),
            ("apps", "daemonsets") => self.enqueue(Item::DaemonSet(space.clone(), name)),
            ("batch", "jobs") => {
                self.enqueue(Item::Job(space.clone(), name));
                if let Some(owner) = either.and_then(|object| controller_of(object)) {
                    self.enqueue(Item::CronJob(
                        space.clone(),
                        text_at(owner, "/name").to_owned(),
                    ));
                }
            }
            ("batch", "cronjobs") => self.enqueue(Item::CronJob(space.clone(), name)),
            ("core", "services") => self.enqueue(Item::Service(space.clone(), name)),
            ("core", "pods") => self.notice_pod(change, &space),
            ("core", "namespaces") => self.enqueue(Item::Namespace(name)),
            ("core", "serviceaccounts") => {
                if change.after.is_none() {
                    self.enqueue(Item::Namespace(space.clone()));
                }
                if change.after.is_none() || change.before.is_none() {
                    for secret in token::of_account(self, &space, &name) {
                        self.enqueue(Item::AccountToken(space.clone(), secret));
                    }
                }
            }
            ("core", "secrets") if change.after.as_deref().is_some_and(token::is_one) => {
                self.enqueue(Item::AccountToken(space.clone(), name));
            }
            ("core", "configmaps") if name == "kube-root-ca.crt" && change.before.is_some() => {
                self.enqueue(Item::Namespace(space.clone()));
            }
            ("core", "nodes") => {
                self.notice_node(change, name);
                let part = |node: &Option<Arc<Value>>| {
                    node.as_ref().map(|node| {
                        (
                            node.get("spec").cloned(),
                            node.pointer("/metadata/labels").cloned(),
                        )
                    })
                };
                if part(&change.before) != part(&change.after) {
                    for set in self.list("/registry/apps/daemonsets/") {
                        self.enqueue(Item::DaemonSet(
                            super::object::namespace(&set.value).to_owned(),
                            super::object::name(&set.value).to_owned(),
                        ));
                    }
                }
            }
            ("core", "persistentvolumeclaims") => self.enqueue(Item::Claims(space.clone())),
            ("core", "persistentvolumes") => {
                for claim in self.list("/registry/core/persistentvolumeclaims/") {
                    self.enqueue(Item::Claims(
                        super::object::namespace(&claim.value).to_owned(),
                    ));
                }
            }
            ("certificates.k8s.io", "certificatesigningrequests") => {
                self.enqueue(Item::Certificate(name));
            }
            ("policy", "poddisruptionbudgets") => self.enqueue(Item::Budgets(space.clone())),
            ("rbac.authorization.k8s.io", "clusterroles") => self.enqueue(Item::ClusterRoles),
            _ => {}
        }
        if !space.is_empty()
            && !matches!(resource, "events" | "leases")
            && !self
                .list(&format!("/registry/core/resourcequotas/{space}/"))
                .is_empty()
        {
            self.enqueue(Item::Quotas(space));
        }
    }

    /// Heartbeats change no more than times.
    fn notice_node(&mut self, change: &Change, name: String) {
        let part = |node: &Option<Arc<Value>>| {
            let node = node.as_ref()?;
            let conditions: Vec<(String, String)> = items(node, "/status/conditions")
                .iter()
                .map(|condition| {
                    (
                        text_at(condition, "/type").to_owned(),
                        text_at(condition, "/status").to_owned(),
                    )
                })
                .collect();
            Some((node.get("spec").cloned(), conditions))
        };
        if part(&change.before) != part(&change.after) {
            self.enqueue(Item::Node(name));
        }
    }

    fn notice_pod(&mut self, change: &Change, space: &str) {
        let either = change.after.as_ref().or(change.before.as_ref());
        if let Some(owner) = either.and_then(|pod| controller_of(pod)) {
            let name = text_at(owner, "/name").to_owned();
            let space = space.to_owned();
            match text_at(owner, "/kind") {
                "ReplicaSet" => self.enqueue(Item::ReplicaSet(space, name)),
                "ReplicationController" => self.enqueue(Item::ReplicationController(space, name)),
                "StatefulSet" => self.enqueue(Item::StatefulSet(space, name)),
                "DaemonSet" => self.enqueue(Item::DaemonSet(space, name)),
                "Job" => self.enqueue(Item::Job(space, name)),
                _ => {}
            }
        }
        for service in self.list(&format!("/registry/core/services/{space}/")) {
            let selected = service
                .value
                .pointer("/spec/selector")
                .is_some_and(|wanted| {
                    [&change.before, &change.after]
                        .into_iter()
                        .flatten()
                        .any(|pod| selector::map_matches(wanted, pod.pointer("/metadata/labels")))
                });
            if selected {
                self.enqueue(Item::Service(
                    space.to_owned(),
                    super::object::name(&service.value).to_owned(),
                ));
            }
        }
        if !self
            .list(&format!("/registry/policy/poddisruptionbudgets/{space}/"))
            .is_empty()
        {
            self.enqueue(Item::Budgets(space.to_owned()));
        }
    }

    fn tick_cron_jobs(&mut self) {
        for job in self.list("/registry/batch/cronjobs/") {
            self.enqueue(Item::CronJob(
                super::object::namespace(&job.value).to_owned(),
                super::object::name(&job.value).to_owned(),
            ));
        }
    }

    /// The discovery the garbage collector and the quota controller repeat every half a minute.
    async fn discover(&mut self) {
        for account in ["generic-garbage-collector", "resourcequota-controller"] {
            let actor = self.actor(account).await;
            let _ = actor.get("/api").await;
            let _ = actor.get("/apis").await;
        }
    }

    /// Works until nothing is left to do now.
    async fn drain(&mut self) {
        // A bound, so that two controllers that disagree cannot keep the worker for ever.
        for _ in 0..1000 {
            let Some(item) = self.queue.pop_front() else {
                return;
            };
            self.queued.remove(&item);
            if self.machine.api.borrow().is_none() {
                return;
            }
            match self.reconcile(item.clone()).await {
                Some(after) => self.later(after, item),
                None => {
                    self.failures.remove(&item);
                }
            }
        }
    }

    /// How long to wait before something that failed is tried again.
    fn back_off(&mut self, item: Item) -> Duration {
        let tries = self.failures.entry(item).or_default();
        *tries = (*tries + 1).min(8);
        Duration::from_millis(500) * 2_u32.pow(*tries)
    }

    /// Brings one thing in line; gives when to look again, if it must be looked at again.
    async fn reconcile(&mut self, item: Item) -> Option<Duration> {
        match item {
            Item::Deployment(space, name) => deployment::sync(self, &space, &name).await,
            Item::ReplicaSet(space, name) => {
                replica_set::sync(self, replica_set::REPLICA_SET, &space, &name).await
            }
            Item::ReplicationController(space, name) => {
                replica_set::sync(self, replica_set::REPLICATION_CONTROLLER, &space, &name).await
            }
            Item::StatefulSet(space, name) => stateful_set::sync(self, &space, &name).await,
            Item::DaemonSet(space, name) => daemon_set::sync(self, &space, &name).await,
            Item::Job(space, name) => job::sync(self, &space, &name).await,
            Item::CronJob(space, name) => cron_job::sync(self, &space, &name).await,
            Item::Service(space, name) => endpoints::sync(self, &space, &name).await,
            Item::Node(name) => node::sync(self, &name).await,
            Item::Namespace(name) => namespace::sync(self, &name).await,
            Item::Gone(uid) => garbage::collect(self, &uid).await,
            Item::Finalizing(key) => garbage::finalize(self, &key).await,
            Item::ClusterRoles => role::aggregate(self).await,
            Item::Quotas(space) => quota::sync(self, &space).await,
            Item::Budgets(space) => budget::sync(self, &space).await,
            Item::Claims(space) => claim::sync(self, &space).await,
            Item::AccountToken(space, name) => token::sync(self, &space, &name).await,
            Item::Certificate(name) => certificate::sync(self, &name).await,
        }
    }

    /// The object with its resourceVersion, as a controller's cache has it.
    fn cached(&self, key: &str) -> Option<Value> {
        self.get(key).map(|stored| versioned(&stored))
    }

    /// Pods this object controls.
    fn pods_of(&self, owner: &Value) -> Vec<Value> {
        let prefix = format!("/registry/core/pods/{}/", super::object::namespace(owner));
        self.list(&prefix)
            .iter()
            .filter(|pod| super::object::is_controlled_by(&pod.value, owner))
            .map(versioned)
            .collect()
    }
}

/// An object with its resourceVersion.
fn versioned(stored: &Stored) -> Value {
    let mut object = stored.value.as_ref().clone();
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.insert("resourceVersion".into(), stored.revision.to_string().into());
    }
    object
}

/// A pod from a template.
fn pod_from(template: &Value, owner: &Value, api_version: &str, kind: &str) -> Value {
    let mut metadata = serde_json::Map::new();
    for key in ["labels", "annotations", "finalizers"] {
        if let Some(value) = template.pointer(&format!("/metadata/{key}")) {
            metadata.insert(key.to_owned(), value.clone());
        }
    }
    metadata.insert("namespace".into(), super::object::namespace(owner).into());
    metadata.insert(
        "generateName".into(),
        format!("{}-", super::object::name(owner)).into(),
    );
    metadata.insert(
        "ownerReferences".into(),
        json!([super::object::reference(owner, api_version, kind)]),
    );
    json!({"kind": "Pod", "apiVersion": "v1", "metadata": metadata,
        "spec": template.get("spec").cloned().unwrap_or_default()})
}
