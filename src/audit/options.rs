//! The audit options of kube-apiserver: names, defaults, validation.
