//! What containers of pods that are not static keep while they "run": files that were written in them, and that
//! their process was told to end. Nothing of it reaches the host's files.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::broadcast;

/// Most containers whose files are kept; of others the files are as in the image again.
const CONTAINERS: usize = 64;
/// Most bytes the files of a container have.
const SPACE: usize = 16 << 20;
/// Most files of a container.
const FILES: usize = 4096;
/// Ends that wait to be heard of.
const EXITS: usize = 64;

/// A file or directory that was made in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A file and its content.
    File(Vec<u8>),
    /// A directory.
    Directory,
    /// What the image has here was removed.
    Removed,
}

/// The writable layer of a container, by absolute path.
#[derive(Debug, Default)]
pub struct Layer {
    entries: BTreeMap<String, Entry>,
    bytes: usize,
}

/// The end of a container's process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// UID of the pod.
    pub pod: String,
    /// Name of the container.
    pub container: String,
    /// Exit code.
    pub code: i32,
}

/// A container's layer as everybody in the container shares it.
pub type SharedLayer = Arc<Mutex<Layer>>;

/// The containers of a node that somebody did something in.
pub struct Containers {
    layers: Mutex<VecDeque<(String, SharedLayer)>>,
    exits: broadcast::Sender<Exit>,
}

impl Default for Containers {
    fn default() -> Self {
        Self {
            layers: Mutex::default(),
            exits: broadcast::Sender::new(EXITS),
        }
    }
}

impl Containers {
    /// The writable layer of the container with this id.
    pub fn layer(&self, id: &str) -> SharedLayer {
        let mut layers = self.layers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, layer)) = layers.iter().find(|(own, _)| own == id) {
            return layer.clone();
        }
        let layer = SharedLayer::default();
        layers.push_back((id.to_owned(), layer.clone()));
        if layers.len() > CONTAINERS {
            layers.pop_front();
        }
        layer
    }

    /// Says that the process of a container ended.
    pub fn exit(&self, pod: &str, container: &str, code: i32) {
        // Nobody listens when the node goes down.
        let _ = self.exits.send(Exit {
            pod: pod.to_owned(),
            container: container.to_owned(),
            code,
        });
    }

    /// Hears of ends from now on.
    pub fn exits(&self) -> broadcast::Receiver<Exit> {
        self.exits.subscribe()
    }
}

impl Layer {
    /// What is at a path, if it was made, changed or removed in the container.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Entry> {
        self.entries.get(path)
    }

    /// Everything that was made, changed or removed.
    pub fn entries(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.entries.iter()
    }

    /// Puts something at a path; `false` when there is no space left.
    pub fn put(&mut self, path: &str, entry: Entry) -> bool {
        let size = |entry: Option<&Entry>| match entry {
            Some(Entry::File(content)) => content.len(),
            _ => 0,
        };
        let bytes = self.bytes - size(self.entries.get(path)) + size(Some(&entry));
        if bytes > SPACE || self.entries.len() >= FILES && !self.entries.contains_key(path) {
            return false;
        }
        self.bytes = bytes;
        self.entries.insert(path.to_owned(), entry);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_has_so_much_space() {
        let containers = Containers::default();
        let layer = containers.layer("a");
        let mut layer = layer.lock().unwrap();
        assert!(layer.put("/a", Entry::File(vec![0; SPACE])));
        assert!(!layer.put("/b", Entry::File(vec![0])));
        assert!(layer.put("/a", Entry::Removed));
        assert!(layer.put("/b", Entry::File(vec![0])));
        drop(layer);
        assert!(containers.layer("a").lock().unwrap().get("/b").is_some());
    }

    #[test]
    fn files_of_the_oldest_container_are_forgotten() {
        let containers = Containers::default();
        let first = containers.layer("first");
        first.lock().unwrap().put("/a", Entry::Directory);
        for number in 0..CONTAINERS {
            containers.layer(&number.to_string());
        }
        assert!(
            containers
                .layer("first")
                .lock()
                .unwrap()
                .get("/a")
                .is_none()
        );
    }
}
