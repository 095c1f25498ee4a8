//! The grader, tried with mutants of reference solutions: those of policies are compared, a few of each scenario
//! are played. Without optimisation this takes long, so every fourth scenario has its turn here; `.ci/run` tries
//! and plays all of them with the release binary (`ckslab scenario mutate --all`). `CKSLAB_GATE=audit-03` tries
//! the scenarios that it names alone.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ckslab::lab::mutation::{self, Effort};
use ckslab::scenario::{Resolved, Scenario};

use crate::report;

#[test]
fn what_means_something_else_loses_points_and_what_means_the_same_keeps_them() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let only = std::env::var("CKSLAB_GATE").unwrap_or_default();
    let work: Vec<Resolved> = Scenario::all(None)
        .unwrap()
        .iter()
        .map(|scenario| scenario.resolve(1).unwrap())
        .filter(|resolved| resolved.is_graded() && resolved.definition.id.contains(&only))
        .step_by(if only.is_empty() { 4 } else { 1 })
        .collect();
    let effort = Effort {
        decided: 1,
        others: 2,
    };
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(resolved) = work.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = mutation::check(resolved, runtime.handle(), effort);
                    outcomes
                        .lock()
                        .unwrap()
                        .push((resolved.definition.id.clone(), outcome));
                }
            });
        }
    });
    let mut wrong = Vec::new();
    let (mut mutants, mut judged) = (0, 0);
    for (id, outcome) in outcomes.into_inner().unwrap() {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                wrong.push(format!("{id}: {error}"));
                continue;
            }
        };
        mutants += outcome.fates.len();
        judged += outcome
            .fates
            .iter()
            .filter(|fate| fate.lost.is_some())
            .count();
        for fate in outcome.complaints() {
            let complaint = fate.complaint.as_deref().unwrap_or_default();
            wrong.push(format!("{id} | {} | {complaint}", fate.mutant));
        }
    }
    report::line(format!(
        "mutants of reference solutions: {mutants} of {} scenarios, {judged} judged",
        work.len()
    ));
    wrong.sort();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
