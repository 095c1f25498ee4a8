//! Frames that mean no good: WebSockets, SPDY, HTTP/2, and requests of HTTP/1 in odd pieces. A connection may end, the
//! node may not; nothing is kept of a client that is gone.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::Client;
use crate::hostile::{Lab, runtime};

type Stream = tokio_rustls::client::TlsStream<tokio::net::TcpStream>;

/// Longest a client waits for the end of its connection before it hangs up itself.
const PATIENCE: Duration = Duration::from_millis(300);

/// A running pod to run commands in.
async fn pod(lab: &Lab) -> String {
    let mut client = Client::new(&lab.door, false, None);
    for _ in 0..3000 {
        let answer = client
            .ask("GET", "/api/v1/namespaces/kube-system/pods", &[], "")
            .await;
        let list: Value = serde_json::from_slice(&answer.unwrap().body).unwrap();
        let running = |pod: &&Value| {
            let name = pod["metadata"]["name"].as_str().unwrap();
            pod["status"]["phase"] == "Running" && name.starts_with("etcd-")
        };
        if let Some(pod) = list["items"].as_array().unwrap().iter().find(running) {
            return pod["metadata"]["name"].as_str().unwrap().to_owned();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("no pod runs");
}

/// A connection that has become something else.
async fn upgraded(lab: &Lab, pod: &str, what: &str, headers: &str) -> Stream {
    let mut stream = lab.door.connect(true, b"http/1.1").await.unwrap();
    let request = format!(
        "GET /api/v1/namespaces/kube-system/pods/{pod}/{what} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\n{headers}\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await.unwrap());
    }
    let answer = String::from_utf8(answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 101 "), "{what}: {answer}");
    stream
}

const WEBSOCKET: &str = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n";
const TUNNEL: &str = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: SPDY/3.1+portforward.k8s.io\r\n";
const SPDY: &str = "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: v4.channel.k8s.io\r\n";
const FORWARD: &str = "Upgrade: SPDY/3.1\r\nX-Stream-Protocol-Version: portforward.k8s.io\r\n";

/// Writes all of it, whether the server likes it or not, reads for a while, and hangs up.
async fn throw(mut stream: Stream, bytes: &[u8]) {
    let mut sink = vec![0; 16 << 10];
    let (mut reader, mut writer) = tokio::io::split(&mut stream);
    let write = async {
        let _ = writer.write_all(bytes).await;
        let _ = writer.flush().await;
    };
    let read = async { while reader.read(&mut sink).await.is_ok_and(|size| size > 0) {} };
    let _ = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! {
            () = write => {}
            () = read => {}
        }
    })
    .await;
    let rest = async { while stream.read(&mut sink).await.is_ok_and(|size| size > 0) {} };
    let _ = tokio::time::timeout(PATIENCE, rest).await;
}

/// A masked frame of a client.
fn message(first: u8, data: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u8::try_from(data.len()) {
        Ok(short) if short < 126 => frame.push(0x80 | short),
        _ => {
            frame.push(0xff);
            frame.extend_from_slice(&(data.len() as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(data);
    frame
}

/// A control frame of SPDY.
fn control(kind: u16, flags: u8, body: &[u8]) -> Vec<u8> {
    let mut frame = 0x8003_u16.to_be_bytes().to_vec();
    frame.extend_from_slice(&kind.to_be_bytes());
    let size = u32::try_from(body.len()).unwrap();
    frame.extend_from_slice(&(u32::from(flags) << 24 | size).to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

/// Opens a stream. Its headers are stored, after the start of a zlib stream in the first one.
fn open(stream: u32, is_first: bool) -> Vec<u8> {
    let mut text = 2_u32.to_be_bytes().to_vec();
    let id = stream.to_string();
    for word in ["streamtype", "data", "requestid", &id] {
        text.extend_from_slice(&u32::try_from(word.len()).unwrap().to_be_bytes());
        text.extend_from_slice(word.as_bytes());
    }
    let mut body = stream.to_be_bytes().to_vec();
    body.extend_from_slice(&[0; 6]);
    if is_first {
        body.extend_from_slice(&[0x78, 0xbb, 0xe3, 0xc6, 0xa7, 0xc2]);
    }
    let size = u16::try_from(text.len()).unwrap();
    body.push(0);
    body.extend_from_slice(&size.to_le_bytes());
    body.extend_from_slice(&(!size).to_le_bytes());
    body.extend_from_slice(&text);
    control(1, 0, &body)
}

/// Files that the node has open.
fn files(lab: &Lab) -> usize {
    let pid = lab.test.pid("sandbox").unwrap();
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .unwrap()
        .count()
}

#[test]
fn frames_of_streams_without_sense_or_measure_end_their_connection_at_most() {
    let lab = Lab::start();
    let runtime = runtime();
    let before = files(&lab);
    runtime.block_on(async {
        let pod = pod(&lab).await;
        let exec = "exec?command=cat&stdin=true&stdout=true";
        let shell = "exec?command=sh&stdin=true&stdout=true&tty=true";
        let mut streams = Vec::new();
        for n in 0..5_000_u32 {
            streams.extend(open(2 * n + 1, n == 0));
        }
        let pings = |frame: Vec<u8>| frame.repeat(20_000);
        let mut pieces = message(0x02, b"\0a");
        pieces.extend(message(0x00, b"").repeat(20_000));
        let cases: Vec<(&str, &str, &str, Vec<u8>)> = vec![
            ("half a frame", exec, WEBSOCKET, vec![0x82]),
            (
                "a frame cut",
                exec,
                WEBSOCKET,
                vec![0x82, 0x85, 0, 0, 0, 0, 0, b'x'],
            ),
            ("no mask", exec, WEBSOCKET, vec![0x82, 2, 0, b'x']),
            ("no opcode", exec, WEBSOCKET, message(0x8b, b"x")),
            (
                "larger than anything",
                exec,
                WEBSOCKET,
                [vec![0x82, 0xff], vec![0xff; 12]].concat(),
            ),
            (
                "large",
                exec,
                WEBSOCKET,
                message(0x82, &vec![0; (1 << 20) + 1]),
            ),
            ("pieces", exec, WEBSOCKET, pieces),
            (
                "much",
                exec,
                WEBSOCKET,
                message(0x82, &vec![0; 1 << 20]).repeat(40),
            ),
            ("pings", exec, WEBSOCKET, pings(message(0x89, b"ping"))),
            (
                "channels",
                exec,
                WEBSOCKET,
                (0..=255).flat_map(|n| message(0x82, &[n, b'x'])).collect(),
            ),
            (
                "empty messages",
                shell,
                WEBSOCKET,
                message(0x82, b"").repeat(20_000),
            ),
            (
                "a line without end",
                shell,
                WEBSOCKET,
                message(0x82, &vec![b'a'; 1 << 20]).repeat(8),
            ),
            (
                "sizes",
                shell,
                WEBSOCKET,
                message(0x82, b"\x04{\"Width\":-1,\"Height\":99999999999}").repeat(100),
            ),
            ("streams", exec, SPDY, streams.clone()),
            (
                "streams of ports",
                "portforward?ports=80",
                FORWARD,
                streams.clone(),
            ),
            (
                "streams in messages",
                "portforward?ports=80",
                TUNNEL,
                streams
                    .chunks(4000)
                    .flat_map(|some| message(0x82, some))
                    .collect(),
            ),
            (
                "SPDY pings",
                exec,
                SPDY,
                pings(control(6, 0, &[0, 0, 0, 1])),
            ),
            (
                "SPDY without length",
                exec,
                SPDY,
                vec![0x80, 3, 0, 1, 0, 0xff, 0xff, 0xff],
            ),
            ("SPDY cut", exec, SPDY, open(1, true)[..20].to_vec()),
            (
                "SPDY twice",
                exec,
                SPDY,
                [open(1, true), open(1, false), open(0, false)].concat(),
            ),
            (
                "data of nobody",
                exec,
                SPDY,
                [0, 0, 0, 9, 0, 0, 0, 1, b'x'].repeat(20_000),
            ),
            (
                "settings",
                exec,
                SPDY,
                control(4, 0, &[0xff; 500]).repeat(1000),
            ),
            ("goaway", exec, SPDY, control(7, 0, &[0; 8])),
        ];
        for (what, path, headers, bytes) in &cases {
            eprintln!("{what}");
            let stream = upgraded(&lab, &pod, path, headers).await;
            throw(stream, bytes).await;
        }
        let seed = rand::rng().random();
        eprintln!("seed {seed}");
        let mut random = StdRng::seed_from_u64(seed);
        for round in 0..40 {
            let (path, headers) = [
                (exec, WEBSOCKET),
                (exec, SPDY),
                ("portforward?ports=80", FORWARD),
                ("portforward?ports=80", TUNNEL),
            ][round % 4];
            let mut bytes: Vec<u8> = (0..random.random_range(1..3000))
                .map(|_| random.random())
                .collect();
            if headers == SPDY || headers == FORWARD {
                // Mostly right.
                let mut frames = [
                    open(1, true),
                    open(3, false),
                    vec![0, 0, 0, 1, 0, 0, 0, 2, b'h', b'i'],
                ]
                .concat();
                for _ in 0..random.random_range(0..4) {
                    let at = random.random_range(0..frames.len());
                    frames[at] = random.random();
                }
                frames.append(&mut bytes);
                bytes = frames;
            } else {
                bytes = message(0x82, &bytes);
                let at = random.random_range(0..bytes.len().min(20));
                bytes[at] = random.random();
            }
            throw(upgraded(&lab, &pod, path, headers).await, &bytes).await;
        }
        // Clients that do nothing more, and never close.
        let mut kept = Vec::new();
        for n in 0..60 {
            let headers = if n % 2 == 0 { WEBSOCKET } else { SPDY };
            kept.push(upgraded(&lab, &pod, exec, headers).await);
        }
        lab.assert_well().await;
        drop(kept);
        lab.assert_well().await;
    });
    lab.test.until("everything of these clients is closed", || {
        files(&lab) <= before + 4
    });
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend_from_slice(&[kind, flags]);
    frame.extend_from_slice(&stream.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

#[test]
fn floods_of_http2_end_their_connection_at_most() {
    const HEADERS: u8 = 1;
    const RESET: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const WINDOW: u8 = 8;
    const CONTINUATION: u8 = 9;
    /// GET, https, / and :authority x, without compression of names.
    const GET: [u8; 6] = [0x82, 0x87, 0x84, 0x41, 0x01, b'x'];
    let lab = Lab::start();
    let runtime = runtime();
    let before = files(&lab);
    let start = [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(SETTINGS, 0, 0, &[]),
    ]
    .concat();
    let literal = |name: usize, value: usize| {
        let mut header = vec![0, 0x7f];
        // Lengths of more than seven bits.
        for (index, mut left) in [name, value].into_iter().enumerate() {
            if index == 1 {
                header.push(0x7f);
            }
            left -= 127;
            while left >= 128 {
                header.push(0x80 | u8::try_from(left % 128).unwrap());
                left /= 128;
            }
            header.push(u8::try_from(left).unwrap());
            header.resize(header.len() + [name, value][index], b'a');
        }
        header
    };
    let streams = |each: &dyn Fn(u32) -> Vec<u8>| -> Vec<u8> {
        (0..5_000).flat_map(|n| each(2 * n + 1)).collect()
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (
            "rapid reset",
            streams(&|id| {
                [
                    frame(HEADERS, 5, id, &GET),
                    frame(RESET, 0, id, &[0, 0, 0, 8]),
                ]
                .concat()
            }),
        ),
        ("streams", streams(&|id| frame(HEADERS, 5, id, &GET))),
        (
            "streams without end",
            streams(&|id| frame(HEADERS, 4, id, &GET)),
        ),
        (
            "continuation",
            [
                frame(HEADERS, 1, 1, &GET),
                frame(CONTINUATION, 0, 1, &literal(200, 8_000)).repeat(2_000),
            ]
            .concat(),
        ),
        (
            "empty continuation",
            [
                frame(HEADERS, 1, 1, &GET),
                frame(CONTINUATION, 0, 1, &[]).repeat(100_000),
            ]
            .concat(),
        ),
        (
            "a large list of headers",
            [
                frame(HEADERS, 1, 1, &GET),
                frame(CONTINUATION, 4, 1, &literal(200, 16_000)),
            ]
            .concat(),
        ),
        (
            "settings",
            frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 1]).repeat(50_000),
        ),
        ("pings", frame(PING, 0, 0, &[0; 8]).repeat(50_000)),
        (
            "windows",
            frame(WINDOW, 0, 0, &[0x7f, 0xff, 0xff, 0xff]).repeat(10),
        ),
        (
            "nothing known",
            frame(0xfe, 0xff, 7, &[0; 100]).repeat(10_000),
        ),
        ("half a frame", vec![0, 0xff]),
    ];
    runtime.block_on(async {
        for (what, bytes) in &cases {
            eprintln!("{what}");
            let stream = lab.door.connect(true, b"h2").await.unwrap();
            throw(stream, &[start.as_slice(), bytes].concat()).await;
        }
        lab.assert_well().await;
    });
    lab.test.until("everything of these clients is closed", || {
        files(&lab) <= before + 4
    });
}

#[test]
fn requests_of_http1_in_odd_pieces_are_understood_or_refused() {
    let lab = Lab::start();
    let runtime = runtime();
    runtime.block_on(async {
        // Many requests at once: as many answers, in order.
        const MANY: usize = 500;
        let mut many: String = (0..MANY)
            .map(|n| format!("GET /api/v1/namespaces/none-{n} HTTP/1.1\r\nHost: x\r\n\r\n"))
            .collect();
        many.push_str("GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answer = lab.door.raw(many.as_bytes()).await;
        let mut rest = answer.as_str();
        for n in 0..MANY {
            let wanted = format!("namespaces \\\"none-{n}\\\" not found");
            let at = rest.find(&wanted).unwrap_or_else(|| panic!("no answer {n}"));
            rest = &rest[at + wanted.len()..];
        }
        assert_eq!(answer.matches("HTTP/1.1 ").count(), MANY + 1);
        // A body in chunks of a byte, with extensions and a trailer.
        let body = "{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"pieces\"}}";
        let chunks: String = body
            .chars()
            .map(|c| format!("1;name=\"value\"\r\n{c}\r\n"))
            .collect();
        let post = |chunks: &str| {
            format!(
                "POST /api/v1/namespaces/default/configmaps?dryRun=All HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"
            )
        };
        let request = post(&format!("{chunks}0\r\nX-Trailer: y\r\n\r\n"));
        let answer = lab.door.raw(request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
        // Extensions without measure.
        let long = format!("1;{}\r\nx\r\n0\r\n\r\n", "a".repeat(2 << 20));
        let answer = lab.door.raw(post(&long).as_bytes()).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
        let short = post(&format!("{}0\r\n\r\n", "1;aaaaaaaaaaaaaaaa\r\n \r\n".repeat(50_000)));
        let answer = lab.door.raw(short.as_bytes()).await;
        assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
        // A header in pieces of a byte.
        let mut stream = lab.door.connect(true, b"http/1.1").await.unwrap();
        for byte in b"GET /version HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" {
            stream.write_all(&[*byte]).await.unwrap();
            stream.flush().await.unwrap();
        }
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert!(answer.contains("gitVersion"), "{answer}");
        lab.assert_well().await;
    });
}
