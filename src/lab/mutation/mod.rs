//! The mutation check of the grader: the reference solution of a scenario with one thing changed, many
//! times. What changes the meaning must lose points; what does not must keep them.
//!
//! Whether a changed policy means something else is decided by the audit engine, over every class of
//! requests; whether changed flags do, by the options they parse to; for the rest by construction. Most
//! policy mutants are graded by the comparison that the grade itself uses (it reads the same file the same way), a
//! sample of them is played on the node like everything else.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::rehearsal::{Rehearsal, RehearsalError};
use crate::audit::compare::{Scope, try_differences};
use crate::audit::level::Stage;
use crate::audit::policy::{Policy, load};
use crate::grade::argv::Flags;
use crate::grade::pod::{ApiServerPod, Target};
use crate::grade::policy::Comparison;
use crate::node::{Node, NodeFile};
use crate::scenario::definition::Stages;
use crate::scenario::manifest_edit::ManifestEdit;
use crate::scenario::setup::MANIFEST;
use crate::scenario::{Resolved, manifest_text};

pub mod manifest;
pub mod policy;

/// How much is played on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Effort {
    /// Of the policy mutants that the comparison decides, at most this many.
    pub decided: usize,
    /// Of the others, at most this many.
    pub others: usize,
}

/// How a mutant went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fate {
    /// What was changed.
    pub mutant: String,
    /// Whether that means something else.
    pub changes: bool,
    /// Whether points were lost; `None` where it was not tried.
    pub lost: Option<bool>,
    /// Whether it was played on a node, not only compared.
    pub played: bool,
    /// Why it may go otherwise than it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explained: Option<String>,
    /// What is wrong; `None` where it went as it should.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub complaint: Option<String>,
}

/// A scenario's mutants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// Id of the scenario.
    pub scenario: String,
    /// Seed.
    pub seed: u64,
    /// Every mutant.
    pub fates: Vec<Fate>,
    /// Wall clock.
    #[serde(skip)]
    pub took: Duration,
}

impl Outcome {
    /// What went otherwise than it should.
    pub fn complaints(&self) -> impl Iterator<Item = &Fate> {
        self.fates.iter().filter(|fate| fate.complaint.is_some())
    }
}

struct Mutant {
    name: String,
    changes: bool,
    /// What the comparison alone says; `None` where it cannot.
    decided: Option<bool>,
    file: Part,
}

enum Part {
    Policy(String),
    Manifest(String),
    File {
        path: String,
        content: Vec<u8>,
        mode: u32,
    },
}

/// The solution as it is on the node after the reference attempt.
struct Solution {
    manifest: String,
    policy: Option<(String, String)>,
    files: Vec<(String, Vec<u8>, u32)>,
}

/// Tries the mutants of a scenario's reference solution.
///
/// # Errors
/// When there is no node, or the reference attempt does not score in full.
pub fn check(
    resolved: &Resolved,
    runtime: &tokio::runtime::Handle,
    effort: Effort,
) -> Result<Outcome, RehearsalError> {
    let start = Instant::now();
    let mut rehearsal = Rehearsal::begin(resolved, runtime)?;
    solve(resolved, &rehearsal)?;
    let solution = Solution::read(resolved, &rehearsal)?;
    let mutants = mutants(resolved, &rehearsal, &solution);
    let (mut decided, mut others) = (effort.decided, effort.others);
    // Not always the same ones are left out.
    let turn = usize::try_from(resolved.seed).unwrap_or(0) + resolved.definition.id.len();
    let first = turn.checked_rem(mutants.len()).unwrap_or(0);
    let order = (first..mutants.len()).chain(0..first);
    let mut fates: Vec<(usize, Fate)> = Vec::new();
    for at in order {
        let Some(mutant) = mutants.get(at) else {
            continue;
        };
        let budget = match mutant.decided {
            Some(lost) if lost == mutant.changes => &mut decided,
            _ => &mut others,
        };
        let play = *budget > 0;
        *budget = budget.saturating_sub(1);
        let lost = if play {
            Some(played(resolved, &mut rehearsal, &solution, mutant)?)
        } else {
            mutant.decided
        };
        fates.push((at, fate(&resolved.definition.id, mutant, lost, play)));
    }
    fates.sort_by_key(|(at, _)| *at);
    Ok(Outcome {
        scenario: resolved.definition.id.clone(),
        seed: resolved.seed,
        fates: fates.into_iter().map(|(_, fate)| fate).collect(),
        took: start.elapsed(),
    })
}

fn fate(scenario: &str, mutant: &Mutant, lost: Option<bool>, played: bool) -> Fate {
    let explained = explained(scenario, &mutant.name);
    let complaint = match (lost, &explained) {
        (Some(lost), None) if lost != mutant.changes => Some(
            if mutant.changes {
                "it means something else and keeps every point"
            } else {
                "it means the same and loses points"
            }
            .to_owned(),
        ),
        (Some(lost), Some(_)) if lost == mutant.changes && played => {
            Some("it is explained, but goes as it should: take it off the list".to_owned())
        }
        _ => None,
    };
    Fate {
        mutant: mutant.name.clone(),
        changes: mutant.changes,
        lost,
        played,
        explained,
        complaint,
    }
}

/// The reason for which a mutant may go otherwise.
fn explained(scenario: &str, mutant: &str) -> Option<String> {
    include_str!("explained.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let mut parts = line.splitn(3, '|').map(str::trim);
            let matches = parts.next() == Some(scenario) && parts.next() == Some(mutant);
            parts.next().filter(|_| matches).map(str::to_owned)
        })
}

fn solve(resolved: &Resolved, rehearsal: &Rehearsal) -> Result<(), RehearsalError> {
    let wrong = |what: String| RehearsalError::Io(std::io::Error::other(what));
    let reference = resolved
        .reference()
        .ok_or_else(|| wrong("there is no reference attempt".to_owned()))?;
    let report = rehearsal.play(reference)?;
    if report.score == report.max && report.passed {
        return Ok(());
    }
    Err(wrong(format!(
        "the reference attempt scores {} of {}",
        report.score, report.max
    )))
}

impl Solution {
    fn read(resolved: &Resolved, rehearsal: &Rehearsal) -> Result<Self, RehearsalError> {
        let node = rehearsal.node();
        let text = |path: &str| -> Option<(Vec<u8>, u32)> {
            match node.read(path) {
                Ok(NodeFile::File { content, mode, .. }) => Some((content, mode)),
                _ => None,
            }
        };
        let manifest = text(MANIFEST)
            .map(|(content, _)| content)
            .unwrap_or_default();
        let manifest = String::from_utf8_lossy(&manifest).into_owned();
        let policy_path = ApiServerPod::read(manifest.as_bytes(), "node")
            .ok()
            .and_then(|pod| {
                let flags = Flags::of(&pod.argv);
                match pod.target(flags.text("audit-policy-file")?) {
                    Target::Node { path, .. } => Some(path),
                    _ => None,
                }
            });
        let policy = policy_path.and_then(|path| {
            let (content, _) = text(&path)?;
            Some((path, String::from_utf8(content).ok()?))
        });
        let steps = resolved.reference().map(|attempt| &attempt.file.steps);
        let mut files: Vec<(String, Vec<u8>, u32)> = Vec::new();
        for step in steps.into_iter().flatten() {
            let written = step.write.iter().chain(&step.append).map(|file| &file.path);
            for path in written.chain(step.copy.iter().map(|copy| &copy.to)) {
                let known = path.starts_with("/etc/kubernetes/manifests/")
                    || policy.as_ref().is_some_and(|(policy, _)| policy == path)
                    || files.iter().any(|(file, ..)| file == path);
                if !known && let Some((content, mode)) = text(path) {
                    files.push((path.clone(), content, mode));
                }
            }
        }
        Ok(Self {
            manifest,
            policy,
            files,
        })
    }
}

/// Where only answers are graded, nothing on the node is: no mutant of it can lose points.
fn mutants(resolved: &Resolved, rehearsal: &Rehearsal, solution: &Solution) -> Vec<Mutant> {
    let mut mutants = Vec::new();
    let checks = &resolved.definition.checks;
    if checks.iter().all(|check| check.answer.is_some()) {
        return mutants;
    }
    if let Some((path, text)) = &solution.policy {
        // Where any stages will do, those that end a request must be there, and say nothing of the others.
        let mut scope = Scope::default();
        if let Some(goal) = &resolved.definition.policy
            && goal.stages == Stages::Any
        {
            scope.stages = vec![Stage::ResponseComplete];
        }
        let original = load(text.as_bytes()).map(|loaded| loaded.policy);
        // A file that must stay as it is may not even be written in another style.
        let must_stay = resolved
            .definition
            .checks
            .iter()
            .filter_map(|check| check.unchanged.as_ref())
            .any(|unchanged| unchanged.files.contains(path));
        for candidate in policy::candidates(text) {
            let loaded = load(candidate.text.as_bytes()).map(|loaded| loaded.policy);
            let changes = must_stay
                || match (&original, &loaded) {
                    (Ok(original), Ok(mutant)) => try_differences(original, mutant, &scope)
                        .map_or(true, |found| !found.is_empty()),
                    _ => true,
                };
            let decided = match &loaded {
                Ok(mutant) => compared(resolved, mutant),
                // Nothing passes without a policy that loads.
                Err(_) => compared(resolved, &Policy::default()).map(|_| true),
            };
            mutants.push(Mutant {
                name: candidate.name,
                changes,
                decided,
                file: Part::Policy(candidate.text),
            });
        }
    }
    let baseline = rehearsal.baseline();
    for candidate in manifest::candidates(&solution.manifest, &baseline.started) {
        mutants.push(Mutant {
            name: candidate.name,
            changes: candidate.changes,
            decided: None,
            file: Part::Manifest(candidate.text),
        });
    }
    for (number, (path, content, mode)) in (1..).zip(&solution.files) {
        for (name, content, changes) in file_candidates(content) {
            mutants.push(Mutant {
                name: format!("file {number}: {name}"),
                changes,
                decided: None,
                file: Part::File {
                    path: path.clone(),
                    content,
                    mode: *mode,
                },
            });
        }
    }
    mutants
}

/// Whether the comparison of policies alone takes points, or keeps them; `None` where it cannot tell.
fn compared(resolved: &Resolved, mutant: &Policy) -> Option<bool> {
    let goal = resolved.definition.policy.as_ref()?;
    let comparison = Comparison::new(goal).ok()?;
    let mut compares = false;
    for check in &resolved.definition.checks {
        let Some(policy) = check.policy.as_ref().filter(|_| check.points > 0) else {
            continue;
        };
        compares = true;
        if !comparison.counterexamples(mutant, policy).ok()?.is_empty() {
            return Some(true);
        }
    }
    compares.then_some(false)
}

/// Mutants of any other file, line by line.
fn file_candidates(content: &[u8]) -> Vec<(String, Vec<u8>, bool)> {
    const MOST_LINES: usize = 12;
    let Ok(text) = std::str::from_utf8(content) else {
        return Vec::new();
    };
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > 200 {
        return Vec::new();
    }
    let joined = |lines: &[&str]| format!("{}\n", lines.join("\n")).into_bytes();
    let mut all = vec![("empty".to_owned(), Vec::new(), true)];
    for at in (0..lines.len()).take(MOST_LINES) {
        let mut less = lines.clone();
        let gone = less.remove(at);
        if gone.trim().is_empty() || gone.trim_start().starts_with('#') {
            continue;
        }
        all.push((format!("without line {}", at + 1), joined(&less), true));
        let other: String = gone
            .chars()
            .map(|c| match c {
                '0'..='8' => char::from_u32(c as u32 + 1).unwrap_or(c),
                '9' => '0',
                other => other,
            })
            .collect();
        if other != gone {
            let mut changed = lines.clone();
            if let Some(slot) = changed.get_mut(at) {
                *slot = &other;
            }
            all.push((
                format!("other digits in line {}", at + 1),
                joined(&changed),
                true,
            ));
        }
    }
    all
}

/// Plays a mutant; says whether points were lost.
fn played(
    resolved: &Resolved,
    rehearsal: &mut Rehearsal,
    solution: &Solution,
    mutant: &Mutant,
) -> Result<bool, RehearsalError> {
    let lost = put_and_grade(rehearsal, solution, mutant)?;
    if lost == mutant.changes {
        return Ok(lost);
    }
    // What mutants before it left on the node may be to blame.
    rehearsal.rewind()?;
    solve(resolved, rehearsal)?;
    put_and_grade(rehearsal, solution, mutant)
}

fn put_and_grade(
    rehearsal: &Rehearsal,
    solution: &Solution,
    mutant: &Mutant,
) -> Result<bool, RehearsalError> {
    let node = rehearsal.node();
    let write = |path: &str, content: &[u8]| {
        // The mode of a file that is there stays.
        let mode = match node.read_from(path, u64::MAX) {
            Ok(NodeFile::File { mode, .. }) => mode,
            _ => 0o600,
        };
        node.write(path, content, mode)
            .map_err(crate::grade::GradeError::from)
    };
    if let Some((path, text)) = &solution.policy {
        write(path, text.as_bytes())?;
    }
    for (path, content, _) in &solution.files {
        write(path, content)?;
    }
    let mut manifest = solution.manifest.as_str();
    match &mutant.file {
        Part::Policy(text) => {
            if let Some((path, _)) = &solution.policy {
                write(path, text.as_bytes())?;
            }
        }
        Part::Manifest(text) => manifest = text,
        Part::File {
            path,
            content,
            mode,
        } => node
            .write(path, content, *mode)
            .map_err(crate::grade::GradeError::from)?,
    }
    // A manifest that differs in an annotation is another pod: the API server is started anew.
    let marked = manifest_text::edit(
        manifest,
        &ManifestEdit {
            annotate: Some(format!("example.com/try={}", uuid::Uuid::new_v4())),
            ..ManifestEdit::default()
        },
    );
    let text = marked.unwrap_or_else(|_| manifest.to_owned());
    write(MANIFEST, text.as_bytes())?;
    let report = rehearsal.grade()?;
    Ok(report.score < report.max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_explained_survivor_is_of_a_scenario_and_has_a_reason() {
        for line in include_str!("explained.txt").lines() {
            if line.starts_with('#') {
                continue;
            }
            let parts: Vec<&str> = line.splitn(3, '|').map(str::trim).collect();
            let [scenario, mutant, reason] = parts.as_slice() else {
                panic!("{line}");
            };
            assert!(
                crate::scenario::Scenario::find(scenario, None).is_ok(),
                "{line}"
            );
            assert!(!mutant.is_empty() && reason.len() > 10, "{line}");
            assert_eq!(explained(scenario, mutant).as_deref(), Some(*reason));
        }
    }
}
