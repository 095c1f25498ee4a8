//! `ckslab policy` and `ckslab audit`: the contract of their output and exit codes.

use std::fs;
use std::io::Write;

use serde_json::{Value, json};

use crate::builder::Test;
use crate::conformance_policy::golden;
use crate::report;

const GOOD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
    - level: Metadata\n  resources: [{group: '', resources: [secrets]}]\n- level: None\n";

const BAD: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: metadata\n";

fn parse(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn test_with(files: &[(&str, &str)]) -> Test {
    let test = Test::new();
    for (name, content) in files {
        fs::write(test.work().join(name), content).unwrap();
    }
    test
}

#[test]
fn lint_says_what_the_loader_says() {
    let test = test_with(&[("good.yaml", GOOD), ("bad.yaml", BAD)]);
    let good = test.run(["policy", "lint", "good.yaml", "-o", "json"]);
    assert_eq!(good.code, 0);
    let expected = json!({
        "schema_version": 1, "ok": true, "error": null, "error_span": null, "warnings": [], "rules": 2, "findings": [],
    });
    assert_eq!(parse(&good.stdout), expected);

    let bad = test.run(["policy", "lint", "bad.yaml", "-o", "json"]);
    assert_eq!(bad.code, 3);
    let report = parse(&bad.stdout);
    assert_eq!(report["ok"], false);
    assert_eq!(
        report["error"],
        "rules[0].level: Unsupported value: \"metadata\": supported values: \"None\", \"Metadata\", \"Request\", \"RequestResponse\""
    );
    assert_eq!(report["error_span"], json!({"line": 4, "column": 10}));
    assert_eq!(report["findings"][0]["id"], "unknown-level");
    assert_eq!(
        report["findings"][0]["span"],
        json!({"line": 4, "column": 10})
    );

    let text = test.run_with(["policy", "lint", "-"], BAD.as_bytes());
    assert_eq!(text.code, 3);
    assert!(
        text.stdout
            .contains("4 | - level: metadata\n  |          ^\n"),
        "{}",
        text.stdout
    );
}

#[test]
fn eval_answers_line_by_line() {
    let test = test_with(&[("good.yaml", GOOD), ("bad.yaml", BAD)]);
    let requests = concat!(
        "{\"user\":\"jane\",\"groups\":[],\"verb\":\"get\",\"namespace\":\"prod\",\"resource\":\"secrets\",\"resourceRequest\":true}\n",
        "\n",
        "{\"attrs\":{\"user\":null,\"verb\":\"get\",\"path\":\"/healthz\",\"resourceRequest\":false}}\n",
    );
    let done = test.run_with(
        ["policy", "eval", "good.yaml", "--requests", "-"],
        requests.as_bytes(),
    );
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_eq!(
        done.stdout,
        "{\"level\":\"Metadata\",\"omitStages\":[\"RequestReceived\"],\"omitManagedFields\":false,\"rule\":0}\n\
         {\"level\":\"None\",\"omitStages\":[\"RequestReceived\"],\"omitManagedFields\":false,\"rule\":1}\n"
    );
    let broken = test.run_with(["policy", "eval", "good.yaml", "--requests", "-"], b"[1]\n");
    assert_eq!(broken.code, 3);
    assert_eq!(
        broken.stderr,
        "error: line 1 of `-` is no request: expected a JSON object\n"
    );
    let refused = test.run_with(["policy", "eval", "bad.yaml", "--requests", "-"], b"");
    assert_eq!((refused.code, refused.stdout.as_str()), (3, ""));
}

#[test]
fn eval_agrees_with_the_golden_data() {
    let case = parse(golden("policy-eval.jsonl.gz").lines().nth(7).unwrap());
    let test = test_with(&[("policy.yaml", case["policy"].as_str().unwrap())]);
    let requests = case["requests"].as_array().unwrap();
    let lines: String = requests
        .iter()
        .map(|request| format!("{}\n", request["attrs"]))
        .collect();
    let done = test.run_with(
        ["policy", "eval", "policy.yaml", "--requests", "-"],
        lines.as_bytes(),
    );
    let answers: Vec<Value> = done.stdout.lines().map(parse).collect();
    assert_eq!(answers.len(), requests.len());
    for (answer, request) in answers.iter().zip(requests) {
        for field in ["level", "omitStages", "omitManagedFields"] {
            assert_eq!(answer[field], request[field]);
        }
    }
}

#[test]
fn explain_names_the_rule() {
    let test = test_with(&[("good.yaml", GOOD)]);
    let args = [
        "policy",
        "explain",
        "good.yaml",
        "--verb",
        "get",
        "--resource",
        "pods/log",
        "--namespace",
        "prod",
        "--user",
        "jane",
    ];
    let done = test.run(args);
    assert_eq!(done.code, 0);
    assert_eq!(
        done.stdout,
        "get pods/log in namespace prod by jane (system:authenticated)\n\n  \
         no    rules[0] Metadata        resource `pods/log` is not in resources: `secrets`\n  \
         match rules[1] None            matches: the rule has no condition\n\n\
         rules[1] matches first: level None, the request is not logged\n"
    );
    let done = test.run(args.into_iter().chain(["-o", "json"]));
    let report = parse(&done.stdout);
    assert_eq!(
        (&report["level"], &report["rule"]),
        (&json!("None"), &json!(1))
    );
    assert_eq!(report["rules"][0]["mismatch"], "resource");
    assert_eq!(test.run(["policy", "explain", "good.yaml"]).code, 2);
}

#[test]
fn diff_shows_a_request() {
    let other = GOOD.replace("[secrets]", "[secrets, configmaps]");
    let same = GOOD
        .replace("- level: None\n", "")
        .replace("group: '', ", "");
    let test = test_with(&[("a.yaml", GOOD), ("b.yaml", &other), ("c.yaml", &same)]);
    let done = test.run(["policy", "diff", "a.yaml", "b.yaml"]);
    assert_eq!(done.code, 1);
    assert_eq!(
        done.stdout,
        "get configmaps web in namespace default by jane (system:authenticated)\n  \
         a.yaml  None (rules[1])\n  b.yaml  Metadata without RequestReceived (rules[0])\n\n\
         different: 1 kind of request is decided differently\n"
    );
    let report = parse(
        &test
            .run(["policy", "diff", "a.yaml", "b.yaml", "-o", "json"])
            .stdout,
    );
    assert_eq!(report["equal"], false);
    assert_eq!(
        report["differences"][0]["request"]["resource"],
        "configmaps"
    );
    let done = test.run(["policy", "diff", "a.yaml", "c.yaml"]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (0, "equal: the policies decide every request alike\n")
    );
}

#[test]
fn odd_files_are_refused() {
    let test = test_with(&[]);
    let work = test.work();
    fs::create_dir(work.join("dir")).unwrap();
    let huge = fs::File::create(work.join("huge.yaml")).unwrap();
    huge.set_len(1 << 30).unwrap();
    std::process::Command::new("mkfifo")
        .arg(work.join("pipe"))
        .status()
        .unwrap();
    for (file, problem) in [
        (
            "missing.yaml",
            "error: cannot read `missing.yaml`: no such file\n",
        ),
        ("dir", "error: cannot read `dir`: it is a directory\n"),
        (
            "huge.yaml",
            "error: `huge.yaml` is larger than 16 MiB: that is no audit policy\n",
        ),
    ] {
        let done = test.run(["policy", "lint", file]);
        assert_eq!((done.code, done.stderr.as_str()), (3, problem));
    }
    for file in ["pipe", "/dev/zero"] {
        let done = test.run(["policy", "lint", file]);
        assert_eq!(done.code, 3);
        assert!(
            done.stderr.starts_with(&format!(
                "error: cannot read `{file}`: it is not a regular file\n"
            )),
            "{}",
            done.stderr
        );
    }
    for (file, problem) in [
        ("dir", "it is a directory"),
        ("/dev/zero", "it is a device"),
    ] {
        let done = test.run(["audit", "query", file]);
        assert_eq!(done.code, 3);
        assert!(done.stderr.contains(problem), "{}", done.stderr);
    }
}

fn event(
    id: &str,
    stage: &str,
    user: &str,
    verb: &str,
    name: &str,
    code: u16,
    second: u8,
) -> String {
    let status = if stage == "RequestReceived" {
        Value::Null
    } else {
        json!({"metadata": {}, "code": code})
    };
    let mut event = json!({
        "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "auditID": id, "stage": stage,
        "requestURI": format!("/api/v1/namespaces/prod/secrets/{name}"), "verb": verb,
        "user": {"username": user, "groups": ["system:authenticated"]}, "sourceIPs": ["10.0.0.7"], "userAgent": "kubectl/v1.36.2",
        "objectRef": {"resource": "secrets", "namespace": "prod", "name": name, "apiVersion": "v1"},
        "requestReceivedTimestamp": format!("2026-11-22T16:25:{second:02}.000000Z"),
        "stageTimestamp": format!("2026-11-22T16:25:{second:02}.500000Z"),
    });
    if !status.is_null() {
        event["responseStatus"] = status;
    }
    format!("{event}\n")
}

#[test]
fn logs_are_queried_and_summarised() {
    let old = event("1", "ResponseComplete", "jane", "get", "db", 200, 1);
    let new = [
        event("2", "RequestReceived", "bob", "delete", "db", 0, 2),
        event("2", "ResponseComplete", "bob", "delete", "db", 403, 3),
        "panic: something else\n".to_owned(),
        event("3", "ResponseComplete", "eve\u{1b}[2J", "get", "x", 200, 4),
        event("4", "ResponseComplete", "jane", "get", "db", 200, 5)[..60].to_owned(),
    ]
    .concat();
    let test = test_with(&[("audit.log", &new)]);
    let rotated = "audit-2026-11-22T16-25-02.000.log.gz";
    let mut gz = flate2::write::GzEncoder::new(
        fs::File::create(test.work().join(rotated)).unwrap(),
        flate2::Compression::fast(),
    );
    gz.write_all(old.as_bytes()).unwrap();
    gz.finish().unwrap();

    let done = test.run([
        "audit",
        "query",
        "audit.log",
        rotated,
        "--stage",
        "ResponseComplete",
    ]);
    assert_eq!(done.code, 0);
    assert_eq!(
        done.stdout,
        "TIME                      USER     VERB    OBJECT           CODE  LEVEL     STAGE\n\
         2026-11-22T16:25:01.500Z  jane     get     prod/secrets/db  200   Metadata  ResponseComplete\n\
         2026-11-22T16:25:03.500Z  bob      delete  prod/secrets/db  403   Metadata  ResponseComplete\n\
         2026-11-22T16:25:04.500Z  eve\u{fffd}[2J  get     prod/secrets/x   200   Metadata  ResponseComplete\n"
    );
    assert_eq!(
        done.stderr,
        "warning: 2 lines are no audit events in `audit.log` (1 cut off, 1 something else), the first is line 3\n"
    );
    let lines = test.run([
        "audit",
        "query",
        "audit.log",
        "--code",
        "4xx",
        "-o",
        "jsonl",
    ]);
    assert_eq!(
        lines.stdout,
        event("2", "ResponseComplete", "bob", "delete", "db", 403, 3)
    );
    let count = test.run_with(
        ["audit", "query", "-", "--user", "bob", "-o", "count"],
        new.as_bytes(),
    );
    assert_eq!(count.stdout, "2\n");
    let report = parse(
        &test
            .run([
                "audit",
                "query",
                "audit.log",
                "--rotated",
                "--name",
                "db",
                "-o",
                "json",
            ])
            .stdout,
    );
    assert_eq!(
        (&report["matched"], &report["read"]),
        (&json!(3), &json!(4))
    );
    assert_eq!(
        report["skipped"],
        json!({"torn": 1, "foreign": 1, "too_long": 0})
    );
    let report = parse(
        &test
            .run([
                "audit",
                "summary",
                "audit.log",
                "--rotated",
                "--by",
                "user,code",
                "-o",
                "json",
            ])
            .stdout,
    );
    assert_eq!(
        (&report["requests"], &report["events"]),
        (&json!(3), &json!(4))
    );
    assert_eq!(
        report["by"]["code"],
        json!([{"value": "200", "count": 2}, {"value": "403", "count": 1}])
    );
    let text = test.run(["audit", "summary", rotated, "--by", "verb"]);
    assert_eq!(
        text.stdout,
        "1 requests, 1 events, 2026-11-22T16:25:01.500Z to 2026-11-22T16:25:01.500Z\n\nVERB\n  1  get\n"
    );
    assert_eq!(
        test.run(["audit", "query", "audit.log", "--since", "soon"])
            .code,
        2
    );
}

#[test]
fn every_golden_log_line_is_an_event() {
    let mut events = 0;
    let sessions = [
        "metadata-all",
        "rbac-request",
        "upstream-example-legacy",
        "everything-rr",
    ];
    for session in sessions {
        for line in golden(&format!("events/{session}.background.log.gz")).lines() {
            let parsed = ckslab::audit::log::parse_line(line.as_bytes());
            match parsed {
                ckslab::audit::log::Line::Events(records) => {
                    events += records.len();
                    assert!(
                        records
                            .iter()
                            .all(|record| record.time.is_some() && !record.stage.is_empty())
                    );
                }
                // The recording was cut at 3 MB.
                ckslab::audit::log::Line::Torn => {}
                other => panic!("{session}: {other:?}: {line}"),
            }
        }
    }
    report::line(format!("audit log: {events} golden events read"));
    assert!(events > 1000);
}
