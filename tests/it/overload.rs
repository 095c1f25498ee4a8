//! More than a server does at once, and longer than a client may wait: 429 and 504, as clients and the audit log see
//! them (`pkg/server/filters/{maxinflight,priority-and-fairness,timeout}.go`).

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::pipeline::{Client, EVERYTHING, Lab, get};

const CONFIGMAPS: &str = "/api/v1/namespaces/default/configmaps";
const ONE_AT_A_TIME: [&str; 3] = [
    "--max-requests-inflight=1",
    "--max-mutating-requests-inflight=1",
    "--enable-priority-and-fairness=false",
];

fn admin(lab: &Lab) -> Client {
    lab.authority.client("ann", "kubeadm:cluster-admins", true)
}

fn post(query: &str, id: &str) -> http::Request<http_body_util::Full<bytes::Bytes>> {
    let mut request = get(&format!("{CONFIGMAPS}?dryRun=All{query}"), id);
    *request.method_mut() = http::Method::POST;
    let json = http::HeaderValue::from_static("application/json");
    request.headers_mut().insert("content-type", json);
    *request.body_mut() = "{\"metadata\":{\"name\":\"x\"}}".into();
    request
}

/// A request whose body never comes.
fn endless(query: &str, id: &str) -> String {
    format!(
        "POST {CONFIGMAPS}?dryRun=All{query} HTTP/1.1\r\nHost: localhost\r\nAudit-ID: {id}\r\nContent-Type: application/json\r\nContent-Length: 10\r\n\r\n"
    )
}

async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..3000 {
        if holds().await {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("waited for ever until {what}");
}

fn stages(events: &[Value]) -> Vec<&str> {
    let stage = |event: &Value| event["stage"].clone();
    let known = [
        "RequestReceived",
        "ResponseStarted",
        "ResponseComplete",
        "Panic",
    ];
    events
        .iter()
        .map(|event| *known.iter().find(|known| stage(event) == **known).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_too_much_is_refused_without_an_authorisation() {
    let lab = Lab::start_with(EVERYTHING, &ONE_AT_A_TIME).await;
    let mut holding = lab.connect(Some(admin(&lab)), b"http/1.1").await;
    let request = endless("", "holding");
    holding.write_all(request.as_bytes()).await.unwrap();
    let mut n = 0;
    let mut refused = None;
    until("the only place is taken", async || {
        n += 1;
        let id = format!("post-{n}");
        let (code, headers, body) = lab.ask(Some(admin(&lab)), n % 2 == 0, post("", &id)).await;
        if code == 201 {
            return false;
        }
        refused = Some((id, code, headers, body));
        true
    })
    .await;
    let (id, code, headers, body) = refused.unwrap();
    assert_eq!(code, 429);
    assert_eq!(&body[..], b"Too many requests, please try again later.\n");
    assert_eq!(headers["retry-after"], "1");
    assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let events = lab.events(&id);
    assert_eq!(stages(&events), ["RequestReceived", "ResponseComplete"]);
    assert_eq!(
        events[1]["responseStatus"],
        json!({"metadata": {}, "code": 429})
    );
    assert_eq!(events[1].get("annotations"), None);
    // Reads have a place of their own, the privileged need none, and what runs for long takes none.
    let (code, _, _) = lab
        .ask(Some(admin(&lab)), true, get(CONFIGMAPS, "read"))
        .await;
    assert_eq!(code, 200);
    let root = lab.authority.client("root", "system:masters", true);
    let (code, _, _) = lab.ask(Some(root), true, post("", "root")).await;
    assert_eq!(code, 201);
    // Its place is free when its client is gone.
    drop(holding);
    until("there is room", async || {
        let (code, _, _) = lab.ask(Some(admin(&lab)), false, post("", "again")).await;
        code == 201
    })
    .await;
    assert_eq!(
        stages(&lab.events("holding")),
        ["RequestReceived", "ResponseComplete"]
    );
    assert_eq!(lab.stop().await, 0);
}

/// What a client is told whose time is over: no `kind`, so kubectl says it in its own words.
const LATE: &str = "{\"metadata\":{},\"status\":\"Failure\",\"message\":\"Timeout: request did not complete within the allotted timeout\",\"reason\":\"Timeout\",\"details\":{},\"code\":504}\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_hears_when_its_time_is_over_and_the_log_what_became_of_its_request() {
    let lab = Lab::start_with(EVERYTHING, &[]).await;
    let mut slow = lab.connect(Some(admin(&lab)), b"http/1.1").await;
    let request = endless("&timeout=300ms", "slow");
    slow.write_all(request.as_bytes()).await.unwrap();
    let mut answer = vec![0; 2000];
    let length = slow.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..length]);
    assert!(
        answer.starts_with("HTTP/1.1 504 Gateway Timeout\r\nAudit-Id: slow\r\n"),
        "{answer}"
    );
    assert!(
        answer.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"),
        "{answer}"
    );
    assert!(answer.ends_with(LATE), "{answer}");
    until("its end is in the log", async || {
        lab.events("slow").len() == 2
    })
    .await;

    lab.machine.etcd_up.send_replace(false);
    let requests = [
        (
            get(CONFIGMAPS, "list"),
            json!({"metadata": {}, "status": "Failure", "message": "context deadline exceeded", "code": 500}),
        ),
        (
            post("", "create"),
            json!({"metadata": {}, "status": "Failure",
                "message": "Timeout: request did not complete within requested timeout - context deadline exceeded",
                "reason": "Timeout", "details": {}, "code": 504}),
        ),
    ];
    for (request, status) in requests {
        let id = request.headers()["audit-id"].to_str().unwrap().to_owned();
        let (code, _, body) = lab.ask(Some(admin(&lab)), true, request).await;
        assert_eq!((code, &body[..]), (504, LATE.as_bytes()), "{id}");
        let events = lab.events(&id);
        assert_eq!(stages(&events), ["RequestReceived", "ResponseComplete"]);
        assert_eq!(events[1]["responseStatus"], status, "{id}");
    }
    // Not everything needs etcd.
    let (code, _, _) = lab.ask(None, true, get("/version", "version")).await;
    assert_eq!(code, 200);
    lab.machine.etcd_up.send_replace(true);
    assert_eq!(lab.stop().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_whose_client_goes_away_is_in_the_log_to_its_end() {
    let lab = Lab::start_with(EVERYTHING, &[]).await;
    lab.machine.etcd_up.send_replace(false);
    for (id, protocol) in [("gone-1", b"http/1.1".as_slice()), ("gone-2", b"h2")] {
        let stream = lab.connect(Some(admin(&lab)), protocol).await;
        let asked = async {
            let stream = hyper_util::rt::TokioIo::new(stream);
            if protocol == b"h2" {
                let executor = hyper_util::rt::TokioExecutor::new();
                let (mut sender, connection) =
                    hyper::client::conn::http2::handshake(executor, stream)
                        .await
                        .unwrap();
                let _ = tokio::join!(connection, sender.send_request(get(CONFIGMAPS, id)));
            } else {
                let (mut sender, connection) =
                    hyper::client::conn::http1::handshake(stream).await.unwrap();
                let _ = tokio::join!(connection, sender.send_request(get(CONFIGMAPS, id)));
            }
        };
        let received = until("the request is there", async || !lab.events(id).is_empty());
        tokio::select! {
            () = asked => panic!("answered without etcd"),
            () = received => {}
        }
        until("its end is in the log", async || lab.events(id).len() == 2).await;
        assert_eq!(
            stages(&lab.events(id)),
            ["RequestReceived", "ResponseComplete"]
        );
    }
    lab.machine.etcd_up.send_replace(true);
    assert_eq!(lab.stop().await, 0);
}
