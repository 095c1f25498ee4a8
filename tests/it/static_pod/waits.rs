//! How long things take at real pace: from the edit to the new container, and from the end of a container
//! that failed to the next one.
//!
//! The kubelet throws dice for these waits, and so do ours: a recorded wait agrees when it lies where
//! ours do, with a fifth to spare; and on the average they are as long.

use std::collections::BTreeMap;

use serde_json::Value;

use super::sim::Sim;
use super::text;
use crate::report;

/// What a recorded wait may lie outside of ours: a share of it, and for the short ones, which are the
/// machine's, seconds.
const SPARE: f64 = 0.2;
const SPARE_SECONDS: f64 = 1.5;

/// A recorded wait and ours, of several throws of the dice.
#[derive(Debug, Clone)]
pub(super) struct Wait {
    case: String,
    /// Which: those of one name have one mechanism.
    what: String,
    real: f64,
    ours: Vec<f64>,
}

/// A container in time: attempt, when it was made, when it ended.
type Life = (u64, f64, Option<f64>);

/// The waits between containers. Several edits, or files put back, are mechanisms of their own.
fn between(lives: &[Life], case: &Value, of_a_cluster: bool) -> Vec<(String, f64)> {
    let id = text(case, "/id");
    let steps = case["steps"].as_array().unwrap();
    let plain = steps.len() == 1 && text(&steps[0], "/op") != "mv";
    let mut out = Vec::new();
    if let Some((0, created, _)) = lives.first() {
        let what = match (plain, of_a_cluster) {
            (true, false) if *created > 8.0 => "edit to container".to_owned(),
            (true, true) => "edit to container, 30 s of grace between".to_owned(),
            _ => format!("edit to container in {id}"),
        };
        out.push((what, *created));
    }
    for pair in lives.windows(2) {
        let [(before, _, Some(end)), (attempt, created, _)] = pair else {
            continue;
        };
        if *attempt == before + 1 {
            out.push((format!("end to restart {attempt}"), created - end));
        }
    }
    out
}

fn recorded(case: &Value) -> Vec<Life> {
    let containers = case["containers"].as_array().unwrap().iter();
    let new = containers.filter(|c| c["is_baseline"] == false);
    let mut lives: Vec<Life> = new
        .filter_map(|c| {
            let created = c["created_t"].as_f64()?;
            Some((c["attempt"].as_u64()?, created, c["finished_t"].as_f64()))
        })
        .collect();
    lives.sort_by(|a, b| a.1.total_cmp(&b.1));
    lives
}

fn ours(sim: &Sim) -> Vec<Life> {
    let new = sim.seen.iter().filter(|c| c.id != sim.old);
    new.filter_map(|c| {
        let created = sim.seconds(Some(c.created))?;
        Some((u64::from(c.attempt), created, sim.seconds(c.finished)))
    })
    .collect()
}

/// Adds the waits of one replay of a case to those of earlier ones.
pub(super) fn add(waits: &mut Vec<Wait>, case: &Value, sim: &Sim) {
    let here = between(&ours(sim), case, sim.stubborn);
    for (what, real) in between(&recorded(case), case, sim.stubborn) {
        let Some((_, seconds)) = here.iter().find(|(it, _)| *it == what) else {
            continue;
        };
        match waits.iter_mut().find(|wait| wait.what == what) {
            Some(wait) => wait.ours.push(*seconds),
            None => waits.push(Wait {
                case: text(case, "/id").to_owned(),
                what,
                real,
                ours: vec![*seconds],
            }),
        }
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Shows how the waits agree; those that do not, and what is longer or shorter on the average.
pub(super) fn check(name: &str, waits: &[Wait]) -> Vec<String> {
    let mut kinds: BTreeMap<&str, Vec<&Wait>> = BTreeMap::new();
    for wait in waits {
        kinds.entry(&wait.what).or_default().push(wait);
    }
    let mut wrong = Vec::new();
    let mut agree = 0;
    let mut rows = Vec::new();
    for (what, waits) in kinds {
        let of_each: Vec<f64> = waits.iter().map(|wait| mean(&wait.ours)).collect();
        let real: Vec<f64> = waits.iter().map(|wait| wait.real).collect();
        let all = || waits.iter().flat_map(|wait| &wait.ours).copied();
        let (least, most) = (all().fold(f64::MAX, f64::min), all().fold(0.0, f64::max));
        let lowest = (least * (1.0 - SPARE)).min(least - SPARE_SECONDS);
        let highest = (most * (1.0 + SPARE)).max(most + SPARE_SECONDS);
        for wait in &waits {
            if (lowest..=highest).contains(&wait.real) {
                agree += 1;
            } else {
                let real = wait.real;
                wrong.push(format!(
                    "{}: {what} took {real}, ours {least:.1} to {most:.1}",
                    wait.case
                ));
            }
        }
        let (ours, theirs) = (mean(&of_each), mean(&real));
        // The fewer there are, the less an average says.
        let allowed = match real.len() {
            30.. => 0.05,
            8.. => 0.1,
            _ => SPARE,
        };
        if (ours - theirs).abs() > (theirs * allowed).max(0.5) && real.len() > 2 {
            wrong.push(format!(
                "{what}: {ours:.2} on the average, real {theirs:.2}"
            ));
        }
        let span = |values: &[f64]| {
            let least = values.iter().copied().fold(f64::MAX, f64::min);
            let most = values.iter().copied().fold(0.0, f64::max);
            format!("{least:.1}-{most:.1}")
        };
        rows.push([
            format!("{name}: {what}"),
            real.len().to_string(),
            format!("{theirs:.2}"),
            span(&real),
            format!("{ours:.2}"),
            format!("{least:.1}-{most:.1}"),
        ]);
    }
    report::line(report::table(
        ["seconds", "waits", "real", "range", "ours", "range"],
        &rows,
    ));
    report::agreement(name, "waits", agree, waits.len(), 0);
    wrong
}
