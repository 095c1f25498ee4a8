//! The release gate: every scenario on real embedded nodes, several seeds, every recorded attempt.
//!
//! For each: untouched = 0 points; every correct attempt = full score; every wrong attempt = its
//! stated score and failing checks; graded twice = the same; put back = as at the start; forged
//! evidence fails.

use std::collections::HashSet;
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use ckslab::grade::{CheckStatus, Report};
use ckslab::lab::rehearsal::{Rehearsal, complaints, untouched_complaints};
use ckslab::node::{Node, NodeFile};
use ckslab::scenario::manifest_edit::{AddMount, AddVolume, ManifestEdit};
use ckslab::scenario::{AttemptKind, Resolved, Scenario, manifest_text};

use crate::report;

const SEEDS: [u64; 5] = [1, 2, 3, 5, 8];

/// One row of the table: a scenario and a seed.
struct Row {
    scenario: String,
    seed: u64,
    correct: usize,
    wrong: usize,
    millis: u128,
    failures: Vec<String>,
}

#[test]
fn every_scenario_passes_the_gate() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let only = std::env::var("CKSLAB_GATE").unwrap_or_default();
    let mut work: Vec<Resolved> = Vec::new();
    for scenario in Scenario::all(None).unwrap() {
        for seed in SEEDS {
            let resolved = scenario.resolve(seed).unwrap();
            if resolved.is_graded() && format!("{}/{seed}", resolved.definition.id).contains(&only)
            {
                work.push(resolved);
            }
        }
    }
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<Row>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some(resolved) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let row = rehearse(resolved, runtime.handle());
                    rows.lock().unwrap().push(row);
                }
            });
        }
    });
    let mut rows = rows.into_inner().unwrap();
    rows.sort_by(|a, b| (&a.scenario, a.seed).cmp(&(&b.scenario, b.seed)));
    let table = report::table(
        [
            "release gate: scenario",
            "seed",
            "correct",
            "wrong",
            "ms",
            "verdict",
        ],
        &rows
            .iter()
            .map(|row| {
                let verdict = if row.failures.is_empty() {
                    "ok"
                } else {
                    "FAILED"
                };
                [
                    row.scenario.clone(),
                    row.seed.to_string(),
                    row.correct.to_string(),
                    row.wrong.to_string(),
                    row.millis.to_string(),
                    verdict.to_owned(),
                ]
            })
            .collect::<Vec<_>>(),
    );
    let failures: Vec<&String> = rows.iter().flat_map(|row| &row.failures).collect();
    assert!(
        failures.is_empty(),
        "{table}\n{}",
        failures
            .iter()
            .map(|line| line.as_str())
            .collect::<Vec<_>>()
            .join("\n")
    );
    assert!(!rows.is_empty());
}

fn rehearse(resolved: &Resolved, runtime: &tokio::runtime::Handle) -> Row {
    let start = Instant::now();
    let mut row = Row {
        scenario: resolved.definition.id.clone(),
        seed: resolved.seed,
        correct: 0,
        wrong: 0,
        millis: 0,
        failures: Vec::new(),
    };
    let result = rehearse_all(resolved, runtime, &mut row);
    if let Err(error) = result {
        row.failures
            .push(format!("{} seed {}: {error}", row.scenario, row.seed));
    }
    row.millis = start.elapsed().as_millis();
    row
}

fn rehearse_all(
    resolved: &Resolved,
    runtime: &tokio::runtime::Handle,
    row: &mut Row,
) -> Result<(), Box<dyn std::error::Error>> {
    let name = format!("{} seed {}", row.scenario, row.seed);
    let mut rehearsal = Rehearsal::begin(resolved, runtime)?;
    let untouched = rehearsal.grade()?;
    let mut wrong = untouched_complaints(resolved, &untouched);
    if resolved.definition.untouched.is_none() {
        wrong.push("the scenario does not say what `untouched` names".to_owned());
    }
    if !wrong.is_empty() {
        row.failures.push(format!("{name} untouched:"));
        row.failures
            .extend(wrong.into_iter().map(|line| format!("    {line}")));
    }
    for attempt in &resolved.attempts {
        let label = format!("{name} {}", attempt.name);
        let report = match rehearsal.play(attempt) {
            Ok(report) => report,
            Err(error) => {
                row.failures.push(format!("{label}: {error}"));
                rehearsal.rewind()?;
                continue;
            }
        };
        match attempt.file.kind {
            AttemptKind::Wrong => row.wrong += 1,
            _ => row.correct += 1,
        }
        let wrong = complaints(attempt, &report);
        if !wrong.is_empty() {
            row.failures.push(format!("{label}:"));
            row.failures
                .extend(wrong.into_iter().map(|line| format!("    {line}")));
        }
        if attempt.file.kind == AttemptKind::Reference {
            compare(&label, "graded twice", &report, &rehearsal.grade()?, row);
        }
        rehearsal.rewind()?;
    }
    compare(
        &name,
        "put back to the start",
        &untouched,
        &rehearsal.grade()?,
        row,
    );
    Ok(())
}

fn compare(label: &str, what: &str, first: &Report, second: &Report, row: &mut Row) {
    if first == second {
        return;
    }
    row.failures.push(format!("{label}, {what}: not the same"));
    for (a, b) in first.checks.iter().zip(&second.checks) {
        if a != b {
            row.failures.push(format!("    {a:?}\n    {b:?}"));
        }
    }
}

/// A learner's process that copies entries as they appear cannot make up what is missing: neither into
/// another file than the API server's own, nor into that file.
#[test]
fn forged_evidence_fails() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let resolved = Scenario::find("audit-02", None)
        .unwrap()
        .resolve(1)
        .unwrap();
    let value = |name: &str| resolved.variables[name].clone();
    let everything =
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: RequestResponse\n";
    let log = value("log_path");

    // Everything is recorded to a log of the learner's own, and rewritten into the one asked for.
    for own_log in [true, false] {
        let rehearsal = Rehearsal::begin(&resolved, runtime.handle()).unwrap();
        let node = rehearsal.node();
        node.write(&value("policy_path"), everything.as_bytes(), 0o644)
            .unwrap();
        let mut edit = ManifestEdit {
            set_flags: vec![format!("audit-policy-file={}", value("policy_path"))],
            add_volumes: vec![
                volume("p", &value("policy_path")),
                volume("hidden", "/srv/hidden"),
            ],
            add_mounts: vec![
                mount("p", &value("policy_path")),
                mount("hidden", "/srv/hidden"),
            ],
            ..ManifestEdit::default()
        };
        let source = if own_log {
            edit.set_flags
                .push("audit-log-path=/srv/hidden/all.log".to_owned());
            "/srv/hidden/all.log".to_owned()
        } else {
            log.clone()
        };
        let manifest = "/etc/kubernetes/manifests/kube-apiserver.yaml";
        let NodeFile::File { content, .. } = node.read(manifest).unwrap() else {
            panic!()
        };
        let text = manifest_text::edit(&String::from_utf8(content).unwrap(), &edit).unwrap();
        node.write(manifest, text.as_bytes(), 0o600).unwrap();

        let host = |path: &str| rehearsal.node_root().join(path.trim_start_matches('/'));
        let stop = AtomicBool::new(false);
        let report = std::thread::scope(|scope| {
            scope.spawn(|| forge(&host(&source), &host(&log), &stop));
            let report = rehearsal.grade();
            stop.store(true, Ordering::Relaxed);
            report.unwrap()
        });
        let status = |id: &str| {
            let check = report.checks.iter().find(|check| check.id == id).unwrap();
            (check.status, check.seen.clone())
        };
        assert_eq!(
            status("running").0,
            CheckStatus::Pass,
            "{:?}",
            status("running")
        );
        assert_eq!(
            status("entries").0,
            CheckStatus::Fail,
            "{:?}",
            status("entries")
        );
        assert_eq!(status("log").0, CheckStatus::Fail, "{:?}", status("log"));
        assert!(!report.passed);
    }
}

/// Copies every new line of one log to another, at the level and without the bodies the task wants.
fn forge(source: &Path, target: &Path, stop: &AtomicBool) {
    let mut done: HashSet<String> = HashSet::new();
    while !stop.load(Ordering::Relaxed) {
        let text = std::fs::read_to_string(source).unwrap_or_default();
        for line in text.lines() {
            let Ok(mut event) = serde_json::from_str::<serde_json::Value>(line) else {
                continue;
            };
            if event["stage"] != "ResponseComplete" || event["level"] != "RequestResponse" {
                continue;
            }
            if !done.insert(event["auditID"].to_string()) {
                continue;
            }
            event["level"] = "Metadata".into();
            let fields = event.as_object_mut().unwrap();
            fields.shift_remove("requestObject");
            fields.shift_remove("responseObject");
            let mut file = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .open(target)
                .unwrap();
            writeln!(file, "{event}").unwrap();
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

fn volume(name: &str, path: &str) -> AddVolume {
    AddVolume {
        name: name.to_owned(),
        path: path.to_owned(),
        kind: None,
    }
}

fn mount(name: &str, path: &str) -> AddMount {
    AddMount {
        name: name.to_owned(),
        path: path.to_owned(),
        read_only: false,
        sub_path: None,
    }
}
