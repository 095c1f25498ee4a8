//! The policy loader and evaluator against what a real Kubernetes did (golden data in fixtures/golden).

use std::io::Read;

use base64::Engine;
use ckslab::audit::evaluate::{Attributes, evaluate};
use ckslab::audit::policy::{self, Loaded, Policy};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::report;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoadCase {
    id: String,
    path: String,
    policy: Option<String>,
    policy_base64: Option<String>,
    fs: Option<String>,
    ok: bool,
    #[serde(default)]
    error: Option<String>,
    #[serde(default)]
    warnings: Vec<String>,
    #[serde(default)]
    num_rules: usize,
    #[serde(default)]
    loaded: Option<Value>,
}

impl LoadCase {
    fn bytes(&self) -> Vec<u8> {
        match (&self.policy, &self.policy_base64) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(text)) => base64::engine::general_purpose::STANDARD
                .decode(text)
                .unwrap(),
            (None, None) => Vec::new(),
        }
    }

    fn read(&self) -> std::io::Result<Vec<u8>> {
        let code = match self.fs.as_deref() {
            None => return Ok(self.bytes()),
            Some(_) if self.path.split('/').any(|part| part.len() > 255) => 36,
            Some("missing" | "missing-dir" | "dangling-symlink") => 2,
            Some("directory") => 21,
            Some("parent-is-file") => 20,
            Some("symlink-loop") => 40,
            Some("empty-path") => unreachable!("an empty path is not read"),
            Some(other) => panic!("unknown fs case {other}"),
        };
        Err(std::io::Error::from_raw_os_error(code))
    }
}

pub(crate) fn golden(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures/golden")
        .join(name);
    let bytes = std::fs::read(&path).unwrap();
    if path.extension().is_some_and(|extension| extension == "gz") {
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(bytes.as_slice())
            .read_to_string(&mut text)
            .unwrap();
        return text;
    }
    String::from_utf8(bytes).unwrap()
}

fn cases() -> Vec<LoadCase> {
    golden("policy-load.jsonl")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The policy with Go field names, as the golden data has it.
fn as_go(policy: &Policy) -> Value {
    let names = |stages: &[ckslab::audit::level::Stage]| {
        stages.iter().map(|s| s.name()).collect::<Vec<_>>()
    };
    let rules: Vec<Value> = policy
        .rules
        .iter()
        .map(|rule| {
            let resources: Vec<Value> = rule
                .resources
                .iter()
                .map(|entry| {
                    json!({"Group": entry.group, "Resources": entry.resources, "ResourceNames": entry.resource_names})
                })
                .collect();
            json!({
                "Level": rule.level.name(), "Users": rule.users, "UserGroups": rule.user_groups, "Verbs": rule.verbs,
                "Resources": resources, "Namespaces": rule.namespaces, "NonResourceURLs": rule.non_resource_urls,
                "OmitStages": names(&rule.omit_stages), "OmitManagedFields": rule.omit_managed_fields,
            })
        })
        .collect();
    json!({"Rules": rules, "OmitStages": names(&policy.omit_stages), "OmitManagedFields": policy.omit_managed_fields})
}

/// Empty lists and null are the same to the API server.
fn without_empty(value: &Value) -> Value {
    match value {
        Value::Array(list) => Value::Array(list.iter().map(without_empty).collect()),
        Value::Object(map) => map
            .iter()
            .filter(|(_, value)| !value.is_null() && **value != json!([]))
            .map(|(key, value)| (key.clone(), without_empty(value)))
            .collect(),
        other => other.clone(),
    }
}

#[test]
fn policy_load() {
    let cases = cases();
    let (mut agree, mut texts, mut values) = (0, 0, 0);
    let mut differences = Vec::new();
    for case in &cases {
        let result = policy::load_file(&case.path, |_| case.read());
        let (ok, error, warnings) = match &result {
            Ok(loaded) => (true, None, &loaded.warnings),
            Err(error) => (false, Some(error.message.clone()), &error.warnings),
        };
        agree += usize::from(ok == case.ok);
        let wanted = case.error.clone().filter(|text| !text.is_empty());
        if error == wanted && *warnings == case.warnings {
            texts += 1;
        } else {
            differences.push(format!(
                "{}:\n  real {wanted:?} {:?}\n  ours {error:?} {warnings:?}",
                case.id, case.warnings
            ));
        }
        values += usize::from(same_value(case, result.as_ref().ok()));
    }
    for (unit, equal) in [
        ("accepted or refused", agree),
        ("texts", texts),
        ("values", values),
    ] {
        report::agreement("policy-load", unit, equal, cases.len(), 0);
    }
    assert_eq!(differences.join("\n"), "");
    assert_eq!(
        (agree, texts, values),
        (cases.len(), cases.len(), cases.len())
    );
}

fn same_value(case: &LoadCase, loaded: Option<&Loaded>) -> bool {
    let Some(loaded) = loaded else {
        return !case.ok;
    };
    let Some(wanted) = &case.loaded else {
        return loaded.policy.rules.len() == case.num_rules;
    };
    let ours = without_empty(&as_go(&loaded.policy));
    let keep = ["Rules", "OmitStages", "OmitManagedFields"];
    let wanted: Value = wanted
        .as_object()
        .unwrap()
        .iter()
        .filter(|(key, _)| keep.contains(&key.as_str()))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect::<serde_json::Map<_, _>>()
        .into();
    let wanted = without_empty(&wanted);
    if ours != wanted {
        println!("{}: real {wanted}\n ours {ours}", case.id);
    }
    ours == wanted
}

#[derive(Deserialize)]
struct EvalCase {
    id: String,
    policy: String,
    requests: Vec<EvalRequest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EvalRequest {
    attrs: Attributes,
    level: String,
    omit_stages: Vec<String>,
    omit_managed_fields: bool,
}

#[test]
fn policy_eval() {
    let text = golden("policy-eval.jsonl.gz");
    let (mut policies, mut requests) = (0, 0);
    for line in text.lines() {
        let case: EvalCase = serde_json::from_str(line).unwrap();
        let loaded = policy::load(case.policy.as_bytes())
            .unwrap_or_else(|error| panic!("{}: {error}", case.id));
        for (at, request) in case.requests.iter().enumerate() {
            let decision = evaluate(&loaded.policy, &request.attrs);
            let stages: Vec<&str> = decision
                .omit_stages
                .iter()
                .map(|stage| stage.name())
                .collect();
            assert_eq!(
                (decision.level.name(), stages, decision.omit_managed_fields),
                (
                    request.level.as_str(),
                    request.omit_stages.iter().map(String::as_str).collect(),
                    request.omit_managed_fields
                ),
                "{} request {at}",
                case.id
            );
            requests += 1;
        }
        policies += 1;
    }
    report::agreement("policy-eval", "requests", requests, policies * 40, 0);
    assert_eq!(requests, policies * 40);
}
