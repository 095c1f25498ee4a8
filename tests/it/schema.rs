//! Decoding, discovery and OpenAPI against what a real API server did.

use std::io::Read;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ckslab::node::embedded::apiserver::api::{ApiResponse, Body};
use ckslab::node::embedded::apiserver::catalog;
use ckslab::node::embedded::apiserver::discovery::Discovery;
use ckslab::node::embedded::apiserver::openapi;
use ckslab::node::embedded::apiserver::schema::{self, FieldValidation, protobuf};
use ckslab::node::embedded::apiserver::state::CustomResource;
use serde_json::{Value, json};

use crate::report;

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
    report::agreement(
        "protobuf bodies",
        "encoded byte for byte",
        encoded,
        decoded,
        0,
    );
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
    report::line(format!(
        "recorded objects in normal form: {checked}, of {} kinds",
        seen.len()
    ));
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
    if parts.first() == Some(&"namespaces")
        && parts.len() > 2
        && !["status", "finalize"].contains(&parts[2])
    {
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
                missing(
                    &format!("{path}.{key}"),
                    value,
                    whole.get(key).unwrap_or(&Value::Null),
                    out,
                );
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
        (Value::Number(number), _)
            if number.as_i64() == Some(-1) && path == ".spec.terminationGracePeriodSeconds" => {}
        // The version that the client sent; we speak the one of the request.
        (Value::String(_), Value::String(version))
            if path == ".apiVersion" && version == "policy/v1beta1" => {}
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
            let validation = path
                .split(['?', '&'])
                .find_map(|p| p.strip_prefix("fieldValidation="));
            let content_type = header(request, "content-type")
                .first()
                .copied()
                .unwrap_or_default();
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
            let answer: Value = serde_json::from_str(response["body"].as_str().unwrap_or("null"))
                .unwrap_or_default();
            let message = answer["message"].as_str().unwrap_or_default();
            let is_refusal = response["status"] == 400
                && ["cannot be handled as", "is unrecognized", "in the data"]
                    .iter()
                    .any(|part| message.contains(part));
            match result {
                Err(error) if is_refusal => {
                    refused += 1;
                    if error.message() != message {
                        wrong.push(format!("{at}: {}\n  real: {message}", error.message()));
                    }
                }
                // Other checks came first.
                Err(error) if response["status"].as_u64() < Some(400) => {
                    wrong.push(format!("{at}: {}", error.message()))
                }
                Err(_) => {}
                Ok(decoded) if is_refusal => {
                    wrong.push(format!("{at}: {decoded:?}\n  real: {message}"))
                }
                Ok(decoded) => {
                    let warnings: Vec<String> = header(response, "warning")
                        .iter()
                        .map(|w| {
                            w.trim_start_matches("299 - \"")
                                .strip_suffix('"')
                                .unwrap()
                                .replace("\\\"", "\"")
                                .replace("\\\\", "\\")
                        })
                        .filter(|w| {
                            ["unknown field", "duplicate field", "line "]
                                .iter()
                                .any(|p| w.starts_with(p))
                        })
                        .collect();
                    if response["status"].as_u64() < Some(400) && decoded.strict_errors != warnings
                    {
                        wrong.push(format!(
                            "{at}: {:?}\n  real: {warnings:?}",
                            decoded.strict_errors
                        ));
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
    report::line(format!(
        "request bodies: {equal} decoded as audited, {refused} refused with the recorded text, {warned} warnings"
    ));
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

/// What discovery answers, compared as a replay would.
#[test]
fn discovery_answers_as_recorded() {
    let mut compared = 0;
    let mut wrong = Vec::new();
    for (session, custom) in [
        ("01-discovery", false),
        ("16-crd", true),
        ("22-ctl-http", false),
        ("19-ctl-workloads", false),
    ] {
        let exchanges = exchanges(session);
        let definition = exchanges
            .iter()
            .filter(|e| {
                e["request"]["target"]
                    .as_str()
                    .unwrap()
                    .starts_with("/apis/apiextensions.k8s.io")
            })
            .find_map(|e| serde_json::from_str::<Value>(e["response"]["body"].as_str()?).ok())
            .filter(|_| custom);
        for exchange in &exchanges {
            let (request, response) = (&exchange["request"], &exchange["response"]);
            let target = request["target"].as_str().unwrap();
            let path = target.split('?').next().unwrap();
            if !path.starts_with("/api") || response["status"] == 403 || response["status"] == 304 {
                continue;
            }
            let mut served: Vec<CustomResource> =
                definition.iter().flat_map(custom_resources).collect();
            if target == "/apis?timeout=32s" && custom {
                // The session added a short name on the way.
                for resource in &mut served {
                    std::sync::Arc::make_mut(&mut resource.resource)
                        .short_names
                        .push("wd2".to_owned());
                }
            }
            let discovery = Discovery {
                custom: &served,
                address: "192.168.49.2:6443",
            };
            let method = request["method"].as_str().unwrap().parse().unwrap();
            let accept = header(request, "accept")
                .first()
                .copied()
                .unwrap_or_default();
            let Some(result) = discovery.answer(&method, path, accept, "") else {
                continue;
            };
            let at = format!("{session} step {} {target}", exchange["step"]);
            let answer = result.unwrap_or_else(ApiResponse::from);
            if response["status"] != answer.code {
                wrong.push(format!(
                    "{at}: {} instead of {}",
                    answer.code, response["status"]
                ));
            }
            let aggregated = header(response, "etag").first().copied();
            for name in ["etag", "vary"] {
                let given = answer.headers.iter().any(|(key, _)| key.as_str() == name);
                if given != aggregated.is_some() {
                    wrong.push(format!("{at}: {name} {given}"));
                }
            }
            let body = match &answer.body {
                Body::Object(value) => value.to_string(),
                Body::Bytes { bytes, .. } => String::from_utf8(bytes.to_vec()).unwrap(),
                Body::Empty | Body::Stream { .. } => String::new(),
            };
            let expected = response["body"].as_str().unwrap_or_default();
            let compact = serde_json::from_str::<Value>(expected)
                .map_or_else(|_| expected.to_owned(), |v| v.to_string());
            let content_type = header(response, "content-type").first().copied();
            if matches!(
                content_type,
                Some("application/yaml" | "application/vnd.kubernetes.protobuf")
            ) || method == http::Method::HEAD
            {
                continue;
            }
            if body != compact {
                wrong.push(format!("{at}:\n  {body}\n  real: {compact}"));
            }
            compared += 1;
        }
    }
    report::agreement("discovery", "answers", compared - wrong.len(), compared, 0);
    assert!(
        wrong.is_empty(),
        "{} differ:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(compared > 60, "{compared}");
}

/// The served versions of a definition.
fn custom_resources(definition: &Value) -> Vec<CustomResource> {
    use std::sync::Arc;
    let spec = &definition["spec"];
    let texts = |value: &Value| -> Vec<String> {
        serde_json::from_value(value.clone()).unwrap_or_default()
    };
    let verbs = |all: &[&str]| {
        all.iter()
            .map(|verb| (*verb).to_owned())
            .collect::<Vec<_>>()
    };
    let mut out = Vec::new();
    for version in spec["versions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|v| v["served"] == true)
    {
        let name = version["name"].as_str().unwrap();
        let mut subresources = Vec::new();
        for sub in ["status", "scale"] {
            if version["subresources"].get(sub).is_some() {
                subresources.push(catalog::Subresource {
                    name: sub.to_owned(),
                    kind: if sub == "scale" {
                        "Scale".to_owned()
                    } else {
                        spec["names"]["kind"].as_str().unwrap().to_owned()
                    },
                    group: if sub == "scale" {
                        "autoscaling".to_owned()
                    } else {
                        String::new()
                    },
                    version: if sub == "scale" {
                        "v1".to_owned()
                    } else {
                        String::new()
                    },
                    verbs: verbs(&["get", "patch", "update"]),
                });
            }
        }
        out.push(CustomResource {
            resource: Arc::new(catalog::Resource {
                group: spec["group"].as_str().unwrap().to_owned(),
                version: name.to_owned(),
                name: spec["names"]["plural"].as_str().unwrap().to_owned(),
                singular_name: spec["names"]["singular"].as_str().unwrap().to_owned(),
                short_names: texts(&spec["names"]["shortNames"]),
                categories: texts(&spec["names"]["categories"]),
                namespaced: spec["scope"] == "Namespaced",
                kind: spec["names"]["kind"].as_str().unwrap().to_owned(),
                verbs: verbs(&[
                    "create",
                    "delete",
                    "deletecollection",
                    "get",
                    "list",
                    "patch",
                    "update",
                    "watch",
                ]),
                subresources,
            }),
            list_kind: format!("{}List", spec["names"]["kind"].as_str().unwrap()),
            definition: Arc::new(definition.clone()),
            version: Arc::new(version.clone()),
        });
    }
    out
}

/// Paths and definitions of the OpenAPI documents against those of the real ones.
#[test]
fn openapi_documents_have_the_recorded_paths_and_definitions() {
    let summaries: Value = serde_json::from_str(&unpacked("openapi-summaries.json.gz")).unwrap();
    let definition = exchanges("16-crd")
        .iter()
        .filter(|e| {
            e["request"]["target"]
                .as_str()
                .unwrap()
                .starts_with("/apis/apiextensions.k8s.io")
        })
        .find_map(|e| serde_json::from_str::<Value>(e["response"]["body"].as_str()?).ok())
        .unwrap();
    let custom = custom_resources(&definition);
    let (mut documents, mut expected_total, mut missing, mut extra) =
        (0, 0, Vec::new(), Vec::new());
    for summary in summaries.as_object().unwrap().values() {
        let target = summary["target"].as_str().unwrap();
        if summary["content_type"] != "application/json" {
            continue;
        }
        let served: &[CustomResource] = if target.contains("example.com") {
            &custom
        } else {
            &[]
        };
        let started = "2026-11-22T15:40:08Z".parse().unwrap();
        let answer = openapi::answer(served, target, None, &|_| "", started).unwrap();
        let Body::Bytes { bytes, .. } = &answer.body else {
            panic!("{target}: {}", answer.code);
        };
        let document: Value = serde_json::from_slice(bytes).unwrap();
        let definitions = if target == "/openapi/v2" {
            &document["definitions"]
        } else {
            &document["components"]["schemas"]
        };
        for (what, given) in [("paths", &document["paths"]), ("definitions", definitions)] {
            let given: Vec<&str> = given
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            let expected: Vec<&str> = summary[what]
                .as_array()
                .unwrap()
                .iter()
                .map(|v| v.as_str().unwrap())
                .collect();
            expected_total += expected.len();
            missing.extend(
                expected
                    .iter()
                    .filter(|e| !given.contains(e))
                    .map(|e| format!("{target} {e}")),
            );
            extra.extend(
                given
                    .iter()
                    .filter(|g| !expected.contains(g))
                    .map(|g| format!("{target} {g}")),
            );
        }
        assert_eq!(document["info"], summary["info"], "{target}");
        // Every reference leads somewhere.
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        for part in text.split("\"$ref\":\"#/").skip(1) {
            let name = part.split('"').next().unwrap().rsplit('/').next().unwrap();
            assert!(definitions.get(name).is_some(), "{target}: {name}");
        }
        documents += 1;
    }
    report::line(format!(
        "openapi: {documents} documents, {} extra",
        extra.len()
    ));
    report::agreement(
        "openapi",
        "paths and definitions",
        expected_total - missing.len(),
        expected_total,
        0,
    );
    println!("missing: {missing:#?}\nextra: {extra:#?}");
    assert!(missing.is_empty() && extra.is_empty());
}

/// A body that a client sent: group, version and kind; content type; bytes.
type RecordedBody = ((String, String, String), String, Vec<u8>);

/// Bodies that clients sent, with their kinds.
fn recorded_bodies() -> Vec<RecordedBody> {
    let mut out = Vec::new();
    for session in [
        "05-kubectl-kinds",
        "07-validation",
        "08-fieldvalidation-warnings",
    ] {
        for exchange in exchanges(session) {
            let request = &exchange["request"];
            let Some(kind) = target(request["target"].as_str().unwrap()) else {
                continue;
            };
            let body = match (request["body"].as_str(), request["body_b64"].as_str()) {
                (Some(text), _) => text.as_bytes().to_vec(),
                (None, Some(text)) => STANDARD.decode(text).unwrap(),
                (None, None) => continue,
            };
            let content_type = header(request, "content-type")
                .first()
                .copied()
                .unwrap_or_default();
            out.push((kind, content_type.to_owned(), body));
        }
    }
    out
}

/// Whatever the bytes are, decoding ends with an answer, and what was decoded is in normal form.
#[test]
fn damaged_bodies_are_decoded_or_refused() {
    let bodies = recorded_bodies();
    let mut runner = proptest::test_runner::TestRunner::new(proptest::test_runner::Config {
        cases: 1000,
        failure_persistence: None,
        ..proptest::test_runner::Config::default()
    });
    let damage = (
        0..bodies.len(),
        proptest::collection::vec(
            (
                proptest::prelude::any::<usize>(),
                proptest::prelude::any::<u8>(),
                0..4_u8,
            ),
            0..6,
        ),
        0..4_u8,
    );
    let decoded = std::cell::Cell::new(0);
    runner
        .run(&damage, |(which, edits, form)| {
            let ((group, version, kind), content_type, body) = &bodies[which];
            let mut body = body.clone();
            for (at, byte, edit) in edits {
                let at = at % (body.len() + 1);
                match edit {
                    0 => body.insert(at, byte),
                    1 if at < body.len() => body[at] = byte,
                    2 if at < body.len() => _ = body.remove(at),
                    _ => {
                        let copy = body[at.saturating_sub(usize::from(byte))..at].to_vec();
                        body.splice(at..at, copy);
                    }
                }
            }
            let content_type = match form {
                0 => "application/yaml",
                1 => protobuf::CONTENT_TYPE,
                _ => content_type.as_str(),
            };
            let result = schema::decode(
                group,
                version,
                kind,
                content_type,
                &body,
                FieldValidation::Warn,
            );
            if let Ok(first) = result {
                let mut again = first.value.clone();
                schema::normalise(group, version, kind, &mut again);
                assert_eq!(again.to_string(), first.value.to_string());
                decoded.set(decoded.get() + 1);
            }
            Ok(())
        })
        .unwrap();
    assert!(decoded.get() > 0, "no damaged body was decoded");
}

/// Deep nesting is refused, not followed until the stack ends.
#[test]
fn deep_bodies_are_refused() {
    for depth in [1_000, 9_000, 100_000] {
        let (open, close) = ("{\"properties\":{\"a\":".repeat(depth), "}}".repeat(depth));
        let deep = format!(
            "{{\"spec\":{{\"versions\":[{{\"schema\":{{\"openAPIV3Schema\":{open}{{}}{close}}}}}]}}}}"
        );
        let raw = format!("{{\"data\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        let unknown = format!("{{\"x\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
        let decode = |group: &str, kind: &str, content_type: &str, body: &str| {
            schema::decode(
                group,
                "v1",
                kind,
                content_type,
                body.as_bytes(),
                FieldValidation::Warn,
            )
            .map_err(|e| e.cause().to_owned())
        };
        for content_type in ["application/json", "application/yaml"] {
            assert!(
                decode(
                    "apiextensions.k8s.io",
                    "CustomResourceDefinition",
                    content_type,
                    &deep
                )
                .is_err()
            );
            assert!(decode("apps", "ControllerRevision", content_type, &raw).is_err());
        }
        // What is skipped does not matter, up to the limit of the syntax check.
        assert_eq!(
            decode("", "ConfigMap", "application/json", &unknown).is_ok(),
            depth < 9_999
        );
    }
}
