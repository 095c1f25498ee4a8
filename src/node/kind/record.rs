//! What is kept of clusters (`HOME/kind/CLUSTER/`) and of a lab's part in one (`LAB/state/kind.json`).

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Format of both files.
const FORMAT: u32 = 1;

/// How far the making of a cluster is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// `kind create` was begun; what is there is not whole.
    Creating,
    /// It is whole, and its pristine state is kept.
    Ready,
}

/// A cluster of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRecord {
    /// Format of this file.
    pub format: u32,
    /// How far it is.
    pub phase: Phase,
    /// The image asked for; none where the configuration names it.
    pub image: Option<String>,
    /// The configuration it was made with.
    pub config: String,
    /// The container of the control-plane node.
    pub node: String,
    /// Whether its files and objects may differ from the pristine ones.
    pub used: bool,
    /// The lab that has it, and the token that the lab's own record holds.
    pub owner: Option<Owner>,
}

/// The lab that has a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// Id of the lab.
    pub lab: String,
    /// What its record holds, too.
    pub token: String,
}

impl ClusterRecord {
    /// Of a cluster that is about to be made.
    #[must_use]
    pub fn begun(name: &str, image: Option<String>, config: String) -> Self {
        Self {
            format: FORMAT,
            phase: Phase::Creating,
            image,
            config,
            node: format!("{name}-control-plane"),
            used: false,
            owner: None,
        }
    }
}

/// A lab's part in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabRecord {
    /// Format of this file.
    pub format: u32,
    /// Name of the cluster.
    pub cluster: String,
    /// Matches that of the cluster's owner as long as the lab has it.
    pub token: String,
    /// What the user asked for, for the next time.
    #[serde(default)]
    pub image: Option<String>,
    /// The same.
    #[serde(default)]
    pub kind_config: Option<PathBuf>,
    /// When the lab began, by the node's clock, in seconds since 1970: what its journal says of earlier labs is
    /// none of this one's.
    #[serde(default)]
    pub since: Option<String>,
}

impl LabRecord {
    /// A new one.
    #[must_use]
    pub fn new(cluster: &str, image: Option<String>, kind_config: Option<PathBuf>) -> Self {
        Self {
            format: FORMAT,
            cluster: cluster.to_owned(),
            token: uuid::Uuid::new_v4().to_string(),
            image,
            kind_config,
            since: None,
        }
    }

    /// Reads that of the lab in this directory.
    ///
    /// # Errors
    /// When there is none, or it is not understood.
    pub fn load(lab: &Path) -> io::Result<Self> {
        load(&Self::path(lab))
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, lab: &Path) -> io::Result<()> {
        save(&Self::path(lab), self)
    }

    fn path(lab: &Path) -> PathBuf {
        lab.join("state/kind.json")
    }
}

/// What is kept of one cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Name of the cluster.
    pub name: String,
    dir: PathBuf,
}

impl Place {
    /// Of the cluster of this name. Nothing is made yet.
    #[must_use]
    pub fn new(home: &Path, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            dir: home.join("kind").join(name),
        }
    }

    /// Of the cluster that the lab in this directory is about.
    #[must_use]
    pub fn of_lab(lab: &Path, name: &str) -> Self {
        Self::new(home_of(lab), name)
    }

    /// Makes the directory.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn ensure(&self) -> io::Result<()> {
        use std::os::unix::fs::DirBuilderExt;
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.dir)
    }

    /// A file in it.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// The kubeconfig that kind wrote.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        self.file("kubeconfig")
    }

    /// The record, if there is a cluster of ours.
    ///
    /// # Errors
    /// When it is not understood.
    pub fn load(&self) -> io::Result<Option<ClusterRecord>> {
        match load(&self.file("cluster.json")) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            other => other.map(Some),
        }
    }

    /// Writes the record.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, record: &ClusterRecord) -> io::Result<()> {
        save(&self.file("cluster.json"), record)
    }

    /// Forgets the cluster.
    pub fn forget(&self) {
        for name in [
            "cluster.json",
            "kubeconfig",
            "objects.json",
            "ca.crt",
            "ca.key",
        ] {
            let _ = fs::remove_file(self.file(name));
        }
    }
}

/// The home that a lab's directory is in (`HOME/labs/ID`).
#[must_use]
fn home_of(lab: &Path) -> &Path {
    lab.parent().and_then(Path::parent).unwrap_or(lab)
}

fn load<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    let value: serde_json::Value = serde_json::from_slice(&fs::read(path)?)?;
    let format = value.get("format").and_then(serde_json::Value::as_u64);
    if format.is_some_and(|format| format > u64::from(FORMAT)) {
        return Err(io::Error::other("made by a newer ckslab"));
    }
    serde_json::from_value(value).map_err(io::Error::from)
}

fn save(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec_pretty(value)?;
    text.push(b'\n');
    write_private(path, &text)
}

/// Writes a whole file for this user only; the old or the new one is there at any moment.
///
/// # Errors
/// When it cannot be written.
pub fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut out = tempfile::NamedTempFile::new_in(dir)?;
    out.write_all(content)?;
    out.as_file().sync_data()?;
    out.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_and_newer_ones_are_refused() {
        let home = tempfile::tempdir().unwrap();
        let place = Place::new(home.path(), "ckslab");
        place.ensure().unwrap();
        assert_eq!(place.load().unwrap(), None);
        let record = ClusterRecord::begun("ckslab", Some("a".into()), "{}".into());
        place.save(&record).unwrap();
        assert_eq!(place.load().unwrap(), Some(record));
        fs::write(place.file("cluster.json"), "{\"format\": 2}").unwrap();
        assert_eq!(
            place.load().unwrap_err().to_string(),
            "made by a newer ckslab"
        );
        place.forget();
        assert_eq!(place.load().unwrap(), None);
        let lab = home.path().join("labs/audit-03");
        assert_eq!(Place::of_lab(&lab, "ckslab"), place);
    }
}
