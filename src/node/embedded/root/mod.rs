//! The node root: the files of a control-plane node as `kubeadm init` leaves them.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::confine::Confined;

mod der;
pub mod files;
pub mod kubeconfig;
pub mod pki;

/// What is particular to one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Name of the node.
    pub node_name: String,
    /// Address of the node.
    pub node_ip: String,
    /// The loopback port of the host that leads to the API server.
    pub api_port: u16,
}

impl Spec {
    /// The node every lab has, reached through `api_port`.
    #[must_use]
    pub fn new(api_port: u16) -> Self {
        Self {
            node_name: "controlplane".to_owned(),
            node_ip: "172.30.1.2".to_owned(),
            api_port,
        }
    }

    /// The server that kubeconfigs name.
    #[must_use]
    pub fn server(&self) -> String {
        format!("https://127.0.0.1:{}", self.api_port)
    }
}

/// Directory of the lab's own copy of the cluster's CA, within the state directory: identities can
/// be made even when the learner broke the one on the node.
pub const STATE_CA: &str = "ca";

/// Static-pod manifests as kubeadm writes them; `NODE_IP` and `NODE_NAME` stand for the node's.
const MANIFESTS: [(&str, &str); 4] = [
    ("etcd.yaml", include_str!("manifests/etcd.yaml")),
    (
        "kube-apiserver.yaml",
        include_str!("manifests/kube-apiserver.yaml"),
    ),
    (
        "kube-controller-manager.yaml",
        include_str!("manifests/kube-controller-manager.yaml"),
    ),
    (
        "kube-scheduler.yaml",
        include_str!("manifests/kube-scheduler.yaml"),
    ),
];

/// A static-pod manifest of a healthy node.
#[must_use]
pub fn manifest(file: &str, spec: &Spec) -> Option<String> {
    MANIFESTS
        .iter()
        .find(|(name, _)| *name == file)
        .map(|(_, text)| {
            text.replace("NODE_IP", &spec.node_ip)
                .replace("NODE_NAME", &spec.node_name)
        })
}

/// Makes the node root and the copy of its CA in the state directory.
///
/// # Errors
/// When a file cannot be written; names it.
pub fn create(root: &Path, state_dir: &Path, spec: &Spec) -> io::Result<()> {
    let tree = Tree(root);
    files::write(&tree, spec)?;
    let kubernetes = "etc/kubernetes";
    tree.directory("etc/kubernetes/manifests", 0o755)?;
    for (name, _) in MANIFESTS {
        if let Some(text) = manifest(name, spec) {
            tree.file(&format!("{kubernetes}/manifests/{name}"), &text, 0o600)?;
        }
    }
    let pki = pki::mint(spec).map_err(io::Error::other)?;
    tree.directory("etc/kubernetes/pki/etcd", 0o755)?;
    for file in &pki.files {
        tree.file(
            &format!("{kubernetes}/pki/{}", file.name),
            &file.content,
            file.mode,
        )?;
    }
    for (name, identity) in &pki.kubeconfigs {
        tree.file(
            &format!("{kubernetes}/{name}"),
            &kubeconfig::embedded(&spec.server(), &pki.ca_certificate, identity),
            0o600,
        )?;
    }
    tree.file(
        "etc/kubernetes/kubelet.conf",
        &kubeconfig::kubelet(&spec.server(), &pki.ca_certificate, &spec.node_name),
        0o600,
    )?;
    tree.directory("var/lib/kubelet/pki", 0o755)?;
    for file in &pki.kubelet_files {
        tree.file(
            &format!("var/lib/kubelet/pki/{}", file.name),
            &file.content,
            file.mode,
        )?;
    }
    tree.link(
        "var/lib/kubelet/pki/kubelet-client-current.pem",
        &format!("/var/lib/kubelet/pki/{}", pki.kubelet_client_file),
    )?;
    if let Ok(admin) = fs::read_to_string(root.join("etc/kubernetes/admin.conf")) {
        tree.directory("root/.kube", 0o750)?;
        tree.file("root/.kube/config", &admin, 0o600)?;
    }

    let state = Tree(state_dir);
    state.directory(STATE_CA, 0o700)?;
    state.file(&format!("{STATE_CA}/ca.crt"), &pki.ca_certificate, 0o600)?;
    state.file(&format!("{STATE_CA}/ca.key"), &pki.ca_key, 0o600)?;
    Ok(())
}

/// The kubeconfigs of a node root, for a change of the port.
const KUBECONFIGS: [&str; 6] = [
    "etc/kubernetes/admin.conf",
    "etc/kubernetes/super-admin.conf",
    "etc/kubernetes/controller-manager.conf",
    "etc/kubernetes/scheduler.conf",
    "etc/kubernetes/kubelet.conf",
    "root/.kube/config",
];

/// Points the node's kubeconfigs to another port. Files the learner removed stay away, files that do
/// not name the old port stay as they are.
///
/// # Errors
/// When a file cannot be written.
pub fn change_port(root: &Path, from: u16, to: u16) -> io::Result<()> {
    let (old, new) = (
        format!("https://127.0.0.1:{from}"),
        format!("https://127.0.0.1:{to}"),
    );
    let node = Confined::new(root);
    for path in KUBECONFIGS {
        // Only plain files are rewritten: what a link leads to has its own place in the list, or none.
        let plain = node.symlink_metadata(path).is_ok_and(|meta| meta.is_file());
        if !plain {
            continue;
        }
        let Ok(bytes) = node.read(path, 1 << 20) else {
            continue;
        };
        let Ok(text) = String::from_utf8(bytes) else {
            continue;
        };
        if text.contains(&old) {
            node.write_atomic(path, text.replace(&old, &new).as_bytes(), 0o600)
                .map_err(|error| named(error, &root.join(path)))?;
        }
    }
    Ok(())
}

/// A directory that is being filled; every error names the file.
struct Tree<'a>(&'a Path);

impl Tree<'_> {
    /// Makes a directory and its parents (parents 0755), with exactly this mode whatever the umask.
    fn directory(&self, path: &str, mode: u32) -> io::Result<()> {
        let mut full = self.0.to_path_buf();
        for part in Path::new(path).components() {
            full.push(part);
            match fs::create_dir(&full) {
                Ok(()) => set_mode(&full, 0o755)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(named(error, &full)),
            }
        }
        set_mode(&full, mode)
    }

    /// Writes a file; its directory must exist.
    fn file(&self, path: &str, content: &str, mode: u32) -> io::Result<()> {
        let full = self.0.join(path);
        fs::write(&full, content).map_err(|error| named(error, &full))?;
        set_mode(&full, mode)
    }

    /// Makes a symbolic link.
    fn link(&self, path: &str, target: &str) -> io::Result<()> {
        let full = self.0.join(path);
        std::os::unix::fs::symlink(target, &full).map_err(|error| named(error, &full))
    }
}

fn set_mode(path: &Path, mode: u32) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| named(error, path))
}

fn named(error: io::Error, path: &Path) -> io::Error {
    let text = super::process::go_error_text(&error);
    io::Error::new(error.kind(), format!("`{}`: {text}", path.display()))
}

/// Path of a node file on the host, for a path that is not followed (`/etc/hosts` → `ROOT/etc/hosts`).
#[must_use]
pub fn host_path(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn made() -> (tempfile::TempDir, Spec) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("node")).unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        let spec = Spec::new(21000);
        create(&dir.path().join("node"), &dir.path().join("state"), &spec).unwrap();
        (dir, spec)
    }

    fn tree(root: &Path, at: &Path, out: &mut Vec<String>) {
        let mut entries: Vec<_> = fs::read_dir(at)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        entries.sort();
        for path in entries {
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            if meta.is_dir() {
                tree(root, &path, out);
            } else {
                out.push(format!("{:o} {name}", meta.permissions().mode() & 0o777));
            }
        }
    }

    #[test]
    fn kubernetes_directory_is_laid_out_as_kubeadm_does() {
        let (dir, _) = made();
        let root = dir.path().join("node");
        let mut seen = Vec::new();
        tree(&root, &root.join("etc/kubernetes"), &mut seen);
        let expected = "\
600 etc/kubernetes/admin.conf
600 etc/kubernetes/controller-manager.conf
600 etc/kubernetes/kubelet.conf
600 etc/kubernetes/manifests/etcd.yaml
600 etc/kubernetes/manifests/kube-apiserver.yaml
600 etc/kubernetes/manifests/kube-controller-manager.yaml
600 etc/kubernetes/manifests/kube-scheduler.yaml
644 etc/kubernetes/pki/apiserver-etcd-client.crt
600 etc/kubernetes/pki/apiserver-etcd-client.key
644 etc/kubernetes/pki/apiserver-kubelet-client.crt
600 etc/kubernetes/pki/apiserver-kubelet-client.key
644 etc/kubernetes/pki/apiserver.crt
600 etc/kubernetes/pki/apiserver.key
644 etc/kubernetes/pki/ca.crt
600 etc/kubernetes/pki/ca.key
644 etc/kubernetes/pki/etcd/ca.crt
600 etc/kubernetes/pki/etcd/ca.key
644 etc/kubernetes/pki/etcd/healthcheck-client.crt
600 etc/kubernetes/pki/etcd/healthcheck-client.key
644 etc/kubernetes/pki/etcd/peer.crt
600 etc/kubernetes/pki/etcd/peer.key
644 etc/kubernetes/pki/etcd/server.crt
600 etc/kubernetes/pki/etcd/server.key
644 etc/kubernetes/pki/front-proxy-ca.crt
600 etc/kubernetes/pki/front-proxy-ca.key
644 etc/kubernetes/pki/front-proxy-client.crt
600 etc/kubernetes/pki/front-proxy-client.key
600 etc/kubernetes/pki/sa.key
600 etc/kubernetes/pki/sa.pub
600 etc/kubernetes/scheduler.conf
600 etc/kubernetes/super-admin.conf";
        assert_eq!(seen.join("\n"), expected);
    }

    #[test]
    fn api_server_manifest_is_kubeadms_with_this_nodes_address() {
        let golden = include_str!("../../../../fixtures/golden/static-pod/baseline.yaml");
        let golden = golden
            .replace("172.18.0.2", "172.30.1.2")
            .replace("10.96.0.0/16", "10.96.0.0/12");
        assert_eq!(
            manifest("kube-apiserver.yaml", &Spec::new(1)).unwrap(),
            golden
        );
    }

    #[test]
    fn port_is_never_changed_outside_of_the_node() {
        let (dir, _) = made();
        let root = dir.path().join("node");
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        let text = "server: https://127.0.0.1:21000\n";
        fs::write(outside.join("config"), text).unwrap();
        fs::write(outside.join("plain"), text).unwrap();
        fs::remove_dir_all(root.join("root/.kube")).unwrap();
        std::os::unix::fs::symlink(&outside, root.join("root/.kube")).unwrap();
        fs::remove_file(root.join("etc/kubernetes/scheduler.conf")).unwrap();
        std::os::unix::fs::symlink(
            outside.join("plain"),
            root.join("etc/kubernetes/scheduler.conf"),
        )
        .unwrap();
        // A file with another name for the same content elsewhere is replaced, not written into.
        fs::remove_file(root.join("etc/kubernetes/kubelet.conf")).unwrap();
        fs::hard_link(
            outside.join("plain"),
            root.join("etc/kubernetes/kubelet.conf"),
        )
        .unwrap();
        change_port(&root, 21000, 21001).unwrap();
        for name in ["config", "plain"] {
            assert_eq!(fs::read_to_string(outside.join(name)).unwrap(), text);
        }
        let kubelet = fs::read_to_string(root.join("etc/kubernetes/kubelet.conf")).unwrap();
        assert!(kubelet.contains(":21001"), "{kubelet}");
    }

    #[test]
    fn port_is_changed_in_every_kubeconfig_and_nowhere_else() {
        let (dir, _) = made();
        let root = dir.path().join("node");
        fs::remove_file(root.join("etc/kubernetes/scheduler.conf")).unwrap();
        change_port(&root, 21000, 21001).unwrap();
        for path in KUBECONFIGS {
            if path.ends_with("scheduler.conf") {
                assert!(!root.join(path).exists());
                continue;
            }
            let text = fs::read_to_string(root.join(path)).unwrap();
            assert!(
                text.contains("server: https://127.0.0.1:21001\n"),
                "{path}: {text}"
            );
        }
    }
}
