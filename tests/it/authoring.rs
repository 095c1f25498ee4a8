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

#[test]
fn folders_of_others_are_data_that_lead_nowhere_and_grow_no_further() {
    use std::os::unix::fs::symlink;
    let bomb = {
        let mut text = String::from("format: 1\na0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let before = format!("*a{}", level - 1);
            text.push_str(&format!(
                "a{level}: &a{level} [{}]\n",
                vec![before; 9].join(", ")
            ));
        }
        text
    };
    let test = Test::new();
    fs::write(test.work().join("outside"), "a secret of the machine\n").unwrap();
    type Harm = Box<dyn Fn(&std::path::Path)>;
    let harms: Vec<(&str, Harm)> = vec![
        (
            "link-01",
            Box::new(|dir| {
                fs::remove_file(dir.join("task.md")).unwrap();
                symlink("../../outside", dir.join("task.md")).unwrap();
            }),
        ),
        (
            "attempt-01",
            Box::new(|dir| {
                fs::remove_file(dir.join("attempts/other.yaml")).unwrap();
                symlink("../../../outside", dir.join("attempts/other.yaml")).unwrap();
            }),
        ),
        (
            "huge-01",
            Box::new(|dir| {
                let file = fs::File::create(dir.join("hints.md")).unwrap();
                file.set_len(1 << 40).unwrap();
            }),
        ),
        (
            "pipe-01",
            Box::new(|dir| {
                fs::remove_file(dir.join("task.md")).unwrap();
                let made = std::process::Command::new("mkfifo")
                    .arg(dir.join("task.md"))
                    .status();
                assert!(made.unwrap().success());
            }),
        ),
        (
            "bomb-01",
            Box::new(move |dir| {
                fs::write(dir.join("scenario.yaml"), &bomb).unwrap();
            }),
        ),
        (
            "deep-01",
            Box::new(|dir| {
                let text = format!("format: 1\nid: {}\n", "[".repeat(100_000));
                fs::write(dir.join("scenario.yaml"), text).unwrap();
            }),
        ),
        (
            "many-01",
            Box::new(|dir| {
                for number in 0..300 {
                    fs::write(dir.join(format!("attempts/{number}.yaml")), "").unwrap();
                }
            }),
        ),
    ];
    for (id, harm) in harms {
        // One folder each: a wrong one spoils the list of its directory.
        test.run(["scenario", "new", &format!("{id}/{id}")]).ok();
        harm(&test.work().join(id).join(id));
        let said = test.run_bounded(&["scenario", "lint", id, "--scenarios", id]);
        assert_eq!(said.code, 3, "{id}: {said:#?}");
        assert!(
            !format!("{said:?}").contains("a secret of the machine"),
            "{id}"
        );
    }
    // Steps stay on the node.
    let dir = with_new(&test, "climb-01");
    replace(
        dir.join("attempts/reference.yaml"),
        "steps:\n",
        "steps:\n  - write: {path: /../../../../../../climbed, content: x}\n",
    );
    test.run([
        "scenario",
        "test",
        "climb-01",
        "--scenarios",
        "mine",
        "--seeds",
        "1",
    ])
    .ok();
    assert!(!std::path::Path::new("/climbed").exists());
}

#[test]
fn lint_suggests_the_word_that_was_meant_and_gives_advice() {
    let test = Test::new();
    let dir = with_new(&test, "my-01");
    let lint = || test.run(["scenario", "lint", "my-01", "--scenarios", "mine"]);
    let text = lint().ok().stdout;
    assert!(
        text.contains(
            "my-01/scenario.yaml: advice: no wrong attempt fails check `policy-rest`: nothing shows what it is good for\n"
        ),
        "{text}"
    );
    replace(
        dir.join("task.md"),
        "**Your task.**",
        "The policy records nothing. **Your task.**",
    );
    let text = lint().ok().stdout;
    assert!(
        text.contains("my-01/task.md: advice: it gives the fault `silent` away\n"),
        "{text}"
    );
    replace(
        dir.join("scenario.yaml"),
        "difficulty: easy",
        "dificulty: easy",
    );
    let said = lint().code(3).stderr;
    assert!(said.contains("(did you mean `difficulty`?)"), "{said}");
}
