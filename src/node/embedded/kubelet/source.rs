//! Where static pods come from: the files of the manifests directory
//! (`pkg/kubelet/config/file.go`, `file_linux.go`).

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use rustix::io::Errno;

use super::journal::Journal;
use crate::manifest::{MAX_BYTES, StaticPod};
use crate::node::embedded::confine::Confined;
use crate::node::embedded::process::go_error_text;
use crate::node::embedded::snapshot::MANIFESTS;

/// A pod and the file it came from.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub pod: Arc<StaticPod>,
    pub path: String,
}

/// The pods of the manifests directory, by namespace and name: of two files with one pod name the
/// one read last counts.
#[derive(Debug, Default)]
pub(super) struct FileSource {
    store: BTreeMap<String, Found>,
    keys: BTreeMap<String, String>,
    /// Whether some file could not be read as a pod when it was last looked at through an event,
    /// or two files claim one pod: the next scan will change something.
    pub unsettled: bool,
}

impl FileSource {
    /// Takes notice of a file that was written or removed. `Some` is the new set of pods.
    pub fn event(
        &mut self,
        node: &Confined,
        node_name: &str,
        file: &str,
        removed: bool,
        journal: &mut Journal,
    ) -> Option<Vec<Found>> {
        if file.starts_with('.') {
            return None;
        }
        let path = format!("{MANIFESTS}/{file}");
        let complain = |journal: &mut Journal, text: String| {
            journal.error(
                "file.go:108",
                "Unable to process watch event",
                &[("err", &text)],
            );
        };
        if removed {
            let key = self.keys.remove(&path)?;
            if self.store.remove(&key).is_none() {
                complain(
                    journal,
                    format!("the pod with key {key} doesn't exist in cache"),
                );
                return None;
            }
            self.unsettled = self.unsettled || self.keys.values().any(|k| *k == key);
            return Some(self.pods());
        }
        match self.extract(node, node_name, &path) {
            Ok(found) => {
                let key = found.pod.full_name();
                let shared = self.keys.iter().any(|(p, k)| *k == key && *p != path);
                self.unsettled = self.unsettled || shared;
                self.keys.insert(path, key.clone());
                // A pod renamed in its file: the old one stays in the store until the next scan.
                self.store.insert(key, found);
                self.unsettled = self.unsettled || self.store.len() > self.keys.len();
                Some(self.pods())
            }
            Err(text) => {
                complain(
                    journal,
                    format!("can't process config file \"{path}\": {text}"),
                );
                self.unsettled = true;
                None
            }
        }
    }

    /// The periodic scan. The pods found replace everything known.
    pub fn scan(
        &mut self,
        node: &Confined,
        node_name: &str,
        journal: &mut Journal,
    ) -> Option<Vec<Found>> {
        let complain = |journal: &mut Journal, text: &str| {
            journal.error(
                "file.go:95",
                "Unable to read config path",
                &[("err", text), ("path", MANIFESTS)],
            );
        };
        self.unsettled = false;
        let metadata = match node.metadata(MANIFESTS) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                complain(journal, "path does not exist, ignoring");
                return Some(Vec::new());
            }
            Err(error) => {
                complain(
                    journal,
                    &format!("stat {MANIFESTS}: {}", go_error_text(&error)),
                );
                return None;
            }
        };
        let names = if metadata.is_dir() {
            match node.list(MANIFESTS) {
                Ok(names) => names,
                Err(error) => {
                    let text = format!("open {MANIFESTS}: {}", go_error_text(&error));
                    complain(journal, &text);
                    return None;
                }
            }
        } else if metadata.is_file() {
            Vec::new()
        } else {
            complain(journal, "path is not a directory or file");
            return None;
        };
        let mut found = Vec::new();
        for name in names.iter().filter(|name| !name.starts_with('.')) {
            let path = format!("{MANIFESTS}/{name}");
            if let Some(pod) = self.scan_file(node, node_name, &path, journal) {
                found.push(pod);
            }
        }
        if metadata.is_file() {
            found.extend(self.scan_file(node, node_name, MANIFESTS, journal));
        }
        if found.is_empty() {
            // As in the real source: the store keeps what it had, the pods are gone all the same.
            return Some(Vec::new());
        }
        self.store.clear();
        for pod in found {
            self.store.insert(pod.pod.full_name(), pod);
        }
        Some(self.pods())
    }

    fn scan_file(
        &mut self,
        node: &Confined,
        node_name: &str,
        path: &str,
        journal: &mut Journal,
    ) -> Option<Found> {
        let metadata = match node.metadata(path) {
            Ok(metadata) => metadata,
            Err(error) => {
                let text = format!("stat {path}: {}", go_error_text(&error));
                let values = [("err", text.as_str()), ("path", path)];
                journal.error("file.go:170", "Could not get metadata", &values);
                return None;
            }
        };
        if metadata.is_dir() {
            let text = "Provided manifest path is a directory, not recursing into manifest path";
            journal.error("file.go:178", text, &[("path", path)]);
            return None;
        }
        if !metadata.is_file() {
            let text = "Manifest path is not a directory or file";
            journal.error("file.go:193", text, &[("path", path)]);
            return None;
        }
        match self.extract(node, node_name, path) {
            Ok(found) => {
                self.keys.insert(path.to_owned(), found.pod.full_name());
                Some(found)
            }
            Err(text) => {
                let values = [("err", text.as_str()), ("path", path)];
                journal.error("file.go:187", "Could not process manifest file", &values);
                None
            }
        }
    }

    fn extract(&self, node: &Confined, node_name: &str, path: &str) -> Result<Found, String> {
        let bytes =
            node.read(path, MAX_BYTES)
                .map_err(|error| match Errno::from_io_error(&error) {
                    Some(Errno::FBIG) => "the read limit is reached".to_owned(),
                    Some(Errno::ISDIR) => format!("read {path}: is a directory"),
                    _ => format!("open {path}: {}", go_error_text(&error)),
                })?;
        let pod = StaticPod::parse(path, &bytes, node_name).map_err(|error| error.to_string())?;
        Ok(Found {
            pod: Arc::new(pod),
            path: path.to_owned(),
        })
    }

    fn pods(&self) -> Vec<Found> {
        self.store.values().cloned().collect()
    }
}
