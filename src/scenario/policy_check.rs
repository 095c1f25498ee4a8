//! What is asked of a policy, request by request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::audit::level::{Level, Stage};
use crate::audit::policy::{PolicyRule, load};

/// What the policy must do with some requests: what the scenario's reference policy does, or what is
/// said here. It is compared over every class of requests that any of the policies tells apart, so any
/// policy that does the same passes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyCheck {
    /// Only requests that one of these matches (written as the match part of policy rules).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<Value>,
    /// The same as `only`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub requests: Vec<Value>,
    /// No requests that one of these matches.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Value>,
    /// The same as `except`: requests with which the policy may do what it likes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub free: Vec<Value>,
    /// The level wanted, where it is not that of the reference: `None` is "not recorded".
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub level: Option<Level>,
    /// How levels are compared.
    pub compare: Compare,
    /// The stages wanted, where they are not those of the reference.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stages: Option<StagesWanted>,
    /// Whether recorded bodies have their managed fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub managed_fields: Option<ManagedFields>,
    /// Whether only stages are compared, where both record something: `compare: none`.
    pub stages_only: bool,
}

/// How levels are compared with the one wanted.
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
    /// Not at all: only stages and managed fields count, where something is recorded.
    None,
}

/// Stages of which there must, or must not, be entries; of the others there may. A stage that a request
/// does not have is no matter.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct StagesWanted {
    /// There must be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub recorded: Vec<Stage>,
    /// There must not be.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<String>")]
    pub left_out: Vec<Stage>,
}

/// Managed fields in recorded bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ManagedFields {
    /// They are there.
    Kept,
    /// They are left out.
    Omitted,
    /// Either.
    Any,
}

impl PolicyCheck {
    /// Whether it asks for stages or managed fields of its own, and for no level.
    #[must_use]
    pub fn is_about_details(&self) -> bool {
        (self.compare == Compare::None || self.stages_only)
            && (self.stages.is_some() || self.managed_fields.is_some())
    }

    /// The requests it is about, as rules: those of which one must match (none: every request), and
    /// those of which none may.
    ///
    /// # Errors
    /// When the match parts are no rules: a mistake of the scenario.
    pub fn scope(&self) -> Result<(Vec<PolicyRule>, Vec<PolicyRule>), String> {
        let within = [self.only.as_slice(), &self.requests].concat();
        let without = [self.except.as_slice(), &self.free].concat();
        Ok((rules(&within)?, rules(&without)?))
    }
}

/// The match parts of rules, as rules.
///
/// # Errors
/// The loader's text.
pub fn rules(parts: &[Value]) -> Result<Vec<PolicyRule>, String> {
    if parts.is_empty() {
        return Ok(Vec::new());
    }
    let rules: Vec<Value> = parts
        .iter()
        .map(|rule| {
            let mut rule = rule.clone();
            if let Some(fields) = rule.as_object_mut() {
                fields.insert("level".into(), "Metadata".into());
            }
            rule
        })
        .collect();
    let text =
        json!({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": rules}).to_string();
    let loaded = load(text.as_bytes()).map_err(|error| error.message)?;
    match loaded.warnings.first() {
        Some(warning) => Err(warning.clone()),
        None => Ok(loaded.policy.rules),
    }
}
