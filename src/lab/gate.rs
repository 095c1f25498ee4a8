//! The release gate of scenarios: every recorded attempt played on a node, several scenarios and
//! seeds at a time.
//!
//! A round is one scenario with one seed: untouched = 0 points; every correct attempt = full score;
//! every wrong attempt = its stated score and failing checks; graded twice = the same; put back = as
//! at the start. Rounds share nothing but the processors, and mostly wait for their nodes: more of
//! them than there are processors run side by side.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::rehearsal::{RehearsalError, Rehearse, complaints, untouched_complaints};
use crate::grade::Report;
use crate::scenario::{Attempt, AttemptKind, Resolved};

/// Name under which the lab as it starts is reported.
pub const UNTOUCHED: &str = "untouched";
/// Name under which the lab that was put back after the last attempt is reported.
pub const PUT_BACK: &str = "put-back";

/// How one attempt went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    /// Name of the attempt, [`UNTOUCHED`] or [`PUT_BACK`].
    pub attempt: String,
    /// Whether it solves the scenario; `None` for the lab as it starts.
    pub kind: Option<AttemptKind>,
    /// Its points; `None` where it could not be graded.
    pub score: Option<u32>,
    /// What is not as recorded; empty when all is.
    pub complaints: Vec<String>,
}

impl Played {
    /// Whether it went as recorded.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.complaints.is_empty()
    }
}

/// One scenario with one seed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Round {
    /// Id of the scenario.
    pub scenario: String,
    /// Seed.
    pub seed: u64,
    /// How the attempts went, in the order played.
    pub played: Vec<Played>,
    /// How long it took, wall clock.
    pub took: Duration,
}

impl Round {
    /// Whether everything went as recorded.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.played.iter().all(Played::ok)
    }
}

/// What gives a scenario a node to be played on.
pub type Stage<'a> =
    dyn Fn(&Resolved) -> Result<Box<dyn Rehearse + 'a>, RehearsalError> + Sync + 'a;

/// How many rounds to hold side by side on this machine: a round computes for about a tenth of its time.
#[must_use]
pub fn side_by_side() -> usize {
    let processors = std::thread::available_parallelism().map_or(2, usize::from);
    (processors * 6).min(32)
}

/// Holds a round for each of these, `side_by_side` at a time, and gives each to `tell` as it ends.
///
/// # Errors
/// The first of: a node cannot be made; what `tell` says. What is under way then is finished, nothing more is begun.
pub fn hold<E: From<RehearsalError>>(
    work: &[Resolved],
    side_by_side: usize,
    stage: &Stage<'_>,
    tell: &mut dyn FnMut(Round) -> Result<(), E>,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        for _ in 0..side_by_side.clamp(1, work.len().max(1)) {
            let sender = sender.clone();
            let (next, over) = (&next, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed)
                    && let Some(resolved) = work.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    if sender.send(round(resolved, stage)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut result = Ok(());
        for held in receiver {
            if result.is_ok() {
                result = held.map_err(E::from).and_then(&mut *tell);
                if result.is_err() {
                    over.store(true, Ordering::Relaxed);
                }
            }
        }
        result
    })
}

/// Holds one round.
///
/// # Errors
/// When there is no node for it.
pub fn round(resolved: &Resolved, stage: &Stage<'_>) -> Result<Round, RehearsalError> {
    let start = Instant::now();
    let mut rehearsal = stage(resolved)?;
    let mut played = Vec::new();
    if let Err(error) = play_all(resolved, &mut *rehearsal, &mut played) {
        played.push(Played {
            attempt: PUT_BACK.to_owned(),
            kind: None,
            score: None,
            complaints: vec![error.to_string()],
        });
    }
    Ok(Round {
        scenario: resolved.definition.id.clone(),
        seed: resolved.seed,
        played,
        took: start.elapsed(),
    })
}

fn play_all(
    resolved: &Resolved,
    rehearsal: &mut dyn Rehearse,
    played: &mut Vec<Played>,
) -> Result<(), RehearsalError> {
    let untouched = rehearsal.grade()?;
    played.push(Played {
        attempt: UNTOUCHED.to_owned(),
        kind: None,
        score: Some(untouched.score),
        complaints: untouched_complaints(resolved, &untouched),
    });
    for attempt in &resolved.attempts {
        played.push(play(attempt, rehearsal));
        rehearsal.rewind()?;
    }
    let again = rehearsal.grade()?;
    played.push(Played {
        attempt: PUT_BACK.to_owned(),
        kind: None,
        score: Some(again.score),
        complaints: differences(
            "put back, it is not as at the start",
            &without_evidence(resolved, untouched),
            &without_evidence(resolved, again),
        ),
    });
    Ok(())
}

fn play(attempt: &Attempt, rehearsal: &mut dyn Rehearse) -> Played {
    let graded = rehearsal.play(attempt).and_then(|report| {
        let mut wrong = complaints(attempt, &report);
        if attempt.file.kind == AttemptKind::Reference {
            let again = rehearsal.grade()?;
            wrong.extend(differences("graded twice, it differs", &report, &again));
        }
        Ok((report.score, wrong))
    });
    let (score, complaints) = match graded {
        Ok((score, wrong)) => (Some(score), wrong),
        Err(error) => (None, vec![error.to_string()]),
    };
    Played {
        attempt: attempt.name.clone(),
        kind: Some(attempt.file.kind),
        score,
        complaints,
    }
}

/// A report without the texts of checks about entries that the setup made: put back, the setup makes others.
fn without_evidence(resolved: &Resolved, mut report: Report) -> Report {
    let checks = &resolved.definition.checks;
    for told in &mut report.checks {
        if checks
            .iter()
            .any(|check| check.id == told.id && check.kept.is_some())
        {
            told.expected.clear();
            told.seen.clear();
        }
    }
    report
}

/// What two reports of the same node say differently.
fn differences(what: &str, first: &Report, second: &Report) -> Vec<String> {
    if first == second {
        return Vec::new();
    }
    let mut lines = vec![what.to_owned()];
    for (a, b) in first.checks.iter().zip(&second.checks) {
        if a != b {
            lines.push(format!(
                "{}: {} ({}), then {} ({})",
                a.id,
                a.status.name(),
                a.seen,
                b.status.name(),
                b.seen
            ));
        }
    }
    if first.notes != second.notes {
        lines.push(format!("notes: {:?}, then {:?}", first.notes, second.notes));
    }
    lines
}
