//! Replays the recorded exchanges of fixtures/golden/http against our API server, in process, and
//! compares answers and audit events.
//!
//! Exchanges that are known to differ are listed in fixtures/known-differences/http.txt. Any other
//! difference fails, and so does a listed exchange that agrees: the list only shrinks.
//!
//! `REPLAY=09-rbac` runs only sessions whose name contains that; `REPLAY_SHOW=20` prints that many
//! differences of each session, listed ones too; `REPLAY_STEP=12` prints everything about that step;
//! `REPLAY_REWRITE=1` writes the list anew, keeping the reasons that are there.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use ckslab::audit::options::pflag::CommandLine;
use ckslab::audit::policy;
use ckslab::node::embedded::apiserver::audit::{Memory, Sink};
use ckslab::node::embedded::apiserver::authn::anonymous::Anonymous;
use ckslab::node::embedded::apiserver::authn::certificate::{ClientCa, RequestHeader};
use ckslab::node::embedded::apiserver::authn::tokens::{TokenRequest, Tokens};
use ckslab::node::embedded::apiserver::authn::{Authn, TokenCache};
use ckslab::node::embedded::apiserver::flags::Flags;
use ckslab::node::embedded::apiserver::klog::Klog;
use ckslab::node::embedded::apiserver::local::Local;
use ckslab::node::embedded::apiserver::pipeline::{self, Peer, RequestBody, ResponseBody};
use ckslab::node::embedded::apiserver::request::UserInfo;
use ckslab::node::embedded::apiserver::schema::{self, FieldValidation, protobuf};
use ckslab::node::embedded::apiserver::state::ApiState;
use ckslab::node::embedded::cluster::{self, KubeControllerManager, KubeScheduler};
use ckslab::node::embedded::machine::Machine;
use ckslab::node::embedded::pace::Pace;
use ckslab::node::embedded::process::{Output, Process, Program};
use ckslab::node::embedded::runtime::rootfs::Rootfs;
use ckslab::node::embedded::store::{Op, Store};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::report;

struct Silent;

impl Output for Silent {
    fn stdout(&self, _: &str) {}
    fn stderr(&self, line: &str) {
        if std::env::var_os("REPLAY_LOG").is_some() {
            eprintln!("{line}");
        }
    }
}

pub(crate) fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/golden")
}

pub(crate) fn gunzip(path: &Path) -> String {
    let mut out = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut out)
        .unwrap();
    out
}

/// A store with the base state of the recordings.
pub(crate) fn base_store() -> Store {
    let store = Store::in_memory();
    let data: Value =
        serde_json::from_str(&gunzip(&golden().join("http/data/base-objects.json.gz"))).unwrap();
    let mut ops = Vec::new();
    for (path, items) in data["objects"].as_object().unwrap() {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let (group, resource) = match parts.as_slice() {
            ["api", _, resource] => ("core", *resource),
            ["apis", group, _, resource] => (*group, *resource),
            _ => continue,
        };
        if resource == "componentstatuses" || (group == "events.k8s.io") {
            continue;
        }
        for item in items.as_array().unwrap() {
            let mut item = item.clone();
            let metadata = item["metadata"].as_object_mut().unwrap();
            metadata.shift_remove("resourceVersion");
            let name = metadata["name"].as_str().unwrap().to_owned();
            let key = match metadata.get("namespace").and_then(Value::as_str) {
                Some(namespace) => format!("/registry/{group}/{resource}/{namespace}/{name}"),
                None => format!("/registry/{group}/{resource}/{name}"),
            };
            // What the API derives from the path is not in every dump.
            let mut object = json!({"kind": item["kind"], "apiVersion": item["apiVersion"]});
            for (field, value) in item.as_object().unwrap() {
                object[field] = value.clone();
            }
            ops.push(Op::Put {
                key,
                value: Arc::new(object),
            });
        }
    }
    store.commit_blocking(ops).unwrap();
    store
}

pub(crate) fn machine(store: Store) -> Arc<Machine> {
    Arc::new(Machine {
        pace: Pace::Fast,
        node_name: "controlplane".to_owned(),
        node_ip: "192.168.49.2".to_owned(),
        api_port: 0,
        node_root: PathBuf::from("/nonexistent"),
        state_dir: PathBuf::from("/nonexistent"),
        store,
        etcd_up: tokio::sync::watch::Sender::new(true),
        snapshots: tokio::sync::watch::Sender::new(0),
        api: tokio::sync::watch::Sender::new(None),
        containers: ckslab::node::embedded::containers::Containers::default(),
        sockets: ckslab::node::embedded::sockets::Sockets::default(),
    })
}

/// Authorities made for one run: of clients, and of the front proxy.
struct Authorities {
    client_pem: String,
    proxy_pem: String,
    proxy_client: Arc<[u8]>,
}

impl Authorities {
    fn make() -> Self {
        let authority = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
            parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
            parameters
                .distinguished_name
                .push(rcgen::DnType::CommonName, name);
            let certificate = parameters.self_signed(&key).unwrap();
            (certificate.pem(), rcgen::Issuer::new(parameters, key))
        };
        let (client_pem, _) = authority("kubernetes");
        let (proxy_pem, issuer) = authority("front-proxy-ca");
        let key = rcgen::KeyPair::generate().unwrap();
        let mut parameters = rcgen::CertificateParams::new(Vec::new()).unwrap();
        parameters.distinguished_name = rcgen::DistinguishedName::new();
        parameters
            .distinguished_name
            .push(rcgen::DnType::CommonName, "front-proxy-client");
        parameters.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = parameters.signed_by(&key, &issuer).unwrap();
        Self {
            client_pem,
            proxy_pem,
            proxy_client: Arc::from(certificate.der().as_ref()),
        }
    }
}

struct Session {
    name: String,
    head: Value,
    exchanges: Vec<Value>,
}

fn sessions() -> Vec<Session> {
    let wanted = std::env::var("REPLAY").unwrap_or_default();
    let mut paths: Vec<PathBuf> = std::fs::read_dir(golden().join("http"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.ends_with(".jsonl.gz")
                && name.as_bytes()[0].is_ascii_digit()
                && name.contains(&wanted)
        })
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| {
            let text = gunzip(path);
            let mut rows = text
                .lines()
                .map(|line| serde_json::from_str::<Value>(line).unwrap());
            let head = rows.next().unwrap();
            Session {
                name: head["name"].as_str().unwrap().to_owned(),
                exchanges: rows.filter(|row| row["type"] == "exchange").collect(),
                head,
            }
        })
        .collect()
}

#[derive(Default)]
struct Replayed {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Replayed {
    fn json(&self) -> Option<Value> {
        if self.header("content-type") == protobuf::CONTENT_TYPE {
            return message(&self.body);
        }
        serde_json::from_slice(&self.body).ok()
    }

    fn header(&self, name: &str) -> String {
        self.headers
            .iter()
            .filter(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .collect::<Vec<_>>()
            .join(" | ")
    }

    /// The value at a recorded path of an earlier answer.
    fn at(&self, path: &str) -> Option<String> {
        if let Some(name) = path.strip_prefix("@header:") {
            let value = self.header(&name.to_lowercase());
            return (!value.is_empty()).then_some(value);
        }
        let value = lookup(&self.json()?, path)?.clone();
        Some(match value {
            Value::String(text) => text,
            other => other.to_string(),
        })
    }
}

/// The object in a protobuf message with its envelope.
fn message(body: &[u8]) -> Option<Value> {
    // Both texts are short: `k8s`, 0, then type and length of the type, of the version, of the kind.
    let text = |bytes: &[u8]| {
        let length = usize::from(*bytes.get(1)?);
        let text = String::from_utf8(bytes.get(2..2 + length)?.to_vec()).ok()?;
        Some((text, bytes.get(2 + length..)?.to_vec()))
    };
    let (api_version, rest) = text(body.get(6..)?)?;
    let (kind, _) = text(&rest)?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let lenient = FieldValidation::Ignore;
    let decoded = schema::decode(group, version, &kind, protobuf::CONTENT_TYPE, body, lenient);
    let mut value = decoded.ok()?.value;
    if value.get("items") == Some(&Value::Null) {
        // The recorder made lists of nothing an empty array.
        value["items"] = serde_json::json!([]);
    }
    Some(value)
}

/// Steps of `$.a[0]['b c']`.
fn steps(path: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = path.strip_prefix('$').unwrap_or(path);
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("['") {
            let end = after.find("']").unwrap();
            out.push(after[..end].to_owned());
            rest = &after[end + 2..];
        } else if let Some(after) = rest.strip_prefix('[') {
            let end = after.find(']').unwrap();
            out.push(after[..end].to_owned());
            rest = &after[end + 1..];
        } else {
            let after = rest.strip_prefix('.').unwrap_or(rest);
            let end = after.find(['.', '[']).unwrap_or(after.len());
            out.push(after[..end].to_owned());
            rest = &after[end..];
        }
    }
    out
}

fn lookup<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    steps(path)
        .iter()
        .try_fold(value, |value, step| match value {
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            other => other.get(step),
        })
}

fn set(value: &mut Value, path: &str, new: Value) -> bool {
    let mut at = value;
    for step in steps(path) {
        let next = match at {
            Value::Array(items) => step.parse::<usize>().ok().and_then(|i| items.get_mut(i)),
            other => other.get_mut(&step),
        };
        match next {
            Some(next) => at = next,
            None => return false,
        }
    }
    *at = new;
    true
}

fn child(path: &str, key: &str) -> String {
    let plain = key
        .chars()
        .next()
        .is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain {
        format!("{path}.{key}")
    } else {
        format!("{path}['{key}']")
    }
}

/// Compares, with volatile places, and notes differences.
struct Comparison<'a> {
    volatile: &'a HashMap<String, String>,
    notes: Vec<String>,
}

impl Comparison<'_> {
    fn compare(&mut self, want: &Value, got: &Value, path: &str) {
        if self.volatile.contains_key(path) && !got.is_null() {
            return;
        }
        if path.contains(".apiserver.latency") {
            return;
        }
        match (want, got) {
            (Value::Object(a), Value::Object(b)) => {
                let volatile_keys = a
                    .keys()
                    .filter(|key| {
                        self.volatile
                            .get(&child(path, key))
                            .is_some_and(|kind| kind == "key")
                    })
                    .count();
                let mut surplus = 0;
                for (key, value) in a {
                    let place = child(path, key);
                    if self.volatile.get(&place).is_some_and(|kind| kind == "key") {
                        continue;
                    }
                    match b.get(key) {
                        Some(other) => self.compare(value, other, &place),
                        None => self
                            .notes
                            .push(format!("{place}: missing (want {})", brief(value))),
                    }
                }
                for (key, value) in b {
                    if !a.contains_key(key) {
                        surplus += 1;
                        if surplus > volatile_keys {
                            self.notes.push(format!(
                                "{}: surplus {}",
                                child(path, key),
                                brief(value)
                            ));
                        }
                    }
                }
            }
            (Value::Array(a), Value::Array(b)) if path.ends_with(".managedFields") => {
                self.managed_fields(a, b, path);
            }
            (Value::Array(a), Value::Array(b))
                if path.ends_with(".resourceRules") || path.ends_with(".nonResourceRules") =>
            {
                // Their order is random on a real server.
                let sorted = |rules: &[Value]| {
                    let mut out: Vec<String> = rules.iter().map(Value::to_string).collect();
                    out.sort();
                    out
                };
                if sorted(a) != sorted(b) {
                    self.notes.push(format!("{path}: other rules"));
                }
            }
            (Value::Array(a), Value::Array(b)) => {
                if a.len() != b.len() {
                    self.notes
                        .push(format!("{path}: {} elements, want {}", b.len(), a.len()));
                }
                for (i, (x, y)) in a.iter().zip(b).enumerate() {
                    self.compare(x, y, &format!("{path}[{i}]"));
                }
            }
            (a, b) if a == b => {}
            // The age of an object in a table.
            (Value::String(a), Value::String(b))
                if path.contains(".cells[") && is_age(a) && is_age(b) => {}
            (Value::String(a), Value::String(b))
                if a.contains("?hash=") && a.split("?hash=").next() == b.split("?hash=").next() => {
            }
            (a, b) => self
                .notes
                .push(format!("{path}: got {} want {}", brief(b), brief(a))),
        }
    }

    /// Order depends on timestamps of one second: compare as a set.
    fn managed_fields(&mut self, want: &[Value], got: &[Value], path: &str) {
        let normal = |items: &[Value]| {
            let mut out: Vec<String> = items
                .iter()
                .map(|item| {
                    let mut item = item.clone();
                    if let Some(map) = item.as_object_mut() {
                        map.shift_remove("time");
                    }
                    sorted_text(&item)
                })
                .collect();
            out.sort();
            out
        };
        let (a, b) = (normal(want), normal(got));
        if a != b {
            let missing: Vec<&String> = a.iter().filter(|x| !b.contains(x)).collect();
            let surplus: Vec<&String> = b.iter().filter(|x| !a.contains(x)).collect();
            self.notes.push(format!(
                "{path}: managers differ; want {missing:?} got {surplus:?}"
            ));
        }
    }
}

/// Keys that name volatile things are masked.
fn sorted_text(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut parts: Vec<String> = map
                .iter()
                .map(|(key, value)| {
                    let key = if key.starts_with("k:{\"uid\"") || key.starts_with("k:{\"ip\"") {
                        "k:{…}"
                    } else {
                        key
                    };
                    format!("{key}:{}", sorted_text(value))
                })
                .collect();
            parts.sort();
            format!("{{{}}}", parts.join(","))
        }
        Value::Array(items) => format!(
            "[{}]",
            items.iter().map(sorted_text).collect::<Vec<_>>().join(",")
        ),
        other => other.to_string(),
    }
}

/// Seconds as tables show them.
fn is_age(text: &str) -> bool {
    text.strip_suffix('s')
        .is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 160 {
        format!("{}…", text.chars().take(160).collect::<String>())
    } else {
        text
    }
}

fn volatile(list: &Value) -> HashMap<String, String> {
    list.as_array()
        .unwrap()
        .iter()
        .map(|pair| {
            (
                pair[0].as_str().unwrap().to_owned(),
                pair[1].as_str().unwrap().to_owned(),
            )
        })
        .collect()
}

struct Replay<'a> {
    session: &'a Session,
    state: Arc<ApiState>,
    memory: Arc<Memory>,
    events: BTreeMap<String, Vec<Value>>,
    authorities: &'a Authorities,
    answers: HashMap<u64, Replayed>,
    /// Hashes of our OpenAPI documents.
    hashes: HashMap<String, String>,
    /// Targets as they were sent.
    sent: HashMap<u64, String>,
    /// Recorded while controllers worked: what they made of it depends on time, so only codes, reasons,
    /// messages and the set of entries are compared.
    by_outcome: bool,
}

/// Who works beside the server in sessions with controllers, until dropped.
struct Others(Vec<tokio::task::JoinHandle<()>>);

impl Drop for Others {
    fn drop(&mut self) {
        for task in &self.0 {
            task.abort();
        }
    }
}

/// A watch that is open while later steps are replayed.
struct Open {
    step: u64,
    until: u64,
    release: tokio::sync::oneshot::Sender<()>,
    task: tokio::task::JoinHandle<Replayed>,
}

#[derive(Default)]
struct Tally {
    agree: usize,
    skipped: usize,
    total: usize,
    differences: Vec<Difference>,
}

/// An exchange that is not answered or audited as recorded.
struct Difference {
    step: u64,
    /// What differs, in a few words.
    brief: String,
    /// All about it.
    text: String,
}

impl<'a> Replay<'a> {
    fn new(session: &'a Session, authorities: &'a Authorities, store: Store) -> Self {
        let head = &session.head;
        let arguments: Vec<String> = head["apiserverArgs"]
            .as_array()
            .unwrap()
            .iter()
            .map(|a| a.as_str().unwrap().to_owned())
            .collect();
        let flags = Flags::from(CommandLine::parse(&arguments).unwrap());
        let policy = policy::load(head["auditPolicy"].as_str().unwrap().as_bytes())
            .unwrap()
            .policy;
        let memory = Arc::new(Memory::default());
        let authn = Authn {
            client_ca: Some(ClientCa::from_pem(authorities.client_pem.as_bytes()).unwrap()),
            request_header: Some(RequestHeader {
                ca: ClientCa::from_pem(authorities.proxy_pem.as_bytes()).unwrap(),
                allowed_names: flags.line.list("requestheader-allowed-names"),
                username_headers: flags.line.list("requestheader-username-headers"),
                uid_headers: flags.line.list("requestheader-uid-headers"),
                group_headers: flags.line.list("requestheader-group-headers"),
                extra_prefixes: flags.line.list("requestheader-extra-headers-prefix"),
            }),
            anonymous: Anonymous {
                enabled: true,
                ..Anonymous::default()
            },
            bootstrap_tokens: true,
            static_tokens: Default::default(),
            cache: TokenCache::default(),
        };
        let issuer = flags.issuers()[0].clone();
        let state = Arc::new(ApiState {
            authn,
            tokens: Tokens::ephemeral(&issuer),
            audit: Arc::new(Sink::new(Some(policy), vec![Box::new(memory.clone())])),
            ..ApiState::new(machine(store), flags, Klog::new(Arc::new(Silent), 1, 0))
        });
        Self {
            session,
            state,
            memory,
            events: BTreeMap::new(),
            authorities,
            answers: HashMap::new(),
            hashes: HashMap::new(),
            sent: HashMap::new(),
            by_outcome: head["controllers"] != false,
        }
    }

    /// Starts controllers, scheduler, and the agents of the two nodes.
    fn others(&self) -> Others {
        let mut others = Others(Vec::new());
        if !self.by_outcome {
            return others;
        }
        let machine = &self.state.machine;
        let local = Local::new(self.state.clone());
        machine.api.send_replace(Some(Arc::new(local)));
        let programs: [Arc<dyn Program>; 2] = [
            Arc::new(KubeControllerManager::new(machine.clone())),
            Arc::new(KubeScheduler::new(machine.clone())),
        ];
        for program in programs {
            let process = Process {
                argv: Vec::new(),
                rootfs: Arc::new(Rootfs::new(
                    "/nonexistent".into(),
                    "/nonexistent".into(),
                    vec![],
                )),
                output: Arc::new(Silent),
                terminate: CancellationToken::new(),
                pid: 4242,
                own_network: false,
            };
            others.0.push(tokio::spawn(async move {
                program.run(process).await;
            }));
        }
        let rest = cluster::run(machine.clone(), CancellationToken::new());
        others.0.push(tokio::spawn(rest));
        others
    }

    /// Lets the controllers do what they did in a pause of the recording.
    async fn pause(&self, recorded: Duration) {
        const CALM: Duration = Duration::from_millis(1200);
        let limit = tokio::time::Instant::now() + recorded.min(Duration::from_secs(5));
        let mut since = tokio::time::Instant::now();
        let mut revision = self.state.store.revision();
        while tokio::time::Instant::now() < limit && since.elapsed() < CALM {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let now = self.state.store.revision();
            if now != revision {
                (revision, since) = (now, tokio::time::Instant::now());
            }
        }
    }

    fn peer(&self, identity: &str) -> Peer {
        let address = "127.0.0.1:40000".parse().unwrap();
        let tls = |certificates| Peer::Tls {
            address,
            certificates,
        };
        let known = &self.session.head["identities"][identity];
        match (identity, known["kind"].as_str()) {
            ("front-proxy-client", _) => tls(vec![self.authorities.proxy_client.clone()]),
            (_, Some("clientCert")) => {
                let mut extra = BTreeMap::new();
                extra.insert(
                    "authentication.kubernetes.io/credential-id".to_owned(),
                    vec![known["credentialId"].as_str().unwrap().to_owned()],
                );
                Peer::Local {
                    user: UserInfo {
                        username: known["user"].as_str().unwrap().to_owned(),
                        uid: String::new(),
                        groups: known["groups"]
                            .as_array()
                            .unwrap()
                            .iter()
                            .map(|g| g.as_str().unwrap().to_owned())
                            .collect(),
                        extra,
                    },
                    address: "127.0.0.1".parse().unwrap(),
                }
            }
            (_, Some("expiredClientCert" | "clientCertOfUnknownCA")) => {
                // Any certificate of another authority.
                tls(vec![self.authorities.proxy_client.clone()])
            }
            _ => tls(Vec::new()),
        }
    }

    fn bound(&self, binding: &Value) -> Option<String> {
        let step = binding["$from"][0].as_u64()?;
        let mut path = binding["$from"][1].as_str()?;
        let answer = self.answers.get(&step)?;
        // Values taken from a watch name the line.
        if let Some(rest) = path.strip_prefix('#') {
            let (line, rest) = rest.split_once('.')?;
            let text = String::from_utf8_lossy(&answer.body).into_owned();
            let value: Value = serde_json::from_str(text.lines().nth(line.parse().ok()?)?).ok()?;
            return lookup(&value, &format!("$.{rest}"))
                .map(|v| v.as_str().map_or_else(|| v.to_string(), str::to_owned));
        }
        if path.is_empty() {
            path = "$";
        }
        answer.at(path)
    }

    fn request(&self, exchange: &Value) -> http::Request<RequestBody> {
        let recorded = &exchange["request"];
        let mut target = recorded["target"].as_str().unwrap().to_owned();
        let mut headers: Vec<(String, String)> = recorded["headers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pair| {
                (
                    pair[0].as_str().unwrap().to_owned(),
                    pair[1].as_str().unwrap().to_owned(),
                )
            })
            .collect();
        let mut body: Vec<u8> = if let Some(text) = recorded["body"].as_str() {
            text.as_bytes().to_vec()
        } else if let Some(text) = recorded["body_b64"].as_str() {
            base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap()
        } else if let Some(parts) = recorded["body_parts"].as_array() {
            parts
                .iter()
                .flat_map(|part| match part["text"].as_str() {
                    Some(text) => text.as_bytes().to_vec(),
                    None => part["repeat"]
                        .as_str()
                        .unwrap()
                        .repeat(usize::try_from(part["count"].as_u64().unwrap()).unwrap())
                        .into_bytes(),
                })
                .collect()
        } else {
            Vec::new()
        };
        for binding in exchange["bindings"].as_array().unwrap() {
            let Some(new) = self.bound(binding) else {
                continue;
            };
            let old_whole = binding["value"].as_str().map(str::to_owned);
            let substring = binding["substring"].as_str().map(str::to_owned);
            match binding["in"].as_str().unwrap() {
                "path" => {
                    let (path, query) = match target.split_once('?') {
                        Some((path, query)) => (path.to_owned(), Some(query.to_owned())),
                        None => (target.clone(), None),
                    };
                    let index = usize::try_from(binding["segment"].as_u64().unwrap()).unwrap();
                    let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
                    // Segments are counted with or without the empty one in front.
                    let at = segments
                        .iter()
                        .position(|segment| Some(segment) == old_whole.as_ref())
                        .unwrap_or(index);
                    if let Some(segment) = segments.get_mut(at) {
                        *segment = new;
                    }
                    target = segments.join("/");
                    if let Some(query) = query {
                        target = format!("{target}?{query}");
                    }
                }
                "query" => {
                    let encode = |text: &str| {
                        percent_encoding::utf8_percent_encode(
                            text,
                            percent_encoding::NON_ALPHANUMERIC,
                        )
                        .to_string()
                    };
                    let parameter = binding["param"].as_str().unwrap();
                    let (path, query) = target.split_once('?').unwrap();
                    let value = match (&substring, &old_whole) {
                        (Some(part), Some(whole)) => whole.replace(part.as_str(), &new),
                        _ => new,
                    };
                    let pairs: Vec<String> = query
                        .split('&')
                        .map(|pair| match pair.split_once('=') {
                            Some((name, _)) if name == parameter => {
                                format!("{name}={}", encode(&value))
                            }
                            _ => pair.to_owned(),
                        })
                        .collect();
                    target = format!("{path}?{}", pairs.join("&"));
                }
                "header" => {
                    let name = binding["name"].as_str().unwrap();
                    for (key, value) in &mut headers {
                        if key.eq_ignore_ascii_case(name) {
                            *value = match &substring {
                                Some(part) => value.replace(part.as_str(), &new),
                                None => new.clone(),
                            };
                        }
                    }
                }
                _ => {
                    let parsed = serde_json::from_slice::<Value>(&body).ok();
                    let path = binding["path"].as_str().unwrap_or("$");
                    match parsed {
                        Some(mut value) if lookup(&value, path).is_some() => {
                            let old = lookup(&value, path).unwrap().clone();
                            let fresh = match (&substring, old.as_str()) {
                                (Some(part), Some(text)) => {
                                    Value::String(text.replace(part.as_str(), &new))
                                }
                                (None, None) => {
                                    serde_json::from_str(&new).unwrap_or(Value::String(new))
                                }
                                _ => Value::String(new),
                            };
                            set(&mut value, path, fresh);
                            body = serde_json::to_vec(&value).unwrap();
                        }
                        _ => {
                            let part = substring.or(old_whole).unwrap_or_default();
                            body = replace_bytes(&body, part.as_bytes(), new.as_bytes());
                        }
                    }
                }
            }
        }
        if recorded["method"] == "PUT" {
            body = self.with_own_creation_time(body);
        }
        if let Some((path, hash)) = target
            .strip_prefix("/openapi/v3/")
            .and_then(|rest| rest.split_once("?hash="))
        {
            // Our documents differ in their descriptions, so their hashes do.
            let old = hash.split('&').next().unwrap().to_owned();
            if old.len() == 128
                && let Some(ours) = self.hashes.get(path)
            {
                target = target.replace(&old, ours);
            }
        }
        let mut builder = http::Request::builder()
            .method(recorded["method"].as_str().unwrap())
            .uri(&target);
        for (name, value) in headers {
            let value = value.replace("{{token:bootstrap-abcdef}}", "abcdef.0123456789abcdef");
            let value = self.with_token(&value);
            // Recorded as latin-1.
            let bytes: Vec<u8> = value
                .chars()
                .map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?'))
                .collect();
            builder = builder.header(name, http::HeaderValue::from_bytes(&bytes).unwrap());
        }
        builder
            .body(RequestBody::new(
                Full::new(bytes::Bytes::from(body)).map_err(|never| match never {}),
            ))
            .unwrap()
    }

    /// A client that replaces an object sends back when ours was made.
    fn with_own_creation_time(&self, body: Vec<u8>) -> Vec<u8> {
        let Ok(mut value) = serde_json::from_slice::<Value>(&body) else {
            return body;
        };
        let uid = value["metadata"]["uid"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        if uid.is_empty() || value["metadata"]["creationTimestamp"].is_null() {
            return body;
        }
        let (objects, _) = self.state.store.list("/registry/");
        let Some(own) = objects
            .iter()
            .find(|stored| stored.value["metadata"]["uid"] == uid.as_str())
        else {
            return body;
        };
        value["metadata"]["creationTimestamp"] = own.value["metadata"]["creationTimestamp"].clone();
        serde_json::to_vec(&value).unwrap()
    }

    /// Tokens that were issued before the recording: of the account they name.
    fn with_token(&self, value: &str) -> String {
        let Some((before, rest)) = value.split_once("{{token:") else {
            return value.to_owned();
        };
        let Some((name, after)) = rest.split_once("}}") else {
            return value.to_owned();
        };
        let Some((namespace, account)) = name.split_once('/') else {
            return value.to_owned();
        };
        let Some(stored) = self.state.store.get(&format!(
            "/registry/core/serviceaccounts/{namespace}/{account}"
        )) else {
            return value.to_owned();
        };
        let issued = self
            .state
            .tokens
            .issue(&TokenRequest {
                namespace: namespace.to_owned(),
                service_account: account.to_owned(),
                service_account_uid: stored.value["metadata"]["uid"].as_str().unwrap().to_owned(),
                expiration_seconds: 3600,
                ..TokenRequest::default()
            })
            .unwrap();
        format!("{before}{}{after}", issued.token)
    }

    async fn learn_hashes(&mut self) {
        let request = http::Request::builder()
            .uri("/openapi/v3")
            .header("audit-id", "preexisting")
            .body(RequestBody::new(
                Full::new(bytes::Bytes::new()).map_err(|never| match never {}),
            ))
            .unwrap();
        let peer = Peer::Local {
            user: UserInfo {
                username: "kubernetes-super-admin".to_owned(),
                groups: vec!["system:masters".to_owned()],
                ..UserInfo::default()
            },
            address: "127.0.0.1".parse().unwrap(),
        };
        let response = pipeline::handle(self.state.clone(), request, peer).await;
        let answer = drain(response, Duration::from_secs(20)).await;
        for (path, entry) in answer.json().unwrap_or_default()["paths"]
            .as_object()
            .into_iter()
            .flatten()
        {
            if let Some((_, hash)) = entry["serverRelativeURL"]
                .as_str()
                .unwrap_or("")
                .split_once("?hash=")
            {
                self.hashes.insert(path.clone(), hash.to_owned());
            }
        }
    }

    async fn preexisting(&self, step: u64, done: &mut HashSet<usize>) {
        let list = self.session.head["preexisting"].as_array().unwrap();
        for (i, entry) in list.iter().enumerate() {
            if entry["beforeStep"].as_u64().unwrap() > step || !done.insert(i) {
                continue;
            }
            let request = http::Request::builder()
                .method(entry["request"]["method"].as_str().unwrap())
                .uri(entry["request"]["path"].as_str().unwrap())
                .header("content-type", "application/json")
                .header("user-agent", "setup")
                .header("audit-id", "preexisting")
                .body(RequestBody::new(
                    Full::new(bytes::Bytes::from(entry["request"]["body"].to_string()))
                        .map_err(|never| match never {}),
                ))
                .unwrap();
            let user = UserInfo {
                username: "kubernetes-super-admin".to_owned(),
                groups: vec![
                    "system:masters".to_owned(),
                    "system:authenticated".to_owned(),
                ],
                ..UserInfo::default()
            };
            let response = pipeline::handle(
                self.state.clone(),
                request,
                Peer::Local {
                    user,
                    address: "127.0.0.1".parse().unwrap(),
                },
            )
            .await;
            if !response.status().is_success() && std::env::var_os("REPLAY_LOG").is_some() {
                let status = response.status();
                let body = response.into_body().collect().await.unwrap().to_bytes();
                eprintln!(
                    "{}: preexisting {} answered {status}: {}",
                    self.session.name,
                    entry["request"]["path"],
                    String::from_utf8_lossy(&body)
                );
            }
        }
    }

    fn collect_events(&mut self) {
        for event in self.memory.take() {
            let value = serde_json::to_value(&event).unwrap();
            self.events
                .entry(event.audit_id.clone())
                .or_default()
                .push(value);
        }
    }

    /// Closes watches and takes what they saw.
    async fn finish(&mut self, watches: Vec<Open>) {
        let mut tasks = Vec::new();
        for watch in watches {
            let _ = watch.release.send(());
            tasks.push((watch.step, watch.task));
        }
        for (step, task) in tasks {
            self.answers.insert(step, task.await.unwrap_or_default());
        }
    }

    async fn run(mut self) -> Tally {
        let mut tally = Tally::default();
        let mut done = HashSet::new();
        let mut open: Vec<Open> = Vec::new();
        let session = self.session;
        self.learn_hashes().await;
        let others = self.others();
        let compaction = compacted_before(&session.head);
        let mut before = 0.0;
        let mut ends_definition = false;
        for exchange in &session.exchanges {
            let step = exchange["step"].as_u64().unwrap();
            self.preexisting(step, &mut done).await;
            if compaction.is_some_and(|command| exchange["cmd"].as_u64() >= Some(command)) {
                self.state.compact(self.state.store.revision());
            }
            if self.by_outcome {
                // The controllers' own requests were recorded in one session; ours make theirs.
                if is_component(exchange["identity"].as_str().unwrap()) {
                    continue;
                }
            }
            let gap = exchange["start_ms"].as_f64().unwrap_or(0.0) - before;
            if self.by_outcome || ends_definition {
                self.pause(Duration::from_millis(gap.max(0.0) as u64)).await;
            }
            before = exchange["end_ms"].as_f64().unwrap_or(0.0);
            // Definitions end a moment after they were deleted.
            ends_definition = exchange["request"]["method"] == "DELETE"
                && exchange["request"]["target"]
                    .as_str()
                    .is_some_and(|target| target.contains("/customresourcedefinitions/"));
            let request = self.request(exchange);
            self.sent.insert(step, request.uri().to_string());
            let peer = self.peer(exchange["identity"].as_str().unwrap());
            let state = self.state.clone();
            let cut = Duration::from_millis(
                exchange["end_ms"].as_f64().unwrap_or(0.0) as u64
                    - (exchange["start_ms"].as_f64().unwrap_or(0.0) as u64)
                        .min(exchange["end_ms"].as_f64().unwrap_or(0.0) as u64),
            );
            let is_stream = exchange["response"].get("chunks").is_some();
            // The HTTP layer leaves these bodies out.
            let is_head = exchange["request"]["method"] == "HEAD";
            let until = exchange["open_until_step"].as_u64().filter(|_| is_stream);
            let lines = exchange["response"]["chunks"]
                .as_array()
                .map_or(0, Vec::len);
            let (begun, started) = tokio::sync::oneshot::channel();
            let (release, released) = tokio::sync::oneshot::channel();
            let task = tokio::spawn(async move {
                let response = pipeline::handle(state, request, peer).await;
                let _ = begun.send(());
                if until.is_some() {
                    return drain_until(response, lines, released, cut).await;
                }
                let limit = if is_stream {
                    cut + Duration::from_millis(400)
                } else {
                    Duration::from_secs(20)
                };
                let mut answer = drain(response, limit).await;
                if is_head {
                    answer.body.clear();
                }
                answer
            });
            if let Some(until) = until {
                // What it is to see happens after it has begun.
                let _ = started.await;
                open.push(Open {
                    step,
                    until,
                    release,
                    task,
                });
            } else {
                let answer = task.await.unwrap_or_default();
                self.answers.insert(step, answer);
            }
            let (over, still) = open.into_iter().partition(|watch| watch.until <= step);
            open = still;
            self.finish(over).await;
        }
        self.finish(open).await;
        drop(others);
        self.collect_events();
        for exchange in &session.exchanges {
            self.judge(exchange, &mut tally);
        }
        tally
    }

    fn judge(&self, exchange: &Value, tally: &mut Tally) {
        let step = exchange["step"].as_u64().unwrap();
        let want = &exchange["response"];
        if self.by_outcome && is_component(exchange["identity"].as_str().unwrap()) {
            return;
        }
        if want.get("stream").is_some() || want["status"] == 0 || want["status"] == 101 {
            tally.skipped += 1;
            return;
        }
        tally.total += 1;
        let none = Replayed::default();
        let got = self.answers.get(&step).unwrap_or(&none);
        let places = volatile(&exchange["placeholders"]);
        let mut notes: Vec<(&'static str, String)> = Vec::new();
        if want["status"] != got.status && !places.contains_key("@status") {
            notes.push((
                "status",
                format!(
                    "status {} want {}: {}",
                    got.status,
                    want["status"],
                    String::from_utf8_lossy(&got.body)
                        .chars()
                        .take(300)
                        .collect::<String>()
                ),
            ));
        } else if self.by_outcome {
            compare_outcome(want, got, &places, &mut notes);
        } else if !places.contains_key("@status") {
            compare_headers(want, got, &places, &mut notes);
            compare_body(want, got, &places, &mut notes);
        }
        self.compare_audit(exchange, got, &mut notes);
        let watched = std::env::var("REPLAY_STEP")
            .ok()
            .and_then(|s| s.parse::<u64>().ok());
        if watched == Some(step) {
            eprintln!(
                "REQUEST {}\nWANT {}\nGOT {} {:?} {}\nAUDIT {:#?}",
                exchange["request"],
                want,
                got.status,
                got.headers,
                String::from_utf8_lossy(&got.body),
                self.events_of(exchange, got)
            );
        }
        if notes.is_empty() {
            tally.agree += 1;
            return;
        }
        let mut kinds: Vec<&'static str> = notes.iter().map(|(kind, _)| *kind).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let place = notes[0]
            .1
            .split([':', ' ', '\n'])
            .find(|word| !word.starts_with('['))
            .unwrap_or_default();
        let brief = format!("{} {place}", kinds.join("+"));
        let request = &exchange["request"];
        let mut text = format!(
            "  step {step} {} {} {}",
            exchange["identity"].as_str().unwrap(),
            request["method"].as_str().unwrap(),
            request["target"]
                .as_str()
                .unwrap()
                .chars()
                .take(140)
                .collect::<String>()
        );
        for (kind, note) in notes.iter().take(6) {
            let note: String = note.chars().take(500).collect();
            text.push_str(&format!("\n      {kind}: {note}"));
        }
        tally.differences.push(Difference { step, brief, text });
    }

    fn events_of(&self, exchange: &Value, got: &Replayed) -> Vec<Value> {
        let sent = exchange["request"]["headers"]
            .as_array()
            .unwrap()
            .iter()
            .find(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case("audit-id"))
            .map(|pair| pair[1].as_str().unwrap().to_owned())
            .filter(|id| !id.is_empty());
        let id = sent
            .map(|latin| {
                let bytes: Vec<u8> = latin.chars().map(|c| c as u8).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            })
            .unwrap_or_else(|| got.header("audit-id"));
        self.events.get(&id).cloned().unwrap_or_default()
    }

    fn compare_audit(
        &self,
        exchange: &Value,
        got: &Replayed,
        notes: &mut Vec<(&'static str, String)>,
    ) {
        let want = exchange["audit"].as_array().unwrap();
        let events = self.events_of(exchange, got);
        let stages = |list: &[Value]| {
            list.iter()
                .map(|event| event["stage"].as_str().unwrap_or("?").to_owned())
                .collect::<Vec<_>>()
                .join(",")
        };
        if stages(want) != stages(&events) {
            notes.push((
                "audit",
                format!("stages [{}] want [{}]", stages(&events), stages(want)),
            ));
            return;
        }
        for (i, (want, got)) in want.iter().zip(&events).enumerate() {
            let mut places = volatile(&exchange["audit_placeholders"][i]);
            for name in ["auditID", "requestReceivedTimestamp", "stageTimestamp"] {
                places.insert(format!("$.{name}"), "volatile".to_owned());
            }
            if exchange["placeholders"]
                .as_array()
                .unwrap()
                .iter()
                .any(|pair| pair[0] == "@status")
            {
                places.insert("$.responseStatus.code".to_owned(), "200or304".to_owned());
            }
            let mut want = want.clone();
            if !exchange["bindings"].as_array().unwrap().is_empty()
                || exchange["request"]["target"]
                    .as_str()
                    .unwrap()
                    .contains("hash=")
            {
                let step = exchange["step"].as_u64().unwrap();
                want["requestURI"] = self.sent[&step].clone().into();
            }
            if let Some(map) = want.get_mut("annotations").and_then(Value::as_object_mut) {
                map.retain(|key, _| !key.starts_with("apiserver.latency.k8s.io/"));
            }
            let mut got = got.clone();
            if self.by_outcome {
                for name in ["requestObject", "responseObject"] {
                    for event in [&mut want, &mut got] {
                        if !event[name].is_null() {
                            event[name] = "present".into();
                        }
                    }
                }
            }
            let mut comparison = Comparison {
                volatile: &places,
                notes: Vec::new(),
            };
            comparison.compare(&want, &got, "$");
            for note in comparison.notes {
                if note.contains("authorization.k8s.io/reason")
                    && note.contains("RBAC: allowed by")
                    && note.matches("RBAC: allowed by").count() == 2
                {
                    // Any of the bindings that allow may be named.
                    continue;
                }
                notes.push((
                    "audit",
                    format!("[{}] {note}", want["stage"].as_str().unwrap()),
                ));
            }
        }
    }
}

/// Whether a certificate or token is one of the control plane's.
fn is_component(identity: &str) -> bool {
    matches!(identity, "controller-manager" | "scheduler")
        || identity.starts_with("token:kube-system/")
}

/// Compares what a Status says.
fn compare_outcome(
    want: &Value,
    got: &Replayed,
    places: &HashMap<String, String>,
    notes: &mut Vec<(&'static str, String)>,
) {
    let want: Option<Value> = want["body"]
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok());
    let (Some(want), Some(got)) = (want, got.json()) else {
        return;
    };
    if want["kind"] != "Status" {
        return;
    }
    for name in ["status", "reason", "message", "code"] {
        if want[name] != got[name] && !places.contains_key(&format!("$.{name}")) {
            notes.push((
                "outcome",
                format!("{name}: got {} want {}", got[name], want[name]),
            ));
        }
    }
}

/// The command before which the recorded server's etcd was compacted, as the notes of the session say.
fn compacted_before(head: &Value) -> Option<u64> {
    let notes = head["notes"].as_array()?;
    notes.iter().find_map(|note| {
        let rest = note.as_str()?.strip_prefix("before command ")?;
        let (command, what) = rest.split_once(' ')?;
        what.contains("compacted").then(|| command.parse().ok())?
    })
}

fn replace_bytes(body: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    if old.is_empty() {
        return body.to_vec();
    }
    let mut out = Vec::with_capacity(body.len());
    let mut i = 0;
    while i < body.len() {
        if body[i..].starts_with(old) {
            out.extend_from_slice(new);
            i += old.len();
        } else {
            out.push(body[i]);
            i += 1;
        }
    }
    out
}

/// Status and headers of an answer.
fn head_of(response: &http::Response<ResponseBody>) -> Replayed {
    Replayed {
        status: response.status().as_u16(),
        headers: response
            .headers()
            .iter()
            .map(|(name, value)| {
                (
                    name.as_str().to_owned(),
                    value.as_bytes().iter().map(|b| *b as char).collect(),
                )
            })
            .collect(),
        body: Vec::new(),
    }
}

/// Reads an answer to its end, or as long as it may take.
async fn drain(response: http::Response<ResponseBody>, limit: Duration) -> Replayed {
    let mut answer = head_of(&response);
    let mut body = response.into_body();
    let _ = tokio::time::timeout(limit, read(&mut body, &mut answer.body, usize::MAX)).await;
    answer
}

/// Reads a watch: while it is not released whatever comes, then up to the recorded number of lines.
/// So its end depends on what it saw and not on how fast this machine is; only where lines are
/// missing does time end it.
async fn drain_until(
    response: http::Response<ResponseBody>,
    lines: usize,
    released: tokio::sync::oneshot::Receiver<()>,
    recorded: Duration,
) -> Replayed {
    let start = tokio::time::Instant::now();
    let mut answer = head_of(&response);
    let mut body = response.into_body();
    let mut over = tokio::select! {
        _ = read(&mut body, &mut answer.body, usize::MAX) => true,
        _ = released => false,
    };
    if !over {
        let patience = Duration::from_secs(2).max(recorded.saturating_sub(start.elapsed()));
        let reading = read(&mut body, &mut answer.body, lines);
        over = tokio::time::timeout(patience, reading)
            .await
            .unwrap_or(false);
    }
    if !over {
        // What came with the last line and is one too many.
        let _ = tokio::time::timeout(
            Duration::from_millis(50),
            read(&mut body, &mut answer.body, usize::MAX),
        )
        .await;
    }
    answer
}

/// Reads until there are so many lines, or the end: whether it was the end.
async fn read(body: &mut ResponseBody, into: &mut Vec<u8>, lines: usize) -> bool {
    while into.iter().filter(|byte| **byte == b'\n').count() < lines {
        let Some(Ok(frame)) = body.frame().await else {
            return true;
        };
        if let Ok(data) = frame.into_data() {
            into.extend_from_slice(&data);
        }
    }
    false
}

fn compare_headers(
    want: &Value,
    got: &Replayed,
    places: &HashMap<String, String>,
    notes: &mut Vec<(&'static str, String)>,
) {
    for name in [
        "Content-Type",
        "Cache-Control",
        "Warning",
        "Retry-After",
        "X-Content-Type-Options",
    ] {
        if places.contains_key(&format!("@header:{name}")) {
            continue;
        }
        let wanted: Vec<&str> = want["headers"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name))
            .map(|pair| pair[1].as_str().unwrap())
            .collect();
        let wanted = wanted.join(" | ");
        let have = got.header(&name.to_lowercase());
        if wanted != have {
            notes.push(("header", format!("{name}: `{have}` want `{wanted}`")));
        }
    }
}

fn compare_body(
    want: &Value,
    got: &Replayed,
    places: &HashMap<String, String>,
    notes: &mut Vec<(&'static str, String)>,
) {
    if want.get("body_summary").is_some() {
        return;
    }
    if let Some(chunks) = want["chunks"].as_array() {
        let text = String::from_utf8_lossy(&got.body).into_owned();
        let lines: Vec<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        let wanted: Vec<&str> = chunks
            .iter()
            .filter_map(|chunk| chunk["line"].as_str())
            .map(str::trim)
            .collect();
        let kinds = |lines: &[&str]| {
            lines
                .iter()
                .map(|line| {
                    serde_json::from_str::<Value>(line)
                        .map(|v| v["type"].as_str().unwrap_or("?").to_owned())
                        .unwrap_or_else(|_| "?".to_owned())
                })
                .collect::<Vec<_>>()
                .join(",")
        };
        if kinds(&lines) != kinds(&wanted) {
            notes.push((
                "watch",
                format!("events [{}] want [{}]", kinds(&lines), kinds(&wanted)),
            ));
            return;
        }
        for (i, (want, got)) in wanted.iter().zip(&lines).enumerate() {
            let prefix = format!("#{i}.");
            let places: HashMap<String, String> = places
                .iter()
                .filter_map(|(path, kind)| {
                    Some((format!("$.{}", path.strip_prefix(&prefix)?), kind.clone()))
                })
                .collect();
            let (Ok(want), Ok(got)) = (
                serde_json::from_str::<Value>(want),
                serde_json::from_str::<Value>(got),
            ) else {
                continue;
            };
            let mut comparison = Comparison {
                volatile: &places,
                notes: Vec::new(),
            };
            comparison.compare(&want, &got, "$");
            notes.extend(
                comparison
                    .notes
                    .into_iter()
                    .map(|note| ("watch", format!("#{i} {note}"))),
            );
        }
        return;
    }
    let wanted = want["body"].as_str().map(str::to_owned);
    let json = match (&wanted, want.get("body_json")) {
        (_, Some(json)) => Some(json.clone()),
        (Some(text), None) => serde_json::from_str(text).ok(),
        (None, None) => None,
    };
    let got_body = got.body.clone();
    match (json, got.json()) {
        (Some(want), Some(got)) => {
            let mut comparison = Comparison {
                volatile: places,
                notes: Vec::new(),
            };
            comparison.compare(&want, &got, "$");
            notes.extend(comparison.notes.into_iter().map(|note| ("body", note)));
            let indented = |text: &str| text.starts_with("{\n  ");
            if let Some(text) = &wanted
                && indented(text) != indented(&String::from_utf8_lossy(&got_body))
            {
                notes.push(("layout", "indentation differs".to_owned()));
            }
        }
        (None, None) => {
            let text = String::from_utf8_lossy(&got.body).into_owned();
            let wanted = wanted.unwrap_or_default();
            if text != wanted && !places.contains_key("$") && want.get("body_b64").is_none() {
                notes.push((
                    "body",
                    format!(
                        "`{}` want `{}`",
                        text.chars().take(200).collect::<String>(),
                        wanted.chars().take(200).collect::<String>()
                    ),
                ));
            }
        }
        (Some(_), None) => notes.push((
            "body",
            format!(
                "no JSON: `{}`",
                String::from_utf8_lossy(&got.body)
                    .chars()
                    .take(200)
                    .collect::<String>()
            ),
        )),
        (None, Some(got)) => {
            if !places.contains_key("$") && want.get("body_b64").is_none() {
                notes.push(("body", format!("JSON {} want text", brief(&got))));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_exchanges_are_answered_and_audited_alike() {
    let authorities = Arc::new(Authorities::make());
    let show: usize = std::env::var("REPLAY_SHOW")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(0);
    // Sessions mostly wait for watches to end: run all at once.
    let tasks: Vec<_> = sessions()
        .into_iter()
        .map(|session| {
            let authorities = authorities.clone();
            tokio::spawn(async move {
                let store = tokio::task::spawn_blocking(base_store).await.unwrap();
                let replay = Replay::new(&session, &authorities, store);
                let by_outcome = replay.by_outcome;
                let tally = replay.run().await;
                (session.name, usize::from(by_outcome), tally)
            })
        })
        .collect();
    let known = KnownDifferences::read("http.txt");
    let mut now = KnownDifferences::default();
    let (mut agree, mut total, mut listed) = ([0; 2], [0; 2], [0; 2]);
    let mut surprises = String::new();
    for task in tasks {
        let (name, by_outcome, tally) = task.await.unwrap();
        report::line(format!(
            "replay {name}: {}/{} exchanges, {} known to differ, {} not compared",
            tally.agree,
            tally.total,
            known.of(&name),
            tally.skipped
        ));
        for difference in tally.differences.iter().take(show) {
            println!("{}", difference.text);
        }
        let differing: HashSet<u64> = tally.differences.iter().map(|d| d.step).collect();
        for difference in &tally.differences {
            let id = (name.clone(), difference.step);
            let reason = known.0.get(&id);
            if reason.is_none() {
                surprises.push_str(&format!("{name}:\n{}\n", difference.text));
            }
            let reason = reason.unwrap_or(&difference.brief).clone();
            now.0.insert(id, reason);
        }
        for ((session, step), reason) in &known.0 {
            if *session != name || differing.contains(step) {
                continue;
            }
            if reason.starts_with("unstable: ") {
                now.0.insert((name.clone(), *step), reason.clone());
            } else {
                surprises.push_str(&format!(
                    "{name}:\n  step {step} agrees now: take it off the list\n"
                ));
            }
        }
        agree[by_outcome] += tally.agree;
        total[by_outcome] += tally.total;
        listed[by_outcome] += tally.differences.len();
    }
    for (at, name) in ["http sessions", "http with controllers"]
        .into_iter()
        .enumerate()
    {
        report::agreement(name, "exchanges", agree[at], total[at], listed[at]);
    }
    if std::env::var_os("REPLAY_REWRITE").is_some() && std::env::var_os("REPLAY").is_none() {
        now.write("http.txt");
        return;
    }
    assert!(
        surprises.is_empty(),
        "other differences than fixtures/known-differences/http.txt lists \
         (REPLAY_REWRITE=1 writes it anew):\n{surprises}"
    );
}

/// The list of exchanges that are known to differ: session and step to reason. A reason that begins
/// with `unstable: ` is of an exchange that may or may not differ.
#[derive(Default)]
pub(crate) struct KnownDifferences(pub(crate) BTreeMap<(String, u64), String>);

impl KnownDifferences {
    fn path(file: &str) -> PathBuf {
        let list = Path::new("fixtures/known-differences").join(file);
        Path::new(env!("CARGO_MANIFEST_DIR")).join(list)
    }

    /// The list of this file.
    pub(crate) fn read(file: &str) -> Self {
        let text = std::fs::read_to_string(Self::path(file)).unwrap_or_default();
        let mut list = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let (id, reason) = line.split_once("  ").expect(line);
            let (session, step) = id.split_once(' ').expect(line);
            let before = list.insert(
                (session.to_owned(), step.parse().expect(line)),
                reason.trim().to_owned(),
            );
            assert_eq!(before, None, "listed twice: {id}");
        }
        Self(list)
    }

    /// Writes the list below the comments the file has.
    pub(crate) fn write(&self, file: &str) {
        let path = Self::path(file);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let mut text: String = before
            .split_inclusive('\n')
            .filter(|line| line.starts_with('#'))
            .collect();
        for ((session, step), reason) in &self.0 {
            text.push_str(&format!("{session} {step}  {reason}\n"));
        }
        std::fs::write(path, text).unwrap();
    }

    /// How many of a session.
    fn of(&self, session: &str) -> usize {
        self.0.keys().filter(|(name, _)| name == session).count()
    }
}
