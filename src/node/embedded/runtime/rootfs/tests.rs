//! What a container sees of the node, and what it may change.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;

use super::*;

fn mount(name: &str, container_path: &str, node_path: &str, read_only: bool) -> Mount {
    Mount {
        name: name.into(),
        container_path: container_path.into(),
        node_path: node_path.into(),
        read_only,
    }
}

fn setup(mounts: Vec<Mount>) -> (tempfile::TempDir, Confined, Rootfs) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    std::fs::create_dir(&root).unwrap();
    let node = Confined::new(&root);
    node.write_atomic("/etc/kubernetes/audit-policy.yaml", b"policy", 0o644)
        .unwrap();
    node.create_dir_all("/var/log/kubernetes/audit", 0o755)
        .unwrap();
    let rootfs = Rootfs::new(root, dir.path().join("c/rootfs"), mounts);
    rootfs.prepare().unwrap();
    (dir, node, rootfs)
}

fn errno<T: std::fmt::Debug>(result: io::Result<T>) -> i32 {
    result.unwrap_err().raw_os_error().unwrap()
}

#[test]
fn only_mounts_show_the_node() {
    let (_dir, node, fs) = setup(vec![
        mount(
            "p",
            "/etc/kubernetes/audit-policy.yaml",
            "/etc/kubernetes/audit-policy.yaml",
            true,
        ),
        mount("l", "/logs/", "/var/log/kubernetes/audit", false),
    ]);
    assert_eq!(
        fs.read("/etc/kubernetes/audit-policy.yaml", 100).unwrap(),
        b"policy"
    );
    assert_eq!(
        errno(fs.append("/etc/kubernetes/audit-policy.yaml", 0o600)),
        30
    );
    assert_eq!(errno(fs.read("/etc/kubernetes/pki/sa.key", 100)), 2);
    fs.append("/logs/audit.log", 0o600)
        .unwrap()
        .write_all(b"x")
        .unwrap();
    assert_eq!(
        node.read("/var/log/kubernetes/audit/audit.log", 10)
            .unwrap(),
        b"x"
    );
    // Not mounted: the writable layer takes it.
    fs.create_dir_all("/var/log/other", 0o700).unwrap();
    fs.append("/var/log/other/a", 0o600).unwrap();
    assert!(!node.exists("/var/log/other"));
    let mode = fs.metadata("/var/log/other").unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(errno(fs.read("/logs", 10)), 21);
    assert_eq!(errno(fs.append("/logs", 0o600)), 21);
    assert_eq!(fs.list("/etc/kubernetes").unwrap(), ["audit-policy.yaml"]);
}

#[test]
fn a_mounted_file_is_bound_by_inode() {
    let (_dir, node, fs) = setup(vec![mount(
        "p",
        "/p",
        "/etc/kubernetes/audit-policy.yaml",
        false,
    )]);
    node.write_atomic("/etc/kubernetes/audit-policy.yaml", b"replaced", 0o644)
        .unwrap();
    assert_eq!(fs.read("/p", 100).unwrap(), b"policy");
    node.remove_file("/etc/kubernetes/audit-policy.yaml")
        .unwrap();
    assert_eq!(fs.read("/p", 100).unwrap(), b"policy");
    assert_eq!(errno(fs.rename("/p", "/p.old")), 16);
    assert_eq!(errno(fs.remove_file("/p")), 16);
    assert_eq!(errno(fs.read("/p/x", 10)), 20);
    fs.prepare().unwrap_err();
}

#[test]
fn links_resolve_in_the_container() {
    let (_dir, node, fs) = setup(vec![mount(
        "l",
        "/logs",
        "/var/log/kubernetes/audit",
        false,
    )]);
    node.write_atomic("/secret", b"node", 0o644).unwrap();
    node.symlink("/secret", "/var/log/kubernetes/audit/link")
        .unwrap();
    node.symlink("../../etc/x", "/var/log/kubernetes/audit/up")
        .unwrap();
    node.symlink("/logs/loop", "/var/log/kubernetes/audit/loop")
        .unwrap();
    assert_eq!(errno(fs.read("/logs/link", 10)), 2);
    assert_eq!(errno(fs.read("/logs/up", 10)), 2);
    assert_eq!(errno(fs.read("/logs/loop", 10)), 40);
    fs.write("/secret", b"container", 0o600).unwrap();
    assert_eq!(fs.read("/logs/link", 10).unwrap(), b"container");
    fs.append("/logs/a", 0o600).unwrap();
    fs.rename("/logs/a", "/logs/b").unwrap();
    assert_eq!(errno(fs.rename("/logs/b", "/b")), 18);
    assert_eq!(fs.list("/logs").unwrap(), ["b", "link", "loop", "up"]);
}
