//! Syncs of a pod by its worker (`pkg/kubelet/kubelet.go`, `SyncPod`): what is said at each of
//! them, and the mirror pod that is brought in line.

use std::fmt;
use std::time::Duration;

use super::state::{Kubelet, Phase, Step};
use crate::node::embedded::machine::Machine;

/// How often mirror pods of static pods that are gone are looked at (`housekeepingPeriod`).
const HOUSEKEEPING: Duration = Duration::from_secs(2);

/// What a kubelet that is registered sees of the API server.
pub trait ApiView: Send + Sync {
    /// Whether it answers.
    fn serving(&self) -> bool;
    /// The mirror pod of this namespace and name.
    fn mirror(&self, namespace: &str, name: &str) -> Option<Mirror>;
}

impl fmt::Debug for dyn ApiView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiView")
    }
}

/// A mirror pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// UID of the static pod it mirrors.
    pub hash: String,
    /// Its own UID.
    pub uid: String,
}

impl ApiView for Machine {
    fn serving(&self) -> bool {
        self.api.borrow().is_some()
    }

    fn mirror(&self, namespace: &str, name: &str) -> Option<Mirror> {
        let stored = self
            .store
            .get(&format!("/registry/core/pods/{namespace}/{name}"))?;
        let text = |pointer: &str| {
            let value = stored.value.pointer(pointer)?.as_str()?;
            Some(value.to_owned())
        };
        Some(Mirror {
            hash: text("/metadata/annotations/kubernetes.io~1config.mirror")?,
            uid: text("/metadata/uid")?,
        })
    }
}

impl Kubelet {
    /// Learns of mirror pods as a watch of the API server tells of them.
    pub(super) fn learn_mirrors(&mut self) {
        let Some(api) = self.setting.api.clone().filter(|api| api.serving()) else {
            return;
        };
        for pod in &self.pods {
            let full_name = pod.spec.full_name();
            if self.mirrored.contains_key(&full_name) {
                continue;
            }
            if let Some(mirror) = api.mirror(&pod.spec.namespace, &pod.spec.name) {
                self.mirrored.insert(full_name, mirror.hash);
            }
        }
    }

    /// What a sync says about a pod that is being run.
    pub(super) fn synced(&mut self, index: usize) {
        self.mirror(index);
        let Some(pod) = self.pods.get(index) else {
            return;
        };
        let spec = pod.spec.clone();
        let steps: Vec<Step> = pod.work.iter().map(|w| w.step.clone()).collect();
        for (container, step) in spec.all_containers().zip(steps) {
            match step {
                Step::BackOff { expiry, text, .. } => {
                    self.look_at_back_off(index, container, expiry, &text);
                }
                Step::PullBackOff { text, .. } => self.still_not_pulled(&spec, container, &text),
                Step::Hopeless { reason, text } => {
                    self.image_refused(&spec, container, reason, &text);
                    self.wake_after(&spec.uid, &[Duration::from_secs(12)]);
                }
                _ => {}
            }
        }
    }

    /// `tryReconcileMirrorPods`. A kubelet on its own asks at every sync for a mirror pod that it
    /// cannot make.
    fn mirror(&mut self, index: usize) {
        let Some(pod) = self.pods.get(index) else {
            return;
        };
        let spec = pod.spec.clone();
        let full_name = spec.full_name();
        let values = [("pod", full_name.as_str())];
        let creating = "Creating a mirror pod for static pod";
        let Some(api) = self.setting.api.clone() else {
            self.journal.info("kubelet.go:3514", creating, &values);
            return;
        };
        let serving = api.serving();
        let there = api.mirror(&spec.namespace, &spec.name);
        let known = match self.mirrored.get(&full_name) {
            Some(known) => Some(known.clone()),
            None if serving => there.as_ref().map(|mirror| mirror.hash.clone()),
            None => None,
        };
        if known.as_deref() == Some(spec.uid.as_str()) {
            self.mirrored.insert(full_name, spec.uid.clone());
            return;
        }
        if known.is_some() {
            let uid = there.map(|mirror| mirror.uid).unwrap_or_default();
            self.journal.info(
                "kubelet.go:3497",
                "Trying to delete pod",
                &[("pod", &full_name), ("podUID", &uid)],
            );
            if !serving {
                self.mirror_stays(&spec.namespace, &spec.name);
                return;
            }
            self.journal.info(
                "kubelet.go:3503",
                "Deleted mirror pod as it didn't match the static Pod",
                &values,
            );
        }
        if serving {
            self.journal.info("kubelet.go:3514", creating, &values);
            self.mirrored.insert(full_name, spec.uid.clone());
        }
    }

    fn mirror_stays(&mut self, namespace: &str, name: &str) {
        let server = format!("{}:6443", self.setting.node_ip);
        let error = format!(
            "Delete \"https://{server}/api/v1/namespaces/{namespace}/pods/{name}\": dial tcp {server}: connect: connection refused"
        );
        let full_name = format!("{namespace}/{name}");
        self.journal.error(
            "mirror_client.go:139",
            "Failed deleting a mirror pod",
            &[("err", &error), ("pod", &full_name)],
        );
    }

    /// Mirror pods whose static pods are gone.
    pub(super) fn housekeep(&mut self) {
        let now = self.now.at;
        let Some(api) = self.setting.api.clone() else {
            return;
        };
        if now < self.housekeeping {
            return;
        }
        let orphans = self.orphans();
        if orphans.is_empty() {
            return;
        }
        self.housekeeping = now + HOUSEKEEPING;
        for full_name in orphans {
            if api.serving() {
                self.mirrored.remove(&full_name);
            } else if let Some((namespace, name)) = full_name.split_once('/') {
                let (namespace, name) = (namespace.to_owned(), name.to_owned());
                self.mirror_stays(&namespace, &name);
            }
        }
    }

    fn orphans(&self) -> Vec<String> {
        let lives = |full_name: &str| {
            self.pods.iter().any(|pod| {
                pod.spec.full_name() == full_name && !matches!(pod.phase, Phase::Terminated { .. })
            })
        };
        let known = self.mirrored.keys();
        known.filter(|name| !lives(name)).cloned().collect()
    }

    /// When mirror pods are looked at next; `None` while there is nothing to look for.
    pub(super) fn housekeeping_deadline(&self) -> Option<Duration> {
        let wanted = self.setting.api.is_some() && !self.orphans().is_empty();
        wanted.then_some(self.housekeeping)
    }
}
