//! The command line of kube-apiserver.

/// A parsed command line.
#[derive(Debug, Clone, Default)]
pub struct Flags {}
