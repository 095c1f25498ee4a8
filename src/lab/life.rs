//! The life of a lab: made, started, put back, stopped.
//!
//! A lab is built in a directory of its own and renamed into place when it is whole: at any moment
//! there is the old lab, the new one, or none; never half of one. What a killed command left behind
//! is removed by the next one.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;

use super::home::{is_id, private_dir, write_private};
use super::lock::LabLock;
use super::progress::Progress;
use super::record::{FORMAT, Grade};
use super::{Error, Home, Record, at};
use crate::audit::options::versions::{difference, minor};
use crate::node::NodeError;
use crate::node::engine::{Engine, LabNode, Order, Pace, Wishes, tell};
use crate::scenario::setup::SetupError;
use crate::scenario::{Baseline, Resolved, Scenario};

/// What grading must know of the start, within `records`.
const BASELINE: &str = "baseline.json";

/// What is to be started.
pub struct Plan<'a> {
    /// The scenario; its id is the lab's too.
    pub scenario: &'a Scenario,
    /// Directory the scenario comes from, where it is not an embedded one.
    pub scenarios: Option<&'a Path>,
    /// Seed, where the user asked for one.
    pub seed: Option<u64>,
    /// Engine, where the user asked for one.
    pub engine: Option<Engine>,
    /// Engine of a new lab otherwise.
    pub default_engine: Engine,
    /// Pace, where the user asked for one.
    pub pace: Option<Pace>,
    /// Pace of a new lab otherwise.
    pub default_pace: Pace,
    /// What the user wishes for its node.
    pub wishes: Wishes,
}

impl Plan<'_> {
    fn id(&self) -> &str {
        &self.scenario.definition.id
    }
}

/// How a start went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Started {
    /// A new lab.
    New,
    /// The lab was there and stopped, or its process was gone.
    Resumed,
    /// The lab ran already.
    Running,
}

/// A lab that exists.
#[derive(Debug, Clone)]
pub struct Lab {
    home: Home,
    dir: PathBuf,
    record: Record,
}

impl Lab {
    /// The lab of this id, or the active one.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(home: &Home, id: Option<&str>) -> Result<Self, Error> {
        let id = match id {
            Some(id) => id.to_owned(),
            None => match home.active() {
                Some(id) => id,
                // Only one lab: which else could be meant.
                None => match home.ids().as_slice() {
                    [only] => only.clone(),
                    _ => return Err(Error::NoLab),
                },
            },
        };
        if !is_id(&id) {
            return Err(Error::Unknown(id));
        }
        let dir = home.lab(&id);
        if !dir.join("lab.json").exists() && leftover(home, &id) {
            let _lock = LabLock::take(home, &id)?;
            recover(home, &id)?;
        }
        Ok(Self {
            home: home.clone(),
            record: Record::load(&dir)?,
            dir,
        })
    }

    /// Starts a lab: makes it, or goes on with the one there is.
    ///
    /// # Errors
    /// When it cannot be made or its node does not start. Nothing half-made is left then.
    pub fn start(home: &Home, plan: &Plan<'_>) -> Result<(Self, Started), Error> {
        home.ensure()?;
        let id = plan.id();
        let _lock = LabLock::take(home, id)?;
        recover(home, id)?;
        let dir = home.lab(id);
        let mut started = Started::Resumed;
        let record = match Record::load(&dir) {
            Ok(record) => {
                let differs = differs(&record, plan, &dir);
                let runs = record.engine.is_running(&dir);
                match differs {
                    // Its setup was interrupted, or did not work.
                    _ if record.unfinished => {
                        started = Started::New;
                        build(home, plan, Some(record))?
                    }
                    None if !runs && record.engine.is_lost(&dir) => {
                        started = Started::New;
                        build(home, plan, Some(record))?
                    }
                    None => record,
                    Some(error) if runs && !record.stopped => return Err(error),
                    Some(_) => {
                        started = Started::New;
                        build(home, plan, None)?
                    }
                }
            }
            Err(Error::Unknown(_)) => {
                started = Started::New;
                build(home, plan, None)?
            }
            Err(error) => return Err(error),
        };
        let mut lab = Self {
            home: home.clone(),
            dir,
            record,
        };
        if started != Started::New && lab.is_running() {
            started = Started::Running;
            // The command that started it may have been killed while it came up.
            let engine = lab.record.engine;
            engine.settle(id, &lab.dir).map_err(Error::engine(id))?;
        } else {
            lab.boot()?;
            lab.finish()?;
        }
        if lab.record.stopped {
            lab.record.stopped = false;
            lab.record.save(&lab.dir)?;
        }
        if started == Started::New {
            // A diary that cannot be written is no reason not to practise.
            let _ = Progress::started(home, &lab.record.scenario);
        }
        home.set_active(id)?;
        Ok((lab, started))
    }

    /// Puts a lab back to its start. Grades and hints taken stay on record.
    ///
    /// # Errors
    /// When the new lab cannot be made (the old one stays then) or its node does not start.
    pub fn reset(home: &Home, plan: &Plan<'_>) -> Result<Self, Error> {
        let id = plan.id();
        let _lock = LabLock::take(home, id)?;
        recover(home, id)?;
        let dir = home.lab(id);
        let before = match Record::load(&dir) {
            Ok(record) => Some(record),
            // A damaged record is what a reset is for.
            Err(Error::Damaged { .. }) => Record::rescue(&dir),
            Err(error) => return Err(error),
        };
        let record = build(home, plan, before)?;
        let mut lab = Self {
            home: home.clone(),
            dir,
            record,
        };
        lab.boot()?;
        lab.finish()?;
        home.set_active(id)?;
        Ok(lab)
    }

    /// Stops the node process; the lab stays and can be started again.
    ///
    /// # Errors
    /// When the process does not end.
    pub fn stop(&mut self) -> Result<bool, Error> {
        let _lock = LabLock::take(&self.home, &self.record.lab)?;
        recover(&self.home, &self.record.lab)?;
        self.reload()?;
        let ran = stop(&self.record.lab, &self.dir)?;
        self.record.stopped = true;
        self.record.save(&self.dir)?;
        Ok(ran)
    }

    /// Stops the node process and removes the lab with everything in it.
    ///
    /// # Errors
    /// When the process does not end or files cannot be removed.
    pub fn remove(self) -> Result<(), Error> {
        let id = self.record.lab.clone();
        let _lock = LabLock::take(&self.home, &id)?;
        recover(&self.home, &id)?;
        stop(&id, &self.dir)?;
        let old = old_dir(&self.home, &id);
        remove_dir(&old)?;
        fs::rename(&self.dir, &old).map_err(Error::io(at("move", &self.dir)))?;
        self.home.clear_active(&id);
        remove_dir(&old)
    }

    /// Stops the lab and deletes what its node runs on; gives the name of that. The lab stays on record.
    ///
    /// # Errors
    /// When the engine has nothing to delete, or it cannot be deleted.
    pub fn delete_node(&mut self) -> Result<String, Error> {
        self.stop()?;
        let _lock = LabLock::take(&self.home, &self.record.lab)?;
        let engine = self.record.engine;
        engine.delete(&self.dir).map_err(Error::engine(self.id()))
    }

    /// Makes sure the node process runs: it is started again where it is gone. Says whether it was.
    ///
    /// # Errors
    /// When the user stopped the lab, or the node does not start.
    pub fn ensure_running(&mut self) -> Result<bool, Error> {
        if self.record.stopped {
            return Err(Error::Stopped(self.record.lab.clone()));
        }
        if self.record.unfinished {
            return Err(Error::Unfinished(self.record.lab.clone()));
        }
        if self.is_running() {
            let id = &self.record.lab;
            let engine = self.record.engine;
            engine
                .settle_fresh(id, &self.dir)
                .map_err(Error::engine(id))?;
            return Ok(false);
        }
        let _lock = LabLock::take(&self.home, &self.record.lab)?;
        self.reload()?;
        if self.record.stopped {
            return Err(Error::Stopped(self.record.lab.clone()));
        }
        // Another command may have been faster.
        if self.is_running() {
            return Ok(false);
        }
        self.boot()?;
        Ok(true)
    }

    /// Starts the node and waits for the first settled truth.
    fn boot(&self) -> Result<(), Error> {
        let (id, engine) = (self.id(), self.record.engine);
        {
            // A lab that is being made must not choose the same port.
            let _ports = LabLock::take(&self.home, PORTS)?;
            engine
                .claim(&self.dir, &dirs(&self.home))
                .map_err(Error::engine(id))?;
        }
        engine.start(id, &self.dir).map_err(Error::engine(id))
    }

    /// Plays what is left of the setup on the running node.
    fn finish(&mut self) -> Result<(), Error> {
        if !self.record.unfinished {
            return Ok(());
        }
        let id = &self.record.lab;
        let baseline = self
            .scenario()?
            .finish_setup(&*self.node()?, self.baseline()?)
            .map_err(|error| {
                // Half a lab must not look like one.
                let _ = stop(id, &self.dir);
                not_set_up(id, error)
            })?;
        save_baseline(&self.dir, &baseline)?;
        let engine = self.record.engine;
        engine.settle(id, &self.dir).map_err(Error::engine(id))?;
        self.record.unfinished = false;
        self.record.save(&self.dir)
    }

    fn reload(&mut self) -> Result<(), Error> {
        self.record = Record::load(&self.dir)?;
        Ok(())
    }

    /// Changes the record, seen by no other command in between.
    ///
    /// # Errors
    /// When the record cannot be read or written.
    pub fn update(&mut self, change: impl FnOnce(&mut Record)) -> Result<(), Error> {
        let _lock = LabLock::take(&self.home, &self.record.lab)?;
        self.reload()?;
        change(&mut self.record);
        self.record.save(&self.dir)
    }

    /// Adds a grade to the record.
    ///
    /// # Errors
    /// When the record cannot be written.
    pub fn add_grade(&mut self, score: f64, max: f64, passed: bool) -> Result<(), Error> {
        let grade = Grade {
            at: Timestamp::now(),
            score,
            max,
            passed,
        };
        self.update(|record| record.add_grade(grade.clone()))?;
        // The lab's record has it; the diary may be lost.
        let _ = Progress::graded(&self.home, &self.record.scenario, &grade);
        Ok(())
    }

    /// The lab's node.
    ///
    /// # Errors
    /// When what is kept of it cannot be read.
    pub fn node(&self) -> Result<Box<dyn LabNode>, Error> {
        let engine = self.record.engine;
        engine.open(&self.dir).map_err(Error::engine(self.id()))
    }

    /// Whether its node runs.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.record.engine.is_running(&self.dir)
    }

    /// Whether its node is gone for good: it can only be made anew.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.record.engine.is_lost(&self.dir)
    }

    /// The lab's scenario, for its seed.
    ///
    /// # Errors
    /// When the scenario is gone or wrong by now.
    pub fn scenario(&self) -> Result<Resolved, Error> {
        let scenario = Scenario::find(&self.record.scenario, self.record.scenarios.as_deref())?;
        Ok(scenario.resolve(self.record.seed)?)
    }

    /// The node as it was at the start.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn baseline(&self) -> Result<Baseline, Error> {
        let path = self.dir.join("records").join(BASELINE);
        let bytes = fs::read(&path).map_err(Error::io(at("read", &path)))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::Damaged {
            lab: self.record.lab.clone(),
            reason: format!("records/{BASELINE}: {error}"),
        })
    }

    /// What is known of the lab.
    #[must_use]
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.record.lab
    }

    /// Its directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The home it belongs to.
    #[must_use]
    pub fn home(&self) -> &Home {
        &self.home
    }
}

/// The first option in which an existing lab differs from what is asked for.
fn differs(record: &Record, plan: &Plan<'_>, dir: &Path) -> Option<Error> {
    let differs = |option, value: String| {
        Some(Error::Differs {
            lab: record.lab.clone(),
            option,
            value,
        })
    };
    if plan.seed.is_some_and(|seed| seed != record.seed) {
        return differs("seed", record.seed.to_string());
    }
    if plan.engine.is_some_and(|engine| engine != record.engine) {
        return differs("engine", record.engine.name().to_owned());
    }
    if plan.pace.is_some_and(|pace| pace != record.pace) {
        let value = match record.pace {
            Pace::Real => "real",
            Pace::Fast => "fast",
        };
        return differs("pace", value.to_owned());
    }
    if let Some((option, value)) = record.engine.differs(dir, &plan.wishes) {
        return differs(option, value);
    }
    None
}

/// The lock under which what nodes need of this machine is chosen; no lab can have this name.
const PORTS: &str = ".ports";

/// The directories of all labs.
fn dirs(home: &Home) -> Vec<PathBuf> {
    home.ids().iter().map(|id| home.lab(id)).collect()
}

/// The engine of the lab in a directory, also where its record is damaged.
fn engine_of(dir: &Path) -> Engine {
    Record::load(dir).map_or(Engine::Embedded, |record| record.engine)
}

fn stop(lab: &str, dir: &Path) -> Result<bool, Error> {
    engine_of(dir).stop(dir).map_err(Error::engine(lab))
}

fn new_dir(home: &Home, id: &str) -> PathBuf {
    home.labs().join(format!(".new-{id}"))
}

fn old_dir(home: &Home, id: &str) -> PathBuf {
    home.labs().join(format!(".old-{id}"))
}

fn leftover(home: &Home, id: &str) -> bool {
    new_dir(home, id).exists() || old_dir(home, id).exists()
}

/// Clears up after a command that was killed. The lock of the lab is held.
fn recover(home: &Home, id: &str) -> Result<(), Error> {
    let (dir, new, old) = (home.lab(id), new_dir(home, id), old_dir(home, id));
    if !dir.join("lab.json").exists() {
        // The record is written last: a new lab that has one is whole.
        if new.join("lab.json").exists() {
            remove_dir(&dir)?;
            fs::rename(&new, &dir).map_err(Error::io(at("move", &new)))?;
        }
    }
    remove_dir(&new)?;
    if old.exists() {
        // Files are not taken from under a process that runs.
        stop(id, &old)?;
        remove_dir(&old)?;
    }
    Ok(())
}

/// Builds a new lab and puts it in the place of the old one, whose process is stopped.
fn build(home: &Home, plan: &Plan<'_>, before: Option<Record>) -> Result<Record, Error> {
    let id = plan.id();
    let dir = home.lab(id);
    let new = new_dir(home, id);
    let built = fill(home, &new, plan, before);
    let record = match built {
        Ok(record) => record,
        Err(error) => {
            let _ = remove_dir(&new);
            return Err(error);
        }
    };
    if dir.exists() {
        stop(id, &dir)?;
    }
    replace(&new, &dir, &old_dir(home, id))?;
    Ok(record)
}

fn fill(home: &Home, new: &Path, plan: &Plan<'_>, before: Option<Record>) -> Result<Record, Error> {
    let id = plan.id();
    private_dir(new).map_err(Error::io(at("make directory", new)))?;
    let records = new.join("records");
    private_dir(&records).map_err(Error::io(at("make directory", &records)))?;
    let engine = plan
        .engine
        .or(before.as_ref().map(|record| record.engine))
        .unwrap_or(plan.default_engine);
    let pace = plan
        .pace
        .or(before.as_ref().map(|record| record.pace))
        .unwrap_or(plan.default_pace);
    let seed = plan
        .seed
        .or(before.as_ref().map(|record| record.seed))
        .unwrap_or_else(|| u64::from(rand::random::<u32>()));
    if let Some(reason) = plan.scenario.definition.not_on.get(engine.name()) {
        return Err(Error::NotOn {
            scenario: id.to_owned(),
            engine: engine.name(),
            reason: reason.clone(),
        });
    }
    let node = {
        let _ports = LabLock::take(home, PORTS)?;
        let old = home.lab(id);
        let order = Order {
            lab: id,
            pace,
            replaces: before.is_some().then_some(old.as_path()),
            others: &dirs(home),
            wishes: &plan.wishes,
        };
        engine.create(new, &order).map_err(Error::engine(id))?
    };
    let versions = &plan.scenario.definition.kubernetes;
    if let Some(version) = node.kubernetes()
        && !versions.is_empty()
        && !versions.iter().any(|minor| is_minor(&version, minor))
    {
        let difference = minor(&version).and_then(difference);
        tell(&format!(
            "the node runs Kubernetes {version}; this exercise is written for {}{}",
            versions.join(", "),
            difference.map_or_else(String::new, |text| format!(" ({text})"))
        ));
    }
    let resolved = plan.scenario.resolve(seed)?;
    let baseline = resolved
        .apply_setup(&*node)
        .map_err(|error| not_set_up(id, error))?;
    save_baseline(new, &baseline)?;
    let record = Record {
        format: FORMAT,
        lab: id.to_owned(),
        scenario: id.to_owned(),
        engine,
        scenarios: plan.scenarios.map(Path::to_path_buf),
        seed,
        pace,
        started: Timestamp::now(),
        stopped: false,
        unfinished: resolved.needs_running_node(),
        hints: before.as_ref().map_or(0, |record| record.hints),
        solution_shown: before.as_ref().is_some_and(|record| record.solution_shown),
        resets: before
            .as_ref()
            .map_or(0, |record| record.resets + u32::from(!record.unfinished)),
        grades: before.map(|record| record.grades).unwrap_or_default(),
    };
    record.save(new)?;
    Ok(record)
}

/// Why a scenario was not set up: something of this machine, or of the scenario.
fn not_set_up(scenario: &str, error: SetupError) -> Error {
    match error {
        SetupError::Node(NodeError::Unreachable { reason, hint }) => {
            Error::Missing { reason, hint }
        }
        error => Error::Setup {
            scenario: scenario.to_owned(),
            reason: error.to_string(),
        },
    }
}

/// Whether `v1.36.1` is a `1.36`.
fn is_minor(version: &str, minor: &str) -> bool {
    let rest = version.trim_start_matches('v').strip_prefix(minor);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '-', '+']))
}

fn save_baseline(dir: &Path, baseline: &Baseline) -> Result<(), Error> {
    let path = dir.join("records").join(BASELINE);
    let text = serde_json::to_vec(baseline)
        .map_err(|error| Error::io(at("write", &path))(error.into()))?;
    write_private(&path, &text).map_err(Error::io(at("write", &path)))
}

/// Puts `new` in the place of `dir`.
fn replace(new: &Path, dir: &Path, old: &Path) -> Result<(), Error> {
    if !dir.exists() {
        return fs::rename(new, dir).map_err(Error::io(at("move", new)));
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        // At once, where the file system can: then there is no moment without a lab.
        if renameat_with(CWD, new, CWD, dir, RenameFlags::EXCHANGE).is_ok() {
            // What is at `new` now is the old lab: half removed, it must not pass for a new one.
            let _ = fs::remove_file(new.join("lab.json"));
            return remove_dir(new);
        }
    }
    remove_dir(old)?;
    fs::rename(dir, old).map_err(Error::io(at("move", dir)))?;
    fs::rename(new, dir).map_err(Error::io(at("move", new)))?;
    remove_dir(old)
}

/// Removes a directory of a lab, whatever modes a learner gave to things in it.
fn remove_dir(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(_) => {}
    }
    engine_of(dir)
        .remove(dir)
        .map_err(Error::io(at("remove", dir)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_of_a_minor_one() {
        for (version, minor, is) in [
            ("v1.36.1", "1.36", true),
            ("v1.36.0-rc.1", "1.36", true),
            ("v1.36", "1.36", true),
            ("v1.36.1", "1.3", false),
            ("v1.37.0", "1.36", false),
        ] {
            assert_eq!(is_minor(version, minor), is, "{version} {minor}");
        }
    }
}
