//! Which type a document says it is (`serializer/json/meta.go`, `json.go` and the scheme of
//! `k8s.io/apiserver/pkg/audit/scheme.go`).

use crate::yaml::go::quote;
use crate::yaml::tree::{Id, Node, Tree};

/// Group of the audit API.
const GROUP: &str = "audit.k8s.io";

/// The version Go code uses for types that are not on the wire.
const INTERNAL: &str = "__internal";

const SCHEME: &str = "pkg/audit/scheme.go:30";

/// Group, version and kind of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gvk {
    pub group: String,
    pub version: String,
    pub kind: String,
}

impl std::fmt::Display for Gvk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}, Kind={}", self.group, self.version, self.kind)
    }
}

/// The Go type a document is decoded into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    /// `v1.Policy`.
    Policy,
    /// `audit.Policy`, the internal type: its JSON names are those of the Go fields.
    InternalPolicy,
    /// Another registered type, which cannot become a policy.
    Other(&'static str),
}

/// Reads `apiVersion` and `kind` the way `encoding/json` does, whatever their case.
pub(super) fn interpret(tree: &Tree) -> Result<Gvk, String> {
    const TARGET: &str = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    let failed = |error: String| format!("couldn't get version/kind; json parse error: {error}");
    if let Some(bracket) = tree.too_deep() {
        return Err(failed(format!(
            "invalid character '{bracket}' exceeded max depth"
        )));
    }
    let mut api_version = String::new();
    let mut kind = String::new();
    let mut wrong = None;
    match tree.node(tree.root()) {
        Node::Null => {}
        Node::Object(members) => {
            for member in members {
                let (slot, name) = if folds_to(&member.key, "apiversion") {
                    (&mut api_version, "apiVersion")
                } else if folds_to(&member.key, "kind") {
                    (&mut kind, "kind")
                } else {
                    continue;
                };
                set_text(tree, member.value, slot, name, &mut wrong);
            }
        }
        node => {
            return Err(failed(format!(
                "json: cannot unmarshal {} into Go value of type {TARGET}",
                node.kind()
            )));
        }
    }
    if let Some(error) = wrong {
        return Err(failed(error));
    }
    let (group, version) = parse_group_version(&api_version)?;
    Ok(Gvk {
        group,
        version,
        kind,
    })
}

fn set_text(tree: &Tree, value: Id, slot: &mut String, name: &str, wrong: &mut Option<String>) {
    match tree.node(value) {
        Node::Text(text) => *slot = text.as_ref().to_owned(),
        Node::Null => {}
        node => {
            wrong.get_or_insert_with(|| {
                let kind = node.kind();
                format!("json: cannot unmarshal {kind} into Go struct field .{name} of type string")
            });
        }
    }
}

/// `encoding/json` folds keys by simple Unicode folding: the Kelvin sign is a `k`, the long s an `s`.
fn folds_to(key: &str, lower: &str) -> bool {
    let folded = key.chars().map(|c| match c {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        _ => c.to_ascii_lowercase(),
    });
    folded.eq(lower.chars())
}

/// `schema.ParseGroupVersion`.
fn parse_group_version(text: &str) -> Result<(String, String), String> {
    if text.is_empty() || text == "/" {
        return Ok((String::new(), String::new()));
    }
    let mut parts = text.split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(version), None, _) => Ok((String::new(), version.to_owned())),
        (Some(group), Some(version), None) => Ok((group.to_owned(), version.to_owned())),
        _ => Err(format!("unexpected GroupVersion string: {text}")),
    }
}

impl Gvk {
    /// Fills in what a document leaves out from the type it is loaded into, the internal Policy.
    pub fn with_defaults(mut self) -> Self {
        if self.kind.is_empty() {
            "Policy".clone_into(&mut self.kind);
        }
        if self.version.is_empty() && self.group.is_empty() {
            GROUP.clone_into(&mut self.group);
        }
        if self.version.is_empty() && self.group == GROUP {
            INTERNAL.clone_into(&mut self.version);
        }
        self
    }

    fn group_version(&self) -> String {
        if self.group.is_empty() {
            self.version.clone()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Whether the loader accepts this version.
    pub fn is_supported(&self) -> bool {
        self.group == GROUP && self.version == "v1"
    }

    /// The type registered for this group, version and kind.
    pub fn target(&self, original: &[u8]) -> Result<Target, String> {
        if self.version.is_empty() {
            let data = String::from_utf8_lossy(original);
            return Err(format!("Object 'apiVersion' is missing in '{data}'"));
        }
        let kind = self.kind.as_str();
        let audit = self.group == GROUP;
        let internal = self.version == INTERNAL;
        let core = self.group.is_empty();
        if audit && internal {
            match kind {
                "Policy" => return Ok(Target::InternalPolicy),
                "Event" => return Ok(Target::Other("audit.Event")),
                "EventList" => return Ok(Target::Other("audit.EventList")),
                "PolicyList" => return Ok(Target::Other("audit.PolicyList")),
                _ => {}
            }
        }
        if audit && self.version == "v1" {
            match kind {
                "Policy" => return Ok(Target::Policy),
                "Event" => return Ok(Target::Other("v1.Event")),
                "EventList" => return Ok(Target::Other("v1.EventList")),
                "PolicyList" => return Ok(Target::Other("v1.PolicyList")),
                _ => {}
            }
        }
        if (audit || core) && internal && kind == "WatchEvent" {
            return Ok(Target::Other("v1.InternalEvent"));
        }
        if (audit || core) && self.version == "v1" {
            match kind {
                "WatchEvent" => return Ok(Target::Other("v1.WatchEvent")),
                "ListOptions" => return Ok(Target::Other("v1.ListOptions")),
                "GetOptions" => return Ok(Target::Other("v1.GetOptions")),
                "DeleteOptions" => return Ok(Target::Other("v1.DeleteOptions")),
                "CreateOptions" => return Ok(Target::Other("v1.CreateOptions")),
                "UpdateOptions" => return Ok(Target::Other("v1.UpdateOptions")),
                "PatchOptions" => return Ok(Target::Other("v1.PatchOptions")),
                _ => {}
            }
        }
        // Unversioned kinds are found by their kind alone.
        match kind {
            "Status" => return Ok(Target::Other("v1.Status")),
            "APIVersions" => return Ok(Target::Other("v1.APIVersions")),
            "APIGroupList" => return Ok(Target::Other("v1.APIGroupList")),
            "APIGroup" => return Ok(Target::Other("v1.APIGroup")),
            "APIResourceList" => return Ok(Target::Other("v1.APIResourceList")),
            _ => {}
        }
        let kind = quote(kind);
        let scheme = quote(SCHEME);
        Err(if internal {
            let group = quote(&self.group);
            format!(
                "no kind {kind} is registered for the internal version of group {group} in scheme {scheme}"
            )
        } else {
            let version = quote(&self.group_version());
            format!("no kind {kind} is registered for version {version} in scheme {scheme}")
        })
    }
}
