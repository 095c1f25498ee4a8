//! `/healthz`, `/livez` and `/readyz` in every state of a server.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ckslab::audit::options::pflag::CommandLine;
use ckslab::node::embedded::apiserver::api::Body;
use ckslab::node::embedded::apiserver::flags::Flags;
use ckslab::node::embedded::apiserver::klog::Klog;
use ckslab::node::embedded::apiserver::local::Local;
use ckslab::node::embedded::apiserver::request::UserInfo;
use ckslab::node::embedded::apiserver::state::ApiState;
use ckslab::node::embedded::machine::{LocalApi, LocalRequest};
use ckslab::node::embedded::process::Output;
use serde_json::Value;

use crate::replay;

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl Output for Lines {
    fn stdout(&self, _: &str) {}
    fn stderr(&self, line: &str) {
        let text = line.split_once("] ").map_or(line, |(_, text)| text);
        self.0.lock().unwrap().push(text.to_owned());
    }
}

struct Server {
    state: Arc<ApiState>,
    log: Arc<Lines>,
}

const MASTERS: &str = "system:masters";
const ANONYMOUS: &str = "system:unauthenticated";

impl Server {
    async fn new(flags: &[&str]) -> Self {
        let mut arguments = vec![
            "--authorization-mode=Node,RBAC".to_owned(),
            "--etcd-servers=https://127.0.0.1:2379".to_owned(),
        ];
        arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let store = tokio::task::spawn_blocking(replay::base_store)
            .await
            .unwrap();
        let log = Arc::<Lines>::default();
        let state = ApiState::new(
            replay::machine(store),
            Flags::from(CommandLine::parse(&arguments).unwrap()),
            Klog::new(log.clone(), 1, 2),
        );
        Self {
            state: Arc::new(state),
            log,
        }
    }

    /// As it is when it has just begun to serve, for an hour.
    fn starts(&self) {
        let since = Instant::now() + Duration::from_secs(3600);
        self.state.lifecycle.serve(since);
    }

    async fn get(&self, group: &str, path: &str) -> (u16, String) {
        let response = Local::new(self.state.clone())
            .call(LocalRequest {
                user: UserInfo {
                    username: "somebody".to_owned(),
                    groups: vec![group.to_owned()],
                    ..UserInfo::default()
                },
                user_agent: "curl/8".to_owned(),
                source_ip: "127.0.0.1".to_owned(),
                method: http::Method::GET,
                path_and_query: path.to_owned(),
                content_type: String::new(),
                body: None,
            })
            .await;
        let text = match response.body {
            Body::Bytes { bytes, .. } => String::from_utf8(bytes.to_vec()).unwrap(),
            Body::Object(object) => object["message"].as_str().unwrap_or_default().to_owned(),
            _ => String::new(),
        };
        (response.code, text)
    }

    /// Checks that fail in a report, and its last line.
    async fn failing(&self, path: &str) -> (u16, Vec<String>, String) {
        let (code, text) = self.get(MASTERS, path).await;
        let failing = text
            .lines()
            .filter_map(|line| {
                line.strip_prefix("[-]")?
                    .strip_suffix(" failed: reason withheld")
            })
            .map(str::to_owned)
            .collect();
        let last = text.lines().last().unwrap_or_default().to_owned();
        (code, failing, last)
    }
}

#[tokio::test]
async fn a_healthy_server_answers_as_the_recorded_one() {
    let server = Server::new(&[]).await;
    let mut compared = 0;
    for session in [
        "everything-rr",
        "everything-rr-truncate",
        "metadata-all",
        "nonresource",
    ] {
        let steps =
            replay::gunzip(&replay::golden().join(format!("events/{session}.steps.jsonl.gz")));
        for line in steps.lines().skip(1) {
            let step: Value = serde_json::from_str(line).unwrap();
            let argv: Vec<&str> = step["argv"]
                .as_array()
                .unwrap()
                .iter()
                .map(|word| word.as_str().unwrap())
                .collect();
            let ["kubectl", "get", "--raw", path] = argv[..] else {
                continue;
            };
            if ["/healthz", "/livez", "/readyz"]
                .iter()
                .any(|start| path.starts_with(start))
                && step["exit"] == 0
            {
                let (code, text) = server.get(MASTERS, path).await;
                assert_eq!(code, 200, "{path}");
                assert_eq!(text, step["stdout"].as_str().unwrap(), "{path}");
                compared += 1;
            }
        }
    }
    assert!(compared >= 4, "{compared}");
}

#[tokio::test]
async fn checks_can_be_asked_for_and_left_out() {
    let server = Server::new(&[]).await;
    let (code, text) = server
        .get(MASTERS, "/readyz?verbose&exclude=etcd&exclude=ping")
        .await;
    assert_eq!(code, 200);
    assert!(
        text.starts_with("[+]ping excluded: ok\n[+]log ok\n[+]etcd excluded: ok\n"),
        "{text}"
    );
    assert!(
        text.ends_with("\n[+]shutdown ok\nreadyz check passed\n"),
        "{text}"
    );
    let (_, text) = server
        .get(
            MASTERS,
            "/livez?verbose=1&exclude=zebra&exclude=a%22b&exclude=zebra&exclude=",
        )
        .await;
    assert!(
        text.ends_with("\nwarn: some health checks cannot be excluded: no matches for \"\",\"a\\\"b\",\"zebra\"\nlivez check passed\n"),
        "{text}"
    );
    for (path, code) in [
        ("/livez/ping", 200),
        ("/healthz/log", 200),
        ("/readyz/poststarthook/rbac/bootstrap-roles", 200),
        ("/readyz/informer-sync", 200),
        ("/livez/informer-sync", 404),
        ("/livez/shutdown", 404),
        ("/readyz/nothing", 404),
        ("/readyz/", 404),
        ("/readyzz", 404),
    ] {
        let (got, text) = server.get(MASTERS, path).await;
        assert_eq!(got, code, "{path}");
        let want = if code == 200 {
            "ok"
        } else {
            "404 page not found\n"
        };
        assert_eq!(text, want, "{path}");
    }
}

#[tokio::test]
async fn anonymous_users_see_the_summary_only() {
    let server = Server::new(&[]).await;
    for path in ["/healthz", "/livez", "/readyz", "/readyz?verbose"] {
        assert_eq!(server.get(ANONYMOUS, path).await.0, 200, "{path}");
    }
    for path in ["/readyz/etcd", "/livez/ping", "/metrics"] {
        let (code, text) = server.get(ANONYMOUS, path).await;
        assert_eq!(code, 403);
        assert_eq!(
            text,
            format!("forbidden: User \"somebody\" cannot get path \"{path}\"")
        );
    }
    assert_eq!(server.get("system:monitoring", "/readyz/etcd").await.0, 200);
}

#[tokio::test]
async fn a_server_without_etcd_says_so() {
    let server = Server::new(&[]).await;
    server.state.machine.etcd_up.send_replace(false);
    for (endpoint, checks) in [
        ("readyz", &["etcd", "etcd-readiness"][..]),
        ("livez", &["etcd"]),
        ("healthz", &["etcd"]),
    ] {
        let (code, failing, last) = server.failing(&format!("/{endpoint}")).await;
        assert_eq!(
            (code, &failing[..]),
            (
                500,
                &checks.iter().map(|c| (*c).to_owned()).collect::<Vec<_>>()[..]
            )
        );
        assert_eq!(last, format!("{endpoint} check failed"));
    }
    assert_eq!(
        server.log.0.lock().unwrap()[..3],
        [
            "etcd,etcd-readiness check failed: readyz",
            "[-]etcd failed: error getting data from etcd: context deadline exceeded",
            "[-]etcd-readiness failed: error getting data from etcd: context deadline exceeded",
        ]
    );
    let (code, text) = server.get(MASTERS, "/livez/etcd").await;
    assert_eq!(code, 500);
    assert_eq!(
        text,
        "internal server error: error getting data from etcd: context deadline exceeded\n"
    );
    let excluded = "/readyz?exclude=etcd&exclude=etcd-readiness";
    assert_eq!(server.get(MASTERS, excluded).await, (200, "ok".to_owned()));
}

#[tokio::test]
async fn a_server_that_starts_is_alive_to_masters_only_and_not_ready() {
    let server = Server::new(&[]).await;
    server.starts();
    // Who is allowed by RBAC is not known yet.
    let (code, text) = server.get(ANONYMOUS, "/readyz").await;
    assert_eq!(code, 403);
    assert_eq!(
        text,
        "forbidden: User \"somebody\" cannot get path \"/readyz\""
    );
    let (code, failing, last) = server.failing("/readyz").await;
    assert_eq!((code, last.as_str()), (500, "readyz check failed"));
    assert_eq!(
        failing,
        [
            "informer-sync",
            "poststarthook/start-apiextensions-controllers",
            "poststarthook/crd-informer-synced",
            "poststarthook/start-service-ip-repair-controllers",
            "poststarthook/rbac/bootstrap-roles",
            "poststarthook/scheduling/bootstrap-system-priority-classes",
            "poststarthook/priority-and-fairness-config-producer",
            "poststarthook/bootstrap-controller",
            "poststarthook/start-kubernetes-service-cidr-controller",
            "poststarthook/apiservice-registration-controller",
            "poststarthook/apiservice-wait-for-first-sync",
            "poststarthook/apiservice-discovery-controller",
            "autoregister-completion",
        ]
    );
    let (_, text) = server
        .get(MASTERS, "/livez/poststarthook/rbac/bootstrap-roles")
        .await;
    assert_eq!(text, "internal server error: not finished\n");
    let (_, text) = server.get(MASTERS, "/livez/autoregister-completion").await;
    assert!(
        text.starts_with("internal server error: missing APIService: [v1. v1."),
        "{text}"
    );
    assert_eq!(server.failing("/livez").await.0, 500);
    let forgiving = Server::new(&["--livez-grace-period=1h"]).await;
    forgiving.starts();
    assert_eq!(
        forgiving.get(MASTERS, "/livez").await,
        (200, "ok".to_owned())
    );
    assert_eq!(forgiving.get(MASTERS, "/healthz").await.0, 500);
}
