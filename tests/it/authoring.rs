//! The tools for those who write scenarios, through the command line.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::builder::Test;

/// A folder of scenarios with a new one in it.
fn with_new(test: &Test, id: &str) -> PathBuf {
    test.run(["scenario", "new", &format!("mine/{id}")]).ok();
    test.work().join("mine").join(id)
}

/// Replaces a text that must be there.
fn replace(file: PathBuf, find: &str, with: &str) {
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(find), "{find} in {}", file.display());
    fs::write(file, text.replacen(find, with, 1)).unwrap();
}

#[test]
fn a_new_scenario_passes_the_gate_and_a_wrong_record_is_reported_with_reasons() {
    let test = Test::new();
    with_new(&test, "right-01");
    let wrong = with_new(&test, "wrong-01");
    replace(
        wrong.join("attempts/typed-in.yaml"),
        "score: 50",
        "score: 51",
    );
    let run = |format: &str| {
        test.run([
            "scenario",
            "test",
            "right-01",
            "wrong-01",
            "--scenarios",
            "mine",
            "--seeds",
            "2",
            "-o",
            format,
        ])
        .code(1)
    };
    let report = run("json").json();
    assert_eq!(report["ok"], false);
    assert_eq!(report["failed"], 2);
    assert_eq!(report["attempts"], 20);
    let rows: Vec<(&str, u64, u64, u64)> = report["scenarios"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            let number = |name: &str| row[name].as_u64().unwrap();
            (
                row["scenario"].as_str().unwrap(),
                number("seeds"),
                number("attempts"),
                number("failed"),
            )
        })
        .collect();
    assert_eq!(rows, [("right-01", 2, 10, 0), ("wrong-01", 2, 10, 2)]);
    let results = report["results"].as_array().unwrap();
    let bad: Vec<&Value> = results.iter().filter(|row| row["ok"] == false).collect();
    assert_eq!(bad.len(), 2);
    for row in bad {
        assert_eq!(row["attempt"], "typed-in");
        assert_eq!(row["score"], 50);
        assert_eq!(row["complaints"][0], "score 50 instead of 51");
    }
    let names: Vec<&str> = results
        .iter()
        .take(5)
        .map(|row| row["attempt"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        ["untouched", "other", "reference", "typed-in", "put-back"]
    );

    let text = run("text").stdout;
    assert!(
        text.starts_with("FAILED wrong-01 seed "),
        "what went wrong comes first: {text}"
    );
    assert!(
        text.contains(
            "\nok     right-01  10 attempts over 2 seeds\n\
             FAILED wrong-01  10 attempts over 2 seeds, 2 not as recorded\n\
             20 attempts, 2 not as recorded, "
        ),
        "{text}"
    );
}

#[test]
fn the_matrix_has_every_row_and_fails_where_one_is_empty() {
    let test = Test::new();
    let report = test
        .run(["scenario", "matrix", "audit-03", "-o", "json"])
        .code(1)
        .json();
    assert_eq!(report["ok"], false);
    assert_eq!(report["tasks"].as_array().unwrap().len(), 28);
    assert_eq!(report["mistakes"].as_array().unwrap().len(), 24);
    assert_eq!(
        report["mistakes"][0]["scenarios"],
        serde_json::json!(["audit-03"])
    );
    let gaps = report["gaps"].as_array().unwrap();
    assert!(gaps.contains(&Value::from("task 28")));
    assert!(!gaps.contains(&Value::from("mistake 1")));
    let text = test.run(["scenario", "matrix", "audit-03"]).code(1).stdout;
    assert!(text.contains("1 scenarios; without one: task "), "{text}");
}
