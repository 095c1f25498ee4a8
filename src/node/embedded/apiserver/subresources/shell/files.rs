//! The files a container sees: what its image and its mounts have, and over it what was written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;

use crate::node::embedded::containers::{Entry, SharedLayer};

/// Directories every image has.
const ROOT: [&str; 17] = [
    "bin", "dev", "etc", "home", "lib", "media", "mnt", "opt", "proc", "root", "run", "sbin",
    "srv", "sys", "tmp", "usr", "var",
];

/// The file system of a container.
#[derive(Default)]
pub(super) struct Files {
    base: BTreeMap<String, Vec<u8>>,
    layer: SharedLayer,
}

/// Why something cannot be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NoDirectory,
    IsDirectory,
    NoSpace,
}

impl Refusal {
    /// What the C library says.
    pub(super) fn text(&self) -> &'static str {
        match self {
            Self::NoDirectory => "No such file or directory",
            Self::IsDirectory => "Is a directory",
            Self::NoSpace => "No space left on device",
        }
    }
}

impl Files {
    /// Over what was written in the container.
    pub(super) fn new(layer: SharedLayer) -> Self {
        Self {
            base: BTreeMap::new(),
            layer,
        }
    }

    /// Adds a file of the image or of a mount.
    pub(super) fn mount(&mut self, path: impl Into<String>, content: impl Into<Vec<u8>>) {
        self.base.insert(path.into(), content.into());
    }

    /// The content of a file.
    pub(super) fn read(&self, path: &str) -> Option<Vec<u8>> {
        if path == "/dev/null" {
            return Some(Vec::new());
        }
        let layer = self.layer.lock().unwrap_or_else(PoisonError::into_inner);
        match layer.get(path) {
            Some(Entry::File(content)) => Some(content.clone()),
            Some(_) => None,
            None => self.base.get(path).cloned(),
        }
    }

    /// Writes a file; its directory must be there.
    pub(super) fn write(&mut self, path: &str, content: Vec<u8>) -> Result<(), Refusal> {
        if path == "/dev/null" {
            return Ok(());
        }
        if self.is_directory(path) {
            return Err(Refusal::IsDirectory);
        }
        if !self.is_directory(parent(path)) {
            return Err(Refusal::NoDirectory);
        }
        self.put(path, Entry::File(content))
    }

    /// Makes a directory, and those above it.
    pub(super) fn make_directory(&mut self, path: &str) -> Result<(), Refusal> {
        if self.is_directory(path) {
            return Ok(());
        }
        self.make_directory(parent(path))?;
        self.put(path, Entry::Directory)
    }

    /// Removes a file, or a directory with what is in it; whether there was one.
    pub(super) fn remove(&mut self, path: &str) -> bool {
        let below = format!("{}/", path.trim_end_matches('/'));
        let all: Vec<String> = self
            .paths()
            .into_iter()
            .filter(|own| own == path || own.starts_with(&below))
            .collect();
        for path in &all {
            let _ = self.put(path, Entry::Removed);
        }
        !all.is_empty()
    }

    fn put(&mut self, path: &str, entry: Entry) -> Result<(), Refusal> {
        let mut layer = self.layer.lock().unwrap_or_else(PoisonError::into_inner);
        if layer.put(path, entry) {
            Ok(())
        } else {
            Err(Refusal::NoSpace)
        }
    }

    /// Every path that has a file or a made directory, in order.
    pub(super) fn paths(&self) -> BTreeSet<String> {
        let layer = self.layer.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all: BTreeSet<String> = self.base.keys().cloned().collect();
        for (path, entry) in layer.entries() {
            if *entry == Entry::Removed {
                all.remove(path);
            } else {
                all.insert(path.clone());
            }
        }
        all
    }

    /// Whether there is a directory.
    pub(super) fn is_directory(&self, path: &str) -> bool {
        if path == "/" || ROOT.iter().any(|name| path.strip_prefix('/') == Some(name)) {
            return true;
        }
        let layer = self.layer.lock().unwrap_or_else(PoisonError::into_inner);
        match layer.get(path) {
            Some(Entry::Directory) => return true,
            Some(Entry::File(_)) => return false,
            _ => {}
        }
        drop(layer);
        let below = format!("{path}/");
        self.paths().iter().any(|own| own.starts_with(&below))
    }

    /// Names directly in a directory; `None` when there is none.
    pub(super) fn names(&self, path: &str) -> Option<Vec<String>> {
        if !self.is_directory(path) {
            return None;
        }
        let prefix = if path == "/" {
            "/".to_owned()
        } else {
            format!("{path}/")
        };
        let mut names: Vec<String> = self
            .paths()
            .iter()
            .filter_map(|file| file.strip_prefix(&prefix))
            .filter_map(|rest| rest.split('/').next())
            .map(str::to_owned)
            .collect();
        if path == "/" {
            names.extend(ROOT.iter().map(|name| (*name).to_owned()));
        }
        names.sort();
        names.dedup();
        Some(names)
    }
}

/// The directory a path is in.
fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        None | Some(("", _)) => "/",
        Some((parent, _)) => parent,
    }
}
