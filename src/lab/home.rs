//! Where ckslab keeps everything: `$CKSLAB_HOME`, or the XDG directories.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use etcetera::BaseStrategy;

use super::{Error, at};

/// The directories of one user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    state: PathBuf,
    config: PathBuf,
}

impl Home {
    /// From the environment. Nothing is made yet.
    ///
    /// # Errors
    /// When neither `CKSLAB_HOME` nor a home directory is known, or `CKSLAB_HOME` is not absolute
    /// and the current directory is gone.
    pub fn find() -> Result<Self, Error> {
        if let Some(home) = std::env::var_os("CKSLAB_HOME").filter(|home| !home.is_empty()) {
            let home = std::path::absolute(PathBuf::from(home))
                .map_err(|error| Error::NoHome(error.to_string()))?;
            return Ok(Self::at(&home));
        }
        let strategy =
            etcetera::choose_base_strategy().map_err(|error| Error::NoHome(error.to_string()))?;
        let state = strategy
            .state_dir()
            .unwrap_or_else(|| strategy.data_dir())
            .join("ckslab");
        Ok(Self {
            state,
            config: strategy.config_dir().join("ckslab/config.toml"),
        })
    }

    /// Everything below one directory.
    #[must_use]
    pub fn at(dir: &Path) -> Self {
        Self {
            state: dir.to_path_buf(),
            config: dir.join("config.toml"),
        }
    }

    /// The directory that holds everything.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.state
    }

    /// The configuration file.
    #[must_use]
    pub fn config_file(&self) -> &Path {
        &self.config
    }

    /// The directory of labs.
    #[must_use]
    pub fn labs(&self) -> PathBuf {
        self.state.join("labs")
    }

    /// The directory of one lab.
    #[must_use]
    pub fn lab(&self, id: &str) -> PathBuf {
        self.labs().join(id)
    }

    /// Makes the directories, for this user only. Those that are there stay as they are: they may be
    /// somebody's home, or `/tmp`.
    ///
    /// # Errors
    /// When they cannot be made, or those below belong to somebody else.
    pub fn ensure(&self) -> Result<(), Error> {
        private_dir(&self.state).map_err(Error::io(at("make directory", &self.state)))?;
        for dir in [self.labs(), self.locks()] {
            private_dir(&dir)
                .and_then(|()| own_dir(&dir))
                .map_err(Error::io(at("make directory", &dir)))?;
        }
        Ok(())
    }

    pub(super) fn locks(&self) -> PathBuf {
        self.state.join("locks")
    }

    /// Ids of the labs there are, sorted. What is being built or removed (leading dot) is none.
    #[must_use]
    pub fn ids(&self) -> Vec<String> {
        let Ok(entries) = fs::read_dir(self.labs()) else {
            return Vec::new();
        };
        let mut ids: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().join("lab.json").is_file())
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| !name.starts_with('.'))
            .collect();
        ids.sort_unstable();
        ids
    }

    /// The active lab, if it is still there.
    #[must_use]
    pub fn active(&self) -> Option<String> {
        let id = fs::read_to_string(self.state.join("active")).ok()?;
        let id = id.trim().to_owned();
        (is_id(&id) && self.lab(&id).join("lab.json").is_file()).then_some(id)
    }

    /// Makes a lab the active one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn set_active(&self, id: &str) -> Result<(), Error> {
        let path = self.state.join("active");
        write_private(&path, format!("{id}\n").as_bytes()).map_err(Error::io(at("write", &path)))
    }

    /// Forgets the active lab, if it is this one.
    pub fn clear_active(&self, id: &str) {
        if self.active().is_none_or(|active| active == id) {
            let _ = fs::remove_file(self.state.join("active"));
        }
    }
}

/// Whether this can be the id of a scenario or lab: no path, no surprise.
#[must_use]
pub fn is_id(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= 64
        && !text.starts_with(['-', '.'])
        && text
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Makes a directory and its parents, for their owner only. One that is there is not touched.
pub(super) fn private_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
}

/// Refuses a directory that somebody else could change what is in.
fn own_dir(dir: &Path) -> io::Result<()> {
    let metadata = fs::metadata(dir)?;
    let mine = metadata.uid() == rustix::process::geteuid().as_raw();
    if mine && metadata.mode() & 0o022 == 0 {
        return Ok(());
    }
    let what = if mine {
        "other users may write to it"
    } else {
        "it belongs to another user"
    };
    Err(io::Error::new(io::ErrorKind::PermissionDenied, what))
}

/// Writes a whole file (0600) that is either the old or the new one at any moment, also after a
/// crash of the machine.
pub(super) fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    // A killed process of the same number may have left one.
    let _ = fs::remove_file(&temporary);
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_data()?;
            fs::rename(&temporary, path)
        });
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_plain_names() {
        for good in ["audit-01", "sandbox", "my-lab-2"] {
            assert!(is_id(good), "{good}");
        }
        for bad in [
            "", ".", "..", "../x", "a/b", "A", "-x", "a b", ".new-a", "a\n",
        ] {
            assert!(!is_id(bad), "{bad}");
        }
    }

    #[test]
    fn active_lab_must_exist() {
        let dir = tempfile::tempdir().unwrap();
        let home = Home::at(dir.path());
        home.ensure().unwrap();
        home.set_active("sandbox").unwrap();
        assert_eq!(home.active(), None);
        fs::create_dir(home.lab("sandbox")).unwrap();
        fs::write(home.lab("sandbox").join("lab.json"), "{}").unwrap();
        assert_eq!(home.active().as_deref(), Some("sandbox"));
        assert_eq!(home.ids(), ["sandbox"]);
        home.clear_active("other");
        assert_eq!(home.active().as_deref(), Some("sandbox"));
        home.clear_active("sandbox");
        assert_eq!(home.active(), None);
        let mode = fs::metadata(home.labs()).unwrap().mode();
        assert_eq!(mode & 0o777, 0o700);
    }

    #[test]
    fn directories_of_others_stay_as_they_are() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
        let chmod = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap()
        };
        // As `/tmp`, and with a `labs` that was there before.
        chmod(dir.path(), 0o1777);
        let home = Home::at(dir.path());
        fs::create_dir(home.labs()).unwrap();
        chmod(&home.labs(), 0o755);
        home.ensure().unwrap();
        assert_eq!(mode(dir.path()), 0o1777);
        assert_eq!(mode(&home.labs()), 0o755);
        assert_eq!(mode(&home.locks()), 0o700);
        // Where anybody could put a lab of his own, there are none.
        chmod(&home.labs(), 0o777);
        let error = home.ensure().unwrap_err().to_string();
        assert!(error.ends_with("other users may write to it"), "{error}");
        assert_eq!(mode(&home.labs()), 0o777);
    }
}
