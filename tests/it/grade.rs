//! Grading by itself, on a node made of a table of files: every attempt of every scenario.

use ckslab::grade::run::grade_with;
use ckslab::grade::{CheckStatus, Options, Report};
use ckslab::lab::rehearsal::{complaints, untouched_complaints};
use ckslab::node::{Node, NodeFile};
use ckslab::scenario::{Baseline, Resolved, Scenario};

use super::fake_node::FakeNode;

fn graded(node: &FakeNode, resolved: &Resolved, baseline: &Baseline) -> Report {
    let options = Options {
        settle: std::time::Duration::ZERO,
        entries: std::time::Duration::ZERO,
    };
    grade_with(node, resolved, baseline, options, &|_| {}, node).unwrap()
}

fn started(resolved: &Resolved) -> (FakeNode, Baseline) {
    let node = FakeNode::new();
    let baseline = resolved.apply_setup(&node).unwrap();
    (node, baseline)
}

/// Scenarios that a node without commands, receivers and a past can play; the release gate plays all of
/// them on real nodes.
fn playable() -> Vec<Scenario> {
    [
        "audit-01", "audit-02", "audit-03", "audit-04", "audit-05", "audit-06",
    ]
    .map(|id| Scenario::find(id, None).unwrap())
    .into()
}

#[test]
fn every_attempt_gets_what_it_deserves() {
    let mut failures = Vec::new();
    let mut count = 0;
    for scenario in playable() {
        for seed in 0..6 {
            let resolved = scenario.resolve(seed).unwrap();
            if !resolved.is_graded() {
                continue;
            }
            let (node, baseline) = started(&resolved);
            let untouched = graded(&node, &resolved, &baseline);
            let wrong = untouched_complaints(&resolved, &untouched);
            if !wrong.is_empty() {
                failures.push(format!("{} seed {seed} untouched:", resolved.definition.id));
                failures.extend(wrong.into_iter().map(|line| format!("  {line}")));
            }
            assert_eq!(
                untouched.max, resolved.definition.points,
                "{}",
                resolved.definition.id
            );
            for attempt in &resolved.attempts {
                let (node, baseline) = started(&resolved);
                ckslab::node::Node::api_server(&node).unwrap();
                if let Err(error) = attempt.play(&node) {
                    failures.push(format!(
                        "{} seed {seed} {}: {error}",
                        resolved.definition.id, attempt.name
                    ));
                    continue;
                }
                let report = graded(&node, &resolved, &baseline);
                let wrong = complaints(attempt, &report);
                if !wrong.is_empty() {
                    failures.push(format!(
                        "{} seed {seed} {}:",
                        resolved.definition.id, attempt.name
                    ));
                    failures.extend(wrong.into_iter().map(|line| format!("  {line}")));
                }
                if graded(&node, &resolved, &baseline) != report {
                    failures.push(format!(
                        "{} seed {seed} {}: not the same the second time",
                        resolved.definition.id, attempt.name
                    ));
                }
                count += 1;
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count > 200, "{count}");
}

#[test]
fn the_sandbox_has_nothing_to_grade() {
    let resolved = Scenario::find("sandbox", None).unwrap().resolve(1).unwrap();
    let (node, baseline) = started(&resolved);
    let report = graded(&node, &resolved, &baseline);
    assert!(!report.passed);
    assert_eq!(
        report.notes,
        ["`sandbox` is for free play: there is nothing to grade"]
    );
}

/// Whoever records everything with bodies must not pass where something is asked for.
#[test]
fn a_catch_all_policy_never_passes() {
    let everything =
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: RequestResponse\n";
    let mut count = 0;
    for scenario in playable() {
        for seed in 0..3 {
            let resolved = scenario.resolve(seed).unwrap();
            let (Some(path), Some(reference)) =
                (resolved.variables.get("policy_path"), resolved.reference())
            else {
                continue;
            };
            let (node, baseline) = started(&resolved);
            reference.play(&node).unwrap();
            node.write(path, everything.as_bytes(), 0o644).unwrap();
            let manifest = ckslab::scenario::setup::MANIFEST;
            let NodeFile::File { content, .. } = node.read(manifest).unwrap() else {
                panic!("no manifest")
            };
            node.remove(manifest).unwrap();
            node.api_server().unwrap();
            node.write(manifest, &content, 0o600).unwrap();
            let report = graded(&node, &resolved, &baseline);
            let id = &resolved.definition.id;
            assert!(!report.passed, "{id} seed {seed}");
            let failing: Vec<&str> = report
                .checks
                .iter()
                .filter(|check| check.status == CheckStatus::Fail)
                .map(|check| check.layer_name)
                .collect();
            assert!(
                failing.contains(&"entries"),
                "{id} seed {seed}: {failing:?}"
            );
            count += 1;
        }
    }
    assert_eq!(count, 18);
}
