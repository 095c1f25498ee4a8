//! Clients that mean no good, or cannot do better: limits and clear errors, never a panic, a hang or memory
//! without end; the node answers everybody else meanwhile and after.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::builder::Test;
use crate::client::{Client, Door};

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
const JSON: &str = "application/json";
const YAML: &str = "application/yaml";
const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
/// What a node may have resident at most, whatever it is asked, in KiB.
const RESIDENT: u64 = 600 << 10;

pub struct Lab {
    pub test: Test,
    pub door: Door,
}

impl Lab {
    pub fn start() -> Self {
        let test = Test::new();
        test.start("sandbox");
        let door = Door::of(&test.node("sandbox", "/etc/kubernetes/admin.conf"));
        Self { test, door }
    }

    /// The node lives, is well, did not panic and stayed within its bounds.
    pub async fn assert_well(&self) {
        let mut client = Client::new(&self.door, true, None);
        let ready = client.ask("GET", "/readyz", &[], "").await.unwrap();
        assert_eq!(ready.message(), "ok");
        let name = format!("after-{}", rand::rng().random::<u64>());
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}});
        let headers = [("content-type", JSON)];
        let made = client
            .ask("POST", CONFIGMAPS, &headers, object.to_string())
            .await
            .unwrap();
        assert_eq!(made.code, 201, "{}", made.message());
        let log = std::fs::read_to_string(self.test.lab("sandbox").join("state/node.log")).unwrap();
        assert!(!log.contains("panicked"), "{log}");
        let pid = self.test.pid("sandbox").unwrap();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let most = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        let most: u64 = most.split_whitespace().next().unwrap().parse().unwrap();
        assert!(most < RESIDENT, "{most} KiB resident at one time");
    }
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn what_is_no_request_is_refused_as_go_does() {
    let lab = Lab::start();
    let a = |count: usize| "a".repeat(count);
    let many: String = (0..400).map(|n| format!("X-{n}: y\r\n")).collect();
    let get = |path: &str, headers: &str| {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n")
    };
    let post = |headers: &str, body: &str| {
        format!(
            "POST {CONFIGMAPS}?dryRun=All HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n{headers}\r\n{body}"
        )
    };
    let cases = [
        (
            get("/%zz", ""),
            "400 Bad Request",
            "\r\n\r\n400 Bad Request",
        ),
        (
            "GET /version HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(),
            "400 Bad Request: missing required Host header",
            "\r\n\r\n400 Bad Request: missing required Host header",
        ),
        (
            get("/version", "Host: y\r\n"),
            "400 Bad Request: too many Host headers",
            "400 Bad Request: too many Host headers",
        ),
        (get("/version", "A b: c\r\n"), "400 Bad Request", ""),
        (get("/version", "A: b\0c\r\n"), "400 Bad Request", ""),
        (
            get(&format!("/{}", a(2 << 20)), ""),
            "431 Request Header Fields Too Large",
            "",
        ),
        (
            get("/version", &format!("X: {}\r\n", a(2 << 20))),
            "431 Request Header Fields Too Large",
            "",
        ),
        (
            get("/version", &format!("X: {}\r\n", a(900_000))),
            "200 OK",
            "gitVersion",
        ),
        (get("/version", &many), "200 OK", "gitVersion"),
        (
            get("/version", "User-Agent: \u{fffd}\r\n"),
            "200 OK",
            "gitVersion",
        ),
        (
            get("/version?timeout=5x", ""),
            "400 Bad Request",
            "invalid timeout specified in the request URL - time: unknown unit \\\"x\\\" in duration \\\"5x\\\"",
        ),
        (get("/api/v1/namespaces/../pods", ""), "200 OK", "PodList"),
        (
            get("/../../etc/passwd", ""),
            "404 Not Found",
            "404 page not found",
        ),
        (
            get(&format!("/api/v1/pods?labelSelector={}", a(60_000)), ""),
            "400 Bad Request",
            "must be no more than 63",
        ),
        (
            get("/api/v1/pods?limit=99999999999999999999", ""),
            "400 Bad Request",
            "value out of range",
        ),
        (
            get("/api/v1/pods?continue=%00", ""),
            "400 Bad Request",
            "continue key is not valid",
        ),
        (
            post("Content-Length: 2\r\nContent-Length: 3\r\n", "{}x"),
            "400 Bad Request",
            "",
        ),
        (post("Content-Length: -1\r\n", "{}"), "400 Bad Request", ""),
        (
            post("Content-Length: 99999999999999999999\r\n", "{}"),
            "400 Bad Request",
            "",
        ),
        (
            post("Transfer-Encoding: xchunked\r\n", "{}"),
            "400 Bad Request",
            "",
        ),
        (
            post(
                "Transfer-Encoding: chunked\r\n",
                "ffffffffffffffffff\r\n{}\r\n",
            ),
            "400 Bad Request",
            "",
        ),
        (
            post(
                "Content-Encoding: gzip\r\nContent-Length: 4\r\n",
                "\x1f\x08\x08\x00",
            ),
            "400 Bad Request",
            "json parse error",
        ),
    ];
    let runtime = runtime();
    runtime.block_on(async {
        for (request, status, text) in &cases {
            let answer = lab.door.raw(request.as_bytes()).await;
            let shown = &request[..request.len().min(120)];
            // The server may hang up on what is far too long before its answer was read.
            let is_cut = answer.is_empty() && request.len() > 1 << 20;
            assert!(
                is_cut || answer.starts_with(&format!("HTTP/1.1 {status}\r\n")),
                "{shown}: {answer}"
            );
            assert!(is_cut || answer.contains(text), "{shown}: {answer}");
        }
        // Two requests in one: what is behind the first is a request of its own, and nothing else.
        let two = post(
            "Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
            "2\r\n{}\r\n0\r\n\r\nGET /secret HTTP/1.1\r\n\r\n",
        );
        let answer = lab.door.raw(two.as_bytes()).await;
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
        let mut plain = TcpStream::connect(("127.0.0.1", lab.door.port))
            .await
            .unwrap();
        plain
            .write_all(b"GET /version HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .unwrap();
        let mut answer = String::new();
        plain.read_to_string(&mut answer).await.unwrap();
        assert_eq!(
            answer,
            "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
        );
        lab.assert_well().await;
    });
}

/// A ConfigMap with this after its name.
fn configmap(rest: &str) -> Vec<u8> {
    format!(
        "{{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{{\"name\":\"x\"}},{rest}}}"
    )
    .into_bytes()
}

fn list(item: &str, count: usize) -> String {
    vec![item; count].join(",")
}

fn deep(open: &str, middle: &str, close: &str, depth: usize) -> Vec<u8> {
    format!("{}{middle}{}", open.repeat(depth), close.repeat(depth)).into_bytes()
}

#[test]
fn bodies_without_measure_are_refused() {
    let lab = Lab::start();
    let keys = |count: usize| -> String {
        (0..count)
            .map(|n| format!("\"key-{n}-{n}-{n}\":\"v\","))
            .collect()
    };
    let bomb: String = (1..9).fold("a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned(), |text, n| {
        let letter = |n: u8| char::from(b'a' + n);
        let last = format!("*{}", letter(n - 1));
        format!("{text}{0}: &{0} [{1}]\n", letter(n), list(&last, 9))
    });
    let envelope = |bytes: &[u8]| [b"k8s\0".as_slice(), bytes].concat();
    let cases: Vec<(&str, &str, Vec<u8>, u16, &str)> = vec![
        (
            "deep lists",
            JSON,
            deep("[", "", "", 1_000_000),
            400,
            "exceeded max depth",
        ),
        (
            "deep objects",
            JSON,
            deep("{\"a\":", "1", "}", 400_000),
            400,
            "exceeded max depth",
        ),
        (
            "numbers",
            JSON,
            format!("[{}]", list("1", 500_000)).into_bytes(),
            400,
            "cannot unmarshal array",
        ),
        (
            "finalizers",
            JSON,
            configmap(&format!(
                "\"a\":1,\"metadata\":{{\"name\":\"x\",\"finalizers\":[{}]}}",
                list("\"\"", 60_000)
            )),
            422,
            "is invalid",
        ),
        (
            "too long for a request",
            JSON,
            vec![b' '; (3 << 20) + 1],
            413,
            "limit is 3145728",
        ),
        (
            "too long for etcd",
            JSON,
            configmap(&format!(
                "\"data\":{{{}}}",
                keys(60_000).trim_end_matches(',')
            )),
            500,
            "etcdserver: request is too large",
        ),
        (
            "too long for etcd's client",
            JSON,
            configmap(&format!(
                "\"data\":{{{}}}",
                keys(95_000).trim_end_matches(',')
            )),
            500,
            "trying to send message larger than max",
        ),
        (
            "too many values",
            JSON,
            configmap(&format!(
                "\"a\":1,\"metadata\":{{\"name\":\"x\",\"finalizers\":[{}]}}",
                list("\"\"", 400_000)
            )),
            500,
            "etcdserver: request is too large",
        ),
        (
            "aliases",
            YAML,
            bomb.into_bytes(),
            400,
            "excessive aliasing",
        ),
        (
            "deep YAML",
            YAML,
            deep("[", "", "", 300_000),
            400,
            "exceeded max depth",
        ),
        (
            "dashes",
            YAML,
            b"- ".repeat(300_000),
            400,
            "exceeded max depth",
        ),
        ("no protobuf", PROTOBUF, Vec::new(), 400, "empty data"),
        (
            "protobuf cut",
            PROTOBUF,
            envelope(b"\x0a\x0f\x0a\x02v1\x12\x09ConfigMap\x12\xff\xff\x7f\x0a"),
            400,
            "unexpected EOF",
        ),
        (
            "protobuf of ones",
            PROTOBUF,
            envelope(&[0xff; 500_000]),
            400,
            "integer overflow",
        ),
        (
            "CBOR",
            "application/cbor",
            b"\xd9\xd9\xf7\x81".to_vec(),
            415,
            "unknown format",
        ),
        (
            "nothing",
            JSON,
            Vec::new(),
            400,
            "unexpected end of JSON input",
        ),
    ];
    let runtime = runtime();
    runtime.block_on(async {
        let mut client = Client::new(&lab.door, false, None);
        for (what, content_type, body, code, text) in cases {
            let headers = [("content-type", content_type)];
            let answer = client.ask("POST", CONFIGMAPS, &headers, body).await;
            let Some(answer) = answer else {
                // Hung up while the body was on its way.
                assert_eq!(code, 413, "{what}");
                continue;
            };
            let message = answer.message();
            let shown: String = message.chars().take(300).collect();
            assert_eq!(answer.code, code, "{what}: {shown}");
            assert!(message.contains(text), "{what}: {shown}");
        }
        lab.assert_well().await;
    });
}

#[test]
fn patches_without_measure_are_refused() {
    let lab = Lab::start();
    let operation = "{\"op\":\"add\",\"path\":\"/data/a\",\"value\":\"x\"}";
    let copies: String = (0..60)
        .map(|n| format!(",{{\"op\":\"copy\",\"from\":\"/data\",\"path\":\"/data/c{n}\"}}"))
        .collect();
    let copies = format!(
        "[{{\"op\":\"add\",\"path\":\"/data/b\",\"value\":\"{}\"}}{copies}]",
        "x".repeat(100_000)
    );
    let owners: String = (0..2_000)
        .map(|n| {
            format!(
                "{{\"uid\":\"u{}\",\"kind\":\"a\",\"name\":\"b\",\"apiVersion\":\"v1\"}},",
                n % 1_000
            )
        })
        .collect();
    let rejected = "the server rejected our request due to an error in our request";
    let cases: Vec<(&str, &str, String, u16, &str)> = vec![
        ("10000 operations", JSON_PATCH, format!("[{}]", list(operation, 10_000)), 200, ""),
        ("one more", JSON_PATCH, format!("[{}]", list(operation, 10_001)), 413, "maximum operations in a JSON patch is 10000, got 10001"),
        ("copies of copies", JSON_PATCH, copies, 422, rejected),
        ("into itself", JSON_PATCH, json!([{"op": "move", "from": "/data", "path": "/data/a/b"}]).to_string(), 422, rejected),
        ("nothing left", JSON_PATCH, json!([{"op": "remove", "path": ""}]).to_string(), 422, ""),
        ("no place", JSON_PATCH, json!([{"op": "add", "path": "/metadata/managedFields/99999999999999999999", "value": 1}]).to_string(), 422, rejected),
        ("deep", MERGE_PATCH, String::from_utf8(deep("{\"a\":", "1", "}", 200_000)).unwrap(), 400, "exceeded max depth"),
        ("a number", MERGE_PATCH, "5".to_owned(), 400, "cannot unmarshal number"),
        ("a directive", STRATEGIC, json!({"$patch": "explode"}).to_string(), 500, "unknown patch type"),
        ("owners", STRATEGIC, format!("{{\"metadata\":{{\"ownerReferences\":[{}]}}}}", owners.trim_end_matches(',')), 200, ""),
        ("no owner", APPLY, "{}".to_owned(), 422, "fieldManager"),
        ("no YAML", APPLY, "[".repeat(100_000), 400, ""),
    ];
    let runtime = runtime();
    runtime.block_on(async {
        let mut client = Client::new(&lab.door, true, None);
        let headers = [("content-type", JSON)];
        let made = client
            .ask(
                "POST",
                CONFIGMAPS,
                &headers,
                configmap("\"data\":{\"a\":\"b\"}"),
            )
            .await;
        assert_eq!(made.unwrap().code, 201);
        let path = format!("{CONFIGMAPS}/x");
        for (what, content_type, body, code, text) in cases {
            let headers = [("content-type", content_type)];
            let query = if what == "no YAML" {
                "?fieldManager=x"
            } else {
                ""
            };
            let path = format!("{path}{query}");
            let answer = client.ask("PATCH", &path, &headers, body).await.unwrap();
            let message = answer.message();
            let shown: String = message.chars().take(300).collect();
            assert_eq!(answer.code, code, "{what}: {shown}");
            assert!(message.contains(text), "{what}: {shown}");
        }
        lab.assert_well().await;
    });
}

#[test]
fn idle_slow_and_silent_clients_keep_nobody_out() {
    /// More than any limit of clients at once would be that a laptop needs.
    const IDLE: usize = 600;
    let lab = Lab::start();
    let runtime = runtime();
    runtime.block_on(async {
        let mut kept = Vec::new();
        let mut silent = Vec::new();
        for n in 0..IDLE {
            // Without a handshake, with half a request, with half a body, with a watch that is never read.
            let text = match n % 6 {
                0 => {
                    let stream = TcpStream::connect(("127.0.0.1", lab.door.port)).await.unwrap();
                    silent.push(stream);
                    continue;
                }
                1 => "GET /version HTT".to_owned(),
                2 => format!("POST {CONFIGMAPS} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{"),
                3 => "GET /api/v1/configmaps?watch=true HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
                4 => "GET /openapi/v2 HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(),
                _ => String::new(),
            };
            // Not too many handshakes: in a test build they are what takes the time.
            if n % 4 == 0 || n % 6 == 3 {
                let mut stream = lab.door.connect(true, b"http/1.1").await.unwrap();
                stream.write_all(text.as_bytes()).await.unwrap();
                if n % 12 == 2 {
                    let _ = stream.get_mut().0.shutdown().await;
                }
                kept.push(stream);
            } else {
                let mut stream = TcpStream::connect(("127.0.0.1", lab.door.port)).await.unwrap();
                stream.write_all(b"\x16\x03\x01").await.unwrap();
                silent.push(stream);
            }
        }
        // What the watches are told, and nobody reads.
        let mut client = Client::new(&lab.door, false, None);
        let large = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "large"},
            "data": {"key": "x".repeat(100_000)}});
        for n in 0..20 {
            let (method, path) = match n {
                0 => ("POST", CONFIGMAPS.to_owned()),
                _ => ("PUT", format!("{CONFIGMAPS}/large")),
            };
            let mut object = large.clone();
            object["data"]["n"] = n.to_string().into();
            let headers = [("content-type", JSON)];
            let answer = client.ask(method, &path, &headers, object.to_string()).await.unwrap();
            assert!(answer.code < 300, "{}", answer.message());
        }
        lab.assert_well().await;
    });
}

#[test]
fn random_requests_get_an_answer() {
    const REQUESTS: usize = 400;
    const WORDS: [&str; 38] = [
        "/",
        "//",
        "..",
        ".",
        "%2f",
        "%00",
        "%",
        "?",
        "&",
        "=",
        "api",
        "apis",
        "v1",
        "apps",
        "namespaces",
        "default",
        "kube-system",
        "pods",
        "configmaps",
        "secrets",
        "deployments",
        "status",
        "scale",
        "log",
        "exec",
        "proxy",
        "watch",
        "watch=true",
        "timeoutSeconds=1",
        "timeout=1s",
        "limit=1",
        "labelSelector=a%20in%20(b)",
        "continue=",
        "resourceVersion=0",
        "fieldSelector=a=b",
        "dryRun=All",
        "\u{e9}",
        "fieldManager=x",
    ];
    const METHODS: [&str; 8] = [
        "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "NONE",
    ];
    const BODIES: [&str; 6] = [
        "",
        "{}",
        "null",
        "[{\"op\":\"test\",\"path\":\"\"}]",
        "{\"kind\":\"Pod\",\"apiVersion\":\"v1\"}",
        "a: [b",
    ];
    const TYPES: [&str; 6] = [JSON, YAML, PROTOBUF, JSON_PATCH, STRATEGIC, APPLY];
    let lab = Lab::start();
    let seed = rand::rng().random();
    let mut random = StdRng::seed_from_u64(seed);
    let runtime = runtime();
    runtime.block_on(async {
        let mut client = Client::new(&lab.door, false, None);
        for _ in 0..REQUESTS {
            let mut path = "/".to_owned();
            for _ in 0..random.random_range(1..12) {
                path.push_str(WORDS[random.random_range(0..WORDS.len())]);
                if random.random_ratio(2, 3) {
                    path.push('/');
                }
            }
            let method = METHODS[random.random_range(0..METHODS.len())];
            let body = BODIES[random.random_range(0..BODIES.len())];
            let content_type = TYPES[random.random_range(0..TYPES.len())];
            let Ok(uri) = path.parse::<http::Uri>() else {
                continue;
            };
            let headers = [
                ("content-type", content_type),
                ("accept", TYPES[random.random_range(0..3)]),
            ];
            let mut answer = None;
            // The server may have closed the connection after the last answer.
            for _ in 0..2 {
                if answer.is_none() {
                    answer = client.open(method, &uri.to_string(), &headers, body).await;
                }
            }
            let answer =
                answer.unwrap_or_else(|| panic!("seed {seed}: no answer to {method} {path}"));
            // A watch or a log may go on for ever.
            let rest = http_body_util::BodyExt::collect(answer.into_body());
            if tokio::time::timeout(Duration::from_secs(3), rest)
                .await
                .is_err()
            {
                client = Client::new(&lab.door, false, None);
            }
        }
        lab.assert_well().await;
    });
}
