//! Requests nobody would send, through the real pipeline: objects of the cluster with pieces replaced by anything, in
//! every content type, as creations, updates and patches; paths, queries and headers of any words. Whatever it is, it
//! is answered, does not panic, and leaves a whole entry. `PROPTEST_CASES` sets how many.

use std::time::Duration;

use ckslab::audit::level::Stage;
use ckslab::node::embedded::apiserver::catalog;
use ckslab::node::embedded::apiserver::pipeline::{self, Peer, RequestBody};
use ckslab::node::embedded::apiserver::request::UserInfo;
use ckslab::node::embedded::apiserver::schema::protobuf;
use http_body_util::{BodyExt, Full};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};

use crate::replay;
use crate::server::Server;

const POLICY: &str =
    "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: RequestResponse\n";
/// Longest that a request may take; watches are asked for a second.
const HANG: Duration = Duration::from_secs(120);

const TEXTS: [&str; 24] = [
    "",
    "a",
    "default",
    "kube-system",
    "v1",
    "apps/v1",
    "Pod",
    "metadata",
    "\u{0}",
    "\u{2028}<&>",
    "-1",
    "9223372036854775808",
    "1e309",
    "1Gi",
    "100m",
    "25%",
    "2026-01-01T00:00:00Z",
    "{}",
    "a/b",
    "../..",
    "*",
    "${a}",
    "$(HOME)",
    "Zm9v",
];

const QUERIES: [&str; 20] = [
    "dryRun=All",
    "dryRun=None",
    "fieldManager=x",
    "force=true",
    "fieldValidation=Strict",
    "fieldValidation=Warn",
    "fieldValidation=x",
    "limit=1",
    "continue=e30",
    "resourceVersion=1",
    "resourceVersion=0",
    "resourceVersionMatch=Exact",
    "labelSelector=a%20in%20(b)",
    "fieldSelector=metadata.name%3Da",
    "watch=true&timeoutSeconds=1",
    "propagationPolicy=Orphan",
    "gracePeriodSeconds=-1",
    "pretty=1",
    "timeout=1s",
    "%zz&a=b&&=",
];

/// Anything a JSON value can be.
fn anything() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-3_i64..4).prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        proptest::sample::select(TEXTS.to_vec()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let name = proptest::sample::select(vec![
            "name",
            "metadata",
            "spec",
            "key",
            "value",
            "",
            "a",
            "$patch",
            "$retainKeys",
            "items",
            "f:a",
            "k:{\"name\":\"a\"}",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name, inner), 0..4).prop_map(|fields| {
                let fields = fields
                    .into_iter()
                    .map(|(name, value)| (name.to_owned(), value));
                Value::Object(fields.collect())
            }),
        ]
    })
}

/// What replaces or joins the value at some place of an object.
#[derive(Debug, Clone)]
enum Change {
    Replace(Value),
    Remove,
    Repeat,
}

/// A request, with its object and places by number.
#[derive(Debug, Clone)]
struct Case {
    object: usize,
    changes: Vec<(usize, Change)>,
    how: usize,
    encoding: usize,
    query: Vec<&'static str>,
    subresource: usize,
    /// Bytes of the body that are overwritten.
    noise: Vec<(usize, u8)>,
    /// Instead of all that.
    path: Option<String>,
}

fn case() -> impl Strategy<Value = Case> {
    let change = prop_oneof![
        6 => anything().prop_map(Change::Replace),
        1 => Just(Change::Remove),
        1 => Just(Change::Repeat),
    ];
    (
        any::<usize>(),
        prop::collection::vec((any::<usize>(), change), 0..4),
        0..10_usize,
        0..8_usize,
        prop::collection::vec(proptest::sample::select(QUERIES.to_vec()), 0..3),
        0..12_usize,
        prop_oneof![4 => Just(Vec::new()), 1 => prop::collection::vec((any::<usize>(), any::<u8>()), 1..5)],
        prop_oneof![9 => Just(None), 1 => "(/[a-z.]{0,8}|/api|/apis|/v1|/namespaces|/pods|//|/%2f|/\\.\\.){1,7}".prop_map(Some)],
    )
        .prop_map(
            |(object, changes, how, encoding, query, subresource, noise, path)| Case {
                object,
                changes,
                how,
                encoding,
                query,
                subresource,
                noise,
                path,
            },
        )
}

/// Visits the values of an object in order; the one whose turn it is, is changed.
fn change(value: &mut Value, left: &mut usize, change: &Change) -> bool {
    if *left == 0 {
        match change {
            Change::Replace(new) => *value = new.clone(),
            Change::Remove => *value = Value::Null,
            Change::Repeat => {
                let copy = value.clone();
                match value {
                    Value::Array(items) => items.extend(items.clone()),
                    Value::Object(fields) => {
                        fields.insert("again".to_owned(), copy);
                    }
                    _ => *value = json!([copy.clone(), copy]),
                }
            }
        }
        return true;
    }
    *left -= 1;
    match value {
        Value::Array(items) => items
            .iter_mut()
            .any(|item| self::change(item, left, change)),
        Value::Object(fields) => fields
            .values_mut()
            .any(|field| self::change(field, left, change)),
        _ => false,
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(items) => items.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

/// An object of the cluster, and where it is.
#[derive(Clone)]
struct Object {
    value: Value,
    collection: String,
    name: String,
    kind: (String, String, String),
}

fn objects(server: &Server) -> Vec<Object> {
    let stored = server.state.store.list("/registry/").0;
    let object = |stored: ckslab::node::embedded::store::Stored| {
        let mut parts = stored.key.strip_prefix("/registry/")?.split('/');
        let (group, resource) = (parts.next()?, parts.next()?);
        let group = if group == "core" { "" } else { group };
        let resource = catalog::find_preferred(group, resource)?;
        let mut value = (*stored.value).clone();
        value["kind"] = resource.kind.clone().into();
        value["apiVersion"] = resource.api_version().into();
        let base = if group.is_empty() {
            "/api/v1".to_owned()
        } else {
            format!("/apis/{}", resource.api_version())
        };
        let namespace = value["metadata"]["namespace"].as_str().unwrap_or_default();
        let namespace = if namespace.is_empty() {
            String::new()
        } else {
            format!("/namespaces/{namespace}")
        };
        Some(Object {
            collection: format!("{base}{namespace}/{}", resource.name),
            name: value["metadata"]["name"].as_str()?.to_owned(),
            kind: (
                group.to_owned(),
                resource.version.clone(),
                resource.kind.clone(),
            ),
            value,
        })
    };
    // One of each kind and a few more: most are roles.
    let mut seen = std::collections::HashMap::<String, usize>::new();
    stored
        .into_iter()
        .filter_map(object)
        .filter(|object| {
            let count = seen.entry(object.kind.2.clone()).or_default();
            *count += 1;
            *count <= 3
        })
        .collect()
}

const PATCHES: [&str; 4] = [
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
];
const SUBRESOURCES: [&str; 12] = [
    "",
    "",
    "",
    "",
    "",
    "",
    "status",
    "scale",
    "ephemeralcontainers",
    "eviction",
    "binding",
    "token",
];

/// The request of a case: method, path and query, content type, body.
fn request(case: &Case, all: &[Object]) -> (&'static str, String, &'static str, Vec<u8>) {
    let object = &all[case.object % all.len()];
    let mut value = object.value.clone();
    for (at, what) in &case.changes {
        let mut left = at % count(&value);
        change(&mut value, &mut left, what);
    }
    let (method, is_named) = match case.how {
        0 | 1 => ("POST", false),
        2 | 3 => ("PUT", true),
        4..=7 => ("PATCH", true),
        8 => ("DELETE", case.changes.len().is_multiple_of(2)),
        _ => ("GET", case.changes.len().is_multiple_of(2)),
    };
    let mut path = object.collection.clone();
    if is_named {
        path = format!("{path}/{}", object.name);
        let subresource = SUBRESOURCES[case.subresource];
        if !subresource.is_empty() {
            path = format!("{path}/{subresource}");
        }
    }
    let path = case.path.clone().unwrap_or(path);
    // What is there stays there, so that every case finds the same cluster.
    let mut query = case.query.join("&");
    if method != "GET" {
        query = format!("dryRun=All&{query}");
    }
    let (content_type, mut body) = if method == "PATCH" {
        let kind = PATCHES[case.encoding % 4];
        let body = match case.encoding {
            0 | 4 => {
                json!([{"op": (["add", "remove", "replace", "move", "copy", "test"])[case.object % 6],
                "path": (["", "/metadata", "/spec", "/metadata/labels/a", "/spec/template/spec/containers/0", "/metadata/managedFields/-"])[case.subresource % 6],
                "from": "/metadata", "value": value}])
            }
            3 | 7 => {
                query = format!("fieldManager=random&{query}");
                value
            }
            _ => value,
        };
        (kind, body.to_string().into_bytes())
    } else {
        let (group, version, kind) = &object.kind;
        match case.encoding {
            0..=3 => ("application/json", value.to_string().into_bytes()),
            4 => (
                "application/yaml",
                serde_yaml::to_string(&value).unwrap().into_bytes(),
            ),
            5 => ("application/cbor", value.to_string().into_bytes()),
            _ => {
                let encoded = protobuf::encode(group, version, kind, &value);
                (
                    "application/vnd.kubernetes.protobuf",
                    encoded.unwrap_or_else(|| b"k8s\0\x0a\x02v1".to_vec()),
                )
            }
        }
    };
    let length = body.len().max(1);
    for (at, byte) in &case.noise {
        if let Some(place) = body.get_mut(at % length) {
            *place = *byte;
        }
    }
    (method, format!("{path}?{query}"), content_type, body)
}

#[test]
fn whatever_is_asked_is_answered_without_a_panic_and_with_a_whole_entry() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let root = tempfile::tempdir().unwrap();
    let server = Server::on(replay::base_store(), POLICY, root.path(), &[]);
    let all = objects(&server);
    assert!(all.len() > 30, "{} objects", all.len());
    let config = Config {
        cases: std::env::var("PROPTEST_CASES").map_or(400, |cases| cases.parse().unwrap()),
        failure_persistence: None,
        ..Config::default()
    };
    let answered = |case: Case| -> Result<(), TestCaseError> {
        let (method, uri, content_type, body) = request(&case, &all);
        let Ok(uri) = uri.parse::<http::Uri>() else {
            return Ok(());
        };
        let shown = format!(
            "{method} {uri} {content_type} {}",
            String::from_utf8_lossy(&body)
        );
        let body = RequestBody::new(Full::new(bytes::Bytes::from(body)).map_err(|no| match no {}));
        let asked = http::Request::builder()
            .method(method)
            .uri(uri)
            .header("audit-id", "random")
            .header("content-type", content_type)
            .header(
                "accept",
                "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
            )
            .body(body)
            .unwrap();
        let peer = Peer::Local {
            user: UserInfo {
                username: "root".to_owned(),
                groups: vec!["system:masters".to_owned()],
                ..UserInfo::default()
            },
            address: "127.0.0.1".parse().unwrap(),
        };
        let _ = server.memory.take();
        let state = server.state.clone();
        let answer = runtime.block_on(async {
            let answer = async {
                let answer = pipeline::handle(state, asked, peer).await;
                let code = answer.status().as_u16();
                (code, answer.into_body().collect().await.unwrap().to_bytes())
            };
            tokio::time::timeout(HANG, answer).await
        });
        let Ok((code, body)) = answer else {
            return Err(TestCaseError::fail(format!("no answer to {shown}")));
        };
        let events = server.memory.take();
        let text = String::from_utf8_lossy(&body);
        prop_assert!(!text.contains("apiserver to panic"), "{shown}: {text}");
        prop_assert!((200..600).contains(&code), "{shown}: {code}");
        if text.contains("failed to create RequestInfo") {
            return Ok(());
        }
        let last = events.last().map(|event| event.stage);
        let refused = events.len() == 1 && last == Some(Stage::ResponseStarted);
        prop_assert!(
            refused || last == Some(Stage::ResponseComplete)
                // A patch that is no JSON cannot be written.
                || content_type.contains("patch"),
            "{shown}: {events:?}"
        );
        Ok(())
    };
    TestRunner::new(config).run(&case(), answered).unwrap();
}
