//! What informers leave in the audit log: the watches with which they begin, against those recorded, and how often they
//! come back, on a clock of the test's own.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ckslab::node::embedded::apiserver::api::{ApiResponse, Body};
use ckslab::node::embedded::cluster::actor::Actor;
use ckslab::node::embedded::cluster::informers::{self, Controllers, Informers};
use ckslab::node::embedded::machine::{LocalApi, LocalRequest, Machine};
use serde_json::Value;
use tokio::time::Instant;

use super::cluster::Cluster;
use crate::replay;

/// An entry of a watch that begins with everything there is, without what differs from run to run.
fn beginning(line: &str) -> Option<Value> {
    let mut entry: Value = serde_json::from_str(line).ok()?;
    let uri = entry["requestURI"].as_str()?.to_owned();
    let (path, _) =
        uri.split_once("&resourceVersionMatch=NotOlderThan&sendInitialEvents=true&timeout=")?;
    let agent = entry["userAgent"].as_str()?.to_owned();
    // How many of these there are depends on its flags.
    if entry["stage"] != "ResponseStarted"
        || agent.starts_with("kube-controller-manager") && agent.ends_with("0000000")
    {
        return None;
    }
    let (minutes, seconds) = uri.split_once("timeout=")?.1.split_once('&')?;
    let seconds = seconds
        .strip_prefix("timeoutSeconds=")?
        .strip_suffix("&watch=true")?;
    let seconds: u64 = seconds.parse().ok()?;
    assert_eq!(minutes, format!("{}m{}s", seconds / 60, seconds % 60));
    assert!((300..600).contains(&seconds), "{uri}");
    entry["requestURI"] = path.into();
    let fields = entry.as_object_mut()?;
    for volatile in [
        "auditID",
        "requestReceivedTimestamp",
        "stageTimestamp",
        "sourceIPs",
    ] {
        fields.remove(volatile)?;
    }
    // Two bindings allow it: either may be named.
    let reason = &mut entry["annotations"]["authorization.k8s.io/reason"];
    *reason = reason
        .as_str()?
        .replace("system:volume-scheduler", "system:kube-scheduler")
        .into();
    if let Some(uid) = entry["user"].get_mut("uid") {
        *uid = "".into();
    }
    if let Some(extra) = entry["user"].get_mut("extra") {
        extra["authentication.kubernetes.io/credential-id"][0] = "".into();
    }
    Some(entry)
}

fn beginnings(log: &str) -> Vec<String> {
    let mut all: Vec<String> = log
        .lines()
        .filter_map(beginning)
        .map(|entry| entry.to_string())
        .collect();
    all.sort();
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn informers_begin_as_recorded() {
    let events = replay::golden().join("events");
    let session = replay::gunzip(&events.join("metadata-all.steps.jsonl.gz"));
    let head: Value = serde_json::from_str(session.lines().next().unwrap()).unwrap();
    let recorded = beginnings(&replay::gunzip(
        &events.join("metadata-all.background.log.gz"),
    ));
    assert!(recorded.len() > 100);
    let cluster = Cluster::raise(&head, "kubectl".as_ref()).await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let mut got = beginnings(&cluster.log());
    while got.len() < recorded.len() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
        got = beginnings(&cluster.log());
    }
    cluster.end().await;
    let missing: Vec<&String> = recorded
        .iter()
        .filter(|entry| !got.contains(entry))
        .collect();
    let more: Vec<&String> = got
        .iter()
        .filter(|entry| !recorded.contains(entry))
        .collect();
    assert!(
        missing.is_empty() && more.is_empty(),
        "missing {missing:#?}\nmore {more:#?}"
    );
    assert_eq!(got.len(), recorded.len());
}

/// An API server that only keeps what it is asked.
#[derive(Default)]
struct Listener(Mutex<Vec<LocalRequest>>);

impl LocalApi for Listener {
    fn call(
        &self,
        request: LocalRequest,
    ) -> Pin<Box<dyn Future<Output = ApiResponse> + Send + '_>> {
        self.0.lock().unwrap().push(request);
        Box::pin(std::future::ready(ApiResponse {
            code: 200,
            headers: Vec::new(),
            body: Body::Stream {
                content_type: "application/json".to_owned(),
                chunks: Box::pin(futures_util::stream::pending()),
            },
        }))
    }
}

fn component(machine: &Arc<Machine>, program: &str, suffix: &str) -> Arc<Actor> {
    let user = format!("system:{program}");
    Arc::new(Actor::component(machine, &user, &[], program, suffix))
}

/// What informers of API server, scheduler and controllers ask in this time, and when.
async fn listen(time: Duration) -> Vec<(Duration, LocalRequest)> {
    let store = tokio::task::spawn_blocking(replay::base_store).await;
    let machine = replay::machine(store.unwrap());
    let own = Arc::new(Actor::api_server(&machine));
    let scheduler = |suffix| component(&machine, "kube-scheduler", suffix);
    let manager = |suffix| component(&machine, "kube-controller-manager", suffix);
    let clients = Controllers {
        program: manager(""),
        shared: manager("shared-informers"),
        metadata: manager("metadata-informers"),
    };
    let flag = "--client-ca-file=/etc/kubernetes/pki/ca.crt".to_owned();
    let mut wanted = informers::api_server(&own);
    wanted.extend(informers::scheduler(
        &scheduler(""),
        &scheduler("scheduler"),
        &[],
    ));
    wanted.extend(informers::controllers(&machine, &clients, &[flag]));
    let begin = Instant::now();
    let (api, mut informers) = (Listener::default(), Informers::default());
    informers.update(wanted, begin);
    let mut heard = Vec::new();
    while let Some(now) = informers.due().filter(|due| *due < begin + time) {
        informers.turn(&machine, &api, now).await;
        let requests = std::mem::take(&mut *api.0.lock().unwrap());
        heard.extend(requests.into_iter().map(|request| (now - begin, request)));
    }
    heard
}

/// User, resource and namespace of a request for a collection.
fn place(user: &str, path: &str) -> (String, String) {
    let path = path.split('?').next().unwrap();
    (user.to_owned(), path.to_owned())
}

#[tokio::test]
async fn informers_come_back_as_often_as_recorded() {
    let table: Value = serde_json::from_str(&replay::gunzip(
        &replay::golden().join("http/background.json.gz"),
    ))
    .unwrap();
    let mut recorded: BTreeMap<&str, u64> = BTreeMap::new();
    for row in table["table"].as_array().unwrap() {
        if row["verb"] == "watch" && row["stage"] == "ResponseStarted" {
            *recorded.entry(row["user"].as_str().unwrap()).or_default() +=
                row["count"].as_u64().unwrap();
        }
    }
    // The recording begins when all of them watch already, the controllers not for long.
    let heard = listen(Duration::from_secs(625)).await;
    let mut got: BTreeMap<&str, u64> = BTreeMap::new();
    for (at, request) in &heard {
        assert_eq!(
            *at < Duration::from_secs(1),
            request.path_and_query.contains("sendInitialEvents=true"),
            "{}",
            request.path_and_query
        );
        if *at > Duration::from_secs(25) {
            assert!(
                request.path_and_query.contains("&resourceVersion="),
                "{}",
                request.path_and_query
            );
            *got.entry(request.user.username.as_str()).or_default() += 1;
        }
    }
    for user in [
        "system:apiserver",
        "system:kube-scheduler",
        "system:kube-controller-manager",
    ] {
        let (want, got) = (recorded[user], got[user]);
        assert!(
            want.abs_diff(got) * 4 <= want,
            "{user}: {got}, recorded {want}"
        );
    }
}

#[tokio::test]
async fn a_watch_lasts_as_long_as_it_said() {
    let heard = listen(Duration::from_secs(3600)).await;
    let mut last: BTreeMap<(String, String), Vec<(Duration, u64)>> = BTreeMap::new();
    for (at, request) in &heard {
        let asked = request
            .path_and_query
            .split("timeoutSeconds=")
            .nth(1)
            .unwrap();
        let asked = asked.split('&').next().unwrap().parse().unwrap();
        last.entry(place(&request.user.username, &request.path_and_query))
            .or_default()
            .push((*at, asked));
    }
    let (_, nodes) = last
        .iter()
        .find(|((_, path), _)| path == "/api/v1/nodes")
        .unwrap();
    assert!((7..=13).contains(&nodes.len()), "{nodes:?}");
    for pair in nodes.windows(2) {
        let lasted = pair[1].0 - pair[0].0;
        assert!(lasted.as_secs().abs_diff(pair[0].1) <= 1, "{pair:?}");
    }
}
