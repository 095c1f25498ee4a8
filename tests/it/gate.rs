//! The release gate: every scenario on real embedded nodes, every recorded attempt.
//!
//! What a round of it shows is said in `lab::gate`; forged evidence, which no file of a scenario can
//! record, is here. `cargo test` plays every scenario with one seed, another one for each, and with as
//! many more as it takes to play every attempt that exists for some seeds only. `.ci/run` plays all of
//! five seeds with the release binary (`ckslab scenario test --all --seeds 5`).
//! `CKSLAB_GATE=audit-03/2` plays what it names alone.

use std::collections::{BTreeSet, HashSet};
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use ckslab::grade::CheckStatus;
use ckslab::lab::gate::{self, Round};
use ckslab::lab::rehearsal::{Rehearsal, RehearsalError, Rehearse};
use ckslab::node::{Node, NodeFile};
use ckslab::scenario::manifest_edit::{AddMount, AddVolume, ManifestEdit};
use ckslab::scenario::{AttemptKind, Resolved, Scenario, manifest_text};

use crate::report;

/// Seeds of the whole gate.
const SEEDS: u64 = 5;

/// Seeds among which attempts are looked for that do not exist for those of the gate.
const RARE: u64 = 40;

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
        if only.is_empty() {
            work.extend(a_few(&scenario));
        } else {
            let all = (1..=RARE).map(|seed| scenario.resolve(seed).unwrap());
            work.extend(all.filter(|resolved| {
                resolved.is_graded()
                    && format!("{}/{}/", resolved.definition.id, resolved.seed)
                        .starts_with(&format!("{only}/"))
            }));
        }
    }
    assert!(!work.is_empty());
    let mut rounds: Vec<Round> = Vec::new();
    let stage = |resolved: &Resolved| {
        let rehearsal = Rehearsal::begin(resolved, runtime.handle())?;
        Ok(Box::new(rehearsal) as Box<dyn Rehearse>)
    };
    gate::hold(&work, 8, &stage, &mut |round| {
        rounds.push(round);
        Ok::<(), RehearsalError>(())
    })
    .unwrap();
    rounds.sort_by(|a, b| (&a.scenario, a.seed).cmp(&(&b.scenario, b.seed)));
    let mut failures: Vec<String> = Vec::new();
    for round in &rounds {
        for played in round.played.iter().filter(|played| !played.ok()) {
            failures.push(format!(
                "{} seed {} {}:\n    {}",
                round.scenario,
                round.seed,
                played.attempt,
                played.complaints.join("\n    ")
            ));
        }
    }
    for resolved in &work {
        if resolved.definition.untouched.is_none() {
            failures.push(format!(
                "{} does not say what `untouched` names",
                resolved.definition.id
            ));
        }
    }
    let table = report::table(
        [
            "release gate: scenario",
            "seed",
            "correct",
            "wrong",
            "ms",
            "verdict",
        ],
        &rounds.iter().map(row).collect::<Vec<_>>(),
    );
    assert!(failures.is_empty(), "{table}\n{}", failures.join("\n"));
}

/// A scenario with one seed of the gate, and others until every attempt is there.
fn a_few(scenario: &Scenario) -> Vec<Resolved> {
    let turn: u64 = scenario.definition.id.bytes().map(u64::from).sum();
    let first = 1 + turn % SEEDS;
    let mut missing: BTreeSet<&String> = scenario.attempts.keys().collect();
    let mut chosen = Vec::new();
    for seed in std::iter::once(first).chain(1..=RARE) {
        let resolved = scenario.resolve(seed).unwrap();
        if !resolved.is_graded() {
            return chosen;
        }
        let before = missing.len();
        missing.retain(|name| {
            resolved
                .attempts
                .iter()
                .all(|attempt| attempt.name != **name)
        });
        if chosen.is_empty() || missing.len() < before {
            chosen.push(resolved);
        }
        if missing.is_empty() {
            break;
        }
    }
    assert!(
        missing.is_empty(),
        "{}: for no seed up to {RARE} there is {missing:?}",
        scenario.definition.id
    );
    chosen
}

fn row(round: &Round) -> [String; 6] {
    let count = |wrong: bool| {
        let of_kind = round.played.iter().filter(|played| {
            played
                .kind
                .is_some_and(|kind| (kind == AttemptKind::Wrong) == wrong)
        });
        of_kind.count().to_string()
    };
    [
        round.scenario.clone(),
        round.seed.to_string(),
        count(false),
        count(true),
        round.took.as_millis().to_string(),
        if round.ok() { "ok" } else { "FAILED" }.to_owned(),
    ]
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
