//! Kubeconfigs as kubeadm writes them (`cmd/kubeadm/app/phases/kubeconfig`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// A user with its credentials.
#[derive(Debug, Clone)]
pub struct ClientIdentity {
    /// Name of the user in the kubeconfig.
    pub user: String,
    /// Certificate, PEM.
    pub certificate: String,
    /// Private key, PEM.
    pub key: String,
}

/// A kubeconfig with everything embedded.
#[must_use]
pub fn embedded(server: &str, ca: &str, identity: &ClientIdentity) -> String {
    format!(
        "{}    client-certificate-data: {}\n    client-key-data: {}\n",
        head(server, ca, &identity.user),
        STANDARD.encode(&identity.certificate),
        STANDARD.encode(&identity.key),
    )
}

/// The kubelet's kubeconfig: its rotated certificate stays in a file of its own.
#[must_use]
pub fn kubelet(server: &str, ca: &str, node_name: &str) -> String {
    format!(
        "{}    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem\n    \
         client-key: /var/lib/kubelet/pki/kubelet-client-current.pem\n",
        head(server, ca, &format!("system:node:{node_name}")),
    )
}

fn head(server: &str, ca: &str, user: &str) -> String {
    let ca = STANDARD.encode(ca);
    format!(
        "apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {ca}
    server: {server}
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: {user}
  name: {user}@kubernetes
current-context: {user}@kubernetes
kind: Config
preferences: {{}}
users:
- name: {user}
  user:
"
    )
}
