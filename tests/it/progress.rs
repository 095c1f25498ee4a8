//! What a learner has done so far: the list's filters, `next`, `start --random`.

use std::fs;

use serde_json::{Value, json};

use crate::builder::Test;

/// Writes the diary of a scenario, as starts and grades leave it.
fn done(test: &Test, id: &str, record: Value) {
    let dir = test.home().join("progress");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(format!("{id}.json")), record.to_string()).unwrap();
}

fn failed(percent: f64, last: &str) -> Value {
    json!({"format": 1, "starts": 1, "grades": 2, "passes": 0, "best_percent": percent, "last": last})
}

fn passed(last: &str) -> Value {
    json!({"format": 1, "starts": 1, "grades": 1, "passes": 1, "best_percent": 100.0, "last": last})
}

fn ids(test: &Test, args: &[&str]) -> Vec<String> {
    let words = ["list", "-o", "json"].iter().chain(args);
    let report = test.run(words).ok().json();
    let rows = report["scenarios"].as_array().unwrap();
    rows.iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn the_list_is_filtered_by_group_skill_difficulty_and_progress() {
    let test = Test::new();
    done(&test, "audit-03", failed(40.0, "2026-01-02T00:00:00Z"));
    done(&test, "audit-04", passed("2026-01-01T00:00:00Z"));
    done(&test, "audit-05", json!({"format": 1, "starts": 1}));
    // Damage counts as nothing.
    done(&test, "audit-06", json!(["what"]));

    assert_eq!(ids(&test, &["--progress", "failed"]), ["audit-03"]);
    assert_eq!(ids(&test, &["--progress", "passed"]), ["audit-04"]);
    assert_eq!(ids(&test, &["--progress", "started"]), ["audit-05"]);
    let new = ids(&test, &["--progress", "new"]);
    assert!(new.contains(&"audit-06".to_owned()) && !new.contains(&"audit-03".to_owned()));

    let all = test.run(["list", "-o", "json"]).ok().json();
    let wanted = |holds: &dyn Fn(&Value) -> bool| -> Vec<String> {
        let rows = all["scenarios"].as_array().unwrap().iter();
        rows.filter(|row| holds(row))
            .map(|row| row["id"].as_str().unwrap().to_owned())
            .collect()
    };
    let by_group = wanted(&|row| row["group"] == "troubleshoot");
    assert!(by_group.contains(&"audit-03".to_owned()), "{by_group:?}");
    assert_eq!(ids(&test, &["--group", "troubleshoot"]), by_group);
    let by_difficulty = wanted(&|row| row["difficulty"] == "medium");
    assert_eq!(ids(&test, &["--difficulty", "medium"]), by_difficulty);
    let by_skill = ids(&test, &["--skill", "AUDIT pol"]);
    assert!(by_skill.contains(&"audit-04".to_owned()), "{by_skill:?}");
    assert!(by_skill.len() < all["scenarios"].as_array().unwrap().len());
    assert_eq!(
        ids(&test, &["--group", "troubleshoot", "--progress", "failed"]),
        ["audit-03"]
    );

    let text = test.run(["list", "--progress", "failed"]).ok().stdout;
    assert!(
        text.starts_with("troubleshoot\n  audit-03  failed   ")
            && text.contains("  [best 40 %]\n\nnext: ckslab start audit-03\n"),
        "{text}"
    );
    assert_eq!(
        test.run(["list", "--skill", "cooking"]).ok().stdout,
        "no scenario is like that\n\nnext: ckslab list\n"
    );
    test.run(["list", "--group", "cooking"]).code(2);
    test.run(["list", "--progress", "cooking"]).code(2);
}

#[test]
fn next_takes_what_was_failed_then_begun_then_never_seen() {
    let test = Test::new();
    let next = |words: &[&str]| {
        let words = ["next", "-o", "json"].iter().chain(words);
        let report = test.run(words).ok().json();
        let text = |field: &str| report[field].as_str().unwrap_or_default().to_owned();
        (text("id"), text("progress"), text("reason"))
    };
    let (_, progress, reason) = next(&[]);
    assert_eq!(
        (progress.as_str(), reason.as_str()),
        ("new", "you have not seen it yet")
    );
    done(&test, "audit-05", json!({"format": 1, "starts": 1}));
    assert_eq!(
        next(&[]),
        (
            "audit-05".to_owned(),
            "started".to_owned(),
            "you began it and never graded it".to_owned()
        )
    );
    done(&test, "audit-03", failed(40.0, "2026-01-02T00:00:00Z"));
    done(&test, "audit-06", failed(60.0, "2026-01-01T00:00:00Z"));
    assert_eq!(
        next(&[]),
        (
            "audit-06".to_owned(),
            "failed".to_owned(),
            "you graded it 2 times and never passed, best 60 %".to_owned()
        )
    );
    let (id, ..) = next(&["--group", "configure"]);
    let all = test.run(["list", "-o", "json"]).ok().json();
    let rows = all["scenarios"].as_array().unwrap();
    let row = rows.iter().find(|row| row["id"] == id.as_str()).unwrap();
    assert_eq!(
        (&row["group"], &row["progress"]),
        (&json!("configure"), &json!("new"))
    );

    for row in rows {
        done(
            &test,
            row["id"].as_str().unwrap(),
            passed("2026-01-05T00:00:00Z"),
        );
    }
    done(&test, "audit-02", passed("2026-01-01T00:00:00Z"));
    let (id, progress, reason) = next(&[]);
    assert_eq!((id.as_str(), progress.as_str()), ("audit-02", "passed"));
    assert_eq!(
        reason,
        "you passed everything; this one the longest time ago"
    );
    let text = test.run(["next"]).ok().stdout;
    assert!(
        text.ends_with("\n\nnext: ckslab start audit-02\n"),
        "{text}"
    );
}

#[test]
fn next_and_random_start_a_lab_and_the_diary_outlives_it() {
    let test = Test::new();
    // One scenario of the group is left.
    let listed = ids(&test, &["--group", "configure"]);
    for id in listed.iter().filter(|id| *id != "audit-01") {
        done(&test, id, passed("2026-01-01T00:00:00Z"));
    }
    let words = ["start", "--random", "--group", "configure", "-o", "json"];
    let started = test.run(words).ok().json();
    assert_eq!(started["lab"], "audit-01");
    test.run(["grade"]).code(1);
    test.run(["stop", "--remove"]).ok();
    assert_eq!(ids(&test, &["--progress", "failed"]), ["audit-01"]);

    let words = ["next", "--group", "configure", "--start", "-o", "json"];
    let again = test.run(words).ok();
    assert_eq!(again.json()["lab"], "audit-01");
    assert!(
        again
            .stderr
            .contains("audit-01: you graded it once and never passed"),
        "{}",
        again.stderr
    );
    test.run(["start"]).code(2);
    test.run(["start", "audit-01", "--random"]).code(2);
    test.run(["start", "audit-01", "--group", "configure"])
        .code(2);
}

#[test]
fn the_diary_is_its_owners_alone() {
    let test = Test::new();
    test.run(["start", "audit-01"]).ok();
    test.run(["grade"]).code(1);
    let mode = |path: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = test.home().join(path);
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("progress"), 0o700);
    assert_eq!(mode("progress/audit-01.json"), 0o600);
}
