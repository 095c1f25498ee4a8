//! The format of `scenario.yaml`.
//!
//! Every text may use the scenario's variables as `{{ name }}`; an element of a list may have a
//! `when` expression that drops it. Where an object offers alternatives (a step, a check), exactly
//! one of the optional fields is set: this keeps messages about mistakes exact, which untagged
//! enumerations cannot.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::coverage::Group;
use super::request::{ProbeRequest, ProbeUser};
use super::step::Step;

/// The newest format version this program knows.
pub const FORMAT: u32 = 1;

/// A scenario as its author writes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Definition {
    /// Version of the format.
    pub format: u32,
    /// Identifier, the name of the scenario's directory.
    pub id: String,
    /// One line.
    pub title: String,
    /// Two or three lines for lists.
    #[serde(default)]
    pub summary: String,
    /// What kind of work it is. Only free play does without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Group>,
    /// What it trains.
    #[serde(default)]
    pub skills: Vec<String>,
    /// The kinds of tasks it covers, by number ([`super::coverage::TASKS`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(range(min = 1, max = 28)))]
    pub tasks: Vec<u8>,
    /// The mistakes that its setup makes or its wrong attempts repeat, by number ([`super::coverage::MISTAKES`]).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(inner(range(min = 1, max = 24)))]
    pub mistakes: Vec<u8>,
    /// How hard it is.
    pub difficulty: Difficulty,
    /// Minutes a prepared candidate needs.
    pub minutes: u32,
    /// Points of all checks together.
    pub points: u32,
    /// The share of the points that passes, in percent. Every check that is not `optional` must pass as well.
    #[serde(default = "all_of_it")]
    pub pass: u32,
    /// Kubernetes versions it is right for.
    #[serde(default)]
    pub kubernetes: Vec<String>,
    /// Engines it does not work on, each with the reason.
    #[serde(default)]
    pub not_on: BTreeMap<String, String>,
    /// What the seed decides.
    #[serde(default)]
    pub variables: Vec<Variable>,
    /// What is put on the node before the learner sees it, faults included.
    #[serde(default)]
    pub setup: Vec<Step>,
    /// What the setup breaks, one line each; never shown before the end.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// The audit policy asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyGoal>,
    /// Requests the grader sends.
    #[serde(default)]
    pub probes: Vec<Probe>,
    /// The graded statements.
    #[serde(default)]
    pub checks: Vec<Check>,
    /// Mistakes the scenario can name.
    #[serde(default)]
    pub misconceptions: Vec<Misconception>,
    /// The misconceptions that the grader names before anything was done: exactly these. Tested with the
    /// attempts, where it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub untouched: Option<Vec<Untouched>>,
}

/// A misconception named on the untouched node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Untouched {
    /// The check it explains.
    pub check: String,
    /// Its identifier.
    pub misconception: String,
    /// Whether it is expected for this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

fn all_of_it() -> u32 {
    100
}

/// How hard a scenario is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Difficulty {
    /// One thing to do.
    Easy,
    /// Several things that depend on each other.
    Medium,
    /// Several faults, or one that hides.
    Hard,
}

impl Difficulty {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Difficulty::Easy => "easy",
            Difficulty::Medium => "medium",
            Difficulty::Hard => "hard",
        }
    }
}

/// A value decided by the seed: exactly one of `pick`, `number` and `text`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Variable {
    /// Name, as used in `{{ name }}`.
    pub name: String,
    /// One of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pick: Option<Vec<String>>,
    /// A number of this range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<NumberRange>,
    /// A text made of variables declared before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Variables declared before whose values it must not repeat.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unlike: Vec<String>,
}

/// A range of whole numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NumberRange {
    /// The smallest.
    pub from: u64,
    /// The largest.
    pub to: u64,
    /// Distance between values.
    #[serde(default = "one")]
    pub step: u64,
}

fn one() -> u64 {
    1
}

/// Something the setup breaks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Identifier.
    pub id: String,
    /// What is broken.
    pub text: String,
    /// Whether it is there for this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

/// The audit policy asked for, and the requests over which it is compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyGoal {
    /// A policy that does what is asked; any equivalent one passes.
    pub reference: String,
    /// Namespaces worth naming in counterexamples.
    #[serde(default)]
    pub namespaces: Vec<String>,
    /// Users worth naming in counterexamples.
    #[serde(default)]
    pub users: Vec<String>,
    /// Whether the stages must be the reference's.
    #[serde(default)]
    pub stages: Stages,
}

/// How stages are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Stages {
    /// The same stages as the reference, for every request.
    #[default]
    Exactly,
    /// Any, as long as the stage that ends a request is kept.
    Any,
}

/// Requests the grader sends one after the other; different probes run at the same time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Probe {
    /// Identifier.
    pub id: String,
    /// Who asks; without it the cluster's administrator.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub user: Option<ProbeUser>,
    /// The requests. What a `create` makes, the grader removes in the end.
    pub requests: Vec<ProbeRequest>,
    /// Whether it is sent for this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}

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
}

/// Needs no further words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A flag; without a condition it must be set to something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FlagCheck {
    /// Name without dashes.
    pub name: String,
    /// The value wanted; numbers and paths are compared by meaning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equals: Option<String>,
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
}

/// Which requests a policy check looks at, and how strictly.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyCheck {
    /// Only requests that one of these matches (written as the match part of policy rules).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<serde_json::Value>,
    /// No requests that one of these matches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<serde_json::Value>,
    /// How levels are compared.
    pub compare: Compare,
    /// Whether only stages are compared, where both record something.
    pub stages_only: bool,
}

/// How levels are compared with the reference's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Compare {
    /// The same level.
    #[default]
    Exactly,
    /// The same or more.
    AtLeast,
    /// The same or less.
    AtMost,
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

/// A mistake with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Misconception {
    /// Identifier. One of the grader's own detectors may be named to give it another text.
    pub id: String,
    /// What the learner seems to believe, and what is true.
    pub text: String,
    /// The checks it explains.
    pub explains: Vec<String>,
    /// It applies when all of these failed (blocked is not failed),
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failing: Vec<String>,
    /// and all of these passed,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passing: Vec<String>,
    /// and the grader's own detector of this name speaks up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detector: Option<String>,
    /// Whether it is there for this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
}
