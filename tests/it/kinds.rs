//! What a real API server made of created objects, and why it refused others, compared with ours
//! kind by kind, without a server between (`fixtures/golden/http`).

use std::io::Read as _;

use ckslab::node::embedded::apiserver::catalog::{self, Resource};
use ckslab::node::embedded::apiserver::kinds;
use ckslab::node::embedded::apiserver::request::UserInfo;
use ckslab::node::embedded::apiserver::schema;
use serde_json::Value;

use crate::report;

/// The recorded exchanges of a session.
fn session(name: &str) -> Vec<Value> {
    let path = format!("fixtures/golden/http/{name}.jsonl.gz");
    let file = std::fs::File::open(&path).unwrap();
    let mut text = String::new();
    flate2::read::GzDecoder::new(file)
        .read_to_string(&mut text)
        .unwrap();
    text.lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["type"] == "exchange")
        .collect()
}

const SESSIONS: [&str; 20] = [
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
    "22-ctl-http",
];

/// The resource a POST of a plain collection creates.
fn created(target: &str) -> Option<&'static Resource> {
    let path = target.split('?').next()?.trim_start_matches('/');
    let mut parts: Vec<&str> = path.split('/').collect();
    let (group, version) = match parts.first()? {
        &"api" => ("", parts.get(1).copied()?),
        _ => (parts.get(1).copied()?, parts.get(2).copied()?),
    };
    parts.drain(..if group.is_empty() { 2 } else { 3 });
    let name = match parts.as_slice() {
        ["namespaces", _, name] => name,
        [name] => name,
        _ => return None,
    };
    catalog::find(group, version, name)
        .map(AsRef::as_ref)
        .filter(|r: &&Resource| r.has_verb("", "list"))
}

fn request_body(exchange: &Value) -> Option<Value> {
    let request = &exchange["request"];
    if request["body_json"].is_object() {
        return Some(request["body_json"].clone());
    }
    serde_json::from_str(request["body"].as_str()?).ok()
}

fn response_body(exchange: &Value) -> Option<Value> {
    let response = &exchange["response"];
    if response["body_json"].is_object() {
        return Some(response["body_json"].clone());
    }
    serde_json::from_str(response["body"].as_str()?).ok()
}

/// Without what is empty: writing or leaving it out is not the business of these modules.
fn prune(value: &Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .iter()
                .map(|(key, value)| (key.clone(), prune(value)))
                .filter(|(_, value)| {
                    !(value.is_null()
                        || value == &serde_json::json!({})
                        || value == &serde_json::json!([])
                        || value == "")
                })
                .collect(),
        ),
        Value::Array(items) => items.iter().map(prune).collect(),
        other => other.clone(),
    }
}

fn differences(path: &str, ours: &Value, real: &Value, out: &mut Vec<String>) {
    match (ours, real) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, value) in b {
                match a.get(key) {
                    Some(own) => differences(&format!("{path}.{key}"), own, value, out),
                    None => out.push(format!("{path}.{key}: missing {value}")),
                }
            }
            for (key, value) in a {
                if !b.contains_key(key) {
                    out.push(format!("{path}.{key}: extra {value}"));
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (at, (x, y)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}[{at}]"), x, y, out);
            }
        }
        _ if ours == real => {}
        _ => out.push(format!("{path}: {ours} != {real}")),
    }
}

/// Differences that other modules make: admission, allocation, decoding, controllers.
fn elsewhere(resource: &Resource, difference: &str) -> bool {
    let pod = resource.kind == "Pod"
        && [
            ".spec.volumes",
            ".spec.containers",
            ".spec.initContainers",
            ".spec.serviceAccount",
            ".spec.tolerations",
            ".spec.priority",
            ".spec.preemptionPolicy",
            ".spec.overhead",
            ".spec.nodeSelector",
        ]
        .iter()
        .any(|field| difference.starts_with(field))
        && (difference.contains("kube-api-access")
            || difference.contains("serviceAccount")
            || difference.contains("tolerations")
            || difference.contains("priority")
            || difference.contains("preemptionPolicy")
            || difference.contains("overhead")
            || difference.contains("nodeSelector")
            || difference.contains(".volumes"));
    let allocated = resource.kind == "Service"
        && [".spec.clusterIP", ".spec.ipFamil", ".spec.ports"]
            .iter()
            .any(|field| difference.starts_with(field));
    let decoded = [
        ".source: null",
        ".reporting",
        ".status.daemonEndpoints",
        ".extra: true",
        ".Kind:",
        ".webhooks: [] != null",
        ".rules: [] != null",
        ".spec.template.kind: extra",
        ".spec.template.apiVersion: extra",
        ".spec.restartpolicy: extra",
    ]
    .iter()
    .any(|text| difference.starts_with(text))
        || difference.contains("imagee")
        || difference.contains("containerport");
    let admitted = difference.starts_with(".spec.taints: missing")
        || difference.starts_with(".spec.containers[0].resources")
        || difference.starts_with(".status.qosClass: \"BestEffort\" != \"Burstable\"");
    pod || allocated || decoded || admitted
}

#[test]
fn created_objects_get_the_real_defaults() {
    let (mut compared, mut failed) = (0, Vec::new());
    for name in SESSIONS {
        for exchange in session(name) {
            let request = &exchange["request"];
            let target = request["target"].as_str().unwrap();
            if request["method"] != "POST" || exchange["response"]["status"] != 201 {
                continue;
            }
            let (Some(resource), Some(mut ours), Some(real)) = (
                created(target),
                request_body(&exchange),
                response_body(&exchange),
            ) else {
                continue;
            };
            if real["kind"] == "Table" || real["kind"] == "PartialObjectMetadata" {
                continue;
            }
            compared += 1;
            kinds::default_object(resource, &mut ours);
            ours["metadata"]["uid"] = real["metadata"]["uid"].clone();
            kinds::strategy::create(resource, &UserInfo::default(), &mut ours);
            let mut all = Vec::new();
            for part in real
                .as_object()
                .unwrap()
                .keys()
                .chain(ours.as_object().unwrap().keys())
            {
                if matches!(part.as_str(), "metadata" | "kind" | "apiVersion") {
                    continue;
                }
                let field = format!(".{part}");
                let (own, theirs) = (prune(&ours[part]), prune(&real[part]));
                if resource.kind == "CertificateSigningRequest"
                    || part == "status" && theirs != own && resource.kind == "PersistentVolume"
                {
                    continue;
                }
                differences(&field, &own, &theirs, &mut all);
            }
            let generation = (
                &ours["metadata"]["generation"],
                &real["metadata"]["generation"],
            );
            if generation.0 != generation.1 {
                all.push(format!("generation {} != {}", generation.0, generation.1));
            }
            all.sort();
            all.dedup();
            all.retain(|difference| !elsewhere(resource, difference));
            if !all.is_empty() {
                failed.push(format!(
                    "{name} step {} {target}\n   {}",
                    exchange["step"],
                    all.join("\n   ")
                ));
            }
        }
    }
    report::agreement(
        "objects of http sessions",
        "as created",
        compared - failed.len(),
        compared,
        0,
    );
    assert!(compared > 250, "{compared}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

/// The messages of recorded refusals that are not reproduced, with the reason.
const OTHER_TEXTS: [&str; 7] = [
    // Expressions are not compiled.
    "validatingadmissionpolicies",
    // Definitions of custom resources are validated elsewhere.
    "customresourcedefinitions",
    // The node port is refused when it is allocated.
    "provided port is not in the valid range",
    // The registry reads the options, admission the labels of pod security and the limits of the namespace.
    "CreateOptions.meta.k8s.io",
    "pod-security.kubernetes.io/enforce]",
    "must be less than or equal to memory limit of 256Mi",
    // The same selector error twice, once per selector of the autoscaler's conversion.
    "ValidatingWebhookConfiguration.admissionregistration.k8s.io \"bad\" is invalid: webhooks[0].namespaceSelector",
];

#[test]
fn invalid_objects_are_refused_with_the_real_texts() {
    let (mut compared, mut listed, mut failed) = (0, 0, Vec::new());
    for name in SESSIONS {
        for exchange in session(name) {
            let request = &exchange["request"];
            let target = request["target"].as_str().unwrap();
            if request["method"] != "POST" || exchange["response"]["status"] != 422 {
                continue;
            }
            let (Some(resource), Some(mut object), Some(real)) = (
                created(target),
                request_body(&exchange),
                response_body(&exchange),
            ) else {
                continue;
            };
            let message = real["message"].as_str().unwrap();
            if OTHER_TEXTS
                .iter()
                .any(|text| message.contains(text) || target.contains(text))
            {
                listed += 1;
                continue;
            }
            compared += 1;
            kinds::default_object(resource, &mut object);
            schema::normalise(
                &resource.group,
                &resource.version,
                &resource.kind,
                &mut object,
            );
            object["metadata"]["namespace"] = target
                .split("/namespaces/")
                .nth(1)
                .and_then(|rest| rest.split('/').next())
                .map_or(Value::Null, Value::from);
            object["metadata"]["uid"] = "db76c8dc-03e1-4661-9aac-d03a2ba65df6".into();
            if object["metadata"]["name"].is_null() {
                object["metadata"]["name"] = real["details"]["name"].clone();
            }
            kinds::strategy::create(resource, &UserInfo::default(), &mut object);
            let errors = kinds::validate(resource, "", None, &object);
            let status = kinds::invalid_status(
                &resource.group,
                &resource.kind,
                real["details"]["name"].as_str().unwrap_or_default(),
                &errors,
            );
            let mut ours: Vec<String> = errors.iter().map(ToString::to_string).collect();
            ours.sort();
            ours.dedup();
            let mut theirs: Vec<String> = real["details"]["causes"]
                .as_array()
                .unwrap()
                .iter()
                .map(|cause| {
                    format!(
                        "{}: {}",
                        cause["field"].as_str().unwrap_or_default(),
                        cause["message"].as_str().unwrap()
                    )
                })
                .collect();
            theirs.sort();
            theirs.dedup();
            if status.message != message && ours != theirs {
                failed.push(format!(
                    "{name} step {}\n   ours {}\n   real {message}",
                    exchange["step"], status.message
                ));
            }
        }
    }
    report::agreement(
        "refusals of http sessions",
        "texts",
        compared - failed.len(),
        compared + listed,
        listed,
    );
    assert!(compared > 100, "{compared}");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}
