//! Rehearsals on an engine whose nodes live outside of this process: one node, put back to its start
//! before every attempt, and set up anew.

use std::fs;
use std::path::PathBuf;

use super::home::private_dir;
use super::rehearsal::{RehearsalError, Rehearse};
use super::{Error, Home};
use crate::grade::{Options, Report, grade};
use crate::node::engine::{Engine, LabNode, Order, Pace, Wishes};
use crate::scenario::{Attempt, Baseline, Resolved};

/// A scenario on the node of an engine.
pub struct LiveRehearsal {
    resolved: Resolved,
    engine: Engine,
    wishes: Wishes,
    dir: PathBuf,
    node: Box<dyn LabNode>,
    baseline: Baseline,
}

impl LiveRehearsal {
    /// Puts the scenario on a pristine node. No lab of the user is made; one that has the node loses it.
    ///
    /// # Errors
    /// When there is no node, or the setup does not fit it.
    pub fn begin(
        resolved: &Resolved,
        engine: Engine,
        wishes: &Wishes,
        home: &Home,
    ) -> Result<Self, RehearsalError> {
        let failed = |error: Error| RehearsalError::Io(std::io::Error::other(error));
        home.ensure().map_err(failed)?;
        let name = format!(".rehearsal-{}", std::process::id());
        let dir = home.labs().join(name);
        private_dir(&dir)?;
        let (node, baseline) = stage(resolved, engine, wishes, &dir).inspect_err(|_| {
            let _ = fs::remove_dir_all(&dir);
        })?;
        Ok(Self {
            resolved: resolved.clone(),
            engine,
            wishes: wishes.clone(),
            dir,
            node,
            baseline,
        })
    }
}

/// A pristine node with the scenario on it, settled.
fn stage(
    resolved: &Resolved,
    engine: Engine,
    wishes: &Wishes,
    dir: &std::path::Path,
) -> Result<(Box<dyn LabNode>, Baseline), RehearsalError> {
    let id = &resolved.definition.id;
    let order = Order {
        lab: id,
        pace: Pace::Fast,
        replaces: None,
        others: &[],
        wishes,
    };
    let node = engine.create(dir, &order)?;
    let mut baseline = resolved.apply_setup(&*node)?;
    engine.start(id, dir)?;
    if resolved.needs_running_node() {
        baseline = resolved.finish_setup(&*node, baseline)?;
        engine.settle(id, dir)?;
    }
    Ok((node, baseline))
}

impl Rehearse for LiveRehearsal {
    fn grade(&self) -> Result<Report, RehearsalError> {
        Ok(grade(
            &*self.node,
            &self.resolved,
            &self.baseline,
            Options::default(),
            &|_| {},
        )?)
    }

    fn play(&self, attempt: &Attempt) -> Result<Report, RehearsalError> {
        attempt.play(&*self.node)?;
        self.grade()
    }

    fn rewind(&mut self) -> Result<(), RehearsalError> {
        (self.node, self.baseline) = stage(&self.resolved, self.engine, &self.wishes, &self.dir)?;
        Ok(())
    }
}

impl Drop for LiveRehearsal {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.dir);
    }
}
