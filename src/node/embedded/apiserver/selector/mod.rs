//! Label and field selectors of lists and watches.

pub mod fields;
pub mod labels;

use serde_json::Value;

use super::catalog::Resource;
use super::state::CustomResource;

/// What a list, watch or deletecollection selects.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Labels an object must have.
    pub labels: labels::Selector,
    /// Fields an object must have.
    pub fields: fields::Selector,
}

impl Selection {
    /// Whether everything is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether the object is selected.
    #[must_use]
    pub fn matches(
        &self,
        resource: &Resource,
        custom: Option<&CustomResource>,
        object: &Value,
    ) -> bool {
        self.labels.matches(object.pointer("/metadata/labels"))
            && self.fields.matches(resource, custom, object)
    }
}
