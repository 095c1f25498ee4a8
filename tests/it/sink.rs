//! Exercises about the audit webhook: a receiver runs on the node, and its entries are graded.

use std::path::PathBuf;

use serde_json::Value;

use crate::builder::Test;

/// Scenarios of the tests.
pub(crate) fn scenarios() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/scenarios")
}

/// The release gate of the scenario with a receiver.
pub(crate) fn gate(test: &Test, more: &[&str]) {
    let dir = scenarios().display().to_string();
    let mut words = vec![
        "scenario",
        "test",
        "sink-01",
        "--scenarios",
        &dir,
        "--seeds",
        "1",
        "-o",
        "json",
    ];
    words.extend(more);
    let outcome = test.run(words);
    let report = outcome.json();
    assert_eq!(
        (outcome.code, &report["ok"]),
        (0, &Value::Bool(true)),
        "{report:#}\n{}",
        outcome.stderr
    );
    assert!(report["results"].as_array().unwrap().len() > 5);
}

#[test]
fn every_attempt_gets_the_grade_it_deserves() {
    gate(&Test::new(), &["--engine", "embedded"]);
}

#[test]
fn a_receiver_lives_as_long_as_the_lab() {
    let test = Test::new();
    let dir = scenarios().display().to_string();
    let start = [
        "start",
        "sink-01",
        "--scenarios",
        &dir,
        "--engine",
        "embedded",
        "-o",
        "json",
    ];
    test.run(start).ok();
    let state = test.lab("sink-01").join("state/sinks");
    let port = || std::fs::read_to_string(state.join("29443.port")).unwrap();
    use std::os::unix::fs::PermissionsExt;
    let kept = std::fs::metadata(state.join("29443.json")).unwrap();
    assert_eq!(kept.permissions().mode() & 0o777, 0o600);
    assert!(
        test.node("sink-01", "/etc/kubernetes/audit/sink-ca.crt")
            .exists()
    );
    let connects = || std::net::TcpStream::connect(format!("127.0.0.1:{}", port())).is_ok();
    test.until("the receiver listens", connects);
    let before = port();
    test.run(["stop"]).ok();
    assert!(std::net::TcpStream::connect(format!("127.0.0.1:{before}")).is_err());
    test.run(start).ok();
    test.until("the receiver listens again", connects);
}
