//! Priority and fairness, as far as clients see it: which flow schema and priority level a request
//! fell under (`k8s.io/apiserver/pkg/server/filters/priority-and-fairness.go`). What is too much waits for a quarter of
//! `--request-timeout`, then it is refused; without fairness at once (`filters/maxinflight.go`). All priority levels
//! but the exempt one are one queue.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use serde_json::Value;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::api::ApiResponse;
use super::authz::PRIVILEGED;
use super::flags::Flags;
use super::health;
use super::request::{RequestInfo, UserInfo};
use super::state::ApiState;

/// Bytes of request bodies that may be in memory at once.
const BODIES: usize = 64 << 20;
/// Requests that may wait for a place at once: those of a priority level as it is set up (64 queues of 50).
const QUEUE: usize = 3200;
/// Requests with large bodies that are handled at once.
const TURNS: usize = 1;

/// How much is done at once.
pub struct Limits {
    reading: Option<Arc<Semaphore>>,
    mutating: Option<Arc<Semaphore>>,
    /// How long a request may wait for a place, and how many may at once.
    patience: Duration,
    queue: Semaphore,
    bodies: Arc<Semaphore>,
    turns: Semaphore,
}

impl Limits {
    /// The limits of a command line: with priority and fairness both numbers are one limit.
    #[must_use]
    pub fn new(flags: &Flags) -> Self {
        let number = |name: &str| usize::try_from(flags.line.int(name)).unwrap_or(0);
        let places = |number: usize| {
            (number > 0).then(|| Arc::new(Semaphore::new(number.min(Semaphore::MAX_PERMITS))))
        };
        let reading = number("max-requests-inflight");
        let mutating = number("max-mutating-requests-inflight");
        let fair = flags.line.bool("enable-priority-and-fairness");
        let (reading, mutating) = if fair {
            let both = places(reading.saturating_add(mutating));
            (both.clone(), both)
        } else {
            (places(reading), places(mutating))
        };
        Self {
            reading,
            mutating,
            patience: if fair {
                Duration::from_nanos(number("request-timeout") as u64) / 4
            } else {
                Duration::ZERO
            },
            queue: Semaphore::new(QUEUE),
            bodies: Arc::new(Semaphore::new(BODIES)),
            turns: Semaphore::new(TURNS),
        }
    }

    /// A place for a request, kept while it is handled; exempt requests need none. `None`: all places are taken, and
    /// the answer is [`too_many`].
    pub async fn enter(
        &self,
        user: &UserInfo,
        info: &RequestInfo,
    ) -> Option<Option<OwnedSemaphorePermit>> {
        if classify(user, info).1 == "exempt" {
            return Some(None);
        }
        let places = if matches!(info.verb.as_str(), "get" | "list" | "watch") {
            &self.reading
        } else {
            &self.mutating
        };
        let Some(places) = places else {
            return Some(None);
        };
        if let Ok(place) = places.clone().try_acquire_owned() {
            return Some(Some(place));
        }
        if self.patience.is_zero() {
            return None;
        }
        let _turn = self.queue.try_acquire().ok()?;
        let place = tokio::time::timeout(self.patience, places.clone().acquire_owned()).await;
        Some(Some(place.ok()?.ok()?))
    }

    /// A turn of a request with a large body, once those before it are done.
    pub async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        self.turns.acquire().await.ok()
    }

    /// Room for so many bytes of a body, kept while they are; `None`: there is none left.
    #[must_use]
    pub fn body(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let bytes = u32::try_from(bytes).ok()?;
        self.bodies.clone().try_acquire_many_owned(bytes).ok()
    }
}

/// The answer to what is too much.
#[must_use]
pub fn too_many() -> ApiResponse {
    let mut response = health::text(
        429,
        "Too many requests, please try again later.\n".to_owned(),
        true,
    );
    response
        .headers
        .push((http::header::RETRY_AFTER, HeaderValue::from_static("1")));
    response
}

/// The flow schema and priority level of the bootstrap configuration that a request falls under.
fn classify(user: &UserInfo, info: &RequestInfo) -> (&'static str, &'static str) {
    let group = |name: &str| user.groups.iter().any(|group| group == name);
    if group(PRIVILEGED) {
        return ("exempt", "exempt");
    }
    if !info.is_resource
        && ["/healthz", "/livez", "/readyz"]
            .iter()
            .any(|path| info.path == *path)
    {
        return ("probes", "exempt");
    }
    if group("system:nodes") {
        if info.resource == "nodes" || info.resource == "leases" {
            return ("system-node-high", "node-high");
        }
        return ("system-nodes", "system");
    }
    match user.username.as_str() {
        "system:kube-controller-manager" if info.resource == "leases" => {
            ("system-leader-election", "leader-election")
        }
        "system:kube-scheduler" if info.resource == "leases" => {
            ("system-leader-election", "leader-election")
        }
        "system:kube-controller-manager" => ("kube-controller-manager", "workload-high"),
        "system:kube-scheduler" => ("kube-scheduler", "workload-high"),
        _ if group("system:serviceaccounts:kube-system") => {
            ("kube-system-service-accounts", "workload-high")
        }
        _ if group("system:serviceaccounts") => ("service-accounts", "workload-low"),
        _ if group("system:authenticated") || group("system:unauthenticated") => {
            ("global-default", "global-default")
        }
        _ => ("catch-all", "catch-all"),
    }
}

/// The headers that name them, as far as the objects exist.
#[must_use]
pub fn headers(
    state: &ApiState,
    user: &UserInfo,
    info: &RequestInfo,
) -> Vec<(HeaderName, HeaderValue)> {
    if !state.flags.line.bool("enable-priority-and-fairness") {
        return Vec::new();
    }
    let (schema, level) = classify(user, info);
    let uid = |resource: &str, name: &str| {
        let key = format!("/registry/flowcontrol.apiserver.k8s.io/{resource}/{name}");
        let stored = state.store.get(&key)?;
        let uid = stored
            .value
            .pointer("/metadata/uid")
            .and_then(Value::as_str)?;
        HeaderValue::try_from(uid).ok()
    };
    [
        (
            HeaderName::from_static("x-kubernetes-pf-flowschema-uid"),
            uid("flowschemas", schema),
        ),
        (
            HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid"),
            uid("prioritylevelconfigurations", level),
        ),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::options::pflag::CommandLine;

    fn limits(flags: &[&str]) -> Limits {
        let flags: Vec<String> = flags.iter().map(|flag| (*flag).to_owned()).collect();
        Limits::new(&Flags::from(CommandLine::parse(&flags).unwrap()))
    }

    fn info(verb: &str) -> RequestInfo {
        RequestInfo {
            verb: verb.to_owned(),
            is_resource: true,
            resource: "pods".to_owned(),
            ..RequestInfo::default()
        }
    }

    #[tokio::test]
    async fn both_numbers_are_one_limit_with_fairness_and_two_without() {
        let user = UserInfo::default();
        let one = [
            "--max-requests-inflight=1",
            "--max-mutating-requests-inflight=1",
        ];
        let mut both = limits(&one);
        assert_eq!(both.patience, Duration::from_secs(15));
        let first = both.enter(&user, &info("list")).await.unwrap();
        let _second = both.enter(&user, &info("get")).await.unwrap();
        both.patience = Duration::from_millis(1);
        assert!(both.enter(&user, &info("create")).await.is_none());
        both.patience = Duration::from_secs(600);
        let masters = UserInfo {
            groups: vec![PRIVILEGED.to_owned()],
            ..UserInfo::default()
        };
        assert!(both.enter(&masters, &info("create")).await.is_some());
        let create = info("create");
        let (entered, ()) = tokio::join!(both.enter(&user, &create), async { drop(first) });
        assert!(entered.is_some());

        let [reading, mutating] = one;
        let apart = limits(&[reading, mutating, "--enable-priority-and-fairness=false"]);
        let first = apart.enter(&user, &info("list")).await.unwrap();
        assert_eq!(apart.patience, Duration::ZERO);
        assert!(apart.enter(&user, &info("list")).await.is_none());
        let _other = apart.enter(&user, &info("create")).await.unwrap();
        drop(first);
        assert!(apart.enter(&user, &info("list")).await.is_some());
    }

    #[test]
    fn bodies_have_room_until_they_are_gone() {
        let limits = limits(&[]);
        let held = limits.body(BODIES).unwrap();
        assert!(limits.body(1).is_none());
        drop(held);
        assert!(limits.body(1).is_some());
    }
}
