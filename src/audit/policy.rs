//! The audit policy and its loader (`k8s.io/apiserver/pkg/audit/policy/reader.go`).

mod decode;
mod file;
mod gvk;
mod metadata;
mod validate;

use super::level::{Level, Stage};
use crate::yaml;

pub use file::load_file;

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
    let refused = |message: String, warnings: Vec<String>| LoadError {
        message,
        warnings,
        names_file: true,
    };
    let failed = |error: String| refused(format!("failed decoding: {error}"), Vec::new());
    let (tree, duplicate_keys) = read(bytes).map_err(failed)?;
    let gvk = gvk::interpret(&tree).map_err(failed)?.with_defaults();
    let target = gvk.target(bytes).map_err(failed)?;
    if let gvk::Target::Other(go_type) = target {
        return Err(failed(format!(
            "converting ({go_type}) to (audit.Policy): unknown conversion"
        )));
    }
    let outcome = decode::decode(&tree, target == gvk::Target::InternalPolicy).map_err(failed)?;
    let mut strict: Vec<String> = yaml::strict_error(&duplicate_keys).into_iter().collect();
    strict.extend(outcome.strict);
    let mut warnings = Vec::new();
    if !strict.is_empty() {
        warnings.push(format!(
            "Audit policy contains errors, falling back to lenient decoding: strict decoding error: {}",
            strict.join(", ")
        ));
    }
    if !gvk.is_supported() {
        let text = format!("unknown group version field {gvk} in policy");
        return Err(refused(text, warnings));
    }
    let policy = match validate::validate(&outcome.policy) {
        Ok(policy) => policy,
        Err(text) => return Err(refused(text, warnings)),
    };
    if policy.rules.is_empty() {
        let text = "loaded illegal policy with 0 rules".to_owned();
        return Err(refused(text, warnings));
    }
    Ok(Loaded { policy, warnings })
}

/// Reads the content as the decoder for its kind does: JSON, protobuf or YAML; gives the duplicate keys
/// that only the YAML decoder reports itself.
pub(super) fn read(bytes: &[u8]) -> Result<(yaml::Tree, Vec<String>), String> {
    if yaml::looks_like_json(bytes) {
        return match yaml::json::to_tree(bytes) {
            Ok(tree) => Ok((tree, Vec::new())),
            Err(error) => Err(format!(
                "couldn't get version/kind; json parse error: {error}"
            )),
        };
    }
    if let Some(body) = bytes.strip_prefix(b"k8s\0") {
        let text = if body.is_empty() {
            "empty body"
        } else {
            "unexpected EOF"
        };
        return Err(text.to_owned());
    }
    yaml::to_tree(bytes).map_err(|error| error.to_string())
}
