//! Many clients at once: every request leaves exactly the audit entries it must, whatever the server is busy
//! with; how fast that is, is printed.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::builder::Test;
use crate::client::{Answer, Client, Door};
use crate::report;

const CLIENTS: usize = 64;
/// Requests of the test that always runs.
const FEW: usize = 2_000;
/// Requests of `.ci/load`.
const MANY: usize = 100_000;
/// What the node may have resident at most, in KiB.
const RESIDENT: u64 = 150 << 10;

const POLICY: &str = "apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- level: None
  userGroups: [\"system:nodes\", \"system:serviceaccounts:kube-system\"]
- level: RequestResponse
  verbs: [create, update, patch, delete]
  resources: [{group: \"\", resources: [configmaps, secrets]}]
- level: Metadata
";

/// How the log is written, and how often it is rotated.
#[derive(Clone, Copy, PartialEq)]
pub enum Audit {
    Off,
    Blocking,
    Batch,
}

/// A sandbox that audits so.
pub fn lab(test: &Test, audit: Audit) -> Door {
    test.start("sandbox");
    let manifest = test.node("sandbox", "/etc/kubernetes/manifests/kube-apiserver.yaml");
    if audit != Audit::Off {
        for directory in ["/etc/kubernetes/audit", "/var/log/kubernetes/audit"] {
            std::fs::create_dir_all(test.node("sandbox", directory)).unwrap();
        }
        std::fs::write(
            test.node("sandbox", "/etc/kubernetes/audit/policy.yaml"),
            POLICY,
        )
        .unwrap();
        let mut flags = "    - --audit-policy-file=/etc/kubernetes/audit/policy.yaml
    - --audit-log-path=/var/log/kubernetes/audit/audit.log
    - --audit-log-maxsize=2
    - --audit-log-maxbackup=10000
"
        .to_owned();
        if audit == Audit::Batch {
            flags.push_str(
                "    - --audit-log-mode=batch\n    - --audit-log-batch-buffer-size=1000000\n",
            );
        }
        let text = std::fs::read_to_string(&manifest).unwrap();
        let text = text
            .replacen(
                "    - kube-apiserver\n",
                &format!("    - kube-apiserver\n{flags}"),
                1,
            )
            .replacen(
                "    volumeMounts:\n",
                "    volumeMounts:
    - {name: audit, mountPath: /etc/kubernetes/audit, readOnly: true}
    - {name: audit-log, mountPath: /var/log/kubernetes/audit}
",
                1,
            )
            .replacen(
                "  volumes:\n",
                "  volumes:
  - {name: audit, hostPath: {path: /etc/kubernetes/audit, type: Directory}}
  - {name: audit-log, hostPath: {path: /var/log/kubernetes/audit, type: Directory}}
",
                1,
            );
        std::fs::write(&manifest, text).unwrap();
        test.until("the server audits", || {
            let status = test.run(["status", "-o", "json"]).ok().json();
            let server = &status["apiserver"];
            server["ready"] == true
                && server["argv"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|flag| flag.as_str().unwrap().starts_with("--audit-log-path"))
        });
    }
    Door::of(&test.node("sandbox", "/etc/kubernetes/admin.conf"))
}

/// One request of a client.
struct Request {
    method: &'static str,
    path: String,
    content_type: &'static str,
    accept: &'static str,
    body: Vec<u8>,
    is_watch: bool,
}

/// Whether the nth request of a client is a watch.
fn is_watch(n: usize) -> bool {
    n % 100 == 6
}

/// The nth request of a client: all verbs, several kinds, users and content types.
fn request(client: usize, n: usize) -> Request {
    const NAMESPACE: &str = "/api/v1/namespaces/default";
    let round = n / 10;
    let name = format!("load-{client}-{round}");
    let kind = if client.is_multiple_of(2) {
        "configmaps"
    } else {
        "secrets"
    };
    let object = |value: &str| {
        let kind = if client.is_multiple_of(2) {
            "ConfigMap"
        } else {
            "Secret"
        };
        let data = if client.is_multiple_of(2) {
            "data"
        } else {
            "stringData"
        };
        json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, data: {"key": value}})
    };
    let all = format!("{NAMESPACE}/{kind}");
    let one = format!("{all}/{name}");
    let json = "application/json";
    let (method, path, content_type, body) = match n % 10 {
        0 if round.is_multiple_of(2) => ("POST", all, json, object("a").to_string()),
        0 => {
            let yaml = serde_yaml::to_string(&object("a")).unwrap();
            ("POST", all, "application/yaml", yaml)
        }
        1 => ("GET", one, "", String::new()),
        2 => (
            "GET",
            format!("{NAMESPACE}/pods?limit=50"),
            "",
            String::new(),
        ),
        3 => ("PUT", one, json, object("b").to_string()),
        4 => (
            "PATCH",
            one,
            "application/merge-patch+json",
            json!({"metadata": {"labels": {"n": n.to_string()}}}).to_string(),
        ),
        5 => (
            "PATCH",
            one,
            "application/strategic-merge-patch+json",
            json!({"metadata": {"annotations": {"n": n.to_string()}}}).to_string(),
        ),
        6 if is_watch(n) => (
            "GET",
            format!(
                "{all}?watch=true&timeoutSeconds=1&resourceVersion=0&fieldSelector=metadata.name={name}"
            ),
            "",
            String::new(),
        ),
        6 => (
            "GET",
            format!("{all}?labelSelector=n={}&limit=10", n - 2),
            "",
            String::new(),
        ),
        7 => (
            "GET",
            format!("{NAMESPACE}/configmaps/no-such-{n}"),
            "",
            String::new(),
        ),
        8 => (
            "GET",
            "/apis/apps/v1/deployments".to_owned(),
            "",
            String::new(),
        ),
        _ => ("DELETE", one, json, String::new()),
    };
    let accept = match (client + n) % 3 {
        0 => "application/json",
        1 => "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        _ => "application/vnd.kubernetes.protobuf,application/json",
    };
    let is_watch = is_watch(n);
    Request {
        method,
        path,
        content_type,
        accept: if is_watch { json } else { accept },
        body: body.into_bytes(),
        is_watch,
    }
}

/// What was measured of a run.
struct Run {
    requests: usize,
    seconds: f64,
    /// Sorted; watches last as long as they are asked to and are not among them.
    latencies: Vec<Duration>,
    /// The code of each answer, by Audit-ID.
    codes: HashMap<String, (u16, bool)>,
    resident: u64,
    most_resident: u64,
}

/// Sends a request; some act as somebody else.
async fn send(connection: &mut Client, client: usize, request: Request, id: &str) -> Answer {
    let mut headers = vec![("audit-id", id), ("accept", request.accept)];
    if !request.content_type.is_empty() {
        headers.push(("content-type", request.content_type));
    }
    if client.is_multiple_of(8) {
        headers.push(("impersonate-user", "jane"));
        headers.push(("impersonate-group", "system:masters"));
    }
    connection
        .ask(request.method, &request.path, &headers, request.body)
        .await
        .unwrap_or_else(|| panic!("the connection of client {client} ended"))
}

/// Sends that many requests.
fn run(test: &Test, door: &Door, requests: usize) -> Run {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let next = Arc::new(AtomicUsize::new(0));
    let measured = Arc::new(Mutex::new((Vec::new(), HashMap::new(), Duration::ZERO)));
    let start = Instant::now();
    runtime.block_on(async {
        let mut admin = Client::new(door, false, None);
        let token = token(&mut admin).await;
        let mut clients = tokio::task::JoinSet::new();
        for client in 0..CLIENTS {
            let (door, next, measured) = (door.clone(), next.clone(), measured.clone());
            let token = (client % 4 == 3).then(|| token.clone());
            clients.spawn(async move {
                // Watches last their time, on a connection of their own.
                let (watches, mut asked) =
                    tokio::sync::mpsc::unbounded_channel::<(Request, String)>();
                let mut watcher = Client::new(&door, client % 2 == 1, token.clone());
                let watching = tokio::spawn(async move {
                    let mut codes = HashMap::new();
                    while let Some((request, id)) = asked.recv().await {
                        let answer = send(&mut watcher, client, request, &id).await;
                        codes.insert(id, (answer.code, true));
                    }
                    codes
                });
                let mut connection = Client::new(&door, client % 2 == 1, token);
                let (mut latencies, mut codes) = (Vec::new(), HashMap::new());
                let mut n = 0;
                while next.fetch_add(1, Ordering::Relaxed) < requests {
                    let request = request(client, n);
                    let id = format!("load-{client}-{n}");
                    n += 1;
                    if request.is_watch {
                        watches.send((request, id)).unwrap();
                        continue;
                    }
                    let sent = Instant::now();
                    let answer = send(&mut connection, client, request, &id).await;
                    latencies.push(sent.elapsed());
                    codes.insert(id, (answer.code, false));
                }
                let done = Instant::now();
                drop(watches);
                codes.extend(watching.await.unwrap());
                let mut measured = measured.lock().unwrap();
                measured.0.extend(latencies);
                measured.1.extend(codes);
                measured.2 = measured.2.max(done - start);
            });
        }
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
    });
    let (mut latencies, codes, lasted) = std::mem::take(&mut *measured.lock().unwrap());
    latencies.sort();
    Run {
        requests,
        seconds: lasted.as_secs_f64(),
        latencies,
        codes,
        resident: memory(test, "VmRSS:"),
        most_resident: memory(test, "VmHWM:"),
    }
}

/// A token of the default service account, which may read and write what the clients do.
async fn token(admin: &mut Client) -> String {
    let json = [("content-type", "application/json")];
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "load"}, "subjects": [{"kind": "ServiceAccount", "name": "default",
            "namespace": "default"}],
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"}});
    let bindings = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings";
    let bound = admin
        .ask("POST", bindings, &json, role.to_string())
        .await
        .unwrap();
    assert_eq!(bound.code, 201, "{}", bound.message());
    let request =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}});
    let tokens = "/api/v1/namespaces/default/serviceaccounts/default/token";
    let answer = admin
        .ask("POST", tokens, &json, request.to_string())
        .await
        .unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    answer["status"]["token"].as_str().unwrap().to_owned()
}

/// A figure of the node process, in KiB.
fn memory(test: &Test, name: &str) -> u64 {
    let pid = test.pid("sandbox").expect("the node lives");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The entries of a log and its backups, in no order.
pub fn entries(directory: &Path) -> Vec<Value> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let mut entries = Vec::new();
    for file in files {
        let mut text = String::new();
        std::fs::File::open(&file)
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        assert!(
            text.is_empty() || text.ends_with('\n'),
            "{} is torn",
            file.display()
        );
        for line in text.lines() {
            let entry = serde_json::from_str(line);
            entries
                .push(entry.unwrap_or_else(|error| panic!("{}: {error}: {line}", file.display())));
        }
    }
    entries
}

/// Every request has each of its stages once, with the code the client saw; nothing else has their ids.
fn assert_complete(run: &Run, entries: &[Value]) {
    let mut stages: HashMap<&str, BTreeMap<&str, Vec<&Value>>> = HashMap::new();
    for entry in entries {
        let id = entry["auditID"].as_str().unwrap();
        if id.starts_with("load-") {
            let stage = entry["stage"].as_str().unwrap();
            stages
                .entry(id)
                .or_default()
                .entry(stage)
                .or_default()
                .push(entry);
        }
    }
    assert_eq!(stages.len(), run.codes.len(), "requests in the log");
    for (id, (code, is_watch)) in &run.codes {
        let of_request = stages
            .get(id.as_str())
            .unwrap_or_else(|| panic!("{id} ({code}) is lost"));
        let expected: &[&str] = if *is_watch && *code == 200 {
            &["RequestReceived", "ResponseComplete", "ResponseStarted"]
        } else if *is_watch {
            // A watch that is refused says so before it would start.
            assert!(
                of_request.contains_key("ResponseComplete"),
                "{id}: {of_request:?}"
            );
            continue;
        } else {
            &["RequestReceived", "ResponseComplete"]
        };
        assert!(
            of_request.keys().eq(expected),
            "{id} ({code}): {of_request:?}"
        );
        for (stage, entries) in of_request {
            assert_eq!(entries.len(), 1, "{id} {stage}");
            if *stage != "RequestReceived" {
                assert_eq!(entries[0]["responseStatus"]["code"], *code, "{id} {stage}");
            }
        }
    }
}

/// Codes that are no success or foreseen refusal.
fn assert_answers(run: &Run) {
    let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
    for (code, _) in run.codes.values() {
        *counts.entry(*code).or_default() += 1;
    }
    for code in counts.keys() {
        assert!([200, 201, 404].contains(code), "{counts:?}");
    }
}

fn row(name: &str, run: &Run) -> [String; 7] {
    let at = |share: f64| {
        let index = ((run.latencies.len() - 1) as f64 * share) as usize;
        format!("{:.1}", run.latencies[index].as_secs_f64() * 1e3)
    };
    [
        name.to_owned(),
        run.requests.to_string(),
        format!("{:.0}", run.requests as f64 / run.seconds),
        at(0.5),
        at(0.99),
        at(1.0),
        format!("{}/{}", run.resident >> 10, run.most_resident >> 10),
    ]
}

/// Runs with audit in both modes and without, and compares.
fn measure(requests: usize) {
    let mut rows = Vec::new();
    for (name, audit) in [
        ("without audit", Audit::Off),
        ("audit, blocking", Audit::Blocking),
        ("audit, batch", Audit::Batch),
    ] {
        let test = Test::new();
        let door = lab(&test, audit);
        let run = run(&test, &door, requests);
        assert_answers(&run);
        assert!(
            run.most_resident < RESIDENT,
            "{} KiB resident",
            run.most_resident
        );
        let directory = test.node("sandbox", "/var/log/kubernetes/audit");
        match audit {
            Audit::Off => {}
            Audit::Blocking => assert_complete(&run, &entries(&directory)),
            Audit::Batch => {
                // SIGTERM: what is queued is written before the server is gone.
                test.run(["stop"]).ok();
                assert_complete(&run, &entries(&directory));
            }
        }
        rows.push(row(name, &run));
    }
    report::table(
        [
            "load, 64 clients",
            "requests",
            "/s",
            "p50 ms",
            "p99 ms",
            "max ms",
            "MiB now/most",
        ],
        &rows,
    );
}

#[test]
fn no_entry_is_lost_doubled_or_torn() {
    measure(FEW);
}

#[test]
#[ignore = "minutes; run by .ci/load"]
fn no_entry_is_lost_doubled_or_torn_in_many_requests() {
    let requests = std::env::var("CKSLAB_LOAD_REQUESTS").ok();
    measure(requests.map_or(MANY, |text| text.parse().unwrap()));
}
