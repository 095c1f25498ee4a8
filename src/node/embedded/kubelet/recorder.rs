//! The recorder of events of a registered kubelet (`client-go/tools/record/event.go`): one event after the
//! other goes to the API server, and while that does not answer the first of them holds up the rest.
//! What the API shows of events is the cluster's ([`crate::node::embedded::cluster`]); here is what the
//! journal says of those that could not be written.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::Timestamp;

use super::state::Kubelet;
use crate::node::embedded::snapshot::PodEvent;

/// Tries of one event (`maxTriesPerEvent`).
const TRIES: u32 = 12;
/// Time between them (`defaultSleepDuration`), the first aside, which is a random part of it. At real pace
/// always: nothing waits for it.
const SLEEP: Duration = Duration::from_secs(10);
/// Events that wait at most (`maxQueuedEvents`).
const QUEUED: usize = 1000;

/// Events on their way to the API server.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    queue: VecDeque<Queued>,
    tries: u32,
    next: Duration,
}

/// An event as it is when it is recorded.
#[derive(Debug)]
struct Queued {
    event: PodEvent,
    field_path: String,
    /// Since the node came up.
    at: Duration,
}

impl Recorder {
    /// When the first event is tried again; `None` without one.
    pub fn deadline(&self) -> Option<Duration> {
        (!self.queue.is_empty()).then_some(self.next)
    }
}

impl Queued {
    /// An event that came before goes on under the name of its first time.
    fn name(&self, count: u32) -> String {
        let first = if count > 1 {
            self.event.first
        } else {
            self.event.last
        };
        let nanos = first.as_nanosecond();
        format!("{}.{nanos:x}", self.event.pod_name)
    }

    /// As Go prints it. Nothing tells the version that the API server gave it.
    fn dump(&self, node_name: &str, count: u32) -> String {
        let event = &self.event;
        let time = |time: Timestamp| {
            let text = time.strftime("%Y-%m-%d %H:%M:%S%.9f +0000 UTC").to_string();
            format!("{text} m=+{:.9}", self.at.as_secs_f64())
        };
        format!(
            "&Event{{ObjectMeta:{{{name}  {space}    0 0001-01-01 00:00:00 +0000 UTC <nil> <nil> map[] map[] [] [] []}},InvolvedObject:ObjectReference{{Kind:Pod,Namespace:{space},Name:{pod},UID:{uid},APIVersion:v1,ResourceVersion:,FieldPath:{path},}},Reason:{reason},Message:{message},Source:EventSource{{Component:kubelet,Host:{node_name},}},FirstTimestamp:{first},LastTimestamp:{last},Count:{count},Type:{kind},EventTime:0001-01-01 00:00:00 +0000 UTC,Series:nil,Action:,Related:nil,ReportingController:kubelet,ReportingInstance:{node_name},}}",
            name = self.name(count),
            space = event.pod_namespace,
            pod = event.pod_name,
            uid = event.pod_uid,
            path = self.field_path,
            reason = event.reason,
            message = event.message,
            first = time(if count > 1 { event.first } else { event.last }),
            last = time(event.last),
            kind = event.kind,
        )
    }
}

impl Kubelet {
    /// Takes an event on its way to the API server, if there is one.
    pub(super) fn record(&mut self, event: &PodEvent) {
        if self.setting.api.is_none() || self.recorder.queue.len() >= QUEUED {
            return;
        }
        let pod = self.pods.iter().find(|p| p.spec.uid == event.pod_uid);
        let field_path = event.container.as_ref().map_or_else(String::new, |name| {
            let is_init =
                pod.is_some_and(|p| p.spec.init_containers.iter().any(|c| c.name == *name));
            let list = if is_init {
                "initContainers"
            } else {
                "containers"
            };
            format!("spec.{list}{{{name}}}")
        });
        let at = self.now.at;
        if self.recorder.queue.is_empty() {
            self.recorder.next = at;
        }
        self.recorder.queue.push_back(Queued {
            event: event.clone(),
            field_path,
            at,
        });
    }

    /// Writes the events that are due.
    pub(super) fn write_events(&mut self) {
        let Some(api) = self.setting.api.clone() else {
            return;
        };
        let now = self.now.at;
        while self.recorder.next <= now
            && let Some(first) = self.recorder.queue.front()
        {
            if api.serving() {
                self.recorder.queue.pop_front();
                self.recorder.tries = 0;
                continue;
            }
            let node_name = self.setting.node_name.clone();
            let (event, count) = (&first.event, first.event.count);
            let (dump, name) = (first.dump(&node_name, count), first.name(count));
            let server = format!("{}:6443", self.setting.node_ip);
            let url = format!(
                "https://{server}/api/v1/namespaces/{}/events",
                event.pod_namespace
            );
            let request = if event.count > 1 {
                format!("Patch \"{url}/{name}\"")
            } else {
                format!("Post \"{url}\"")
            };
            let error = format!("{request}: dial tcp {server}: connect: connection refused");
            let retry = "Unable to write event (may retry after sleeping)";
            self.journal
                .error("event.go:368", retry, &[("err", &error), ("event", &dump)]);
            self.recorder.tries += 1;
            if self.recorder.tries >= TRIES {
                let given_up = "Unable to write event (retry limit exceeded!)";
                // This one is shown as it was before it was put together with earlier ones.
                let dump = first.dump(&node_name, 1);
                self.journal
                    .error("event.go:307", given_up, &[("event", &dump)]);
                self.recorder.queue.pop_front();
                self.recorder.tries = 0;
            } else if self.recorder.tries == 1 {
                let part = self.dice_up_to(10_000);
                self.recorder.next = now + part;
            } else {
                self.recorder.next = now + SLEEP;
            }
        }
    }

    /// A kubelet that ends forgets them.
    pub(super) fn forget_events(&mut self) {
        self.recorder = Recorder::default();
    }
}
