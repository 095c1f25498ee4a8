//! The embedded node as setup and grading see it: files of the node root, the snapshot the node
//! process keeps up to date, and client certificates of the lab's CA.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::OFlags;

use super::background;
use super::confine::Confined;
use super::daemon::{self, Config, Liveness};
use super::inside;
use super::objects;
use super::root::pki::Authority;
use super::root::{self, kubeconfig::ClientIdentity};
use super::runtime::rootfs::Rootfs;
use super::sinks;
use super::snapshot::NodeSnapshot;
use super::store::set_aside_because;
use super::witness;
use crate::node::api;
use crate::node::engine::{Access, EngineError, Entrance, Errand, LabNode, Order, Stat};
use crate::node::sink::{Settings, Sink};
use crate::node::{
    ApiServerState, ContainerPhase, ExecOutput, FileChange, Identity, Node, NodeError, NodeFile,
    ObjectChange,
};

/// Key of the note that the node process did not confirm what is said of it.
const UNCONFIRMED: &str = "unconfirmed";

/// A snapshot, and whether the node process itself said so.
struct Told {
    snapshot: NodeSnapshot,
    confirmed: bool,
}

impl Told {
    fn warning(&self) -> String {
        format!(
            "the node process does not answer; how the node is was read from its files of {}",
            self.snapshot.time
        )
    }
}

/// The node of a lab directory.
pub struct EmbeddedNode {
    config: Config,
    files: Confined,
    /// How commands get inside; finding out takes a process.
    way: OnceLock<inside::Way>,
}

impl EmbeddedNode {
    /// Opens the node in this lab directory, whether its process runs or not.
    ///
    /// # Errors
    /// When there is no node.
    pub fn open(lab_dir: &Path) -> io::Result<Self> {
        Ok(Self::of(Config::load(lab_dir)?))
    }

    /// Makes the files of a new node in this lab directory.
    ///
    /// # Errors
    /// When no port is free or a file cannot be written.
    pub fn create(lab_dir: &Path, order: &Order<'_>) -> Result<Self, EngineError> {
        let kept = order.replaces.and_then(|old| Config::load(old).ok());
        let port = match kept {
            Some(config) => config.spec.api_port,
            None => background::free_port(order.others)?,
        };
        let config = Config::new(lab_dir, order.pace, root::Spec::new(port));
        config.create().map_err(EngineError::io(format!(
            "make the node of lab `{}`",
            order.lab
        )))?;
        Ok(Self::of(config))
    }

    /// The node of this configuration.
    #[must_use]
    pub fn of(config: Config) -> Self {
        Self {
            files: Confined::new(&config.node_root),
            config,
            way: OnceLock::new(),
        }
    }

    /// Its configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The files of the node.
    #[must_use]
    pub fn files(&self) -> &Confined {
        &self.files
    }

    /// The host directory that is the node's `/`.
    #[must_use]
    pub fn node_root(&self) -> &Path {
        &self.config.node_root
    }

    /// The host file of the administrator's kubeconfig.
    #[must_use]
    pub fn kubeconfig(&self) -> PathBuf {
        root::host_path(&self.config.node_root, "/etc/kubernetes/admin.conf")
    }

    /// Whether the node process runs.
    #[must_use]
    pub fn liveness(&self) -> Liveness {
        daemon::liveness(&self.config.state_dir)
    }

    fn way(&self) -> &inside::Way {
        self.way.get_or_init(inside::Way::find)
    }

    /// What the node process last said; nothing where it has not come so far.
    ///
    /// The process itself is asked; its file is believed only where it cannot be.
    fn snapshot(&self) -> Result<Option<Told>, NodeError> {
        let Liveness::Up(pid) = self.liveness() else {
            return Err(NodeError::NotRunning("its process is gone".to_owned()));
        };
        let state_dir = &self.config.state_dir;
        let told = match witness::ask(state_dir, pid) {
            Ok(snapshot) => snapshot.map(|snapshot| Told {
                snapshot,
                confirmed: true,
            }),
            Err(_) => NodeSnapshot::load(state_dir)
                .map_err(failed("state/snapshot.json"))?
                .map(|snapshot| Told {
                    snapshot,
                    confirmed: false,
                }),
        };
        Ok(told)
    }

    fn identity(&self, identity: &Identity) -> Result<Option<ClientIdentity>, NodeError> {
        let groups = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let (user, groups): (&str, Vec<String>) = match identity {
            Identity::Admin => ("kubernetes-admin", groups(&["kubeadm:cluster-admins"])),
            Identity::SuperAdmin => ("kubernetes-super-admin", groups(&["system:masters"])),
            Identity::User { name, groups } => (name, groups.clone()),
            Identity::Anonymous => return Ok(None),
        };
        let read = |file: &str| {
            let path = self.config.state_dir.join(root::STATE_CA).join(file);
            std::fs::read_to_string(&path).map_err(|error| {
                NodeError::Refused(format!("cannot read the cluster's CA: {error}"))
            })
        };
        Authority::from_pem(&read("ca.crt")?, &read("ca.key")?)
            .and_then(|ca| ca.client(user, &groups))
            .map(Some)
            .map_err(|error| NodeError::Refused(error.to_string()))
    }
}

impl Node for EmbeddedNode {
    fn engine(&self) -> &'static str {
        "embedded"
    }

    fn read(&self, path: &str) -> Result<NodeFile, NodeError> {
        read_file(&self.files, path).map_err(failed(path))
    }

    fn read_from(&self, path: &str, offset: u64) -> Result<NodeFile, NodeError> {
        read_file_from(&self.files, path, offset).map_err(failed(path))
    }

    fn change(&self, path: &str, change: FileChange<'_>) -> Result<(), NodeError> {
        change_file(&self.files, path, change).map_err(failed(path))
    }

    fn list(&self, path: &str) -> Result<Vec<String>, NodeError> {
        self.files.list(path).map_err(failed(path))
    }

    fn owner(&self, path: &str) -> Result<Option<u32>, NodeError> {
        // Whoever the node root belongs to is root of the node.
        let root = self.files.metadata("/").map_err(failed("/"))?.uid();
        Ok(match self.files.metadata(path) {
            Ok(metadata) if metadata.uid() == root => Some(0),
            Ok(metadata) => Some(metadata.uid()),
            Err(_) => None,
        })
    }

    fn exec(&self, argv: &[String], stdin: &[u8]) -> Result<ExecOutput, NodeError> {
        inside::capture(&self.config, argv, stdin)
    }

    fn api_server(&self) -> Result<ApiServerState, NodeError> {
        match self.snapshot()? {
            Some(told) => {
                let (root, state) = (&self.config.node_root, &self.config.state_dir);
                let mut seen = told.snapshot.api_server(root, state);
                if !told.confirmed {
                    seen.notes.insert(UNCONFIRMED.to_owned(), told.warning());
                }
                Ok(seen)
            }
            None => Ok(coming_up()),
        }
    }

    fn read_as_api_server(&self, path: &str) -> Result<NodeFile, NodeError> {
        let rootfs = self
            .snapshot()?
            .and_then(|told| {
                told.snapshot
                    .api_server_rootfs(&self.config.node_root, &self.config.state_dir)
            })
            .ok_or_else(|| NodeError::NotRunning("no API server process runs".to_owned()))?;
        read_rootfs(&rootfs, path).map_err(failed(path))
    }

    fn kubelet_journal(&self, lines: usize) -> Result<Vec<String>, NodeError> {
        let path = self.config.state_dir.join("journal/kubelet.log");
        last_lines(&path, lines).map_err(failed("the kubelet's journal"))
    }

    fn change_objects(&self, changes: &[ObjectChange]) -> Result<(), NodeError> {
        api::know(changes)?;
        match self.liveness() {
            Liveness::Up(_) => api::change(self.client_config(&Identity::SuperAdmin)?, changes),
            Liveness::Down => {
                objects::leave(&self.config.state_dir, changes).map_err(failed("objects to change"))
            }
        }
    }

    fn run_sink(&self, sink: &Sink) -> Result<(), NodeError> {
        let (settings, ca) = Settings::mint(sink)?;
        let runs = self.liveness() != Liveness::Down;
        sinks::leave(&self.config.state_dir, &settings, runs)?;
        self.write(&sink.ca, ca.as_bytes(), 0o644)
    }

    fn client_config(&self, identity: &Identity) -> Result<kube::Config, NodeError> {
        let url = self
            .config
            .spec
            .server()
            .parse()
            .map_err(|_| NodeError::Refused("the server's address is no URL".to_owned()))?;
        let mut config = kube::Config::new(url);
        let ca = std::fs::read(self.config.state_dir.join(root::STATE_CA).join("ca.crt"))
            .map_err(failed("the cluster's CA"))?;
        let der: Vec<Vec<u8>> = rustls_pki_types::pem::PemObject::pem_slice_iter(&ca)
            .flatten()
            .map(|certificate: rustls_pki_types::CertificateDer<'_>| certificate.to_vec())
            .collect();
        config.root_cert = Some(der);
        config.default_retry = false;
        if let Some(identity) = self.identity(identity)? {
            config.auth_info.client_certificate_data = Some(STANDARD.encode(identity.certificate));
            config.auth_info.client_key_data = Some(STANDARD.encode(identity.key).into());
        }
        Ok(config)
    }
}

impl LabNode for EmbeddedNode {
    fn access(&self) -> Access {
        Access {
            node_root: Some(self.node_root().to_path_buf()),
            kubeconfig: self.kubeconfig(),
            server: self.config.spec.server(),
            name: self.config.spec.node_name.clone(),
        }
    }

    fn notices(&self) -> Vec<String> {
        let path = daemon::store_path(&self.config.state_dir);
        set_aside_because(&path)
            .map(|reason| {
                format!(
                    "the data of etcd were damaged and set aside; the cluster began anew without what was made in it ({reason})"
                )
            })
            .into_iter()
            .collect()
    }

    fn entrance(&self) -> Entrance {
        match self.way() {
            inside::Way::Namespace => Entrance::Whole,
            inside::Way::Mapped { reason } => Entrance::Mapped {
                reason: reason.clone(),
                told: inside::was_told(&self.config),
            },
        }
    }

    fn enter(&self, errand: Errand<'_>) -> Result<u8, NodeError> {
        let way = self.way();
        match errand {
            Errand::Shell => inside::shell(&self.config, way),
            Errand::Command(argv) => {
                if matches!(way, inside::Way::Mapped { .. }) && !inside::was_told(&self.config) {
                    inside::remember_told(&self.config);
                }
                inside::run(&self.config, way, argv)
            }
        }
    }

    fn stat(&self, path: &str, follow: bool) -> io::Result<Stat> {
        let metadata = if follow {
            self.files.metadata(path)?
        } else {
            self.files.symlink_metadata(path)?
        };
        let kind = metadata.file_type();
        let mode = metadata.permissions().mode() & 0o7777;
        Ok(if kind.is_symlink() {
            Stat::Link(self.files.read_link(path)?)
        } else if kind.is_dir() {
            Stat::Directory(mode)
        } else if kind.is_file() {
            Stat::File(mode)
        } else {
            Stat::Other
        })
    }

    fn open(&self, path: &str) -> io::Result<Box<dyn io::Read>> {
        Ok(Box::new(self.files.open(path)?))
    }

    fn put(&self, path: &str, content: &mut dyn io::Read, mode: u32) -> io::Result<()> {
        let files = &self.files;
        // A link at the destination is followed, as cp does.
        let path = files.canonical(path).unwrap_or_else(|_| path.to_owned());
        let (parent, name) = path
            .trim_end_matches('/')
            .rsplit_once('/')
            .unwrap_or(("", &path));
        let mut short: String = name.chars().take(100).collect();
        short.insert(0, '.');
        let temporary = format!("{parent}/{short}.{}.tmp", std::process::id());
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW;
        let copied = files
            .open_with(&temporary, flags, 0o600)
            .and_then(|mut file| {
                io::copy(content, &mut file)?;
                file.set_permissions(std::fs::Permissions::from_mode(mode & 0o7777))?;
                files.rename(&temporary, &path)
            });
        if copied.is_err() {
            let _ = files.remove_file(&temporary);
        }
        copied
    }
}

fn failed(path: &str) -> impl FnOnce(io::Error) -> NodeError {
    let path = path.to_owned();
    move |source| NodeError::Io { path, source }
}

/// Changes what is at a path of a confined tree.
fn change_file(files: &Confined, path: &str, change: FileChange<'_>) -> io::Result<()> {
    let parents = || match path.trim_end_matches('/').rsplit_once('/') {
        Some((parent, _)) if !parent.is_empty() => files.create_dir_all(parent, 0o755),
        _ => Ok(()),
    };
    match change {
        FileChange::Write { content, mode } => files.write_atomic(path, content, mode),
        FileChange::Append { content, mode } => {
            parents()?;
            io::Write::write_all(&mut files.append(path, mode)?, content)
        }
        FileChange::Directory { mode } => {
            files.create_dir_all(path, mode)?;
            files.set_mode(path, mode)
        }
        FileChange::Remove => files.remove_all(path),
        FileChange::Mode(mode) => files.set_mode(path, mode),
        FileChange::Rename { to } => files.rename(path, to),
        FileChange::Link { target } => {
            parents()?;
            files.symlink(target, path)
        }
    }
}

/// What is at a path of a confined tree.
///
/// # Errors
/// When the system refuses for another reason than that nothing is there.
pub fn read_file(files: &Confined, path: &str) -> io::Result<NodeFile> {
    read_file_from(files, path, 0)
}

/// What is at a path of a confined tree, its content from this offset on.
fn read_file_from(files: &Confined, path: &str, offset: u64) -> io::Result<NodeFile> {
    let metadata = match files.metadata(path) {
        Ok(metadata) => metadata,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            // A link that leads nowhere is something; nothing at all is nothing.
            return Ok(match files.symlink_metadata(path) {
                Ok(link) if link.file_type().is_symlink() => {
                    let target = files.read_link(path).unwrap_or_default();
                    NodeFile::Other(format!("a link to `{target}`, which does not exist"))
                }
                _ => NodeFile::Missing,
            });
        }
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Ok(NodeFile::Other("a loop of symbolic links".to_owned()));
        }
        Err(error) => return Err(error),
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_dir() {
        return Ok(NodeFile::Directory { mode });
    }
    if !metadata.is_file() {
        return Ok(NodeFile::Other("a pipe, socket or device".to_owned()));
    }
    let mut content = Vec::new();
    // The whole file ends at the limit, so its tail does, too.
    let left = NodeFile::LIMIT.saturating_sub(offset);
    if left > 0 && offset < metadata.len() {
        let mut file = files.open(path)?;
        if offset > 0 {
            io::Seek::seek(&mut file, io::SeekFrom::Start(offset))?;
        }
        io::Read::read_to_end(&mut io::Read::take(file, left), &mut content)?;
    }
    Ok(NodeFile::File {
        content,
        size: metadata.len(),
        mode,
        inode: metadata.ino(),
    })
}

/// What is at a path of a container's file system.
fn read_rootfs(rootfs: &Rootfs, path: &str) -> io::Result<NodeFile> {
    let metadata = match rootfs.metadata(path) {
        Ok(metadata) => metadata,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(NodeFile::Missing);
        }
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
            return Ok(NodeFile::Other("a loop of symbolic links".to_owned()));
        }
        Err(error) => return Err(error),
    };
    let mode = metadata.permissions().mode() & 0o7777;
    if metadata.is_dir() {
        return Ok(NodeFile::Directory { mode });
    }
    if !metadata.is_file() {
        return Ok(NodeFile::Other("a pipe, socket or device".to_owned()));
    }
    if metadata.len() > NodeFile::LIMIT {
        return Ok(NodeFile::Other(format!(
            "a file of {} MiB, too large to be looked at",
            metadata.len() >> 20
        )));
    }
    Ok(NodeFile::File {
        content: rootfs.read(path, NodeFile::LIMIT)?,
        size: metadata.len(),
        mode,
        inode: metadata.ino(),
    })
}

/// The API server of a node whose kubelet has not looked at its manifests yet.
fn coming_up() -> ApiServerState {
    ApiServerState {
        state: ContainerPhase::Absent,
        ready: false,
        argv: Vec::new(),
        restarts: 0,
        reason: None,
        message: None,
        exit_code: None,
        log_tail: Vec::new(),
        converging: true,
        instance: String::new(),
        notes: BTreeMap::new(),
    }
}

/// The last lines of a file of the simulation; none when there is no file.
fn last_lines(path: &Path, lines: usize) -> io::Result<Vec<String>> {
    use std::io::{Read, Seek, SeekFrom};
    const TAIL: u64 = 256 << 10;
    let mut file = match std::fs::File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other?,
    };
    let length = file.metadata()?.len();
    let skip = length.saturating_sub(TAIL);
    file.seek(SeekFrom::Start(skip))?;
    let mut bytes = Vec::new();
    file.take(TAIL).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    let mut all: Vec<String> = text.lines().map(str::to_owned).collect();
    if skip > 0 && !all.is_empty() {
        all.remove(0);
    }
    let cut = all.len().saturating_sub(lines);
    Ok(all.split_off(cut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::embedded::pace::Pace;
    use crate::node::embedded::root::Spec;

    fn node() -> (tempfile::TempDir, EmbeddedNode) {
        let dir = tempfile::tempdir().unwrap();
        let config = Config::new(dir.path(), Pace::Fast, Spec::new(21000));
        config.create().unwrap();
        let node = EmbeddedNode::open(dir.path()).unwrap();
        (dir, node)
    }

    #[test]
    fn files_are_told_apart_and_nothing_outside_is_seen() {
        let (dir, node) = node();
        std::fs::write(dir.path().join("secret"), "outside").unwrap();
        node.write("/opt/a/b.txt", b"text", 0o640).unwrap();
        node.create_dir("/opt/d", 0o700).unwrap();
        let files = node.files();
        files.symlink("../../../../secret", "/opt/escape").unwrap();
        files.symlink("/opt/a/b.txt", "/opt/link").unwrap();
        let NodeFile::File {
            content,
            size,
            mode,
            ..
        } = node.read("/opt/link").unwrap()
        else {
            panic!("no file");
        };
        assert_eq!((content.as_slice(), size, mode), (&b"text"[..], 4, 0o640));
        assert_eq!(
            node.read("/opt/d").unwrap(),
            NodeFile::Directory { mode: 0o700 }
        );
        assert_eq!(node.read("/opt/none").unwrap(), NodeFile::Missing);
        assert_eq!(node.read("/opt/a/b.txt/c").unwrap(), NodeFile::Missing);
        assert_eq!(
            node.read("/opt/escape").unwrap(),
            NodeFile::Other("a link to `../../../../secret`, which does not exist".to_owned())
        );
        assert_eq!(node.list("/opt").unwrap(), ["a", "d", "escape", "link"]);
        node.remove("/opt/a").unwrap();
        assert_eq!(
            node.read("/opt/link").unwrap(),
            NodeFile::Other("a link to `/opt/a/b.txt`, which does not exist".to_owned())
        );
    }

    #[test]
    fn a_file_is_read_from_an_offset_as_its_whole_would_be() {
        let (dir, node) = node();
        node.write("/var/log/a", b"0123456789", 0o600).unwrap();
        let content = |offset| match node.read_from("/var/log/a", offset).unwrap() {
            NodeFile::File { content, size, .. } => (String::from_utf8(content).unwrap(), size),
            other => panic!("{other:?}"),
        };
        assert_eq!(content(0), ("0123456789".to_owned(), 10));
        assert_eq!(content(7), ("789".to_owned(), 10));
        assert_eq!(content(10), (String::new(), 10));
        assert_eq!(content(u64::MAX), (String::new(), 10));
        assert_eq!(node.read_from("/none", 3).unwrap(), NodeFile::Missing);
        // Large and sparse: only what is behind the offset comes into memory.
        let large = std::fs::File::create(dir.path().join("node/var/log/large")).unwrap();
        large.set_len(NodeFile::LIMIT + 10).unwrap();
        let NodeFile::File { content, size, .. } = node
            .read_from("/var/log/large", NodeFile::LIMIT - 3)
            .unwrap()
        else {
            panic!("no file");
        };
        assert_eq!((content.capacity() < 4096, content.len()), (true, 3));
        assert_eq!(size, NodeFile::LIMIT + 10);
    }

    #[test]
    fn every_identity_has_a_client_configuration() {
        let (_dir, node) = node();
        for (identity, certificate) in [
            (Identity::Admin, true),
            (Identity::SuperAdmin, true),
            (
                Identity::User {
                    name: "jane".to_owned(),
                    groups: vec!["developers".to_owned()],
                },
                true,
            ),
            (Identity::Anonymous, false),
        ] {
            let config = node.client_config(&identity).unwrap();
            assert_eq!(config.cluster_url, "https://127.0.0.1:21000/");
            assert_eq!(
                config.auth_info.client_certificate_data.is_some(),
                certificate
            );
            assert_eq!(config.root_cert.map(|all| all.len()), Some(1));
        }
    }

    #[test]
    fn objects_of_unknown_kinds_are_refused_by_name() {
        let (_dir, node) = node();
        let object =
            serde_json::json!({"apiVersion": "v1", "kind": "Sercet", "metadata": {"name": "a"}});
        assert_eq!(
            node.change_objects(&[ObjectChange::Put(object)])
                .unwrap_err()
                .to_string(),
            "`Sercet` of `v1` is no kind of this API server"
        );
    }
}
