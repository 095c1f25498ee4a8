//! The version of Kubernetes that the node is of.

/// As tags and `gitVersion` write it.
pub const KUBERNETES: &str = "v1.36.2";
