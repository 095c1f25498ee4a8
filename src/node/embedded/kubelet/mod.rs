//! The kubelet: watches the manifests directory; starts, stops and replaces static pods.
