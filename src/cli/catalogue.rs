//! The scenarios there are, with what was done with each: what `list`, `next` and `start --random` choose from.

use std::path::Path;

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use super::failure::Failure;
use crate::exit::Exit;
use crate::lab::progress::{Progress, Stage};
use crate::lab::{Error, Home};
use crate::scenario::Scenario;
use crate::scenario::coverage::Group;
use crate::scenario::definition::Difficulty;

/// `--group` alone.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct GroupArgs {
    /// Only scenarios of this kind of work
    #[arg(long, value_enum, value_name = "GROUP")]
    pub group: Option<Group>,
}

/// Which scenarios are shown.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct FilterArgs {
    #[command(flatten)]
    group: GroupArgs,
    /// Only scenarios that train this; a part of a skill's name is enough
    #[arg(long, value_name = "TEXT", add = ArgValueCandidates::new(skills))]
    skill: Option<String>,
    /// Only scenarios this hard
    #[arg(long, value_enum, value_name = "DIFFICULTY")]
    difficulty: Option<Difficulty>,
    /// Only scenarios you are this far with; failed: graded, never passed
    #[arg(long, value_enum, value_name = "PROGRESS")]
    progress: Option<Stage>,
}

impl FilterArgs {
    /// Whether everything is shown.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.group.group.is_none()
            && self.skill.is_none()
            && self.difficulty.is_none()
            && self.progress.is_none()
    }

    /// Whether a scenario is shown.
    #[must_use]
    pub fn shows(&self, entry: &Entry) -> bool {
        let definition = &entry.scenario.definition;
        let wanted = self.skill.as_ref().map(|skill| skill.to_lowercase());
        self.group
            .group
            .is_none_or(|group| definition.group == Some(group))
            && self
                .difficulty
                .is_none_or(|difficulty| definition.difficulty == difficulty)
            && self
                .progress
                .is_none_or(|progress| entry.progress.stage() == progress)
            && wanted.is_none_or(|wanted| {
                let mut skills = definition.skills.iter();
                skills.any(|skill| skill.to_lowercase().contains(&wanted))
            })
    }
}

/// A scenario, and what was done with it.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The scenario.
    pub scenario: Scenario,
    /// What was done with it.
    pub progress: Progress,
}

impl Entry {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.scenario.definition.id
    }
}

/// Every scenario, in the order of ids.
///
/// # Errors
/// When one of the directory cannot be read.
pub fn entries(home: &Home, directory: Option<&Path>) -> Result<Vec<Entry>, Error> {
    let scenarios = Scenario::all(directory)?;
    let ids = scenarios
        .iter()
        .map(|scenario| scenario.definition.id.as_str());
    let mut known = Progress::of_all(home, ids);
    Ok(scenarios
        .into_iter()
        .map(|scenario| Entry {
            progress: known.remove(&scenario.definition.id).unwrap_or_default(),
            scenario,
        })
        .collect())
}

/// The scenarios of a group that have something to pass, or all of them.
///
/// # Errors
/// When one cannot be read, or there is none.
pub fn graded(
    home: &Home,
    directory: Option<&Path>,
    group: GroupArgs,
) -> anyhow::Result<Vec<Entry>> {
    let mut entries = entries(home, directory)?;
    entries.retain(|entry| {
        let definition = &entry.scenario.definition;
        !definition.checks.is_empty()
            && group
                .group
                .is_none_or(|group| definition.group == Some(group))
    });
    if entries.is_empty() {
        let of = group
            .group
            .map(|group| format!(" of the group `{}`", group.name()))
            .unwrap_or_default();
        return Err(
            Failure::new(Exit::NotPassed, format!("there is no scenario{of}"))
                .hint("`ckslab list` shows all of them")
                .into(),
        );
    }
    Ok(entries)
}

/// Every skill that a built-in scenario names, for completion.
fn skills() -> Vec<CompletionCandidate> {
    let directory = std::env::var_os("CKSLAB_SCENARIOS").map(std::path::PathBuf::from);
    let mut skills: Vec<String> = Scenario::all(directory.as_deref())
        .unwrap_or_default()
        .into_iter()
        .flat_map(|scenario| scenario.definition.skills)
        .collect();
    skills.sort();
    skills.dedup();
    skills.into_iter().map(CompletionCandidate::new).collect()
}
