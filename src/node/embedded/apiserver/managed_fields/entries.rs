//! `metadata.managedFields` (`k8s.io/apimachinery/pkg/util/managedfields/internal/managedfields.go`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::path::Set;

/// Who manages fields; the api version is part of it for updates only.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Manager {
    pub(super) name: String,
    pub(super) applies: bool,
    pub(super) api_version: String,
    pub(super) subresource: String,
}

impl Manager {
    /// As conflicts show it.
    pub(super) fn shown(&self) -> String {
        let mut text = format!("{:?}", self.name);
        if !self.subresource.is_empty() {
            text = format!("{text} with subresource {:?}", self.subresource);
        }
        if !self.applies {
            text = format!("{text} using {}", self.api_version);
        }
        text
    }

    /// The text by which Go sorts managers.
    pub(super) fn identifier(&self) -> String {
        let mut map = Map::new();
        map.insert("manager".into(), self.name.clone().into());
        map.insert("operation".into(), self.operation().into());
        if !self.api_version.is_empty() {
            map.insert("apiVersion".into(), self.api_version.clone().into());
        }
        if !self.subresource.is_empty() {
            map.insert("subresource".into(), self.subresource.clone().into());
        }
        Value::Object(map).to_string()
    }

    fn operation(&self) -> &'static str {
        if self.applies { "Apply" } else { "Update" }
    }
}

/// What a manager manages.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) set: Set,
    pub(super) api_version: String,
    pub(super) time: Option<String>,
}

/// All managers of an object.
#[derive(Debug, Clone, Default)]
pub(super) struct Managed(BTreeMap<Manager, Entry>);

impl Managed {
    /// Reads `managedFields`; `None` when an entry is malformed.
    pub(super) fn decode(fields: Option<&Value>) -> Option<Self> {
        let mut managed = Self::default();
        let Some(list) = fields.and_then(Value::as_array) else {
            return Some(managed);
        };
        for entry in list {
            let text = |field: &str| entry.get(field).and_then(Value::as_str).unwrap_or("");
            let applies = match text("operation") {
                "Apply" => true,
                "Update" => false,
                _ => return None,
            };
            let api_version = text("apiVersion");
            if api_version.is_empty() || text("fieldsType") != "FieldsV1" {
                return None;
            }
            let set = match entry.get("fieldsV1") {
                Some(fields) if !fields.is_null() => Set::decode(fields)?,
                _ => Set::default(),
            };
            managed.0.insert(
                Manager {
                    name: text("manager").to_owned(),
                    applies,
                    api_version: if applies {
                        String::new()
                    } else {
                        api_version.to_owned()
                    },
                    subresource: text("subresource").to_owned(),
                },
                Entry {
                    set,
                    api_version: api_version.to_owned(),
                    time: entry.get("time").and_then(Value::as_str).map(str::to_owned),
                },
            );
        }
        Some(managed)
    }

    /// `managedFields`, sorted.
    pub(super) fn encode(&self) -> Vec<Value> {
        let mut all: Vec<(&Manager, &Entry)> = self.0.iter().collect();
        all.sort_by(|(a, x), (b, y)| {
            b.applies
                .cmp(&a.applies)
                .then_with(|| x.time.cmp(&y.time))
                .then_with(|| a.name.cmp(&b.name))
                .then_with(|| x.api_version.cmp(&y.api_version))
                .then_with(|| a.subresource.cmp(&b.subresource))
        });
        all.into_iter()
            .map(|(manager, entry)| {
                let mut out = Map::new();
                if !manager.name.is_empty() {
                    out.insert("manager".into(), manager.name.clone().into());
                }
                out.insert("operation".into(), manager.operation().into());
                out.insert("apiVersion".into(), entry.api_version.clone().into());
                if let Some(time) = &entry.time {
                    out.insert("time".into(), time.clone().into());
                }
                out.insert("fieldsType".into(), "FieldsV1".into());
                out.insert("fieldsV1".into(), entry.set.encode());
                if !manager.subresource.is_empty() {
                    out.insert("subresource".into(), manager.subresource.clone().into());
                }
                Value::Object(out)
            })
            .collect()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn get(&self, manager: &Manager) -> Option<&Entry> {
        self.0.get(manager)
    }

    pub(super) fn get_mut(&mut self, manager: &Manager) -> Option<&mut Entry> {
        self.0.get_mut(manager)
    }

    pub(super) fn insert(&mut self, manager: Manager, entry: Entry) {
        self.0.insert(manager, entry);
    }

    pub(super) fn remove(&mut self, manager: &Manager) -> Option<Entry> {
        self.0.remove(manager)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Manager, &Entry)> {
        self.0.iter()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.0.values()
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Manager, &mut Entry) -> bool) {
        self.0.retain(|manager, entry| keep(manager, entry));
    }

    /// Joins the oldest updaters when there are more than `most` (`capmanagers.go`).
    pub(super) fn cap(&mut self, most: usize, joined: &str) {
        let mut updaters: Vec<(Option<String>, Manager)> = self
            .0
            .iter()
            .filter(|(manager, _)| !manager.applies)
            .map(|(manager, entry)| (entry.time.clone(), manager.clone()))
            .collect();
        let mut left = updaters.len();
        if left <= most {
            return;
        }
        updaters.sort_by(|a, b| {
            a.0.cmp(&b.0)
                .then_with(|| a.1.identifier().cmp(&b.1.identifier()))
        });
        let mut first: BTreeMap<String, Manager> = BTreeMap::new();
        for (time, manager) in updaters {
            if left <= most {
                break;
            }
            let Some(version) = self.0.get(&manager).map(|e| e.api_version.clone()) else {
                continue;
            };
            let Some(oldest) = first.get(&version) else {
                first.insert(version, manager);
                continue;
            };
            let bucket = Manager {
                name: joined.to_owned(),
                applies: false,
                api_version: version.clone(),
                subresource: String::new(),
            };
            if !self.0.contains_key(&bucket)
                && let Some(entry) = self.0.remove(oldest)
            {
                self.0.insert(bucket.clone(), entry);
            }
            if let Some(entry) = self.0.remove(&manager)
                && let Some(slot) = self.0.get_mut(&bucket)
            {
                slot.set = slot.set.union(&entry.set);
                slot.time = time;
            }
            left -= 1;
        }
    }
}
