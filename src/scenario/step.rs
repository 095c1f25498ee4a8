//! The vocabulary of setups and attempts: what can be done to a node, as data.
//!
//! Every word is carried out through [`crate::node::Node`], so it means the same on every engine and
//! cannot reach anything but the node. What a setup breaks is said with the same words as what an
//! attempt repairs.
//!
//! | word | what it does |
//! |---|---|
//! | `write`, `append`, `replace` | the content of a file |
//! | `mkdir`, `copy`, `rename`, `remove`, `symlink`, `chmod` | files and directories |
//! | `answers` | answers the scenario's questions, rightly but for some: [`WriteAnswers`] |
//! | `manifest` | edits a static pod's manifest as a person would: [`ManifestEdit`] |
//! | `objects`, `patch_objects`, `delete_objects` | objects of the cluster |
//! | `requests` | requests really sent: what they leave in a log is real |
//! | `sink` | a receiver for the audit webhook on the node |
//! | `kubelet` | stops or starts the kubelet |
//! | `restart`, `wait` | the API server is started anew; waits for the node |
//!
//! `requests`, `kubelet`, `restart` and `wait` need a node that runs. A setup that has one of them is
//! played on the running node from there on: journals and logs then have a past that really happened.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::answer::WriteAnswers;
use super::manifest_edit::ManifestEdit;
use super::request::{ProbeRequest, ProbeUser};

/// A change of the node: exactly one of the actions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Whether it is done for this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Writes a file; a file that is there is replaced, as most editors do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub write: Option<WriteFile>,
    /// Adds text to the end of a file, in place, as `>>` of a shell does; makes the file where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append: Option<WriteFile>,
    /// Removes a file, link or directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove: Option<PathOnly>,
    /// Makes a directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mkdir: Option<MakeDir>,
    /// Copies a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub copy: Option<CopyFile>,
    /// Renames a file, link or directory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename: Option<CopyFile>,
    /// Makes a symbolic link. Its target is a path of the node, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symlink: Option<Symlink>,
    /// Sets permission bits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chmod: Option<Chmod>,
    /// Replaces text in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replace: Option<ReplaceText>,
    /// Writes the answers to the scenario's questions: right ones, but for those that are given here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answers: Option<WriteAnswers>,
    /// Edits the manifest of a static pod, in one write.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<ManifestEdit>,
    /// Creates objects in the cluster, or replaces those of the same name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<Value>>,
    /// Changes objects: each is named by `apiVersion`, `kind` and `metadata`, and merged with the rest
    /// of what is written (a JSON merge patch).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub patch_objects: Option<Vec<Value>>,
    /// Deletes objects, named by `apiVersion`, `kind` and `metadata`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete_objects: Option<Vec<Value>>,
    /// Sends requests to the running API server, one after the other. They are really carried out and
    /// recorded as the policy of the moment says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<Requests>,
    /// Runs a receiver for the API server's audit webhook on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sink: Option<RunSink>,
    /// Stops or starts the kubelet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubelet: Option<KubeletAction>,
    /// Moves the manifest of the API server away and back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<bool>,
    /// Waits for the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<WaitFor>,
}

impl Step {
    /// The names of the actions that are set; a right step has exactly one.
    #[must_use]
    pub fn actions(&self) -> Vec<&'static str> {
        [
            ("write", self.write.is_some()),
            ("append", self.append.is_some()),
            ("remove", self.remove.is_some()),
            ("mkdir", self.mkdir.is_some()),
            ("copy", self.copy.is_some()),
            ("rename", self.rename.is_some()),
            ("symlink", self.symlink.is_some()),
            ("chmod", self.chmod.is_some()),
            ("replace", self.replace.is_some()),
            ("answers", self.answers.is_some()),
            ("manifest", self.manifest.is_some()),
            ("objects", self.objects.is_some()),
            ("patch_objects", self.patch_objects.is_some()),
            ("delete_objects", self.delete_objects.is_some()),
            ("requests", self.requests.is_some()),
            ("sink", self.sink.is_some()),
            ("kubelet", self.kubelet.is_some()),
            ("restart", self.restart.is_some()),
            ("wait", self.wait.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, set)| set.then_some(name))
        .collect()
    }

    /// Whether it needs a node that runs.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.requests.is_some()
            || self.kubelet.is_some()
            || self.restart.is_some()
            || self.wait.is_some()
    }

    /// Paths on the node that it names.
    #[must_use]
    pub fn paths(&self) -> Vec<&str> {
        let mut paths = Vec::new();
        paths.extend(self.write.iter().map(|file| &file.path));
        paths.extend(self.append.iter().map(|file| &file.path));
        paths.extend(self.remove.iter().map(|target| &target.path));
        paths.extend(self.mkdir.iter().map(|directory| &directory.path));
        for copy in self.copy.iter().chain(&self.rename) {
            paths.extend([&copy.from, &copy.to]);
        }
        paths.extend(self.symlink.iter().map(|link| &link.path));
        paths.extend(self.chmod.iter().map(|chmod| &chmod.path));
        paths.extend(self.replace.iter().map(|replace| &replace.path));
        if let Some(sink) = &self.sink {
            paths.extend([&sink.entries, &sink.ca]);
        }
        paths.extend(self.manifest.iter().filter_map(|edit| edit.path.as_ref()));
        paths.into_iter().map(String::as_str).collect()
    }
}

/// What happens to the kubelet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum KubeletAction {
    /// `systemctl stop kubelet`: containers go on, manifests are not looked at any more.
    Stop,
    /// `systemctl start kubelet`.
    Start,
}

impl KubeletAction {
    /// The verb of `systemctl`.
    #[must_use]
    pub fn verb(self) -> &'static str {
        match self {
            KubeletAction::Stop => "stop",
            KubeletAction::Start => "start",
        }
    }
}

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WaitFor {
    /// The kubelet has acted on the manifests.
    Settled,
    /// The API server is ready.
    Ready,
    /// No API server runs.
    Down,
}

/// Requests of one user.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Requests {
    /// Who asks; without it the cluster's administrator.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub user: Option<ProbeUser>,
    /// The `User-Agent` header.
    #[serde(default = "kubectl")]
    pub user_agent: String,
    /// The requests; one that is refused by the API server is part of the past as well.
    pub send: Vec<ProbeRequest>,
}

fn kubectl() -> String {
    "kubectl/v1.36.2 (linux/amd64) kubernetes/0000000".to_owned()
}

/// A receiver for the API server's audit webhook: HTTPS on 127.0.0.1 of the node, with an authority of its own. It runs
/// as long as the lab does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RunSink {
    /// Its port, from 1024 on.
    pub port: u16,
    /// Path of its URL; posts to other paths get 404.
    #[serde(default = "slash")]
    pub url_path: String,
    /// The file of the node that gets what is posted, one event a line: checks of kind `log` and `probes`
    /// name it as their `path`.
    pub entries: String,
    /// Where the certificate of its authority is written, on the node.
    pub ca: String,
}

fn slash() -> String {
    "/".to_owned()
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteFile {
    /// Path on the node.
    pub path: String,
    /// Its text.
    pub content: String,
    /// Permission bits, octal.
    #[serde(default = "plain_mode")]
    pub mode: String,
}

fn plain_mode() -> String {
    "0644".to_owned()
}

fn directory_mode() -> String {
    "0755".to_owned()
}

/// A path on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PathOnly {
    /// Path on the node.
    pub path: String,
}

/// A directory to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MakeDir {
    /// Path on the node.
    pub path: String,
    /// Permission bits, octal.
    #[serde(default = "directory_mode")]
    pub mode: String,
}

/// A file to copy or rename.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CopyFile {
    /// Path on the node.
    pub from: String,
    /// Path on the node.
    pub to: String,
}

/// A symbolic link to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Symlink {
    /// Path of the link on the node.
    pub path: String,
    /// Where it leads, on the node.
    pub target: String,
}

/// Permission bits to set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Chmod {
    /// Path on the node.
    pub path: String,
    /// Permission bits, octal.
    pub mode: String,
}

/// Text to replace in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceText {
    /// Path on the node.
    pub path: String,
    /// The text to find; it must be there.
    pub find: String,
    /// What takes its place.
    pub with: String,
}
