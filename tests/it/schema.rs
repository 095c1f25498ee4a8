//! Decoding, discovery and OpenAPI against what a real API server did.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ckslab::node::embedded::apiserver::schema::{self, FieldValidation, protobuf};
use serde_json::{Value, json};

const SESSIONS: [&str; 23] = [
    "01-discovery",
    "02-crud",
    "03-ssa",
    "04-strategic-merge",
    "05-kubectl-kinds",
    "06-kubectl-imperative",
    "07-validation",
    "08-fieldvalidation-warnings",
    "09-rbac",
    "10-authn-tokens",
    "11-node-authorizer",
    "12-admission",
    "13-list-watch",
    "14-delete",
    "15-pod-subresources",
    "16-crd",
    "17-python-client",
    "18-audit-ids",
    "19-ctl-workloads",
    "20-ctl-lifecycle",
    "21-ctl-kubectl-tour",
    "22-ctl-http",
    "23-gone",
];

fn unpacked(path: &str) -> String {
    let path = format!("{}/fixtures/golden/http/{path}", env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap())
        .read_to_string(&mut text)
        .unwrap();
    text
}

/// The exchanges of a session.
fn exchanges(session: &str) -> Vec<Value> {
    unpacked(&format!("{session}.jsonl.gz"))
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["type"] == "exchange")
        .collect()
}

/// Group, version and kind that an object names.
fn gvk(object: &Value) -> (String, String, String) {
    let api_version = object["apiVersion"].as_str().unwrap_or_default();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let kind = object["kind"].as_str().unwrap_or_default();
    (group.to_owned(), version.to_owned(), kind.to_owned())
}

#[test]
fn every_recorded_protobuf_body_is_decoded_and_encoded() {
    let (mut decoded, mut encoded) = (0, 0);
    for session in SESSIONS {
        for exchange in exchanges(session) {
            for side in ["request", "response"] {
                let message = &exchange[side];
                let (Some(body), Some(expected)) =
                    (message["body_b64"].as_str(), message.get("body_json"))
                else {
                    continue;
                };
                let bytes = STANDARD.decode(body).unwrap();
                let at = format!("{session} step {} {side}", exchange["step"]);
                let (group, version, kind) = gvk(expected);
                let result = schema::decode(
                    &group,
                    &version,
                    &kind,
                    protobuf::CONTENT_TYPE,
                    &bytes,
                    FieldValidation::Strict,
                );
                let value = result
                    .unwrap_or_else(|e| panic!("{at}: {}", e.message()))
                    .value;
                let mut shown = value.clone();
                if expected["items"] == json!([]) {
                    // The recorder made lists of nothing an empty array.
                    shown["items"] = json!([]);
                }
                assert_eq!(shown, *expected, "{at}");
                decoded += 1;
                let again = protobuf::encode(&group, &version, &kind, &value).unwrap();
                assert!(
                    again == bytes,
                    "{at}: encoded as {}\nexpected {body}\n{value}",
                    STANDARD.encode(&again)
                );
                encoded += 1;
            }
        }
    }
    println!("protobuf bodies decoded: {decoded}, encoded byte for byte: {encoded}");
    assert!(decoded >= 312, "{decoded}");
}

/// Every object (and item of a list) in an answer, with its kind.
fn objects(body: &Value) -> Vec<Value> {
    match body["kind"].as_str() {
        Some("Table") | None => Vec::new(),
        Some(kind) if kind.ends_with("List") && body["items"].is_array() => {
            let item_kind = kind.trim_end_matches("List");
            let mut all: Vec<Value> = body["items"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|item| item.get("kind").is_none())
                .map(|item| {
                    let mut out = json!({ "kind": item_kind, "apiVersion": body["apiVersion"] });
                    out.as_object_mut()
                        .unwrap()
                        .extend(item.as_object().unwrap().clone());
                    out
                })
                .collect();
            all.push(body.clone());
            all
        }
        Some(_) => vec![body.clone()],
    }
}

#[test]
fn every_recorded_object_is_in_normal_form() {
    let mut checked = 0;
    let mut seen = std::collections::BTreeSet::new();
    for session in SESSIONS {
        for exchange in exchanges(session) {
            let Some(text) = exchange["response"]["body"].as_str() else {
                continue;
            };
            let Ok(body) = serde_json::from_str::<Value>(text) else {
                continue;
            };
            for object in objects(&body) {
                let (group, version, kind) = gvk(&object);
                if !schema::knows(&group, &version, &kind) {
                    continue;
                }
                let at = format!("{session} step {}", exchange["step"]);
                let mut again = object.clone();
                schema::normalise(&group, &version, &kind, &mut again);
                assert_eq!(again.to_string(), object.to_string(), "{at}");
                let decoded = schema::decode_value(&group, &version, &kind, &object).unwrap();
                assert_eq!(decoded.strict_errors, Vec::<String>::new(), "{at}");
                seen.insert(format!("{group}/{kind}"));
                checked += 1;
            }
        }
    }
    println!(
        "recorded objects in normal form: {checked}, of {} kinds",
        seen.len()
    );
    assert!(checked > 2000, "{checked}");
}
