//! Putting a scenario on a node, and playing the steps of an attempt.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::attempt::Attempt;
use super::definition::{Step, UnchangedCheck, WaitFor};
use super::manifest_text;
use super::resolved::Resolved;
use crate::node::{ContainerPhase, Node, NodeError, NodeFile};

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
    /// Puts the scenario on a fresh node. Works on files and [`Node::seed_objects`] only, so the node
    /// need not run yet.
    ///
    /// # Errors
    /// When the node refuses, or a step does not fit it.
    pub fn apply_setup(&self, node: &dyn Node) -> Result<Baseline, SetupError> {
        let manifest = text_of(node, MANIFEST)?.unwrap_or_default();
        play(node, &self.definition.setup, WAIT)?;
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
        }
        Ok(baseline)
    }
}

/// How long an attempt waits for the node in one step.
const WAIT: Duration = Duration::from_secs(90);

impl Attempt {
    /// Plays the attempt on a lab's node.
    ///
    /// # Errors
    /// When the node refuses, a step does not fit it, or what is waited for does not happen.
    pub fn play(&self, node: &dyn Node) -> Result<(), SetupError> {
        play(node, &self.file.steps, WAIT)
    }
}

fn play(node: &dyn Node, steps: &[Step], wait: Duration) -> Result<(), SetupError> {
    for (index, step) in steps.iter().enumerate() {
        let wrong = |message: String| SetupError::Step {
            step: index + 1,
            message,
        };
        if let Some(file) = &step.write {
            let mode = octal(&file.mode).map_err(wrong)?;
            node.write(&file.path, file.content.as_bytes(), mode)?;
        }
        if let Some(file) = &step.append {
            let mut content = bytes_of(node, &file.path)?.unwrap_or_default();
            content.extend_from_slice(file.content.as_bytes());
            let mode = octal(&file.mode).map_err(wrong)?;
            node.write(&file.path, &content, mode)?;
        }
        if let Some(target) = &step.remove {
            node.remove(&target.path)?;
        }
        if let Some(directory) = &step.mkdir {
            node.create_dir(&directory.path, octal(&directory.mode).map_err(wrong)?)?;
        }
        if let Some(copy) = &step.copy {
            let content = bytes_of(node, &copy.from)?
                .ok_or_else(|| wrong(format!("`{}` is not there", copy.from)))?;
            node.write(&copy.to, &content, 0o600)?;
        }
        if let Some(replace) = &step.replace {
            let text = text_of(node, &replace.path)?
                .ok_or_else(|| wrong(format!("`{}` is not there", replace.path)))?;
            if !text.contains(&replace.find) {
                return Err(wrong(format!(
                    "`{}` is not in `{}`",
                    replace.find, replace.path
                )));
            }
            let text = text.replacen(&replace.find, &replace.with, 1);
            node.write(&replace.path, text.as_bytes(), 0o600)?;
        }
        if let Some(edit) = &step.manifest {
            let text = text_of(node, MANIFEST)?
                .ok_or_else(|| wrong(format!("`{MANIFEST}` is not there")))?;
            let text = manifest_text::edit(&text, edit).map_err(wrong)?;
            node.write(MANIFEST, text.as_bytes(), 0o600)?;
        }
        if let Some(objects) = &step.objects {
            node.seed_objects(objects)?;
        }
        if step.restart == Some(true) {
            let content = bytes_of(node, MANIFEST)?
                .ok_or_else(|| wrong(format!("`{MANIFEST}` is not there")))?;
            node.remove(MANIFEST)?;
            wait_for(node, WaitFor::Down, wait).map_err(wrong)?;
            node.write(MANIFEST, &content, 0o600)?;
        }
        if let Some(what) = step.wait {
            wait_for(node, what, wait).map_err(wrong)?;
        }
    }
    Ok(())
}

/// Waits for the node, looking often: the states waited for are reached within fractions of a
/// second at fast pace.
fn wait_for(node: &dyn Node, what: WaitFor, limit: Duration) -> Result<(), String> {
    let start = Instant::now();
    loop {
        let state = node.api_server().map_err(|error| error.to_string())?;
        let reached = match what {
            WaitFor::Settled => !state.converging,
            WaitFor::Ready => !state.converging && state.ready,
            WaitFor::Down => {
                !state.converging && !state.ready && state.state != ContainerPhase::Running
            }
        };
        if reached {
            return Ok(());
        }
        if start.elapsed() > limit {
            return Err(format!(
                "waited {} s, but the API server is {:?} (ready: {}, {})",
                limit.as_secs(),
                state.state,
                state.ready,
                state.message.or(state.reason).unwrap_or_default()
            ));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn octal(mode: &str) -> Result<u32, String> {
    u32::from_str_radix(mode, 8)
        .ok()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| format!("`{mode}` is no octal file mode"))
}

fn bytes_of(node: &dyn Node, path: &str) -> Result<Option<Vec<u8>>, NodeError> {
    Ok(match node.read(path)? {
        NodeFile::File { content, .. } => Some(content),
        _ => None,
    })
}

fn text_of(node: &dyn Node, path: &str) -> Result<Option<String>, NodeError> {
    Ok(bytes_of(node, path)?.map(|content| String::from_utf8_lossy(&content).into_owned()))
}
