//! Which lab a command is about.

use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};

use super::output;
use crate::lab::{Error, Home, Lab};

/// The lab a command works on.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct TargetArgs {
    /// Lab (its scenario's id); the active one if left out
    #[arg(value_name = "ID", add = ArgValueCandidates::new(lab_names))]
    pub id: Option<String>,
}

impl TargetArgs {
    /// Finds the lab.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(&self) -> Result<Lab, Error> {
        Lab::find(&Home::find()?, self.id.as_deref())
    }

    /// Finds the lab and, where it was named, makes it the active one: whoever reads the task of a lab
    /// goes on with that lab.
    ///
    /// # Errors
    /// When there is none.
    pub fn choose(&self) -> Result<Lab, Error> {
        let lab = self.find()?;
        self.activate(&lab)?;
        Ok(lab)
    }

    /// As [`TargetArgs::choose`], with the node process running.
    ///
    /// # Errors
    /// When there is none, it is stopped, or its node does not start.
    pub fn choose_running(&self) -> Result<Lab, Error> {
        let lab = self.running()?;
        self.activate(&lab)?;
        Ok(lab)
    }

    fn activate(&self, lab: &Lab) -> Result<(), Error> {
        if self.id.is_some() && lab.home().active().as_deref() != Some(lab.id()) {
            lab.home().set_active(lab.id())?;
        }
        Ok(())
    }

    /// Finds the lab and makes sure its node process runs.
    ///
    /// # Errors
    /// When there is none, it is stopped, or its node does not start.
    pub fn running(&self) -> Result<Lab, Error> {
        running(self.id.as_deref())
    }
}

/// The lab of this id (or the active one), with its node process running.
///
/// # Errors
/// When there is none, it is stopped, or its node does not start.
pub fn running(id: Option<&str>) -> Result<Lab, Error> {
    let mut lab = Lab::find(&Home::find()?, id)?;
    if lab.ensure_running()? {
        output::note(&format!(
            "the process of lab `{}` was gone; it was started again",
            lab.id()
        ));
    }
    Ok(lab)
}

/// Says which lab a command works on that cannot be told one, where it could be another.
pub fn tell(lab: &Lab) {
    if lab.home().ids().len() > 1 {
        output::note(&format!(
            "lab {} (the active one; `ckslab task ID` makes another one active)",
            lab.id()
        ));
    }
}

/// Ids of the labs, for completion.
fn lab_names() -> Vec<CompletionCandidate> {
    Home::find()
        .map(|home| home.ids())
        .unwrap_or_default()
        .into_iter()
        .map(CompletionCandidate::new)
        .collect()
}

/// Ids of the scenarios, for completion.
#[must_use]
pub fn scenario_names() -> Vec<CompletionCandidate> {
    let directory = std::env::var_os("CKSLAB_SCENARIOS").map(std::path::PathBuf::from);
    crate::scenario::load::names(directory.as_deref())
        .unwrap_or_default()
        .into_iter()
        .map(CompletionCandidate::new)
        .collect()
}
