//! What the audit webhook posts: fixtures/golden/webhook.jsonl with a receiver of our own, and what the
//! recordings do not show.
//!
//! Times of the recordings pass ten times faster: the delays and waits of the flags, defaults
//! included, and the pauses between requests. `WEBHOOK=tls` runs only cases whose id contains that.

mod failure;
mod modes;
pub(crate) mod receiver;
pub(crate) mod server;

use std::time::Duration;

use ckslab::audit::options::AuditOptions;
use serde_json::Value;

use self::receiver::{Post, Receiver, Reply};
use self::server::Node;
use crate::{flags, replay, report};

/// How much faster than in the recordings time passes.
const FASTER: u32 = 10;
/// What came within the window of one batch there may come in two here: how often a case is tried.
const TRIES: usize = 5;

fn milliseconds(value: &Value) -> Duration {
    Duration::from_millis(value.as_u64().unwrap())
}

/// Values that differ from run to run.
fn comparable(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .filter(|(name, _)| {
                !matches!(
                    name.as_str(),
                    "auditID"
                        | "requestReceivedTimestamp"
                        | "stageTimestamp"
                        | "extra"
                        | "uid"
                        | "resourceVersion"
                        | "creationTimestamp"
                        | "time"
                ) && !name.starts_with("apiserver.latency.k8s.io/")
            })
            .map(|(name, value)| (name.clone(), comparable(value)))
            .collect::<serde_json::Map<_, _>>()
            .into(),
        Value::Array(items) => items.iter().map(comparable).collect(),
        other => other.clone(),
    }
}

struct Case {
    row: Value,
}

impl Case {
    fn id(&self) -> &str {
        self.row["id"].as_str().unwrap()
    }

    fn posts(&self) -> &[Value] {
        self.row["receiverPosts"].as_array().unwrap()
    }

    /// The flags, and again those that are durations, shorter.
    fn arguments(&self) -> (Vec<String>, AuditOptions) {
        let mut arguments = flags::strings(&self.row["args"]);
        let mut argv = vec!["kube-apiserver".to_owned()];
        argv.extend(arguments.iter().cloned());
        let options = AuditOptions::from_argv(&argv).unwrap();
        for (flag, nanoseconds) in [
            ("batch-max-wait", options.webhook.batch.max_wait),
            ("initial-backoff", options.webhook.initial_backoff),
        ] {
            let shorter = nanoseconds / i64::from(FASTER);
            arguments.push(format!("--audit-webhook-{flag}={shorter}ns"));
        }
        (arguments, options)
    }

    fn replies(&self) -> Vec<Reply> {
        self.posts()
            .iter()
            .map(|post| {
                let reply = &post["responded"];
                let headers = reply["headers"].as_object().into_iter().flatten();
                Reply {
                    status: u16::try_from(reply["status"].as_u64().unwrap()).unwrap(),
                    headers: headers
                        .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
                        .collect(),
                    body: reply["body"].as_str().unwrap_or_default().to_owned(),
                }
            })
            .collect()
    }

    async fn differences(&self) -> Vec<String> {
        let mut notes = Vec::new();
        let node = Node::new(self.row["policy"].as_str().unwrap());
        let kubeconfig = self.row["webhookKubeconfig"].as_str().unwrap();
        let tls = kubeconfig
            .contains("https://")
            .then(|| node.acceptor(kubeconfig.contains("client-certificate")));
        let receiver = Receiver::start(self.replies(), tls).await;
        let port = format!(":{}", receiver.port);
        node.write(
            "etc/kubernetes/audit-webhook.yaml",
            &kubeconfig.replace(":9443", &port),
        );
        let (arguments, options) = self.arguments();
        let server = node.start(&arguments);
        server.ready().await;
        let start = tokio::time::Instant::now();
        for request in self.row["clientRequests"].as_array().unwrap() {
            tokio::time::sleep_until(start + milliseconds(&request["atMs"]) / FASTER).await;
            let body = request["requestBody"]
                .as_str()
                .map(|text| serde_json::from_str(text).unwrap());
            let path = request["path"].as_str().unwrap();
            let method = request["method"].as_str().unwrap();
            let (status, text) = server.request(method, path, body).await;
            if request["status"] != status {
                notes.push(format!("{method} {path} answered {status}"));
            }
            if status == 500 && request["responseBody"] != text.as_str() {
                notes.push(format!("{method} {path} answered {text}"));
            }
        }
        if !self.posts().is_empty() {
            receiver.wait(self.posts().len()).await;
        }
        let (code, output) = server.terminate().await;
        if code != 0 {
            notes.push(format!("ended with {code}"));
        }
        let mut posts = receiver.posts();
        // Batches are sent at the same time when they are full soon after one another.
        posts.sort_by_key(|post| post.items()[0]["stageTimestamp"].to_string());
        self.compare_posts(&posts, &port, &mut notes);
        self.compare_delays(&posts, &options, &mut notes);
        let text = output.stderr.lock().unwrap().join("\n");
        let lines: Vec<String> = text
            .lines()
            .map(|line| flags::masked(line).replace(&port, ":9443"))
            .filter(|line| line.contains("udit") && !line.contains("FLAG:"))
            .filter(|line| !line.contains("AUDIT:") && !line.starts_with("Impacted"))
            .collect();
        let want = flags::strings(&self.row["stderrAuditLines"]);
        if lines != want {
            notes.push(format!("stderr {lines:#?}\nwant {want:#?}"));
        }
        notes
    }

    fn compare_posts(&self, posts: &[Post], port: &str, notes: &mut Vec<String>) {
        let counts: Vec<usize> = posts.iter().map(|post| post.items().len()).collect();
        let want: Vec<u64> = self
            .posts()
            .iter()
            .map(|post| post["itemCount"].as_u64().unwrap())
            .collect();
        if counts.len() != want.len() || counts.iter().zip(&want).any(|(a, b)| *a as u64 != *b) {
            notes.push(format!("items {counts:?}, want {want:?}"));
            return;
        }
        for (got, want) in posts.iter().zip(self.posts()) {
            let line = format!(
                "{} {} {}",
                want["method"].as_str().unwrap(),
                want["path"].as_str().unwrap(),
                want["httpVersion"].as_str().unwrap()
            );
            if got.line != line {
                notes.push(format!("{}, want {line}", got.line));
            }
            let headers: Vec<(String, String)> = want["headers"]
                .as_array()
                .unwrap()
                .iter()
                .map(|pair| {
                    let name = pair[0].as_str().unwrap().to_owned();
                    let value = match name.as_str() {
                        "Content-Length" => got.body.len().to_string(),
                        _ => pair[1].as_str().unwrap().replace(":9443", port),
                    };
                    (name, value)
                })
                .collect();
            if got.headers != headers {
                notes.push(format!("headers {:?}, want {headers:?}", got.headers));
            }
            let want = want["body"].as_str().unwrap();
            if got.body.ends_with('\n') != want.ends_with('\n') {
                notes.push("the last line break differs".to_owned());
            }
            let of =
                |text: &str| comparable(&serde_json::from_str::<Value>(text).unwrap()).to_string();
            if of(&got.body) != of(want) {
                notes.push(format!("body {}\nwant {}", of(&got.body), of(want)));
            }
        }
    }

    /// A post that was refused comes again, later each time, but not before its time.
    fn compare_delays(&self, posts: &[Post], options: &AuditOptions, notes: &mut Vec<String>) {
        let backoff = Duration::from_nanos(options.webhook.initial_backoff as u64) / FASTER;
        let mut delay = backoff;
        for (pair, want) in posts.windows(2).zip(self.posts()) {
            if pair[0].body != pair[1].body {
                delay = backoff;
                continue;
            }
            let least = match want["responded"]["headers"]["Retry-After"].as_str() {
                Some(seconds) => Duration::from_secs(seconds.parse().unwrap()),
                None => delay,
            };
            let passed = pair[1].at - pair[0].at;
            if passed < least {
                notes.push(format!("again after {passed:?}, want at least {least:?}"));
            }
            delay = delay.mul_f64(1.5);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_cases_post_what_the_real_one_posts() {
    let text = std::fs::read_to_string(replay::golden().join("webhook.jsonl")).unwrap();
    let wanted = std::env::var("WEBHOOK").unwrap_or_default();
    let (mut agree, mut total) = (0, 0);
    let mut unexpected = Vec::new();
    for line in text.lines() {
        let case = Case {
            row: serde_json::from_str(line).unwrap(),
        };
        if !case.id().contains(&wanted) {
            continue;
        }
        total += 1;
        let batched = !case.row["args"].to_string().contains("blocking");
        let mut notes = Vec::new();
        for _ in 0..if batched { TRIES } else { 1 } {
            notes = case.differences().await;
            if !notes.iter().any(|note| note.starts_with("items ")) {
                break;
            }
        }
        if notes.is_empty() {
            agree += 1;
        } else {
            unexpected.push(format!("{}: {}", case.id(), notes.join("; ")));
        }
    }
    report::agreement("webhook", "cases", agree, total, 0);
    assert!(unexpected.is_empty(), "{}", unexpected.join("\n"));
}
