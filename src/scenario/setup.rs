//! Putting a scenario on a node.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::answer::Solution;
use super::definition::UnchangedCheck;
use super::evidence::Evidence;
use super::play::play;
use super::resolved::Resolved;
use crate::node::{Node, NodeError, NodeFile};

/// The directory of static pods.
pub const MANIFESTS: &str = "/etc/kubernetes/manifests";
/// The manifest of the API server.
pub const MANIFEST: &str = "/etc/kubernetes/manifests/kube-apiserver.yaml";

/// What grading must know of the node as it was at the start. Kept outside the node.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Baseline {
    /// The manifest of the API server before the setup, as kubeadm wrote it.
    pub manifest: String,
    /// The same after the setup; the setup may have broken it.
    pub started: String,
    /// The other files in the manifests directory after the setup, by name.
    pub other_manifests: BTreeMap<String, String>,
    /// Files that must stay as they are, after the setup, by path.
    pub files: BTreeMap<String, String>,
    /// The objects of the setup.
    pub objects: Vec<serde_json::Value>,
    /// What `kept` checks must find again, by the check's id.
    #[serde(default)]
    pub evidence: BTreeMap<String, Evidence>,
    /// The solutions of questions to a log, by the check's id.
    #[serde(default)]
    pub answers: BTreeMap<String, Solution>,
}

/// Why a setup or an attempt could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The node said no.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// A step does not fit the node: text to replace that is not there, and the like.
    #[error("step {step}: {message}")]
    Step {
        /// Number of the step, from 1.
        step: usize,
        /// What does not fit.
        message: String,
    },
}

impl Resolved {
    /// How many steps of the setup do without a running node.
    fn still_steps(&self) -> usize {
        let steps = &self.definition.setup;
        steps
            .iter()
            .position(super::step::Step::is_live)
            .unwrap_or(steps.len())
    }

    /// Whether [`Resolved::finish_setup`] has anything to do.
    #[must_use]
    pub fn needs_running_node(&self) -> bool {
        self.still_steps() < self.definition.setup.len()
    }

    /// Puts the scenario on a fresh node, as far as that need not run: files and
    /// [`Node::change_objects`] only.
    ///
    /// # Errors
    /// When the node refuses, or a step does not fit it.
    pub fn apply_setup(&self, node: &dyn Node) -> Result<Baseline, SetupError> {
        let manifest = text_of(node, MANIFEST)?.unwrap_or_default();
        let steps = &self.definition.setup;
        play(node, steps.get(..self.still_steps()).unwrap_or(steps), 1)?;
        self.baseline(node, manifest)
    }

    /// Plays the rest of the setup on the node, which runs by now; gives the baseline anew.
    ///
    /// # Errors
    /// When the node refuses, a step does not fit it, or what is waited for does not happen.
    pub fn finish_setup(&self, node: &dyn Node, before: Baseline) -> Result<Baseline, SetupError> {
        let still = self.still_steps();
        let steps = self.definition.setup.get(still..).unwrap_or_default();
        if steps.is_empty() {
            return Ok(before);
        }
        play(node, steps, still + 1)?;
        self.baseline(node, before.manifest)
    }

    fn baseline(&self, node: &dyn Node, manifest: String) -> Result<Baseline, SetupError> {
        let mut baseline = Baseline {
            manifest,
            started: text_of(node, MANIFEST)?.unwrap_or_default(),
            ..Baseline::default()
        };
        for name in node.list(MANIFESTS)? {
            let path = format!("{MANIFESTS}/{name}");
            if path != MANIFEST
                && let Some(text) = text_of(node, &path)?
            {
                baseline.other_manifests.insert(name, text);
            }
        }
        for check in &self.definition.checks {
            if let Some(kept) = &check.kept
                && let Some(evidence) = Evidence::take(node, kept)?
            {
                baseline.evidence.insert(check.id.clone(), evidence);
            }
            if let Some(answer) = check
                .answer
                .as_ref()
                .filter(|answer| answer.query.is_some())
                && let Ok(solution) = answer.solution(node)?
            {
                baseline.answers.insert(check.id.clone(), solution);
            }
            let Some(UnchangedCheck { files, policy, .. }) = &check.unchanged else {
                continue;
            };
            for path in files.iter().chain(policy) {
                if let Some(text) = text_of(node, path)? {
                    baseline.files.insert(path.clone(), text);
                }
            }
        }
        for step in &self.definition.setup {
            baseline
                .objects
                .extend(step.objects.iter().flatten().cloned());
            // What the setup itself took away again need not be there.
            for gone in step.delete_objects.iter().flatten() {
                baseline.objects.retain(|object| !is_same(object, gone));
            }
        }
        Ok(baseline)
    }
}

/// Whether two objects have the same kind and name.
fn is_same(one: &serde_json::Value, other: &serde_json::Value) -> bool {
    [
        "/apiVersion",
        "/kind",
        "/metadata/namespace",
        "/metadata/name",
    ]
    .iter()
    .all(|field| one.pointer(field) == other.pointer(field))
}

fn text_of(node: &dyn Node, path: &str) -> Result<Option<String>, NodeError> {
    Ok(match node.read(path)? {
        NodeFile::File { content, .. } => Some(String::from_utf8_lossy(&content).into_owned()),
        _ => None,
    })
}
