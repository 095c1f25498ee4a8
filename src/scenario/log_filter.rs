//! Which entries of a log a scenario speaks of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::log::filter::Filter;

/// A filter as `ckslab audit query` has it: an entry passes when it satisfies every condition that is
/// there; of the values of one condition one is enough. `*` in a value stands for any text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct LogFilter {
    /// Users.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// Groups of the user.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// Verbs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub verbs: Vec<String>,
    /// Resources: `pods`, `pods/exec`, `pods/*`, `deployments.apps`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Namespaces; the empty one is cluster scope.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<String>,
    /// Object names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Status codes: `404`, `4xx`, `>=400`, `400-499`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub codes: Vec<String>,
    /// Levels.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<String>,
    /// Stages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<String>,
    /// Request URIs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub uris: Vec<String>,
    /// Parts of the User-Agent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<String>,
    /// Authorisation decisions: `allow`, `forbid`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub decisions: Vec<String>,
    /// Texts that the line must contain, all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
}

impl LogFilter {
    /// The filter, ready for use.
    ///
    /// # Errors
    /// When a status code is none.
    pub fn filter(&self) -> Result<Filter, String> {
        Ok(Filter {
            users: self.users.clone(),
            groups: self.groups.clone(),
            verbs: self.verbs.clone(),
            resources: self.resources.clone(),
            namespaces: self.namespaces.clone(),
            names: self.names.clone(),
            codes: self
                .codes
                .iter()
                .map(|code| code.parse())
                .collect::<Result<_, _>>()?,
            levels: self.levels.clone(),
            stages: self.stages.clone(),
            uris: self.uris.clone(),
            user_agents: self.agents.clone(),
            decisions: self.decisions.clone(),
            texts: self.texts.clone(),
            ..Filter::default()
        })
    }
}
