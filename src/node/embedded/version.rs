//! The version of Kubernetes that the node is of.

/// As tags and `gitVersion` write it.
pub const KUBERNETES: &str = crate::audit::options::table::RELEASE;
