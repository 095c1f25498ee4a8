//! Volumes of a pod: hostPath checks (`pkg/volume/hostpath/host_path.go`), emptyDir, and the
//! mounts a container gets from them.

use std::io;

use crate::manifest::{Container, StaticPod, Volume, VolumeSource};
use crate::node::embedded::confine::Confined;
use crate::node::embedded::process::go_error_text;
use crate::node::embedded::runtime::rootfs::Mount;

/// Sets a volume up on the node.
///
/// # Errors
/// The text that follows `MountVolume.SetUp failed for volume "NAME" : `.
pub(super) fn set_up(node: &Confined, pod: &StaticPod, volume: &Volume) -> Result<(), String> {
    match &volume.source {
        VolumeSource::HostPath { path, kind } => host_path(node, path, kind),
        VolumeSource::EmptyDir => {
            let path = empty_dir(pod, &volume.name);
            node.create_dir_all(&path, 0o777)
                .map_err(|e| format!("mkdir {path}: {}", go_error_text(&e)))
        }
        // Such a pod is refused before, except for sources that need a cloud or a driver.
        VolumeSource::Other(kind) => Err(format!("no volume plugin matched for {kind}")),
    }
}

fn host_path(node: &Confined, path: &str, kind: &str) -> Result<(), String> {
    let there = node.metadata(path);
    let check_failed =
        |what: &str| Err(format!("hostPath type check failed: {path} is not {what}"));
    let is_dir = there.as_ref().is_ok_and(std::fs::Metadata::is_dir);
    let is_file = there.as_ref().is_ok_and(std::fs::Metadata::is_file);
    match kind {
        "" => Ok(()),
        "Socket" | "CharDevice" | "BlockDevice" if is_special(&there, kind) => Ok(()),
        "Directory" if is_dir => Ok(()),
        "File" if is_file => Ok(()),
        "DirectoryOrCreate" if is_dir => Ok(()),
        "FileOrCreate" if is_file => Ok(()),
        "DirectoryOrCreate" if is_missing(&there) => node
            .create_dir_all(path, 0o755)
            .map_err(|e| format!("mkdir {path}: {}", go_error_text(&e))),
        // Parents are not made: the open says so.
        "FileOrCreate" if is_missing(&there) => node
            .append(path, 0o644)
            .map(drop)
            .map_err(|e| format!("open {path}: {}", go_error_text(&e))),
        "Directory" | "DirectoryOrCreate" => check_failed("a directory"),
        "File" | "FileOrCreate" => check_failed("a file"),
        "Socket" => check_failed("a socket file"),
        "CharDevice" => check_failed("a character device"),
        "BlockDevice" => check_failed("a block device"),
        other => Err(format!("{other} is an invalid volume type")),
    }
}

fn is_special(there: &io::Result<std::fs::Metadata>, kind: &str) -> bool {
    use std::os::unix::fs::FileTypeExt;
    there.as_ref().is_ok_and(|metadata| {
        let of = metadata.file_type();
        match kind {
            "Socket" => of.is_socket(),
            "CharDevice" => of.is_char_device(),
            _ => of.is_block_device(),
        }
    })
}

/// A `subPathExpr` with the container's variables in it
/// (`third_party/forked/golang/expansion/expand.go`).
///
/// # Errors
/// The text of the failed container configuration.
fn expanded(expression: &str, env: &[(String, String)]) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = expression;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        if let Some(literal) = after.strip_prefix('$') {
            out.push('$');
            rest = literal;
            continue;
        }
        let named = after
            .strip_prefix('(')
            .and_then(|name| name.split_once(')'));
        let Some((name, after_name)) = named else {
            out.push('$');
            rest = after;
            continue;
        };
        let value = env.iter().rev().find(|(known, _)| known == name);
        let Some((_, value)) = value else {
            return Err(format!(
                "missing value for {}",
                crate::yaml::go::quote(name)
            ));
        };
        out.push_str(value);
        rest = after_name;
    }
    out.push_str(rest);
    Ok(out)
}

fn is_missing(there: &io::Result<std::fs::Metadata>) -> bool {
    matches!(there, Err(error) if error.kind() == io::ErrorKind::NotFound)
}

/// Where an emptyDir lives on the node.
pub(super) fn empty_dir(pod: &StaticPod, volume: &str) -> String {
    format!(
        "/var/lib/kubelet/pods/{}/volumes/kubernetes.io~empty-dir/{volume}",
        pod.uid
    )
}

/// The mounts of a container, sources made where the runtime makes them.
///
/// # Errors
/// The text of the failed container creation.
pub(super) fn mounts(
    node: &Confined,
    pod: &StaticPod,
    container: &Container,
) -> Result<Vec<Mount>, String> {
    let mut mounts = Vec::new();
    for mount in &container.mounts {
        let Some(volume) = pod.volume(&mount.volume) else {
            continue;
        };
        let mut node_path = match &volume.source {
            VolumeSource::HostPath { path, .. } => path.clone(),
            VolumeSource::EmptyDir | VolumeSource::Other(_) => empty_dir(pod, &volume.name),
        };
        let sub_path = if mount.sub_path_expr.is_empty() {
            mount.sub_path.clone()
        } else {
            expanded(&mount.sub_path_expr, &container.env)?
        };
        if !sub_path.is_empty() {
            node_path = format!("{}/{sub_path}", node_path.trim_end_matches('/'));
        }
        // A hostPath without type, or a subPath that does not exist: a directory is made.
        if node.metadata(&node_path).is_err() {
            node.create_dir_all(&node_path, 0o755).map_err(|error| {
                format!(
                    "failed to generate container spec: failed to mkdir \"{node_path}\": mkdir {node_path}: {}",
                    go_error_text(&error)
                )
            })?;
        }
        mounts.push(Mount {
            name: mount.volume.clone(),
            container_path: mount.mount_path.clone(),
            node_path,
            read_only: mount.read_only,
        });
    }
    Ok(mounts)
}

/// Removes what the pod has under /var/lib/kubelet/pods.
pub(super) fn clean_up(node: &Confined, uid: &str) {
    // The UID of a manifest may be any string: only plain names are directories of ours.
    if !uid.is_empty() && !uid.contains('/') && uid != "." && uid != ".." {
        let _ = node.remove_all(&format!("/var/lib/kubelet/pods/{uid}"));
    }
}

/// A fingerprint of what the hostPath volumes of a pod lead to: changes when a learner repairs a
/// file on the node. Directories are looked at one level deep.
pub(super) fn fingerprint(node: &Confined, pod: &StaticPod) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::os::unix::fs::MetadataExt;
    const ENTRIES: usize = 64;
    let mut hasher = DefaultHasher::new();
    let mut look = |path: &str, follow_time: bool| {
        match node.metadata(path) {
            Ok(metadata) => {
                metadata.ino().hash(&mut hasher);
                metadata.mode().hash(&mut hasher);
                // Time and size of a directory change with every log file made in it.
                if follow_time && !metadata.is_dir() {
                    metadata.len().hash(&mut hasher);
                    metadata.mtime().hash(&mut hasher);
                    metadata.mtime_nsec().hash(&mut hasher);
                }
                metadata.is_dir()
            }
            Err(error) => {
                error.raw_os_error().hash(&mut hasher);
                false
            }
        }
    };
    for volume in &pod.volumes {
        let VolumeSource::HostPath { path, .. } = &volume.source else {
            continue;
        };
        if look(path, true) {
            let names = node.list(path).unwrap_or_default();
            for name in names.iter().take(ENTRIES) {
                look(&format!("{}/{name}", path.trim_end_matches('/')), true);
            }
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sub_paths_have_the_variables_of_the_container() {
        let env = [("POD".to_owned(), "api".to_owned())];
        let of = |text: &str| expanded(text, &env);
        assert_eq!(of("logs/$(POD)"), Ok("logs/api".to_owned()));
        assert_eq!(of("$$(POD)/$x"), Ok("$(POD)/$x".to_owned()));
        assert_eq!(of("$(NODE)"), Err("missing value for \"NODE\"".to_owned()));
    }
}
