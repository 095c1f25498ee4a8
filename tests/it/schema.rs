//! Decoding, discovery and OpenAPI against what a real API server did.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ckslab::node::embedded::apiserver::catalog;
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

/// Group, version and kind of the bodies of a request to a built-in resource.
fn target(path: &str) -> Option<(String, String, String)> {
    let path = path.split('?').next().unwrap();
    let mut parts: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    let (group, version) = match parts.first() {
        Some(&"api") if parts.len() > 2 => ("", parts[1]),
        Some(&"apis") if parts.len() > 3 => (parts[1], parts[2]),
        _ => return None,
    };
    parts.drain(..if group.is_empty() { 2 } else { 3 });
    if parts.first() == Some(&"namespaces") && parts.len() > 2 && !["status", "finalize"].contains(&parts[2]) {
        parts.drain(..2);
    }
    let resource = catalog::find(group, version, parts[0])?;
    let subresource = parts.get(2).copied().unwrap_or_default();
    let (group, version, kind) = resource.body_kind(subresource)?;
    Some((group.to_owned(), version.to_owned(), kind.to_owned()))
}

/// What of `part` is not in `whole`.
fn missing(path: &str, part: &Value, whole: &Value, out: &mut Vec<String>) {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            for (key, value) in part {
                missing(&format!("{path}.{key}"), value, whole.get(key).unwrap_or(&Value::Null), out);
            }
        }
        (Value::Array(part), Value::Array(whole)) if part.len() == whole.len() => {
            for (at, (part, whole)) in part.iter().zip(whole).enumerate() {
                missing(&format!("{path}[{at}]"), part, whole, out);
            }
        }
        _ if part == whole => {}
        // Zero values were replaced by defaults; managed fields are left out of audit.
        (Value::Null, _) => {}
        (Value::Number(number), _) if number.as_i64() == Some(0) => {}
        (Value::Array(_), Value::Null) if path == ".metadata.managedFields" => {}
        _ => out.push(format!("{path}: {part} is {whole}")),
    }
}

fn header<'a>(message: &'a Value, name: &str) -> Vec<&'a str> {
    message["headers"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|pair| pair[0].as_str().unwrap().eq_ignore_ascii_case(name))
        .map(|pair| pair[1].as_str().unwrap())
        .collect()
}

#[test]
fn bodies_are_decoded_and_refused_as_recorded() {
    let (mut equal, mut refused, mut warned) = (0, 0, 0);
    let mut wrong = Vec::new();
    for session in SESSIONS {
        for exchange in exchanges(session) {
            let request = &exchange["request"];
            let method = request["method"].as_str().unwrap();
            let path = request["target"].as_str().unwrap();
            let Some((group, version, kind)) = target(path) else {
                continue;
            };
            if method != "POST" && method != "PUT" {
                continue;
            }
            let body = match (request["body"].as_str(), request["body_b64"].as_str()) {
                (Some(text), _) => text.as_bytes().to_vec(),
                (None, Some(text)) => STANDARD.decode(text).unwrap(),
                (None, None) => continue,
            };
            let validation = path.split(['?', '&']).find_map(|p| p.strip_prefix("fieldValidation="));
            let content_type = header(request, "content-type").first().copied().unwrap_or_default();
            let result = schema::decode(
                &group,
                &version,
                &kind,
                content_type,
                &body,
                FieldValidation::parse(validation.unwrap_or_default()).unwrap_or_default(),
            );
            let at = format!("{session} step {}", exchange["step"]);
            let response = &exchange["response"];
            let answer: Value = serde_json::from_str(response["body"].as_str().unwrap_or("null")).unwrap_or_default();
            let message = answer["message"].as_str().unwrap_or_default();
            let is_refusal = response["status"] == 400
                && ["cannot be handled as", "is unrecognized", "in the data"].iter().any(|part| message.contains(part));
            match result {
                Err(error) if is_refusal => {
                    refused += 1;
                    if error.message() != message {
                        wrong.push(format!("{at}: {}\n  real: {message}", error.message()));
                    }
                }
                // Other checks came first.
                Err(error) if response["status"].as_u64() < Some(400) => wrong.push(format!("{at}: {}", error.message())),
                Err(_) => {}
                Ok(decoded) if is_refusal => wrong.push(format!("{at}: {decoded:?}\n  real: {message}")),
                Ok(decoded) => {
                    let warnings: Vec<String> = header(response, "warning")
                        .iter()
                        .map(|w| w.trim_start_matches("299 - \"").strip_suffix('"').unwrap().replace("\\\"", "\"").replace("\\\\", "\\"))
                        .filter(|w| ["unknown field", "duplicate field", "yaml:"].iter().any(|p| w.starts_with(p)))
                        .collect();
                    if response["status"].as_u64() < Some(400) && decoded.strict_errors != warnings {
                        wrong.push(format!("{at}: {:?}\n  real: {warnings:?}", decoded.strict_errors));
                    }
                    warned += warnings.len();
                    let recorded = exchange["audit"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .find_map(|event| event.get("requestObject"));
                    if let Some(recorded) = recorded {
                        let mut out = Vec::new();
                        missing("", &decoded.value, recorded, &mut out);
                        if out.is_empty() {
                            equal += 1;
                        } else {
                            wrong.push(format!("{at}: {}", out.join("; ")));
                        }
                    }
                }
            }
        }
    }
    println!("bodies decoded as audited: {equal}, refused with the recorded text: {refused}, warnings: {warned}");
    assert!(wrong.is_empty(), "{} differ:\n{}", wrong.len(), wrong.join("\n"));
}
