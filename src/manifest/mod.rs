//! Static-pod manifests as the kubelet reads them.
