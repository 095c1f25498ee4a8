//! Changes of a static pod's manifest, as data. [`super::manifest_text`] carries them out.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Changes of a manifest, applied in the order of the fields and written once. Lines that are not
/// named keep their text, comments and quotes included.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ManifestEdit {
    /// The manifest on the node; without it the API server's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Flags to take out, by name without dashes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove_flags: Vec<String>,
    /// Flags to give another name; the value stays.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rename_flags: Vec<Rename>,
    /// Flags to set: `audit-log-maxage=7`. One that is there is replaced.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_flags: Vec<String>,
    /// Flags to add after the last one, whether there is one of that name or not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_flags: Vec<String>,
    /// The program of the container, in the place of the first word of its `command`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The container's image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Names of volume mounts to take out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove_mounts: Vec<String>,
    /// Names of volumes to take out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove_volumes: Vec<String>,
    /// hostPath volumes to change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_volumes: Vec<SetVolume>,
    /// Volume mounts to change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub set_mounts: Vec<SetMount>,
    /// hostPath volumes to add.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_volumes: Vec<AddVolume>,
    /// Volume mounts to add.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add_mounts: Vec<AddMount>,
    /// Probes of the container to change or take out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probes: Vec<SetProbe>,
    /// Annotation to set on the pod, `key=value`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub annotate: Option<String>,
    /// Text to replace, after everything above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub replace: Vec<FindWith>,
    /// Lines whose indentation is changed, after everything above.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub indent: Vec<Indent>,
    /// Writes the same manifest in another style.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restyle: Option<Restyle>,
}

/// An old name and a new one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rename {
    /// The name there is.
    pub from: String,
    /// The name it gets.
    pub to: String,
}

/// Text to find and what takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FindWith {
    /// Whether it is done for this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// The text to find; it must be there.
    pub find: String,
    /// What takes its place.
    pub with: String,
}

/// A line whose indentation is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Indent {
    /// Whether it is done for this seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<String>,
    /// Text of the line, without its indentation; the first line that starts with it is meant.
    pub line: String,
    /// Blanks to add; fewer than none to take away.
    #[serde(default)]
    pub by: i8,
    /// Whether a tab takes the place of the indentation.
    #[serde(default)]
    pub tab: bool,
}

/// Another way to write the same manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Restyle {
    /// As JSON, which is YAML too.
    Json,
    /// As YAML with the fields in alphabetical order, indented lists and quoted texts.
    Quoted,
}

/// A hostPath volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddVolume {
    /// Name.
    pub name: String,
    /// Path on the node.
    pub path: String,
    /// hostPath type, if any.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

/// A change of a hostPath volume.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetVolume {
    /// Its name.
    pub name: String,
    /// Another path on the node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Another hostPath type; empty for none.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Another name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename: Option<String>,
}

/// A volume mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddMount {
    /// Name of the volume.
    pub name: String,
    /// Path in the container.
    pub path: String,
    /// Whether it is read-only.
    #[serde(default)]
    pub read_only: bool,
    /// `subPath`, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
}

/// A change of a volume mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetMount {
    /// Name of its volume.
    pub name: String,
    /// Another path in the container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether it is read-only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_only: Option<bool>,
    /// `subPath`; empty for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sub_path: Option<String>,
    /// The name of another volume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rename: Option<String>,
}

/// Which probe of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// `livenessProbe`.
    Liveness,
    /// `readinessProbe`.
    Readiness,
    /// `startupProbe`.
    Startup,
}

impl ProbeKind {
    /// Its field of a container.
    #[must_use]
    pub fn field(self) -> &'static str {
        match self {
            ProbeKind::Liveness => "livenessProbe",
            ProbeKind::Readiness => "readinessProbe",
            ProbeKind::Startup => "startupProbe",
        }
    }
}

/// A change of an HTTP probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetProbe {
    /// Which.
    pub probe: ProbeKind,
    /// Whether it is taken out.
    #[serde(default)]
    pub remove: bool,
    /// Another port, by number or name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<String>,
    /// Another path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Another host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// `HTTP` or `HTTPS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<String>,
    /// Failures until it counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure_threshold: Option<u32>,
}
