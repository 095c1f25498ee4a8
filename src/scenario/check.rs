//! The kinds of checks: what a scenario can ask of a node.
//!
//! | kind | what must be true | layers |
//! |---|---|---|
//! | `flag` | a flag is set, has a value, or is not set | manifest, process |
//! | `budget` | the limits of rotation fit a disk and a retention | manifest, process |
//! | `mount`, `sees` | a file of the node reaches the container | manifest; files |
//! | `readable`, `running` | the kubelet accepts the manifest; the API server is up | manifest; process |
//! | `policy` | the policy does what is asked | files |
//! | `mode` | a file or directory has permission bits and an owner | files, log |
//! | `kept` | what was there at the start still is, unchanged | files, log |
//! | `never` | a text is in no file, but in well protected ones | files, log |
//! | `answer` | the learner answered a question | files, log |
//! | `log`, `probes` | entries arrive, as asked | log; entries |
//! | `unchanged` | nothing else was changed | manifest, process |

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::answer::AnswerCheck;
use super::evidence::{BudgetCheck, KeptCheck, ModeCheck, NeverCheck};
pub use super::policy_check::{Compare, PolicyCheck};
use super::quantity::Quantity;

/// Where a check looks.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Layer {
    /// 1: the manifest on disk.
    Manifest,
    /// 2: the API server process that runs.
    Process,
    /// 3: files as that process sees them.
    Files,
    /// 4: the log on the node.
    Log,
    /// 5: fresh entries for the grader's probes.
    Entries,
}

impl Layer {
    /// Its number, 1 to 5.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Layer::Manifest => 1,
            Layer::Process => 2,
            Layer::Files => 3,
            Layer::Log => 4,
            Layer::Entries => 5,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Layer::Manifest => "manifest",
            Layer::Process => "process",
            Layer::Files => "files",
            Layer::Log => "log",
            Layer::Entries => "entries",
        }
    }
}

/// A graded statement: exactly one of the kinds from `flag` on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// Identifier.
    pub id: String,
    /// What must be true, one line.
    pub title: String,
    /// Where it looks.
    pub layer: Layer,
    /// Points.
    #[serde(default)]
    pub points: u32,
    /// Checks that must pass first; otherwise this one is blocked. What is true in an untouched lab
    /// earns points only this way.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub requires: Vec<String>,
    /// Whether the scenario is passed without it.
    #[serde(default)]
    pub optional: bool,
    /// The next command worth running; without it the grader's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Whether it is there for this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// A flag of the manifest (layer manifest) or of the running process (layer process).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flag: Option<FlagCheck>,
    /// The manifest is readable and gives the API server this file of the node (layer manifest).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mount: Option<MountCheck>,
    /// The kubelet can read the manifest (layer manifest).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readable: Option<Nothing>,
    /// The API server runs and is ready (layer process).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<Nothing>,
    /// The running process sees this file of the node where a flag points (layer files).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sees: Option<MountCheck>,
    /// The policy the process sees does what is asked (layer files).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyCheck>,
    /// The log on the node is the running API server's and has its entries (layer log).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<LogCheck>,
    /// Probes are recorded as asked (layer entries).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<ProbesCheck>,
    /// Nothing else was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unchanged: Option<UnchangedCheck>,
    /// A file or directory of the node has these permission bits and belongs to root (layers files, log).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeCheck>,
    /// What was there at the start still is, unchanged (layers files, log).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<KeptCheck>,
    /// A text, such as the value of a Secret, is in no file but in protected ones (layers files, log).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub never: Option<NeverCheck>,
    /// The limits of the log's rotation fit a disk and a retention (layers manifest, process).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<BudgetCheck>,
    /// An answer that the learner wrote into a file (layers files, log).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<AnswerCheck>,
}

impl Check {
    /// Whether it says something about the node whether or not an API server runs.
    #[must_use]
    pub fn is_still(&self) -> bool {
        self.layer <= Layer::Process
            || self.mode.is_some()
            || self.kept.is_some()
            || self.never.is_some()
            || self.answer.is_some()
    }
}

/// Needs no further words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A flag; without a condition it must be set to something. All conditions that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlagCheck {
    /// Name without dashes.
    pub name: String,
    /// The value wanted; numbers and paths are compared by meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
    /// One of these values, compared as with `equals`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub one_of: Vec<String>,
    /// A number that is this or more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<Quantity>,
    /// A number that is this or less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<Quantity>,
    /// It must not be set.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub absent: bool,
    /// Whether a flag that is not set counts with its default.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default_counts: bool,
}

/// A file of the node that the API server must use through a flag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MountCheck {
    /// The flag that names the file in the container, without dashes.
    pub flag: String,
    /// The file on the node.
    pub path: String,
    /// Whether the directory must be mounted, so that files beside it (rotated logs) reach the node.
    #[serde(default)]
    pub directory: bool,
    /// Whether the mount must be read-only, so that nothing in the container can change the file, or must not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
}

/// The log on the node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LogCheck {
    /// Its path on the node.
    pub path: String,
    /// Texts that no fresh entry may contain, such as a secret's value.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub never: Vec<String>,
}

/// Probes and where their entries must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProbesCheck {
    /// The log on the node.
    pub path: String,
    /// Probes that must be recorded, and those that must not: as the reference policy says.
    pub ids: Vec<String>,
}

/// What must be as it was.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UnchangedCheck {
    /// Flags of the running API server other than these (`*` at the end stands for anything).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags_but: Option<Vec<String>>,
    /// The rest of the API server's pod: image, ports, probes, other mounts and volumes.
    pub pod: bool,
    /// The other files in the manifests directory.
    pub other_manifests: bool,
    /// Files of the node, compared byte for byte.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// The policy in this file of the node still does what it did at the start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// The objects of the setup are still there.
    pub objects: bool,
}
