//! The audit policy and its loader (`k8s.io/apiserver/pkg/audit/policy/reader.go`).

mod decode;
mod file;
mod gvk;
mod metadata;
mod validate;

use super::level::{Level, Stage};
use crate::yaml;

pub use decode::StrictField;
pub use file::load_file;
pub use validate::FieldError;

/// An audit policy as the API server holds it after loading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    /// Rules, first match wins.
    pub rules: Vec<PolicyRule>,
    /// Stages for which no event is generated, whatever the rule.
    pub omit_stages: Vec<Stage>,
    /// Whether managed fields are left out of recorded bodies, unless a rule says otherwise.
    pub omit_managed_fields: bool,
}

/// One rule of a policy. An empty list means "any".
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyRule {
    /// The level of requests that match.
    pub level: Level,
    /// User names.
    pub users: Vec<String>,
    /// Groups; a user matches if any of its groups is listed.
    pub user_groups: Vec<String>,
    /// Verbs.
    pub verbs: Vec<String>,
    /// Resources (resource requests only).
    pub resources: Vec<GroupResources>,
    /// Namespaces; `""` is cluster scope.
    pub namespaces: Vec<String>,
    /// Paths of non-resource requests; `*` only as a suffix.
    pub non_resource_urls: Vec<String>,
    /// Stages left out, on top of the policy's.
    pub omit_stages: Vec<Stage>,
    /// Overrides the policy's `omitManagedFields`.
    pub omit_managed_fields: Option<bool>,
}

/// Resources of one API group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupResources {
    /// The API group; `""` is core, `"*"` every group.
    pub group: String,
    /// `resource`, `resource/subresource`, `resource/*`, `*/subresource` or `*`; empty means all.
    pub resources: Vec<String>,
    /// Object names; need `resources`.
    pub resource_names: Vec<String>,
}

/// What the loader gives for a policy that the API server starts with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The policy in force.
    pub policy: Policy,
    /// The loader's warnings, without klog header.
    pub warnings: Vec<String>,
}

/// Why the API server refuses a policy. `Display` is the real loader's text, without the trailing
/// `: from file PATH` (the caller that knows the path adds it).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct LoadError {
    /// The loader's text.
    pub message: String,
    /// Warnings printed before the loader gave up.
    pub warnings: Vec<String>,
    /// Whether the real loader adds ` from file PATH` to this text.
    pub names_file: bool,
}

/// Loads a policy from the bytes of a file, as `LoadPolicyFromBytes` does: strict decoding first, then
/// lenient decoding with a warning, then validation.
///
/// # Errors
/// The real loader's text when the API server would refuse to start with this policy.
pub fn load(bytes: &[u8]) -> Result<Loaded, LoadError> {
    inspect(bytes).result
}

/// What the loader says of a policy, and everything it found on the way.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// What the loader gives.
    pub result: Result<Loaded, LoadError>,
    /// The document, where it could be read.
    pub tree: Option<yaml::Tree>,
    /// Unknown and duplicate fields.
    pub strict: Vec<StrictField>,
    /// Keys that are set twice in a YAML mapping, in the decoder's words.
    pub duplicate_keys: Vec<String>,
    /// The field errors behind a refusal.
    pub field_errors: Vec<FieldError>,
    /// Where the problem is that made the loader refuse.
    pub at: Option<yaml::Span>,
}

/// Loads a policy and keeps what was found on the way.
#[must_use]
pub fn inspect(bytes: &[u8]) -> Inspection {
    let mut inspection = Inspection {
        result: Ok(Loaded::default()),
        tree: None,
        strict: Vec::new(),
        duplicate_keys: Vec::new(),
        field_errors: Vec::new(),
        at: None,
    };
    inspection.result = inspection.run(bytes);
    inspection
}

impl Inspection {
    fn run(&mut self, bytes: &[u8]) -> Result<Loaded, LoadError> {
        let failed = |error: String| LoadError {
            message: format!("failed decoding: {error}"),
            warnings: Vec::new(),
            names_file: true,
        };
        let (tree, duplicate_keys) = match read(bytes) {
            Ok(read) => read,
            Err(error) => {
                self.at = error.at;
                return Err(failed(error.text));
            }
        };
        self.duplicate_keys = duplicate_keys;
        let tree = self.tree.insert(tree);
        let version_at = tree.span("apiVersion").or(tree.span("kind"));
        let gvk = gvk::interpret(tree).map_err(|error| {
            self.at = version_at;
            failed(error)
        })?;
        let gvk = gvk.with_defaults();
        let target = gvk.target(bytes).map_err(|error| {
            self.at = version_at;
            failed(error)
        })?;
        if let gvk::Target::Other(go_type) = target {
            self.at = tree.span("kind");
            return Err(failed(format!(
                "converting ({go_type}) to (audit.Policy): unknown conversion"
            )));
        }
        let internal = target == gvk::Target::InternalPolicy;
        let outcome = decode::decode(tree, internal).map_err(|(error, span)| {
            self.at = Some(span);
            failed(error)
        })?;
        self.strict = outcome.strict;
        let mut strict: Vec<String> = yaml::strict_error(&self.duplicate_keys)
            .into_iter()
            .collect();
        strict.extend(self.strict.iter().map(|field| field.text.clone()));
        let mut warnings = Vec::new();
        if !strict.is_empty() {
            warnings.push(format!(
                "Audit policy contains errors, falling back to lenient decoding: strict decoding error: {}",
                strict.join(", ")
            ));
        }
        let refused = |message: String, warnings: Vec<String>| LoadError {
            message,
            warnings,
            names_file: true,
        };
        if !gvk.is_supported() {
            self.at = version_at;
            let text = format!("unknown group version field {gvk} in policy");
            return Err(refused(text, warnings));
        }
        let policy = match validate::validate(&outcome.policy) {
            Ok(policy) => policy,
            Err(errors) => {
                let text = validate::aggregate(&errors);
                self.at = errors.first().and_then(|error| nearest(tree, &error.path));
                self.field_errors = errors;
                return Err(refused(text, warnings));
            }
        };
        if policy.rules.is_empty() {
            self.at = tree.span("rules");
            let text = "loaded illegal policy with 0 rules".to_owned();
            return Err(refused(text, warnings));
        }
        Ok(Loaded { policy, warnings })
    }
}

/// The text of a field error without the long regular expression that the real one carries.
#[must_use]
pub fn short_text(error: &FieldError) -> String {
    match error.text.split_once(" (e.g. 'example.com'") {
        Some((text, _)) => text.to_owned(),
        None => error.text.clone(),
    }
}

/// Where a path is, or the nearest thing around it that is there.
#[must_use]
pub fn nearest(tree: &yaml::Tree, path: &str) -> Option<yaml::Span> {
    let mut path = path;
    loop {
        if let Some(span) = tree.span(path) {
            return Some(span);
        }
        path = path.get(..path.rfind(['.', '['])?)?;
    }
}

/// Reads the content as the decoder for its kind does: JSON, protobuf or YAML; gives the duplicate keys
/// that only the YAML decoder reports itself.
fn read(bytes: &[u8]) -> Result<(yaml::Tree, Vec<String>), yaml::Error> {
    if yaml::looks_like_json(bytes) {
        return match yaml::json::to_tree(bytes) {
            Ok(tree) => Ok((tree, Vec::new())),
            Err(error) => Err(yaml::Error {
                text: format!("couldn't get version/kind; json parse error: {error}"),
                at: error.at,
            }),
        };
    }
    if let Some(body) = bytes.strip_prefix(b"k8s\0") {
        let text = if body.is_empty() {
            "empty body"
        } else {
            "unexpected EOF"
        };
        return Err(yaml::Error {
            text: text.to_owned(),
            at: None,
        });
    }
    yaml::to_tree(bytes)
}
