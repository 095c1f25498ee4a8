//! What a learner has done so far, scenario by scenario: `HOME/progress/ID.json`.
//!
//! A lab's own record goes with the lab; this one stays, so that `ckslab list` and `ckslab next` know
//! what was failed and what was never seen. It is a diary and nothing depends on it: a file that is
//! damaged, huge or of a newer ckslab counts as none, and is replaced by the next start or grade.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::home::{is_id, private_dir, write_private};
use super::lock::LabLock;
use super::record::{Grade, Record};
use super::{Error, Home, at};

/// Format that this ckslab writes.
const FORMAT: u32 = 1;
/// A larger file is none of ours.
const LARGEST: u64 = 64 << 10;

/// What was done with one scenario.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// Format of the file.
    format: u32,
    /// Labs made of it, resets included.
    #[serde(default)]
    pub starts: u32,
    /// Grades.
    #[serde(default)]
    pub grades: u32,
    /// Grades that passed.
    #[serde(default)]
    pub passes: u32,
    /// The best grade in percent.
    #[serde(default)]
    pub best_percent: Option<f64>,
    /// When it was graded the last time.
    #[serde(default)]
    pub last: Option<Timestamp>,
}

/// How far a learner is with a scenario.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// Never started.
    New,
    /// Started and never graded.
    Started,
    /// Graded and never passed.
    Failed,
    /// Passed at least once.
    Passed,
}

impl Stage {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Stage::New => "new",
            Stage::Started => "started",
            Stage::Failed => "failed",
            Stage::Passed => "passed",
        }
    }
}

impl Progress {
    /// What is known of a scenario; nothing where nothing is, or what there is cannot be understood.
    #[must_use]
    pub fn load(home: &Home, scenario: &str) -> Self {
        Self::read(home, scenario).unwrap_or_default()
    }

    fn read(home: &Home, scenario: &str) -> Option<Self> {
        let path = path(home, scenario)?;
        // No FIFO may keep a list waiting.
        if !std::fs::metadata(&path).ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        std::fs::File::open(path)
            .ok()?
            .take(LARGEST)
            .read_to_end(&mut bytes)
            .ok()?;
        let progress: Self = serde_json::from_slice(&bytes).ok()?;
        (progress.format == FORMAT).then_some(progress)
    }

    /// What is known of every one of these scenarios, by id.
    #[must_use]
    pub fn of_all<'a>(
        home: &Home,
        scenarios: impl IntoIterator<Item = &'a str>,
    ) -> BTreeMap<String, Self> {
        scenarios
            .into_iter()
            .map(|id| {
                let record = Record::load(&home.lab(id))
                    .ok()
                    .or_else(|| Record::rescue(&home.lab(id)));
                let known = Self::load(home, id).with(record.as_ref());
                (id.to_owned(), known)
            })
            .collect()
    }

    /// With what the record of a lab says: labs may be older than this diary, or it may be lost.
    #[must_use]
    pub fn with(mut self, record: Option<&Record>) -> Self {
        let Some(record) = record else {
            return self;
        };
        self.starts = self.starts.max(1);
        let number = u32::try_from(record.grades.len()).unwrap_or(u32::MAX);
        let passed = record.grades.iter().filter(|grade| grade.passed).count();
        self.grades = self.grades.max(number);
        self.passes = self.passes.max(u32::try_from(passed).unwrap_or(u32::MAX));
        for grade in &record.grades {
            self.note(grade);
        }
        self
    }

    fn note(&mut self, grade: &Grade) {
        if grade.max > 0.0 {
            let percent = (grade.score / grade.max * 1000.0).round() / 10.0;
            self.best_percent = Some(self.best_percent.map_or(percent, |best| best.max(percent)));
        }
        self.last = self.last.max(Some(grade.at));
    }

    /// How far that is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        if self.passes > 0 {
            Stage::Passed
        } else if self.grades > 0 {
            Stage::Failed
        } else if self.starts > 0 {
            Stage::Started
        } else {
            Stage::New
        }
    }

    /// Notes that a lab was made of a scenario.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn started(home: &Home, scenario: &str) -> Result<(), Error> {
        Self::update(home, scenario, |progress| {
            progress.starts = progress.starts.saturating_add(1);
        })
    }

    /// Notes a grade.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn graded(home: &Home, scenario: &str, grade: &Grade) -> Result<(), Error> {
        Self::update(home, scenario, |progress| {
            progress.starts = progress.starts.max(1);
            progress.grades = progress.grades.saturating_add(1);
            progress.passes = progress.passes.saturating_add(u32::from(grade.passed));
            progress.note(grade);
        })
    }

    fn update(home: &Home, scenario: &str, change: impl FnOnce(&mut Self)) -> Result<(), Error> {
        let Some(path) = path(home, scenario) else {
            return Ok(());
        };
        let _lock = LabLock::take(home, ".progress")?;
        let mut progress = Self::load(home, scenario);
        progress.format = FORMAT;
        change(&mut progress);
        let failed = |error| Error::io(at("write", &path))(error);
        if let Some(parent) = path.parent() {
            private_dir(parent).map_err(failed)?;
        }
        let mut text = serde_json::to_vec(&progress).map_err(|error| failed(error.into()))?;
        text.push(b'\n');
        write_private(&path, &text).map_err(failed)
    }
}

fn path(home: &Home, scenario: &str) -> Option<PathBuf> {
    let file = home.dir().join("progress").join(format!("{scenario}.json"));
    is_id(scenario).then_some(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grade(score: f64, passed: bool) -> Grade {
        Grade {
            at: Timestamp::UNIX_EPOCH,
            score,
            max: 100.0,
            passed,
        }
    }

    #[test]
    fn a_scenario_goes_from_new_to_passed_and_stays_there() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let stage = || Progress::load(&home, "audit-01").stage();
        assert_eq!(stage(), Stage::New);
        Progress::started(&home, "audit-01").unwrap();
        assert_eq!(stage(), Stage::Started);
        Progress::graded(&home, "audit-01", &grade(40.0, false)).unwrap();
        assert_eq!(stage(), Stage::Failed);
        Progress::graded(&home, "audit-01", &grade(100.0, true)).unwrap();
        Progress::graded(&home, "audit-01", &grade(20.0, false)).unwrap();
        assert_eq!(stage(), Stage::Passed);
        let known = Progress::load(&home, "audit-01");
        assert_eq!((known.grades, known.passes), (3, 1));
        assert_eq!(known.best_percent, Some(100.0));
        assert_eq!(Progress::load(&home, "audit-02").stage(), Stage::New);
    }

    #[test]
    fn damage_counts_as_nothing_and_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        let path = dir.path().join("progress/audit-01.json");
        Progress::started(&home, "audit-01").unwrap();
        for damage in [
            "",
            "{",
            "[]",
            "{\"format\": 2, \"starts\": 3}",
            "{\"format\": 1, \"starts\": -1}",
            &format!("{{\"format\": 1, \"x\": \"{}\"}}", "x".repeat(100_000)),
        ] {
            std::fs::write(&path, damage).unwrap();
            assert_eq!(Progress::load(&home, "audit-01").stage(), Stage::New);
        }
        Progress::started(&home, "audit-01").unwrap();
        assert_eq!(Progress::load(&home, "audit-01").stage(), Stage::Started);
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        assert_eq!(Progress::load(&home, "audit-01").stage(), Stage::New);
        // Names that lead elsewhere are none.
        Progress::started(&home, "../../x").unwrap();
        assert!(!dir.path().join("../x.json").exists());
    }
}
