//! `lab.json`: what ckslab knows of a started scenario.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::home::write_private;
use super::{Error, at};
use crate::node::engine::{Engine, Pace};

/// Format of `lab.json` that this ckslab writes.
pub const FORMAT: u32 = 1;

/// Where a second copy of the record is, within the lab's directory.
const COPY: &str = "records/lab.json";

/// A started scenario.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Format of this file.
    pub format: u32,
    /// Id of the lab.
    pub lab: String,
    /// Id of the scenario.
    pub scenario: String,
    /// What provides its node.
    pub engine: Engine,
    /// Directory the scenario came from; none for an embedded one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scenarios: Option<PathBuf>,
    /// Seed of the scenario's variables.
    pub seed: u64,
    /// Pace of the node.
    pub pace: Pace,
    /// When it was started (or reset).
    pub started: Timestamp,
    /// Whether the user stopped it.
    #[serde(default)]
    pub stopped: bool,
    /// Whether the setup was not played to its end yet: the lab is not ready for a learner.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unfinished: bool,
    /// Rungs of the hint ladder taken so far.
    #[serde(default)]
    pub hints: usize,
    /// Whether the solution was shown.
    #[serde(default)]
    pub solution_shown: bool,
    /// Times the lab was put back to its start.
    #[serde(default)]
    pub resets: u32,
    /// Grades so far, oldest first.
    #[serde(default)]
    pub grades: Vec<Grade>,
}

/// One grade of a lab.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Grade {
    /// When.
    pub at: Timestamp,
    /// Points.
    pub score: f64,
    /// Points there are.
    pub max: f64,
    /// Whether it passed.
    pub passed: bool,
}

/// Grades that are kept.
const GRADES: usize = 100;

impl Record {
    /// Adds a grade. Of very many the oldest go, but never the best one.
    pub fn add_grade(&mut self, grade: Grade) {
        self.grades.push(grade);
        while self.grades.len() > GRADES {
            let share = |grade: &Grade| (grade.passed, grade.score / grade.max.max(f64::EPSILON));
            let best = self
                .grades
                .iter()
                .map(share)
                .fold((false, 0.0), |a, b| if b > a { b } else { a });
            let first_best = self.grades.iter().position(|grade| share(grade) == best);
            self.grades.remove(usize::from(first_best == Some(0)));
        }
    }

    /// Reads the record of the lab in `dir`.
    ///
    /// # Errors
    /// When there is none, or it is not understood.
    pub fn load(dir: &Path) -> Result<Self, Error> {
        let id = dir
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let path = dir.join("lab.json");
        let bytes = std::fs::read(&path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => Error::Unknown(id.clone()),
            _ => Error::io(at("read", &path))(error),
        })?;
        let damaged = |reason: String| Error::Damaged {
            lab: id.clone(),
            reason,
        };
        // The format is looked at first: a newer one may have other fields.
        let value: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        let format = value.get("format").and_then(serde_json::Value::as_u64);
        match format.and_then(|format| u32::try_from(format).ok()) {
            Some(format) if format > FORMAT => Err(Error::Newer { lab: id, format }),
            Some(_) => serde_json::from_value(value).map_err(|error| damaged(error.to_string())),
            None => Err(damaged("it has no `format`".to_owned())),
        }
    }

    /// The record from its copy, for when `lab.json` is damaged.
    #[must_use]
    pub fn rescue(dir: &Path) -> Option<Self> {
        let bytes = std::fs::read(dir.join(COPY)).ok()?;
        let record: Self = serde_json::from_slice(&bytes).ok()?;
        let id = dir.file_name()?.to_str()?;
        (record.format == FORMAT && record.lab == id).then_some(record)
    }

    /// Writes the record; at any moment the file is the old or the new one. A copy goes to `records`.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join("lab.json");
        let mut text = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::io(at("write", &path))(error.into()))?;
        text.push(b'\n');
        write_private(&path, &text).map_err(Error::io(at("write", &path)))?;
        let copy = dir.join(COPY);
        if copy.parent().is_some_and(Path::is_dir) {
            write_private(&copy, &text).map_err(Error::io(at("write", &copy)))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            format: FORMAT,
            lab: "sandbox".to_owned(),
            scenario: "sandbox".to_owned(),
            engine: Engine::Embedded,
            scenarios: None,
            seed: 1,
            pace: Pace::Fast,
            started: Timestamp::UNIX_EPOCH,
            stopped: false,
            unfinished: false,
            hints: 0,
            solution_shown: false,
            resets: 0,
            grades: Vec::new(),
        }
    }

    #[test]
    fn comes_back_as_it_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let mut saved = record();
        saved.grades.push(Grade {
            at: Timestamp::UNIX_EPOCH,
            score: 3.0,
            max: 10.0,
            passed: false,
        });
        saved.save(dir.path()).unwrap();
        assert_eq!(Record::load(dir.path()).unwrap(), saved);
    }

    #[test]
    fn grades_are_bounded_and_the_best_one_stays() {
        let mut record = record();
        for number in 0..1000_u32 {
            record.add_grade(Grade {
                at: Timestamp::UNIX_EPOCH,
                score: if number == 0 {
                    10.0
                } else {
                    f64::from(number % 7)
                },
                max: 10.0,
                passed: number == 0,
            });
        }
        assert_eq!(record.grades.len(), GRADES);
        assert!(record.grades[0].passed);
        assert_eq!(record.grades[GRADES - 1].score, f64::from(999 % 7));
    }

    #[test]
    fn a_damaged_record_comes_back_from_its_copy() {
        let dir = tempfile::tempdir().unwrap();
        let lab = dir.path().join("sandbox");
        std::fs::create_dir_all(lab.join("records")).unwrap();
        let saved = record();
        saved.save(&lab).unwrap();
        std::fs::write(lab.join("lab.json"), "{").unwrap();
        assert!(Record::load(&lab).is_err());
        assert_eq!(Record::rescue(&lab), Some(saved));
        std::fs::write(lab.join(COPY), "{").unwrap();
        assert_eq!(Record::rescue(&lab), None);
    }

    #[test]
    fn damage_and_newer_formats_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let lab = dir.path().join("audit-01");
        std::fs::create_dir(&lab).unwrap();
        let mut seen = Vec::new();
        for content in [
            None,
            Some(""),
            Some("{}"),
            Some("{\"format\": 99, \"other\": true}"),
            Some("{\"format\": 1}"),
        ] {
            if let Some(content) = content {
                std::fs::write(lab.join("lab.json"), content).unwrap();
            }
            seen.push(Record::load(&lab).unwrap_err().to_string());
        }
        assert_eq!(
            seen,
            [
                "no lab `audit-01` is started",
                "the record of lab `audit-01` is damaged: EOF while parsing a value at line 1 column 0",
                "the record of lab `audit-01` is damaged: it has no `format`",
                "lab `audit-01` was made by a newer ckslab (format 99)",
                "the record of lab `audit-01` is damaged: missing field `lab`",
            ]
        );
    }
}
